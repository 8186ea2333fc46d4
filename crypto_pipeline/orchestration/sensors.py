"""The sensors: run records and alerts on their beat, and what waits in the spool drained.

Owns: how often, and what Dagster hears of it.
Must not know: what is written or looked for. A database that cannot be opened is a reason to wait,
never a failure.
See https://docs.dagster.io/guides/automate/sensors
"""

import logging

import dagster as dg

from crypto_pipeline import files
from crypto_pipeline.monitoring import alerts, run_records
from crypto_pipeline.monitoring.dagster_instance import home_of, open_runs, take_snapshot
from crypto_pipeline.monitoring.snapshot import DRAIN
from crypto_pipeline.orchestration.resources import WarehouseResource
from crypto_pipeline.orchestration.schedules import overdue
from crypto_pipeline.warehouse import Locked, Unfit, Warehouse, WarehouseError, configured

log = logging.getLogger(__name__)  # the context's log would leave a file a tick

LOCK_WAIT_S = 0.4
"""A sensor comes again soon: it does not stand in the way to wait."""


def _warehouse() -> Warehouse:
    return configured(LOCK_WAIT_S)


@dg.sensor(
    name="record_worker",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Writes finished runs, failures and what became of each tick into the warehouse",
)
def record_worker(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """One look at what is new for all runs, where a run status sensor handles five a tick."""
    warehouse = _warehouse()
    waiting = warehouse.waiting()
    stuck = list(files.left_behind(waiting))  # not even a drain gets them into the database
    if len(waiting) > len(stuck):
        return dg.SkipReason("collections wait in the spool: their runs are recorded after them")
    try:
        cursor = run_records.write_run_records(context.instance, warehouse, context.cursor)
    except WarehouseError as problem:
        return dg.SkipReason(f"nothing recorded: {problem}")
    if cursor == context.cursor:
        return dg.SkipReason("nothing is new")
    context.update_cursor(cursor)
    return dg.SkipReason("recorded what is new")


@dg.op(description="Write what waits in the spool into the database")
def drain(context: dg.OpExecutionContext, warehouse: WarehouseResource) -> None:
    try:
        drained = warehouse.warehouse.drain()
    except (Locked, Unfit) as problem:  # the alert says the same, once
        context.log.warning(f"the spool waits on: {problem}")
    except WarehouseError as problem:
        raise dg.Failure(str(problem), allow_retries=False) from None
    else:
        context.log.info(f"{drained} collections left the spool")


@dg.job(
    name=DRAIN,
    executor_def=dg.in_process_executor,
    description="Writes the collections that wait in the spool; a sensor launches it",
)
def drain_spool() -> None:
    drain()


@dg.sensor(
    name="watch",  # its name since the first release: another would forget its switch and cursor
    job_name=DRAIN,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Opens and closes alerts, takes metrics, and drains the spool when it can",
)
def check_alerts(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    instance = context.instance
    collecting = any(schedule.on for schedule in take_snapshot(instance).collecting)
    found = alerts.check(
        _warehouse(), context.cursor, home_of(instance), collecting=collecting, overdue=overdue
    )
    context.update_cursor(found.cursor)
    for alert in found.opened:
        log.warning("%s: %s %s: %s", alert.severity, alert.kind, alert.subject, alert.message)
    if found.drain and not open_runs(instance, DRAIN):
        return dg.RunRequest()
    return dg.SkipReason(f"{len(found.opened)} alerts opened, {len(found.closed)} closed")
