"""Views: what can be computed is not stored twice. Each is declared once: name, meaning, SQL."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class View:
    """One view of the warehouse, with what each of its columns means."""

    name: str
    description: str
    columns: tuple[tuple[str, str], ...]
    sql: str


WORKER_STATUS = View(
    "worker_status",
    "The worker in one row: whether its schedules are on, what it saved, what went wrong lately. "
    "The sensors keep it a minute fresh; crypto-pipeline status asks Dagster itself.",
    (
        ("schedules_enabled", "How many of the schedules are on"),
        ("ui_collections", "Finished collections of the group ui"),
        ("historical_collections", "Finished collections of the group historical"),
        ("total_records_saved", "Rows that were new to the data tables"),
        ("last_ui_collection", "When a ui collection ended last"),
        ("last_historical_collection", "When a historical collection ended last"),
        ("recent_errors", "What failed in the last 24 hours, newest first, at most ten"),
        ("open_alerts", "Alerts that are open"),
        ("next_tick_at", "When a schedule ticks next"),
    ),
    """
SELECT
    (SELECT count(*) FROM schedule_config WHERE enabled) AS schedules_enabled,
    count(*) FILTER (collection_type IN ('ui', 'both')) AS ui_collections,
    count(*) FILTER (collection_type IN ('historical', 'both')) AS historical_collections,
    coalesce(sum(ui_records + historical_records), 0)::BIGINT AS total_records_saved,
    max(finished_at) FILTER (collection_type IN ('ui', 'both')) AS last_ui_collection,
    max(finished_at) FILTER (collection_type IN ('historical', 'both'))
        AS last_historical_collection,
    (SELECT coalesce(list(said), []) FROM (
        SELECT kind || ' ' || name || ': ' || message AS said FROM failure_logs
        WHERE failed_at > now() - INTERVAL 24 HOUR ORDER BY failed_at DESC LIMIT 10
    )) AS recent_errors,
    (SELECT count(*) FROM alerts WHERE closed_at IS NULL) AS open_alerts,
    (SELECT min(next_tick_at) FROM schedule_config WHERE enabled) AS next_tick_at
FROM worker_runs
""",
)

WORKER_STATS = View(
    "worker_stats",
    "All that the worker ever did, in one row. Records of the group ui are divided by collections "
    "of the group ui, historical ones by historical ones; a full collection is one of each.",
    (
        ("total_ui_collections", "Finished collections of the group ui"),
        ("total_historical_collections", "Finished collections of the group historical"),
        ("failed_ui_collections", "Of these, those that did not succeed"),
        ("failed_historical_collections", "Of these, those that did not succeed"),
        ("total_records_saved", "Rows that were new to the data tables"),
        ("ui_records_saved", "Rows new to the tables of the group ui"),
        ("historical_records_saved", "Rows new to the tables of the group historical"),
        ("average_records_per_ui_collection", "ui rows by ui collections"),
        ("average_records_per_historical_collection", "historical rows by historical collections"),
        ("average_seconds_per_ui_collection", "Of the collections of ui alone"),
        ("average_seconds_per_historical_collection", "Of the collections of historical alone"),
        ("endpoints_asked", "Endpoints that were asked, over all runs"),
        ("endpoints_answered", "Endpoints that answered, over all runs"),
        ("first_collection", "When the first collection began"),
        ("last_ui_collection", "When a ui collection ended last"),
        ("last_historical_collection", "When a historical collection ended last"),
    ),
    """
WITH run AS (
    SELECT *,
        collection_type IN ('ui', 'both') AS ui,
        collection_type IN ('historical', 'both') AS historical
    FROM worker_runs
)
SELECT
    count(*) FILTER (ui) AS total_ui_collections,
    count(*) FILTER (historical) AS total_historical_collections,
    count(*) FILTER (ui AND status <> 'SUCCESS') AS failed_ui_collections,
    count(*) FILTER (historical AND status <> 'SUCCESS') AS failed_historical_collections,
    coalesce(sum(ui_records + historical_records), 0)::BIGINT AS total_records_saved,
    coalesce(sum(ui_records), 0)::BIGINT AS ui_records_saved,
    coalesce(sum(historical_records), 0)::BIGINT AS historical_records_saved,
    avg(ui_records) FILTER (ui) AS average_records_per_ui_collection,
    avg(historical_records) FILTER (historical) AS average_records_per_historical_collection,
    avg(duration_s) FILTER (collection_type = 'ui') AS average_seconds_per_ui_collection,
    avg(duration_s) FILTER (collection_type = 'historical')
        AS average_seconds_per_historical_collection,
    coalesce(sum(endpoints_asked), 0)::BIGINT AS endpoints_asked,
    coalesce(sum(endpoints_answered), 0)::BIGINT AS endpoints_answered,
    min(created_at) FILTER (ui OR historical) AS first_collection,
    max(finished_at) FILTER (ui) AS last_ui_collection,
    max(finished_at) FILTER (historical) AS last_historical_collection
FROM run
""",
)

VIEWS: tuple[View, ...] = (WORKER_STATUS, WORKER_STATS)
