"""A disk that is full at any byte: what was answered is in the file, in the spool, or said lost.

The size of any file of the process is limited (RLIMIT_FSIZE), which ends a write as a full disk
does; the files that are there before are larger than none.
"""

import random
import resource
import signal
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from crypto_pipeline.collection.collect import collect
from crypto_pipeline.warehouse import Warehouse, WarehouseError
from crypto_pipeline_tests.faults import child, kills, together
from crypto_pipeline_tests.faults.host import Host
from crypto_pipeline_tests.faults.report import Line

TIMES = 12


def run(host: Host, chance: random.Random) -> Iterator[Line]:
    """Collect with a disk that is full after so many bytes, then with room again; and while a
    reader holds the file."""
    host.treat()
    line = Line("disks", "full")
    for _ in range(TIMES):
        with tempfile.TemporaryDirectory(prefix="faults_") as folder:
            words = full(host, Path(folder) / "crypto.duckdb", int(10 ** chance.uniform(3.5, 7.2)))
            line.add(words, raised=bool(words), spoilt=bool(words))
    yield line
    line = Line("disks", "held_by_a_reader")
    with tempfile.TemporaryDirectory(prefix="faults_") as folder:
        line.add(reader(host, Path(folder) / "crypto.duckdb"))
    yield line


def full(host: Host, file: Path, room: int) -> list[str]:
    """Before, during and after a full disk, each a collection; what was not right."""
    environment = together.settings(host.url, file)
    words: list[str] = []
    whole = ["before", "after"]
    for name, limit in (("before", None), ("full", room), ("after", None)):
        done = child.run(limited, str(file), name, limit, environment=environment)
        if done.problem:
            words.append(f"{room:,} bytes: {name} raised {done.problem}")
        elif name == "full" and done.value is None:
            whole.append(name)  # else it was said that nothing could be kept
    return words or [f"{room:,} bytes: {word}" for word in _lost(Warehouse(file), whole)]


def limited(database: str, name: str, room: int | None) -> str | None:
    """Collect while no file may grow beyond so many bytes; the words of a failure that is named."""
    if room is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        collect(
            together.COLLECTED,
            name,
            warehouse=Warehouse(Path(database), lock_wait_s=0.5),
            among=kills.ASKED,
            limits=together.LIMITS,
            force=True,
        )
    except (WarehouseError, OSError) as problem:
        if room is None:
            raise
        return str(problem)
    return None


def reader(host: Host, file: Path) -> list[str]:
    """A collection while another program holds the file; what was not right."""
    environment = together.settings(host.url, file)
    words = []
    for name in ("before", "held", "after"):
        if name == "held":
            with kills.held(file):
                done = child.run(limited, str(file), name, None, environment=environment)
        else:
            done = child.run(limited, str(file), name, None, environment=environment)
        if done.problem:
            words.append(f"{name} raised {done.problem}")
    return words or [*_lost(Warehouse(file), ("before", "held", "after"))]


def _lost(warehouse: Warehouse, names: Sequence[str]) -> Iterator[str]:
    counts = dict(warehouse.query(kills.COUNTED))
    whole = counts.get("before", 0)
    for name in names:
        if counts.get(name, 0) != whole:
            yield f"{name}: {counts.get(name, 0)} of {whole} prices"
    if warehouse.waiting():
        yield f"{len(warehouse.waiting())} still wait in the spool"
