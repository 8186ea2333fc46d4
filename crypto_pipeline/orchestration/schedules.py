"""Jobs, the two schedules, and the sensor that starts the first collection.

Owns: when collections run, and that neither a running nor a dead one is in the way.
Must not know: what a collection does.
See https://docs.dagster.io/guides/automate/schedules
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from crypto_pipeline import settings
from crypto_pipeline.monitoring import dagster_instance
from crypto_pipeline.monitoring.snapshot import COLLECTIONS, CRONS, SCHEDULES
from crypto_pipeline.tables import GROUPS, MarketPrice
from crypto_pipeline.warehouse import Warehouse

TIME_LIMIT = timedelta(minutes=15)
"""A run older than this is dead, whatever its status says: every request has a deadline."""

STALE = timedelta(minutes=30)


QUIET = {"loggers": {"console": {"config": {"log_level": "INFO"}}}}
"""Dagster keeps its own events: on a run's stderr as well they are 11 KB more a run."""


def _job(name: str, groups: tuple[str, ...], description: str) -> Any:
    """An asset job over whole groups; its type has no public name in Dagster."""
    return dg.define_asset_job(
        name,
        selection=dg.AssetSelection.groups(*groups),
        description=description,
        executor_def=dg.in_process_executor,
        config=QUIET,
        tags={"dagster/max_runtime": str(int(TIME_LIMIT.total_seconds()))},
    )


UI = _job(
    COLLECTIONS["ui"],
    ("ui",),
    "Prices, the agreed view of them, gas and sentiment: every 5 minutes",
)
HISTORICAL = _job(
    COLLECTIONS["historical"],
    ("historical",),
    "Candles, news, whales, chains, derivatives, DeFi and the whole market: every 15 minutes",
)
FULL = _job(COLLECTIONS["both"], GROUPS, "Everything, once")

JOBS = [UI, HISTORICAL, FULL]


def in_the_way(instance: dg.DagsterInstance, job_name: str) -> str | None:
    """Why a run of this job should not start now, or None.

    A run that died without saying so (the machine went down, the process was killed) is marked
    failed, so that it silences nothing: one that was at work at once, any other when it has been
    going for longer than TIME_LIMIT.
    """
    dagster_instance.bury_dead(instance, Warehouse(settings.database()).died, job_name)
    now = datetime.now(UTC)
    records = instance.get_run_records(
        dg.RunsFilter(job_name=job_name, statuses=dagster_instance.OPEN)
    )
    for record in records:
        age = now - record.create_timestamp.astimezone(UTC)
        if age <= TIME_LIMIT:
            return f"run {record.dagster_run.run_id} of {job_name} is still going"
        instance.report_run_failed(
            record.dagster_run,
            f"declared dead: still {record.dagster_run.status.value} after {age}, "
            f"the limit is {TIME_LIMIT}",
        )
    return None


def _schedule(job: Any, group: str) -> dg.ScheduleDefinition:
    def evaluate(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        reason = in_the_way(context.instance, job.name)
        return dg.SkipReason(reason) if reason else dg.RunRequest()

    cron = settings.cron(group, CRONS[group])
    try:
        return dg.ScheduleDefinition(
            name=SCHEDULES[group],
            job=job,
            cron_schedule=cron,
            execution_timezone="UTC",
            execution_fn=evaluate,
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description=job.description,
        )
    except dg.DagsterInvalidDefinitionError:
        raise settings.SettingError(
            f"{settings.cron_variable(group)}={cron!r} is not a cron expression; "
            f"the default is {CRONS[group]!r}"
        ) from None


def build_schedules() -> list[dg.ScheduleDefinition]:
    """The two schedules, on by default. The second starts two minutes off the first's beat."""
    return [_schedule(UI, "ui"), _schedule(HISTORICAL, "historical")]


@dg.sensor(
    job=FULL,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts a collection at once when the tables are empty or stale",
)
def first_collection(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Nobody waits for the next quarter of an hour on a first start, or after a long stop."""
    event = context.instance.get_latest_materialization_event(dg.AssetKey(MarketPrice.table.name))
    now = datetime.now(UTC)
    if event:
        age = now - datetime.fromtimestamp(event.timestamp, UTC)
        if age < STALE:
            return dg.SkipReason(f"{MarketPrice.table.name} was collected {age} ago")
    for job in JOBS:
        reason = in_the_way(context.instance, job.name)
        if reason:
            return dg.SkipReason(reason)
    tried = float(context.cursor or 0)
    if now.timestamp() - tried < STALE.total_seconds():
        return dg.SkipReason("tried lately: the schedules go on")
    context.update_cursor(str(now.timestamp()))
    return dg.RunRequest()
