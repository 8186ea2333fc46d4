"""Jobs, the two schedules, and the sensor that starts the first collection.

Owns: when collections run, and that neither a running nor a dead one is in the way.
Must not know: what a collection does.
See https://docs.dagster.io/guides/automate/schedules
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from crypto_pipeline import settings
from crypto_pipeline.tables import GROUPS, MarketPrice

TIME_LIMIT = timedelta(minutes=15)
"""A run older than this is dead, whatever its status says: every request has a deadline."""

STALE = timedelta(minutes=30)

_OPEN = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def _job(name: str, groups: tuple[str, ...], description: str) -> Any:
    """An asset job over whole groups; its type has no public name in Dagster."""
    return dg.define_asset_job(
        name,
        selection=dg.AssetSelection.groups(*groups),
        description=description,
        executor_def=dg.in_process_executor,
        tags={"dagster/max_runtime": str(int(TIME_LIMIT.total_seconds()))},
    )


UI = _job(
    "ui_collection",
    ("ui",),
    "Prices, the agreed view of them, gas and sentiment: every 5 minutes",
)
HISTORICAL = _job(
    "historical_collection",
    ("historical",),
    "Candles, news, whales, chains, derivatives, DeFi and the whole market: every 15 minutes",
)
FULL = _job("full_collection", GROUPS, "Everything, once")

JOBS = [UI, HISTORICAL, FULL]


def in_the_way(instance: dg.DagsterInstance, job_name: str) -> str | None:
    """Why a run of this job should not start now, or None.

    A run that has been going for longer than TIME_LIMIT died without saying so (the machine went
    down, the process was killed): it is marked failed, so that it silences nothing.
    """
    now = datetime.now(UTC)
    records = instance.get_run_records(dg.RunsFilter(job_name=job_name, statuses=_OPEN))
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


def _schedule(name: str, job: Any, group: str, default: str) -> dg.ScheduleDefinition:
    def evaluate(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        reason = in_the_way(context.instance, job.name)
        return dg.SkipReason(reason) if reason else dg.RunRequest()

    cron = settings.cron(group, default)
    try:
        return dg.ScheduleDefinition(
            name=name,
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
            f"the default is {default!r}"
        ) from None


def build_schedules() -> list[dg.ScheduleDefinition]:
    """The two schedules, on by default. The second starts two minutes off the first's beat."""
    return [
        _schedule("every_5_minutes", UI, "ui", "*/5 * * * *"),
        _schedule("every_15_minutes", HISTORICAL, "historical", "2-59/15 * * * *"),
    ]


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
