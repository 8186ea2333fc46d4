"""Dagster's inside, behind one door: every private name of Dagster, and every one it does not mark
as public, is used here and nowhere else. What they have to do is held by tests of their own
(test_dagster_instance), and CONTRIBUTING lists them as what to check at an upgrade.

Owns: what is read from Dagster's storage, runs that died without saying so, the files that Dagster
leaves behind, and the size of its databases' pages.
Must not know: the warehouse.
"""

import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.events import RunFailureReason
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorTick,
    ScheduleInstigatorData,
    TickStatus,
)
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.tags import RUN_FAILURE_REASON_TAG
from dagster._utils.schedules import schedule_execution_time_iterator
from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError

from crypto_pipeline import clock, settings
from crypto_pipeline.groups import SCHEDULED
from crypto_pipeline.monitoring.snapshot import (
    FINISHED,
    JOB_OF,
    RUNS_SHOWN,
    TICKS_SHOWN,
    NotSwitched,
    Run,
    Schedule,
    Sensor,
    Snapshot,
    Tick,
    launched_by,
    moment,
)

OPEN = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
"""Statuses of a run that is not over."""

OVER = [dg.DagsterRunStatus(status) for status in FINISHED]


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


def home_of(instance: dg.DagsterInstance) -> Path:
    """The folder of an instance."""
    return Path(instance.root_directory)


def job_of(definitions: dg.Definitions, name: str) -> dg.JobDefinition:
    """A job as it runs, its assets selected."""
    return definitions.resolve_job_def(name)


def run_id_of(context: dg.AssetExecutionContext) -> str:
    """The id of the run that a step is part of."""
    return str(context.run.run_id)


def without_remark_on_outputs(context: dg.AssetExecutionContext) -> None:
    """Keep Dagster's remark that no outputs came for the checks out of the run's log: the step
    yields their events instead."""
    context.log.addFilter(_is_no_remark_on_outputs)


def _is_no_remark_on_outputs(record: logging.LogRecord) -> bool:
    return "did not yield or return expected outputs" not in record.getMessage()


def time_window_of(context: dg.InputContext) -> tuple[datetime, datetime] | None:
    """From when on and before when an input is asked for: by its own asset's partitions where that
    has any, else by those of the asset that it is for; None where neither is partitioned by time.
    """
    if context.has_asset_partitions:
        window = context.asset_partitions_time_window
        return window.start, window.end
    step = context.step_context
    if step.entity_partitions_def is None:  # the run may have a partition for another asset's sake
        return None
    try:
        window = step.partition_time_window
    except dg.DagsterInvariantViolationError:  # partitioned, and not by time
        return None
    return window.start, window.end


# A snapshot


def take_snapshot(instance: dg.DagsterInstance) -> Snapshot:
    """What the instance knows. Schedules that no daemon has met yet are as the code declares."""
    states = _states(instance)
    known = {state.name for state in states}
    schedules = [
        _schedule(instance, state)
        for state in states
        if state.instigator_type == InstigatorType.SCHEDULE
    ]
    for name, group in SCHEDULED.items():
        if name not in known:
            cron = settings.cron(group)
            coming = next(ticks_after(cron, datetime.now(UTC)))
            schedules.append(Schedule(name, JOB_OF[name], cron, "UTC", True, coming))
    return Snapshot(
        through="instance",
        runs=[_run(record) for record in instance.get_run_records(limit=RUNS_SHOWN)],
        schedules=sorted(schedules, key=lambda s: s.name),
        sensors=[
            Sensor(state.name, state.is_running, _latest_ticks(instance, state))
            for state in states
            if state.instigator_type == InstigatorType.SENSOR
        ],
        heartbeats={
            kind: datetime.fromtimestamp(heartbeat.timestamp, UTC)
            for kind, heartbeat in instance.get_daemon_heartbeats().items()
        },
    )


