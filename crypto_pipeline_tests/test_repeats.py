"""What an answer must repeat of the question: how the two are compared, and where."""

import json
from typing import Any

import pytest

from crypto_pipeline.collection.exchange import Answer
from crypto_pipeline.collection.extract import extract
from crypto_pipeline.collection.repeats import OtherAnswer, Repeats, Required
from crypto_pipeline.sources.spec import Ask, Endpoint, Pairs, Source, SourceError
from crypto_pipeline.tables import MarketPrice
from crypto_pipeline_tests.fresh import SAMPLED_AT as NOW


def declared(**about: Any) -> Endpoint:
    source = Source("somewhere", "https://somewhere.example", docs="https://somewhere.example/docs")
    about.setdefault("row", lambda r: {"source_id": r["id"], "price_usd": r["price"]})
    about.setdefault("each", Pairs("{base}-USDT", "USDT"))
    about.setdefault("params", {"symbol": "{each}"} if about["each"] else {})
    return source.endpoint(MarketPrice, "/price", **about)


def read(endpoint: Endpoint, body: Any) -> Any:
    answer = Answer(200, json.dumps(body).encode(), "application/json", NOW)
    return extract(endpoint, endpoint.asks(["BTC"])[0], answer, "test")


@pytest.mark.parametrize("said", ["BTC-USDT", "btc_usdt", "BTC/USDT", "Btc:Usdt", " BTCUSDT "])
def test_case_and_marks_do_not_count(said: str) -> None:
    Required({"pair": "BTC-USDT"}).require({"pair": said})


@pytest.mark.parametrize("said", ["ETH-USDT", "BTC-USD", "BTC-USDT-SWAP", "1BTCUSDT", "", None, 5])
def test_another_pair_is_another_answer(said: object) -> None:
    with pytest.raises(OtherAnswer, match="asked for BTC-USDT, and pair is"):
        Required({"pair": "BTC-USDT"}).require({"pair": said})


@pytest.mark.parametrize("body", [{}, [], None, "BTC-USDT", {"data": {}}, {"data": []}])
def test_an_answer_that_does_not_say_is_another(body: object) -> None:
    with pytest.raises(OtherAnswer, match="does not say of what it is"):
        Required({"data.pair": "BTC-USDT"}).require(body)


def test_numbers_are_compared_as_written() -> None:
    Required({"unit": "5"}).require({"unit": 5})
    with pytest.raises(OtherAnswer):
        Required({"unit": "5"}).require({"unit": 15})


def test_a_path_leads_into_lists() -> None:
    Required({"1.0": "BTC"}).require([["ETH"], ["BTC"]])
    with pytest.raises(OtherAnswer):
        Required({"0.0": "BTC"}).require([["ETH"], ["BTC"]])


def test_all_that_is_declared_must_be_there() -> None:
    required = Required({"pair": "BTC", "interval": "5m"})
    required.require({"pair": "BTC", "interval": "5m"})
    for body in ({"pair": "BTC", "interval": "1h"}, {"pair": "ETH", "interval": "5m"}):
        with pytest.raises(OtherAnswer):
            required.require(body)


def test_words_stand_for_what_was_asked_and_what_is_known() -> None:
    endpoint = declared(repeats={"a": "{each}", "*.b": "{symbol}{quote}", "*.c": "spot"})
    found = Repeats(endpoint, Ask("BTC-USDT", {"symbol": "BTC", "quote": "USDT"}))
    found.of_body.require({"a": "btcusdt"})
    found.of_records.require({"b": "BTC_USDT", "c": "SPOT"})
    with pytest.raises(OtherAnswer):
        found.of_records.require({"b": "ETH_USDT", "c": "SPOT"})


def test_nothing_declared_requires_nothing() -> None:
    found = Repeats(declared(), Ask("BTC-USDT"))
    assert not found.of_body
    assert not found.of_records
    found.of_body.require(None)


def test_words_that_nothing_stands_for_are_an_error_at_import() -> None:
    with pytest.raises(SourceError, match="names what is not asked"):
        declared(repeats={"a": "{interval}"})


def test_a_body_about_something_else_is_changed_as_a_whole() -> None:
    endpoint = declared(repeats={"symbol": "{each}"}, records="list")
    records = [{"id": "a", "price": 1}]
    assert read(endpoint, {"symbol": "BTCUSDT", "list": records}).outcome == "ok"
    other = read(endpoint, {"symbol": "ETHUSDT", "list": records})
    assert (other.outcome, other.records, other.rows) == ("changed", 0, [])
    assert other.reason == "asked for BTC-USDT, and symbol is 'ETHUSDT'"


def test_a_record_about_something_else_is_refused_by_itself() -> None:
    endpoint = declared(repeats={"*.symbol": "{each}"}, records="list")
    mine = [{"id": i, "price": 1, "symbol": "BTC-USDT"} for i in "abc"]
    found = read(endpoint, {"list": [*mine, {"id": "d", "price": 2, "symbol": "ETH-USDT"}]})
    assert (found.outcome, len(found.rows), len(found.rejects)) == ("ok", 3, 1)
    assert found.rejects[0].reason == "asked for BTC-USDT, and symbol is 'ETH-USDT'"


def test_what_carries_an_error_and_not_what_was_asked_is_that_error() -> None:
    endpoint = declared(repeats={"symbol": "{each}"}, records="list")
    assert read(endpoint, {"code": 429, "msg": "Too many requests"}).outcome == "throttled"
