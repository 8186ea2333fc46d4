"""What cannot be is refused by the declaration of its table, whichever source says it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from crypto_pipeline.collection import universe
from crypto_pipeline.collection.exchange import Answer
from crypto_pipeline.collection.extract import Extraction, extract
from crypto_pipeline.collection.results import Result
from crypto_pipeline.sources import ENDPOINTS
from crypto_pipeline.sources.spec import Ask
from crypto_pipeline.tables import (
    DATA,
    FundingRate,
    GasPrice,
    GlobalMarket,
    Row,
    SentimentMetric,
    StablecoinSupply,
    TrendingCoin,
    WhaleTransaction,
)
from crypto_pipeline.tables.news import SCALES
from crypto_pipeline_tests.conftest import source
from crypto_pipeline_tests.faults.bodies import dumped

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SEEN: dict[str, Any] = {"timestamp": NOW, "source": "s", "collection_id": "c"}

GAS = {"blockchain": "ethereum", "unit": "gwei", "slow_gas_price": 1.0, "fast_gas_price": 3.0}
MOOD = {"metric_name": "fear_greed_index", "value": 50}
COIN = {"symbol": "USDX", "source_id": "x", "peg": "USD", "circulating": 1000.0}
SWAP = {"symbol": "BTC", "source_id": "x", "exchange": "s", "rate": 0.0001}


def made(model: type[Row], values: dict[str, Any]) -> Row:
    about = {name: value for name, value in SEEN.items() if name in model.table.column_names}
    return model.model_validate({**about, **values})


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (GasPrice, GAS | {"standard_gas_price": 2.0}),
        (GasPrice, GAS | {"standard_gas_price": 1.0}),
        (GasPrice, {"blockchain": "pulsechain", "unit": "gwei", "gas_price_gwei": 1e6}),
        (SentimentMetric, MOOD),
        (SentimentMetric, {"metric_name": "nupl", "value": -0.4}),
        (SentimentMetric, {"metric_name": "long_short_account_ratio", "value": 1.3}),
        (StablecoinSupply, COIN | {"price_usd": 1.01, "circulating_usd": 1009.0}),
        (StablecoinSupply, COIN | {"price_usd": 0.02}),
        (StablecoinSupply, COIN | {"peg": "XAU", "price_usd": 4100.0}),
        (FundingRate, SWAP | {"interval_hours": 24}),
    ],
)
def test_what_can_be_is_a_row(model: type[Row], values: dict[str, Any]) -> None:
    made(model, values)


@pytest.mark.parametrize(
    ("model", "values", "why"),
    [
        (GasPrice, GAS | {"standard_gas_price": 0.5}, "not in that order"),
        (GasPrice, GAS | {"standard_gas_price": 3.5}, "not in that order"),
        (GasPrice, GAS | {"unit": "wei"}, "unit 'wei' is not declared"),
        (GasPrice, GAS | {"fast_gas_price": 10_001.0}, "not within"),
        (GasPrice, GAS | {"slow_gas_price": 0.0}, "not within"),
        (GasPrice, GAS | {"gas_price_gwei": 2e9}, "not within"),
        (SentimentMetric, MOOD | {"value": 100.5}, "not within 0 and 100"),
        (SentimentMetric, MOOD | {"value": -1}, "not within 0 and 100"),
        (SentimentMetric, MOOD | {"metric_name": "luck"}, "has no scale"),
        (SentimentMetric, {"metric_name": "long_short_account_ratio", "value": -1.3}, "not within"),
        (StablecoinSupply, COIN | {"price_usd": 70_187.0}, "no price of a coin pegged to USD"),
        (StablecoinSupply, COIN | {"circulating_usd": 5e6}, "no price of a coin pegged to USD"),
        (StablecoinSupply, COIN | {"peg": "EUR", "price_usd": 2.4}, "pegged to EUR"),
        (FundingRate, SWAP | {"interval_hours": 481_346}, "interval_hours"),
        (FundingRate, SWAP | {"interval_hours": -8}, "interval_hours"),
    ],
)
def test_what_cannot_be_is_refused(model: type[Row], values: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        made(model, values)


def test_a_small_transfer_is_no_whale() -> None:
    about = {"blockchain": "ethereum", "transaction_hash": "0x1", "amount": 5.0, "symbol": "ETH"}
    assert made(WhaleTransaction, about).wanted(NOW)
    assert made(WhaleTransaction, about | {"amount_usd": 10_000.0}).wanted(NOW)
    assert not made(WhaleTransaction, about | {"amount_usd": 9_999.99}).wanted(NOW)


def test_every_time_of_a_source_has_a_window() -> None:
    lacking = [
        f"{model.table.name}.{c.name}"
        for model in DATA
        for c in model.table.columns
        if not model.table.computed_from
        and c.type == "TIMESTAMPTZ"
        and c.fill is None
        and c.within is None
    ]
    assert lacking == []


def test_every_scale_has_room() -> None:
    assert all(least < most for least, most in SCALES.values())


# Through an endpoint: what is asked, what comes, what it comes to


def told(endpoint_id: str, body: Any) -> Extraction:
    endpoint = ENDPOINTS[endpoint_id]
    return extract(endpoint, endpoint.asks()[0], Answer(200, dumped(body), "", NOW), "c")


def bars(count: int, apart_s: int, **last: str) -> dict[str, Any]:
    """Candles as Bitstamp writes them, the last one with values of its own."""
    first = NOW - timedelta(seconds=count * max(apart_s, 300))
    made = [
        {
            "timestamp": str(int(first.timestamp()) + n * apart_s),
            "open": "100",
            "high": "101",
            "low": "99",
            "close": "100",
            "volume": "5",
        }
        for n in range(count)
    ]
    made[-1] |= last
    return {"data": {"pair": "BTC/USD", "ohlc": made}}


def test_candles_of_another_length_are_not_those_asked_for() -> None:
    assert told("bitstamp.cached_ohlc", bars(5, 300)).outcome == "ok"
    found = told("bitstamp.cached_ohlc", bars(5, 86_400))
    assert found.outcome == "changed"
    assert "candles lie 86400 s apart where 5m was asked for" in str(found.reason)


def test_candles_may_be_missing_where_nothing_was_traded() -> None:
    body = bars(20, 300)
    body["data"]["ohlc"] = [bar for n, bar in enumerate(body["data"]["ohlc"]) if n not in (3, 8, 9)]
    assert len(told("bitstamp.cached_ohlc", body).rows) == 17


@pytest.mark.parametrize("wrong", [{"high": "101000"}, {"low": "0.01"}])
def test_a_candle_a_thousand_times_its_neighbours_is_refused(wrong: dict[str, str]) -> None:
    found = told("bitstamp.cached_ohlc", bars(6, 300, **wrong))
    assert (len(found.rows), len(found.rejects)) == (5, 1)
    assert "among candles at 100" in found.rejects[0].reason


@pytest.mark.parametrize("nothing", [None, "", 0, "0"])
def test_prices_of_nothing_everywhere_are_no_answer(nothing: Any) -> None:
    coin = {"id": "bitcoin", "symbol": "btc", "name": "Bitcoin", "current_price": nothing}
    found = told("coingecko.market_prices", [coin] * 3)
    assert found.outcome == "changed", found.reason


def test_nothing_but_zeros_is_an_answer_where_its_table_says_so() -> None:
    """The list of one place, counted from zero, against totals of zero."""
    shop = source("shop").source
    listed = shop.endpoint(TrendingCoin, "/trending", row=dict)
    totals = shop.endpoint(GlobalMarket, "/total", row=dict)
    for endpoint, record, outcome in (
        (listed, {"rank": 0, "source_id": "pepe"}, "ok"),
        (totals, {"total_volume_24h_usd": 0}, "changed"),
        (totals, {"total_volume_24h_usd": 1}, "ok"),
    ):
        answer = Answer(200, dumped([record]), "", NOW)
        found = extract(endpoint, Ask(), answer, "c")
        assert (found.outcome, len(found.rows)) == (outcome, 1 if outcome == "ok" else 0)
        if outcome == "changed":
            assert found.rejects[0].reason == "nothing but zeros"


def test_coins_outside_the_universe_are_left_out_of_prices_and_candles_alone() -> None:
    def result(endpoint_id: str, body: Any) -> Result:
        found = told(endpoint_id, body)
        assert found.rows
        return Result(ENDPOINTS[endpoint_id], "ok", rows=found.rows)

    coin = {"id": "bitcoin", "symbol": "btc", "name": "Bitcoin", "current_price": 9}
    prices = result("coingecko.market_prices", [coin, {**coin, "id": "eth", "symbol": "eth"}])
    candles = result("bitstamp.cached_ohlc", bars(3, 300))
    universe.leave_out([prices, candles], frozenset({"ETH"}))
    assert [(len(r.rows), r.left_out) for r in (prices, candles)] == [(1, 1), (0, 3)]
