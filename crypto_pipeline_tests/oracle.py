"""ccxt as an oracle: what its parsers and ours make of the same records of the same answers.

Its parsers need no network when they are handed the market that a record is of. Every value that
both read is equal, or one of CONVENTIONS says what makes ours of the record; all else is different.

Run it to write docs/oracle.md anew: python -m crypto_pipeline_tests.oracle
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ccxt

from crypto_pipeline.collection.repeats import Required
from crypto_pipeline.sources import ENDPOINTS, Endpoint
from crypto_pipeline.sources.spec import Ask
from crypto_pipeline.sources.values import list_at, number, ticker_name
from crypto_pipeline_tests.upstream import RECORDINGS, Recording, Recordings, sample_file

PAGE = Path(__file__).parents[1] / "docs" / "oracle.md"
PRECISION = 1e-9

Values = dict[str, float | None]

CLASSES = {
    "binance_futures": "binanceusdm",
    "binance_us": "binanceus",
    "coinbase_exchange": "coinbaseexchange",
    "coinbase_intl": "coinbaseinternational",
    "independent_reserve": "independentreserve",
    "kraken_futures": "krakenfutures",
    "kucoin_futures": "kucoinfutures",
}
"""Sources that ccxt calls something else than by their name without _futures."""

SHAPES: Mapping[str, Callable[[Any], Any]] = {
    "coinbase_exchange.market_prices": lambda r: r[1]["stats_24hour"],
    "hyperliquid.open_interest": lambda r: {"info": {**r[0], **r[1]}},
    "extended.open_interest": lambda r: {
        "i": r["marketStats"]["openInterest"],
        "I": r["marketStats"]["openInterestBase"],
    },
}
"""The part of a record that ccxt's parser is handed, where it is not the record or its value."""

METHODS = {
    "kucoin.market_prices": "parse_spot_or_uta_ticker",
    "btcturk.cached_ohlc": "",  # it reads whole lists
    "kucoin_futures.funding_rates": "",  # it reads another endpoint
    "coinbase_intl.funding_rates": "",
    "deribit_futures.funding_rates": "",
    "gate_futures.open_interest": "",
}
"""Parsers of another name, and those that are for another request ("")."""


def exchange_of(endpoint: Endpoint) -> Any:
    """ccxt's exchange for an endpoint's source, or None."""
    source = endpoint.source.name
    name = CLASSES.get(source, source.removesuffix("_futures"))
    return _exchange(name) if name in ccxt.exchanges else None


@cache
def _exchange(name: str) -> Any:
    return getattr(ccxt, name)()


def market_of(venue: Any, name: str, base: str, quote: str, *, swap: bool) -> dict[str, Any]:
    """A market as ccxt would have loaded it; a contract is on one coin."""
    settle = quote if swap else None
    symbol = f"{base}/{quote}" + (f":{quote}" if swap else "")
    found: dict[str, Any] = venue.safe_market_structure({
        "id": name, "symbol": symbol, "base": base, "quote": quote, "baseId": base,
        "quoteId": quote, "settle": settle, "settleId": settle, "type": "swap" if swap else "spot",
        "spot": not swap, "swap": swap, "contract": swap, "linear": swap, "inverse": False,
        "contractSize": 1.0, "precision": {"amount": 1e-8, "price": 1e-8},
        "priceScale": 8, "valueScale": 8, "ratioScale": 8,
    })  # fmt: skip
    venue.markets, venue.markets_by_id = {symbol: found}, {name: [found]}
    return found


# What both read of one record


def _unix(moment: datetime | None) -> float | None:
    return None if moment is None else round(moment.timestamp() * 1000)


def _prices(found: Any, row: Mapping[str, Any]) -> tuple[Values, Values]:
    last, volume = number(found["last"]), number(found["quoteVolume"])
    if volume is None and found["baseVolume"] is not None and last is not None:
        volume = number(found["baseVolume"]) * (number(found["vwap"]) or last)  # type: ignore[operator]
    theirs = {
        "price": last,
        "volume": volume,
        "change": number(found["percentage"]),
        "time": number(found["timestamp"]),
    }
    ours = {
        "price": number(row["price_usd"]),
        "volume": number(row["volume_24h"]),
        "change": number(row["price_change_24h"]),
        "time": _unix(row["source_at"]),
    }
    return theirs, ours


