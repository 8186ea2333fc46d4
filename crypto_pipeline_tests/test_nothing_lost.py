"""Whatever breaks, no collection is lost and none is there twice: full disks, damage, missing
rights, kills, strange things in the spool. Runs on every DuckDB we support."""

import json
import os
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from crypto_pipeline.collection.collect import collect
from crypto_pipeline.monitoring import alerts, status
from crypto_pipeline.tables import DataCollection
from crypto_pipeline.warehouse import (
    Batch,
    Damaged,
    Hurried,
    Locked,
    Memory,
    TooNew,
    Unavailable,
    Unfit,
    Warehouse,
    WarehouseError,
    load,
)
from crypto_pipeline.warehouse import file as module
from crypto_pipeline_tests.processes import apart, killed_at, seconds_of
from crypto_pipeline_tests.test_warehouse import NOW, batch, count, health, held, outcome, price

ROWS = 2_000
MONTH = {"data_collections": timedelta(days=30)}
HOURS_AGO = time.time() - 7200


def collected(name: str, rows: int = ROWS) -> Batch:
    """A collection of so many prices."""
    made = batch(name, *(price("alpha", f"C{n}", 1 + n / 7, name) for n in range(rows)))
    made.collected_at += timedelta(seconds=sum(map(ord, name)))
    return made


def spooled(warehouse: Warehouse, *names: str, rows: int = ROWS) -> None:
    """Collections put into the spool."""
    for name in names:
        assert warehouse.write(collected(name, rows), hurry=lambda: True).spooled


def prices(warehouse: Warehouse) -> dict[str, int]:
    """How many there are of each collection; none of a collection is there twice."""
    found = warehouse.query(
        "SELECT collection_id, count(*), count(DISTINCT symbol) FROM market_prices GROUP BY 1"
    )
    assert all(rows == different for _, rows, different in found)
    accounts = warehouse.query("SELECT collection_id, count(*) FROM data_collections GROUP BY 1")
    assert set(dict(accounts).values()) <= {1}
    return {name: rows for name, rows, _ in found}


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def write(path: Path, name: str, rows: int = ROWS) -> str | bool:
    """Write a collection: the problem in words, else whether it waits."""
    receipt = Warehouse(path, lock_wait_s=0.5).write(collected(name, rows))
    return str(receipt.problem) if receipt.problem else receipt.spooled


# A full disk


def write_without_room(path: Path, name: str) -> str | bool:
    """Write where no file can grow beyond some kilobytes while rows go into the database."""
    real = load.load

    def limited(*arguments: Any, **more: Any) -> Any:
        resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, resource.RLIM_INFINITY))
        try:
            return real(*arguments, **more)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)

    pytest.MonkeyPatch().setattr(module, "load", limited)
    return write(path, name)


def drain_without_room(path: Path) -> int:
    """Drain where the database cannot grow."""
    size = path.stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, size))
    return Warehouse(path).drain()


