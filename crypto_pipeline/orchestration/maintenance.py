"""The daily maintenance: what is old goes, in Dagster's storage and in the warehouse.

Owns: what is kept of Dagster's history, and the job.
Must not know: how Dagster or the warehouse drops it.
"""

from datetime import UTC, datetime, timedelta

import dagster as dg

from crypto_pipeline import settings
from crypto_pipeline.collection.kept_answers import KeptAnswers, beside
from crypto_pipeline.monitoring import dagster_instance
from crypto_pipeline.monitoring.snapshot import DAILY, MAINTENANCE
from crypto_pipeline.orchestration.resources import WarehouseResource
from crypto_pipeline.tables import KEPT
from crypto_pipeline.warehouse import Locked, Warehouse, WarehouseError

CRON = "17 3 * * *"
FORGOTTEN_AFTER = timedelta(days=1)
"""Files of a run that Dagster does not know are left alone while they are this young."""


def prune_history(instance: dg.DagsterInstance, before: datetime) -> int:
    """Delete the runs that ended before with all that is left of them; returns how many."""
    deleted = dagster_instance.prune_runs(instance, before)
    dagster_instance.sweep(instance, FORGOTTEN_AFTER)
    return deleted


def prune_warehouse(warehouse: Warehouse, at: datetime) -> tuple[dict[str, int], int]:
    """Drop and archive old rows, then compact the file: rows by table, bytes won. Raises
    WarehouseError."""
    dropped = warehouse.prune(settings.keep(KEPT), at, settings.archive())
    return dropped, warehouse.compact()


def prune_answers(warehouse: Warehouse, at: datetime) -> str:
    """Drop the kept answers that are old; tells how many, or why that could not be: that keeps
    nothing else from being pruned."""
    keeping = settings.keeping()
    if not keeping:
        return "no answers are kept"
    try:
        return f"{KeptAnswers(beside(warehouse.path), keeping).drop(at)} kept answers were dropped"
    except WarehouseError as problem:
        return f"no kept answers were dropped: {problem}"


@dg.op(description="Prune Dagster's history and the warehouse's old rows, compact the file")
def prune(context: dg.OpExecutionContext, warehouse: WarehouseResource) -> None:
    at = datetime.now(UTC)
    deleted = prune_history(context.instance, at - settings.keep_runs())
    context.log.info(f"{deleted} runs were deleted from Dagster's history")
    if not warehouse.warehouse.exists:
        return
    context.log.info(prune_answers(warehouse.warehouse, at))
    try:
        dropped, won = prune_warehouse(warehouse.warehouse, at)
    except Locked as problem:
        context.log.warning(f"the warehouse is left for tomorrow: {problem}")
        return
    except WarehouseError as problem:
        raise dg.Failure(str(problem), allow_retries=False) from None
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
