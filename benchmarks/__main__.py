"""Run the measurements and print each with its baseline and the ratio.

python -m benchmarks [--rows 10000000] [--only NAME]
"""

import argparse
import concurrent.futures
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import requests

from benchmarks import answers, prices, stack
from crypto_pipeline.collection import records
from crypto_pipeline.collection.collect import collect, crawl
from crypto_pipeline.collection.results import Collection
from crypto_pipeline.sources.spec import Endpoint
from crypto_pipeline.tables import DATA
from crypto_pipeline.warehouse import Warehouse
from crypto_pipeline.warehouse.layout import migrate

ROOT = Path(__file__).parents[1]

EMPTY = """
import dagster as dg

@dg.multi_asset(specs=[dg.AssetSpec(f"a{{n}}") for n in range({count})], can_subset=True)
def collect(context):
    for key in context.selected_asset_keys:
        yield dg.MaterializeResult(asset_key=key)

defs = dg.Definitions(assets=[collect], executor=dg.in_process_executor)
"""

EXAMPLES = {
    "latest prices": "SELECT symbol, price_usd, market_cap, timestamp, source FROM market_prices "
    "ORDER BY timestamp DESC LIMIT 10",
    "one coin by source": "SELECT source, arg_max(price_usd, timestamp) FROM market_prices "
    "WHERE symbol = 'C0' AND timestamp > (SELECT max(timestamp) FROM market_prices) "
    "- INTERVAL 1 HOUR GROUP BY source",
    "hourly mean": "SELECT date_trunc('hour', timestamp), avg(price_usd) FROM market_prices "
    "WHERE symbol = 'C0' AND timestamp > (SELECT max(timestamp) FROM market_prices) "
    "- INTERVAL 1 DAY GROUP BY 1 ORDER BY 1",
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure crypto_pipeline against baselines.")
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of the big table")
    parser.add_argument("--only", choices=list(MEASUREMENTS), help="one measurement")
    chosen = parser.parse_args()
    for name, measure in MEASUREMENTS.items():
        if chosen.only in (None, name):
            print(f"\n{name}")
            with tempfile.TemporaryDirectory(prefix="bench_") as folder:
                measure(Path(folder), chosen.rows)


def line(what: str, value: float, unit: str, target: str = "") -> None:
    print(f"  {what:<62} {value:>10.3f} {unit:<8} {target}", flush=True)


@contextlib.contextmanager
def server(*command: str) -> Iterator[str]:
    """A process that prints its URL and answers; ended by its id."""
    process = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    assert process.stdout
    try:
        url = process.stdout.readline().split()[-1]
        os.environ["CRYPTO_PIPELINE_UPSTREAM"] = url
        yield url
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def collection(folder: Path, rows: int) -> None:
    """100 endpoints x 250 rows, upstream at 300 ms: from the first request to the commit."""
    endpoints = prices.endpoints()
    urls = [f"/{e.url.removeprefix('https://')}" for e in endpoints]

    def ask(session: requests.Session, url: str) -> int:
        return len(json.loads(session.get(url, timeout=10).content)["data"])

    with server("-m", "benchmarks.prices") as url:
        bare, ours, calls = [], [], []
        for n in range(6):
            with requests.Session() as session, concurrent.futures.ThreadPoolExecutor(100) as pool:
                session.mount(url, requests.adapters.HTTPAdapter(pool_maxsize=100))
                began = time.perf_counter()
                got = sum(pool.map(lambda path, s=session: ask(s, url + path), urls))
                bare.append(time.perf_counter() - began)
            began = time.perf_counter()
            done = collect(
                ["market_prices", "cached_market_data"],
                f"run-{n}",
                warehouse=Warehouse(folder / "prices.duckdb"),
                among=endpoints,
                force=True,
            )
            calls.append(time.perf_counter() - began)
            ours.append(to_commit(done))
            assert got == sum(len(r.rows) for r in done.results) == 25_000, done.failed
        began = time.perf_counter()
        with requests.Session() as session:
            for path in urls[:10]:
                ask(session, url + path)
        one_by_one = (time.perf_counter() - began) * len(urls) / 10
    line("fetched and parsed by 100 threads, nothing kept", median(bare[1:]), "s")
    line("first request to commit: validated, agreed, stored", median(ours[1:]), "s", "target 1.0")
    line("  over the bare threads", median(ours[1:]) / median(bare[1:]), "x")
    line("one request after the other, nothing kept (10 asked, x 10)", one_by_one, "s")
    line("  over ours", one_by_one / median(ours[1:]), "x")
    line("the whole call: remembering before, closing the file after", median(calls[1:]), "s")
    line("the first collection of a process, with a new file", ours[0], "s")


def to_commit(done: Collection) -> float:
    """Seconds from the first request of a collection to its rows in the file."""
    began = min(attempt.started_at for r in done.results for attempt in r.attempts)
    assert done.receipt.committed_at, "the collection went to the spool"
    return (done.receipt.committed_at - began).total_seconds()


def materialize(folder: Path, rows: int) -> None:
    """The whole `dagster asset materialize --select '*'`, beside an empty multi_asset."""
    (folder / "empty_project.py").write_text(EMPTY.format(count=len(DATA)))
    dagster = str(Path(sys.executable).with_name("dagster"))

    def run(module: str, home: str, cwd: Path) -> float:
        (folder / home).mkdir(exist_ok=True)
        environment = {
            **os.environ,
            "DAGSTER_HOME": str(folder / home),
            "CRYPTO_PIPELINE_DATABASE": str(folder / home / "x.duckdb"),
            "DAGSTER_DISABLE_TELEMETRY": "yes",
        }
        began = time.perf_counter()
        command = [dagster, "asset", "materialize", "-m", module, "--select", "*"]
        done = subprocess.run(command, env=environment, cwd=cwd, capture_output=True, check=False)
        took = time.perf_counter() - began
        assert done.returncode == 0, done.stderr.decode()[-2000:]
        return took

    empty, full, again, idle = [], [], [], []
    with server("-m", "crypto_pipeline_tests.upstream", "--port", "0"):
        for n in range(4):
            empty.append(run("empty_project", f"empty-{n}", folder))
            full.append(run("crypto_pipeline.definitions", f"ours-{n}", ROOT))
            again.append(run("empty_project", f"empty-{n}", folder))
            idle.append(run("crypto_pipeline.definitions", f"ours-{n}", ROOT))
    line("an empty multi_asset of as many specs, in a new instance", median(empty[1:]), "s")
    line("ours, every endpoint asked, into a new DuckDB file", median(full[1:]), "s")
    line("  ratio, pair by pair", _ratio(full, empty), "x")
    line("the empty multi_asset again", median(again[1:]), "s")
    line("ours again, when no endpoint is due", median(idle[1:]), "s")
    line("  ratio, pair by pair", _ratio(idle, again), "x", "target 1.3")


def _ratio(ours: list[float], baseline: list[float]) -> float:
    """The median of the pairs' ratios, without the first pair, which warms the machine up."""
    return median(a / b for a, b in zip(ours[1:], baseline[1:], strict=True))


def everything(folder: Path, rows: int) -> None:
    """One collection of every endpoint against the samples, upstream at 300 ms."""
    with server("-m", "crypto_pipeline_tests.upstream", "--port", "0", "--delay", "0.3"):
        walls, cpus = [], []
        for n in range(3):
            before = resource.getrusage(resource.RUSAGE_SELF)
            done = collect(
                [m.table.name for m in DATA],
                f"run-{n}",
                warehouse=Warehouse(folder / f"all-{n}.duckdb"),
                force=True,
            )
            walls.append(to_commit(done))
            after = resource.getrusage(resource.RUSAGE_SELF)
            cpus.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    attempts = sum(len(r.attempts) for r in done.results)
    print(f"  {len(done.answered)} of {len(done.asked)} endpoints answered, {attempts} requests")
    line("first request to commit", median(walls), "s", "target 4.0")
    line("CPU of one collection", median(cpus), "s")


def storage(folder: Path, rows: int) -> None:
    """Bytes a stored price row, and the cost of a collection into a big table."""
    big, small = Warehouse(folder / "big.duckdb"), Warehouse(folder / "small.duckdb")
    for warehouse in (big, small):
        with warehouse.connect() as connection:
            migrate(connection)
    with big.connect() as connection:
        empty = (folder / "big.duckdb").stat().st_size
        began = time.perf_counter()
        connection.execute(FILL.format(rows=rows))
    size = (folder / "big.duckdb").stat().st_size
    line(f"filled with {rows:,} price rows in", time.perf_counter() - began, "s")
    line("bytes a row, filled at once", (size - empty) / rows, "bytes", "target 25")
    with server("-m", "benchmarks.prices"):
        endpoints = prices.endpoints()[:24]
        into_big: list[float] = []
        into_small: list[float] = []
        for n in range(8):
            for warehouse, times in ((big, into_big), (small, into_small)):
                times.append(_write(warehouse, endpoints, f"run-{n}"))
    line("6,000 rows into an empty file", median(into_small[1:]), "s")
    line(f"6,000 rows into {rows:,} rows", median(into_big[1:]), "s")
    line("  ratio, pair by pair", _ratio(into_big, into_small), "x", "target 1.3")
    grown = (small.path.stat().st_size) / (8 * 6000)
    line("bytes a row after 8 collections, everything else included", grown, "bytes")
    for what, sql in EXAMPLES.items():
        with big.connect(read_only=True) as connection:
            connection.execute(sql).fetchall()
            began = time.perf_counter()
            connection.execute(sql).fetchall()
            line(f"query: {what}", time.perf_counter() - began, "s", "target 0.2")


FILL = """
INSERT INTO market_prices (symbol, name, source_id, quote, price_usd, market_cap, volume_24h,
    price_change_24h, timestamp, source, collection_id)
SELECT 'C' || coin, 'Coin number ' || coin, 'coin-' || coin, 'USD',
    round(90000 / (coin + 1) ** 1.7 * (0.999 + 0.002 * random()),
        CASE WHEN coin < 200 THEN 2 ELSE 6 END),
    CASE WHEN source < 8 THEN round(1.8e12 / (coin + 1) ** 1.5 * (0.9 + 0.2 * random())) END,
    round(random() * 1e9 / (coin + 1), 2), round(random() * 16 - 8, 2),
    now() - INTERVAL 5 MINUTE - to_seconds(300 * ({rows} / 25000 - tick)),
    'bench_' || source, 'collection-' || tick
FROM (SELECT i // 25000 AS tick, (i // 250) % 100 AS source, i % 250 AS coin
      FROM range({rows}) t(i))
"""


def _write(warehouse: Warehouse, endpoints: list[Endpoint], collection_id: str) -> float:
    """Seconds to write one collection of these endpoints."""
    memory = warehouse.remember()
    collection = Collection(collection_id, "ui", datetime.now(UTC))
    collection.results = crawl(endpoints, memory, collection_id, force=True)
    batch = records.batch(collection, memory, agree=True)
    began = time.perf_counter()
    receipt = warehouse.write(batch)
    took = time.perf_counter() - began
    assert receipt.of("market_prices") == 6000
    return took


def at_rest(folder: Path, rows: int) -> None:
    """The worker's processes beside an empty Dagster project's, and a day of Dagster's storage."""
    for name in ("empty", "ours"):
        (folder / name).mkdir()
    nothing = stack.empty(folder / "empty", EMPTY.format(count=len(DATA)))
    with server("-m", "crypto_pipeline_tests.upstream", "--port", "0"):
        worker, written, ticks = stack.ours(folder / "ours")
    for what, name, unit in (
        ("to the first answer", "first_answer_s", "s"),
        ("CPU a minute, at rest", "cpu_s_a_minute", "s"),
        ("memory, at rest", "memory_mb", "MB"),
        ("from Ctrl-C to no process", "end_s", "s"),
    ):
        line(f"{what}: an empty project", getattr(nothing, name), unit)
        line(f"{what}: the worker", getattr(worker, name), unit)
    for group, size in written.items():
        line(f"Dagster's storage, a run of {group}", size / 1000, "KB")
    day = ticks + sum(size * stack.RUNS_A_DAY[group] for group, size in written.items())
    line("Dagster's storage, a day of ticks", ticks / 1e6, "MB")
    line(
        f"Dagster's storage, a day of {sum(stack.RUNS_A_DAY.values())} runs",
        day / 1e6,
        "MB",
        "target 80",
    )


def kept(folder: Path, rows: int) -> None:
    """A day of the recorded answers, kept: every five minutes most of their numbers are others."""
    day = answers.day(folder)
    line(f"came, of {day.endpoints} recorded bodies", day.kept.bytes / 1e6, "MB")
    line("the same on the wire, gzip", day.on_the_wire / 1e6, "MB")
    line("kept", day.kept.packed / 1e6, "MB")
    line("the file, with everything around them", day.file_bytes / 1e6, "MB")
    line("came / kept", day.kept.ratio, "x")
    line("on the wire / the file", day.on_the_wire / day.file_bytes, "x")
    line("packed and written", day.kept.bytes / 1e6 / day.seconds, "MB/s")


def rebuilt(folder: Path, rows: int) -> None:
    """1,000 collections, upstream at 300 ms, and every table of them rebuilt."""
    warehouse, seconds = answers.collected(folder, COLLECTIONS, 0.3)
    line(f"{COLLECTIONS:,} collections", seconds, "s")
    whole = 0.0
    for again in answers.again(warehouse):
        whole += again.seconds
        line(f"{again.table}: {again.rows:,} rows, {again.different} different", again.seconds, "s")
        line("  over collecting", seconds / again.seconds, "x", "target 20")
        assert again.identical or again.different, again.table
        print("  bit-identical" if again.identical else "  NOT IDENTICAL")
    line("all tables, over collecting", seconds / whole, "x")


COLLECTIONS = 1000

MEASUREMENTS: dict[str, Callable[[Path, int], None]] = {
    "collection": collection,
    "everything": everything,
    "materialize": materialize,
    "storage": storage,
    "at_rest": at_rest,
    "kept": kept,
    "rebuilt": rebuilt,
}

if __name__ == "__main__":
    main()
