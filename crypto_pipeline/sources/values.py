"""Converters that row functions share: small, pure, named for what they do.

None goes in where a source has no value and comes out as None. What is not a value at all raises
ValueError, TypeError or KeyError, and the record it came from is refused with that reason.
"""

import html
import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from statistics import median
from typing import Any

from crypto_pipeline.addresses import article_key, cleaned
from crypto_pipeline.tables.fiat import BASES, CURRENCIES, RIAL, RIALS_PER_TOMAN, TOMAN
from crypto_pipeline.text import without_controls

STABLECOINS = ("USDT", "USDC", "FDUSD", "DAI", "PYUSD")
"""Large stablecoins pegged closely to the dollar: the quotes of an exchange without dollars."""

DOLLARS = frozenset({"USD", *STABLECOINS})
"""Quotes whose prices are kept: dollars, and coins whose rate in dollars is measured."""

QUOTES = (
    *("FDUSD", "PYUSD", "USDT", "USDC", "TUSD", "BUSD", "USD1", "USDE", "USDD", "BIDR", "IDRT"),
    *("USD", "EUR", "GBP", "JPY", "KRW", "TRY", "BRL", "AUD", "CAD", "CHF", "PLN", "RUB", "UAH"),
    *("INR", "IDR", "THB", "ZAR", "MXN", "ARS", "COP", "NGN", "VND", "SGD", "HKD", "CZK", "RON"),
    *("DAI", "BTC", "XBT", "ETH", "BNB", "TRX", "XRP", "SOL", "DOGE", "EURI", "EURC", "IRT", "TMN"),
)
"""Quotes a joined pair may end in; the longest that fits wins."""

FIVE_MINUTES = {"interval": "5m"}
QUARTER_HOUR = {"interval": "15m"}
HOUR = {"interval": "1h"}

LONGEST_TICKER = 200
"""Characters, blanks and all, before anything is made of them."""

_SPLIT = re.compile(r"[-_/:]")
_LOT = re.compile(r"(10{3,}|1M|k)(?=[A-Z]{2})")
_GROUPED = re.compile(r"\s*[-+]?\d{1,3}(,\d{3})+(\.\d*)?\s*")
_DIGITS = re.compile(r"-?[0-9]+")
_SPELLINGS = {"XBT": "BTC", "XXBT": "BTC", "XDG": "DOGE", "XXDG": "DOGE"}
_RENAMED = {"MATIC": "POL", "RNDR": "RENDER"}
"""Coins whose project gave them another ticker, one for one: venues and lists follow at their own
pace, and some never. Not FTM, which venues ended as S, nor LUNA, which is another coin now: there
the venue that means the former one says so in its declaration."""
_TICKERS = {**_SPELLINGS, **_RENAMED}
_EARLIEST = datetime(2009, 1, 3, tzinfo=UTC)


class SourceMessage(Exception):
    """The source answered with a message instead of records, and perhaps with a code."""

    def __init__(self, message: str, code: Any = None) -> None:
        super().__init__(message)
        self.code = code


class WrongShape(KeyError):
    """An answer is not of the declared shape; says what is not there, and what is."""

    def __str__(self) -> str:
        return str(self.args[0])


class Lacking(KeyError):
    """A record has no such field, and something was to be decided by it."""