def _candles(found: Any, row: Mapping[str, Any]) -> tuple[Values, Values]:
    names = ("open", "high", "low", "close", "volume")
    theirs = {name: number(value) for name, value in zip(("time", *names), found, strict=True)}
    return theirs, {"time": _unix(row["timestamp"])} | {n: number(row.get(n)) for n in names}


def _funding(found: Any, row: Mapping[str, Any]) -> tuple[Values, Values]:
    hours = found["interval"]
    theirs = {
        "rate": number(found["fundingRate"]),
        "mark": number(found["markPrice"]),
        "next": number(found["fundingTimestamp"] or found["nextFundingTimestamp"]),
        "interval": number(hours[:-1]) if hours and hours.endswith("h") else None,
    }
    ours = {
        "rate": number(row["rate"]),
        "mark": number(row.get("mark_price")),
        "next": _unix(row.get("next_funding_at")),
        "interval": number(row.get("interval_hours")),
    }
    return theirs, ours


def _interest(found: Any, row: Mapping[str, Any]) -> tuple[Values, Values]:
    theirs = {
        "coins": number(found["openInterestAmount"]),
        "value": number(found["openInterestValue"]),
    }
    ours = {
        "coins": number(row.get("open_interest")),
        "value": number(row.get("open_interest_usd")),
    }
    return theirs, ours


READ = {
    "market_prices": ("parse_ticker", _prices),
    "cached_ohlc": ("parse_ohlcv", _candles),
    "funding_rates": ("parse_funding_rate", _funding),
    "open_interest": ("parse_open_interest", _interest),
}
"""For each table ccxt's parser, and what of it is a value of ours."""


# Why a value is another, and right


Right = Callable[[Any, float], float | None]
"""What of a record, and of ccxt's value, is ours."""


@dataclass(frozen=True, slots=True)
class Convention:
    """Why values differ by design, and what ours has to be then."""

    why: str
    quantity: str
    endpoints: frozenset[str]
    right: Right

    def explains(self, endpoint: Endpoint, quantity: str, record: Any, values: "Pair") -> bool:
        if quantity != self.quantity or endpoint.id not in self.endpoints:
            return False
        with suppress(Exception):
            return near(self.right(record, values.theirs), values.ours)
        return False


@dataclass(frozen=True, slots=True)
class Pair:
    theirs: float
    ours: float


def near(a: float | None, b: float | None) -> bool:
    return a is not None and b is not None and abs(a - b) <= PRECISION * max(abs(a), abs(b))


def convention(table: str, quantity: str, sources: str, why: str, right: Right) -> Convention:
    return Convention(why, quantity, frozenset(f"{s}.{table}" for s in sources.split()), right)


def said(*names: str) -> Right:
    """The first of these fields that a record has."""

    def right(record: Any, theirs: float) -> float | None:
        return next((number(record[name]) for name in names if name in record), None)

    return right


_LOT = re.compile(r"10{3,}(?=[A-Z])|(?<=[A-Z])1000|(?<![A-Za-z])k(?=[A-Z])|1M(?=[A-Z])")


def lots(record: Any) -> float:
    """How many coins one unit of a contract is, by its name."""
    found = _LOT.search(json.dumps(record, default=str))
    return {"k": 1e3, "1M": 1e6}.get(found[0]) or float(found[0]) if found else 1.0


def coins(r: Any, _: float) -> float | None:
    """The coins of a record that counts contracts, or both sides."""
    for name, scale in (("oiCcy", 1), ("oi_value", 1), ("singleOpenInterest", 1), ("amount", 0.5)):
        if name in r:
            return float(r[name]) * scale * lots(r)
    size = float(r["openInterest"]) * abs(float(r["multiplier"]))
    return size / float(r["markPrice"]) if r["isInverse"] else size * lots(r)


def dollars(r: Any, theirs: float) -> float | None:
    """The dollars of a record that counts coins."""
    about = r[1] if isinstance(r, tuple) else r
    return number(about.get("oi_value_usd")) or theirs * float(about["mark_price"])


def hourly(r: Any, _: float) -> float:
    """What a contract of Kraken pays, as a fraction: a linear one dollars, an inverse one coins."""
    index = float(r["indexPrice"])
    return float(r["fundingRate"]) * (1 / index if r["symbol"].upper()[:3] == "PF_" else index)


LOTS = (
    "binance_futures bybit_futures hyperliquid aster pacifica backpack_futures phemex_futures "
    "bingx_futures lbank_futures weex_futures paradex extended"
)

