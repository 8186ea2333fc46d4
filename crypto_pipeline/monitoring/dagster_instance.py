"""Dagster's own record of runs and ticks, read from the instance: no webserver has to run.

Owns: what is read from Dagster's storage and how schedules are turned without it, and finding the
runs that died without saying so.
Must not know: the warehouse's tables.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import CodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorTick,
    ScheduleInstigatorData,
    TickStatus,
)
from dagster._core.workspace.load_target import ModuleTarget, WorkspaceFileTarget
from dagster._utils.schedules import schedule_execution_time_iterator
from sqlalchemy.exc import OperationalError

from crypto_pipeline import settings
from crypto_pipeline.monitoring.snapshot import (
    CRONS,
    JOB_OF,
    SCHEDULES,
    Run,
    Schedule,
    Seen,
    Sensor,
    Tick,
    launched_by,
    moment,
)

RUNS_SEEN = 100
TICKS_SEEN = 3

OPEN = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
"""Statuses of a run that is not over."""

OVER = [
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
]


def open_instance() -> dg.DagsterInstance:
    """The instance of DAGSTER_HOME.

    Two processes that make its storage in the same moment trip over each other once: the loser
    finds it made when it tries again.
    """
    for _ in range(3):
        try:
            return dg.DagsterInstance.get()
        except OperationalError:
            time.sleep(1)
    return dg.DagsterInstance.get()


def see(instance: dg.DagsterInstance) -> Seen:
    """What the instance knows. Schedules that no daemon has met yet are as the code declares."""
    states = _states(instance)
    known = {state.name for state in states}
    schedules = [
        _schedule(instance, state)
        for state in states
        if state.instigator_type == InstigatorType.SCHEDULE
    ]
    for group, name in SCHEDULES.items():
        if name not in known:
            cron = settings.cron(group, CRONS[group])
            coming = next(beats(cron, datetime.now(UTC)))
            schedules.append(Schedule(name, JOB_OF[name], cron, "UTC", True, coming))
    return Seen(
        through="instance",
        runs=[run_of(record) for record in instance.get_run_records(limit=RUNS_SEEN)],
        schedules=sorted(schedules, key=lambda s: s.name),
        sensors=[
            Sensor(state.name, state.is_running, _latest(instance, state))
            for state in states
            if state.instigator_type == InstigatorType.SENSOR
        ],
        heartbeats={
            kind: datetime.fromtimestamp(beat.timestamp, UTC)
            for kind, beat in instance.get_daemon_heartbeats().items()
        },
    )


def run_of(record: dg.RunRecord) -> Run:
    run = record.dagster_run
    return Run(
        id=run.run_id,
        job=run.job_name,
        status=run.status.value,
        created_at=record.create_timestamp.astimezone(UTC),
        started_at=moment(record.start_time),
        finished_at=moment(record.end_time),
        launched_by=launched_by(run.tags),
    )


def _states(instance: dg.DagsterInstance) -> Sequence[InstigatorState]:
    """The latest state of each schedule and sensor; a renamed code location leaves older ones."""
    return list({state.name: state for state in instance.all_instigator_state()}.values())


def _schedule(instance: dg.DagsterInstance, state: InstigatorState) -> Schedule:
    data = state.instigator_data
    group = next((g for g, name in SCHEDULES.items() if name == state.name), None)
    cron = data.cron_schedule if isinstance(data, ScheduleInstigatorData) else ""
    cron = settings.cron(group, CRONS[group]) if group else str(cron)
    return Schedule(
        name=state.name,
        job=JOB_OF.get(state.name, state.name),
        cron=cron,
        timezone="UTC",
        on=state.is_running,
        next_at=next(beats(cron, datetime.now(UTC))) if state.is_running else None,
        ticks=_latest(instance, state),
        id=f"{state.instigator_origin_id}::{state.selector_id}",
    )


def _latest(instance: dg.DagsterInstance, state: InstigatorState) -> list[Tick]:
    found = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=TICKS_SEEN)
    return [_tick(tick) for tick in found]


def _tick(tick: InstigatorTick) -> Tick:
    return Tick(
        at=datetime.fromtimestamp(tick.timestamp, UTC),
        status=tick.status.value,
        ended_at=moment(tick.end_timestamp),
        reason=tick.skip_reason or (tick.error.message.strip() if tick.error else None),
        run_ids=tuple(tick.run_ids),
    )


def beats(cron: str, after: datetime) -> Iterator[datetime]:
    """The moments of a cron expression after a moment, for ever."""
    for at in schedule_execution_time_iterator(after.timestamp(), cron, "UTC"):
        if at > after:
            yield at.astimezone(UTC)


# Ticks


def schedule_ticks(
    instance: dg.DagsterInstance, name: str, after: datetime, limit: int
) -> tuple[datetime | None, list[Tick]]:
    """Since when a schedule has been on (None: it is off), and its ticks after a moment."""
    for state in _states(instance):
        if state.name == name:
            data = state.instigator_data
            since = data.start_timestamp if isinstance(data, ScheduleInstigatorData) else None
            found = instance.get_ticks(
                state.instigator_origin_id,
                state.selector_id,
                after=after.timestamp() - 1,
                limit=limit,
            )
            on = moment(since or 0.0) if state.is_running else None
            return on, [_tick(tick) for tick in found]
    return None, []


def failed_ticks(instance: dg.DagsterInstance, after: datetime) -> Iterator[tuple[str, str, Tick]]:
    """Failures of schedules and sensors after a moment: kind, name, tick."""
    for state in _states(instance):
        found = instance.get_ticks(
            state.instigator_origin_id,
            state.selector_id,
            after=after.timestamp(),
            statuses=[TickStatus.FAILURE],
            limit=50,
        )
        for tick in found:
            yield state.instigator_type.value.lower(), state.name, _tick(tick)


# Runs


def finished_runs(
    instance: dg.DagsterInstance, after: datetime, limit: int
) -> list[tuple[datetime, Run]]:
    """Finished runs in the order they ended, with the moment their record was last changed."""
    filters = dg.RunsFilter(statuses=OVER, updated_after=after)
    records = instance.get_run_records(filters, limit, order_by="update_timestamp", ascending=True)
    return [(record.update_timestamp.astimezone(UTC), run_of(record)) for record in records]


def why_failed(instance: dg.DagsterInstance, run_id: str) -> str:
    """What a failed run said, as short as it can be said."""
    wanted = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
    words = "no reason was recorded"
    for entry in instance.all_logs(run_id, of_type=wanted):
        event = entry.get_dagster_event()
        data: Any = event.event_specific_data
        details = getattr(data, "user_failure_data", None)
        error = getattr(data, "error", None)
        words = (
            getattr(details, "description", None)
            or getattr(error, "message", None)
            or event.message
            or words
        )
        if event.is_step_failure:
            break
    return str(words).strip()[:2000]


def bury_dead(
    instance: dg.DagsterInstance, died: Callable[[str], bool], job: str | None = None
) -> list[str]:
    """Mark runs failed whose process is gone; gives their ids.

    A killed process or a machine that went down says nothing, and Dagster would count its run as
    going on until a time limit; while it does, a schedule that waits for its run is silent.
    """
    buried = []
    for run in instance.get_runs(dg.RunsFilter(job_name=job, statuses=OPEN)):
        if died(run.run_id):
            instance.report_run_failed(run, "declared dead: its process is gone")
            buried.append(run.run_id)
    return buried


# Turning schedules without a webserver


def turn(instance: dg.DagsterInstance, names: Iterable[str], *, on: bool) -> None:
    """Turn schedules on or off as the UI does: by the state both it and the daemon read."""
    states = {state.name: state for state in _states(instance)}
    status = InstigatorStatus.RUNNING if on else InstigatorStatus.STOPPED
    groups = {name: group for group, name in SCHEDULES.items()}
    for name in names:
        cron = settings.cron(groups[name], CRONS[groups[name]])
        data = ScheduleInstigatorData(cron, datetime.now(UTC).timestamp() if on else None)
        state = states.get(name)
        if state is None:
            origin = RemoteRepositoryOrigin(_location(), "__repository__").get_instigator_origin(
                name
            )
            instance.add_instigator_state(
                InstigatorState(origin, InstigatorType.SCHEDULE, status, data)
            )
        elif state.is_running != on:
            changed = state.with_status(status)
            instance.update_instigator_state(changed.with_data(data) if on else changed)


def _location() -> CodeLocationOrigin:
    """The code location as the workspace file here names it, else as `-m` would."""
    workspace = Path("workspace.yaml")
    if workspace.exists():
        return WorkspaceFileTarget([str(workspace)]).create_origins()[0]
    module = "crypto_pipeline.definitions"
    return ModuleTarget(module, None, str(Path.cwd()), None).create_origins()[0]
