"""From what age a table is old: by the endpoints that can be asked for it."""

from datetime import timedelta

import pytest

from crypto_pipeline.collection.freshness import asked_for, window
from crypto_pipeline.groups import HISTORICAL, UI
from crypto_pipeline.sources.spec import Key, minutes
from crypto_pipeline.tables import DATA, CachedMarketData, MarketPrice, NewsArticle, Row
from crypto_pipeline_tests.conftest import source


@pytest.mark.parametrize("model", DATA, ids=lambda m: m.table.name)
def test_a_table_is_fresh_until_it_can_be_collected_again(model: type[Row]) -> None:
    shortest = min(e.min_interval for e in asked_for(model, {}))
    fresh, stale = window(model, asked_for(model, {}))
    assert max(shortest, model.table.group.beat) < fresh < stale


def test_an_endpoint_without_its_key_is_asked_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = source("slow", min_interval=minutes(1440))
    keyed = source("keyed", key=Key(env="KEYED_API_KEY", query="k"), min_interval=minutes(5))
    monkeypatch.setattr(
        "crypto_pipeline.collection.freshness.ENDPOINTS", {e.id: e for e in (slow, keyed)}
    )
    assert asked_for(MarketPrice, {}) == [slow]
    assert asked_for(CachedMarketData, {"KEYED_API_KEY": "k"}) == [slow, keyed]


def test_the_most_frequent_endpoint_sets_it_and_a_collection_is_no_more_frequent() -> None:
    day, hour = (source("day", min_interval=minutes(m)) for m in (1440, 60))
    assert window(MarketPrice, [day]) == (timedelta(days=1, minutes=7), timedelta(days=2))
    assert window(MarketPrice, [day, hour]) == (timedelta(minutes=67), timedelta(hours=2))
    assert window(MarketPrice, [source("often", min_interval=minutes(1))]) == (UI.fresh, UI.stale)
    assert window(NewsArticle, []) == (HISTORICAL.fresh, HISTORICAL.stale)