class Missing:
    """Stands for the value of a field that a record does not have.

    Converters make None of it, so that it costs a column. Whatever would be decided by it, or
    written of it, raises Lacking: whether it is zero, which words it says, how it reads.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def _lacking(self, *_: Any) -> Any:
        raise Lacking(self._name)

    __bool__ = __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __hash__ = _lacking
    __str__ = __format__ = __len__ = __iter__ = __contains__ = __getitem__ = _lacking
    __int__ = __float__ = __add__ = __radd__ = __mul__ = __rmul__ = __truediv__ = _lacking


# Numbers


_BLANK = ("", "-", "null", "None", "N/A", "n/a", "NaN", "nan")


def number(value: Any) -> float | None:
    """A finite float from a number or its text; None for None and for the usual blanks."""
    if value is None or isinstance(value, Missing) or value in _BLANK:
        return None
    if isinstance(value, bool):
        raise TypeError(f"{value!r} is not a number")
    if isinstance(value, str) and ("," in value or "_" in value):
        value = _ungrouped(value)
    found = float(value)
    if not math.isfinite(found):
        raise ValueError(f"{value!r} is not a finite number")
    return found


def _ungrouped(text: str) -> str:
    """The text without the commas that group its digits by three: "1,5" may be 1.5, so is none."""
    if not _GROUPED.fullmatch(text):
        raise ValueError(f"{text!r:.80} is not a number")
    return text.replace(",", "")


def given(value: Any) -> float:
    """`number`, for arithmetic that cannot do without it."""
    found = number(value)
    if found is None:
        raise ValueError(f"{value!r} is no value")
    return found


def whole_number(value: Any) -> int:
    """An integer of any size from a number or its text, without a loss of digits."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(f"{value!r:.80} is not a whole number")
    if isinstance(value, str) and not _DIGITS.fullmatch(value):
        raise ValueError(f"{value!r:.80} is not a whole number")
    return int(value)


def units(value: Any, decimals: int) -> float:
    """Whole coins of an amount in a coin's smallest unit, as an integer, its text, or 0x text."""
    return float(_integer(value) / 10**decimals)


def _integer(value: Any) -> int:
    hexadecimal = isinstance(value, str) and value.startswith("0x")
    return from_hex(value) if hexadecimal else whole_number(value)


def label(value: Any) -> str:
    """A source's id as text, whether it writes it as a number or as text."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(f"{value!r:.80} is not an id")
    if value == "":
        raise ValueError("an id is blank")
    return str(value)


def flag(value: Any) -> bool:
    """A yes or no, as JSON or as a number or word; anything else raises TypeError: what is not
    said must not count as no."""
    known = _FLAGS.get(value.lower() if isinstance(value, str) else value, None)
    if known is None or isinstance(value, float):
        raise TypeError(f"{value!r:.80} is neither yes nor no")
    return known


_FLAGS: Mapping[Any, bool] = {True: True, False: False, "true": True, "false": False}


def per(value: Any, unit: float) -> float | None:
    """The value in larger units: seconds per 3600 are hours. Division keeps whole hours whole."""
    found = number(value)
    return None if found is None else found / unit


def nonzero(value: Any) -> float | None:
    """`number`, for sources that write zero where they have no value."""
    return number(value) or None


def times(*values: Any) -> float | None:
    """The product; None as soon as one is missing. Base volume times price is a quote volume."""
    product = 1.0
    for value in values:
        found = number(value)
        if found is None:
            return None
        product *= found
    return product


def percent(fraction: Any) -> float | None:
    """A fraction as percent: 0.015 is 1.5."""
    return times(fraction, 100)


def change(first: Any, last: Any) -> float | None:
    """The change from first to last in percent; None without both, or from zero."""
    before, after = number(first), number(last)
    return None if not before or after is None else (after / before - 1) * 100


def from_hex(value: Any) -> int:
    """An integer from "0x…" text, as Ethereum's JSON-RPC writes quantities."""
    if not isinstance(value, str) or not value.startswith("0x"):
        raise ValueError(f"{value!r} is not a 0x number")
    return int(value, 16)


def gwei(wei: Any) -> float:
    """Wei, as an integer, its text, or 0x text, in gwei."""
    return units(wei, 9)


# Times


def seconds(value: Any) -> datetime | None:
    """A time from Unix seconds."""
    return _unix(value, 1)


def millis(value: Any) -> datetime | None:
    """A time from Unix milliseconds."""
    return _unix(value, 1_000)


def micros(value: Any) -> datetime | None:
    """A time from Unix microseconds."""
    return _unix(value, 1_000_000)


def nanos(value: Any) -> datetime | None:
    """A time from Unix nanoseconds."""
    return _unix(value, 1_000_000_000)


def _unix(value: Any, scale: int) -> datetime | None:
    found = value if type(value) is int else number(value)
    if not found:
        return None
    try:
        moment = datetime.fromtimestamp(found / scale, UTC)
    except (OverflowError, OSError, ValueError):
        raise ValueError(f"{value!r} is not a time in 1/{scale} s") from None
    return _plausible(moment, value)