def _run(record: dg.RunRecord) -> Run:
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
    group = SCHEDULED.get(state.name)
    cron = data.cron_schedule if isinstance(data, ScheduleInstigatorData) else ""
    cron = settings.cron(group) if group else str(cron)
    return Schedule(
        name=state.name,
        job=JOB_OF.get(state.name, state.name),
        cron=cron,
        timezone="UTC",
        on=state.is_running,
        next_at=next(ticks_after(cron, datetime.now(UTC))) if state.is_running else None,
        ticks=_latest_ticks(instance, state),
        id=f"{state.instigator_origin_id}::{state.selector_id}",
    )


def _latest_ticks(instance: dg.DagsterInstance, state: InstigatorState) -> list[Tick]:
    found = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=TICKS_SHOWN)
    return [_tick(tick) for tick in found]


def _tick(tick: InstigatorTick) -> Tick:
    return Tick(
        at=datetime.fromtimestamp(tick.timestamp, UTC),
        status=tick.status.value,
        ended_at=moment(tick.end_timestamp),
        reason=tick.skip_reason or (tick.error.message.strip() if tick.error else None),
        run_ids=tuple(tick.run_ids),
    )


# Ticks


def ticks_after(cron: str, after: datetime) -> Iterator[datetime]:
    """The moments of a cron expression after a moment, for ever."""
    for at in schedule_execution_time_iterator(after.timestamp(), cron, "UTC"):
        if at > after:
            yield at.astimezone(UTC)


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


def open_runs(instance: dg.DagsterInstance, job: str | None = None) -> list[Run]:
    """The runs that are not over, of one job or of all."""
    records = instance.get_run_records(dg.RunsFilter(job_name=job, statuses=OPEN))
    return [_run(record) for record in records]


def runs_by_id(instance: dg.DagsterInstance, run_ids: Collection[str]) -> dict[str, Run]:
    """The runs of these ids that Dagster still knows."""
    if not run_ids:
        return {}
    records = instance.get_run_records(dg.RunsFilter(run_ids=list(run_ids)))
    return {run.id: run for run in map(_run, records)}


def finished_runs(
    instance: dg.DagsterInstance, after: datetime, limit: int
) -> list[tuple[datetime, Run]]:
    """Finished runs in the order they ended, with the moment their record was last changed."""
    filters = dg.RunsFilter(statuses=OVER, updated_after=after)
    records = instance.get_run_records(filters, limit, order_by="update_timestamp", ascending=True)
    return [(record.update_timestamp.astimezone(UTC), _run(record)) for record in records]


def why_failed(instance: dg.DagsterInstance, run_id: str) -> str:
    """What a failed run said, as short as it can be said."""
    wanted = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
    message = "no reason was recorded"
    for entry in instance.all_logs(run_id, of_type=wanted):
        failure = entry.get_dagster_event()
        data: Any = failure.event_specific_data
        details = getattr(data, "user_failure_data", None)
        error = getattr(data, "error", None)
        message = (
            getattr(details, "description", None)
            or getattr(error, "message", None)
            or failure.message
            or message
        )
        if failure.is_step_failure:
            break
    return str(message).strip()[:2000]


def failure_of(instance: dg.DagsterInstance, run_id: str) -> str | None:
    """What a run said when it failed; None for one that did not."""
    run = instance.get_run_by_id(run_id)
    if run and run.status == dg.DagsterRunStatus.SUCCESS:
        return None
    return why_failed(instance, run_id)


_TIMES = (
    *("start_timestamp", "last_iteration_timestamp", "last_tick_timestamp"),
    *("last_tick_start_timestamp", "last_sensor_start_timestamp", "last_tick_success_timestamp"),
)
"""The times in what Dagster remembers of a schedule or sensor."""


