"""Views, and macros that are asked with arguments: what can be computed is not stored twice.

Owns: each column of a view, once: its name, what it means, the SQL that computes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from crypto_pipeline.groups import BOTH, GROUPS


@dataclass(frozen=True, slots=True)
class ViewColumn:
    """One column of a view: what it means, its unit, and the SQL that computes it where that is
    more than a column of what is selected from."""

    name: str
    meaning: str
    sql: str = ""
    unit: str | None = None

    @property
    def description(self) -> str:
        return f"{self.meaning} [{self.unit}]" if self.unit else self.meaning


@dataclass(frozen=True, slots=True)
class View:
    """What is selected from other tables. With parameters it is a macro, a table that is asked with
    arguments: SELECT … FROM name(…).

    columns: none where it has those of the table that is selected from. query: what follows FROM.
    parameters: what each means. check: SQL that is true of every row.
    """

    name: str
    description: str
    columns: tuple[ViewColumn, ...]
    query: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    check: str = "true"

    @property
    def sql(self) -> str:
        """The SELECT that the view stands for."""
        columns = ",\n    ".join(f"{c.sql or c.name} AS {c.name}" for c in self.columns) or "*"
        return f"SELECT\n    {columns}\nFROM {self.query}"

    @property
    def signature(self) -> str:
        """How it is written in a query."""
        return f"{self.name}({', '.join(self.parameters)})" if self.parameters else self.name


def _each(name: str, meaning: str, sql: str) -> list[ViewColumn]:
    """A column for each group: {g} stands for its name, {is_g} for "the run collected it"."""
    columns = []
    for group in GROUPS:
        is_g = f"collection_type IN ('{group.name}', '{BOTH}')"
        words = (text.format(g=group.name, is_g=is_g) for text in (name, meaning, sql))
        columns.append(ViewColumn(*words))
    return columns


_RECORDS = " + ".join(f"{group.name}_records" for group in GROUPS)

_COLLECTIONS = ("Finished collections of the group {g}", "count(*) FILTER ({is_g})")
_LAST = _each(
    "last_{g}_collection",
    "When a {g} collection ended last",
    "max(finished_at) FILTER ({is_g})",
)
_TOTAL = ViewColumn(
    "total_records_saved",
    "Rows that were new to the data tables",
    f"coalesce(sum({_RECORDS}), 0)::BIGINT",
)

WORKER_STATUS = View(
    "worker_status",
    "The worker in one row: whether its schedules are on, what it saved, what went wrong lately. "
    "The sensors keep it a minute fresh; crypto-pipeline status asks Dagster itself.",
    (
        ViewColumn(
            "schedules_enabled",
            "How many of the schedules are on",
            "(SELECT count(*) FROM schedule_config WHERE enabled)",
        ),
        *_each("{g}_collections", *_COLLECTIONS),
        _TOTAL,
        *_LAST,
        ViewColumn(
            "recent_errors",
            "What failed in the last 24 hours, newest first, at most ten",
            "(SELECT coalesce(list(failure), []) FROM ("
            "SELECT kind || ' ' || name || ': ' || message AS failure FROM failure_logs "
            "WHERE failed_at > now() - INTERVAL 24 HOUR ORDER BY failed_at DESC LIMIT 10))",
        ),
        ViewColumn(
            "open_alerts",
            "Alerts that are open",
            "(SELECT count(*) FROM alerts WHERE closed_at IS NULL)",
        ),
        ViewColumn(
            "next_tick_at",
            "When a schedule ticks next",
            "(SELECT min(next_tick_at) FROM schedule_config WHERE enabled)",
        ),
    ),
    "worker_runs",
)

WORKER_STATS = View(
    "worker_stats",
    "All that the worker ever did, in one row. Records of the group ui are divided by collections "
    "of the group ui, historical ones by historical ones; a full collection is one of each.",
    (
        *_each("total_{g}_collections", *_COLLECTIONS),
        *_each(
            "failed_{g}_collections",
            "Of these, those that did not succeed",
            "count(*) FILTER ({is_g} AND status <> 'SUCCESS')",
        ),
        _TOTAL,
        *_each(
            "{g}_records_saved",
            "Rows new to the tables of the group {g}",
            "coalesce(sum({g}_records), 0)::BIGINT",
        ),
        *_each(
            "average_records_per_{g}_collection",
            "{g} rows by {g} collections",
            "avg({g}_records) FILTER ({is_g})",
        ),
        *_each(
            "average_seconds_per_{g}_collection",
            "Of the collections of {g} alone",
            "avg(duration_s) FILTER (collection_type = '{g}')",
        ),
        ViewColumn(
            "endpoints_asked",
            "Endpoints that were asked, over all runs",
            "coalesce(sum(endpoints_asked), 0)::BIGINT",
        ),
        ViewColumn(
            "endpoints_answered",
            "Endpoints that answered, over all runs",
            "coalesce(sum(endpoints_answered), 0)::BIGINT",
        ),
        ViewColumn(
            "first_collection",
            "When the first collection began",
            "min(created_at) FILTER (collection_type <> 'manual')",
        ),
        *_LAST,
    ),
    "worker_runs",
)

_MOMENT = "a moment, such as TIMESTAMPTZ '2026-11-23 12:00:00+00'"

_KNOWN = (
    "coalesce(first_seen_at, timestamp) <= moment::TIMESTAMPTZ "
    "AND timestamp > moment::TIMESTAMPTZ - INTERVAL 24 HOUR AND timestamp <= moment::TIMESTAMPTZ"
)
"""Rows of agreed_prices that were known at the moment, and not older than a day then."""

PRICES_AS_OF = View(
    "prices_as_of",
    "The agreed prices that were known at a moment: of each coin the last one, of those that were "
    "in this file by then. Coins without a price in the day before it are left out.",
    (),
    f"agreed_prices WHERE {_KNOWN} "
    "QUALIFY row_number() OVER (PARTITION BY symbol ORDER BY timestamp DESC) = 1",
    {"moment": _MOMENT},
)

UNIVERSE_AT = View(
    "universe_at",
    "The biggest coins by market capitalisation as they were known at a moment, with their prices: "
    "of each the last rank of the day before it, and of two with one rank the newer first.",
    (),
    "(SELECT price.* REPLACE (ranked.rank AS rank) FROM prices_as_of(moment) AS price JOIN ("
    f"SELECT symbol, arg_max(rank, timestamp) AS rank FROM agreed_prices WHERE {_KNOWN} "
    "GROUP BY symbol) AS ranked USING (symbol)) WHERE rank IS NOT NULL "
    "QUALIFY row_number() OVER (ORDER BY rank, timestamp DESC, symbol) <= coins "
    "ORDER BY rank, timestamp DESC, symbol",
    {"moment": _MOMENT, "coins": "how many, such as 100"},
)

CANDLES_AS_OF = View(
    "candles_as_of",
    "The candles that were known at a moment: those that came later are not among them, and one "
    "that its source corrected later is as it was then.",
    (),
    "(SELECT * EXCLUDE (corrected_at) FROM ("
    "FROM cached_ohlc WHERE coalesce(first_seen_at, fetched_at) <= moment::TIMESTAMPTZ "
    "UNION ALL BY NAME "
    "FROM corrected_candles WHERE coalesce(first_seen_at, fetched_at) <= moment::TIMESTAMPTZ "
    "AND corrected_at > moment::TIMESTAMPTZ))",
    {"moment": _MOMENT},
)

WORKER = (WORKER_STATUS, WORKER_STATS)
AS_OF = (PRICES_AS_OF, UNIVERSE_AT, CANDLES_AS_OF)
