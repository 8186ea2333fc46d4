"""Tables about the worker itself: its runs and their failures, its schedules, alerts, the machine.

The sensors write them from Dagster's history, so that everything about the worker is a query away
and stays when that history is pruned.
"""

from datetime import timedelta
from typing import Literal

from crypto_pipeline.groups import CollectionType
from crypto_pipeline.tables.spec import (
    Amount,
    Count,
    Row,
    Text,
    Time,
    Words,
    column,
    optional,
    words_of,
)

AlertKind = Literal[
    "stale_table",
    "open_circuit",
    "many_rejects",
    "price_disagreement",
    "depeg",
    "fault",
    "not_asking",
    "clock",
    "waiting_spool",
    "unkept_answers",
    "disk_full",
    "database",
]
Severity = Literal["critical", "warning"]

TickOutcome = Literal["on_time", "late", "launched", "skipped", "failed", "missed"]


class WorkerRun(
    Row,
    table="worker_runs",
    write="upsert",
    key=("run_id",),
    time="created_at",
):
    """One finished run of any job, as Dagster's history has it, with what it brought.

    A full collection counts as a collection of each group, with the records of each kept apart.
    """

    run_id: Text = column("Dagster's id of the run; the collection_id of what it collected")
    job: Text = column("Job it was a run of")
    collection_type: CollectionType | None = optional(
        f"{words_of(CollectionType)}; NULL for other jobs"
    )
    status: Text = column("SUCCESS, FAILURE or CANCELED")
    launched_by: Text = column("schedule or sensor with its name, else manual")
    created_at: Time = column("When it was asked for")
    started_at: Time | None = optional("When it began to work")
    finished_at: Time | None = optional("When it ended")
    duration_s: Amount | None = optional("From start to end", unit="s", decimals=3)
    endpoints_asked: Count = column("Endpoints that were asked", default=0)
    endpoints_answered: Count = column("Endpoints that answered", default=0)
    ui_records: Count = column("Rows new to the tables of the group ui", default=0)
    historical_records: Count = column("Rows new to the tables of the group historical", default=0)


class FailureLog(
    Row,
    table="failure_logs",
    write="insert",
    key=("failure_id",),
    time="failed_at",
    keep=timedelta(days=365),
):
    """One failure of a run, or of a tick of a schedule or sensor. Endpoints that fail do not fail
    a run: data_collections has them.
    """

    failure_id: Text = column("The run's id, or the tick's name and time")
    kind: Text = column("run, schedule or sensor")
    name: Text = column("Job, schedule or sensor that failed")
    run_id: Text | None = optional("The run, where it was one")
    message: Words = column("What was said")
    failed_at: Time = column("When")


class Alert(
    Row,
    table="alerts",
    write="upsert",
    key=("kind", "subject", "opened_at"),
    time="opened_at",
):
    """One thing that was or is wrong: opened once, closed when it is over."""

    kind: AlertKind = column(words_of(AlertKind))
    subject: Words = column("The table, endpoint, source, coin or path it is about")
    severity: Severity = column("critical (data is lost or missing) or warning")
    message: Words = column("What is wrong, as it was when it was opened")
    opened_at: Time = column("When it was first seen")
    closed_at: Time | None = optional("When it was over, NULL while it lasts")
    notified_at: Time | None = optional("When CRYPTO_PIPELINE_ALERT_URL was told of it")


class SystemMetrics(
    Row,
    table="system_metrics",
    time="measured_at",
    keep=timedelta(days=90),
):
    """The machine and the sources at one moment, every five minutes."""

    measured_at: Time = column("When")
    database_bytes: Count = column("Size of the DuckDB file", unit="bytes")
    spool_collections: Count = column("Collections waiting in the spool")
    history_bytes: Count = column("Size of Dagster's own storage", unit="bytes")
    disk_free_bytes: Count = column("Free space on the database's disk", unit="bytes")
    disk_total_bytes: Count = column("Size of the database's disk", unit="bytes")
    load_1m: Amount | None = optional("Processes wanting a processor, where the system tells")
    endpoints_known: Count = column("Endpoints that were ever asked")
    endpoints_failing: Count = column("Endpoints whose last answer was a failure")
    endpoints_resting: Count = column("Endpoints whose circuit is open")
    requests_1h: Count = column("HTTP exchanges of the last hour")
    failures_1h: Count = column("Of these, those without a good status")
    latency_ms_1h: Amount | None = optional("Median exchange of the last hour", unit="ms")
    open_alerts: Count = column("Alerts that are open")


class ScheduleConfig(Row, table="schedule_config", write="replace", key=("schedule",)):
    """One schedule as it is now."""

    schedule: Text = column("Name of the schedule")
    job: Text = column("Job it launches")
    cron: Text = column("Cron expression")
    timezone: Text = column("Time zone of the expression")
    variable: Text = column("Environment variable that sets the expression")
    enabled: bool = column("Whether it is on")
    last_tick_at: Time | None = optional("When it ticked last")
    next_tick_at: Time | None = optional("When it ticks next, NULL while it is off")


class ScheduleCompliance(
    Row,
    table="schedule_compliance",
    write="upsert",
    key=("schedule", "expected_at"),
    time="expected_at",
    window=timedelta(days=2),
    keep=timedelta(days=365),
):
    """One tick a schedule should have made, and what became of it."""

    schedule: Text = column("Name of the schedule")
    expected_at: Time = column("When the cron expression says")
    actual_at: Time | None = optional("When it was evaluated, NULL when it never was")
    started_at: Time | None = optional("When the run it launched began to work")
    delay_s: Amount | None = optional("From expected to the start of the run", unit="s", decimals=3)
    outcome: TickOutcome = column(
        f"{words_of(TickOutcome)}. late: by more than a minute; launched: its run has not begun; "
        "missed: no daemon was running"
    )
    reason: Words | None = optional("Why, when no run was launched")
    run_id: Text | None = optional("The run it launched")
