"""The daily maintenance: what is old goes, in Dagster's storage and in the warehouse.

Owns: what is kept of Dagster's history, and the job.
Must not know: how the warehouse drops rows.
"""

import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from crypto_pipeline import settings
from crypto_pipeline.monitoring.dagster_instance import OVER
from crypto_pipeline.monitoring.snapshot import DAILY, MAINTENANCE
from crypto_pipeline.orchestration.assets import WarehouseResource
from crypto_pipeline.tables import TABLES
from crypto_pipeline.warehouse import Locked, Warehouse

CRON = "17 3 * * *"
RUNS_A_TIME = 500
FORGOTTEN_AFTER = timedelta(days=1)
"""Files of a run that Dagster does not know are left alone while they are this young."""


def prune_history(instance: dg.DagsterInstance, before: datetime) -> int:
    """Delete the runs that ended before, with all their files; returns how many.

    A run stays while it holds the latest materialization of an asset: without it Dagster would
    take the asset for one that was never made.
    """
    kept = _latest_runs(instance)
    storage = instance.event_log_storage
    filters = dg.RunsFilter(statuses=OVER, created_before=before)
    limit = RUNS_A_TIME + len(kept)
    deleted = 0
    while True:
        records = instance.get_run_records(filters, limit=limit)
        old = [r.dagster_run.run_id for r in records if r.dagster_run.run_id not in kept]
        for run_id in old:
            instance.delete_run(run_id)
            if isinstance(storage, SqliteEventLogStorage):
                _remove_files(instance, storage, run_id)
        deleted += len(old)
        if len(records) < limit:
            break
    if isinstance(storage, SqliteEventLogStorage):
        _sweep(instance, storage)
    return deleted


def _remove_files(
    instance: dg.DagsterInstance, storage: SqliteEventLogStorage, run_id: str
) -> None:
    """A run's own database and its folder of logs, which `delete_run` leaves behind."""
    for ending in ("", "-wal", "-shm"):
        Path(storage.path_for_shard(run_id) + ending).unlink(missing_ok=True)
    shutil.rmtree(Path(instance.storage_directory()) / run_id, ignore_errors=True)


def _latest_runs(instance: dg.DagsterInstance) -> set[str]:
    """Runs that hold an asset's latest materialization."""
    records = instance.get_asset_records()
    return {
        record.asset_entry.last_materialization_record.run_id
        for record in records
        if record.asset_entry.last_materialization_record
    }


def _sweep(instance: dg.DagsterInstance, storage: SqliteEventLogStorage) -> None:
    """What else is left behind: files of runs that are deleted in the UI, rows of checks, and the
    free room in the databases that stay."""
    known = {run.run_id for run in instance.get_runs()}
    index = Path(storage.path_for_shard("index"))
    for file in index.parent.iterdir():
        run_id = file.name.split(".db")[0]
        if file != index and _is_run(run_id) and run_id not in known and _old(file):
            file.unlink(missing_ok=True)
    logs = Path(instance.storage_directory())
    for folder in logs.iterdir() if logs.exists() else ():
        if _is_run(folder.name) and folder.name not in known and _old(folder):
            shutil.rmtree(folder, ignore_errors=True)
    with closing(sqlite3.connect(index, timeout=10)) as connection, connection:
        connection.execute("CREATE TEMP TABLE known (run_id TEXT PRIMARY KEY)")
        connection.executemany("INSERT INTO known VALUES (?)", [(run,) for run in known])
        connection.execute(
            "DELETE FROM asset_check_executions WHERE run_id NOT IN (SELECT run_id FROM known) "
            "AND id NOT IN (SELECT max(id) FROM asset_check_executions "
            "GROUP BY asset_key, check_name)"
        )
    home = Path(instance.root_directory)
    for file in (index, home / "history" / "runs.db", home / "schedules" / "schedules.db"):
        if file.exists():
            _vacuum(file)


def _is_run(name: str) -> bool:
    return len(name) == 36 and name.count("-") == 4


def _old(file: Path) -> bool:
    """Not of a run that began after the runs were listed."""
    try:
        changed = datetime.fromtimestamp(file.stat().st_mtime, UTC)
    except FileNotFoundError:
        return False
    return datetime.now(UTC) - changed > FORGOTTEN_AFTER


def _vacuum(file: Path) -> None:
    """Give the room of deleted rows back, when the file is free; else another day."""
    try:
        with closing(sqlite3.connect(file, timeout=5, isolation_level=None)) as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.OperationalError:
        return


def prune_warehouse(warehouse: Warehouse, at: datetime) -> tuple[dict[str, int], int]:
    """Drop and archive old rows, then compact the file: rows by table, bytes won. Raises Locked."""
    timed = {name: m.table.keep for name, m in TABLES.items() if m.table.time}
    dropped = warehouse.prune(settings.keep(timed), at, settings.archive())
    return dropped, warehouse.compact()


@dg.op(description="Prune Dagster's history and the warehouse's old rows, compact the file")
def prune(context: dg.OpExecutionContext, warehouse: WarehouseResource) -> None:
    at = datetime.now(UTC)
    deleted = prune_history(context.instance, at - settings.keep_runs())
    context.log.info(f"{deleted} runs were deleted from Dagster's history")
    if not warehouse.warehouse.path.exists():
        return
    try:
        dropped, won = prune_warehouse(warehouse.warehouse, at)
    except Locked as problem:
        context.log.warning(f"the warehouse is left for tomorrow: {problem}")
        return
    rows = ", ".join(f"{count} rows of {table}" for table, count in dropped.items())
    context.log.info(f"dropped {rows or 'no rows'}; the file is {won} bytes smaller")


@dg.job(
    name=MAINTENANCE,
    executor_def=dg.in_process_executor,
    description="Prunes Dagster's history and the warehouse's old rows, compacts the file: daily",
)
def maintenance() -> None:
    prune()


every_day = dg.ScheduleDefinition(
    name=DAILY,
    job_name=MAINTENANCE,
    cron_schedule=CRON,
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="The daily maintenance",
)
