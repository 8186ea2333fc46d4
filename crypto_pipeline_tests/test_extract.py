"""From answers to rows: the account of every record, and errors called by their names."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_pipeline.collection.exchange import Answer
from crypto_pipeline.collection.extract import Bounds, Extraction, Rejects, extract
from crypto_pipeline.collection.failures import message_in
from crypto_pipeline.sources import ENDPOINTS, SOURCES, Source
from crypto_pipeline.sources.spec import Ask, Endpoint
from crypto_pipeline.sources.values import SourceMessage, named_candle
from crypto_pipeline.tables import Candle, NewsArticle
from crypto_pipeline_tests.conftest import coins, source
from crypto_pipeline_tests.conftest import price as of_price
from crypto_pipeline_tests.upstream import sample_file

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ALPHA = source("alpha")


def read(
    body: object,
    endpoint: Endpoint = ALPHA,
    status: int | None = 200,
    *,
    bounds: Bounds = lambda records, rows: None,
    **about: Any,
) -> Extraction:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return extract(endpoint, Ask(), Answer(status, raw, "", NOW, **about), "c", bounds)


def test_every_record_is_accounted_for() -> None:
    body = coins(1, 2, 3)
    body["data"] += [{"id": "x"}, {"id": "y", "symbol": "Y", "price": -1}]
    found = read(body)
    assert (found.outcome, found.records, len(found.rows)) == ("ok", 5, 3)
    assert [r.reason for r in found.rejects] == [
        "no symbol",
        "price_usd: Input should be greater than 0 (got -1)",
    ]
    assert found.rejects[1].field == "price_usd"
    assert json.loads(found.rejects[1].record)["id"] == "y"


def test_when_most_records_fail_no_row_is_trusted() -> None:
    body = coins(1)
    body["data"] += [{"id": n} for n in range(3)]
    found = read(body)
    assert found.outcome == "changed"
    assert "3 of 4 records refused: no symbol" in (found.reason or "")
    assert found.rows == []
    assert len(found.rejects) == found.records == 4


def test_the_engine_fills_what_every_row_has() -> None:
    row = read(coins(1)).rows[0].model_dump()
    assert (row["source"], row["timestamp"], row["collection_id"]) == ("alpha", NOW, "c")
    assert row["symbol"] == "C0"


@pytest.mark.parametrize("value", [True, False])
def test_a_boolean_is_never_a_number(value: bool) -> None:
    body = coins(5)
    body["data"][0]["price"] = value
    assert read(body).outcome == "changed"


def test_the_number_one_is_a_number() -> None:
    assert read(coins(1)).rows[0].model_dump()["price_usd"] == 1.0


def bars(*minutes: float, **about: Any) -> list[dict[str, Any]]:
    """Records of candles of five minutes that open so many minutes from now."""
    usual = {"open": 1, "high": 2, "low": 1, "close": 2, "volume": 9}
    return [{"at": NOW + timedelta(minutes=m), **usual, **about} for m in minutes]


def of_bar(bar: dict[str, Any]) -> dict[str, Any]:
    return named_candle(datetime.fromisoformat(bar["at"]), bar)


SHOP = Source("shop", "https://shop.example", docs="https://shop.example/docs")
BARS = SHOP.endpoint(
    Candle,
    "/candles",
    fixed={"symbol": "BTC", "quote": "USD", "interval": "5m"},
    records="data",
    row=of_bar,
)
NEWS = SHOP.endpoint(NewsArticle, "/news", row=dict)


def told(records: Any, **about: Any) -> bytes:
    return json.dumps({"data": records, **about}, default=datetime.isoformat).encode()


def story(title: str, number: int) -> dict[str, Any]:
    key = f"paper.example/{number}"
    return {"title": title, "url": f"https://{key}", "article_key": key}


def test_a_time_in_the_future_is_refused() -> None:
    found = read(told(bars(-5, 0, 5000)), BARS)
    assert (len(found.rows), found.left_out, len(found.rejects)) == (1, 1, 1)
    assert "in the future" in found.rejects[0].reason


# The account of the records


def test_a_usual_answer_has_nothing_to_say() -> None:
    found = read(coins(1, 2))
    assert (found.outcome, found.reason, found.retry_after) == ("ok", None, None)


def test_a_reject_names_the_first_column_that_is_wrong() -> None:
    body = coins(1, 2)
    body["data"][0] |= {"cap": -1, "price": -2}
    (reject,) = read(body).rejects
    assert reject.field == "price_usd"
    assert reject.reason == "price_usd: Input should be greater than 0 (got -2)"


def test_a_long_value_is_quoted_by_its_beginning() -> None:
    body = coins(1, 2)
    body["data"][0]["price"] = "x" * 500
    (reject,) = read(body).rejects
    assert reject.reason.endswith(f"(got '{'x' * 79})")


def test_what_is_wrong_with_a_whole_record_is_said_of_no_column() -> None:
    found = read(told([*bars(-15, -10), *bars(-5, low=3)]), BARS)
    assert [(reject.field, reject.reason) for reject in found.rejects] == [
        (None, "low, open, close and high contradict one another")
    ]
    answered = coins(1, 2)
    answered["data"][0]["cap"] = True
    (reject,) = read(answered).rejects
    assert (reject.field, reject.reason) == (None, "market_cap: True is not a value")
    lacking = coins(1, 2)
    lacking["data"][0] = {"id": "Zürich"}
    (reject,) = read(lacking).rejects
    assert (reject.field, reject.reason) == (None, "no symbol")
    assert reject.record == '{"id": "Zürich"}'


def test_of_many_rejects_the_first_are_kept_and_all_are_counted() -> None:
    first, second = (read({"data": [{"id": f"{name}{n}"} for n in range(40)]}) for name in "ab")
    total = Rejects()
    for found in (first, second):
        total.extend(found.rejects)
    assert len(total) == 80
    ids = [json.loads(reject.record)["id"] for reject in total]
    assert ids == [f"a{n}" for n in range(40)] + [f"b{n}" for n in range(10)]
    many = read({"data": [{"id": f"c{n}"} for n in range(60)]}).rejects
    assert (len(many), len(list(many))) == (60, 50)


def test_candles_that_go_on_are_no_fault_of_an_answer() -> None:
    found = read(told(bars(-10, -5, 0, 0)), BARS)
    assert (found.outcome, found.reason) == ("ok", None)
    assert (len(found.rows), found.left_out, found.unwanted) == (2, 2, 2)
    none_is_over = read(told(bars(0, 0), error="Too many requests"), BARS)
    assert (none_is_over.outcome, none_is_over.left_out) == ("empty", 2)
    assert none_is_over.reason == "all 2 records left out on purpose"


def test_records_that_are_no_rows_are_empty_only_where_that_can_be() -> None:
    about: dict[str, Any] = {"row": lambda record: None}
    changed = read(coins(1, 2), source("alpha", **about))
    assert changed.outcome == "changed"
    assert changed.reason == "none of 2 records has what makes a row"
    empty = read(coins(1, 2), source("alpha", sparse=True, **about))
    assert (empty.outcome, empty.reason) == ("empty", "all 2 records left out on purpose")


def test_a_spike_is_refused_and_its_neighbours_are_stored() -> None:
    usual = bars(*range(-30, 0, 5))
    spike = bars(-35, high=900)
    found = read(told([*usual, *spike]), BARS)
    assert (found.outcome, len(found.rows), len(found.rejects)) == ("ok", 6, 1)
    assert "2026-11-23T11:25:00" in found.rejects[0].record
    twice = read(told([*usual, *spike, *bars(-40, low=0.01)]), BARS)
    assert [len(twice.rows), len(twice.rejects)] == [6, 2]


def test_candles_that_lie_too_far_apart_are_refused_all() -> None:
    found = read(told(bars(*range(-300, 0, 60))), BARS)
    assert (found.outcome, len(found.rows), len(found.rejects)) == ("changed", 0, 5)
    assert (found.reason or "").startswith("5 of 5 records refused: BTC: candles lie 3600 s apart")


def test_of_articles_that_come_twice_the_first_stays() -> None:
    found = read([story("One", 1), story("Two", 2), story("One again", 1)], NEWS)
    assert {row.model_dump()["title"] for row in found.rows} == {"One", "Two"}
    assert (found.outcome, found.records, found.left_out) == ("ok", 3, 1)
    assert found.reason == "1 records say what another one says"
    endpoint = SHOP.endpoint(NewsArticle, "/more", variant="more", row=lambda a: a or None)
    others = read([{}, story("One", 1), {}, story("One again", 1)], endpoint)
    assert (len(others.rows), others.left_out) == (1, 3)
    once = read([story("One", 1), story("Two", 2)], NEWS)
    assert (once.left_out, once.reason) == (0, None)


def test_prices_that_come_twice_are_both_kept() -> None:
    body = coins(1, 2)
    body["data"][1]["id"] = body["data"][0]["id"]
    assert len(read(body).rows) == 2


def test_a_reason_says_which_fields_are_lacking_in_how_many_rows() -> None:
    body = coins(1, 2, 3)
    del body["data"][0]["cap"], body["data"][1]["cap"]
    about: dict[str, Any] = {"row": lambda coin: {**of_price(coin), "market_cap": coin["cap"]}}
    found = read(body, source("alpha", **about))
    assert (found.outcome, len(found.rows)) == ("ok", 3)
    assert found.reason == "of 3 rows, not there: cap in 2"


def test_an_answer_that_is_half_wrong_is_believed_and_one_more_record_ends_that() -> None:
    body = coins(1, 2)
    body["data"] += [{"id": "x"}, {"id": "y", "symbol": "Y"}]
    found = read(body)
    assert (found.outcome, len(found.rows), len(found.rejects)) == ("ok", 2, 2)
    body["data"] += [{"id": "z", "symbol": "Z"}]
    found = read(body)
    assert (found.outcome, found.reason) == ("changed", "3 of 5 records refused: no symbol")
    others = list(found.rejects)[3:]
    assert [json.loads(reject.record)["source_id"] for reject in others] == ["coin-0", "coin-1"]
    assert {reject.field for reject in others} == {None}


def test_an_error_counts_when_no_record_became_a_row_and_not_beside_rows() -> None:
    error = {"error": "Too many requests"}
    assert read({"data": [{"id": "x"}], **error}).outcome == "throttled"
    described = {"data": [{"id": "x"}], "description": "Too many requests were made for these"}
    assert read(described).outcome == "changed"
    left_out: dict[str, Any] = {"row": lambda coin: of_price(coin) if coin["price"] > 1 else None}
    endpoint = source("alpha", **left_out)
    assert read({**coins(1, 1), **error}, endpoint).outcome == "throttled"
    some = read({**coins(1, 2), **error}, endpoint)
    assert (some.outcome, len(some.rows), some.left_out) == ("ok", 1, 1)


@pytest.mark.parametrize("body", [coins(1), {"data": [{"id": "x"}]}, coins()])
def test_how_long_a_host_wants_to_be_left_alone_is_kept(body: Any) -> None:
    assert read(body).retry_after is None
    if body["data"]:
        assert read(body, retry_after=30.0).retry_after == 30


def test_an_answer_that_goes_over_its_bounds_is_left_where_it_does() -> None:
    def endless(_: Any) -> Any:
        raise AssertionError("this record was to be left")

    nothing = read(coins(1, 2, 3), source("alpha", row=endless), bounds=lambda *_: "no time")
    assert (nothing.outcome, nothing.records, nothing.rows) == ("changed", 0, [])
    assert nothing.reason == "left at 0 of 3 records: no time"
    asked = []

    def bounds(records: int, rows: int) -> str | None:
        asked.append((records, rows))
        return "too many rows" if rows > 700 else None

    many = coins(*range(1, 2001))
    found = read(many, bounds=bounds)
    records, rows = asked[-1]
    assert 700 < rows == records < 1000
    assert (found.reason, found.rows) == (f"left at {records} of 2,000 records: too many rows", [])
    assert found.outcome == "changed"
    assert read(many, bounds=lambda *_: None).records == 2000


# Errors by their names


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (304, b"", "unchanged"),
        (200, b"", "empty"),
        (200, b'{"data": []}', "empty"),
        (200, b'{"data": [], "code": "0", "msg": "success"}', "empty"),
        (200, b'{"code": "200000", "data": []}', "empty"),
        (200, b'{"data": {}}', "changed"),
        (200, b'{"rows": []}', "changed"),
        (200, b'{"data": [', "changed"),
        (200, b"[" * 100_000, "changed"),
        (200, b"<!DOCTYPE html><title>Welcome</title>", "changed"),
        (200, b"<html><title>Just a moment...</title></html>", "refused"),
        (200, b"<html><title>You are being rate limited</title></html>", "throttled"),
        (200, b'{"status": {"error_code": 429, "error_message": "Rate Limit"}}', "throttled"),
        (200, b'{"code": -1003, "msg": "Too many requests"}', "throttled"),
        (200, b'{"error": ["EAPI:Rate limit exceeded"], "data": []}', "throttled"),
        (
            200,
            b'{"status": "0", "message": "NOTOK", "result": "Max rate limit reached"}',
            "throttled",
        ),
        (200, b'{"error": "Invalid API key"}', "refused"),
        (200, b'{"code": "51001", "data": [], "msg": "Instrument does not exist"}', "refused"),
        (200, b'{"result": false, "code": 405}', "refused"),
        (200, b'{"msg": "System maintenance"}', "unreachable"),
        (200, b"too many requests", "throttled"),
        (204, b"", "changed"),
        (301, b"", "changed"),
        (400, b'{"msg": "bad symbol"}', "refused"),
        (401, b"", "refused"),
        (403, b"<html>error 1015</html>", "throttled"),
        (404, b"Not Found", "refused"),
        (408, b"", "unreachable"),
        (418, b"", "throttled"),
        (429, b"", "throttled"),
        (451, b'{"msg": "Service unavailable from a restricted location"}', "refused"),
        (500, b'{"data": []}', "unreachable"),
        (503, b"", "unreachable"),
        (None, b"", "unreachable"),
    ],
)
def test_an_answer_is_called_by_its_name(status: int | None, body: bytes, outcome: str) -> None:
    found = read(body, status=status, conditional=status == 304)
    assert found.outcome == outcome, found.reason
    assert found.reason
    assert found.rows == []


@pytest.mark.parametrize(
    ("name", "body", "outcome"),
    [
        ("okx", b'{"code": "50011", "msg": "requests"}', "throttled"),
        ("okx_futures", b'{"code": "50013", "msg": "", "data": []}', "unreachable"),
        ("bybit", b'{"retCode": 10018, "retMsg": "ip", "result": {}}', "throttled"),
        ("binance_futures", b'{"code": -1008, "msg": "overloaded"}', "throttled"),
        ("kucoin", b'{"code": "429000", "msg": "x"}', "throttled"),
        ("mexc_futures", b'{"success": false, "code": 510, "message": "x"}', "throttled"),
    ],
)
def test_a_venue_s_own_code_decides(name: str, body: bytes, outcome: str) -> None:
    found = [read(body, endpoint) for endpoint in SOURCES[name].endpoints]
    assert {extraction.outcome for extraction in found} == {outcome}


@pytest.mark.parametrize(
    ("code", "in_body", "outcome"), [(429, "405", "throttled"), (None, "429", "throttled")]
)
def test_a_message_counts_as_its_own_code_says_and_without_one_as_the_body_s(
    code: int | None, in_body: str, outcome: str
) -> None:
    def records(_: Any) -> Any:
        raise SourceMessage("no price for you", code)

    found = read({"code": in_body}, source("alpha", records=records), retry_after=7.0)
    assert (found.outcome, found.reason) == (outcome, "no price for you")
    assert found.retry_after == 7


def test_a_byte_order_mark_and_blank_lines_are_no_error() -> None:
    assert read(b"\xef\xbb\xbf\n\n" + json.dumps(coins(5)).encode()).outcome == "ok"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["data", "id", "symbol", "price", "error", "msg", "cap"]), inner
        )
    ),
    max_leaves=12,
)


@given(JSON)
@settings(max_examples=300)
def test_no_body_is_too_odd(body: Any) -> None:
    found = read(json.dumps(body).encode())
    assert len(found.rows) + found.left_out + len(found.rejects) == found.records
    for row in found.rows:
        assert row.model_dump()["price_usd"] > 0


@given(st.binary(max_size=200), st.sampled_from([200, 304, 403, 429, 500, None]))
def test_no_bytes_are_too_odd(body: bytes, status: int | None) -> None:
    found = read(body, status=status)
    assert found.reason or found.rows


@given(JSON)
def test_the_message_in_a_body_is_words_or_nothing(body: Any) -> None:
    message = message_in(body)
    assert message is None or (message and len(message) <= 300)


MUTATED = [
    pytest.param(endpoint, id=endpoint.id)
    for endpoint in ENDPOINTS.values()
    if endpoint.read == "json" and sample_file(endpoint)
]


def _mutants(value: Any) -> list[Any]:
    """The body with one thing wrong: a field gone, null, renamed, another type, a list empty."""
    found: list[Any] = []
    if isinstance(value, dict):
        for name in value:
            found.append({k: v for k, v in value.items() if k != name})
            wrong: list[Any] = [None, True, [], {}, "nonsense", -1e99]
            found += [{**value, name: other} for other in wrong]
            found.append({(k + "_new" if k == name else k): v for k, v in value.items()})
            found += [{**value, name: inner} for inner in _mutants(value[name])[:12]]
        return found
    if isinstance(value, list):
        found += [[], {}, None]
        for place, item in enumerate(value[:2]):
            for inner in _mutants(item)[:60]:
                found.append([*value[:place], inner, *value[place + 1 :]])
        return found
    return [None, True, "nonsense"]


@pytest.mark.parametrize("endpoint", MUTATED)
def test_a_mutated_answer_ends_in_a_name_and_never_raises(endpoint: Endpoint) -> None:
    file = sample_file(endpoint)
    assert file
    body = json.loads(file.read_bytes())
    ask = endpoint.asks()[0]
    for mutant in [*_mutants(body)[:400], {"error": "Too many requests"}, {"msg": "key required"}]:
        raw = json.dumps(mutant).encode()
        found = extract(endpoint, ask, Answer(200, raw, "", NOW), "c")
        assert len(found.rows) + found.left_out + len(found.rejects) == found.records
        assert found.outcome == "ok" or found.reason
        for row in found.rows:
            type(row).model_validate(row.model_dump())