def test_a_disk_that_is_full_at_the_commit_costs_no_row(warehouse: Warehouse) -> None:
    warehouse.write(collected("c0"))
    for waiting, name in enumerate(("c1", "c2"), 1):
        assert "There is no room" in apart(write_without_room, warehouse.path, name)
        assert len(warehouse.waiting()) == waiting
        assert "There is no room" in (warehouse.why_waiting or "")
    assert apart(drain_without_room, warehouse.path).startswith("Unavailable: ")
    assert len(warehouse.waiting()) == 2
    assert warehouse.put_aside() == []
    assert warehouse.drain() == 2
    assert prices(warehouse) == {"c0": ROWS, "c1": ROWS, "c2": ROWS}
    assert warehouse.why_waiting is None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of five megabytes, where we may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", str(disk)]
    if sys.platform != "linux" or os.getuid() or subprocess.run(mount, check=False).returncode:
        pytest.skip("no disk can be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("free", [0, 4_096, 65_536, 262_144, 1_048_576, 2_500_000])
def test_on_a_full_disk_what_is_not_written_is_spooled_or_said_to_be_lost(
    free: int, small_disk: Path
) -> None:
    warehouse = Warehouse(small_disk / "crypto.duckdb")
    warehouse.write(collected("c0", 500))
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * max(0, shutil.disk_usage(small_disk).free - free))
    lost = []
    for name in ("c1", "c2", "c3"):
        said = apart(write, warehouse.path, name)
        if said is not False:
            assert "There is no room" in said
        if said is not False and said.startswith("Lost"):
            assert f"the {ROWS + 1} rows of the collection {name} are lost" in said
            lost.append(name)
        warehouse.note(Memory())
    filler.unlink()
    assert warehouse.put_aside() == []
    warehouse.drain()
    assert warehouse.waiting() == []
    kept = {name: ROWS for name in ("c1", "c2", "c3") if name not in lost}
    assert prices(warehouse) == {"c0": 500, **kept}
    assert len(lost) == 3 if not free else free < 2_000_000 or not lost
    assert [f for f in warehouse.spool.iterdir() if f.name.endswith(".unfinished")] == []


