"""What alerts, status and the budget ask of the file, as named functions of a connection.

Owns: the SQL of each question, and the shape of its answer.
Must not know: what an answer is judged by; thresholds are handed in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from crypto_pipeline.groups import GROUPS, CollectionType
from crypto_pipeline.tables import Alert, SourceHealth, StablecoinPeg, of_group
from crypto_pipeline.tables.outcomes import GOOD, OFF, SKIPPED, UNDECIDED
from crypto_pipeline.tables.views import WORKER_STATS
from crypto_pipeline.warehouse.sql import Connection, literal, literals, names


def has(connection: Connection, name: str) -> bool:
    """Whether the file has a table or view of this name."""
    found = connection.execute(
        "SELECT 1 FROM information_schema.tables WHERE table_schema = 'main' "
        f"AND table_catalog = current_database() AND table_name = {literal(name)}"
    )
    return found.fetchone() is not None


# What collections brought


def brought(where: str) -> str:
    """SELECT of what the collections of data_collections brought, a row each: collection_id,
    collection_type, finished_at, endpoints_asked, endpoints_answered, and the new rows of each
    group's tables as ui_records and historical_records."""
    records = ", ".join(
        f"coalesce(sum(stored) FILTER (feeds IN {literals(tables)}), 0)::BIGINT AS {group}_records"
        for group, tables in _TABLES_OF.items()
    )
    return (
        "SELECT collection_id, any_value(collection_type) AS collection_type, "
        "max(finished_at) AS finished_at, "
        f"count(*) FILTER (outcome <> {literal(SKIPPED)}) AS endpoints_asked, "
        f"count(*) FILTER (outcome IN {literals(GOOD)}) AS endpoints_answered, "
        f"{records} FROM data_collections WHERE {where} GROUP BY collection_id"
    )


_TABLES_OF = {group.name: [m.table.name for m in of_group(group)] for group in GROUPS}


# Status


@dataclass(frozen=True, slots=True)
class Brought:
    """What one collection brought: new rows by group."""

    collection_type: CollectionType
    finished_at: datetime
    records: dict[CollectionType, int]


def worker_stats(connection: Connection) -> dict[str, Any] | None:
    """The one row of worker_stats by column; None where the file does not have the view yet."""
    if not has(connection, WORKER_STATS.name):
        return None
    columns = [c.name for c in WORKER_STATS.columns]
    (row,) = connection.execute(f"SELECT {names(columns)} FROM {WORKER_STATS.name}").fetchall()
    return dict(zip(columns, row, strict=True))


def recorded_runs(connection: Connection, since: datetime) -> set[str]:
    """Ids of the runs in worker_runs that were created since."""
    found = connection.execute(
        f"SELECT run_id FROM worker_runs WHERE created_at > {literal(since)}"
    )
    return {run_id for (run_id,) in found.fetchall()}


def unrecorded_collections(connection: Connection) -> dict[str, Brought]:
    """Collections in the file whose runs no sensor has recorded yet, by run."""
    records = [f"{group.name}_records" for group in GROUPS]
    found = connection.execute(
        f"SELECT collection_id, collection_type, finished_at, {names(records)} FROM "
        f"({brought('collection_id NOT IN (SELECT run_id FROM worker_runs)')})"
    )
    return {
        collection_id: Brought(kind, finished_at, dict(zip(_TABLES_OF, counts, strict=True)))
        for collection_id, kind, finished_at, *counts in found.fetchall()
    }


def failures(connection: Connection, since: datetime, most: int) -> list[tuple[datetime, str]]:
    """What failed since, newest first: when, and what in words."""
    found = connection.execute(
        "SELECT failed_at, kind || ' ' || name || ': ' || message FROM failure_logs "
        f"WHERE failed_at > {literal(since)} ORDER BY failed_at DESC LIMIT {most}"
    )
    return found.fetchall()


def tick_counts(connection: Connection, since: datetime) -> dict[str, dict[str, int]]:
    """How many ticks of each schedule ended in each outcome since."""
    found = connection.execute(
        "SELECT schedule, outcome, count(*) FROM schedule_compliance "
        f"WHERE expected_at > {literal(since)} GROUP BY ALL"
    )
    counts: dict[str, dict[str, int]] = {}
    for schedule, outcome, count in found.fetchall():
        counts.setdefault(schedule, {})[outcome] = count
    return counts


def open_alerts(connection: Connection) -> list[Alert]:
    """Alerts that are open, the critical ones first."""
    if not has(connection, Alert.table.name):
        return []
    columns = Alert.table.column_names
    found = connection.execute(
        f"SELECT {names(columns)} FROM alerts WHERE closed_at IS NULL ORDER BY severity, opened_at"
    )
    return [Alert.model_validate(dict(zip(columns, row, strict=True))) for row in found.fetchall()]


# Alerts


class EndpointState(NamedTuple):
    """What is remembered of one endpoint."""

    endpoint: str
    circuit: str
    outcome: str
    reason: str | None
    asked_at: datetime
    succeeded_at: datetime | None
    next_allowed_at: datetime


def endpoint_states(connection: Connection) -> list[EndpointState]:
    """Every endpoint that was ever asked."""
    if not has(connection, SourceHealth.table.name):
        return []
    found = connection.execute(f"SELECT {names(EndpointState._fields)} FROM source_health")
    return [EndpointState(*row) for row in found.fetchall()]