def iso(value: Any) -> datetime | None:
    """A time from ISO 8601 text; text without a zone is UTC."""
    if value is None or isinstance(value, Missing) or value == "":
        return None
    found = datetime.fromisoformat(value)
    return _plausible(found if found.tzinfo else found.replace(tzinfo=UTC), value)


def hours_between(begin: datetime | None, end: datetime | None) -> float | None:
    """The hours from one time to another, None without both: how often funding is paid."""
    return None if begin is None or end is None else (end - begin) / timedelta(hours=1)


def _plausible(found: datetime, value: Any) -> datetime:
    """Times before the first block are a unit mistaken, not a date."""
    if found < _EARLIEST:
        raise ValueError(f"{value!r} is {found:%Y-%m-%d}, before there was anything to observe")
    return found if found.tzinfo is UTC else found.astimezone(UTC)


# Coins and pairs


def ticker_name(symbol: Any, aliases: Mapping[str, str] | None = None) -> str:
    """The canonical ticker: upper case, with the source's and the trade's own spellings undone."""
    if not isinstance(symbol, str) or len(symbol) > LONGEST_TICKER:
        raise TypeError(f"{symbol!r:.80} is not a ticker")
    upper = _upper(symbol)
    return aliases[upper] if aliases and upper in aliases else _TICKERS.get(upper, upper)


@lru_cache(65_536)
def _upper(symbol: str) -> str:
    return "".join(symbol.upper().split())


def split_pair(pair: str, quotes: tuple[str, ...] = QUOTES) -> tuple[str, str]:
    """Base and quote of a pair: BTC-USDT, btc_usdt, BTC/USD, or joined BTCUSDT.

    A joined pair is split by `quotes` alone, those its exchange really has: DOTUSD is DOT in USD
    where nothing trades against TUSD. Raises ValueError when it ends in none of them.
    """
    parts = _SPLIT.split(pair.upper())
    if len(parts) >= 2 and all(parts[:2]):
        return parts[0], parts[1]
    joined = parts[0]
    for quote in _longest_first(quotes):
        if joined.endswith(quote) and len(joined) > len(quote):
            return joined[: -len(quote)], quote
    raise ValueError(f"{pair!r} ends in no known quote")


def _split_or_none(pair: str, quotes: tuple[str, ...]) -> tuple[str, str]:
    """Base and quote, both blank where the pair ends in no known quote."""
    try:
        return split_pair(pair, quotes)
    except ValueError:
        return "", ""


@lru_cache(64)
def _longest_first(quotes: tuple[str, ...]) -> list[str]:
    return sorted(quotes, key=len, reverse=True)


def ticker(
    pair: str | tuple[str, str],
    price: Any,
    *,
    base_volume: Any = None,
    vwap: Any = None,
    quote_volume: Any = None,
    change_pct: Any = None,
    opened: Any = None,
    at: datetime | None = None,
    source_id: Any = ...,
    quotes: tuple[str, ...] = QUOTES,
) -> dict[str, Any] | None:
    """The market_prices row of an exchange's ticker; None when it is not quoted in dollars.

    `pair` is the exchange's name of it, or (base, quote) where the name cannot be split; `quotes`
    are what a joined name may end in, where the usual ones would mislead. Volume is what was traded
    in quote currency, where that is not said base volume times the day's average price `vwap`, else
    times the last one. A market without a price (halted, never traded) is left out; so is a joined
    name that ends in no known quote. The change comes as percent, or is computed from the price 24
    hours ago in `opened`. `source_id` is the exchange's name where that is not the pair. Coins that
    are sold by the thousand, as 1000SATS, have the price of one.
    """
    base, quote = _split_or_none(pair, quotes) if isinstance(pair, str) else pair
    quote = ticker_name(quote)
    last = nonzero(price)
    if quote not in DOLLARS or last is None:
        return None
    volume = number(quote_volume)
    named = pair if isinstance(pair, str) else f"{base}-{quote}"
    symbol, many = lot(_upper(base))
    return {
        "symbol": symbol,
        "source_id": named if source_id is ... else label(source_id),
        "quote": quote,
        "price_usd": last / many,
        "volume_24h": times(base_volume, nonzero(vwap) or last) if volume is None else volume,
        "price_change_24h": number(change_pct) if opened is None else change(opened, last),
        "source_at": at,
    }


