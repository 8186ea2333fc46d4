"""Which coins are kept, and which coin a ticker stands for. Pure.

Owns: the ranking of coins by market capitalisation.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from crypto_pipeline.settings import Universe
from crypto_pipeline.tables import Coin, MarketPrice

LONGEST_LIST = 20
"""The most coins of a listed universe that endpoints are asked for one by one."""


def coins(prices: Iterable[MarketPrice]) -> list[Coin]:
    """The coins that sources with market capitalisations told of, ranked within each source."""
    by_source: dict[str, dict[str, MarketPrice]] = defaultdict(dict)
    for price in prices:
        if price.market_cap is not None:
            by_source[price.source][price.source_id] = price
    found = []
    for source, listed in by_source.items():
        seen: dict[str, int] = defaultdict(int)
        biggest_first = sorted(listed.values(), key=lambda p: -(p.market_cap or 0))
        for rank, price in enumerate(biggest_first, 1):
            seen[price.symbol] += 1
            found.append(
                Coin(
                    source=source,
                    source_id=price.source_id,
                    symbol=price.symbol,
                    name=price.name,
                    market_cap=price.market_cap or 0,
                    rank=rank,
                    rank_of_symbol=seen[price.symbol],
                    updated_at=price.timestamp,
                )
            )
    return found


def kept(
    universe: Universe, known: Mapping[str, int], seen: Iterable[Coin]
) -> frozenset[str] | None:
    """The tickers to keep, or None for all of them.

    `known` maps tickers to their best rank so far. A coin is left out only when that many others
    are known to be bigger: a list that nobody has drawn up to its end excludes nobody.
    """
    if universe.all:
        return None
    if universe.symbols:
        return frozenset(universe.symbols)
    ranks = dict(known)
    for coin in seen:
        ranks[coin.symbol] = min(coin.rank, ranks.get(coin.symbol, coin.rank))
    top = universe.top or 0
    if max(ranks.values(), default=0) < top:
        return None
    return frozenset(symbol for symbol, rank in ranks.items() if rank <= top)


def asked(universe: Universe, majors: Sequence[str]) -> Sequence[str]:
    """The coins that endpoints are asked for one by one."""
    return universe.symbols[:LONGEST_LIST] or majors
