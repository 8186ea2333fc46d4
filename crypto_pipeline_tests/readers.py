"""Readers beside a writer: what they lose, and what they cost it.

As a program: python -m crypto_pipeline_tests.readers --collections 100 --readers 4. Collections are
written one after another while processes query without pause and one holds a connection from the
first to the last; maintenance runs among them. The same collections are written to a database that
publishes nothing, while as many readers query the same folder: what they take of the machine is no
price of publishing.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from crypto_pipeline.tables import MarketPrice
from crypto_pipeline.warehouse import Batch, Warehouse
from crypto_pipeline.warehouse.published import connect

ROOT = Path(__file__).parent.parent

ROWS = 6_000
SOURCES = 24

RECENT = """
    SELECT source, count(*), avg(price_usd) FROM market_prices
    WHERE timestamp > now() - INTERVAL 1 HOUR GROUP BY source
"""
QUERIES = (
    "SELECT symbol, price_usd, source FROM market_prices ORDER BY timestamp DESC LIMIT 9",
    "SELECT symbol, price_usd, sources FROM cached_market_data ORDER BY symbol LIMIT 10",
    RECENT,
    "SELECT * FROM agreed_prices WHERE symbol = 'C7' ORDER BY timestamp DESC LIMIT 5",
    "SELECT * FROM prices_as_of(now()) ORDER BY symbol LIMIT 5",
)
"""What readers ask, besides looking that each collection is there whole."""

TORN = f"""
    SELECT collection_id, count(*), count(DISTINCT (source, source_id)) FROM market_prices
    GROUP BY ALL HAVING count(*) <> {ROWS} OR count(DISTINCT (source, source_id)) <> {ROWS}
"""
STALE = "SELECT count(DISTINCT collection_id) FROM market_prices"


def collection(name: str, at: datetime) -> Batch:
    """Prices of some sources, as a collection brings them."""
    made = Batch(name, at, agree=True)
    for n in range(SOURCES):
        rows = [
            MarketPrice(
                symbol=f"C{coin}", source_id=f"coin-{coin}", name=f"Coin {coin}", quote="USD",
                price_usd=(coin + 1) * (1 + n / 10_000), volume_24h=1e6, source=f"venue_{n}",
                timestamp=at + timedelta(milliseconds=n), collection_id=name,
            )
            for coin in range(ROWS // SOURCES)
        ]  # fmt: skip
        made.add(f"venue_{n}.market_prices", rows)
    return made


# A reader


def read_on(root: Path, held: bool) -> dict[str, Any]:
    """Query until the input ends; how often, and what went wrong.

    held: with one connection; else each round opens its own.
    """
    said: dict[str, Any] = {"queries": 0, "failed": [], "torn": 0, "seen": 0}
    connection = connect(root)
    print("reading", flush=True)
    with subprocess.Popen(["cat"], stdin=sys.stdin, stdout=subprocess.DEVNULL) as end:
        while end.poll() is None:
            if not held:
                connection.close()
                connection = connect(root)
            for query in (*QUERIES, TORN, STALE):
                said["queries"] += 1
                try:
                    found = connection.execute(query).fetchall()
                except Exception as problem:
                    said["failed"].append(f"{query[:60]}: {str(problem)[:200]}")
                    continue
                if query is TORN:
                    said["torn"] += len(found)
                if query is STALE:
                    said["torn"] += found[0][0] < said["seen"]
                    said["seen"] = found[0][0]
            if held:
                time.sleep(0.2)
    return said


@contextmanager
def reading(root: Path, held: bool = False) -> Iterator[dict[str, Any]]:
    """A reader in a process of its own; what it said is there when the block is over."""
    said: dict[str, Any] = {}
    command = [sys.executable, "-m", "crypto_pipeline_tests.readers", "--read", str(root)]
    reader = subprocess.Popen(
        [*command, "--held"] if held else command,
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert reader.stdout
    assert reader.stdout.readline() == "reading\n"
    try:
        yield said
    finally:
        said.update(json.loads(reader.communicate()[0]))


# The writer


def beside(folder: Path, collections: int, readers: int, upkeep_every: int) -> dict[str, Any]:
    """Write so many collections while that many read; what the readers said, and seconds of each
    collection with them and without."""
    live = Warehouse(folder / "live.duckdb", parquet=folder / "live")
    alone = Warehouse(folder / "alone.duckdb")
    begin = datetime.now(UTC) - timedelta(days=1)
    for name in ("first", "second"):
        for warehouse in (live, alone):
            assert warehouse.write(collection(name, begin)).committed_at
    with_readers, without, spooled = [], [], 0
    said: list[dict[str, Any]] = []
    for n in range(0, collections, upkeep_every):
        with ExitStack() as stack:
            said += [stack.enter_context(reading(folder / "live")) for _ in range(readers)]
            said.append(stack.enter_context(reading(folder / "live", held=True)))
            for k in range(n, min(n + upkeep_every, collections)):
                seconds, receipt = _write(live, f"c{k}", begin + timedelta(minutes=5 * k))
                with_readers.append(seconds)
                spooled += receipt.spooled
                assert receipt.unpublished is None
            live.prune({}, datetime.now(UTC) + timedelta(days=1))
        with ExitStack() as stack:
            for _ in range(readers + 1):
                stack.enter_context(reading(folder / "live"))
            for k in range(n, min(n + upkeep_every, collections)):
                without.append(_write(alone, f"c{k}", begin + timedelta(minutes=5 * k))[0])
    return {
        "queries": sum(s["queries"] for s in said),
        "failed": [f for s in said for f in s["failed"]],
        "torn": sum(s["torn"] for s in said),
        "spooled": spooled,
        "with": with_readers,
        "without": without,
        "live": live,
    }


def _write(warehouse: Warehouse, name: str, at: datetime) -> tuple[float, Any]:
    made = collection(name, at)
    began = time.perf_counter()
    receipt = warehouse.write(made)
    return time.perf_counter() - began, receipt


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--collections", type=int, default=100)
    parser.add_argument("--readers", type=int, default=4)
    parser.add_argument("--upkeep-every", type=int, default=20)
    parser.add_argument("--read", type=Path)
    parser.add_argument("--held", action="store_true")
    chosen = parser.parse_args()
    if chosen.read:
        print(json.dumps(read_on(chosen.read, chosen.held)))
        return 0
    with tempfile.TemporaryDirectory(prefix="readers_") as folder:
        done = beside(Path(folder), chosen.collections, chosen.readers, chosen.upkeep_every)
    live, alone = (statistics.median(done[which]) for which in ("with", "without"))
    print(f"{done['queries']:,} queries, {len(done['failed'])} failed, {done['torn']} torn")
    print(f"{len(done['with'])} collections, {done['spooled']} in the spool")
    print(f"a collection's write {live:.3f} s; {alone:.3f} s unpublished beside other readers")
    for failed in done["failed"][:10]:
        print(failed)
    return 1 if done["failed"] or done["torn"] or done["spooled"] else 0


if __name__ == "__main__":
    sys.exit(main())
