"""One answer harms nobody else: the wall around each endpoint, the bounds, the clock."""

import json
import os
import signal
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crypto_pipeline.collection import backoff
from crypto_pipeline.collection.collect import collect
from crypto_pipeline.collection.interrupts import Interrupted
from crypto_pipeline.collection.limits import LIMITS, Room
from crypto_pipeline.collection.results import Collection
from crypto_pipeline.settings import SettingError
from crypto_pipeline.sources import Source
from crypto_pipeline.sources.spec import Endpoint, Key, minutes
from crypto_pipeline.tables import BlockchainStats
from crypto_pipeline.warehouse import Warehouse
from crypto_pipeline_tests.conftest import Canned, coins, source
from crypto_pipeline_tests.test_collect import upstream
from crypto_pipeline_tests.test_warehouse import count
from crypto_pipeline_tests.upstream import Rule, Upstream

__all__ = ["upstream"]


@pytest.fixture
def canned() -> Canned:
    return Canned({"good.example/prices": coins(100, 200), "bad.example/prices": coins(1, 2, 3)})


def run(warehouse: Warehouse, *among: Endpoint, name: str = "c1", **about: Any) -> Collection:
    tables = ["market_prices", "cached_market_data", "blockchain_stats"]
    return collect(tables, name, warehouse=warehouse, among=among, **about)


def of(collection: Collection, source: str) -> Any:
    (result,) = (r for r in collection.results if r.endpoint.source.name == source)
    return result


# The wall


def test_half_an_emoji_costs_one_record(
    warehouse: Warehouse, upstream: Upstream, canned: Canned
) -> None:
    body = json.dumps(coins(1, 2, 3)).replace('"C0"', '"x"').replace('"c0"', r'"A\ud83dUSDT"')
    canned.bodies["bad.example/prices"] = body.encode()
    collection = run(warehouse, source("bad"), source("good"))
    bad = of(collection, "bad")
    assert (bad.outcome, len(bad.rows), len(bad.rejects)) == ("ok", 2, 1)
    assert warehouse.query("SELECT record LIKE '%A\\ud83dUSDT%' FROM rejected_rows") == [(True,)]
    assert count(warehouse, "market_prices") == 4


def test_half_an_emoji_in_an_error_is_an_error(
    warehouse: Warehouse, upstream: Upstream, canned: Canned
) -> None:
    canned.bodies["bad.example/prices"] = rb'{"label": "X", "message": "bad \ud83d \u001b[31m"}'
    collection = run(warehouse, source("bad"), source("good"))
    assert (of(collection, "bad").outcome, of(collection, "good").outcome) == ("refused", "ok")
    assert warehouse.query("SELECT reason FROM data_collections WHERE source = 'bad'") == [
        (r"bad \ud83d \x1b[31m",)
    ]


def test_a_retry_after_of_twelve_digits_is_a_day(warehouse: Warehouse, upstream: Upstream) -> None:
    upstream.rules.append(Rule("bad", status=429, headers={"Retry-After": "999999999999"}))
    collection = run(warehouse, source("bad"), source("good"))
    assert (of(collection, "bad").outcome, of(collection, "good").outcome) == ("throttled", "ok")
    waits = "SELECT told_to_wait_until - asked_at FROM source_health WHERE source = 'bad'"
    assert warehouse.query(waits) == [(timedelta(days=1),)]


def test_a_503_with_retry_after_is_obeyed(warehouse: Warehouse, upstream: Upstream) -> None:
    upstream.rules.append(Rule("bad", status=503, headers={"Retry-After": "3600"}))
    run(warehouse, source("bad"), source("good"))
    again = run(warehouse, source("bad"), source("good"), name="c2", force=True)
    assert of(again, "bad").skip == "told_to_wait"


@pytest.mark.parametrize("number", ["1e999", '"x"', "[1]", "null", "7"])
def test_an_answer_to_no_call_of_ours_is_changed(
    warehouse: Warehouse, upstream: Upstream, canned: Canned, number: str
) -> None:
    node = Source("node", "https://node.example", docs="https://node.example/docs", gap=0)
    endpoint = node.rpc(
        BlockchainStats,
        {"block": ["eth_blockNumber"]},
        row=lambda r: {"blockchain": "x", "latest_block": int(r["block"], 16)},
        min_interval=minutes(5),
    )
    canned.bodies["node.example"] = f'{{"jsonrpc":"2.0","id":{number},"result":"0x1"}}'.encode()
    collection = run(warehouse, endpoint, source("good"))
    assert of(collection, "node").outcome == "changed"
    assert of(collection, "good").outcome == "ok"


class OutOfMind(Exception):
    """What no code here expects."""


def mad(_: Any) -> Any:
    raise OutOfMind("an \ud83d oddity")


