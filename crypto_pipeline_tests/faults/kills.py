"""Processes killed and interrupted at random moments: nothing lost, nothing doubled.

As a program it does one of ACTIONS to a file: python -m crypto_pipeline_tests.faults.kills ACTION
FILE.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from crypto_pipeline.collection.collect import collect
from crypto_pipeline.sources import ENDPOINTS
from crypto_pipeline.warehouse import Warehouse
from crypto_pipeline_tests.faults import together
from crypto_pipeline_tests.faults.host import ROOT, Host
from crypto_pipeline_tests.faults.report import Line

ASKED = [e for e in ENDPOINTS.values() if not e.each and not e.pool and e.source.keyless][:80]
"""Whom the collections here ask: enough for a second or two."""

ENDS_S = 2.0
"""An interrupted collection has ended by then."""

HANGS_S = 60.0
OLD = timedelta(days=40)

COUNTED = """
    SELECT collection_id, count(*) FROM market_prices
    WHERE collection_id IN (SELECT collection_id FROM data_collections) GROUP BY 1
"""
STRAY = """
    SELECT count(*) FROM market_prices
    WHERE collection_id NOT IN (SELECT collection_id FROM data_collections)
"""
DOUBLED = """
    SELECT count(*) FROM (SELECT 1 FROM data_collections
    GROUP BY collection_id, endpoint HAVING count(*) > 1)
