"""The vocabulary of sources: a source, its key, and an endpoint that feeds one table.

Owns: what an endpoint may say of itself, and the check of it at import.
Must not know: any source by name, how a request is sent, how rows are stored.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal
from urllib.parse import urlsplit

from crypto_pipeline.sources.values import (
    CURRENCY_NAMES,
    Maker,
    feed_article,
    fiat_quote,
    rpc_results,
    ticker,
)
from crypto_pipeline.tables import FiatQuote, MarketPrice, NewsArticle, Row
from crypto_pipeline.tables.outcomes import Outcome

MAJORS = ("BTC", "ETH", "BNB", "SOL", "XRP", "DOGE", "ADA", "TRX", "LINK", "AVAX")
"""Coins that endpoints asked coin by coin are asked for, unless the universe is a list."""

GAP_S = 0.1
"""The least seconds between two requests to a host, where a source does not say more."""

MAX_BYTES = 16_000_000
"""The most of an answer that is read, decompressed, where an endpoint does not say otherwise."""

STALE_AFTER = timedelta(minutes=30)
"""A price whose own clock is older does not vote, where an endpoint does not say otherwise."""

FIAT_EVERY = timedelta(minutes=15)
"""How often what coins cost in other currencies is looked at."""

NAME = re.compile(r"[a-z][a-z0-9_]*")

Codes = Mapping[str, Outcome]
"""What codes of errors stand for."""

RowFunction = Callable[[Any], Mapping[str, Any] | None]
Records = str | Callable[[Any], Iterable[Any]]
Reader = Literal["json", "feed"]


class SourceError(ValueError):
    """A source is declared wrongly; raised at import, names the source and the field."""


def minutes(n: float) -> timedelta:
    return timedelta(minutes=n)


def hours(n: float) -> timedelta:
    return timedelta(hours=n)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """Where an API key goes: one of query, header or path; `env` names the variable it is in.

    Only the name is kept: the value is read inside the request. In the path it stands for {key}.
    """

    env: str
    query: str | None = None
    header: str | None = None
    prefix: str = ""
    path: bool = False
    required: bool = True


@dataclass(frozen=True, slots=True)
class Ask:
    """One request of an endpoint: what stands for {each}, and the columns known beforehand."""

    each: str = ""
    fixed: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Coins as one exchange names their pairs, for endpoints asked coin by coin.

    `template` makes the name from {base}; `names` holds the bases that the exchange writes its
    own way, with None for a coin it does not list.
    """

    template: str
    quote: str | None = None
    names: Mapping[str, str | None] = field(default_factory=dict)
    lower: bool = False

    def asks(self, symbols: Sequence[str]) -> list[Ask]:
        found = []
        for symbol in symbols:
            base = self.names.get(symbol, symbol)
            if base is not None:
                base = base.lower() if self.lower else base
                fixed = {"symbol": symbol} | ({"quote": self.quote} if self.quote else {})
                found.append(Ask(self.template.format(base=base), fixed))
        return found


@dataclass(frozen=True, slots=True)
class Computed:
    """A request value that depends on the time it is sent, e.g. `ago(hours=8)`."""

    compute: Callable[[datetime], str | int]


def ago(unit: Literal["s", "ms"] = "s", **span: float) -> Computed:
    """The time `span` before the request, in seconds or milliseconds of the Unix clock."""
    scale = 1000 if unit == "ms" else 1

    def compute(now: datetime) -> int:
        return int((now - timedelta(**span)).timestamp()) * scale

    return Computed(compute)


def now(unit: Literal["s", "ms"] = "s") -> Computed:
    """The time of the request on the Unix clock."""
    return ago(unit)


def day(pattern: str = "%Y-%m-%d", **span: float) -> Computed:
    """The UTC date `span` before the request."""
    return Computed(lambda at: (at - timedelta(**span)).strftime(pattern))


