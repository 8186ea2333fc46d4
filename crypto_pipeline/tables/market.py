"""Tables of the market: prices, the agreed view of them, candles, totals and trends."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from math import gcd
from statistics import median
from typing import Self

from pydantic import model_validator

from crypto_pipeline.groups import HISTORICAL, UI
from crypto_pipeline.tables.outcomes import Abstention, Agreement, Rejection
from crypto_pipeline.tables.spec import (
    Amount,
    Change,
    Count,
    Id,
    Number,
    Positive,
    Row,
    Share,
    Struct,
    Symbol,
    Text,
    Time,
    Window,
    column,
    optional,
    words_of,
)

LEAST_TRADED_USD = 1_000
"""A price that less than this was traded at in a day, in US dollars, is kept and does not vote."""

RECENT_MINUTES = 30
"""How old what a source said may be to be heard beside what others say now."""

TOLERANCE = 0.05
"""How far a voice may be from the centre of those it agrees with; clusters are as far apart."""

IS_VENUE = "(market_cap IS NULL AND volume_24h > 0)"
"""SQL of market_prices: whether the source of a price trades there and says how much. Those that
know market capitalisations are aggregators; those that say neither may be anything."""

SPIKE = 10.0
"""A candle this many times above or below the usual one of its answer is none."""

LEAST_NEIGHBOURS = 5
"""Candles of one coin in one answer from which they are held against one another."""

INTERVALS = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600, "4h": 14400, "1d": 86400}
"""Candle intervals, in seconds."""


class MarketPrice(
    Row,
    table="market_prices",
    group=UI,
    write="append",
    key=("source", "source_id", "quote", "collection_id"),
    time="timestamp",
    universe=True,
):
    """One coin's price as one source saw it.

    A ticker is a label, not an identity: several coins share one, so join on (source, source_id).
    Quotes in dollar stablecoins (USDT, USDC, FDUSD) count as the dollars that venues pay for them,
    as stablecoin_peg says; other currencies are left out. Volume is in US dollars whatever the
    source reports.
    """

    symbol: Symbol = column("Canonical ticker, upper case: BTC, not XBT, BITCOIN or BTCUSDT")
    name: Text | None = optional("The coin's name as the source writes it")
    source_id: Id = column("The source's own id of the coin or trading pair")
    contract: Text | None = optional("Chain and address of a token, where the source lists them")
    quote: Symbol = column("Currency the price was quoted in: USD or a dollar stablecoin")
    price_usd: Positive = column("Price of one coin", unit="USD")
    quoted: Positive | None = optional(
        "The price as the source said it, where the quote is not USD", unit="quote"
    )
    quote_usd: Positive | None = optional(
        "What a unit of the quote counted as; NULL: at par, for want of a measured rate", unit="USD"
    )
    market_cap: Positive | None = optional(
        "Circulating supply times price, as the source computes it", unit="USD", decimals=0
    )
    volume_24h: Amount | None = optional(
        "Traded value over the last 24 hours on this source or pair", unit="USD", decimals=0
    )
    price_change_24h: Change | None = optional(
        "Change of the price over the last 24 hours", unit="%", decimals=3
    )
    timestamp: Time = column("When it was observed", fill="observed_at")
    source_at: Time | None = optional(
        "The source's own clock for this price", within=Window(None, timedelta(hours=1))
    )
    abstains: Abstention | None = optional(
        "Why it does not vote in cached_market_data: " + words_of(Abstention)
    )
    source: Text = column("Which source said so", fill="source")
    collection_id: Text = column("The collection (Dagster run) that wrote it", fill="collection_id")

    def mark(self, observed_at: datetime, stale_after: timedelta) -> None:
        if self.source_at is not None and observed_at - self.source_at > stale_after:
            self.abstains = "stale"
        elif self.volume_24h is not None and self.volume_24h < LEAST_TRADED_USD:
            self.abstains = "untraded"


class RejectedVoice(Struct):
    """One source that is left out of an agreed price."""

    source: Text = column("which source")
    price_usd: Positive = column("its price", unit="USD")
    off_pct: Number = column(
        "how far that is from the agreed price, or without one from the median of all voices",
        unit="%",
    )
    why: Rejection = column(words_of(Rejection))


class CachedMarketData(
    Row,
    table="cached_market_data",
    group=UI,
    write="replace",
    key=("symbol",),
    computed_from=(MarketPrice,),
):
    """The latest agreed view of a coin: the median over sources, the others rejected and named.

    A source speaks once per ticker, with its biggest coin of that name on its busiest pair; sources
    of one owner or one feed (voice_of in providers) count once. Prices that are stale, untraded or
    frozen have no vote. Market capitalisations of two sources say which coin a ticker means; then
    three independent voices and more than half make a price, or the witnesses: recent candles,
    mark prices of swaps and the last agreed price. Where nothing decides, the coin is disputed:
    its row has no price.
    """

    symbol: Symbol = column("Canonical ticker")
    state: Agreement = column(
        "Whether there is a price: " + words_of(Agreement) + " (nobody has a vote)"
    )
    name: Text | None = optional("The coin's name, from the source with the biggest market cap")
    price_usd: Positive | None = optional(
        "Median of the agreeing sources, NULL unless agreed", unit="USD"
    )
    market_cap: Positive | None = optional("Median over the agreeing sources", unit="USD")
    volume_24h: Amount | None = optional(
        "Median over the agreeing sources that know market capitalisations; where there is none, "
        "the sum over the agreeing venues, each with all its dollar pairs",
        unit="USD",
    )
    change_24h: Change | None = optional("Median change over 24 hours", unit="%")
    high_24h: Positive | None = optional(
        "Highest agreed price of the last 24 hours, to the hour", unit="USD"
    )
    low_24h: Positive | None = optional(
        "Lowest agreed price of the last 24 hours, to the hour", unit="USD"
    )
    sources: Count = column("How many sources agreed")
    voices: Count | None = optional(
        "How many of these are independent: 1 is one voice's word, NULL unless agreed"
    )
    spread_pct: Amount | None = optional("Highest over lowest agreeing price, minus one", unit="%")
    rejected: list[RejectedVoice] = column("Sources left out of the median")
    provider: Text | None = optional("The agreeing sources, comma separated")
    fetched_at: Time = column(
        "When the newest of the agreeing prices was observed; of all, where there is no price"
    )


class AgreedRange(Row, table="agreed_ranges", write="upsert", key=("symbol", "hour")):
    """Highest and lowest agreed price of a coin within one hour, for the last day.

    From these come the high and low of cached_market_data; the newest is a witness of the next
    agreed price.
    """

    symbol: Symbol = column("Canonical ticker")
    hour: Time = column("Start of the hour")
    high_usd: Positive = column("Highest agreed price of the hour", unit="USD")
    low_usd: Positive = column("Lowest agreed price of the hour", unit="USD")


class Candle(
    Row,
    table="cached_ohlc",
    group=HISTORICAL,
    write="upsert",
    key=("provider", "symbol", "interval", "timestamp"),
    time="timestamp",
    window=timedelta(days=30),
    universe=True,
):
    """One finished candle. A candle still open when it was fetched is left out.

    No trades, no candle: some sources skip such intervals, others repeat the last price with a
    volume of zero. Volume is in base units (coins), never in the quote currency.
    """

    symbol: Symbol = column("Canonical ticker")
    interval: Text = column("Length of the candle: " + ", ".join(INTERVALS))
    timestamp: Time = column("Open time of the candle", within=Window(None, timedelta(days=1)))
    open: Positive = column("First price", unit="quote")
    high: Positive = column("Highest price", unit="quote")
    low: Positive = column("Lowest price", unit="quote")
    close: Positive = column("Last price", unit="quote")
    volume: Amount | None = optional("Traded volume", unit="base coins")
    quote: Symbol = column("Currency of the prices")
    source: Text | None = optional("Which source said so", fill="source")
    provider: Text = column("The same, by its former name", fill="source")
    fetched_at: Time = column("When it was fetched", fill="observed_at")
    collection_id: Text = column("The collection (Dagster run) that wrote it", fill="collection_id")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.interval not in INTERVALS:
            raise ValueError(f"interval {self.interval!r} is not one of {', '.join(INTERVALS)}")
        if not self.low <= min(self.open, self.close) <= max(self.open, self.close) <= self.high:
            raise ValueError("low, open, close and high contradict one another")
        # Days begin at midnight somewhere, hours everywhere: this tells 1m candles sold as 5m.
        if self.timestamp.timestamp() % min(INTERVALS[self.interval], 3600):
            raise ValueError(f"timestamp is not the open time of a {self.interval} candle")
        return self

    @classmethod
    def misfits(cls, rows: Sequence[Self]) -> Iterator[tuple[int | None, str]]:
        series: dict[tuple[str, str], list[tuple[int, Self]]] = {}
        for place, row in enumerate(rows):
            series.setdefault((row.symbol, row.interval), []).append((place, row))
        for (symbol, interval), candles in series.items():
            apart = _apart_s([candle.timestamp for _, candle in candles], INTERVALS[interval])
            if apart:
                yield None, f"{symbol}: candles lie {apart} s apart where {interval} was asked for"
            usual = median(candle.close for _, candle in candles)
            for place, candle in candles if len(candles) >= LEAST_NEIGHBOURS else ():
                if candle.high > usual * SPIKE or candle.low < usual / SPIKE:
                    yield place, f"{candle.low:g} to {candle.high:g} among candles at {usual:g}"

    def wanted(self, observed_at: datetime) -> bool:
        return self.timestamp + timedelta(seconds=INTERVALS[self.interval]) <= observed_at


class CorrectedCandle(
    Candle,
    table="corrected_candles",
    key=("provider", "symbol", "interval", "timestamp", "corrected_at"),
    time="corrected_at",
    past_of=Candle,
):
    """A candle as it was before its source corrected it: candles_as_of reads these too."""

    first_seen_at: Time | None = optional("When it came into this file")
    corrected_at: Time = column("When the corrected one came")


def _apart_s(moments: Sequence[datetime], asked_s: int) -> int:
    """The seconds that candles lie apart when they are of another length than was asked for, or 0.

    Intervals without a trade may be missing, and days have 23 hours once a year.
    """
    gaps = [int((b - a).total_seconds()) for a, b in pairwise(sorted(set(moments)))]
    if len(gaps) < LEAST_NEIGHBOURS - 1:
        return 0
    least, common = min(gaps), gcd(*gaps)
    return least if least < 0.9 * asked_s else (common if common > asked_s else 0)


class GlobalMarket(
    Row,
    table="global_market",
    group=HISTORICAL,
    time="timestamp",
    key=("source", "collection_id"),
    any_of=("total_market_cap_usd", "total_volume_24h_usd", "btc_dominance_pct"),
):
    """The whole market as one source sums it up.

    Sources count different coins: compare a source with its own past, not with another source.
    """

    total_market_cap_usd: Positive | None = optional(
        "Sum of all market capitalisations", unit="USD", decimals=0, jump=10
    )
    total_volume_24h_usd: Amount | None = optional(
        "Sum of all volumes of 24 hours", unit="USD", decimals=0, jump=100
    )
    btc_dominance_pct: Share | None = optional("Bitcoin's share of the total", unit="%")
    eth_dominance_pct: Share | None = optional("Ethereum's share of the total", unit="%")
    market_cap_change_24h_pct: Change | None = optional(
        "Change of the total over 24 hours", unit="%", decimals=4
    )
    active_coins: Count | None = optional("How many coins the source counts")
    markets: Count | None = optional("How many exchanges or markets the source counts")
    timestamp: Time = column("When it was observed", fill="observed_at")
    source_at: Time | None = optional(
        "The source's own clock", within=Window(timedelta(days=7), timedelta(hours=1))
    )
    source: Text = column("Which source said so", fill="source")
    collection_id: Text = column("The collection (Dagster run) that wrote it", fill="collection_id")


class TrendingCoin(
    Row,
    table="trending_coins",
    group=HISTORICAL,
    time="timestamp",
    key=("source", "source_id", "collection_id"),
    zeros=True,
):
    """One place in a source's list of what is trending now.

    What "trending" means is the source's own affair: searches, paid boosts or traded volume.
    """

    rank: Count = column("Place in the list, 1 is the top")
    symbol: Symbol | None = optional("Canonical ticker, where the list names one")
    name: Text | None = optional("Name as the source writes it")
    source_id: Id = column("The source's own id: a coin, a pool or a token address")
    blockchain: Text | None = optional("Chain of the pool or token, where the list names one")
    price_usd: Positive | None = optional("Price of one coin", unit="USD")
    price_change_24h: Change | None = optional("Change over 24 hours", unit="%", decimals=4)
    timestamp: Time = column("When it was observed", fill="observed_at")
    source: Text = column("Which source said so", fill="source")
    collection_id: Text = column("The collection (Dagster run) that wrote it", fill="collection_id")