CONVENTIONS = (
    convention(
        "market_prices", "change", "gemini cryptocom backpack toobit weex",
        "the venue's percentage is a fraction, and ccxt leaves it one",
        lambda r, theirs: theirs * 100,
    ),
    convention(
        "market_prices", "change", "bitstamp btcturk",
        "ours is what the venue says of 24 hours, ccxt's is made of another opening price",
        said("percent_change_24", "dailyPercent"),
    ),
    convention(
        "market_prices", "change", "bingx",
        "ours is made of both prices, ccxt's is what the venue says, in two decimals",
        lambda r, _: (float(r["lastPrice"]) / float(r["openPrice"]) - 1) * 100,
    ),
    convention(
        "market_prices", "volume", "coinex cryptocom deribit",
        "ours is the volume in dollars that the venue says, ccxt's is made of coins, or is coins",
        said("value", "vv", "volume_notional"),
    ),
    convention(
        "market_prices", "volume", "independent_reserve",
        "ours is coins times the day's average price, which ccxt does not take for one",
        lambda r, _: r["DayVolumeXbtInSecondaryCurrrency"] * r["DayAvgPrice"],
    ),
    convention(
        "cached_ohlc", "time", "mercado",
        "ccxt's parser leaves the time in seconds",
        lambda r, theirs: theirs * 1000,
    ),
    convention(
        "funding_rates", "mark", LOTS,
        "a contract on a thousand coins: ours is the mark of one coin",
        lambda r, theirs: theirs / lots(r),
    ),
    convention(
        "funding_rates", "rate", "coinex_futures weex_futures pacifica",
        "ours is the rate that is paid next, ccxt's the last one",
        said("next_funding_rate", "forecastFundingRate", "next_funding"),
    ),
    convention(
        "funding_rates", "next", "coinex_futures weex_futures",
        "ours is when funding is paid next, ccxt's when it was paid last, or asked for",
        said("next_funding_time", "nextFundingTime"),
    ),
    convention(
        "funding_rates", "rate", "lighter",
        "the venue's rate is for eight hours and paid hourly: ours is that of an hour",
        lambda r, theirs: theirs / 8,
    ),
    convention(
        "funding_rates", "rate", "kraken_futures",
        "money per contract as a fraction of the index price; ccxt takes the mark price, and no "
        "inverse contracts",
        hourly,
    ),
    convention(
        "open_interest", "coins", LOTS,
        "a contract on a thousand coins: ours counts coins",
        lambda r, theirs: theirs * lots(r),
    ),
    convention(
        "open_interest", "coins", "okx_futures delta kucoin_futures htx_futures bybit_futures",
        "ours counts coins, and one side; ccxt's contracts, or both sides",
        coins,
    ),
    convention(
        "open_interest", "value", "htx_futures",
        "ours counts one side, ccxt's both",
        lambda r, theirs: theirs / 2,
    ),
    convention(
        "open_interest", "value", "hitbtc_futures delta deribit_futures",
        "ours is in dollars, ccxt calls the number of coins a value",
        dollars,
    ),
)  # fmt: skip


# The account


@dataclass(slots=True)
class Account:
    """Of one table: values that are equal, explained by a convention, or different."""

    equal: Counter[str] = field(default_factory=Counter)
    explained: Counter[Convention] = field(default_factory=Counter)
    explained_at: defaultdict[Convention, set[str]] = field(
        default_factory=lambda: defaultdict(set)
    )
    different: list[str] = field(default_factory=list)
    venues: set[str] = field(default_factory=set)

    @property
    def compared(self) -> int:
        return self.equal.total() + self.explained.total() + len(self.different)


@cache
def accounts() -> Mapping[str, Account]:
    """Every value that both parsers read in the samples and, where they are, the recordings."""
    found = {table: Account() for table in READ}
    for endpoint in ENDPOINTS.values():
        account = found.get(endpoint.model.table.name)
        venue = exchange_of(endpoint)
        if account is not None and venue is not None and METHODS.get(endpoint.id) != "":
            for where, ask, body in bodies(endpoint):
                for record, row in rows(endpoint, ask, body):
                    _compare(account, endpoint, record, row, where)
    return found


def _both(endpoint: Endpoint, venue: Any, record: Any, row: Any) -> tuple[Values, Values]:
    """The values of one record by ccxt and by us."""
    method, read = READ[endpoint.model.table.name]
    base = ticker_name(row["symbol"], endpoint.source.aliases)
    swap = "funding" in method or "interest" in method
    market = market_of(venue, _name(row), base, row.get("quote") or "USDT", swap=swap)
    parse = getattr(venue, METHODS.get(endpoint.id, method))
    return read(parse(SHAPES.get(endpoint.id, _value)(record), market), row)