CURRENCY_NAMES = {code: code for code in CURRENCIES if code != TOMAN}
"""Currencies as nearly everybody writes them. Not the Iranian ones: one venue writes tomans in the
way in which another writes rials, so each declares its own."""


def fiat_quote(
    pair: str | tuple[str, str],
    price: Any,
    *,
    base_volume: Any = None,
    quote_volume: Any = None,
    at: datetime | None = None,
    names: Mapping[str, str] = CURRENCY_NAMES,
    **_: Any,
) -> dict[str, Any] | None:
    """The fiat_quotes row of what would be a `ticker`; None when it is of another coin or currency.

    `names` says which currency each of the venue's names stands for, RIAL among them: rials become
    tomans here and nowhere else. What else a ticker says is not of use here.
    """
    base, name = _split_or_none(pair, tuple(names)) if isinstance(pair, str) else pair
    base, currency = ticker_name(base), names.get(name.upper())
    last = nonzero(price)
    if base not in BASES or currency is None or last is None:
        return None
    volume = number(base_volume)
    if volume is None and (quoted := number(quote_volume)) is not None:
        volume = quoted / last
    if currency == RIAL:
        last, currency = last / RIALS_PER_TOMAN, TOMAN
    return {
        "base": base,
        "currency": currency,
        "price": last,
        "volume_24h": volume,
        "source_at": at,
    }


Maker = Callable[..., dict[str, Any] | None]
"""Who makes columns of what a market's record says: `ticker` or `fiat_quote`."""


def coin(
    source_id: str,
    symbol: str,
    name: str | None,
    price: Any,
    *,
    market_cap: Any = None,
    volume: Any = None,
    change_pct: Any = None,
    at: datetime | None = None,
) -> dict[str, Any] | None:
    """The market_prices row of a coin priced in dollars, by a source that speaks of no pairs.

    None when it has no price now. Volume is in dollars, the change of 24 hours in percent.
    """
    last = nonzero(price)
    if last is None:
        return None
    return {
        "source_id": source_id,
        "symbol": symbol,
        "name": name or None,
        "quote": "USD",
        "price_usd": last,
        "market_cap": nonzero(market_cap),
        "volume_24h": number(volume),
        "price_change_24h": number(change_pct),
        "source_at": at,
    }


def candle(at: datetime | None, o: Any, h: Any, l: Any, c: Any, v: Any) -> dict[str, Any]:  # noqa: E741
    """The cached_ohlc row of one candle; symbol, quote and interval come from the endpoint."""
    return {"timestamp": at, "open": o, "high": h, "low": l, "close": c, "volume": v}


