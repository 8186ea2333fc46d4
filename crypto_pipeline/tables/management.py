"""Tables that every collection writes about itself, its sources and what it refused."""

from datetime import timedelta

from crypto_pipeline.groups import CollectionType
from crypto_pipeline.tables.outcomes import SKIPPED, Circuit, Outcome, Skip
from crypto_pipeline.tables.spec import (
    Amount,
    Count,
    Positive,
    Row,
    Symbol,
    Text,
    Time,
    Words,
    column,
    optional,
    words_of,
)


class Provider(Row, table="providers", write="replace", key=("source",)):
    """One source as it is declared now: where it is, what it feeds, which key it takes."""

    source: Text = column("Name of the source")
    base_url: Text = column("Where it is asked")
    documentation: Text = column("Where its interface is described")
    key_variable: Text | None = optional("Environment variable of its API key, NULL when keyless")
    key_required: bool = column("Whether it is skipped without the key")
    voice_of: Text | None = optional(
        "The source it is one voice with in the agreed view, of one owner or one feed"
    )
    tables: list[str] = column("Tables it feeds")
    endpoints: Count = column("How many endpoints it has here")


class ConnectionAttempt(
    Row,
    table="connection_attempts",
    time="started_at",
    key=(),
    keep=timedelta(days=30),
):
    """One HTTP exchange; retries are rows of their own. Secrets never appear in it."""

    endpoint: Text = column("Endpoint it was made for (the first, where several share a request)")
    source: Text = column("Name of the source")
    attempt: Count = column("1 for the first try, 2 for the first retry, …")
    method: Text = column("GET or POST")
    url: Words = column("Address asked, secrets replaced")
    status: Count | None = optional("HTTP status, NULL when no answer came")
    error: Words | None = optional("What went wrong on the way, NULL when an answer came")
    bytes_received: Count = column("Body as it came over the wire", unit="bytes")
    latency_ms: Amount = column("From the request to the last byte", unit="ms", decimals=1)
    started_at: Time = column("When the request was sent")
    collection_id: Text = column("The collection (Dagster run) that made it")


class DataCollection(
    Row,
    table="data_collections",
    time="started_at",
    key=("collection_id", "endpoint"),
    keep=timedelta(days=30),
):
    """How one endpoint ended in one collection.

    rows + left_out + rejects = records, always. rows are the good ones; stored says how many were
    new to the table.
    """

    endpoint: Text = column("Endpoint, source.table or source.table.variant")
    source: Text = column("Name of the source")
    feeds: Text = column("Table it feeds")
    collection_type: CollectionType = column(words_of(CollectionType))
    outcome: Outcome = column(words_of(Outcome))
    skip: Skip | None = optional(
        f"Why it was not asked, when the outcome is {SKIPPED}: {words_of(Skip)}"
    )
    reason: Words | None = optional("Why, in words, when the outcome is not ok")
    records: Count = column("Records in the answer")
    rows: Count = column("Records that became rows")
    left_out: Count = column("Records left out on purpose: other quotes, unfinished candles, …")
    rejects: Count = column("Records refused, see rejected_rows")
    stored: Count = column("Rows that were new to the table")
    bytes_received: Count = column("Bodies as they came over the wire", unit="bytes")
    latency_ms: Amount | None = optional("Longest exchange", unit="ms", decimals=1)
    started_at: Time = column("When the collection began")
    finished_at: Time = column("When the endpoint was done")
    collection_id: Text = column("The collection (Dagster run)")


class SourceHealth(Row, table="source_health", write="upsert", key=("endpoint",)):
    """What is remembered of an endpoint between collections: when to ask it, and how."""

    endpoint: Text = column("Endpoint, source.table or source.table.variant")
    source: Text = column("Name of the source")
    outcome: Outcome = column("How it ended when it was asked last")
    reason: Words | None = optional("Why, when the outcome is not ok")
    circuit: Circuit = column("closed (asked when due) or open (resting after failures)")
    consecutive_failures: Count = column("Failures since the last success")
    asked_at: Time = column("When it was asked last")
    succeeded_at: Time | None = optional("When it answered well last")
    answered_at: Time | None = optional(
        "When it last sent a whole answer: a day later it is asked for one, changed or not"
    )
    next_allowed_at: Time = column("Not asked before this time by a schedule")
    told_to_wait_until: Time | None = optional("Not asked before this time by anyone")
    etag: Words | None = optional("For the next conditional request")
    last_modified: Words | None = optional("For the next conditional request")


class RejectedRow(
    Row,
    table="rejected_rows",
    time="rejected_at",
    key=(),
    keep=timedelta(days=30),
):
    """One record that was refused, why, and the record itself: the quarantine.

    At most 50 records an endpoint and collection are kept; data_collections has the full count.
    """

    endpoint: Text = column("Endpoint it came from")
    source: Text = column("Name of the source")
    feeds: Text = column("Table it was meant for")
    field: Words | None = optional("Column that refused the value, where it was one")
    reason: Words = column("Why it was refused")
    record: Words = column("The record as it came, as JSON, cut at 2,000 characters")
    rejected_at: Time = column("When")
    collection_id: Text = column("The collection (Dagster run) that refused it")


class Coin(Row, table="coins", write="upsert", key=("source", "source_id")):
    """Identity: which coin a source means by an id, and how big it is.

    Built from market_prices by sources that know market capitalisations. Tickers repeat; the coin
    with rank_of_symbol 1 is the biggest of its ticker and the one shown under it.
    """

    source: Text = column("Source whose id it is")
    source_id: Text = column("The source's own id of the coin")
    symbol: Symbol = column("Canonical ticker")
    name: Text | None = optional("Name as the source writes it")
    contract: Text | None = optional("Chain and address of a token, where the source lists them")
    market_cap: Positive = column("Market capitalisation when last seen", unit="USD", decimals=0)
    rank: Count = column("Place by market capitalisation within the source, 1 is the biggest")
    rank_of_symbol: Count = column("Place among the source's coins of the same ticker")
    updated_at: Time = column("When it was last seen")


class SchemaMigration(Row, table="schema_migrations", write="insert", key=("version",)):
    """One change of the layout of this file, in order."""

    version: Count = column("Number of the change, the highest is the file's version")
    name: Text = column("What changed")
    applied_at: Time = column("When")
    declarations: Text | None = optional(
        "A fingerprint of the views, macros and comments that the file has, in the newest row"
    )
