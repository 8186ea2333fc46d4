"""Which coins are kept, and which coin a ticker stands for. Pure.

Owns: the ranking of coins by market capitalisation.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from crypto_pipeline.settings import Universe
from crypto_pipeline.tables import MarketPrice

LONGEST_LIST = 20
"""The most coins of a listed universe that endpoints are asked for one by one."""


def ranks(prices: Iterable[MarketPrice]) -> dict[str, int]:
    """The best rank of each ticker, by market capitalisation within each source that knows it."""
    caps: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for price in prices:
        if price.market_cap is not None:
            caps[price.source].append((price.market_cap, price.symbol))
    best: dict[str, int] = {}
    for listed in caps.values():
        listed.sort(reverse=True)
        for rank, (_, symbol) in enumerate(listed, 1):
            best[symbol] = min(rank, best.get(symbol, rank))
    return best


def kept(universe: Universe, known: Mapping[str, int]) -> frozenset[str] | None:
    """The tickers to keep, or None for all of them.

    `known` maps tickers to their best rank. A coin is left out only when that many others are
    known: a list that nobody has drawn up to its end excludes nobody.
    """
    if universe.all:
        return None
    if universe.symbols:
        return frozenset(universe.symbols)
    top = universe.top or 0
    if len(known) < top:
        return None
    return frozenset(symbol for symbol, rank in known.items() if rank <= top)


def asked(universe: Universe, majors: Sequence[str]) -> Sequence[str]:
    """The coins that endpoints are asked for one by one."""
    return universe.symbols[:LONGEST_LIST] or majors
