"""Dagster at one moment, as it is seen from outside: runs, schedules, sensors, daemons. Names and
shapes only.

Whoever takes it (from the webserver's GraphQL, or from the instance itself) gives the same; nothing
here needs Dagster to be imported.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from crypto_pipeline.groups import COLLECTION_JOBS, SCHEDULED, CollectionType

MAINTENANCE = "maintenance"
DRAIN = "drain_spool"
DAILY = "every_day"

JOB_OF = {**{schedule: group.job for schedule, group in SCHEDULED.items()}, DAILY: MAINTENANCE}
"""The job each schedule launches."""

RUNS_SHOWN = 100
TICKS_SHOWN = 3
"""How many runs, and ticks of each schedule and sensor, a snapshot has: the newest."""

SCHEDULER = "SCHEDULER"
HEARTBEAT_TOLERANCE = timedelta(seconds=90)
"""Daemons say every 30 s that they live."""

RunStatus = Literal[
    "QUEUED",
    "NOT_STARTED",
    "MANAGED",
    "STARTING",
    "STARTED",
    "SUSPENDED",
    "SUCCESS",
    "FAILURE",
    "CANCELING",
    "CANCELED",
]
TickStatus = Literal["STARTED", "SKIPPED", "SUCCESS", "FAILURE"]
"""Dagster's own words; mypy compares them with its enumerations."""

FINISHED: tuple[RunStatus, ...] = ("SUCCESS", "FAILURE", "CANCELED")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of any job."""

    id: str
    job: str
    status: RunStatus
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    launched_by: str = "manual"

    @property
    def finished(self) -> bool:
        return self.status in FINISHED

    @property
    def collection_type(self) -> CollectionType | None:
        return next((kind for kind, job in COLLECTION_JOBS.items() if job == self.job), None)


@dataclass(frozen=True, slots=True)
class Tick:
    """One evaluation of a schedule or sensor; `at` is the time the cron expression says."""

    at: datetime
    status: TickStatus
    ended_at: datetime | None = None
    reason: str | None = None
    run_ids: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Schedule:
    """One schedule, with its latest ticks first. id: what the webserver knows it by."""

    name: str
    job: str
    cron: str
    timezone: str
    on: bool
    next_at: datetime | None = None
    ticks: Sequence[Tick] = ()
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Sensor:
    """One sensor, with its latest ticks first."""

    name: str
    on: bool
    ticks: Sequence[Tick] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Dagster at one moment: runs newest first, when each daemon said last that it lives.

    through: whether the webserver or the instance was asked.
    """

    through: str
    runs: Sequence[Run] = ()
    schedules: Sequence[Schedule] = ()
    sensors: Sequence[Sensor] = ()
    heartbeats: Mapping[str, datetime] = field(default_factory=dict)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def collecting(self) -> list[Schedule]:
        """The schedules that collect, without the daily maintenance."""
        return [s for s in self.schedules if s.name in SCHEDULED]

    @property
    def daemon_alive(self) -> bool:
        last = self.heartbeats.get(SCHEDULER)
        return last is not None and self.at - last <= HEARTBEAT_TOLERANCE


class NotSwitched(RuntimeError):
    """Dagster was asked to turn a schedule on or off, and did not."""


def launched_by(tags: Mapping[str, str]) -> str:
    """Who asked for a run, from its tags."""
    for kind in ("schedule", "sensor"):
        if f"dagster/{kind}_name" in tags:
            return f"{kind} {tags[f'dagster/{kind}_name']}"
    return "manual"


def moment(timestamp: float | None) -> datetime | None:
    """A time from Unix seconds."""
    return None if timestamp is None else datetime.fromtimestamp(timestamp, UTC)
