"""The bounds of the file: how long is waited, what is room enough, what is old, what is worth."""

import random
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from crypto_pipeline.tables import ConnectionAttempt
from crypto_pipeline.warehouse import Locked, Unavailable, Warehouse, WarehouseError
from crypto_pipeline_tests.test_warehouse import (
    NOW,
    article,
    batch,
    count,
    held,
    outcome,
    price,
)

DAY = timedelta(days=1)
MIDNIGHT = NOW.replace(hour=0)


# How long is waited


@contextmanager
def timeless() -> Iterator[list[float]]:
    """What is slept, in a time that passes only then: for this thread, and no other one's."""
    slept: list[float] = []
    random.seed(7)
    own, monotonic, sleep = threading.get_ident(), time.monotonic, time.sleep
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            time, "monotonic", lambda: sum(slept) if threading.get_ident() == own else monotonic()
        )
        patch.setattr(
            time, "sleep", lambda s: slept.append(s) if threading.get_ident() == own else sleep(s)
        )
        yield slept


def test_who_reads_waits_a_quarter_of_a_minute_and_looks_again_now_and_then(
    warehouse: Warehouse,
) -> None:
    warehouse.write(batch("c1", price("alpha", "BTC", 1)))
    with held(warehouse.path), timeless() as slept, pytest.raises(Locked):
        Warehouse(warehouse.path).query("SELECT 1")
    assert 15 <= sum(slept) <= 15.1
    assert 0.03 <= min(slept) < 0.04
    assert 0.09 < max(slept) <= 0.1


def test_who_only_remembers_waits_a_second(warehouse: Warehouse) -> None:
    warehouse.write(batch("c1", price("alpha", "BTC", 1)))
    with held(warehouse.path), timeless() as slept:
        Warehouse(warehouse.path, lock_wait_s=99).remember()
    assert 1 <= sum(slept) <= 1.1


def test_who_reads_keeps_out_no_other_reader(warehouse: Warehouse) -> None:
    warehouse.write(batch("c1", price("alpha", "BTC", 1)))
    with held(warehouse.path, read_only=True):
        assert warehouse.query("SELECT count(*) FROM market_prices") == [(1,)]
        assert warehouse.frame("SELECT symbol FROM market_prices").values.tolist() == [["BTC"]]
        with warehouse.reading() as connection, pytest.raises(Exception, match="read-only"):
            connection.execute("DROP TABLE market_prices")


# Runs that live


