"""The worker as people ask for it: status, stats, schedules, health.

Owns: what the answers say, made of what is seen of Dagster and what the warehouse keeps.
Must not know: how Dagster is asked, or that it is Dagster.
"""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from crypto_pipeline import settings
from crypto_pipeline.monitoring.snapshot import CRONS, Run, Schedule, Seen
from crypto_pipeline.tables import DATA, GROUPS
from crypto_pipeline.tables.views import WORKER_STATS
from crypto_pipeline.warehouse import Locked, Warehouse, WarehouseError

RECENT = timedelta(hours=24)
ERRORS_SHOWN = 10

SILENT = {"ui": timedelta(minutes=20), "historical": timedelta(minutes=60)}
"""How long a group may go without a collection, on its usual beat, before that is unhealthy."""


@dataclass(slots=True)
class Kept:
    """What the warehouse says of the worker; empty, with the trouble named, when it cannot.

    unrecorded: collections in the file whose runs no sensor has recorded yet, by run.
    """

    stats: dict[str, Any] = field(default_factory=dict)
    recorded: set[str] = field(default_factory=set)
    unrecorded: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: list[tuple[datetime, str]] = field(default_factory=list)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    ticks: dict[str, dict[str, int]] = field(default_factory=dict)
    waiting: int = 0
    trouble: str | None = None


def kept(warehouse: Warehouse) -> Kept:
    """Read it in one short connection; never raises for a missing, locked or damaged file."""
    found = Kept(waiting=len(warehouse.waiting()))
    if not warehouse.path.exists():
        found.trouble = f"there is no database at {warehouse.path} yet"
        return found
    try:
        with warehouse.connect(read_only=True) as connection:
            _read(connection, found)
    except Locked as problem:
        found.trouble = f"locked: {problem}"
    except WarehouseError as problem:
        found.trouble = str(problem)
    return found


def _read(connection: Any, found: Kept) -> None:
    views = "SELECT 1 FROM duckdb_views() WHERE view_name = ?"
    if not connection.execute(views, [WORKER_STATS.name]).fetchone():
        found.trouble = "the file is of an earlier layout: the next collection brings it up to date"
        return
    found.stats = _dicts(connection.execute("SELECT * FROM worker_stats"))[0]
    since = datetime.now(UTC) - RECENT
    recorded = connection.execute(
        "SELECT run_id FROM worker_runs WHERE created_at > ?", [since - RECENT]
    )
    found.recorded = {run for (run,) in recorded.fetchall()}
    sums = ", ".join(
        f"coalesce(sum(stored) FILTER (feeds IN ({_names(group)})), 0)::BIGINT AS {group}_records"
        for group in GROUPS
    )
    unrecorded = connection.execute(
        "SELECT collection_id, any_value(collection_type) AS collection_type, "
        f"max(finished_at) AS finished_at, {sums} FROM data_collections "
        "WHERE collection_id NOT IN (SELECT run_id FROM worker_runs) GROUP BY collection_id"
    )
    found.unrecorded = {row["collection_id"]: row for row in _dicts(unrecorded)}
    failures = connection.execute(
        "SELECT failed_at, kind || ' ' || name || ': ' || message FROM failure_logs "
        f"WHERE failed_at > ? ORDER BY failed_at DESC LIMIT {ERRORS_SHOWN}",
        [since],
    )
    found.failures = failures.fetchall()
    found.alerts = _dicts(
        connection.execute(
            "SELECT kind, subject, severity, message, opened_at FROM alerts "
            "WHERE closed_at IS NULL ORDER BY severity, opened_at"
        )
    )
    for schedule, outcome, count in connection.execute(
        "SELECT schedule, outcome, count(*) FROM schedule_compliance WHERE expected_at > ? "
        "GROUP BY ALL",
        [since],
    ).fetchall():
        found.ticks.setdefault(schedule, {})[outcome] = count


def _names(group: str) -> str:
    return ", ".join(f"'{m.table.name}'" for m in DATA if m.table.group == group)


def _dicts(cursor: Any) -> list[dict[str, Any]]:
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


# Counting


