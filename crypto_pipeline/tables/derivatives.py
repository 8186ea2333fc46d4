"""Tables of perpetual swaps: what holding one costs, and how many are held."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from crypto_pipeline.groups import HISTORICAL
from crypto_pipeline.tables.outcomes import RateKind
from crypto_pipeline.tables.spec import (
    Amount,
    Id,
    Positive,
    Row,
    Symbol,
    Text,
    Time,
    Window,
    column,
    optional,
    words_of,
)

OWN_CLOCK = Window(timedelta(days=1), timedelta(hours=1))
"""Where a venue's own clock may lie."""

Rate = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]

Hours = Annotated[float, Field(gt=0, le=24, allow_inf_nan=False)]
"""No exchange settles less often than once a day."""


class FundingRate(
    Row,
    table="funding_rates",
    group=HISTORICAL,
    time="timestamp",
    key=("exchange", "source_id", "collection_id"),
    universe=True,
    zeros=True,
):
    """What the long side of a perpetual swap pays the short side, as a fraction per interval.

    Rates of different intervals do not compare: multiply by 24 / interval_hours first. Where an
    exchange does not say its interval, interval_hours is NULL.
    """

    symbol: Symbol = column("Canonical ticker of the underlying coin")
    source_id: Id = column("The exchange's own name of the contract")
    source: Text | None = optional("Which source said so", fill="source")
    exchange: Text = column("The same, by its former name", fill="source")
    rate: Rate = column("Funding rate, a fraction of the position: 0.0001 is 0.01 %")
    rate_kind: RateKind | None = optional(
        "Whether the rate still moves until it is paid, or stands; NULL where the exchange's "
        "documentation does not say: " + words_of(RateKind)
    )
    interval_hours: Hours | None = optional("How often it is paid", unit="hours")
    mark_price: Positive | None = optional("Mark price of one coin", unit="quote", jump=500)
    next_funding_at: Time | None = optional(
        "When it is paid next", within=Window(timedelta(days=1), timedelta(days=2))
    )
    timestamp: Time = column("When it was observed", fill="observed_at", within=OWN_CLOCK)
    collection_id: Text = column("The collection (Dagster run) that wrote it", fill="collection_id")


class OpenInterest(
    Row,
    table="open_interest",
    group=HISTORICAL,
    time="timestamp",
    key=("exchange", "source_id", "collection_id"),
    any_of=("open_interest", "open_interest_usd"),
    universe=True,
):
    """How many contracts of a perpetual swap are open, one side counted."""

    symbol: Symbol = column("Canonical ticker of the underlying coin")
    source_id: Id = column("The exchange's own name of the contract")
    source: Text | None = optional("Which source said so", fill="source")
    exchange: Text = column("The same, by its former name", fill="source")
    open_interest: Amount | None = optional("Open contracts, in coins", unit="base coins", jump=1e4)
    open_interest_usd: Amount | None = optional(
        "The same in US dollars", unit="USD", decimals=2, jump=1e4
    )
    timestamp: Time = column("When it was observed", fill="observed_at", within=OWN_CLOCK)
    collection_id: Text = column("The collection (Dagster run) that wrote it", fill="collection_id")