class Rejects(NamedTuple):
    """What an endpoint sent: records refused, and records that became rows."""

    endpoint: str
    rejects: int
    rows: int


def mostly_rejected(connection: Connection, since: datetime, at_least: int) -> list[Rejects]:
    """Endpoints of which more records were refused than accepted since, and `at_least` so many."""
    found = connection.execute(
        "SELECT endpoint, sum(rejects)::BIGINT AS refused, sum(rows)::BIGINT AS accepted "
        f"FROM data_collections WHERE started_at > {literal(since)} GROUP BY endpoint "
        f"HAVING refused >= {at_least} AND refused > accepted ORDER BY endpoint"
    )
    return [Rejects(*row) for row in found.fetchall()]


class Disagreement(NamedTuple):
    """How many of a source's prices are off the agreed ones."""

    source: str
    off: int
    coins: int


def disagreeing_sources(connection: Connection, at_least: int, part: float) -> list[Disagreement]:
    """Sources of which `at_least` so many prices, and more than this part, are off agreed ones."""
    found = connection.execute(
        f"""
        WITH voice AS (
            SELECT rejected.source, 1 AS off
            FROM (SELECT unnest(rejected) AS rejected FROM cached_market_data)
            WHERE rejected.why IN {literals(OFF)}
            UNION ALL
            SELECT unnest(string_split(provider, ',')), 0 FROM cached_market_data
        )
        SELECT source, sum(off)::BIGINT AS off, count(*) AS coins FROM voice GROUP BY source
        HAVING sum(off) >= {at_least} AND sum(off) > {part} * count(*) ORDER BY source
        """
    )
    return [Disagreement(*row) for row in found.fetchall()]


class Dispute(NamedTuple):
    """A coin of which no more sources agree than are off; where none agree, it has no price."""

    symbol: str
    sources: int
    off: int


def disputed_coins(connection: Connection, biggest: int) -> list[Dispute]:
    """Of the biggest coins, those of which no more sources agree than are off or disagree."""
    off = f"len(list_filter(rejected, lambda voice: voice.why IN {literals({*OFF, UNDECIDED})}))"
    found = connection.execute(
        f"SELECT symbol, sources, {off} AS off FROM cached_market_data SEMI JOIN ("
        "SELECT symbol FROM coins WHERE rank_of_symbol = 1 "
        f"GROUP BY symbol ORDER BY median(market_cap) DESC LIMIT {biggest}"
        ") USING (symbol) WHERE off > 0 AND off >= sources ORDER BY symbol"
    )
    return [Dispute(*row) for row in found.fetchall()]


class Peg(NamedTuple):
    """What a stablecoin is worth, by so many independent venues."""

    symbol: str
    rate_usd: float
    voices: int


def pegs(connection: Connection, since: datetime, until: datetime) -> list[Peg]:
    """The last measured rate of each stablecoin within a time."""
    if not has(connection, StablecoinPeg.table.name):
        return []
    found = connection.execute(
        "SELECT symbol, arg_max(rate_usd, timestamp), arg_max(voices, timestamp) "
        f"FROM stablecoin_peg WHERE timestamp > {literal(since)} "
        f"AND timestamp <= {literal(until)} GROUP BY symbol ORDER BY symbol"
    )
    return [Peg(*row) for row in found.fetchall()]


@dataclass(frozen=True, slots=True)
class Measures:
    """Endpoints as they are, and the HTTP exchanges of a while; latency is the median in ms."""

    endpoints_known: int = 0
    endpoints_failing: int = 0
    endpoints_resting: int = 0
    requests: int = 0
    failures: int = 0
    latency_ms: float | None = None


def measures(connection: Connection, since: datetime) -> Measures:
    """The endpoints now, and the exchanges since; nothing where the file has no tables yet."""
    if not has(connection, SourceHealth.table.name):
        return Measures()
    (endpoints,) = connection.execute(
        "SELECT count(*), count(*) FILTER (consecutive_failures > 0), "
        "count(*) FILTER (circuit = 'open') FROM source_health"
    ).fetchall()
    (exchanges,) = connection.execute(
        "SELECT count(*), count(*) FILTER (status IS NULL OR status >= 400), "
        "round(median(latency_ms), 1) FROM connection_attempts "
        f"WHERE started_at > {literal(since)}"
    ).fetchall()
    return Measures(*endpoints, *exchanges)


def bytes_per_answer(connection: Connection) -> dict[str, float]:
    """What the answers of each endpoint weighed on average in the newest week on record."""
    if not has(connection, "connection_attempts"):
        return {}
    found: Sequence[tuple[str, float]] = connection.execute(
        "SELECT endpoint, avg(bytes_received) FROM connection_attempts "
        "WHERE status IS NOT NULL AND started_at > "
        "(SELECT max(started_at) FROM connection_attempts) - INTERVAL 7 DAY "
        "GROUP BY endpoint"
    ).fetchall()
    return dict(found)


def brought_rows(
    connection: Connection, table: str, since: datetime, until: datetime
) -> list[tuple[str, str]]:
    """Which endpoints brought rows for a table in which collections that began in that time, the
    oldest first."""
    found = connection.execute(
        "SELECT collection_id, endpoint FROM data_collections "
        f'WHERE feeds = {literal(table)} AND "rows" > 0 AND started_at >= {literal(since)} '
        f"AND started_at < {literal(until)} ORDER BY started_at, endpoint"
    )
    return found.fetchall()
