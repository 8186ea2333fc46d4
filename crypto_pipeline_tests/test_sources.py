"""Conformance: every endpoint, through the real extraction, over its sample and its recordings."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import Any

import pytest
from pydantic_core import to_jsonable_python

from crypto_pipeline.addresses import article_key
from crypto_pipeline.collection.exchange import Answer
from crypto_pipeline.collection.extract import Extraction, extract
from crypto_pipeline.sources import ENDPOINTS, Endpoint
from crypto_pipeline.sources.spec import Ask
from crypto_pipeline.sources.values import list_at
from crypto_pipeline.tables import Row
from crypto_pipeline_tests.fresh import SAMPLED_AT as NOW
from crypto_pipeline_tests.recorded import answered, clock_of
from crypto_pipeline_tests.upstream import RECORDINGS, SAMPLES, Recording, sample_file

COLLECTION = "test"
IDS = sorted(ENDPOINTS)

OUTDATED = {
    # Answers to a request for another interval than ours
    "cached_ohlc htx/ohlcv-0-sample.json": "candles of a minute",
    "cached_ohlc whitebit/ohlcv-0-sample.json": "candles of a minute",
    "cached_ohlc xt/ohlcv-0-sample.json": "candles of a minute",
    "cached_ohlc cryptocom/ohlcv-0-sample.json": "candles of a minute",
    "cached_ohlc bitrue/ohlcv-0-sample.json": "candles of a minute",
    "cached_ohlc coinex/ohlcv-0-sample.json": "candles of a minute",
    "cached_ohlc hitbtc/ohlcv-0-sample.json": "candles of a minute",
    "cached_ohlc woo/ohlcv-0-sample.json": "candles of a minute",
    "cached_ohlc hashkey/ohlcv-0-sample.json": "candles of a minute",
    "cached_ohlc p2b/ohlcv-0-sample.json": "candles of a minute",
    "cached_ohlc bithumb/ohlcv-0-sample.json": "candles of a minute",
    "cached_ohlc btcmarkets/ohlcv-0-sample.json": "candles of a minute",
    # Trimmed to what an endpoint leaves out on purpose
    "market_prices bigone/tickers-0-sample.json": "only PCX-BTC: no dollar quote",
    "market_prices bitvavo/tickers-0-sample.json": "only ADA-BTC: no dollar quote",
    "market_prices bybit/tickers-0-sample.json": "one inverse contract, no spot market",
    "cached_ohlc bybit/ohlcv-0-sample.json": "candles of an inverse contract",
    "cached_ohlc onetrading/ohlcv-0-sample.json": "candles of an hour",
    "market_prices cryptocom/get-tickers-oi-sample.json": "only a perpetual",
    "market_prices cryptocom/tickers-0-sample.json": "only a perpetual",
    "market_prices deribit/tickers-0-sample.json": "only an option",
    "market_prices indodax/tickers-0-sample.json": "only btc_idr: no dollar quote",
    "market_prices kraken/ticker-bcheur-2017.json": "only BCHEUR: no dollar quote",
    "market_prices okx/tickers-0-sample.json": "only BCD-BTC: no dollar quote",
    "funding_rates deribit/book-summary-btc-2022.json": "only options, no perpetual",
    "open_interest deribit/book-summary-btc-2022.json": "only options, no perpetual",
    "whale_transactions blockscout/v2-transactions-docs-shape.json": "one transaction of no size",
    "whale_transactions hedera/transactions.json": "one small transfer",
    "whale_transactions toncenter/v3-transactions.json": "one transaction of no size",
    "whale_transactions trongrid/getnowblock.json": "no transfer of a million TRX",
    "whale_transactions vechain/logs-transfer.json": "no transfer of five million VET",
    # Trimmed to markets that say nothing of another currency
    "fiat_quotes kraken/ticker-bcheur-2017.json": "neither a dollar coin nor bitcoin",
    "fiat_quotes kraken/ticker-xbtusdt.json": "only against a dollar coin",
    "fiat_quotes okx/tickers-0-sample.json": "only BCD-BTC",
    "fiat_quotes bybit/tickers-0-sample.json": "one inverse contract, no spot market",
    "fiat_quotes bitstamp/tickers-0-sample.json": "no list around it",
    "fiat_quotes bitvavo/tickers-0-sample.json": "only ADA-BTC",
    "fiat_quotes zebpay/tickers-0-sample.json": "no envelope around it",
    "fiat_quotes bitso/ticker-btc-mxn-2018.json": "one book asked for, an object",
    # Cut on purpose: its whole entries are rows all the same
    "news_articles hard_feeds/handmade-truncated-body.xml": "no end of the feed",
    # One record without the list or the envelope around it
    "market_prices bitso/ticker-btc-mxn-2018.json": "one book asked for, an object",
    "market_prices bitstamp/tickers-0-sample.json": "no list around it",
    "market_prices coinmarketcap/listing-record-bitcoin-2021.json": "no envelope around it",
    "market_prices cryptomus/tickers-0-sample.json": "no envelope around it",
    "market_prices mexc/spot-ticker-24hr-btcusdt.json": "one symbol asked for, an object",
    "market_prices toobit/tickers-0-sample.json": "no list around it",
    "funding_rates toobit/fundingrates-0-sample.json": "no list around it",
    "funding_rates phemex/openinterest-0-sample.json": "one symbol asked for, an object",
    "open_interest phemex/openinterest-0-sample.json": "one symbol asked for, an object",
    "blockchain_stats stellar/ledger.json": "no page around it",
    # Its own clock is 17 hours ahead of its capture
    "market_prices coinmarketcap_dataapi/v3-cryptocurrency-listing-2023.json": "two days mixed",
    # Bitcoin, asked for by the same address without the category
    **dict.fromkeys(
        (
            "stablecoin_supply coingecko/coins-markets-bitcoin-2021.json",
            "stablecoin_supply coingecko/coins-markets-docs.json",
            "stablecoin_supply coingecko/coins-markets-btc-eth-2026.json",
            "stablecoin_supply coingecko/coins-markets-btc-eth-2025.json",
        ),
        "no stablecoins",
    ),
    "whale_transactions blockchair/bitcoin-transactions.json": "one transaction of 2,409 dollars",
    # Another shape than the source answers with today
    "sentiment_metrics binance_futures_data/top-account-2020.json": "2020: pair for symbol",
    "global_market coingecko/global-docs.json": "documentation that writes date for data",
    "funding_rates binance_futures/dapi-premium-index-one.json": "2020, dated: no funding",
    "funding_rates delta/tickers-all-2020.json": "2020: no funding_rate",
    "open_interest delta/tickers-all-2020.json": "2020: no oi_value",
    "open_interest bitget_futures/tickers-1-sample.json": "a spot ticker: no holdingAmount",
    "open_interest coinex/tickers-1-sample.json": "older: no open_interest_volume",
    "funding_rates extended/tickers-0-sample.json": "a stub of documentation: no status",
    "open_interest extended/tickers-0-sample.json": "a stub of documentation: no status",
    "funding_rates orderly/fundingrates-0-sample.json": "documentation with a rate of 123",
}
"""Table and recording, and why no rows come of it; one that has become readable has to go."""


def written(endpoint: Endpoint, recording: Recording) -> str:
    """How OUTDATED writes what an endpoint makes of a recording."""
    return f"{endpoint.model.table.name} {recording.file.parent.name}/{recording.file.name}"


def deserved(recording: Recording) -> set[str]:
    """The outcomes that are right for an answer that is not outdated."""
    if recording.status == 429:
        return {"throttled"}
    if recording.status >= 500:
        return {"unreachable"}
    if recording.status != 200:
        return {"refused", "throttled"}
    if "error-200" in recording.file.name:
        return {"throttled", "refused", "unreachable"}
    return {"ok"}


def answer(
    body: bytes, status: int = 200, kind: str = "application/json", at: datetime = NOW
) -> Answer:
    return Answer(status, body, kind, at)


@cache
def sample_extraction(endpoint_id: str) -> Extraction:
    endpoint = ENDPOINTS[endpoint_id]
    file = sample_file(endpoint)
    assert file, f"{endpoint_id}: add crypto_pipeline_tests/samples/{endpoint_id}.json (or .xml)"
    return extract(endpoint, endpoint.asks()[0], answer(file.read_bytes()), COLLECTION)


def expectation(endpoint_id: str) -> list[dict[str, Any]]:
    file = SAMPLES / f"{endpoint_id}.expected.json"
    assert file.exists(), f"{endpoint_id}: write the rows of its sample by hand into {file.name}"
    rows: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    return rows


def differences(
    endpoint: Endpoint, expected: Sequence[dict[str, Any]], found: Sequence[Row]
) -> list[str]:
    """Where rows are not as expected; a column left away is NULL, what the engine fills, or what
    follows from another column."""
    table = endpoint.model.table
    unstated = {
        **dict.fromkeys(endpoint.model.model_fields),
        **dict.fromkeys(table.filled_by("source"), endpoint.source.name),
        **dict.fromkeys(table.filled_by("observed_at"), to_jsonable_python(NOW)),
        **dict.fromkeys(table.filled_by("collection_id"), COLLECTION),
    }
    wrong = []
    if len(expected) != len(found):
        wrong.append(f"{endpoint.id}: rows: expected {len(expected)}, got {len(found)}")
    for place, (stated, row) in enumerate(zip(expected, found, strict=False), 1):
        got = row.model_dump(mode="json")
        if "article_key" in got:
            unstated["article_key"] = article_key(stated.get("url", ""))
        for name, value in {**unstated, **stated}.items():
            where = f"{endpoint.id}: row {place}: {name}"
            if name not in got:
                wrong.append(f"{where}: no such column")
            elif got[name] != (pytest.approx(value) if isinstance(value, float) else value):
                wrong.append(f"{where}: expected {value!r}, got {got[name]!r}")
    return wrong


def test_every_sample_is_of_an_endpoint() -> None:
    """Else an endpoint that got lost would not be missed."""
    names = {re.sub(r"(\.expected)?\.(json|xml)$", "", file.name) for file in SAMPLES.iterdir()}
    assert names == set(IDS)


@pytest.mark.parametrize("endpoint_id", IDS)
def test_the_sample_becomes_rows(endpoint_id: str) -> None:
    found = sample_extraction(endpoint_id)
    assert found.outcome == "ok", found.reason
    assert found.rows
    assert not found.rejects, found.rejects[0]
    assert len(found.rows) + found.left_out == found.records


@pytest.mark.parametrize("endpoint_id", IDS)
def test_the_sample_becomes_the_rows_a_person_expects(endpoint_id: str) -> None:
    expected = expectation(endpoint_id)
    assert expected
    wrong = differences(ENDPOINTS[endpoint_id], expected, sample_extraction(endpoint_id).rows)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("tamper", "seen"),
    [
        pytest.param(lambda rows: rows.pop(), "rows: expected 1, got 2", id="a row lacks"),
        pytest.param(
            lambda rows: rows.append(rows[0]), "rows: expected 3, got 2", id="a row too many"
        ),
        pytest.param(
            lambda rows: rows[1].pop("value"),
            "row 2: value: expected None, got 24.0",
            id="a value lacks",
        ),
        pytest.param(
            lambda rows: rows[0].update(symbol="BTC"),
            "row 1: symbol: expected 'BTC', got None",
            id="a value too many",
        ),
        pytest.param(
            lambda rows: rows[0].update(mood=57), "row 1: mood: no such column", id="a wrong column"
        ),
        pytest.param(
            lambda rows: rows[0].pop("timestamp"),
            "row 1: timestamp: expected '2026-11-23T12:00:00Z', got '2026-11-23T00:00:00Z'",
            id="a time of the source's own lacks",
        ),
        pytest.param(
            lambda rows: rows[0].update(source="me"),
            "row 1: source: expected 'me', got 'alternative_me'",
            id="a wrong value of the engine's",
        ),
    ],
)
def test_whatever_an_expectation_lacks_or_adds_is_seen(
    tamper: Callable[[list[dict[str, Any]]], object], seen: str
) -> None:
    endpoint = ENDPOINTS["alternative_me.sentiment_metrics"]
    found = sample_extraction(endpoint.id).rows
    expected = expectation(endpoint.id)
    assert differences(endpoint, expected, found) == []
    tamper(expected)
    assert differences(endpoint, expected, found) == [f"{endpoint.id}: {seen}"]


@pytest.mark.parametrize("endpoint_id", IDS)
def test_the_keys_of_the_sample_are_unique(endpoint_id: str) -> None:
    key = ENDPOINTS[endpoint_id].model.table.key
    keys = [
        tuple(getattr(row, name) for name in key) for row in sample_extraction(endpoint_id).rows
    ]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("endpoint_id", IDS)
def test_times_of_the_sample_are_plausible(endpoint_id: str) -> None:
    for row in sample_extraction(endpoint_id).rows:
        for name, value in row:
            if isinstance(value, datetime):
                assert datetime(2009, 1, 1, tzinfo=UTC) < value < NOW + timedelta(days=2), name


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value in a parsed body that holds no others, and the parts of the path to it."""
    if isinstance(value, dict | list):
        for place, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, (*path, str(place)))
    else:
        yield path, value


