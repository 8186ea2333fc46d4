"""The daily maintenance: old rows are archived, old runs go with their files, the file shrinks."""

import signal
import sqlite3
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from crypto_pipeline import settings
from crypto_pipeline.definitions import build_definitions
from crypto_pipeline.monitoring import dagster_instance
from crypto_pipeline.orchestration import maintenance
from crypto_pipeline.settings import SettingError
from crypto_pipeline.tables import KEPT, TABLES
from crypto_pipeline.warehouse import Locked, Warehouse, WarehouseError
from crypto_pipeline_tests.test_dagster import instance, materialize, upstream
from crypto_pipeline_tests.test_warehouse import NOW, batch, count, held, outcome, price
from crypto_pipeline_tests.upstream import Upstream

__all__ = ["instance", "upstream"]

MONTH = {"data_collections": timedelta(days=30)}


def aged(warehouse: Warehouse, *days: int) -> None:
    """Outcomes of so many days ago."""
    rows = [
        outcome(f"c{n}").model_copy(update={"started_at": NOW - timedelta(days=n)}) for n in days
    ]
    warehouse.write_rows(rows)


# The warehouse's rows


def test_data_is_kept_for_ever_and_attempts_for_a_month(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = settings.keep(KEPT)
    assert kept["connection_attempts"] == kept["rejected_rows"] == timedelta(days=30)
    assert "market_prices" not in kept
    monkeypatch.setenv("CRYPTO_PIPELINE_KEEP_DAYS", "market_prices:365, rejected_rows:for_ever")
    kept = settings.keep(KEPT)
    assert kept["market_prices"] == timedelta(days=365)
    assert "rejected_rows" not in kept


@pytest.mark.parametrize(
    "text",
    [
        "prices:3",
        "coins:3",
        "market_prices",
        "market_prices:-1",
        "market_prices:99999999",
        "coins:²",
    ],
)
def test_a_wrong_age_is_named(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYPTO_PIPELINE_KEEP_DAYS", text)
    with pytest.raises(SettingError, match="CRYPTO_PIPELINE_KEEP_DAYS="):
        settings.keep(KEPT)


def test_old_rows_are_dropped_by_whole_days(warehouse: Warehouse) -> None:
    aged(warehouse, *range(33), 40)
    assert warehouse.prune(MONTH, NOW) == {"data_collections": 3}
    assert warehouse.prune(MONTH, NOW) == {}
    assert count(warehouse, "data_collections") == 31


@pytest.mark.parametrize("ahead", [timedelta(days=1), timedelta(days=365), timedelta(days=36_500)])
def test_a_clock_that_is_ahead_drops_a_day_at_most(
    ahead: timedelta, warehouse: Warehouse, tmp_path: Path
) -> None:
    aged(warehouse, *range(31))
    assert sum(warehouse.prune(MONTH, NOW + ahead).values()) <= 1
    assert sum(warehouse.prune(MONTH, NOW + ahead).values()) == 0
    # and rows that were written by it push out no more than their day
    aged(warehouse, -ahead.days)
    assert sum(warehouse.prune(MONTH, NOW + ahead).values()) <= 1
    assert warehouse.prune(MONTH, NOW) == {}
    assert count(warehouse, "data_collections") >= 29


def test_a_clock_that_went_back_drops_nothing(warehouse: Warehouse) -> None:
    aged(warehouse, *range(40))
    assert warehouse.prune(MONTH, NOW - timedelta(days=365)) == {}


def test_rows_of_the_future_are_no_days_that_count(warehouse: Warehouse) -> None:
    aged(warehouse, *range(32), *range(-200, -100))
    assert warehouse.prune(MONTH, NOW) == {"data_collections": 1}
    assert count(warehouse, "data_collections") == 131


def test_what_is_dropped_is_in_the_archive_once(warehouse: Warehouse, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    aged(warehouse, *range(32), 40, 40)
    warehouse.prune(MONTH, NOW, archive)
    aged(warehouse, 40)  # the same row again, as after a crash between export and delete
    late = outcome("late").model_copy(update={"started_at": NOW - timedelta(days=40)})
    warehouse.write_rows([late])
    warehouse.prune(MONTH, NOW, archive)
    assert sorted(file.name for file in archive.rglob("*")) == [
        "2026-10-14.parquet",
        "2026-10-23.parquet",
        "data_collections",
    ]
    with duckdb.connect() as memory:
        found = memory.execute(
            f"SELECT collection_id FROM read_parquet('{archive}/data_collections/*.parquet') "
            "ORDER BY 1"
        ).fetchall()
    assert found == [("c31",), ("c40",), ("late",)]
    assert count(warehouse, "data_collections") == 31


def test_without_an_archive_that_can_be_written_nothing_is_dropped(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    aged(warehouse, *range(30), 40)
    (tmp_path / "archive").write_text("a file where the folder should be")
    with pytest.raises(WarehouseError, match="archive"):
        warehouse.prune(MONTH, NOW, tmp_path / "archive")
    assert count(warehouse, "data_collections") == 31


# The file


def bloated(warehouse: Warehouse) -> int:
    """A file with much free room; its size."""
    warehouse.write(batch("c1", price("alpha", "BTC", 1)))
    with warehouse.connect() as connection:
        connection.execute(
            "INSERT INTO connection_attempts SELECT 'e', 's', 1, 'GET', 'https://x/' || random(), "
            "200, NULL, 1, random(), now(), 'c' || random() FROM range(400000)"
        )
    with warehouse.connect() as connection:
        connection.execute("DELETE FROM connection_attempts WHERE latency_ms > 0.1")
        connection.execute("CHECKPOINT")
    with warehouse.connect() as connection:
        connection.execute("CREATE TABLE last AS SELECT random() FROM range(200000)")
        connection.execute("DROP TABLE last")
    return warehouse.path.stat().st_size


def test_a_file_with_much_free_room_is_written_anew(warehouse: Warehouse) -> None:
    before = bloated(warehouse)
    attempts = count(warehouse, "connection_attempts")
    won = warehouse.compact(at_least=1)
    assert won > 0
    assert warehouse.path.stat().st_size == before - won
    assert count(warehouse, "connection_attempts") == attempts
    assert warehouse.query("SELECT symbol FROM market_prices") == [("BTC",)]
    assert warehouse.query("SELECT ui_collections FROM worker_status") == [(0,)]
    comment = "SELECT comment FROM duckdb_tables() WHERE table_name = 'market_prices'"
    assert warehouse.query(comment) == [(TABLES["market_prices"].table.description,)]
    assert not warehouse.write(batch("c2", price("alpha", "BTC", 2, "c2"))).spooled
    assert list(warehouse.path.parent.glob("*.compacting*")) == []


def test_a_small_gain_is_not_worth_it(warehouse: Warehouse) -> None:
    warehouse.write(batch("c1", price("alpha", "BTC", 1)))
    inode = warehouse.path.stat().st_ino
    assert warehouse.compact() == 0
    assert warehouse.path.stat().st_ino == inode


def test_a_file_that_others_write_is_left_alone(warehouse: Warehouse) -> None:
    warehouse.write(batch("c1", price("alpha", "BTC", 1)))
    with held(warehouse.path), pytest.raises(Locked):
        warehouse.compact(at_least=1)


@pytest.mark.parametrize("where", ["COPY", "fsync", "replace"])
def test_a_crash_while_compacting_leaves_a_good_file(
    where: str, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    bloated(warehouse)
    attempts = count(warehouse, "connection_attempts")
    program = f"""
        import os, signal
        from pathlib import Path
        from crypto_pipeline import files
        from crypto_pipeline.warehouse import Warehouse, upkeep

        def die(*_):
            os.kill(os.getpid(), signal.SIGKILL)

        if {where!r} == "fsync":
            files.os.fsync = die
        elif {where!r} == "replace":
            upkeep.Path.replace = die
        else:
            import threading
            threading.Timer(0.02, die).start()
        Warehouse(Path({str(warehouse.path)!r})).compact(at_least=1)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=Path(__file__).parents[1],
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert count(warehouse, "connection_attempts") == attempts
    assert warehouse.compact(at_least=1) > 0
    assert count(warehouse, "connection_attempts") == attempts
    assert list(warehouse.path.parent.glob("*.compacting*")) == []


def test_a_database_that_cannot_be_read_fails_the_job_with_advice(
    warehouse: Warehouse, instance: dg.DagsterInstance
) -> None:
    warehouse.path.write_bytes(b"rubbish" * 9999)
    for name in ("maintenance", "drain_spool"):
        job = build_definitions().resolve_job_def(name)
        result = job.execute_in_process(instance=instance, raise_on_error=False)
        assert not result.success
        (failure,) = [e for e in result.all_events if e.is_step_failure]
        assert failure.step_failure_data.error
        assert "is not a DuckDB file" in failure.step_failure_data.error.message
        assert failure.step_failure_data.error.cause is None


# Dagster's history


def test_old_runs_go_with_their_files_and_the_latest_materializations_stay(
    upstream: Upstream, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dagster_instance, "RUNS_A_TIME", 1)
    old = [materialize(instance, force=True).run_id for _ in range(3)]
    newest = materialize(instance, "market_prices", force=True).run_id
    home = Path(instance.root_directory)

    def files() -> set[str]:
        shards = {f.name.split(".db")[0] for f in (home / "history" / "runs").iterdir()}
        folders = {f.name for f in Path(instance.storage_directory()).iterdir()}
        return (shards | folders) & {*old, newest}

    assert files() == {*old, newest}
    deleted = maintenance.prune_history(instance, datetime.now(UTC) + timedelta(seconds=1))
    assert deleted == 2
    assert files() == {old[-1], newest}
    for table in ("market_prices", "cached_market_data"):
        event = instance.get_latest_materialization_event(dg.AssetKey(table))
        assert event
        assert event.run_id == (newest if table == "market_prices" else old[-1])
    index = sqlite3.connect(home / "history" / "runs" / "index.db")
    checks = index.execute("SELECT DISTINCT run_id FROM asset_check_executions").fetchall()
    index.close()
    assert {run for (run,) in checks} <= {old[-1], newest}


def test_files_of_runs_that_were_deleted_elsewhere_go_too(
    upstream: Upstream, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = materialize(instance).run_id
    instance.delete_run(gone)
    shard = Path(instance.root_directory) / "history" / "runs" / f"{gone}.db"
    maintenance.prune_history(instance, datetime.now(UTC))
    assert shard.exists()  # it is young: its run may have begun just now
    monkeypatch.setattr(maintenance, "FORGOTTEN_AFTER", timedelta(0))
    maintenance.prune_history(instance, datetime.now(UTC))
    assert not shard.exists()


def test_young_runs_and_runs_that_go_on_stay(
    upstream: Upstream, instance: dg.DagsterInstance
) -> None:
    materialize(instance)
    assert maintenance.prune_history(instance, datetime.now(UTC) - timedelta(days=7)) == 0
    assert len(instance.get_runs()) == 1


def test_the_job_runs_daily_and_says_what_it_did(
    warehouse: Warehouse, instance: dg.DagsterInstance
) -> None:
    definitions = build_definitions()
    schedule = definitions.resolve_schedule_def("every_day")
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    job = definitions.resolve_job_def("maintenance")
    assert job.execute_in_process(instance=instance).success  # there is no database yet
    aged(warehouse, *range(30), 400)
    result = job.execute_in_process(instance=instance)
    assert result.success
    said = [entry.user_message for entry in instance.all_logs(result.run_id)]
    assert "dropped 1 rows of data_collections; the file is 0 bytes smaller" in said
