"""A disk that is full at any byte: what was answered is in the file, in the spool, or said lost.

As root a small file system in memory is mounted for it; else the size of any file of the process
is limited, which fills one file as a full disk fills all.
"""

import os
import random
import resource
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from crypto_pipeline.collection.collect import collect
from crypto_pipeline.warehouse import Warehouse, WarehouseError
from crypto_pipeline_tests.faults import child, kills, together
from crypto_pipeline_tests.faults.host import Host
from crypto_pipeline_tests.faults.report import Line

TIMES = 20
AMPLE = 200_000_000


def run(host: Host, chance: random.Random) -> Iterator[Line]:
    """Collect with a disk that is full after so many bytes, then with room again; and while a
    reader holds the file."""
    host.treat()
    line = Line("disks", "full")
    for _ in range(TIMES):
        words = full(host, int(10 ** chance.uniform(3.5, 6.5)))
        line.add(words, raised=any("raised" in w for w in words), spoilt=bool(words))
    yield line
    line = Line("disks", "held_by_a_reader")
    with tempfile.TemporaryDirectory(prefix="faults_") as folder:
        line.add(reader(host, Path(folder) / "crypto.duckdb"))
    yield line


@contextmanager
def small_disk() -> Iterator[Path | None]:
    """A folder on a disk of its own; None where this system or user cannot have one."""
    with tempfile.TemporaryDirectory(prefix="faults_") as folder:
        mounted = hasattr(os, "geteuid") and os.geteuid() == 0 and _mount(folder, AMPLE)
        try:
            yield Path(folder) if mounted else None
        finally:
            if mounted:
                subprocess.run(["umount", "-l", folder], check=True)


def _mount(folder: str, size: int, *, again: bool = False) -> bool:
    options = f"{'remount,' if again else ''}size={size}"
    command = ["mount", "-t", "tmpfs", "-o", options, "faults", folder]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _used(folder: Path) -> int:
    found = os.statvfs(folder)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def full(host: Host, room: int) -> list[str]:
    """Before, during and after a full disk, each a collection; what was not right."""
    with small_disk() as disk, tempfile.TemporaryDirectory(prefix="faults_") as other:
        file = (disk or Path(other)) / "crypto.duckdb"
        environment = together.settings(host.url, file)
        words: list[str] = []
        whole = ["before", "after"]
        for name in ("before", "full", "after"):
            limit = room if name == "full" else None
            if disk:
                _mount(str(disk), AMPLE if limit is None else _used(disk) + room, again=True)
                limit = None
            done = child.run(limited, str(file), name, limit, environment=environment)
            if done.problem:
                words.append(f"{room:,} bytes: {name} raised {done.problem}")
            elif done.value is None:
                whole += [name] if name == "full" else []
            elif name != "full":
                words.append(f"{room:,} bytes: {name} was not kept: {done.value}")
        return words or [f"{room:,} bytes: {word}" for word in _lost(Warehouse(file), whole)]


def limited(database: str, name: str, room: int | None) -> str | None:
    """Collect, where no file may grow beyond so many bytes; the words of a failure that is named,
    which says that nothing could be kept."""
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
        return str(problem)
    return None


def reader(host: Host, file: Path) -> list[str]:
    """A collection while another program holds the file; what was not right."""
    environment = together.settings(host.url, file)
    words = []

    def collected(name: str) -> None:
        done = child.run(limited, str(file), name, None, environment=environment)
        if done.problem or done.value:
            words.append(f"{name}: {done.problem or done.value}")

    collected("before")
    with kills.held(file):
        collected("held")
    collected("after")
    return words or [*_lost(Warehouse(file), ("before", "held", "after"))]


def _lost(warehouse: Warehouse, names: Sequence[str]) -> Iterator[str]:
    """What of these collections is not in the file, once."""
    counts = dict(warehouse.query(kills.COUNTED))
    whole = counts.get("before", 0)
    for name in names:
        if counts.get(name, 0) != whole:
            yield f"{name}: {counts.get(name, 0)} of {whole} prices"
    if warehouse.waiting():
        yield f"{len(warehouse.waiting())} still wait in the spool"