def test_where_nothing_can_be_kept_nobody_is_asked(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROOM_BYTES", 2**62)
    with pytest.raises(Unavailable, match="MiB are free on its disk, too few"):
        collect(["market_prices"], "c1", warehouse=warehouse)
    assert not warehouse.path.exists()


def test_a_full_temporary_folder_costs_nothing(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    assert write(warehouse.path, "c1") is False
    assert prices(warehouse) == {"c1": ROWS}
    assert [file.name for file in warehouse.spool.iterdir()] == ["unpublished.json"]


# Rights


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody reaches: pytest's own are their owner's."""
    folder = Path(tempfile.mkdtemp(prefix="nothing_lost_"))
    folder.chmod(0o777)
    yield folder
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777)
    shutil.rmtree(folder)


@pytest.fixture
def everybody_s(open_folder: Path) -> Warehouse:
    """A database that everybody may write, with a note, and a collection of everybody's."""
    warehouse = Warehouse(open_folder / "crypto.duckdb", lock_wait_s=0.5)
    warehouse.write(collected("c0"))
    warehouse.note(Memory({"alpha.x": health("alpha.x", 5)}))
    warehouse.path.chmod(0o666)
    warehouse.spool.chmod(0o777)
    warehouse.path.with_name("crypto.duckdb.writer.lock").chmod(0o666)
    (warehouse.spool / "memory.json").chmod(0o644)
    return warehouse


def remembered(path: Path) -> set[str]:
    return set(Warehouse(path).remember().health)


def room(path: Path) -> None:
    Warehouse(path).require_room()


@pytest.mark.parametrize(
    ("what", "rights"), [("file", 0o444), ("file", 0o000), ("folder", 0o555), ("log", 0o000)]
)
def test_without_rights_a_collection_waits(what: str, rights: int, everybody_s: Warehouse) -> None:
    path = everybody_s.path
    where = {"file": path, "folder": path.parent, "log": Path(f"{path}.wal")}[what]
    where.touch()
    where.chmod(rights)
    said = apart(write, path, "c1", nobody=True)
    assert "The system does not allow it" in said
    assert len(everybody_s.waiting()) == 1
    if what == "file" and not rights:
        assert apart(remembered, path, nobody=True) == {"alpha.x"}
    where.chmod(0o777)
    assert everybody_s.drain() == 1
    assert prices(everybody_s) == {"c0": ROWS, "c1": ROWS}


def test_without_any_right_it_is_said_what_is_lost(everybody_s: Warehouse) -> None:
    everybody_s.spool.chmod(0o555)
    everybody_s.path.parent.chmod(0o555)
    everybody_s.path.chmod(0o444)
    said = apart(write, everybody_s.path, "c1", nobody=True)
    assert said.startswith(f"Lost: the {ROWS + 1} rows of the collection c1 are lost")
    assert said.count("The system does not allow it") == 2
    assert "The system does not allow it" in apart(room, everybody_s.path, nobody=True)
    assert prices(everybody_s) == {"c0": ROWS}


def drained(path: Path) -> int:
    return Warehouse(path).drain()


def test_a_collection_that_may_not_be_read_holds_back_no_other(everybody_s: Warehouse) -> None:
    spooled(everybody_s, "c1", "c2")
    first, second = everybody_s.waiting()
    first.chmod(0)
    for path in (second, *second.iterdir()):
        path.chmod(0o777)
    said = apart(drained, everybody_s.path, nobody=True)
    assert "The system does not allow it" in said
    assert first.name in said
    assert [w.name for w in everybody_s.waiting()][:1] == [first.name]
    assert prices(everybody_s) == {"c0": ROWS, "c2": ROWS}
    first.chmod(0o700)
    assert everybody_s.drain() == 1
    assert prices(everybody_s) == {"c0": ROWS, "c1": ROWS, "c2": ROWS}


def test_what_was_put_aside_and_may_not_be_read_holds_back_nothing(everybody_s: Warehouse) -> None:
    spooled(everybody_s, "c1", "c2")
    first, second = everybody_s.waiting()
    aside = first.replace(first.with_suffix(".damaged"))
    aside.chmod(0)
    for path in (second, *second.iterdir()):
        path.chmod(0o777)
    assert apart(drained, everybody_s.path, nobody=True) == 1
    assert prices(everybody_s) == {"c0": ROWS, "c2": ROWS}
    assert everybody_s.put_aside() == [aside]
    aside.chmod(0o700)
    assert everybody_s.drain() == 1


# Damage


@pytest.mark.parametrize("part", range(1, 20))
def test_a_flipped_byte_in_the_file_costs_no_row_that_comes(
    part: int, warehouse: Warehouse
) -> None:
    warehouse.write(batch("c0", *(health(f"alpha.{n}", 0) for n in range(200))))
    noted = warehouse.remember()
    warehouse.note(noted)
    damaged = bytearray(warehouse.path.read_bytes())
    size = len(damaged)
    for at in range(part * 97, size, size // 19):
        damaged[at] ^= 0xFF
    warehouse.path.write_bytes(bytes(damaged))
    assert set(warehouse.remember().health) <= set(noted.health)
    alerts.check(warehouse, None, warehouse.path.parent, collecting=True)
    status.read_facts(warehouse)
    receipt = warehouse.write(collected("c1"))
    if receipt.spooled:
        assert receipt.failed
        warehouse.path.unlink()
        Path(f"{warehouse.path}.wal").unlink(missing_ok=True)
        assert warehouse.drain() == 1
        assert prices(warehouse) == {"c1": ROWS}


@pytest.mark.parametrize("part", [0.0001, 0.01, 0.5, 0.95])
def test_of_half_a_file_the_note_remembers_and_the_collection_waits(
    part: float, warehouse: Warehouse
) -> None:
    warehouse.write(batch("c0", health("alpha.x", 5)))
    noted = warehouse.remember()
    warehouse.note(noted)
    whole = warehouse.path.read_bytes()
    warehouse.path.write_bytes(whole[: int(len(whole) * part)])
    assert warehouse.remember() == noted
    receipt = warehouse.write(collected("c1"))
    assert receipt.spooled == (part < 0.9)  # nothing was in the last part of so small a file
    if receipt.spooled:
        assert isinstance(receipt.problem, Damaged)
        assert "move it aside" in str(receipt.problem)
        warehouse.path.unlink()
        assert warehouse.remember() == noted
        assert warehouse.drain() == 1
    assert prices(warehouse) == {"c1": ROWS}


def _checksum(block: bytes) -> int:
    """DuckDB's, of a block of its file."""
    sum_ = 5381
    for (word,) in struct.iter_unpack("<Q", block):
        sum_ ^= word * 0xBF58476D1CE4E5B9 & (2**64 - 1)
    return sum_


def test_each_trouble_has_the_advice_that_helps(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(write: Callable[[Path], object]) -> WarehouseError:
        shutil.rmtree(warehouse.path, ignore_errors=True)
        warehouse.path.unlink(missing_ok=True)
        write(warehouse.path)
        with pytest.raises(WarehouseError) as raised:
            warehouse.query("SELECT 1")
        return raised.value

    def newer(path: Path) -> None:
        duckdb.connect(str(path)).close()
        block = bytearray(path.read_bytes())
        struct.pack_into("<Q", block, 12, 9_999)
        struct.pack_into("<Q", block, 0, _checksum(bytes(block[8:4096])))
        path.write_bytes(bytes(block))

    problem = said(newer)
    assert isinstance(problem, TooNew)
    assert "update duckdb" in str(problem)
    problem = said(Path.mkdir)
    assert isinstance(problem, Unavailable)
    assert "That is no file" in str(problem)
    problem = said(lambda path: path.write_text("a poem"))
    assert isinstance(problem, Damaged)
    assert "is not a DuckDB file" in str(problem)

    def no_more(*_: object) -> int:
        raise OSError(24, os.strerror(24))

    monkeypatch.setattr(os, "open", no_more)
    with pytest.raises(Unavailable, match="Too many files are open"):
        warehouse.query("SELECT 1")


def test_a_row_in_a_newer_release_s_words_is_unknown(warehouse: Warehouse) -> None:
    warehouse.write(batch("c1", health("alpha.x", 0), health("alpha.y", 0)))
    noted = warehouse.remember()
    warehouse.note(noted)
    with warehouse.connect() as connection:
        connection.execute("UPDATE source_health SET circuit = 'ajar' WHERE endpoint = 'alpha.x'")
    assert set(warehouse.remember().health) == {"alpha.y"}
    note = warehouse.spool / "memory.json"
    said = json.loads(note.read_text())
    said["health"][0]["circuit"] = "ajar"
    said |= {"ranks": [1], "usage": "none", "weather": {}}
    for text, known in ((json.dumps(said), 1), ("[]", 0), ("{", 0), ("[" * 99_999, 0), ('"', 0)):
        note.write_text(text)
        with held(warehouse.path):
            assert len(warehouse.remember().health) == known


# The spool


def test_what_is_damaged_in_the_spool_holds_back_no_other(warehouse: Warehouse) -> None:
    spooled(warehouse, "c1", "c2", "c3")
    torn = warehouse.waiting()[1] / "market_prices.parquet"
    torn.write_bytes(torn.read_bytes()[:-2000])
    receipt = warehouse.write(collected("c4"))
    assert isinstance(receipt.problem, Damaged)
    assert (receipt.spooled, receipt.drained, receipt.failed) == (False, 2, None)
    assert prices(warehouse) == {"c1": ROWS, "c3": ROWS, "c4": ROWS}
    (aside,) = warehouse.put_aside()
    assert warehouse.write(collected("c5")).problem is None
    found = alerts.check(warehouse, None, warehouse.path.parent, collecting=True)
    assert [(a.kind, a.subject) for a in found.opened] == [("waiting_spool", str(aside))]


def test_what_an_earlier_release_put_aside_for_a_full_disk_comes_back(warehouse: Warehouse) -> None:
    spooled(warehouse, "c1", "c2")
    good, bad = warehouse.waiting()
    (bad / "data_collections.parquet").write_bytes(b"rubbish")
    for folder in (good, bad):
        folder.replace(folder.with_suffix(".damaged"))
    assert warehouse.drain() == 1
    assert prices(warehouse) == {"c1": ROWS}
    assert warehouse.put_aside() == [bad.with_suffix(".damaged")]
    assert warehouse.drain() == 0


def test_a_collection_that_does_not_fit_stays_and_holds_back_no_other(warehouse: Warehouse) -> None:
    spooled(warehouse, "c1", "c2")
    first = warehouse.waiting()[0]
    (first / "market_prices.parquet").rename(first / "of_a_later_release.parquet")
    with pytest.raises(Unfit, match="there is no table of_a_later_release here"):
        warehouse.drain()
    assert warehouse.waiting() == [first]
    assert prices(warehouse) == {"c2": ROWS}
    (first / "of_a_later_release.parquet").rename(first / "market_prices.parquet")
    assert warehouse.drain() == 1
    assert prices(warehouse) == {"c1": ROWS, "c2": ROWS}


def test_strange_things_in_the_spool_are_passed_over(warehouse: Warehouse) -> None:
    spooled(warehouse, "c1")
    for folder in (
        "x.collection",
        "20261123T120000~e.collection",
        "a~b",
        "~.damaged",
        "z~y.damaged",
    ):
        (warehouse.spool / folder).mkdir()
    for file in ("a~f.collection", "notes.txt", ".DS_Store", "ö~ü.unfinished", "memory.jsonx"):
        (warehouse.spool / file).write_text("?")
    assert warehouse.write(collected("c2")).problem is None
    assert prices(warehouse) == {"c1": ROWS, "c2": ROWS}
    assert warehouse.waiting() == []


@pytest.mark.skipif(os.name != "posix", reason="elsewhere only the age of a name is known")
def test_a_clock_that_was_set_takes_nothing_from_a_writer_that_lives(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    warehouse.spool.mkdir()
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        capture_output=True,
        text=True,
        check=True,
    )
    of_the_living, of_the_dead = (
        [tmp_path / f"crypto_pipeline_{name}", warehouse.spool / f"{name}.unfinished"]
        for name in (f"{os.getpid()}-{'a' * 32}", f"{ended.stdout.strip()}-{'b' * 32}")
    )
    for folder in (*of_the_living, *of_the_dead):
        folder.mkdir()
        os.utime(folder, (HOURS_AGO, HOURS_AGO))
    warehouse.write(batch("c1", price("alpha", "BTC", 1)))
    warehouse.drain()
    assert all(folder.exists() for folder in of_the_living)
    assert not any(folder.exists() for folder in of_the_dead)


def test_what_killed_writers_left_is_cleared_when_it_is_old(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    warehouse.write(collected("c0"))
    left = [
        warehouse.spool / "20261123T120000~c9.unfinished",
        warehouse.spool / "20261123T120000~c9.0123.unfinished",
        tmp_path / "crypto_pipeline_abcdefgh",
    ]
    for folder in left:
        folder.mkdir(parents=True)
        (folder / "market_prices.json").write_text("{")
    notes = [warehouse.spool / f"memory.{'0f' * 16}", warehouse.spool / "memory.json.1.unfinished"]
    for note in notes:
        note.write_text("{")
    somebody_s = tmp_path / "crypto_pipeline_my_notes"
    somebody_s.mkdir()
    (somebody_s / "poem.txt").write_text("…")
    (somebody_s / "market_prices.json").write_text("…")
    other = tmp_path / "crypto_pipeline_my_data"
    other.mkdir()
    (other / "poems.json").write_text("…")
    for folder in (somebody_s, other):
        os.utime(folder, (HOURS_AGO, HOURS_AGO))
    link = warehouse.spool / "20261123T120000~l.unfinished"
    link.symlink_to(somebody_s, target_is_directory=True)
    os.utime(link, (HOURS_AGO, HOURS_AGO), follow_symlinks=False)
    compacting = [Path(f"{warehouse.path}.compacting{end}") for end in ("", ".wal")]
    for file in compacting:
        file.write_text("half")
    warehouse.write(collected("c1"))
    assert all(path.exists() for path in (*left, *notes))  # somebody may be writing them
    for path in (*left, *notes):
        os.utime(path, (HOURS_AGO, HOURS_AGO))
    warehouse.write(collected("c2"))
    assert not any(path.exists() for path in (*left, *notes))
    assert len(list(somebody_s.iterdir())) == 2
    assert (other / "poems.json").exists()
    assert not link.is_symlink()
    assert warehouse.compact() == 0
    assert not any(path.exists() for path in compacting)
    assert prices(warehouse) == {"c0": ROWS, "c1": ROWS, "c2": ROWS}


def test_a_fault_of_our_own_is_raised_and_costs_no_row(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    for fault in (RuntimeError, KeyboardInterrupt):

        def fail(*_: object, fault: type[BaseException] = fault, **__: object) -> None:
            raise fault("half way")

        with monkeypatch.context() as patch:
            patch.setattr(module, "load", fail)
            with pytest.raises(fault):
                warehouse.write(collected(fault.__name__))
    assert warehouse.drain() == 2
    assert prices(warehouse) == {"RuntimeError": ROWS, "KeyboardInterrupt": ROWS}


# In a hurry


def test_in_a_hurry_a_collection_waits_at_once(warehouse: Warehouse) -> None:
    warehouse.write(collected("c0"))
    before = warehouse.path.stat().st_mtime_ns
    assert isinstance(warehouse.write(collected("c1"), hurry=lambda: True).problem, Hurried)
    assert warehouse.path.stat().st_mtime_ns == before
    assert warehouse.drain() == 1
    assert prices(warehouse) == {"c0": ROWS, "c1": ROWS}


@pytest.mark.parametrize("what", ["file", "lock"])
def test_a_wait_is_cut_short_by_a_hurry(what: str, warehouse: Warehouse) -> None:
    warehouse.write(collected("c0"))
    patient = Warehouse(warehouse.path, lock_wait_s=600)
    hurry = threading.Event()
    timer = threading.Timer(0.5, hurry.set)
    with held(warehouse.path) if what == "file" else warehouse.lock("writer", 1):
        timer.start()
        receipt = patient.write(collected("c1"), hurry=hurry.is_set)
    assert isinstance(receipt.problem, Hurried)
    assert receipt.failed is None
    assert warehouse.drain() == 1


def test_a_reader_that_holds_the_file_costs_nothing(warehouse: Warehouse) -> None:
    warehouse.write(collected("c0"))
    with held(warehouse.path, read_only=True):
        receipt = warehouse.write(collected("c1"))
        assert isinstance(receipt.problem, Locked)
        assert receipt.failed is None
        with pytest.raises(Locked):
            warehouse.prune(MONTH, NOW)
    assert warehouse.write(collected("c2")).drained == 1
    assert prices(warehouse) == {"c0": ROWS, "c1": ROWS, "c2": ROWS}


# Modes


def test_what_is_made_is_its_owner_s_alone(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "deep" / "data" / "crypto.duckdb")
    before = os.umask(0o022)
    try:
        warehouse.write(collected("c0"))
        warehouse.note(Memory())
        spooled(warehouse, "c1")
    finally:
        os.umask(before)
    assert mode(warehouse.path) == mode(warehouse.spool / "memory.json") == 0o600
    assert mode(warehouse.path.parent) == mode(warehouse.spool) == 0o700
    (waiting,) = warehouse.waiting()
    assert mode(waiting) == 0o700
    assert {mode(file) for file in waiting.iterdir()} == {0o600}


def test_a_mode_that_a_user_gave_is_kept(warehouse: Warehouse) -> None:
    warehouse.write(collected("c0"))
    warehouse.note(Memory())
    warehouse.path.chmod(0o640)
    (warehouse.spool / "memory.json").chmod(0o640)
    warehouse.spool.chmod(0o750)
    with warehouse.connect() as connection:
        connection.execute("CREATE TABLE big AS SELECT random() FROM range(500000)")
        connection.execute("CREATE TABLE kept AS SELECT random() FROM range(300000)")
        connection.execute("CHECKPOINT")
        connection.execute("DROP TABLE big")
    warehouse.note(Memory())
    assert warehouse.compact(at_least=1) > 0
    assert mode(warehouse.path) == mode(warehouse.spool / "memory.json") == 0o640
    assert mode(warehouse.spool) == 0o750


# Kills


def pruned(path: Path) -> None:
    Warehouse(path).prune(MONTH, NOW, path.parent / "archive")


def compacted(path: Path) -> None:
    Warehouse(path).compact(at_least=1)


def put(path: Path, name: str) -> None:
    spooled(Warehouse(path), name)


def _old(warehouse: Warehouse) -> list[DataCollection]:
    return [
        outcome(f"old{n}").model_copy(update={"started_at": NOW - timedelta(days=n)})
        for n in range(45)
    ]


def before_a_kill(folder: Path) -> Path:
    """A database with old rows and free room, and collections in its spool."""
    warehouse = Warehouse(folder / "crypto.duckdb")
    warehouse.write(collected("c0"))
    warehouse.write_rows(_old(warehouse))
    with warehouse.connect() as connection:
        connection.execute("CREATE TABLE gone AS SELECT random() FROM range(500000)")
        connection.execute("CREATE TABLE kept AS SELECT random() FROM range(300000)")
        connection.execute("CHECKPOINT")
        connection.execute("DROP TABLE gone")
    spooled(warehouse, "c1", "c2")
    return warehouse.path


ACTIONS: dict[str, tuple[Callable[..., object], *tuple[Any, ...]]] = {
    "write": (write, "c3"),
    "put": (put, "c3"),
    "drain": (drained,),
    "prune": (pruned,),
    "compact": (compacted,),
}


def killed(what: str, folder: Path, times: int) -> int:
    """Kill an action at so many moments spread over the time it takes, each on a database of its
    own, and look that nothing is lost and nothing doubled. Gives how often it was still at it."""
    action, *more = ACTIONS[what]
    whole = before_a_kill(folder / "whole")
    shutil.copytree(whole.parent, folder / "measured")
    took = seconds_of(action, folder / "measured" / whole.name, *more)
    at_it = 0
    for n in range(times):
        place = folder / f"kill{n}"
        shutil.copytree(whole.parent, place)
        at_it += killed_at(took * (n + 0.5) / times, action, place / whole.name, *more)
        _nothing_is_lost(Warehouse(place / whole.name))
        shutil.rmtree(place)
    return at_it


def _nothing_is_lost(warehouse: Warehouse) -> None:
    wal = Path(f"{warehouse.path}.wal")
    assert mode(warehouse.path) == 0o600
    assert not wal.exists() or mode(wal) == 0o600
    assert warehouse.write(collected("c4")).problem is None
    assert warehouse.waiting() == warehouse.put_aside() == []
    found = prices(warehouse)
    assert found.pop("c3", ROWS) == ROWS  # was on its way: all of it, or nothing
    assert found == dict.fromkeys(("c0", "c1", "c2", "c4"), ROWS)
    assert count(warehouse, "kept") == 300_000
    pruned(warehouse.path)
    archive = warehouse.path.parent / "archive" / "data_collections"
    with duckdb.connect() as memory:
        archived = memory.execute(
            f"SELECT collection_id FROM read_parquet('{archive}/*.parquet')"
        ).fetchall()
    left = warehouse.query("SELECT collection_id FROM data_collections")
    old = sorted(name for (name,) in archived + left if name.startswith("old"))
    assert old == sorted(f"old{n}" for n in range(45))
    compacted(warehouse.path)
    names = {file.name for file in warehouse.path.parent.iterdir()}
    assert not any(".compacting" in name for name in names)
    assert not list(archive.glob("*.unfinished"))


@pytest.mark.parametrize("what", ACTIONS)
def test_a_kill_at_any_moment_loses_and_doubles_nothing(what: str, tmp_path: Path) -> None:
    assert killed(what, tmp_path, times=5) > 0
