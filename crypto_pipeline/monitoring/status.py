"""The worker as people ask for it: status, stats, schedules, health.

Owns: what the answers say, made of a snapshot of Dagster and what the warehouse knows.
Must not know: how Dagster is asked.
"""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from crypto_pipeline import clock, settings
from crypto_pipeline.groups import BOTH, GROUPS, SCHEDULED, CollectionType, Group
from crypto_pipeline.monitoring.snapshot import Run, Schedule, Sensor, Snapshot
from crypto_pipeline.tables import Alert
from crypto_pipeline.warehouse import Locked, Warehouse, WarehouseError, queries

RECENT = timedelta(hours=24)
ERRORS_SHOWN = 10


@dataclass(slots=True)
class WorkerFacts:
    """What the warehouse says of the worker; empty, with the trouble named, when it cannot.

    recorded: the ids of recent runs in worker_runs. unrecorded: collections in the file whose runs
    no sensor has recorded yet, by run. locked: whether the trouble is only another program.
    """

    stats: dict[str, Any] = field(default_factory=dict)
    recorded: set[str] = field(default_factory=set)
    unrecorded: dict[str, queries.Brought] = field(default_factory=dict)
    failures: list[tuple[datetime, str]] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    ticks: dict[str, dict[str, int]] = field(default_factory=dict)
    waiting: int = 0
    trouble: str | None = None
    locked: bool = False


def read_facts(warehouse: Warehouse) -> WorkerFacts:
    """Read it in one short connection; never raises for a missing, locked or damaged file."""
    facts = WorkerFacts(waiting=len(warehouse.waiting()))
    if not warehouse.exists:
        facts.trouble = f"there is no database at {warehouse.path} yet"
        return facts
    since = datetime.now(UTC) - RECENT
    try:
        with warehouse.reading() as connection:
            stats = queries.worker_stats(connection)
            if stats is None:
                facts.trouble = (
                    "the file is of an earlier layout: the next collection brings it up to date"
                )
                return facts
            facts.stats = stats
            facts.recorded = queries.recorded_runs(connection, since - RECENT)
            facts.unrecorded = queries.unrecorded_collections(connection)
            facts.failures = queries.failures(connection, since, ERRORS_SHOWN)
            facts.alerts = queries.open_alerts(connection)
            facts.ticks = queries.tick_counts(connection, since)
    except Locked as problem:
        facts.trouble, facts.locked = f"locked: {problem}", True
    except WarehouseError as problem:
        facts.trouble = str(problem)
    return facts


# Counting


@dataclass(slots=True)
class _Count:
    """What the collections of one group come to."""

    collections: int = 0
    failed: int = 0
    records: int = 0
    last: datetime | None = None

    @property
    def average(self) -> float | None:
        return round(self.records / self.collections, 1) if self.collections else None


_Counts = Mapping[Group, _Count]


def _count(snapshot: Snapshot, facts: WorkerFacts) -> _Counts:
    """The collections of each group.

    The recorded ones come from the view; runs that ended since the sensor last wrote, and
    collections run where no daemon is, are added from the snapshot and from their own account.
    """
    stats = facts.stats
    counts = {
        group: _Count(
            stats.get(f"total_{group.name}_collections", 0),
            stats.get(f"failed_{group.name}_collections", 0),
            stats.get(f"{group.name}_records_saved", 0),
            stats.get(f"last_{group.name}_collection"),
        )
        for group in GROUPS
    }
    ended = {run.id: run for run in snapshot.runs if run.finished and run.id not in facts.recorded}
    open_runs = {run.id for run in snapshot.runs if not run.finished}
    for run_id in (ended.keys() | facts.unrecorded.keys()) - open_runs:
        _add(counts, ended.get(run_id), facts.unrecorded.get(run_id))
    return counts


