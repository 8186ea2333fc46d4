"""Run records: Dagster's history written into the warehouse's tables, a little at a time.

Owns: which runs, failures and ticks are new, and what became of each tick a schedule should have
made.
Must not know: how Dagster stores them, how tables are written.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Self

import dagster as dg
from pydantic import TypeAdapter

from crypto_pipeline import clock, settings
from crypto_pipeline.groups import SCHEDULED
from crypto_pipeline.monitoring import dagster_instance
from crypto_pipeline.monitoring.snapshot import JOB_OF, Run, Tick
from crypto_pipeline.tables import FailureLog, Row, ScheduleCompliance, ScheduleConfig, WorkerRun
from crypto_pipeline.warehouse import Warehouse

RUNS_A_TIME = 200
TICKS_A_TIME = 500
OVERLAP = timedelta(seconds=60)
"""Runs are looked for a little before the last one seen: two processes write at once, and the one
with the earlier time may be the later to arrive."""

LATE = timedelta(minutes=1)
OVERDUE = timedelta(minutes=10)
"""A tick that did not come within this never will: of missed ticks Dagster makes up the latest."""

UNSETTLED = timedelta(hours=1)
"""A launched run that has not begun within this is taken as it is."""


_FORMER_NAMES = (("seam", "overlap_runs"), ("said", "written"), ("slots", "settled"))
"""What a cursor of the first release calls a part, and what it is called now."""


@dataclass(slots=True)
class Cursor:
    """How far the records go.

    runs: the last change of a run; overlap_runs: the runs of the minutes before it, which are found
    again. failures: the last failed tick. settled: each schedule's last expected tick with a final
    outcome. crons: each schedule's expression then. written: what was last written of ticks without
    a final outcome and of the schedules, so that it is written again only when it changed since.
    """

    runs: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    overlap_runs: dict[str, datetime] = field(default_factory=dict)
    failures: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    settled: dict[str, datetime] = field(default_factory=dict)
    crons: dict[str, str] = field(default_factory=dict)
    written: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str | None) -> Self:
        """A cursor that was written down, by the release before too."""
        values = json.loads(text) if text else {}
        for former, name in _FORMER_NAMES:
            if former in values:
                values[name] = values.pop(former)
        return TypeAdapter(cls).validate_python(values)

    def write(self) -> str:
        return TypeAdapter(type(self)).dump_json(self).decode()

    def doubt(self, now: datetime) -> None:
        """Forget what lies ahead of the clock: nothing new would ever come after it. What is found
        again is written over."""
        day_ago = now - timedelta(days=1)
        self.runs = day_ago if clock.ahead(self.runs, now) else self.runs
        self.failures = day_ago if clock.ahead(self.failures, now) else self.failures
        self.settled = {n: at for n, at in self.settled.items() if not clock.ahead(at, now)}


def write_run_records(instance: dg.DagsterInstance, warehouse: Warehouse, text: str | None) -> str:
    """Mark dead runs failed, write what is new since the cursor, and give the new cursor.

    Raises WarehouseError, and then the old cursor still stands: nothing is written twice, or lost.
    """
    dagster_instance.fail_dead_runs(instance, warehouse.died)
    cursor = Cursor.read(text)
    cursor.doubt(datetime.now(UTC))
    rows: list[Row] = [
        *_runs(instance, cursor),
        *_failed_ticks(instance, cursor),
        *_compliance(instance, cursor),
    ]
    config = _config(instance)
    if _changed_since(cursor, "config", config):
        rows += config
    if rows:
        warehouse.write_rows(rows)
    return cursor.write()


def cursor_for_last_hour() -> str:
    """The cursor of somebody who only wants what just happened to be recorded."""
    return Cursor(runs=datetime.now(UTC) - timedelta(hours=1)).write()


def _runs(instance: dg.DagsterInstance, cursor: Cursor) -> Iterator[Row]:
    after = cursor.runs - OVERLAP if cursor.runs.year > 1970 else cursor.runs
    limit = RUNS_A_TIME + len(cursor.overlap_runs)
    for changed_at, run in dagster_instance.finished_runs(instance, after, limit):
        if run.id in cursor.overlap_runs:
            continue
        cursor.overlap_runs[run.id] = changed_at
        cursor.runs = max(cursor.runs, changed_at)
        yield _run(run)
        if run.status == "FAILURE":
            yield FailureLog(
                failure_id=run.id,
                kind="run",
                name=run.job,
                run_id=run.id,
                message=dagster_instance.why_failed(instance, run.id),
                failed_at=run.finished_at or changed_at,
            )
    oldest = cursor.runs - 2 * OVERLAP
    cursor.overlap_runs = {run: at for run, at in cursor.overlap_runs.items() if at > oldest}


def _run(run: Run) -> WorkerRun:
    lasted = None
    if run.started_at and run.finished_at:
        lasted = max(0.0, (run.finished_at - run.started_at).total_seconds())
    return WorkerRun(
        run_id=run.id,
        job=run.job,
        collection_type=run.collection_type,
        status=run.status,
        launched_by=run.launched_by,
        created_at=run.created_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
        duration_s=lasted,
    )


def _failed_ticks(instance: dg.DagsterInstance, cursor: Cursor) -> Iterator[Row]:
    since = cursor.failures
    for kind, name, tick in dagster_instance.failed_ticks(instance, since):
        if tick.at > since:
            cursor.failures = max(cursor.failures, tick.at)
            yield FailureLog(
                failure_id=f"{name} {tick.at.isoformat()}",
                kind=kind,
                name=name,
                message=(tick.reason or "no reason was recorded")[:2000],
                failed_at=tick.at,
            )


# Schedules


def _config(instance: dg.DagsterInstance) -> list[Row]:
    return [
        ScheduleConfig(
            schedule=s.name,
            job=JOB_OF[s.name],
            cron=s.cron,
            timezone=s.timezone,
            variable=settings.crons[SCHEDULED[s.name]].name,
            enabled=s.on,
            last_tick_at=s.ticks[0].at if s.ticks else None,
            next_tick_at=s.next_at,
        )
        for s in dagster_instance.take_snapshot(instance).collecting
    ]


def _compliance(instance: dg.DagsterInstance, cursor: Cursor) -> Iterator[Row]:
    now = datetime.now(UTC)
    for name, group in SCHEDULED.items():
        after = cursor.settled.get(name)
        on_since, ticks = dagster_instance.schedule_ticks(
            instance, name, after or now - timedelta(days=1), 2 * TICKS_A_TIME
        )
        if on_since is None:
            cursor.settled.pop(name, None)
            continue
        cron = settings.cron(group)
        if cursor.crons.setdefault(name, cron) != cron:
            cursor.crons[name] = cron
            after = now  # what the old expression expected is not held against the new one
        start = max(after or now - timedelta(days=1), on_since - timedelta(seconds=1))
        yield from _expected_ticks(instance, cursor, name, cron, start, ticks)


def _expected_ticks(
    instance: dg.DagsterInstance,
    cursor: Cursor,
    name: str,
    cron: str,
    after: datetime,
    ticks: list[Tick],
) -> Iterator[Row]:
    """What became of each tick a schedule should have made. The cursor moves over those that will
    not change."""
    now = datetime.now(UTC)
    by_time = {tick.at: tick for tick in ticks}
    latest = max(by_time, default=after)
    launched = {run_id for tick in ticks for run_id in tick.run_ids}
    runs = dagster_instance.runs_by_id(instance, launched)
    settled, open_rows = True, []
    for number, expected_at in enumerate(dagster_instance.ticks_after(cron, after)):
        if expected_at > now or number == TICKS_A_TIME:
            break
        tick = by_time.get(expected_at)
        if tick is None and expected_at >= latest and now - expected_at < OVERDUE:
            break
        row = _became(name, expected_at, tick, runs)
        final = row.outcome != "launched" or now - expected_at > UNSETTLED
        settled = settled and final
        if settled:
            cursor.settled[name] = expected_at
            yield row
        else:
            open_rows.append(row)
    if _changed_since(cursor, name, open_rows):
        yield from open_rows


def _became(
    name: str, expected_at: datetime, tick: Tick | None, runs: Mapping[str, Run]
) -> ScheduleCompliance:
    row = ScheduleCompliance(schedule=name, expected_at=expected_at, outcome="missed")
    if tick is None:
        row.reason = "no daemon was running"
        return row
    row.actual_at = tick.ended_at
    row.run_id = next(iter(tick.run_ids), None)
    run = runs.get(row.run_id or "")
    if tick.status == "SKIPPED":
        row.outcome, row.reason = "skipped", tick.reason
    elif tick.status == "FAILURE":
        row.outcome, row.reason = "failed", (tick.reason or "")[:500] or None
    elif run is None or (run.started_at is None and not run.finished):
        row.outcome = "launched"
    elif run.started_at is None:
        row.outcome, row.reason = "failed", f"the run ended as {run.status} before it began"
    else:
        delay = max(0.0, (run.started_at - expected_at).total_seconds())
        row.started_at, row.delay_s = run.started_at, delay
        row.outcome = "late" if delay > LATE.total_seconds() else "on_time"
    return row


def _changed_since(cursor: Cursor, about: str, rows: Sequence[Row]) -> bool:
    """Whether rows differ from those that were written last."""
    digest = hashlib.sha256(repr(rows).encode()).hexdigest() if rows else ""
    if cursor.written.get(about, "") == digest:
        return False
    cursor.written[about] = digest
    return bool(rows)
