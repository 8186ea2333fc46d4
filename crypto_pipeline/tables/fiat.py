"""Tables of currencies: what venues trade a dollar coin at, and the rates that follow from it.

Owns: every currency that is known, its name, and what a dollar may cost in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import sqrt
from typing import Self

from pydantic import model_validator

from crypto_pipeline.groups import UI
from crypto_pipeline.tables.market import CachedMarketData
from crypto_pipeline.tables.outcomes import Abstention, RateRejection, RateState
from crypto_pipeline.tables.spec import (
    Amount,
    Count,
    Number,
    Positive,
    Row,
    Struct,
    Symbol,
    Text,
    Time,
    Window,
    column,
    optional,
    words_of,
)

DOLLAR_COINS = ("USDT", "USDC")
"""Coins that are worth a dollar each, or nearly so."""

BASES = (*DOLLAR_COINS, "BTC")
"""Coins whose price in a currency says what a dollar costs in it."""

RIAL = "IRR"
TOMAN = "IRT"
RIALS_PER_TOMAN = 10

RISE = 1_000
"""How many times more a dollar may come to cost in a currency that falls fast."""


@dataclass(frozen=True, slots=True)
class Currency:
    """A currency, and the band in which its units per dollar lie.

    A steady one has a band of one power of ten, so that ten times a value that is in it is not.
    One that falls fast has no upper end worth the name: for years to come only the other venues,
    and what was stored a day before, tell ten times its value apart.
    """

    code: str
    name: str
    low: float
    high: float


def _steady(code: str, name: str, usual: float) -> Currency:
    return Currency(code, name, usual / sqrt(10), usual * sqrt(10))


def _falling(code: str, name: str, usual: float) -> Currency:
    return Currency(code, name, usual / sqrt(10), usual * RISE)


CURRENCIES: Mapping[str, Currency] = {
    currency.code: currency
    for currency in (
        _falling(TOMAN, "Iranian toman", 110_000),
        _falling("TRY", "Turkish lira", 42),
        _falling("ARS", "Argentine peso", 1_450),
        _falling("NGN", "Nigerian naira", 1_500),
        _steady("AED", "UAE dirham", 3.67),
        _steady("AUD", "Australian dollar", 1.5),
        _steady("BRL", "Brazilian real", 5.5),
        _steady("CAD", "Canadian dollar", 1.4),
        _steady("CHF", "Swiss franc", 0.85),
        _steady("COP", "Colombian peso", 4_000),
        _steady("CZK", "Czech koruna", 22),
        _steady("EUR", "euro", 0.9),
        _steady("GBP", "pound sterling", 0.75),
        _steady("HKD", "Hong Kong dollar", 7.8),
        _steady("IDR", "Indonesian rupiah", 16_000),
        _steady("INR", "Indian rupee", 88),
        _steady("JPY", "yen", 150),
        _steady("KRW", "won", 1_400),
        _steady("KZT", "Kazakhstani tenge", 520),
        _steady("MXN", "Mexican peso", 18.5),
        _steady("MYR", "Malaysian ringgit", 4.3),
        _steady("NZD", "New Zealand dollar", 1.7),
        _steady("PHP", "Philippine peso", 58),
        _steady("PLN", "zloty", 3.8),
        _steady("RON", "Romanian leu", 4.5),
        _steady("SGD", "Singapore dollar", 1.3),
        _steady("THB", "baht", 33),
        _steady("TWD", "new Taiwan dollar", 31),
        _steady("UAH", "hryvnia", 42),
        _steady("VND", "dong", 26_000),
        _steady("ZAR", "rand", 17.5),
    )
}
"""Every currency that is kept, by its ISO 4217 code; the toman, which has none, is IRT."""


class FiatQuote(
    Row,
    table="fiat_quotes",
    group=UI,
    write="append",
    key=("source", "base", "currency", "collection_id"),
    time="timestamp",
):
    """What one venue trades a dollar coin or bitcoin at in a currency.

    One toman (IRT) is ten rials: a venue that quotes rials is told so in its declaration, and its
    prices are here in tomans like everybody's.
    """

    base: Symbol = column("Coin that is traded: " + ", ".join(BASES))
    currency: Symbol = column("ISO 4217 code of the currency; IRT is the Iranian toman, ten rials")
    price: Positive = column("Units of the currency for one coin", unit="currency", jump=5)
    volume_24h: Amount | None = optional(
        "Traded over the last 24 hours", unit="base coins", decimals=4
    )
    timestamp: Time = column("When it was observed", fill="observed_at")
    source_at: Time | None = optional(
        "The source's own clock for this price", within=Window(None, timedelta(hours=1))
    )
    abstains: Abstention | None = optional(
        "Why it does not vote in fiat_rates, when it is known from the quote alone: stale"
    )
    source: Text = column("Which source said so", fill="source")
    collection_id: Text = column("The collection (Dagster run) that wrote it", fill="collection_id")

    @model_validator(mode="after")
    def _in_its_band(self) -> Self:
        if self.base not in BASES:
            raise ValueError(f"base {self.base!r} is not one of {', '.join(BASES)}")
        known = CURRENCIES.get(self.currency)
        if known is None:
            raise ValueError(f"currency {self.currency!r} is not one that is known")
        if self.base in DOLLAR_COINS and not known.low <= self.price <= known.high:
            raise ValueError(
                f"{self.price:g} {self.currency} for a dollar, which costs {known.low:.3g} to "
                f"{known.high:.3g}: another unit, or another currency"
            )
        return self

    def mark(self, observed_at: datetime, stale_after: timedelta) -> None:
        if self.source_at is not None and observed_at - self.source_at > stale_after:
            self.abstains = "stale"


class RejectedRate(Struct):
    """One source that is left out of a rate."""

    source: Text = column("which source")
    per_usd: Positive = column("its units per dollar", unit="currency")
    off_pct: Number = column(
        "how far that is from the rate, or without one from the median of all voices", unit="%"
    )
    why: RateRejection = column(words_of(RateRejection))


class FiatRate(
    Row,
    table="fiat_rates",
    group=UI,
    write="append",
    key=("currency", "collection_id"),
    time="timestamp",
    computed_from=(FiatQuote, CachedMarketData),
):
    """What a dollar costs in a currency where coins are traded: the median over venues.

    A venue's price of a coin over the agreed dollar price of that coin. This is the rate at which
    people buy and sell, not a bank's. Each venue speaks once, with the base that is traded most;
    sources of one owner or feed (voice_of in providers) count once. More than half of the voices
    within 5 % of their median make a rate. A row is added by every collection that has new quotes.
    """

    currency: Symbol = column("ISO 4217 code of the currency; IRT is the Iranian toman")
    state: RateState = column(
        "agreed (by several), single (one voice, which nothing confirms), disputed (no majority: "
        "no rate) or silent (nobody has a vote: no rate)"
    )
    per_usd: Positive | None = optional(
        "Units of the currency for one US dollar, NULL when disputed or silent", unit="currency"
    )
    voices: Count = column("How many independent voices agreed")
    spread_pct: Amount | None = optional("Highest over lowest agreeing rate, minus one", unit="%")
    at_par: bool = column(
        "Whether a voice counts its stablecoin as one dollar, no agreed price of it being there"
    )
    provider: Text | None = optional("The agreeing sources, comma separated")
    rejected: list[RejectedRate] = column("Sources left out of the median")
    timestamp: Time = column(
        "When the newest of the agreeing quotes was observed; of all, where there is no rate"
    )
    collection_id: Text = column("The collection (Dagster run) that wrote it")
