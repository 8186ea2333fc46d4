"""Which coins are kept: the universe a user chose, by what is known of their ranks. Pure.

Owns: the ranking of coins by market capitalisation, and the leaving out of all others.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from crypto_pipeline.collection.results import Result
from crypto_pipeline.settings import Universe
from crypto_pipeline.sources.values import STABLECOINS
from crypto_pipeline.tables import MarketPrice

LONGEST_LIST = 20
"""The most coins of a listed universe that endpoints are asked for one by one."""


def ranks(prices: Iterable[MarketPrice]) -> dict[str, int]:
    """The best rank of each ticker, by market capitalisation within each source that knows it."""
    market_caps: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for price in prices:
        if price.market_cap is not None:
            market_caps[price.source].append((price.market_cap, price.symbol))
    best: dict[str, int] = {}
    for listed in market_caps.values():
        listed.sort(reverse=True)
        for rank, (_, symbol) in enumerate(listed, 1):
            best[symbol] = min(rank, best.get(symbol, rank))
    return best


def learn_ranks(known: dict[str, int], results: Iterable[Result]) -> None:
    """Add to the best rank of each ticker what these results tell of it."""
    prices = (row for r in results for row in r.rows if isinstance(row, MarketPrice))
    for symbol, rank in ranks(prices).items():
        known[symbol] = min(rank, known.get(symbol, rank))


def inside(universe: Universe, known: Mapping[str, int]) -> frozenset[str] | None:
    """The tickers of the universe, or None for all of them; the dollar coins that prices are quoted
    in belong to each, since they say what those prices are in dollars.

    `known` maps tickers to their best rank. A coin is left out only when that many others are
    known: a list that nobody has drawn up to its end excludes nobody.
    """
    if universe.all:
        return None
    if universe.symbols:
        return frozenset((*universe.symbols, *STABLECOINS))
    top = universe.top or 0
    if len(known) < top:
        return None
    return frozenset((*(symbol for symbol, rank in known.items() if rank <= top), *STABLECOINS))


def leave_out(results: Iterable[Result], universe: frozenset[str] | None) -> None:
    """Leave out the rows of coins outside the universe; of none where it is None."""
    if universe is None:
        return
    for result in results:
        if result.rows and result.endpoint.model.table.universe:
            kept = [row for row in result.rows if getattr(row, "symbol", None) in universe]
            result.left_out += len(result.rows) - len(kept)
            result.rows = kept


def one_by_one(universe: Universe, majors: Sequence[str]) -> Sequence[str]:
    """The coins that endpoints are asked for one by one."""
    return universe.symbols[:LONGEST_LIST] or majors