def replaced(value: Any, parts: Sequence[str], other: object) -> Any:
    """A copy with another value at a dotted path."""
    if not parts:
        return other
    copy: Any = value.copy() if isinstance(value, dict) else list(value)
    place = parts[0] if isinstance(value, dict) else int(parts[0])
    copy[place] = replaced(copy[place], parts[1:], other)
    return copy


def numeric(value: Any) -> bool:
    if isinstance(value, str):
        return bool(re.fullmatch(r"-?\d+(\.\d+)?|0x[0-9a-f]{1,20}", value))
    return isinstance(value, int | float) and not isinstance(value, bool)


def numbers_of(rows: Sequence[Row]) -> set[tuple[str, float]]:
    return {
        (name, value)
        for row in rows
        for name, value in row
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


@pytest.mark.parametrize("endpoint_id", [i for i in IDS if ENDPOINTS[i].read == "json"])
def test_no_number_is_made_of_what_is_none(endpoint_id: str) -> None:
    """true in place of any number of the sample is never counted as 1."""
    endpoint = ENDPOINTS[endpoint_id]
    file = sample_file(endpoint)
    assert file
    body = json.loads(file.read_bytes())
    known = numbers_of(sample_extraction(endpoint_id).rows)
    places = [path for path, value in leaves(body) if numeric(value)]
    for path in places[:300]:
        bent = json.dumps(replaced(body, path, other=True)).encode()
        found = extract(endpoint, endpoint.asks()[0], answer(bent), COLLECTION)
        made = numbers_of(found.rows) - known
        assert not made, f"{path}: {made}"


def about_another(endpoint: Endpoint, path: str, other: object) -> Endpoint:
    """The endpoint, reading its sample as if the answer were about something else."""
    if not path.startswith("*."):
        return endpoint
    where = endpoint.records
    read = where if callable(where) else partial(list_at, path=where)
    parts = path[2:].split(".")

    def records(body: Any) -> list[Any]:
        return [replaced(record, parts, other) for record in read(body)]

    return replace(endpoint, records=records)


@pytest.mark.parametrize(
    ("endpoint_id", "path"), [(i, path) for i in IDS for path in ENDPOINTS[i].repeats]
)
@pytest.mark.parametrize("other", ["OTHERUSDT", "", None, 7, True, {"symbol": "BTC"}])
def test_an_answer_about_something_else_gives_no_row(
    endpoint_id: str, path: str, other: object
) -> None:
    endpoint = ENDPOINTS[endpoint_id]
    file = sample_file(endpoint)
    assert file
    body = json.loads(file.read_bytes())
    if not path.startswith("*."):
        body = replaced(body, path.split("."), other)
    asked = about_another(endpoint, path, other)
    found = extract(asked, endpoint.asks()[0], answer(json.dumps(body).encode()), COLLECTION)
    assert found.outcome == "changed", found.reason
    assert not found.rows
    assert "asked for" in (found.reason or "")


@pytest.mark.skipif(not RECORDINGS.exists(), reason="../shared/recordings is not here")
@pytest.mark.parametrize(
    ("endpoint", "ask", "recording"),
    [
        pytest.param(e, a, r, id=f"{e.id}-{a.each}-{r.file.parent.name}/{r.file.name}")
        for e, a, r in answered()
    ],
)
def test_a_recording_becomes_rows_or_what_its_error_deserves(
    endpoint: Endpoint, ask: Ask, recording: Recording
) -> None:
    reply = recording.reply()
    clock = clock_of(endpoint, recording)
    came = answer(reply.body, reply.status, reply.content_type, clock)
    found = extract(endpoint, ask, came, COLLECTION)
    assert len(found.rows) + found.left_out + len(found.rejects) == found.records
    if written(endpoint, recording) in OUTDATED:
        assert found.outcome in ("empty", "changed"), "it is read again: take it off OUTDATED"
    else:
        assert found.outcome in deserved(recording), f"{found.outcome}: {found.reason}"


@pytest.mark.skipif(not RECORDINGS.exists(), reason="../shared/recordings is not here")
def test_what_is_outdated_is_a_recording_of_an_endpoint() -> None:
    assert set(OUTDATED) <= {written(e, r) for e, _, r in answered()}