"""


# What is killed


def _collect(file: Path, name: str = "victim", lock_wait_s: float = 5.0) -> None:
    collect(
        together.COLLECTED,
        name,
        warehouse=Warehouse(file, lock_wait_s),
        among=ASKED,
        limits=together.LIMITS,
        force=True,
    )


def _prune(file: Path) -> None:
    keep = {"market_prices": timedelta(days=30), "data_collections": timedelta(days=90)}
    Warehouse(file).prune(keep, datetime.now(UTC), archive_of(file))


ACTIONS: Mapping[str, Callable[[Path], object]] = {
    "collect": _collect,
    "drain": lambda file: Warehouse(file).drain(),
    "prune": _prune,
    "compact": lambda file: Warehouse(file).compact(at_least=0),
}


def archive_of(file: Path) -> Path:
    return file.with_name("archive")


# The file before


def template(folder: Path) -> Path:
    """A file with a collection of today and one of long ago, and a third in the spool."""
    file = folder / "crypto.duckdb"
    _collect(file, "old")
    with Warehouse(file).connect() as connection:
        connection.execute(
            "UPDATE market_prices SET timestamp = timestamp - to_days(?)", [OLD.days]
        )
    _collect(file, "before")
    with held(file):
        _collect(file, "spooled", lock_wait_s=0.2)
    return file


@contextmanager
def held(file: Path) -> Iterator[None]:
    """The file held by another process, as a program that reads it holds it."""
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout
    holder.stdout.readline()
    try:
        yield
    finally:
        holder.communicate(b"\n")


# Kills


def run(host: Host, chance: random.Random, times: int) -> Iterator[Line]:
    """Kill each action at random moments, then interrupt collections by both signals."""
    with tempfile.TemporaryDirectory(prefix="faults_") as folder:
        host.treat()
        whole = template(Path(folder))
        for action in ACTIONS:
            lasts = _lasts(whole, action)
            line = Line("kills", action)
            for _ in range(times // len(ACTIONS)):
                began = time.monotonic()
                words = kill(whole, action, chance.uniform(0, lasts * 1.1))
                line.add(words, spoilt=bool(words), seconds=time.monotonic() - began)
            yield line
    for name in (signal.SIGINT, signal.SIGTERM):
        line = Line("kills", name.name)
        for _ in range(max(1, times // 10)):
            words, seconds = interrupt(host, name, chance.uniform(0.0, 5.0))
            line.add(words, raised=bool(words), seconds=seconds)
        yield line


def _started(action: str, file: Path) -> subprocess.Popen[bytes]:
    """The action in a process of its own, about to begin."""
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, action, str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    )
    assert process.stdout
    process.stdout.readline()
    return process


@contextmanager
def _copy(whole: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="faults_") as folder:
        shutil.copytree(whole.parent, folder, dirs_exist_ok=True)
        yield Path(folder) / whole.name


def _lasts(whole: Path, action: str) -> float:
    """Seconds that the action takes when nobody disturbs it."""
    with _copy(whole) as file:
        process = _started(action, file)
        began = time.monotonic()
        process.communicate(timeout=HANGS_S)
        return time.monotonic() - began


def kill(whole: Path, action: str, after_s: float) -> list[str]:
    """Kill an action after so many seconds; what was not right afterwards."""
    with _copy(whole) as file:
        process = _started(action, file)
        time.sleep(after_s)
        process.kill()
        process.communicate()
        try:
            _collect(file, "after")
            return [*_wrong(file, action)]
        except Exception as problem:
            return [f"after {after_s:.2f} s: {type(problem).__name__}: {problem}"[:200]]


def _wrong(file: Path, action: str) -> Iterator[str]:
    """What is lost or doubled in a file that a collection was written to after the kill."""
    warehouse = Warehouse(file)
    counts = dict(warehouse.query(COUNTED))
    whole = counts.get("before", 0)
    for name in ("before", "spooled", "after", "victim", "old"):
        allowed = {whole}
        if (name, action) in (("victim", "collect"), ("old", "prune")):
            allowed.add(0)
        if name == "victim" and action != "collect":
            allowed = {0}
        if counts.get(name, 0) not in allowed:
            yield f"{name}: {counts.get(name, 0)} of {whole} prices"
    for what, sql in (("prices of no collection", STRAY), ("endpoints doubled", DOUBLED)):
        ((found,),) = warehouse.query(sql)
        if found:
            yield f"{found} {what}"
    if action == "prune" and counts.get("old", 0) == 0:
        pattern = str(archive_of(file) / "**" / "*.parquet")
        ((kept,),) = warehouse.query(
            "SELECT count(*) FROM read_parquet(?) WHERE collection_id = 'old'", [pattern]
        )
        if kept != whole:
            yield f"the archive has {kept} of {whole} prices"
    left = [p.name for p in warehouse.spool.iterdir() if p.suffix in (".damaged", ".collection")]
    if left:
        yield f"left in the spool: {', '.join(left)}"


# Interrupts


def interrupt(host: Host, name: signal.Signals, after_s: float) -> tuple[list[str], float]:
    """Interrupt `crypto-pipeline collect` so long after its first request.

    Gives what was not right, and the seconds from the signal to its end.
    """
    host.treat(delay=0.3)
    host.asked()
    with tempfile.TemporaryDirectory(prefix="faults_") as folder:
        file = Path(folder) / "crypto.duckdb"
        environment = {**os.environ, **together.settings(host.url, file), "DAGSTER_HOME": folder}
        with (Path(folder) / "said").open("w+b") as said:
            process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, "collect", "both"],
                env=environment | {"PYTHONPATH": str(ROOT)},
                cwd=folder,
                stdout=said,
                stderr=said,
            )
            while not host.asked() and process.poll() is None:
                time.sleep(0.05)
            time.sleep(after_s)
            process.send_signal(name)
            began = time.monotonic()
            try:
                process.wait(HANGS_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            seconds = time.monotonic() - began
            said.seek(0)
            words = said.read().decode("utf-8", "replace")
        host.treat()
        at = f"after {after_s:.2f} s: "
        return [at + w for w in _wrong_of_interrupt(words, seconds, file, after_s)], seconds


_PROGRAM = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job has it ignored
from crypto_pipeline.cli.main import main
main()
"""


def _wrong_of_interrupt(words: str, seconds: float, file: Path, after_s: float) -> Iterator[str]:
    if seconds >= HANGS_S:
        yield "hangs"
    elif seconds > ENDS_S:
        yield f"ended {seconds:.1f} s after the signal"
    if "Traceback" in words:
        yield "a traceback"
    if "endpoints answered" not in words and "stopped" not in words.lower():
        yield "no word of it"
    if after_s > 1.0:  # the first answers came 0.3 s after they were asked for
        warehouse = Warehouse(file)
        kept = len(warehouse.waiting())
        if file.exists():
            try:
                kept += warehouse.query("SELECT count(*) FROM data_collections")[0][0]
            except Exception as problem:
                yield f"the file: {problem}"[:120]
        if not kept:
            yield "nothing was kept of what was answered"


def main() -> None:
    print("ready", flush=True)
    ACTIONS[sys.argv[1]](Path(sys.argv[2]))


if __name__ == "__main__":
    main()