@dataclass(slots=True)
class _Group:
    """What the collections of one group come to."""

    collections: int = 0
    failed: int = 0
    records: int = 0
    last: datetime | None = None

    @property
    def average(self) -> float | None:
        return round(self.records / self.collections, 1) if self.collections else None


def _count(seen: Seen, told: Kept) -> tuple[dict[str, _Group], int]:
    """The collections of each group, and all rows saved.

    The recorded ones come from the view; runs that ended since the sensor last wrote, and
    collections run where no daemon is, are added from what is seen and from their own account.
    """
    groups = {}
    for group in GROUPS:
        stats = told.stats
        groups[group] = _Group(
            stats.get(f"total_{group}_collections") or 0,
            stats.get(f"failed_{group}_collections") or 0,
            stats.get(f"{group}_records_saved") or 0,
            stats.get(f"last_{group}_collection"),
        )
    open_runs = {run.id for run in seen.runs if not run.finished}
    ended = {run.id: run for run in seen.runs if run.finished and run.id not in told.recorded}
    for run_id in (told.unrecorded.keys() | ended.keys()) - open_runs:
        _add(groups, ended.get(run_id), told.unrecorded.get(run_id, {}))
    return groups, sum(group.records for group in groups.values())


def _add(groups: Mapping[str, _Group], run: Run | None, account: Mapping[str, Any]) -> None:
    kind = account.get("collection_type") or (run.collection_type if run else None)
    ended_at = run.finished_at if run else account.get("finished_at")
    for name, group in groups.items():
        group.records += account.get(f"{name}_records", 0)
        if kind in (name, "both"):
            group.collections += 1
            group.failed += bool(run and run.status != "SUCCESS")
            if ended_at and (group.last is None or ended_at > group.last):
                group.last = ended_at


# Answers


def status(seen: Seen, told: Kept) -> dict[str, Any]:
    """What the worker does and did, in the words its status always had."""
    groups, records = _count(seen, told)
    return {
        "is_running": running(seen),
        "ui_collections": groups["ui"].collections,
        "historical_collections": groups["historical"].collections,
        "total_records_saved": records,
        "last_ui_collection": _iso(groups["ui"].last),
        "last_historical_collection": _iso(groups["historical"].last),
        "recent_errors": [
            {"timestamp": _iso(at), "error": said} for at, said in _errors(seen, told)
        ],
        "scheduler_jobs": [
            {"id": s.name, "name": s.job, "next_run_time": _iso(s.next_at)} for s in seen.collecting
        ],
        "running_now": [run.job for run in seen.runs if not run.finished],
        "open_alerts": len(told.alerts),
        "collections_waiting": told.waiting,
        "database": told.trouble or "ok",
        "asked": seen.through,
    }


def running(seen: Seen) -> bool:
    """Whether collections come by themselves: a schedule is on, and a daemon is there for it."""
    return seen.daemon_alive and any(schedule.on for schedule in seen.collecting)


def _errors(seen: Seen, told: Kept) -> list[tuple[datetime, str]]:
    """What failed lately: as recorded, and runs that failed since."""
    fresh = [
        (run.finished_at or run.created_at, f"run {run.job}: {run.status} (run {run.id})")
        for run in seen.runs
        if run.status == "FAILURE"
        and run.id not in told.recorded
        and seen.at - run.created_at < RECENT
    ]
    return sorted(told.failures + fresh, reverse=True)[:ERRORS_SHOWN]


def stats(seen: Seen, told: Kept) -> dict[str, Any]:
    """All that the worker ever did. Each average divides a group's rows by its own collections."""
    groups, records = _count(seen, told)
    total = sum(group.collections for group in groups.values())
    failed = sum(group.failed for group in groups.values())
    answer: dict[str, Any] = {
        f"total_{name}_collections": group.collections for name, group in groups.items()
    }
    answer["total_records_saved"] = records
    for name, group in groups.items():
        answer[f"{name}_records_saved"] = group.records
        answer[f"average_records_per_{name}_collection"] = group.average
        answer[f"failed_{name}_collections"] = group.failed
        answer[f"last_{name}_collection"] = _iso(group.last)
    answer["success_rate_pct"] = round(100 * (total - failed) / total, 1) if total else None
    for name in ("endpoints_asked", "endpoints_answered"):
        answer[name] = told.stats.get(name, 0)
    answer["first_collection"] = _iso(told.stats.get("first_collection"))
    answer["recent_errors_count"] = len(_errors(seen, told))
    return answer


