"""Tables about pools: which sources stand in for one another, which answers, what they may cost."""

from typing import Literal

from crypto_pipeline.tables.outcomes import Outcome
from crypto_pipeline.tables.spec import Count, Row, Text, Time, Words, column, optional, words_of

Period = Literal["day", "month"]
"""What a quota is for, in UTC."""


class SourcePool(Row, table="source_pools", write="replace", key=("pool",)):
    """One pool as it is declared now: endpoints that stand in for one another."""

    pool: Text = column("Name of the pool")
    feeds: Text = column("Table its members feed")
    members: Count = column("How many endpoints it has")
    strategy: Text = column(
        "How one is chosen; first healthy: in order of place, until one answers"
    )


class PoolMember(Row, table="pool_members", write="replace", key=("pool", "endpoint")):
    """One endpoint of a pool, and its place in the order they are asked in."""

    pool: Text = column("Name of the pool")
    endpoint: Text = column("Endpoint, source.table or source.table.variant")
    source: Text = column("Name of the source")
    place: Count = column("1 is asked first; who failed goes behind the others for a while")
    key_required: bool = column("Whether it is passed over without its API key")


class RotationState(Row, table="rotation_state", write="upsert", key=("pool",)):
    """Which member of a pool answers now.

    When every member failed the endpoint is the one that answered last, and the outcome is that of
    the failure.
    """

    pool: Text = column("Name of the pool")
    endpoint: Text | None = optional("Member that answered last, NULL when none ever did")
    since: Time | None = optional("Since when it has been that one")
    outcome: Outcome = column("How the member asked last ended")
    reason: Words | None = optional("Why, when the outcome is not ok")
    asked_at: Time = column("When the pool was asked last")


class RotationChange(Row, table="rotation_history", time="changed_at", key=()):
    """One change of the member that answers for a pool, and why."""

    pool: Text = column("Name of the pool")
    from_endpoint: Text | None = optional("Member that answered before, NULL the first time")
    to_endpoint: Text = column("Member that answers now")
    reason: Words = column("How the one before failed, or that an earlier choice is healthy again")
    changed_at: Time = column("When")
    collection_id: Text = column("The collection (Dagster run) in which it changed")


class RateLimitUsage(
    Row,
    table="rate_limit_usage",
    write="upsert",
    key=("source", "period", "window_start"),
):
    """Requests made to one source in one day or month (UTC), retries counted.

    Sources that take the same API key share what it allows: add them up.
    """

    source: Text = column("Name of the source")
    period: Period = column(words_of(Period))
    window_start: Time = column("When the day or the month began")
    calls: Count = column("Requests made, retries included")
    bytes_received: Count = column("Bodies as they came over the wire", unit="bytes")
    limit_calls: Count | None = optional("Requests allowed, NULL where no limit is known")