@pytest.mark.parametrize("part", ["records", "row"])
def test_whatever_is_raised_over_an_answer_is_its_endpoint_s_alone(
    warehouse: Warehouse, upstream: Upstream, part: str
) -> None:
    collection = run(warehouse, source("bad", None, **{part: mad}), source("good"))
    bad = of(collection, "bad")
    assert (bad.outcome, bad.records, len(bad.rows)) == ("fault", 0, 0)
    assert "a fault of ours, please report it: OutOfMind" in bad.reason
    assert bad.reason.endswith(f"at test_wall.py:{mad.__code__.co_firstlineno + 1}")
    assert count(warehouse, "market_prices") == 2
    outcomes = warehouse.query("SELECT source, outcome FROM source_health ORDER BY 1")
    assert outcomes == [("bad", "fault"), ("good", "ok")]


def test_what_is_raised_over_the_account_of_one_costs_that_one(
    warehouse: Warehouse, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = backoff.after

    def broken(endpoint: Endpoint, known: Any, outcome: Any, *about: Any, **more: Any) -> Any:
        if endpoint.source.name == "bad" and outcome == "ok":
            raise OverflowError("date value out of range")
        return real(endpoint, known, outcome, *about, **more)

    monkeypatch.setattr(backoff, "after", broken)
    collection = run(warehouse, source("bad"), source("good"))
    assert (of(collection, "bad").outcome, of(collection, "good").outcome) == ("fault", "ok")
    assert warehouse.query("SELECT DISTINCT source FROM market_prices") == [("good",)]
    assert count(warehouse, "connection_attempts") == 2


# Bounds


def test_the_rows_of_a_collection_have_a_bound(
    warehouse: Warehouse, upstream: Upstream, canned: Canned
) -> None:
    canned.bodies["bad.example/prices"] = coins(*[1.0] * 5_000)
    collection = run(warehouse, source("bad"), source("good"), limits=replace(LIMITS, rows=1_000))
    bad = of(collection, "bad")
    assert (bad.outcome, bad.records, len(bad.rows)) == ("changed", 0, 0)
    assert "of 5,000 records: a collection has room for 1,000 rows" in bad.reason
    assert len(of(collection, "good").rows) == 2


def test_who_is_not_reached_in_time_is_not_blamed(warehouse: Warehouse, upstream: Upstream) -> None:
    upstream.rules.append(Rule("bad", fault="silent"))
    collection = run(warehouse, source("bad"), source("good"), limits=replace(LIMITS, whole_s=1.0))
    assert of(collection, "bad").skip == "out_of_time"
    assert len(of(collection, "bad").attempts) == 1
    assert of(collection, "good").outcome == "ok"
    assert warehouse.query("SELECT source FROM source_health") == [("good",)]


def test_who_was_told_to_wait_waits_though_the_rest_of_its_answers_never_came(
    warehouse: Warehouse, upstream: Upstream
) -> None:
    upstream.rules += [
        Rule("bad.*/a", status=429, headers={"Retry-After": "3000"}),
        Rule("bad.*/b", fault="silent"),
    ]
    bad = source("bad", path="/prices/{each}", each={"a": {}, "b": {}})
    found = of(run(warehouse, bad, limits=replace(LIMITS, whole_s=1.0)), "bad")
    assert (found.outcome, found.retry_after) == ("throttled", 3000)
    assert of(run(warehouse, bad, name="c2"), "bad").skip == "told_to_wait"


def test_a_body_that_is_huge_in_memory_is_not_read(
    warehouse: Warehouse, upstream: Upstream, canned: Canned
) -> None:
    canned.bodies["bad.example/prices"] = b'{"data": [' + b"[]," * 900_000 + b"[]]}"
    collection = run(warehouse, source("bad"), source("good"))
    assert "bytes of memory, more than" in of(collection, "bad").reason
    assert of(collection, "good").outcome == "ok"


def test_refused_records_are_counted_and_the_first_are_kept(
    warehouse: Warehouse, upstream: Upstream, canned: Canned
) -> None:
    canned.bodies["bad.example/prices"] = {"data": [{"id": n} for n in range(3_000)]}
    bad = of(run(warehouse, source("bad"), source("good")), "bad")
    assert (len(bad.rejects), len(bad.rejects.kept), bad.records) == (3_000, 50, 3_000)
    assert count(warehouse, "rejected_rows") == 50


def test_many_who_want_room_come_one_after_the_other() -> None:
    room = Room(size=1_000, small=10)
    most = [0]
    used = [0]
    lock = threading.Lock()

    def read() -> None:
        with room.reading() as reading:
            for _ in range(9):
                reading.take(100, time.monotonic() + 60)
                with lock:
                    used[0] += 100
                    most[0] = max(most[0], used[0])
        with lock:
            used[0] -= reading.taken
        room.give_back(reading.taken)

    threads = [threading.Thread(target=read) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert used[0] == 0
    assert most[0] <= 1_000 + 900


def test_who_finds_no_room_in_time_is_told() -> None:
    room = Room(size=100, small=10)
    with room.reading() as first, room.reading() as second:
        first.take(90, time.monotonic() + 5)
        with pytest.raises(TimeoutError, match="no room"):
            second.take(50, time.monotonic() + 0.05)
        second.take(10, time.monotonic() + 0.05)  # a small one always finds some


# Not modified


def test_a_304_that_nobody_asked_for_is_no_good_answer(
    warehouse: Warehouse, upstream: Upstream
) -> None:
    upstream.rules.append(Rule("bad", status=304, body=b"", headers={"ETag": '"x"'}))
    collection = run(warehouse, source("bad", conditional=True), source("good"))
    assert of(collection, "bad").outcome == "changed"
    assert warehouse.query("SELECT etag FROM source_health WHERE source = 'bad'") == [(None,)]


def test_a_304_without_end_is_asked_for_the_whole_once_a_day(
    warehouse: Warehouse, upstream: Upstream
) -> None:
    upstream.rules.append(Rule("bad", headers={"ETag": '"1"'}, times=1))
    upstream.rules.append(Rule("bad", status=304, body=b"", times=1))
    for name in ("c1", "c2"):
        run(warehouse, source("bad", conditional=True), name=name, force=True)
    with warehouse.connect() as connection:
        connection.execute("UPDATE source_health SET answered_at = answered_at - INTERVAL 25 HOUR")
    run(warehouse, source("bad", conditional=True), name="c3", force=True)
    asked = [r.headers.get("If-None-Match") for r in upstream.received]
    assert asked == [None, '"1"', None]


# The clock


def test_a_clock_that_was_ahead_silences_nobody(warehouse: Warehouse, upstream: Upstream) -> None:
    run(warehouse, source("good"))
    shift = "+ INTERVAL 400 DAY"
    with warehouse.connect() as connection:
        connection.execute(
            f"UPDATE source_health SET asked_at = asked_at {shift}, "
            f"next_allowed_at = next_allowed_at {shift}"
        )
        connection.execute(f"UPDATE rate_limit_usage SET window_start = window_start {shift}")
        connection.execute(f"UPDATE market_prices SET timestamp = timestamp {shift}, price_usd = 7")
        connection.execute(f"UPDATE agreed_ranges SET hour = hour {shift}, high_usd = 1e9")
    again = run(warehouse, source("good"), name="c2")
    assert of(again, "good").outcome == "ok"
    agreed = "SELECT symbol, price_usd, high_24h FROM cached_market_data ORDER BY 1"
    assert warehouse.query(agreed) == [("C0", 100.0, 100.0), ("C1", 200.0, 200.0)]
    assert of(run(warehouse, source("good"), name="c3"), "good").skip == "not_due"
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    calls = "SELECT calls FROM rate_limit_usage WHERE period = 'day' AND window_start = ?"
    assert warehouse.query(calls, [today]) == [(1,)]


# Interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_what_was_answered(
    warehouse: Warehouse, upstream: Upstream, number: signal.Signals
) -> None:
    upstream.rules.append(Rule("bad", fault="silent"))
    found = signal.signal(number, signal.default_int_handler)  # a background job ignores Ctrl-C

    def ended(result: Any, *_: Any) -> None:
        if result.good:
            os.kill(os.getpid(), number)

    try:
        with pytest.raises(Interrupted) as stopped:
            run(warehouse, source("bad"), source("good"), progress=ended)
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, found)
    collection = stopped.value.collection
    assert (collection.interrupted, collection.kept) == (number, "spool")
    assert of(collection, "bad").skip == "interrupted"
    assert of(collection, "good").outcome == "ok"
    assert warehouse.drain() == 1
    assert count(warehouse, "market_prices") == 2


# Keys


def test_a_key_with_a_line_break_is_refused_by_its_name(
    warehouse: Warehouse, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COINGECKO_API_KEY", "secret-part\r\nsecret-rest")
    with pytest.raises(SettingError, match="COINGECKO_API_KEY") as refused:
        run(warehouse, source("good"))
    assert "secret" not in str(refused.value)
    assert not upstream.received


def test_an_echoed_key_is_no_validator(
    warehouse: Warehouse, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crypto_pipeline.collection.collect.key_names", lambda: ["BAD_EXAMPLE_KEY"])
    monkeypatch.setenv("BAD_EXAMPLE_KEY", "canary-0123456789")
    upstream.rules.append(
        Rule("bad", headers={"ETag": '"canary-0123456789"', "Last-Modified": "canary-0123456789"})
    )
    key = Key(env="BAD_EXAMPLE_KEY", query="k")
    run(warehouse, source("bad", key, conditional=True), source("good"))
    found = "SELECT etag, last_modified FROM source_health WHERE source = 'bad'"
    assert warehouse.query(found) == [(None, None)]
    assert b"canary" not in warehouse.path.read_bytes()
