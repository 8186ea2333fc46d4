"""Jobs, the two schedules, and the sensor that starts the first collection.

Owns: when collections run, and that neither a running nor a dead one is in the way.
Must not know: what a collection does.
See https://docs.dagster.io/guides/automate/schedules
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from crypto_pipeline import clock, settings
from crypto_pipeline.groups import BOTH, COLLECTION_JOBS, GROUPS, UI, Group
from crypto_pipeline.monitoring import dagster_instance
from crypto_pipeline.tables import MarketPrice, of_group
from crypto_pipeline.warehouse import configured

TIME_LIMIT = timedelta(minutes=15)
"""A run older than this is dead, whatever its status says: every request has a deadline."""

QUIET = {"loggers": {"console": {"config": {"log_level": "INFO"}}}}
"""Dagster keeps its own events: on a run's stderr as well they are 11 KB more a run."""


def _job(name: str, groups: tuple[Group, ...], description: str) -> Any:
    """An asset job over all that is collected with these groups; its type has no public name in
    Dagster.

    Without the checks: a run that has one in its plan and does not come to it, since nobody was
    asked, would leave it as skipped in the place of what it was. The step reports them all.
    """
    tables = [model.table.name for group in groups for model in of_group(group)]
    return dg.define_asset_job(
        name,
        selection=dg.AssetSelection.assets(*tables).without_checks(),
        description=description,
        executor_def=dg.in_process_executor,
        config=QUIET,
        tags={"dagster/max_runtime": str(int(TIME_LIMIT.total_seconds()))},
    )


def _about(group: Group) -> str:
    return f"{group.about}: every {group.beat.seconds // 60} minutes"


_GROUP_JOBS = {group: _job(group.job, (group,), _about(group)) for group in GROUPS}
FULL = _job(COLLECTION_JOBS[BOTH], GROUPS, "Everything, once")

JOBS = [*_GROUP_JOBS.values(), FULL]


def why_not_start(instance: dg.DagsterInstance, job_name: str) -> str | None:
    """Why a run of this job should not start now, or None.

    A run that died without saying so (the machine went down, the process was killed) is marked
    failed, so that it silences nothing: one that had its lock at once, any other when it has been
    going for longer than TIME_LIMIT, or is dated ahead of the clock: it would be going for ever.
    """
    dagster_instance.fail_dead_runs(instance, configured().died, job_name)
    now = datetime.now(UTC)
    for run in dagster_instance.open_runs(instance, job_name):
        age = now - run.created_at
        if age <= TIME_LIMIT and not clock.ahead(run.created_at, now):
            return f"run {run.id} of {job_name} is still going"
        reason = f"still {run.status} since {clock.said(run.created_at)}, the limit is {TIME_LIMIT}"
        dagster_instance.fail_run(instance, run.id, reason)
    return None


def _schedule(group: Group) -> dg.ScheduleDefinition:
    def evaluate(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        reason = why_not_start(context.instance, group.job)
        return dg.SkipReason(reason) if reason else dg.RunRequest()

    return dg.ScheduleDefinition(
        name=group.schedule,
        job=_GROUP_JOBS[group],
        cron_schedule=settings.cron(group),
        execution_timezone="UTC",
        execution_fn=evaluate,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=_about(group),
    )


def build_schedules() -> list[dg.ScheduleDefinition]:
    """The schedule of each group, on by default. Raises SettingError."""
    return [_schedule(group) for group in GROUPS]


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
        collected_at = datetime.fromtimestamp(event.timestamp, UTC)
        if not overdue(collected_at, now):
            return dg.SkipReason(f"{MarketPrice.table.name} was collected {now - collected_at} ago")
    for job in COLLECTION_JOBS.values():
        reason = why_not_start(context.instance, job)
        if reason:
            return dg.SkipReason(reason)
    if not overdue(datetime.fromtimestamp(float(context.cursor or 0), UTC), now):
        return dg.SkipReason("tried lately: the schedules go on")
    context.update_cursor(str(now.timestamp()))
    return dg.RunRequest()


def overdue(since: datetime, now: datetime) -> bool:
    """Whether prices of then are stale now, and their schedule was due twice in between: nights
    and week-ends that a user's cron leaves out are no reason to collect."""
    if clock.ahead(since, now):
        return True
    ticks = dagster_instance.ticks_after(settings.cron(UI), since)
    next(ticks)
    return now - since >= UI.stale and now >= next(ticks)