def test_a_run_whose_process_is_gone_has_died_and_that_is_said_once(warehouse: Warehouse) -> None:
    program = f"""
        import os
        from pathlib import Path
        from crypto_pipeline.warehouse import Warehouse
        with Warehouse(Path({str(warehouse.path)!r})).run_lock("run1"):
            os._exit(9)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False)
    assert warehouse.died("run1") is True
    assert warehouse.died("run1") is False


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="no /proc: no folder that takes no lock")
def test_where_no_lock_can_be_made_a_run_is_refused() -> None:
    with (
        pytest.raises(WarehouseError, match="cannot be used"),
        Warehouse(Path("/proc/crypto.duckdb"), lock_wait_s=0.3).run_lock("run"),
    ):
        pass


def test_a_run_that_lives_or_is_done_or_never_was_has_not_died(warehouse: Warehouse) -> None:
    with warehouse.run_lock("run1"), timeless() as slept:
        assert warehouse.died("run1") is False
    assert slept == []  # whoever asks waits for nobody
    assert warehouse.died("run1") is False
    assert warehouse.died("nobody") is False


# What is asked of the file


def attempt(endpoint: str, size: int, days: float, status: int | None = 200) -> ConnectionAttempt:
    return ConnectionAttempt(
        endpoint=endpoint,
        source="alpha",
        attempt=1,
        method="GET",
        url="https://alpha.example",
        status=status,
        bytes_received=size,
        latency_ms=1,
        started_at=NOW - days * DAY,
        collection_id="c1",
    )


def test_answers_are_weighed_by_the_newest_week_on_record(warehouse: Warehouse) -> None:
    assert warehouse.bytes_per_answer() == {}
    sizes = (100, 0), (300, 6.9), (9999, 7.1)
    rows = [attempt("alpha.x", size, days) for size, days in sizes]
    warehouse.write_rows([*rows, attempt("alpha.x", 0, 1, None)])
    assert warehouse.bytes_per_answer() == {"alpha.x": 200}
    with held(warehouse.path):
        assert warehouse.bytes_per_answer() == {}


def test_prices_that_did_not_come_change_no_agreed_view(warehouse: Warehouse) -> None:
    assert "cached_market_data" in warehouse.write(batch("c1", price("a", "BTC", 1))).stored
    news = batch("c2", article("https://paper.example/1", "c2"))
    assert "cached_market_data" not in warehouse.write(news).stored


# Room, and the spool


def test_with_less_than_32_mib_nobody_is_asked(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 32 * 2**20
    usage = shutil.disk_usage(warehouse.path.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=free))
    warehouse.require_room()
    free -= 1
    with pytest.raises(Unavailable, match=": 32 MiB are free"):
        warehouse.require_room()


def waits(warehouse: Warehouse, *names: str) -> None:
    for n, name in enumerate(names):
        made = batch(name, price("alpha", f"C{n}", 1, name), at=NOW + timedelta(seconds=n))
        assert warehouse.write(made, hurry=lambda: True).spooled


def test_whoever_drains_says_how_many_it_were(warehouse: Warehouse) -> None:
    waits(warehouse, "c1", "a~b~c")
    assert warehouse.drain() == 2
    assert warehouse.drain() == 0
    assert warehouse.query("SELECT collection_id FROM market_prices ORDER BY symbol") == [
        ("c1",),
        ("a~b~c",),
    ]
    waits(warehouse, "c3", "c4", "c5")
    receipt = warehouse.write(batch("c6", price("alpha", "BTC", 2, "c6")))
    assert (receipt.drained, receipt.problem) == (3, None)


def test_a_collection_waits_once_however_often_it_is_written(warehouse: Warehouse) -> None:
    waits(warehouse, "c1")
    waits(warehouse, "c1")
    assert len(warehouse.waiting()) == 1
    assert warehouse.why_waiting is None


def test_rows_that_are_alike_are_as_many_out_of_the_spool(warehouse: Warehouse) -> None:
    """Two requests of one moment differ in nothing that is written down."""
    warehouse.write(batch("c0", attempt("alpha.x", 10, 0)))
    with held(warehouse.path):
        receipt = warehouse.write(batch("c1", *[attempt("alpha.x", 10, 0)] * 2))
    assert receipt.spooled
    assert warehouse.drain() == 1
    assert count(warehouse, "connection_attempts") == 3


def test_of_those_put_aside_only_what_is_damaged_stays_there(warehouse: Warehouse) -> None:
    waits(warehouse, "c1", "c2", "c3")
    damaged, *sound = warehouse.waiting()
    for file in damaged.glob("*.parquet"):
        file.write_bytes(b"rubbish")
    with pytest.raises(WarehouseError, match="put aside"):
        warehouse.drain()
    assert count(warehouse, "market_prices") == len(sound)
    waits(warehouse, "c4")
    (last,) = warehouse.waiting()
    last.rename(last.with_suffix(".damaged"))  # as an earlier release did for a full disk
    assert warehouse.drain() == 1
    assert [aside.name for aside in warehouse.put_aside()] == [f"{damaged.stem}.damaged"]


def test_what_is_damaged_and_cannot_be_put_aside_holds_back_no_other(warehouse: Warehouse) -> None:
    waits(warehouse, "c1", "c2")
    damaged, _ = warehouse.waiting()
    for file in damaged.glob("*.parquet"):
        file.write_bytes(b"rubbish")
    shutil.copytree(damaged, damaged.with_suffix(".damaged"))  # the place is taken
    (damaged.with_suffix(".damaged") / "why.txt").write_text("it was damaged before")
    with pytest.raises(WarehouseError, match="~c1"):
        warehouse.drain()
    assert count(warehouse, "market_prices") == 1
    assert warehouse.waiting() == [damaged]


def test_what_is_wrong_with_the_file_is_no_fault_of_what_waits(warehouse: Warehouse) -> None:
    warehouse.write(batch("c0", price("alpha", "BTC", 1, "c0")))
    waits(warehouse, "c1", "c2")
    with warehouse.connect() as connection:
        connection.execute("UPDATE schema_migrations SET version = 1")
        connection.execute("DROP TABLE data_collections")
        connection.execute("CREATE VIEW data_collections AS SELECT 1 AS mine")
    with pytest.raises(WarehouseError, match="Something of your own is in the way"):
        warehouse.drain()
    assert (len(warehouse.waiting()), warehouse.put_aside()) == (2, [])
    assert "in the way" in (warehouse.why_waiting or "")


# What is old


def test_the_day_of_the_cut_stays_whole(warehouse: Warehouse, tmp_path: Path) -> None:
    first = MIDNIGHT - 3 * DAY
    moments = [first - timedelta(microseconds=1), first, *(NOW - n * DAY for n in range(3))]
    rows = [outcome(f"c{n}").model_copy(update={"started_at": at}) for n, at in enumerate(moments)]
    warehouse.write_rows(rows)
    now = NOW + timedelta(minutes=34, seconds=56, microseconds=789)
    archive = tmp_path / "deep" / "archive"
    assert warehouse.prune({"data_collections": 3 * DAY}, now, archive) == {"data_collections": 1}
    assert [f.name for f in archive.rglob("*.parquet")] == [f"{first - DAY:%Y-%m-%d}.parquet"]
    assert warehouse.query("SELECT min(started_at) FROM data_collections") == [(first,)]


@pytest.mark.parametrize("age", [0 * DAY, DAY])
def test_a_clock_far_ahead_leaves_the_newest_day_whole(
    warehouse: Warehouse, age: timedelta
) -> None:
    moments = [MIDNIGHT, NOW, MIDNIGHT - timedelta(microseconds=1), NOW - 2 * DAY]
    rows = [outcome(f"c{n}").model_copy(update={"started_at": at}) for n, at in enumerate(moments)]
    warehouse.write_rows(rows)
    assert warehouse.prune({"data_collections": age}, NOW + 99 * DAY) == {"data_collections": 2}
    assert warehouse.query("SELECT min(started_at) FROM data_collections") == [(MIDNIGHT,)]


@pytest.mark.parametrize(("ahead", "dropped"), [(DAY, 1), (DAY + timedelta(seconds=1), 0)])
def test_a_day_that_is_told_more_than_a_day_ahead_is_none(
    warehouse: Warehouse, ahead: timedelta, dropped: int
) -> None:
    old = outcome("c1").model_copy(update={"started_at": NOW - 5 * DAY})
    warehouse.write_rows([old, outcome("c2").model_copy(update={"started_at": NOW + ahead})])
    assert sum(warehouse.prune({"data_collections": DAY}, NOW).values()) == dropped


def test_a_table_that_the_file_does_not_have_keeps_no_other_from_being_pruned(
    warehouse: Warehouse,
) -> None:
    rows = [outcome(f"c{n}").model_copy(update={"started_at": NOW - n * DAY}) for n in range(4)]
    warehouse.write_rows(rows)
    with warehouse.connect() as connection:
        connection.execute("DROP TABLE rejected_rows")
    ages = {"rejected_rows": DAY, "connection_attempts": DAY, "data_collections": 2 * DAY}
    assert warehouse.prune(ages, NOW) == {"data_collections": 1}


# What is worth writing anew


def filled(warehouse: Warehouse, kept_mib: int, dropped_mib: int) -> tuple[int, int]:
    """A file with so much in it and so much free; gives its size and what is free indeed."""
    with warehouse.connect() as connection:
        for name, mib in (("kept", kept_mib), ("dropped", dropped_mib)):
            connection.execute(
                f"CREATE OR REPLACE TABLE {name} AS "
                f"SELECT gen_random_uuid() AS x FROM range({mib * 2**16})"
            )
        connection.execute("CHECKPOINT")
        connection.execute("DROP TABLE dropped")
        connection.execute("CHECKPOINT")
        ((free,),) = connection.execute(
            "SELECT block_size * free_blocks FROM pragma_database_size() "
            "WHERE database_name = 'crypto'"
        ).fetchall()
    return warehouse.path.stat().st_size, int(free)


def test_a_file_is_written_anew_for_as_much_free_room_as_is_asked_for(
    warehouse: Warehouse,
) -> None:
    size, free = filled(warehouse, 2, 4)
    assert warehouse.compact(at_least=free + 1) == 0
    won = warehouse.compact(at_least=free)
    assert won == size - warehouse.path.stat().st_size
    assert won > 0


@pytest.mark.parametrize(("kept", "worth"), [(13, True), (21, False)])
def test_a_file_is_written_anew_for_a_quarter_of_it(
    warehouse: Warehouse, kept: int, worth: bool
) -> None:
    size, free = filled(warehouse, kept, 5)
    assert (free > size / 4) == worth
    assert size / 8 < free < size / 2
    assert bool(warehouse.compact(at_least=0)) == worth


def test_a_file_is_written_anew_where_the_disk_has_room_for_two(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    size, free = filled(warehouse, 2, 4)
    usage = shutil.disk_usage(warehouse.path.parent)
    room = 2 * (size - free) - 1
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=room))
    assert warehouse.compact(at_least=0) == 0
    room += 1
    assert warehouse.compact(at_least=0) > 0


def test_for_less_than_64_mib_no_file_is_written_anew(warehouse: Warehouse) -> None:
    _, free = filled(warehouse, 1, 56)
    assert 48 * 2**20 < free < 64 * 2**20
    assert warehouse.compact() == 0
    _, free = filled(warehouse, 1, 80)
    assert 64 * 2**20 < free < 128 * 2**20
    assert warehouse.compact() > 0