def _add(counts: _Counts, run: Run | None, brought: queries.Brought | None) -> None:
    """Count one collection that no sensor has recorded, by its run, its account, or both."""
    kind = brought.collection_type if brought else run.collection_type if run else None
    ended_at = run.finished_at if run else brought.finished_at if brought else None
    for group, count in counts.items():
        count.records += brought.records[group.name] if brought else 0
        if _is_of(kind, group):
            count.collections += 1
            count.failed += bool(run and run.status != "SUCCESS")
            if ended_at and (count.last is None or ended_at > count.last):
                count.last = ended_at


def _is_of(kind: CollectionType | None, group: Group) -> bool:
    return kind in (group.name, BOTH)


# Answers


def status(snapshot: Snapshot, facts: WorkerFacts) -> dict[str, Any]:
    """What the worker does and did. The names are an interface: scripts read them."""
    counts = _count(snapshot, facts)
    return {
        "is_running": running(snapshot),
        **{f"{group.name}_collections": count.collections for group, count in counts.items()},
        "total_records_saved": sum(count.records for count in counts.values()),
        **{f"last_{group.name}_collection": _iso(count.last) for group, count in counts.items()},
        "recent_errors": [
            {"timestamp": _iso(at), "error": message} for at, message in _errors(snapshot, facts)
        ],
        "scheduler_jobs": [
            {"id": s.name, "name": s.job, "next_run_time": _iso(s.next_at)}
            for s in snapshot.collecting
        ],
        "running_now": [run.job for run in snapshot.runs if not run.finished],
        "open_alerts": len(facts.alerts),
        "collections_waiting": facts.waiting,
        "database": facts.trouble or "ok",
        "asked": snapshot.through,
    }


def running(snapshot: Snapshot) -> bool:
    """Whether collections come by themselves: a schedule is on, and a daemon is there for it."""
    return snapshot.daemon_alive and any(schedule.on for schedule in snapshot.collecting)


def _errors(snapshot: Snapshot, facts: WorkerFacts) -> list[tuple[datetime, str]]:
    """What failed of late: as recorded, and runs that failed since."""
    unrecorded = [
        (run.finished_at or run.created_at, f"run {run.job}: {run.status} (run {run.id})")
        for run in snapshot.runs
        if run.status == "FAILURE"
        and run.id not in facts.recorded
        and snapshot.at - run.created_at < RECENT
    ]
    return sorted(facts.failures + unrecorded, reverse=True)[:ERRORS_SHOWN]


def stats(snapshot: Snapshot, facts: WorkerFacts) -> dict[str, Any]:
    """All that the worker ever did. Each average divides a group's rows by its own collections."""
    counts = _count(snapshot, facts)
    total = sum(count.collections for count in counts.values())
    failed = sum(count.failed for count in counts.values())
    answer: dict[str, Any] = {
        f"total_{group.name}_collections": count.collections for group, count in counts.items()
    }
    answer["total_records_saved"] = sum(count.records for count in counts.values())
    for group, count in counts.items():
        answer[f"{group.name}_records_saved"] = count.records
        answer[f"average_records_per_{group.name}_collection"] = count.average
        answer[f"failed_{group.name}_collections"] = count.failed
        answer[f"last_{group.name}_collection"] = _iso(count.last)
    answer["success_rate_pct"] = round(100 * (total - failed) / total, 1) if total else None
    for name in ("endpoints_asked", "endpoints_answered"):
        answer[name] = facts.stats.get(name, 0)
    answer["first_collection"] = _iso(facts.stats.get("first_collection"))
    answer["recent_errors_count"] = len(_errors(snapshot, facts))
    return answer


def schedules(snapshot: Snapshot, facts: WorkerFacts) -> list[dict[str, Any]]:
    """Each schedule: when it ran, when it runs, and how punctual it was for a day."""
    listed = []
    for schedule in snapshot.schedules:
        last = schedule.ticks[0] if schedule.ticks else None
        counts = facts.ticks.get(schedule.name, {})
        listed.append(
            {
                "id": schedule.name,
                "name": schedule.job,
                "cron": schedule.cron,
                "timezone": schedule.timezone,
                "enabled": schedule.on,
                "next_run_time": _iso(schedule.next_at),
                "last_tick": _iso(last.at if last else None),
                "last_outcome": last.status if last else None,
                "last_reason": last.reason if last else None,
                "last_24h": {
                    outcome: counts.get(outcome, 0)
                    for outcome in ("on_time", "late", "skipped", "failed", "missed")
                },
            }
        )
    return listed