def schedules(seen: Seen, told: Kept) -> list[dict[str, Any]]:
    """Each schedule: when it ran, when it runs, and how punctual it was for a day."""
    listed = []
    for schedule in seen.schedules:
        last = schedule.ticks[0] if schedule.ticks else None
        counts = told.ticks.get(schedule.name, {})
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


def health(seen: Seen, told: Kept, warehouse: Warehouse) -> dict[str, Any]:
    """Whether all is well; reasons make it unhealthy, warnings do not."""
    reasons = [*_of_the_daemon(seen), *_of_the_collections(seen, told), *_of_the_ticks(seen)]
    warnings = []
    if told.trouble and not told.trouble.startswith("locked: "):
        reasons.append(told.trouble)
    elif told.trouble:
        warnings.append(told.trouble)
    if told.waiting:
        warnings.append(f"{told.waiting} collections wait in the spool for the database")
    free = shutil.disk_usage(_existing(warehouse)).free
    if free < settings.least_free_bytes():
        reasons.append(f"the disk is nearly full: {free / 2**30:.1f} GiB are free")
    for alert in told.alerts:
        place = reasons if alert["severity"] == "critical" else warnings
        place.append(f"{alert['kind']} {alert['subject']}: {alert['message']}")
    return {
        "status": "unhealthy" if reasons else "healthy",
        "healthy": not reasons,
        "is_running": running(seen),
        "reasons": reasons,
        "warnings": warnings,
        "timestamp": _iso(seen.at),
    }


def _of_the_daemon(seen: Seen) -> Iterable[str]:
    if not seen.daemon_alive:
        beat = max(seen.heartbeats.values(), default=None)
        yield (
            "the daemon is not running"
            + (f": it was last heard of at {beat:%d %b %H:%M:%S} UTC" if beat else "")
            + "; `make dev` starts it"
        )
    off = [schedule.name for schedule in seen.collecting if not schedule.on]
    if off:
        yield f"stopped: {', '.join(off)}; `crypto-pipeline start` starts them"


def _of_the_collections(seen: Seen, told: Kept) -> Iterable[str]:
    groups, _ = _count(seen, told)
    usual = {s.name: s for s in seen.collecting if s.on}
    for name, group in groups.items():
        latest = next((r for r in seen.runs if r.finished and _is_of(r, name)), None)
        if latest and latest.status == "FAILURE":
            yield f"the last {name} collection failed: run {latest.id}"
        if group.last is None:
            yield f"no {name} collection has ended yet"
        elif seen.at - group.last > _patience(name, usual.values()):
            yield f"the last {name} collection ended at {group.last:%d %b %H:%M:%S} UTC"


def _is_of(run: Run, group: str) -> bool:
    return run.collection_type in (group, "both")


def _patience(group: str, on: Iterable[Schedule]) -> timedelta:
    """How long silence is normal; where another beat is set, until it was due twice."""
    for schedule in on:
        usual = schedule.cron == CRONS[group]
        if schedule.job.startswith(group) and not usual and schedule.next_at and schedule.ticks:
            return max(SILENT[group], 2 * (schedule.next_at - schedule.ticks[0].at))
    return SILENT[group]


def _of_the_ticks(seen: Seen) -> Iterable[str]:
    """A schedule or sensor whose last evaluation failed."""
    watched: Sequence[Any] = (*seen.schedules, *seen.sensors)
    for kind in watched:
        last = next((tick for tick in kind.ticks if tick.status != "STARTED"), None)
        if kind.on and last and last.status == "FAILURE":
            what = "schedule" if isinstance(kind, Schedule) else "sensor"
            first = (last.reason or "").splitlines()
            yield f"{what} {kind.name} failed: {first[0] if first else 'see it in the UI'}"


def _existing(warehouse: Warehouse) -> str:
    folder = warehouse.path.parent
    while not folder.exists():
        folder = folder.parent
    return str(folder)


def _iso(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat(timespec="seconds") if at else None
