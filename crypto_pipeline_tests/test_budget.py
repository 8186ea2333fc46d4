"""The default schedule fits: no source is asked more than it allows, and the bytes of a day."""

from typing import Any

import pytest

from crypto_pipeline.collection import budget, quotas
from crypto_pipeline.collection.budget import (
    BYTES_A_DAY,
    Budget,
    SourceBudget,
    estimate,
    times_a_day,
)
from crypto_pipeline.collection.collect import collect
from crypto_pipeline.sources import SOURCES
from crypto_pipeline.sources.spec import Endpoint, Key, Source, hours, minutes
from crypto_pipeline.tables import DATA, Candle, FundingRate, MarketPrice, OpenInterest
from crypto_pipeline.warehouse import Warehouse
from crypto_pipeline_tests.conftest import Canned, coins, source
from crypto_pipeline_tests.upstream import Upstream


def declared(name: str = "alpha", **about: Any) -> Source:
    base = f"https://{name}.example"
    return Source(name, base, docs=base, **about)


def test_the_default_schedule_of_all_keyless_sources_fits() -> None:
    planned = estimate(SOURCES.values(), {})
    assert planned.exceeded == []
    assert planned.bytes_per_day <= BYTES_A_DAY


def test_it_still_fits_when_every_key_is_set() -> None:
    keys = {source.key.env: "x" for source in SOURCES.values() if source.key}
    assert estimate(SOURCES.values(), keys).exceeded == []


def test_twenty_to_thirty_keyless_sources_of_prices_are_asked_every_five_minutes() -> None:
    prices = [e for s in SOURCES.values() for e in s.endpoints if e.model is MarketPrice]
    often = {
        e.source.name for e in budget.asked_when_well(prices, {}) if e.min_interval == minutes(5)
    }
    assert 20 <= len(often) <= 30


@pytest.mark.parametrize("model", DATA, ids=lambda m: m.table.name)
def test_every_table_has_an_estimate(model: type[MarketPrice]) -> None:
    fed = any(e.model is model for s in SOURCES.values() for e in s.endpoints)
    assert (model.table.name in budget.TYPICAL_BYTES) == fed


@pytest.mark.parametrize(
    ("table", "minutes_", "times"),
    [
        (MarketPrice, 5, 288),
        (MarketPrice, 15, 96),
        (MarketPrice, 12, 96),
        (MarketPrice, 60, 24),
        (Candle, 5, 96),
        (Candle, 15, 96),
        (Candle, 30, 48),
        (Candle, 720, 2),
    ],
)
def test_an_endpoint_is_asked_on_the_beat_of_its_group(
    table: type[MarketPrice], minutes_: int, times: int
) -> None:
    endpoint = declared().endpoint(table, "/x", row=dict, min_interval=minutes(minutes_))
    assert times_a_day(endpoint) == times


def of_source(planned: Budget, name: str = "alpha") -> SourceBudget:
    return next(source for source in planned.sources if source.source == name)


def test_an_endpoint_asked_coin_by_coin_costs_a_call_for_each() -> None:
    alpha = declared()
    each = {"a": {"symbol": "A"}, "b": {"symbol": "B"}}
    alpha.endpoint(MarketPrice, "/{each}", row=dict, each=each, min_interval=hours(1))
    assert of_source(estimate([alpha], {})).calls_per_day == 48
    assert of_source(estimate([alpha], {})).calls_per_month == 48 * 31


def test_equal_requests_of_a_group_are_counted_once() -> None:
    alpha = declared()
    alpha.endpoint(FundingRate, "/all", row=dict)
    alpha.endpoint(OpenInterest, "/all", row=dict, min_interval=hours(1))
    assert of_source(estimate([alpha], {})).calls_per_day == 96
    alpha.endpoint(MarketPrice, "/all", row=dict, min_interval=hours(1))
    assert of_source(estimate([alpha], {})).calls_per_day == 96 + 24


def test_of_a_pool_only_the_first_that_can_be_asked_counts() -> None:
    def pool() -> list[Source]:
        keyed = source("keyed", key=Key(env="KEYED_KEY", query="k"), pool="p")
        return [keyed.source, source("good", pool="p").source, source("fine", pool="p").source]

    assert [line.calls_per_day for line in estimate(pool(), {}).sources] == [0, 288, 0]
    assert [line.calls_per_day for line in estimate(pool(), {"KEYED_KEY": "x"}).sources] == [
        288,
        0,
        0,
    ]


@pytest.mark.parametrize(
    ("about", "fits"),
    [
        ({"per_day": 288}, True),
        ({"per_day": 287}, False),
        ({"per_month": 288 * quotas.LONGEST_MONTH}, True),
        ({"per_month": 288 * quotas.LONGEST_MONTH - 1}, False),
    ],
)
def test_a_source_asked_more_than_it_allows_does_not_fit(about: dict[str, Any], fits: bool) -> None:
    alpha = declared(**about)
    alpha.endpoint(MarketPrice, "/x", row=dict)
    planned = estimate([alpha], {})
    assert of_source(planned).fits == fits
    assert planned.exceeded == ([] if fits else ["alpha is asked more than it allows"])


def test_sources_with_the_same_key_share_what_it_allows() -> None:
    key = Key(env="ALPHA_KEY", query="k", required=False)
    alpha, news = (declared(name, key=key, per_day=300) for name in ("alpha", "news"))
    for one in (alpha, news):
        one.endpoint(MarketPrice, "/x", row=dict)
    planned = estimate([alpha, news], {})
    assert [source.fits for source in planned.sources] == [False, False]
    assert of_source(planned).counted_with == ("news",)


def test_measured_bytes_go_before_typical_ones_and_those_before_the_usual() -> None:
    def weighed(measured: dict[str, float] | None = None, typical: int | None = None) -> int:
        alpha = declared()
        alpha.endpoint(MarketPrice, "/x", row=dict, typical_bytes=typical)
        return of_source(estimate([alpha], {}, measured=measured)).bytes_per_day

    assert weighed() == 288 * budget.TYPICAL_BYTES["market_prices"]
    assert weighed(typical=7_000) == 288 * 7_000
    assert weighed({"alpha.market_prices": 123.0}, typical=7_000) == 288 * 123


def test_too_many_bytes_a_day_are_said() -> None:
    alpha = declared()
    alpha.endpoint(MarketPrice, "/x", row=dict, typical_bytes=4_000_000)
    assert estimate([alpha], {}).exceeded == [
        "1,152,000,000 bytes a day are more than 1,000,000,000"
    ]


def test_answers_are_measured_on_the_wire(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert warehouse.bytes_per_answer() == {}
    good: Endpoint = source("good")
    with Upstream(Canned({"good.example/prices": coins(*range(1, 50))})) as server:
        monkeypatch.setenv("CRYPTO_PIPELINE_UPSTREAM", server.url)
        for name in ("c1", "c2"):
            collection = collect(
                ["market_prices"], name, warehouse=warehouse, among=[good], force=True
            )
    assert warehouse.bytes_per_answer() == {
        "good.market_prices": collection.results[0].bytes_received
    }
