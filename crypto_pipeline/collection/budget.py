"""What the default schedule asks and downloads in a day, against what is allowed. Pure.

Owns: the estimates of what an answer weighs, and the bytes a day may cost.
Must not know: the database (it is handed what was measured), the network, the clock.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from crypto_pipeline.collection import backoff, pools, quotas
from crypto_pipeline.collection.exchange import Request, request_for
from crypto_pipeline.sources.spec import MAJORS, Endpoint, Source

BYTES_A_DAY = 1_000_000_000
"""What all sources together may send in a day, compressed."""

TYPICAL_BYTES = {
    "market_prices": 16_000,
    "fiat_quotes": 1_500,
    "gas_prices": 600,
    "sentiment_metrics": 1_500,
    "cached_ohlc": 4_000,
    "news_articles": 15_000,
    "whale_transactions": 40_000,
    "blockchain_stats": 3_000,
    "funding_rates": 20_000,
    "open_interest": 20_000,
    "defi_tvl": 60_000,
    "stablecoin_supply": 20_000,
    "global_market": 1_500,
    "trending_coins": 8_000,
}
"""What one answer for a table weighs on the wire, compressed, in bytes; an estimate.

From recorded answers: the gzipped bytes of a record (50 to 90 of a ticker, 40 of a candle) times
the records of a whole answer (200 to 300 pairs of a middling exchange, 100 candles at most, 20 to
30 articles of a feed, 200 transactions of a block, whose hashes do not compress). Lists known to
be far larger or smaller carry `typical_bytes`. Feeds are counted as if nothing was ever unchanged.
"""

TYPICAL_BYTES_OF_ONE = {"cached_ohlc": TYPICAL_BYTES["cached_ohlc"]}
USUAL_BYTES_OF_ONE = 1_000
"""The same for an endpoint asked coin by coin: an answer is about one coin, or its candles."""

_ANY_TIME = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class SourceBudget:
    """What one source is asked in a day, and whether it allows that.

    counted_with: other sources that take the same key; a quota is for all of them together.
    """

    source: str
    calls_per_day: int
    calls_per_month: int
    per_day: int | None
    per_month: int | None
    counted_with: tuple[str, ...]
    fits: bool
    bytes_per_day: int


@dataclass(frozen=True, slots=True)
class Budget:
    """What all sources are asked, and whether the day fits."""

    sources: tuple[SourceBudget, ...]

    @property
    def bytes_per_day(self) -> int:
        return sum(source.bytes_per_day for source in self.sources)

    @property
    def exceeded(self) -> list[str]:
        """What does not fit, in words; empty when all does."""
        reasons = [f"{s.source} is asked more than it allows" for s in self.sources if not s.fits]
        if self.bytes_per_day > BYTES_A_DAY:
            reasons.append(f"{self.bytes_per_day:,} bytes a day are more than {BYTES_A_DAY:,}")
        return reasons


def times_a_day(endpoint: Endpoint) -> int:
    """How often a day an endpoint is asked, by the beat of its group."""
    beat = endpoint.model.table.group.beat
    every = beat * math.ceil(backoff.least_rest(endpoint) / beat)
    return math.ceil(timedelta(days=1) / every)


def answer_bytes(endpoint: Endpoint) -> int:
    """What one answer is estimated to weigh, in bytes."""
    if endpoint.typical_bytes:
        return endpoint.typical_bytes
    table = endpoint.model.table.name
    if endpoint.each is not None:
        return TYPICAL_BYTES_OF_ONE.get(table, USUAL_BYTES_OF_ONE)
    return TYPICAL_BYTES[table]


def asked_when_well(endpoints: Sequence[Endpoint], keys: Mapping[str, str]) -> list[Endpoint]:
    """Who is asked on a day when all is well: of each pool, the first that has what it needs."""
    able = [e for e in endpoints if not backoff.lacks_key(e, keys)]
    first = {pool: members[0] for pool, members in pools.members(able).items()}
    return [e for e in able if e.pool is None or first[e.pool] is e]


def estimate(
    sources: Iterable[Source],
    keys: Mapping[str, str],
    symbols: Sequence[str] = MAJORS,
    measured: Mapping[str, float] | None = None,
) -> Budget:
    """The budget of these sources with these keys (the environment) and coins.

    measured: average bytes of an answer by endpoint, where answers are on record. Retries and the
    members that stand in where the first of a pool failed are not foreseen.
    """
    listed = list(sources)
    calls: Counter[str] = Counter()
    received: Counter[str] = Counter()
    asked = asked_when_well([e for s in listed for e in s.endpoints], keys)
    for sharing in _requests(asked, symbols):
        most = max(sharing, key=times_a_day)
        known = [measured[e.id] for e in sharing if e.id in measured] if measured else []
        calls[most.source.name] += times_a_day(most)
        each = known[0] if known else max(answer_bytes(e) for e in sharing)
        received[most.source.name] += round(times_a_day(most) * each)
    accounts: dict[str, list[str]] = defaultdict(list)
    for source in listed:
        accounts[quotas.quota_account(source)].append(source.name)
    return Budget(
        tuple(_of_source(s, accounts[quotas.quota_account(s)], calls, received) for s in listed)
    )


def _requests(
    endpoints: Iterable[Endpoint], symbols: Sequence[str]
) -> Iterable[Sequence[Endpoint]]:
    """Who shares each request; a collection is of one group, and makes equal requests once."""
    sharing: dict[tuple[str, Request], list[Endpoint]] = defaultdict(list)
    for endpoint in endpoints:
        for ask in endpoint.asks(symbols):
            request = request_for(endpoint, ask, _ANY_TIME)
            sharing[endpoint.model.table.group.name, request].append(endpoint)
    return sharing.values()


def _of_source(
    source: Source, account: Sequence[str], calls: Mapping[str, int], received: Mapping[str, int]
) -> SourceBudget:
    """account: the names of all sources that are counted together with this one, itself too."""
    a_day = sum(calls.get(name, 0) for name in account)
    day, month = source.per_day, source.per_month
    return SourceBudget(
        source=source.name,
        calls_per_day=calls.get(source.name, 0),
        calls_per_month=calls.get(source.name, 0) * quotas.LONGEST_MONTH,
        per_day=day,
        per_month=month,
        counted_with=tuple(name for name in account if name != source.name),
        fits=(day is None or a_day <= day)
        and (month is None or a_day * quotas.LONGEST_MONTH <= month),
        bytes_per_day=received.get(source.name, 0),
    )
