"""Tables that are made of the others in every collection, and keep their past: what the agreed
prices were, and what the dollar coins were worth."""

from datetime import timedelta

from crypto_pipeline.groups import UI
from crypto_pipeline.tables.market import CachedMarketData, MarketPrice, RejectedVoice
from crypto_pipeline.tables.spec import (
    Amount,
    Count,
    Positive,
    Row,
    Symbol,
    Text,
    Time,
    column,
    optional,
)

BARS = {"5m": 300, "1h": 3600, "1d": 86400}
"""Lengths of agreed bars, in seconds."""


class StablecoinPeg(
    Row,
    table="stablecoin_peg",
    group=UI,
    write="insert",  # a collection that asks no venue of it measures what was measured before
    key=("symbol", "timestamp"),
    time="timestamp",
    window=timedelta(hours=1),
    computed_from=(MarketPrice,),
):
    """What a dollar stablecoin was worth at one collection, by venues that trade it for dollars.

    More than half of the venues agree within two percent, and either two of them are independent or
    the aggregators' price is near theirs; else there is no row, and prices in that coin count at
    par. With these rates market_prices turns quotes into dollars.
    """

    symbol: Symbol = column("The stablecoin, as it is named in market_prices.quote")
    rate_usd: Positive = column("Median of the agreeing venues", unit="USD")
    voices: Count = column("How many independent venues agreed: 1 is one voice's word")
    spread_pct: Amount = column(
        "Highest over lowest agreeing price, minus one", unit="%", decimals=4
    )
    rejected: list[RejectedVoice] = column("Venues left out of the median")
    timestamp: Time = column("When the newest of the agreeing prices was observed")


class AgreedPrice(
    Row,
    table="agreed_prices",
    group=UI,
    write="append",
    key=("symbol", "timestamp"),
    time="timestamp",
    computed_from=(MarketPrice, CachedMarketData),
):
    """The agreed price of a coin at one collection: the past of cached_market_data, for ever.

    A coin has a row when a price newer than those before went into an agreement. A disputed coin
    has none.
    """

    symbol: Symbol = column("Canonical ticker")
    price_usd: Positive = column("Median of the agreeing sources", unit="USD")
    vwap_usd: Positive | None = optional(
        "Mean of the agreeing venues' prices, weighted by what each traded in a day, to seven "
        "digits; NULL where no venue says what it traded",
        unit="USD",
    )
    volume_24h: Amount | None = optional(
        "As in cached_market_data, to five digits", unit="USD", decimals=0
    )
    rank: Count | None = optional(
        "Place by market capitalisation among the coins agreed then, 1 is the biggest"
    )
    voices: Count = column("How many independent voices agreed: 1 is one voice's word")
    spread_pct: Amount = column(
        "Highest over lowest agreeing price, minus one", unit="%", decimals=2
    )
    rejected: list[RejectedVoice] = column(
        "Voices that said another price; those without a vote are in cached_market_data alone"
    )
    timestamp: Time = column("When the newest of the agreeing prices was observed")


class AgreedBar(
    Row,
    table="agreed_bars",
    group=UI,
    write="append",
    key=("symbol", "interval", "timestamp"),
    time="timestamp",
    computed_from=(AgreedPrice,),
):
    """The agreed prices of a coin within 5 minutes, an hour or a day, once that is over.

    Every coin that had a price in the day before has a bar for each interval: without prices where
    none was agreed, and collected says whether anything was collected at all. After more than 31
    days without a collection bars begin anew.
    """

    symbol: Symbol = column("Canonical ticker")
    interval: Text = column("Length of the bar: " + ", ".join(BARS))
    timestamp: Time = column("Start of the bar, UTC")
    open: Positive | None = optional("First agreed price", unit="USD")
    high: Positive | None = optional("Highest agreed price", unit="USD")
    low: Positive | None = optional("Lowest agreed price", unit="USD")
    close: Positive | None = optional("Last agreed price", unit="USD")
    prices: Count = column("How many agreed prices are in it")
    voices: Count | None = optional("The fewest independent voices any of them had")
    collected: bool = column("Whether any coin has a price in that time: else nobody collected")