def health(snapshot: Snapshot, facts: WorkerFacts, warehouse: Warehouse) -> dict[str, Any]:
    """Whether all is well; reasons make it unhealthy, warnings do not."""
    reasons = [
        *_of_the_daemon(snapshot),
        *_of_the_collections(snapshot, facts),
        *_of_the_ticks(snapshot),
    ]
    warnings: list[str] = []
    if facts.trouble:
        (warnings if facts.locked else reasons).append(facts.trouble)
    if facts.waiting:
        warnings.append(f"{facts.waiting} collections wait in the spool for the database")
    free = shutil.disk_usage(_existing(warehouse)).free
    if free < settings.least_free_bytes():
        reasons.append(f"the disk is nearly full: {free / 2**30:.1f} GiB are free")
    for alert in facts.alerts:
        place = reasons if alert.severity == "critical" else warnings
        place.append(f"{alert.kind} {alert.subject}: {alert.message}")
    return {
        "status": "unhealthy" if reasons else "healthy",
        "healthy": not reasons,
        "is_running": running(snapshot),
        "reasons": reasons,
        "warnings": warnings,
        "timestamp": _iso(snapshot.at),
    }


def _of_the_daemon(snapshot: Snapshot) -> Iterable[str]:
    if not snapshot.daemon_alive:
        last = max(snapshot.heartbeats.values(), default=None)
        yield (
            "the daemon is not running"
            + (f": it was last heard of at {clock.said(last)}" if last else "")
            + "; `make dev` starts it"
        )
    off = [schedule.name for schedule in snapshot.collecting if not schedule.on]
    if off:
        yield f"stopped: {', '.join(off)}; `crypto-pipeline start` starts them"


def _of_the_collections(snapshot: Snapshot, facts: WorkerFacts) -> Iterable[str]:
    finished = [run for run in snapshot.runs if run.finished]
    for group, count in _count(snapshot, facts).items():
        latest = next((run for run in finished if _is_of(run.collection_type, group)), None)
        if latest and latest.status == "FAILURE":
            yield f"the last {group.name} collection failed: run {latest.id}"
        if count.last is None:
            yield f"no {group.name} collection has ended yet"
        elif clock.ahead(count.last, snapshot.at):
            yield f"the last {group.name} collection is dated ahead: {clock.said(count.last)}"
        elif snapshot.at - count.last > _patience(group, snapshot.collecting):
            yield f"the last {group.name} collection ended at {clock.said(count.last)}"


def _patience(group: Group, schedules: Iterable[Schedule]) -> timedelta:
    """How long silence is normal; where another cron is set, until it was due twice."""
    for schedule in schedules:
        changed = SCHEDULED[schedule.name] is group and schedule.cron != group.cron
        if changed and schedule.on and schedule.next_at and schedule.ticks:
            return max(group.stale, 2 * (schedule.next_at - schedule.ticks[0].at))
    return group.stale


def _of_the_ticks(snapshot: Snapshot) -> Iterable[str]:
    """A schedule or sensor whose last evaluation failed."""
    ticking: Sequence[Schedule | Sensor] = (*snapshot.schedules, *snapshot.sensors)
    for one in ticking:
        last = next((tick for tick in one.ticks if tick.status != "STARTED"), None)
        if one.on and last and last.status == "FAILURE":
            what = "schedule" if isinstance(one, Schedule) else "sensor"
            first = (last.reason or "").splitlines()
            yield f"{what} {one.name} failed: {first[0] if first else 'see it in the UI'}"


def _existing(warehouse: Warehouse) -> str:
    folder = warehouse.path.parent
    while not folder.exists():
        folder = folder.parent
    return str(folder)


def _iso(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat(timespec="seconds") if at else None