def forget_ticks_ahead(instance: dg.DagsterInstance, now: datetime) -> list[str]:
    """Make schedules and sensors tick that were evaluated at a time to come: gives their names.

    Dagster starts none before the time of its last tick: a clock that was ahead would silence them
    for as long. Their ticks go, all of them; schedule_compliance keeps what became of each.
    """

    def ahead(timestamp: float | None) -> bool:
        return timestamp is not None and timestamp > (now + clock.AHEAD).timestamp()

    silenced = []
    for state in instance.all_instigator_state():
        ids = state.instigator_origin_id, state.selector_id
        ticks = instance.get_ticks(*ids, limit=1)
        data = state.instigator_data
        wrong = [name for name in _TIMES if ahead(getattr(data, name, None))]
        if any(ahead(tick.timestamp) for tick in ticks):
            instance.purge_ticks(*ids, before=ticks[0].timestamp + 1)
        elif not wrong:
            continue
        if data and wrong:
            right: Any = data._replace(**{name: now.timestamp() for name in wrong})  # type: ignore[arg-type]
            instance.update_instigator_state(state.with_data(right))
        silenced.append(state.name)
    return silenced


def was_stopped(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether a run ended on a signal: Dagster calls it canceled when its own UI asked for that,
    and else failed, with this reason in a tag."""
    run = instance.get_run_by_id(run_id)
    return run is not None and (
        run.status == dg.DagsterRunStatus.CANCELED
        or run.tags.get(RUN_FAILURE_REASON_TAG) == RunFailureReason.UNEXPECTED_TERMINATION.value
    )


def fail_run(instance: dg.DagsterInstance, run_id: str, reason: str) -> None:
    """Mark a run failed that will not say so itself; one that is gone needs no mark."""
    run = instance.get_run_by_id(run_id)
    if run:
        instance.report_run_failed(run, f"declared dead: {reason}")


def fail_dead_runs(
    instance: dg.DagsterInstance, died: Callable[[str], bool], job: str | None = None
) -> list[str]:
    """Mark runs failed whose process is gone; gives their ids.

    A killed process or a machine that went down says nothing, and Dagster would count its run as
    going on until a time limit; while it does, a schedule that waits for its run is silent.
    """
    dead = [run.id for run in open_runs(instance, job) if died(run.id)]
    for run_id in dead:
        fail_run(instance, run_id, "its process is gone")
    return dead


# Schedules on and off


def set_enabled(names: Iterable[str], *, on: bool) -> None:
    """Turn schedules on or off by Dagster's own command line, where no webserver is asked.

    The schedules are those of workspace.yaml where there is one here, as the daemon's are. Each
    command loads the definitions first, some seconds; one after the other, since two that make the
    storage of a new instance at once can ruin it. Raises NotSwitched.
    """
    here = Path("workspace.yaml")
    place = ("-w", str(here)) if here.exists() else ("-m", "crypto_pipeline.definitions")
    verb = "start" if on else "stop"
    for name in names:
        done = subprocess.run(  # noqa: S603  (names of our own)
            [sys.executable, "-m", "dagster", "schedule", verb, name, *place],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise NotSwitched(f"{name}: dagster schedule {verb}: {_last_words(done.stdout)}")


def _last_words(printed: str) -> str:
    """The last line that says something; the code server goes on to say that it ends."""
    lines = [line for line in printed.splitlines() if line.strip() and "code_server" not in line]
    return lines[-1].strip() if lines else "it failed without a word"


# What Dagster leaves behind

RUNS_A_TIME = 500


def prune_runs(instance: dg.DagsterInstance, before: datetime) -> int:
    """Delete the runs that ended before, with all their files; returns how many.

    A run stays while it holds the latest materialization of an asset: without it Dagster would
    take the asset for one that was never made.
    """
    kept = _latest_materializations(instance)
    filters = dg.RunsFilter(statuses=OVER, created_before=before)
    limit = RUNS_A_TIME + len(kept)
    deleted = 0
    while True:
        records = instance.get_run_records(filters, limit=limit)
        old = [r.dagster_run.run_id for r in records if r.dagster_run.run_id not in kept]
        for run_id in old:
            instance.delete_run(run_id)
            _remove_run_files(instance, run_id)
        deleted += len(old)
        if len(records) < limit:
            return deleted


def _latest_materializations(instance: dg.DagsterInstance) -> set[str]:
    """Runs that hold an asset's latest materialization."""
    records = instance.get_asset_records()
    return {
        record.asset_entry.last_materialization_record.run_id
        for record in records
        if record.asset_entry.last_materialization_record
    }


def _remove_run_files(instance: dg.DagsterInstance, run_id: str) -> None:
    """A run's own database and its folder of logs, which `delete_run` leaves behind."""
    storage = instance.event_log_storage
    if isinstance(storage, SqliteEventLogStorage):
        for ending in ("", "-wal", "-shm"):
            Path(storage.path_for_shard(run_id) + ending).unlink(missing_ok=True)
        shutil.rmtree(Path(instance.storage_directory()) / run_id, ignore_errors=True)


def sweep(instance: dg.DagsterInstance, forgotten_after: timedelta) -> None:
    """Remove what else is left behind in SQLite storage: files of runs that were deleted in the UI,
    rows of checks, and the free room in the databases that stay.

    Files of a run that Dagster does not know are left alone while they are this young.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, SqliteEventLogStorage):
        return
    known = {record.dagster_run.run_id for record in instance.get_run_records()}
    index = Path(storage.path_for_shard("index"))
    logs = Path(instance.storage_directory())
    files = [file for file in index.parent.iterdir() if file != index]
    files += logs.iterdir() if logs.exists() else ()
    for file in files:
        run_id = file.name.split(".db")[0]
        if _is_run_id(run_id) and run_id not in known and _older_than(file, forgotten_after):
            _remove(file)
    _drop_checks_of_other_runs(index, known)
    home = home_of(instance)
    for file in (index, home / "history" / "runs.db", home / "schedules" / "schedules.db"):
        if file.exists():
            _vacuum(file)


def _is_run_id(name: str) -> bool:
    return len(name) == 36 and name.count("-") == 4


def _older_than(file: Path, age: timedelta) -> bool:
    """Not of a run that began after the runs were listed."""
    try:
        changed = datetime.fromtimestamp(file.stat().st_mtime, UTC)
    except FileNotFoundError:
        return False
    return datetime.now(UTC) - changed > age


def _remove(file: Path) -> None:
    if file.is_dir():
        shutil.rmtree(file, ignore_errors=True)
    else:
        file.unlink(missing_ok=True)


def _drop_checks_of_other_runs(index: Path, known: Collection[str]) -> None:
    """Dagster keeps a row of every evaluation of a check for ever; the latest of each stays."""
    with closing(sqlite3.connect(index, timeout=10)) as connection, connection:
        connection.execute("CREATE TEMP TABLE known (run_id TEXT PRIMARY KEY)")
        connection.executemany("INSERT INTO known VALUES (?)", [(run,) for run in known])
        connection.execute(
            "DELETE FROM asset_check_executions WHERE run_id NOT IN (SELECT run_id FROM known) "
            "AND id NOT IN (SELECT max(id) FROM asset_check_executions "
            "GROUP BY asset_key, check_name)"
        )


def _vacuum(file: Path) -> None:
    """Give the room of deleted rows back, when the file is free; else another day."""
    try:
        with closing(sqlite3.connect(file, timeout=5, isolation_level=None)) as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.OperationalError:
        return


# Small pages

PAGE_BYTES = 1024


class SmallPages(SqliteEventLogStorage):
    """Dagster's own SQLite storage in $DAGSTER_HOME/history/runs as ever, in small pages.

    Every run has a database of its own: two dozen tables and indexes, nearly all of them empty,
    each of which takes a page. With pages of one kibibyte instead of four a day of collections
    writes half as much (`make bench` prints it). Databases that are there already keep their pages.
    """

    @classmethod
    def config_type(cls) -> Any:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> Self:
        home = os.environ.get("DAGSTER_HOME")
        if not home:
            raise dg.DagsterInvariantViolationError(
                "set DAGSTER_HOME: Dagster's history lies there"
            )
        return cls(str(Path(home) / "history" / "runs"), inst_data)

    def _initdb(self, engine: Engine, for_index_shard: bool = False) -> None:
        event.listen(engine, "connect", _small_pages)
        super()._initdb(engine, for_index_shard)


def _small_pages(connection: Any, _: Any) -> None:
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
