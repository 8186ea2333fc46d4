"""What is seen of Dagster from outside: runs, schedules, sensors, daemons. Names and shapes only.

Whoever looks (the webserver's GraphQL, or the instance itself) gives the same; nothing here needs
Dagster to be imported.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

COLLECTIONS = {
    "ui": "ui_collection",
    "historical": "historical_collection",
    "both": "full_collection",
}
"""The job of each kind of collection."""

SCHEDULES = {"ui": "every_5_minutes", "historical": "every_15_minutes"}
"""The schedule of each group of tables."""

MAINTENANCE = "maintenance"
DRAIN = "drain_spool"
DAILY = "every_day"

JOB_OF = {
    **{SCHEDULES[group]: COLLECTIONS[group] for group in SCHEDULES},
    DAILY: MAINTENANCE,
}
"""The job each schedule launches."""

CRONS = {"ui": "*/5 * * * *", "historical": "2-59/15 * * * *"}
"""The beat of each group where nothing else is set; the second keeps off the first's."""

SCHEDULER = "SCHEDULER"
HEARTBEAT_TOLERANCE = timedelta(seconds=90)
"""Daemons say every 30 s that they live."""

FINISHED = ("SUCCESS", "FAILURE", "CANCELED")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of any job."""

    id: str
    job: str
    status: str
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    launched_by: str = "manual"

    @property
    def finished(self) -> bool:
        return self.status in FINISHED

    @property
    def collection_type(self) -> str | None:
        return next((kind for kind, job in COLLECTIONS.items() if job == self.job), None)


@dataclass(frozen=True, slots=True)
class Tick:
    """One evaluation of a schedule or sensor; `at` is the time the cron expression says."""

    at: datetime
    status: str
    ended_at: datetime | None = None
    reason: str | None = None
    run_ids: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Schedule:
    """One schedule, with its latest ticks first."""

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
class Seen:
    """Dagster at one moment: runs newest first, when each daemon said last that it lives."""

    through: str
    runs: Sequence[Run] = ()
    schedules: Sequence[Schedule] = ()
    sensors: Sequence[Sensor] = ()
    heartbeats: Mapping[str, datetime] = field(default_factory=dict)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def collecting(self) -> list[Schedule]:
        """The schedules that collect, without the daily maintenance."""
        return [s for s in self.schedules if s.name in SCHEDULES.values()]

    @property
    def daemon_alive(self) -> bool:
        beat = self.heartbeats.get(SCHEDULER)
        return beat is not None and self.at - beat <= HEARTBEAT_TOLERANCE


def launched_by(tags: Mapping[str, str]) -> str:
    """Who asked for a run, from its tags."""
    for kind in ("schedule", "sensor"):
        if f"dagster/{kind}_name" in tags:
            return f"{kind} {tags[f'dagster/{kind}_name']}"
    return "manual"


def moment(timestamp: float | None) -> datetime | None:
    return None if timestamp is None else datetime.fromtimestamp(timestamp, UTC)
