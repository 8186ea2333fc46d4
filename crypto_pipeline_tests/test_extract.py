"""From answers to rows: the account of every record, and errors called by their names."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_pipeline.collection.exchange import Answer
from crypto_pipeline.collection.extract import Extraction, extract
from crypto_pipeline.collection.failures import message_in
from crypto_pipeline.sources import ENDPOINTS, SOURCES, Source
from crypto_pipeline.sources.spec import Ask, Endpoint
from crypto_pipeline.sources.values import candle, millis
from crypto_pipeline.tables import Candle
from crypto_pipeline_tests.conftest import coins, source
from crypto_pipeline_tests.upstream import sample_file

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ALPHA = source("alpha")


def read(
    body: object, endpoint: Endpoint = ALPHA, status: int | None = 200, **about: Any
) -> Extraction:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return extract(endpoint, Ask(), Answer(status, raw, "", NOW, **about), "c")


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


def test_a_time_in_the_future_is_refused() -> None:
    shop = Source("shop", "https://shop.example", docs="https://shop.example/docs")
    endpoint = shop.endpoint(
        Candle,
        "/candles",
        fixed={"symbol": "BTC", "quote": "USD", "interval": "5m"},
        row=lambda k: candle(millis(k[0]), *k[1:]),
    )
    start = int(datetime(2026, 11, 23, 11, 55, tzinfo=UTC).timestamp() * 1000)
    rows = [[start + n * 300_000, 1, 2, 1, 2, 9] for n in (0, 1, 1000)]
    found = read(rows, endpoint)
    assert (len(found.rows), found.left_out, len(found.rejects)) == (1, 1, 1)
    assert "in the future" in found.rejects[0].reason


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
