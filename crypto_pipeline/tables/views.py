"""Views: what can be computed is not stored twice.

Owns: each column of a view, once: its name, what it means, the SQL that computes it.
"""

from dataclasses import dataclass

from crypto_pipeline.groups import BOTH, GROUPS
from crypto_pipeline.tables.fiat import FiatRate


@dataclass(frozen=True, slots=True)
class ViewColumn:
    """One column of a view: what it means, and the SQL that computes it."""

    name: str
    meaning: str
    sql: str


@dataclass(frozen=True, slots=True)
class View:
    """One view of the warehouse over one table, or over a query in brackets."""

    name: str
    description: str
    table: str
    columns: tuple[ViewColumn, ...]

    @property
    def sql(self) -> str:
        """The SELECT that the view stands for."""
        columns = ",\n    ".join(f"{c.sql} AS {c.name}" for c in self.columns)
        return f"SELECT\n    {columns}\nFROM {self.table}"


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
    "worker_runs",
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
)

WORKER_STATS = View(
    "worker_stats",
    "All that the worker ever did, in one row. Records of the group ui are divided by collections "
    "of the group ui, historical ones by historical ones; a full collection is one of each.",
    "worker_runs",
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
)

_NEWEST_RATES = """(
    SELECT * FROM fiat_rates
    WHERE timestamp <= now() AND timestamp > (
        SELECT max(timestamp) - INTERVAL 1 DAY FROM fiat_rates WHERE timestamp <= now())
    QUALIFY row_number() OVER (PARTITION BY currency ORDER BY timestamp DESC) = 1
)"""
"""The last row of each currency. Only the last day of the history is read for it."""

LATEST_FIAT_RATES = View(
    "latest_fiat_rates",
    "The newest row of each currency in fiat_rates, of the last day before the newest of all.",
    _NEWEST_RATES,
    tuple(
        ViewColumn(c.name, f"{c.description} [{c.unit}]" if c.unit else c.description, c.name)
        for c in FiatRate.table.columns
    ),
)

LOCAL_PRICES = View(
    "local_prices",
    "Every agreed price in every currency that has a rate: the price in dollars times the units of "
    "the currency per dollar. Where the state is single, nothing confirms the rate.",
    f"(SELECT * FROM cached_market_data WHERE price_usd IS NOT NULL) AS coin "
    f"CROSS JOIN (SELECT * FROM {_NEWEST_RATES} WHERE per_usd IS NOT NULL) AS rate",
    (
        ViewColumn("symbol", "Canonical ticker", "coin.symbol"),
        ViewColumn("currency", "ISO 4217 code; IRT is the Iranian toman", "rate.currency"),
        ViewColumn("price", "Price of one coin in the currency", "coin.price_usd * rate.per_usd"),
        ViewColumn("price_usd", "Agreed price of one coin [USD]", "coin.price_usd"),
        ViewColumn("per_usd", "Units of the currency for one US dollar", "rate.per_usd"),
        ViewColumn("state", "Whether the rate is agreed, or of a single voice", "rate.state"),
        ViewColumn("voices", "How many independent voices agreed on the rate", "rate.voices"),
        ViewColumn("priced_at", "When the newest of the agreeing prices came", "coin.fetched_at"),
        ViewColumn("rated_at", "When the newest of the agreeing quotes came", "rate.timestamp"),
    ),
)

VIEWS: tuple[View, ...] = (WORKER_STATUS, WORKER_STATS, LATEST_FIAT_RATES, LOCAL_PRICES)
"""Every view, in the order of the reference."""
