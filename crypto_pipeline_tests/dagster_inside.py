"""What only tests need of Dagster's inside: runs, ticks and switches as its daemon leaves them.

As in the package, private names of Dagster are imported here and in no other test.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    ScheduleInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.test_utils import create_run_for_test, freeze_time
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_shared.error import SerializableErrorInfo

from crypto_pipeline import docs, settings
from crypto_pipeline.groups import SCHEDULED

__all__ = ["TickStatus", "create_run_for_test"]

BROKEN = SerializableErrorInfo("it broke\n", [], "RuntimeError")


def set_enabled(instance: dg.DagsterInstance, names: Iterable[str], *, on: bool) -> None:
    """Turn schedules on or off at once, where `set_enabled` of the package takes seconds: by the
    state that the daemon of this checkout's workspace.yaml reads."""
    states = {state.name: state for state in instance.all_instigator_state()}
    status = InstigatorStatus.RUNNING if on else InstigatorStatus.STOPPED
    since = datetime.now(UTC).timestamp() if on else None
    for name in names:
        data = ScheduleInstigatorData(settings.cron(SCHEDULED[name]), since)
        if state := states.get(name):
            changed = state.with_status(status)
            instance.update_instigator_state(changed.with_data(data) if on else changed)
        else:
            origin = RemoteRepositoryOrigin(_location(), "__repository__")
            instance.add_instigator_state(
                InstigatorState(
                    origin.get_instigator_origin(name), InstigatorType.SCHEDULE, status, data
                )
            )


def _location() -> Any:
    workspace = docs.ROOT / "workspace.yaml"
    (location,) = WorkspaceFileTarget([str(workspace)]).create_origins()
    assert isinstance(location, ManagedGrpcPythonEnvCodeLocationOrigin)
    return location


def on_since(instance: dg.DagsterInstance, name: str, since: datetime) -> None:
    """A schedule as a daemon has met it, on since then."""
    set_enabled(instance, [name], on=True)
    (state,) = [s for s in instance.all_instigator_state() if s.name == name]
    data = ScheduleInstigatorData("*/5 * * * *", since.timestamp())
    instance.update_instigator_state(state.with_data(data))


def add_tick(
    instance: dg.DagsterInstance, name: str, at: datetime, status: TickStatus, **about: Any
) -> None:
    """A tick of a schedule as the daemon leaves it."""
    (state,) = [s for s in instance.all_instigator_state() if s.name == name]
    instance.create_tick(
        TickData(
            state.instigator_origin_id,
            name,
            InstigatorType.SCHEDULE,
            status,
            at.timestamp(),
            end_timestamp=at.timestamp() + 1,
            selector_id=state.selector_id,
            **about,
        )
    )


def started_run(instance: dg.DagsterInstance, job: str, age: timedelta) -> dg.DagsterRun:
    """A run that was started so long ago, and says nothing since."""
    with freeze_time(datetime.now(UTC) - age):
        run: dg.DagsterRun = create_run_for_test(
            instance, job_name=job, status=dg.DagsterRunStatus.STARTED
        )
    return run