def named_candle(at: datetime | None, k: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a candle that calls its parts open, high, low, close and volume."""
    return candle(at, k["open"], k["high"], k["low"], k["close"], k["volume"])


def lot(base: str) -> tuple[str, float]:
    """The coin behind the base of a contract, and how many of it one unit stands for.

    Exchanges write a thousand PEPE as 1000PEPE, kPEPE or PEPE1000, a million as 1MPEPE.
    """
    found = _LOT.match(base)
    if found:
        many = {"k": 1e3, "1M": 1e6}.get(found[1]) or float(found[1])
        return base[found.end() :], many
    if base.endswith("1000") and base[:-4].isalpha():
        return base[:-4], 1e3
    return base, 1.0


# Chains

_CHAINS = {
    "arbitrum_one": "arbitrum",
    "binance": "bsc",
    "bnb_chain": "bsc",
    "bnb_smart_chain_(bep20)": "bsc",
    "doge": "dogecoin",
    "ethereumclassic": "ethereum_classic",
    "hyperliquid_l1": "hyperevm",
    "immutable_zkevm": "immutable",
    "op_mainnet": "optimism",
    "op_bnb": "opbnb",
    "plume_mainnet": "plume",
    "polygon_pos": "polygon",
    "world_chain": "worldchain",
    "xrpl": "ripple",
    "zksync_era": "zksync",
}
"""Chains that lists call by another name than the tables, in lower case and with _ for blanks."""


def chain_name(name: str) -> str:
    """A chain as every table names it: ethereum, optimism, arbitrum_nova."""
    plain = "_".join(name.lower().split())
    return _CHAINS.get(plain, plain)


# Gas


def fees(slow: Any, standard: Any, fast: Any, unit: str) -> dict[str, Any]:
    """The gas_prices columns of fees at three speeds."""
    return {
        "slow_gas_price": slow,
        "standard_gas_price": standard,
        "fast_gas_price": fast,
        "unit": unit,
    }


def evm_gas(price: Any, history: Any = None) -> dict[str, Any]:
    """The gas_prices columns of eth_gasPrice and, where the chain has it, eth_feeHistory.

    Fees are the next block's base fee plus the median priority fee of recent blocks at the 10th,
    50th and 90th percentile, unknown where the node's history lacks either; without a history all
    three are the node's own price.
    """
    suggested = gwei(price)
    base = None
    slow: float | None = suggested
    standard, fast = slow, slow
    if history is not None:
        blocks = history.get("reward") or ()
        rewards = [block for block in blocks if block]
        found = history.get("baseFeePerGas") or ()
        # the last one is of the next block: with as many fees as blocks it is not there
        base = gwei(found[-1]) if found and len(found) != len(blocks) else None
        slow = standard = fast = None
        if rewards and base is not None:
            slow, standard, fast = (base + median(gwei(r[i]) for r in rewards) for i in range(3))
    return fees(slow, standard, fast, "gwei") | {
        "gas_price_gwei": suggested,
        "base_fee_gwei": base,
    }


# Words


_HIDDEN = tuple(
    (re.compile(begin, re.I), re.compile(end, re.I))
    for begin, end in (
        (r"<!--", r"-->"),
        (r"<script\b", r"</script\s*>"),
        (r"<style\b", r"</style\s*>"),
    )
)
_TAG = re.compile(r"</?[a-z!?][^<>]*>", re.I)


LONGEST_PROSE = 100_000
"""Characters of a text that are looked at."""


def plain(text: Any, limit: int = 2000) -> str | None:
    """Text without markup, entities undone, blanks folded; None when nothing is left.

    Twice, because markup is often escaped twice. "<" before a blank or a number is not markup.
    """
    if not text:
        return None
    words = str(text)[:LONGEST_PROSE]
    for _ in range(2):
        for begin, end in _HIDDEN:
            words = _cut_out(words, begin, end)
        words = html.unescape(_TAG.sub(" ", words))
    return " ".join(without_controls(words).split())[:limit].rstrip() or None


def _cut_out(text: str, begin: re.Pattern[str], end: re.Pattern[str]) -> str:
    """The text without what lies between a beginning and its end; one without an end stays.

    In one pass: an expression for the whole would try every beginning anew.
    """
    kept = []
    place = 0
    while (first := begin.search(text, place)) and (last := end.search(text, first.end())):
        kept += [text[place : first.start()], " "]
        place = last.end()
    return "".join([*kept, text[place:]]) if kept else text


def article(
    title: Any,
    url: str,
    published_at: datetime | None,
    *,
    content: Any = None,
    author: Any = None,
    tags: Iterable[Any] = (),
    sentiment: str | None = None,
    apart: str = "",
) -> dict[str, Any]:
    """The news_articles row of an article; one without a title begins with its text.

    apart: what its feed tells it apart by from others at the same address.
    """
    return {
        "title": plain(title, 500) or _beginning(content),
        "url": cleaned(url, apart),
        "article_key": article_key(url, apart),
        "published_at": published_at,
        "content": plain(content),
        "author": plain(author, 200),
        "tags": list(dict.fromkeys(filter(None, map(plain, tags)))) or None,
        "sentiment": sentiment,
    }


def feed_article(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The news_articles row of one entry of a feed, as `extract` reads them."""
    return article(
        entry["title"],
        entry["link"],
        entry["published"],
        content=entry["summary"],
        author=entry["author"],
        tags=entry["tags"],
        apart=entry["apart"],
    )


def _beginning(text: Any, limit: int = 100) -> str | None:
    """The first words of a text, in the place of its title."""
    words = plain(text, limit + 1)
    if words and len(words) > limit:
        return (words[:limit].rpartition(" ")[0] or words[:limit]).rstrip(" ,;:–-") + "…"
    return words


# Where records lie


def at(body: Any, path: str) -> Any:
    """The value at a dotted path; WrongShape names the part that is not there and what is."""
    found = body
    walked: list[str] = []
    for part in path.split(".") if path else []:
        if isinstance(found, Mapping) and part in found:
            found = found[part]
        elif isinstance(found, list | tuple) and part.isdigit() and int(part) < len(found):
            found = found[int(part)]
        else:
            has = (
                f"keys {', '.join(map(str, list(found)[:8]))}"
                if isinstance(found, Mapping)
                else (f"{type(found).__name__} {str(found)[:60]!r}")
            )
            raise WrongShape(f"no {'.'.join([*walked, part])}, found {has}")
        walked.append(part)
    return found


def object_at(body: Any, path: str = "") -> Mapping[str, Any]:
    """The object at a dotted path. Raises WrongShape."""
    found = at(body, path)
    if not isinstance(found, Mapping):
        raise WrongShape(f"{path or 'the body'} is {type(found).__name__}, not an object")
    return found


def list_at(body: Any, path: str = "") -> list[Any]:
    """The list at a dotted path. Raises WrongShape."""
    found = at(body, path)
    if not isinstance(found, list):
        raise WrongShape(f"{path or 'the body'} is {type(found).__name__}, not a list")
    return found


def one(path: str = "") -> Callable[[Any], list[Any]]:
    """The object at path is the one record."""

    def records(body: Any) -> list[Any]:
        return [object_at(body, path)]

    return records


def whole(body: Any) -> list[Any]:
    """The whole body is the one record, whatever it is."""
    return [body]


def pairs(path: str = "") -> Callable[[Any], list[Any]]:
    """The object at path maps names to records: each record is (name, value)."""

    def records(body: Any) -> list[Any]:
        return list(object_at(body, path).items())

    return records


def parallel(path: str, *names: str) -> Callable[[Any], list[Any]]:
    """Lists side by side under path, one per name: each record is a tuple of one of each.

    Raises WrongShape when their lengths differ: no telling then which value belongs to which.
    """

    def records(body: Any) -> list[Any]:
        columns = [at(body, f"{path}.{name}" if path else name) for name in names]
        lengths = {len(column) for column in columns}
        if len(lengths) > 1:
            raise WrongShape(f"lists of different length under {path or 'the body'}: {lengths}")
        return list(zip(*columns, strict=True))

    return records


def ranked(path: str = "") -> Callable[[Any], list[tuple[int, Any]]]:
    """The list at path ranks by its order: each record is (rank, item), and rank 1 is the top."""

    def records(body: Any) -> list[tuple[int, Any]]:
        return list(enumerate(list_at(body, path), 1))

    return records


def udf_candles(body: Any) -> list[Any]:
    """Candles as TradingView's UDF writes them: lists side by side, or the word no_data in s."""
    if isinstance(body, Mapping) and body.get("s") == "no_data":
        return []
    return parallel("", "t", "o", "h", "l", "c", "v")(body)


def rpc_results(names: list[str]) -> Callable[[Any], Iterable[Any]]:
    """One record {name: result} from a JSON-RPC answer, whose parts may come in any order.

    Raises SourceMessage with the node's words when a call failed.
    """
    calls = {key: name for place, name in enumerate(names, 1) for key in (place, str(place))}

    def records(body: Any) -> Iterable[Any]:
        answers = body if isinstance(body, list) else [body]
        results = {}
        for answer in answers:
            if isinstance(answer, Mapping) and answer.get("error"):
                error = answer["error"]
                words = error.get("message") if isinstance(error, Mapping) else error
                code = error.get("code") if isinstance(error, Mapping) else None
                raise SourceMessage(f"JSON-RPC error: {words or error}", code)
            call = answer.get("id", 1)
            if call not in calls:
                raise WrongShape(f"an answer to call {call!r:.40}, which was not made")
            results[calls[call]] = answer["result"]
        lacking = [name for name in names if name not in results]
        if lacking:
            raise WrongShape(f"no answer to {', '.join(lacking)}")
        return [results]

    return records