def filled(value: Any, ask: Ask, at: datetime) -> Any:
    """A declared value with what stands for {each}, and what depends on the time, put in."""
    if isinstance(value, Computed):
        return value.compute(at)
    if isinstance(value, str):
        return value.replace("{each}", ask.each)
    if isinstance(value, Mapping):
        return {name: filled(inner, ask, at) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [filled(inner, ask, at) for inner in value]
    return value


@dataclass(frozen=True, slots=True)
class Source:
    """A product that answers.

    `aliases` are tickers this source writes its own way; `codes` are its own codes of errors that
    stand for throttled, refused or unreachable; `gap` is the least number of seconds
    between two requests to one of its hosts; `per_day` and `per_month` are the requests its free
    tier allows, for the key or the address; `voice_of` names the source whose owner or feed it
    shares: the two are one voice in the agreed view.
    """

    name: str
    base: str
    docs: str
    key: Key | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    codes: Codes = field(default_factory=dict)
    gap: float = GAP_S
    terms: str | None = None
    per_day: int | None = None
    per_month: int | None = None
    voice_of: str | None = None
    endpoints: list["Endpoint"] = field(default_factory=list)

    def __post_init__(self) -> None:
        def wrong(part: str, why: str) -> SourceError:
            return SourceError(f"source {self.name!r}: {part}: {why}")

        if not NAME.fullmatch(self.name):
            raise wrong("name", "use lower-case letters, digits and underscores")
        for part, url in (("base", self.base), ("docs", self.docs)):
            split = urlsplit(url)
            if split.scheme != "https" or not split.hostname:
                raise wrong(part, f"{url!r} is not an https address")
        if self.base.endswith("/"):
            raise wrong("base", f"{self.base!r} ends in a slash")
        if self.gap < 0:
            raise wrong("gap", f"{self.gap} is negative")
        for part, quota in (("per_day", self.per_day), ("per_month", self.per_month)):
            if quota is not None and quota < 1:
                raise wrong(part, f"{quota} requests: leave it out where no limit is known")
        if self.key:
            places = (self.key.query, self.key.header, self.key.path or None)
            if sum(place is not None for place in places) != 1:
                raise wrong("key", "give one of query, header or path")
            if not re.fullmatch(r"[A-Z][A-Z0-9_]*", self.key.env):
                raise wrong("key", f"{self.key.env!r} is not a name for an environment variable")

    @property
    def keyless(self) -> bool:
        """Whether it answers without an API key."""
        return not (self.key and self.key.required)

    def endpoint(
        self,
        model: type[Row],
        path: str,
        *,
        row: RowFunction,
        records: Records = "",
        variant: str = "",
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        each: Pairs | Mapping[str, Mapping[str, Any]] | None = None,
        fixed: Mapping[str, Any] | None = None,
        repeats: Mapping[str, str] | None = None,
        width: int | None = None,
        sparse: bool = False,
        stale_after: timedelta = STALE_AFTER,
        min_interval: timedelta | None = None,
        pool: str | None = None,
        read: Reader = "json",
        conditional: bool = False,
        max_bytes: int = MAX_BYTES,
        typical_bytes: int | None = None,
    ) -> "Endpoint":
        """Declare an endpoint of this source; see `Endpoint` for the words."""
        endpoint = Endpoint(
            source=self, model=model, path=path, row=row, records=records, variant=variant,
            params=params or {}, json=json, headers=headers or {}, each=each, fixed=fixed or {},
            repeats=repeats or {}, width=width, sparse=sparse, stale_after=stale_after,
            min_interval=min_interval or model.table.group.beat, pool=pool, read=read,
            conditional=conditional, max_bytes=max_bytes, typical_bytes=typical_bytes,
        )  # fmt: skip
        if any(other.id == endpoint.id for other in self.endpoints):
            raise SourceError(f"endpoint {endpoint.id}: declared twice, give one a variant")
        self.endpoints.append(endpoint)
        return endpoint

    def feed(self, path: str, **about: Any) -> "Endpoint":
        """Declare an RSS or Atom feed of news, asked with conditional requests."""
        about.setdefault("row", feed_article)
        return self.endpoint(NewsArticle, path, read="feed", conditional=True, **about)

    def markets(
        self,
        path: str,
        *,
        row: Callable[[Any, Maker], Mapping[str, Any] | None],
        currencies: Mapping[str, str] = CURRENCY_NAMES,
        min_interval: timedelta | None = None,
        **about: Any,
    ) -> None:
        """Declare a list of markets: those against a dollar are prices, what a dollar coin costs in
        another currency is a quote of it. A collection asks once for both.

        `row` hands what a record says to `make`, which is `ticker` or `fiat_quote`. `currencies`:
        what the venue's names of them stand for.
        """
        quote = partial(fiat_quote, names=currencies)
        self.endpoint(
            MarketPrice, path, row=lambda t: row(t, ticker), min_interval=min_interval, **about
        )
        every = max(min_interval or FIAT_EVERY, FIAT_EVERY)
        self.endpoint(FiatQuote, path, row=lambda t: row(t, quote), min_interval=every, **about)

    def rpc(
        self,
        model: type[Row],
        calls: Mapping[str, Sequence[Any]],
        *,
        path: str = "",
        row: RowFunction,
        **about: Any,
    ) -> "Endpoint":
        """Declare JSON-RPC calls made in one exchange.

        `calls` maps a name to [method, *params]; `row` gets one record: {name: result}.
        """
        body = [
            {"jsonrpc": "2.0", "id": i, "method": call[0], "params": list(call[1:])}
            for i, call in enumerate(calls.values(), 1)
        ]
        return self.endpoint(
            model,
            path,
            row=row,
            records=rpc_results(list(calls)),
            json=body if len(body) > 1 else body[0],
            **about,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One kind of request to a source that feeds one table.

    model: the row model of the table it feeds.
    records: where the records lie in the answer: a dotted path to a list ("" is the whole body),
        or a function of the parsed body that yields them.
    row: which row one record is, as a dict of columns. None leaves the record out on purpose;
        a KeyError or a wrong value sends that one record to rejected_rows.
    each: what the endpoint is asked for one by one; its names stand for {each} in the request, its
        values are columns of every row of that answer.
    fixed: columns that are the same in every row.
    repeats: what the answer must repeat of the question: dotted paths into the body, or with "*."
        before them into each record, and what must be there. {each} stands for what was asked,
        {symbol} and the like for known columns. Case and the marks between letters do not count:
        BTC-USDT is btc_usdt.
    width: how many values a record has that is a list: in one with fewer they are out of place.
    sparse: an answer may well hold nothing for us: all its records can be left out on purpose.
    stale_after: the age by its own clock from which a price does not vote.
    min_interval: the least time between two collections that ask it.
    pool: endpoints of one pool stand in for one another; one healthy member is asked.
    conditional: send If-None-Match and If-Modified-Since with what the last answer gave.
    max_bytes: an answer larger than this, decompressed, is not read to its end.
    typical_bytes: what an answer weighs on the wire, compressed, where it is far from the usual of
        its table; for the budget, until answers were measured.
    """

    source: Source = field(repr=False)
    model: type[Row]
    path: str
    row: RowFunction = field(repr=False)
    records: Records
    variant: str
    params: Mapping[str, Any]
    json: Any
    headers: Mapping[str, str]
    each: Pairs | Mapping[str, Mapping[str, Any]] | None
    fixed: Mapping[str, Any]
    repeats: Mapping[str, str]
    width: int | None
    sparse: bool
    stale_after: timedelta
    min_interval: timedelta
    pool: str | None
    read: Reader
    conditional: bool
    max_bytes: int
    typical_bytes: int | None

    def __post_init__(self) -> None:
        def wrong(part: str, why: str) -> SourceError:
            return SourceError(f"endpoint {self.id}: {part}: {why}")

        if self.variant and not NAME.fullmatch(self.variant):
            raise wrong("variant", f"{self.variant!r} is not lower-case letters and digits")
        split = urlsplit(self.url)
        if split.scheme != "https" or split.query or split.fragment:
            raise wrong("path", f"{self.url!r}: give https, and the query in params")
        if not callable(self.row):
            raise wrong("row", "is not a function of one record")
        if self.min_interval < minutes(1):
            raise wrong("min_interval", f"{self.min_interval} is shorter than a minute")
        if self.typical_bytes is not None and not 0 < self.typical_bytes <= self.max_bytes:
            raise wrong("typical_bytes", f"{self.typical_bytes} is not within 1 and max_bytes")
        columns = self.model.table.column_names
        fixed = [self.fixed]
        if isinstance(self.each, Pairs):
            fixed += [ask.fixed for ask in self.each.asks(MAJORS)]
        elif self.each is not None:
            fixed += list(self.each.values())
            if not self.each:
                raise wrong("each", "is empty")
        for name in {name for columns_known in fixed for name in columns_known} - set(columns):
            raise wrong("fixed or each", f"{name!r} is no column of {self.model.table.name}")
        for path, words in self.repeats.items():
            for ask in self.asks():
                try:
                    words.format(**{**self.fixed, **ask.fixed, "each": ask.each})
                except (LookupError, ValueError):
                    raise wrong("repeats", f"{path!r}: {words!r} names what is not asked") from None
        if (self.each is None) == ("{each}" in repr((self.path, self.params, self.json))):
            raise wrong("each", "goes with {each} in the path, the params or the body")
        if bool(self.key and self.key.path) != ("{key}" in self.path):
            raise wrong("path", "a key in the path goes with {key}")
        if self.conditional and self.each is not None:
            raise wrong("conditional", "has one answer to remember, each has many")

    @property
    def id(self) -> str:
        parts = (self.source.name, self.model.table.name, self.variant)
        return ".".join(part for part in parts if part)

    @property
    def key(self) -> Key | None:
        return self.source.key

    @property
    def url(self) -> str:
        return self.path if "://" in self.path else self.source.base + self.path

    def question(self, at: datetime) -> tuple[str, ...]:
        """What it asks, and for which table; two sources never ask the same."""
        url = urlsplit(self.url)
        place = f"{url.netloc.lower()}{url.path.rstrip('/')}"
        about = (self.params, self.json, self.headers, self.each)
        return (self.model.table.name, place, *(repr(filled(value, Ask(), at)) for value in about))

    def asks(self, symbols: Sequence[str] = MAJORS) -> list[Ask]:
        """The requests it takes to ask this endpoint once."""
        if self.each is None:
            return [Ask()]
        if isinstance(self.each, Pairs):
            return self.each.asks(symbols)
        return [Ask(each, fixed) for each, fixed in self.each.items()]
