"""ccxt's parsers and ours read the same of the same records, or docs/oracle.md says why not."""

import pytest

pytest.importorskip("ccxt", reason="ccxt is not installed: it is part of the extra dev")

from crypto_pipeline.sources import ENDPOINTS
from crypto_pipeline_tests import oracle
from crypto_pipeline_tests.upstream import RECORDINGS

LEAST = {"market_prices": 330, "cached_ohlc": 760, "funding_rates": 150, "open_interest": 36}
"""Values that the samples alone give to compare; fewer, and a parser is no longer asked."""


@pytest.mark.parametrize("table", oracle.READ)
def test_both_read_the_same_or_a_convention_says_why(table: str) -> None:
    account = oracle.accounts()[table]
    assert not account.different, "\n".join(account.different)
    assert account.compared >= LEAST[table]


recorded = pytest.mark.skipif(not RECORDINGS.exists(), reason="../shared/recordings is not here")


@recorded
def test_every_convention_is_needed() -> None:
    explained = {why for account in oracle.accounts().values() for why in account.explained}
    assert [c.why for c in oracle.CONVENTIONS if c not in explained] == []


def test_every_shape_and_method_is_of_an_endpoint() -> None:
    assert {*oracle.SHAPES, *oracle.METHODS} <= set(ENDPOINTS)
    assert set(oracle.CLASSES) <= {e.source.name for e in ENDPOINTS.values()}


@recorded
def test_the_page_says_what_was_compared() -> None:
    written = oracle.PAGE.read_text(encoding="utf-8")
    assert written == oracle.page(), "run python -m crypto_pipeline_tests.oracle"