def _name(row: Mapping[str, Any]) -> str:
    return str(row.get("source_id") or row["each"])


UNFIT = (
    *(ccxt.NotSupported, ccxt.BadSymbol),
    *(AttributeError, LookupError, TypeError, ValueError),
)
"""What ccxt's parsers raise of records that they are not for."""


def _compare(account: Account, endpoint: Endpoint, record: Any, row: Any, where: str) -> None:
    try:
        theirs, ours = _both(endpoint, exchange_of(endpoint), record, row)
    except UNFIT:
        return
    for quantity, value in theirs.items():
        mine = ours[quantity]
        if value is None or mine is None:
            continue
        account.venues.add(endpoint.source.name)
        if value == mine or near(value, mine):
            account.equal[quantity] += 1
            continue
        pair = Pair(value, mine)
        why = next((c for c in CONVENTIONS if c.explains(endpoint, quantity, record, pair)), None)
        if why:
            account.explained[why] += 1
            account.explained_at[why].add(endpoint.source.name)
        else:
            what = f"{endpoint.id}: {_name(row)}: {quantity}"
            account.different.append(f"{what}: ccxt {value!r}, ours {mine!r} ({where})")


def _value(record: Any) -> Any:
    """The value of a named record; a list of lists side by side is one candle."""
    if isinstance(record, tuple):
        return record[1] if isinstance(record[1], dict) else list(record)
    return record


def rows(endpoint: Endpoint, ask: Ask, body: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Each record that our row function can read, with its row; candles of another interval than
    ours are none."""
    where = endpoint.records
    constant = {p[2:]: w for p, w in endpoint.repeats.items() if p[:2] == "*." and "{" not in w}
    interval = Required(constant)
    known = {**endpoint.fixed, **ask.fixed, "each": ask.each}
    with suppress(Exception):
        for record in where(body) if callable(where) else list_at(body, where):
            with suppress(Exception):
                interval.require(record)
                made = endpoint.row(record)
                if made:
                    yield record, {**known, **made}


@cache
def _recordings() -> list[Recording]:
    return Recordings().all if RECORDINGS.exists() else []


def bodies(endpoint: Endpoint) -> Iterator[tuple[str, Ask, Any]]:
    """The sample of an endpoint, and recordings of its path, whatever coin they are of."""
    ask = endpoint.asks()[0]
    file = sample_file(endpoint)
    if file:
        yield "sample", ask, json.loads(file.read_bytes())
    url = urlsplit(endpoint.url)
    path = re.compile(re.escape(url.path.rstrip("/")).replace(r"\{each\}", "[^/]+"))
    seen = set()
    for recording in _recordings():
        request = recording.request
        fits = request.host == url.netloc and path.fullmatch(request.path)
        if fits and recording.status == 200 and recording.file not in seen:
            seen.add(recording.file)
            with suppress(ValueError):
                name = f"{recording.file.parent.name}/{recording.file.name}"
                yield name, ask, json.loads(recording.file.read_bytes())


def page() -> str:
    """docs/oracle.md: what was compared, and why values differ by design."""
    known = accounts()
    lines = [
        "# ccxt as an oracle",
        "",
        "The same records of the same answers, samples and recordings, through ccxt's parsers and",
        f"through ours (ccxt {ccxt.__version__}). What only one of both reads is not compared. The",
        "tests hold this page; `python -m crypto_pipeline_tests.oracle` writes it.",
        "",
        "| table | sources | values compared | equal | explained below | different |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for table, a in known.items():
        counts = (a.compared, a.equal.total(), a.explained.total(), len(a.different))
        numbers = " | ".join(f"{count:,}" for count in counts)
        lines.append(f"| {table} | {len(a.venues)} | {numbers} |")
    lines += [
        "",
        "Each of these says what makes our value of the record, and the test holds ours to it:",
        "",
        "| table | value | sources | why ours is another | values |",
        "| --- | --- | --- | --- | --- |",
    ]
    for table, a in known.items():
        for why in CONVENTIONS:
            if count := a.explained[why]:
                sources = ", ".join(sorted(a.explained_at[why]))
                lines.append(f"| {table} | {why.quantity} | {sources} | {why.why} | {count:,} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
