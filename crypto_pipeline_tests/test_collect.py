"""Whole collections: real HTTP to a misbehaving upstream, a real DuckDB file."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crypto_pipeline.collection import fetch
from crypto_pipeline.collection.collect import collect
from crypto_pipeline.collection.exchange import Answer, Request
from crypto_pipeline.collection.limits import Limits
from crypto_pipeline.collection.results import Collection
from crypto_pipeline.sources import ENDPOINTS, SOURCES, Source
from crypto_pipeline.sources.spec import Endpoint, Key
from crypto_pipeline.tables import MarketPrice
from crypto_pipeline.warehouse import Warehouse
from crypto_pipeline_tests.conftest import Canned, coins, price, source
from crypto_pipeline_tests.test_warehouse import count, held
from crypto_pipeline_tests.upstream import Rule, Upstream

HEALTHY = ("good", "fine")
SHORT = Limits(read_s=1.0, deadline_s=1.5, grace_s=0.5)


@pytest.fixture
def canned() -> Canned:
    return Canned({f"{name}.example/prices": coins(100, 200) for name in HEALTHY})


@pytest.fixture
def upstream(canned: Canned, monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    with Upstream(canned) as server:
        monkeypatch.setenv("CRYPTO_PIPELINE_UPSTREAM", server.url)
        yield server


def run(warehouse: Warehouse, *among: Endpoint, name: str = "c1", **about: Any) -> Collection:
    tables = ["market_prices", "cached_market_data"]
    return collect(tables, name, warehouse=warehouse, among=among, **about)


def outcomes(collection: Collection) -> dict[str, str]:
    return {r.endpoint.source.name: r.outcome for r in collection.results}


def test_a_collection_leaves_rows_attempts_outcomes_and_health(
    warehouse: Warehouse, upstream: Upstream
) -> None:
    collection = run(warehouse, source("good"), collection_type="ui")
    assert collection.failed is None
    assert count(warehouse, "market_prices") == 2
    assert warehouse.query(
        "SELECT endpoint, collection_type, outcome, records, rows, stored FROM data_collections"
    ) == [("good.market_prices", "ui", "ok", 2, 2, 2)]
    assert warehouse.query("SELECT status, url FROM connection_attempts") == [
        (200, "https://good.example/prices")
    ]
    assert warehouse.query("SELECT outcome, circuit FROM source_health") == [("ok", "closed")]
    assert warehouse.query("SELECT symbol, rank FROM coins ORDER BY rank") == [("C0", 1), ("C1", 2)]
    assert warehouse.query("SELECT symbol, price_usd FROM cached_market_data ORDER BY 1") == [
        ("C0", 100.0),
        ("C1", 200.0),
    ]


FAULTS = [
    (Rule("bad", status=429, headers={"Retry-After": "900"}), "throttled"),
    (Rule("bad", status=451, body=b"restricted location"), "refused"),
    (Rule("bad", status=500), "unreachable"),
    (Rule("bad", fault="html"), "changed"),
    (Rule("bad", body=b'{"data": [{"id"'), "changed"),
    (Rule("bad", fault="drip"), "unreachable"),
    (Rule("bad", fault="drip_headers"), "unreachable"),
    (Rule("bad", fault="silent"), "unreachable"),
    (Rule("bad", fault="reset"), "unreachable"),
    (Rule("bad", fault="truncate"), "unreachable"),
    (Rule("bad", body=b""), "empty"),
    (Rule("bad", body=b'{"data": []}'), "empty"),
    (Rule("bad", body=b'{"error": "Rate limit exceeded"}'), "throttled"),
    (Rule("bad", body=b'{"data": [{"id": "x", "symbol": "X", "price": "free"}]}'), "changed"),
]


@pytest.mark.parametrize(
    ("rule", "outcome"), FAULTS, ids=lambda v: getattr(v, "fault", None) or str(v)[:40]
)
def test_a_bad_source_leaves_its_outcome_and_the_others_rows(
    warehouse: Warehouse,
    upstream: Upstream,
    canned: Canned,
    rule: Rule,
    outcome: str,
) -> None:
    canned.bodies["bad.example/prices"] = coins(1, 2, 3)
    upstream.rules.append(rule)
    among = source("good"), source("bad"), source("fine")
    collection = run(warehouse, *among, limits=SHORT)
    assert outcomes(collection) == {"good": "ok", "bad": outcome, "fine": "ok"}
    assert collection.failed is None
    assert count(warehouse, "market_prices") == 4
    ((reason,),) = warehouse.query("SELECT reason FROM data_collections WHERE source = 'bad'")
    assert reason
    rejected = count(warehouse, "rejected_rows")
    assert rejected == sum(len(r.rejects) for r in collection.results)


def test_when_nobody_answers_the_collection_failed_and_is_kept(
    warehouse: Warehouse, upstream: Upstream
) -> None:
    upstream.rules.append(Rule(".", status=500))
    collection = run(warehouse, source("good"), source("fine"))
    assert "none of the 2 endpoints asked" in (collection.failed or "")
    assert count(warehouse, "data_collections") == 2
    assert count(warehouse, "connection_attempts") == 2


def test_what_is_not_due_is_not_asked_even_by_another_process(
    warehouse: Warehouse, upstream: Upstream
) -> None:
    run(warehouse, source("good"))
    again = run(Warehouse(warehouse.path), source("good"), name="c2")
    assert outcomes(again) == {"good": "skipped"}
    assert again.failed is None
    assert len(upstream.received) == 1
    forced = run(warehouse, source("good"), name="c3", force=True)
    assert outcomes(forced) == {"good": "ok"}


def test_who_said_wait_is_not_asked_again(warehouse: Warehouse, upstream: Upstream) -> None:
    upstream.rules.append(Rule("good", status=429, headers={"Retry-After": "900"}))
    run(warehouse, source("good"), source("fine"))
    again = run(warehouse, source("good"), source("fine"), name="c2", force=True)
    assert outcomes(again) == {"good": "skipped", "fine": "ok"}
    assert again.results[0].skip == "told_to_wait"
    assert "told to wait" in (again.results[0].reason or "")
    assert sum(asked.host == "good.example" for asked in upstream.received) == 1


def test_equal_requests_are_made_once(warehouse: Warehouse, upstream: Upstream) -> None:
    first = source("good")
    second = first.source.endpoint(
        first.model, "/prices", row=first.row, records="data", variant="again"
    )
    collection = run(warehouse, first, second)
    assert [r.outcome for r in collection.results] == ["ok", "ok"]
    assert len(upstream.received) == 1
    assert count(warehouse, "connection_attempts") == 1


def test_an_endpoint_asked_coin_by_coin_is_one_outcome(
    warehouse: Warehouse, upstream: Upstream, canned: Canned
) -> None:
    def shop(name: str) -> Endpoint:
        return source(name).source.endpoint(
            source(name).model,
            "/of/{each}",
            records="data",
            each={coin: {"name": coin.title()} for coin in ("one", "two", "three")},
            row=source(name).row,
            variant="each",
        )

    canned.bodies["good.example/of/one"] = coins(1, start=10)
    canned.bodies["good.example/of/two"] = coins(2, start=20)
    collection = run(warehouse, shop("good"))
    (result,) = collection.results
    assert (result.outcome, result.records, len(result.rows)) == ("ok", 2, 2)
    assert (result.reason or "").startswith("1 of 3 requests failed: three: HTTP 404")
    assert warehouse.query("SELECT symbol, name FROM market_prices ORDER BY 1") == [
        ("C10", "One"),
        ("C20", "Two"),
    ]
    assert len(result.attempts) == 3


def test_a_pool_has_one_answer_and_the_next_takes_over(
    warehouse: Warehouse, upstream: Upstream
) -> None:
    def pool() -> tuple[Endpoint, Endpoint, Endpoint]:
        return tuple(source(n, pool="p") for n in ("dead", "good", "fine"))  # type: ignore[return-value]

    collection = run(warehouse, *pool())
    assert outcomes(collection) == {"dead": "refused", "good": "ok", "fine": "skipped"}
    assert collection.results[2].reason == "the pool has its answer from good.market_prices"
    again = run(warehouse, *pool(), name="c2")
    assert set(outcomes(again).values()) == {"skipped"}
    forced = run(warehouse, *pool(), name="c3", force=True)
    assert outcomes(forced) == {"dead": "skipped", "good": "ok", "fine": "skipped"}


def test_a_conditional_answer_is_unchanged_the_second_time(
    warehouse: Warehouse, upstream: Upstream
) -> None:
    endpoint = source("good", conditional=True)
    upstream.rules.append(Rule("good", headers={"ETag": '"7"'}, times=1))
    upstream.rules.append(Rule("good", status=304, body=b""))
    run(warehouse, endpoint)
    again = run(warehouse, endpoint, name="c2", force=True)
    assert outcomes(again) == {"good": "unchanged"}
    assert upstream.received[1].headers["If-None-Match"] == '"7"'
    assert count(warehouse, "market_prices") == 2


def test_coins_outside_the_universe_are_left_out_and_counted(
    warehouse: Warehouse, upstream: Upstream, canned: Canned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTO_PIPELINE_UNIVERSE", "top:3")
    canned.bodies["good.example/prices"] = coins(*range(1, 8))
    canned.bodies["fine.example/prices"] = coins(*range(1, 8))
    for coin in canned.bodies["fine.example/prices"]["data"]:
        del coin["cap"]
    collection = run(warehouse, source("good"), source("fine"))
    assert [(len(r.rows), r.left_out) for r in collection.results] == [(3, 4), (3, 4)]
    later = run(warehouse, source("fine"), name="c2", force=True)
    assert [(len(r.rows), r.left_out) for r in later.results] == [(3, 4)]


def test_a_list_that_nobody_drew_up_excludes_nobody(
    warehouse: Warehouse, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTO_PIPELINE_UNIVERSE", "top:250")
    assert len(run(warehouse, source("good")).results[0].rows) == 2


def test_a_listed_universe_keeps_its_coins(
    warehouse: Warehouse, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTO_PIPELINE_UNIVERSE", "C1, ETH")
    run(warehouse, source("good"))
    assert warehouse.query("SELECT symbol FROM market_prices") == [("C1",)]


def test_a_locked_file_costs_no_row_and_asks_nobody_twice(
    warehouse: Warehouse, upstream: Upstream
) -> None:
    run(warehouse, source("good"))
    with held(warehouse.path):
        spooled = run(warehouse, source("fine"), name="c2")
        again = run(warehouse, source("good"), source("fine"), name="c3")
    assert spooled.receipt.spooled
    assert outcomes(again) == {"good": "skipped", "fine": "skipped"}
    assert len(upstream.received) == 2
    run(warehouse, source("good"), source("fine"), name="c4")
    assert count(warehouse, "market_prices") == 4
    assert len(upstream.received) == 2
    assert warehouse.query("SELECT count(DISTINCT collection_id) FROM data_collections") == [(4,)]


def test_two_at_once_collect_once(warehouse: Warehouse, upstream: Upstream, tmp_path: Path) -> None:
    upstream.delay = 0.5
    code = program(upstream, warehouse.path, "sys.argv[1]")
    both = [python(code, name) for name in ("c1", "c2")]
    assert [process.wait(60) for process in both] == [0, 0]
    assert len(upstream.received) == 1
    assert count(warehouse, "market_prices") == 2
    assert count(warehouse, "data_collections") == 2


def python(code: str, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.Popen([sys.executable, "-c", code, *arguments], env=environment)


def program(upstream: Upstream, path: Path, collection_id: str) -> str:
    return textwrap.dedent(f"""
        import os, sys
        os.environ["CRYPTO_PIPELINE_UPSTREAM"] = {upstream.url!r}
        from crypto_pipeline.collection.collect import collect
        from crypto_pipeline.warehouse import Warehouse
        from crypto_pipeline_tests.conftest import source
        collect(
            ["market_prices", "cached_market_data"], {collection_id},
            warehouse=Warehouse({str(path)!r}), among=[source("good")],
        )
    """)


@pytest.mark.parametrize("pause", [0.0, 0.2, 0.4, 0.6, 0.8])
def test_a_kill_in_the_middle_loses_nothing_and_duplicates_nothing(
    warehouse: Warehouse, upstream: Upstream, pause: float
) -> None:
    run(warehouse, source("fine"), name="before")
    upstream.delay = 0.3
    victim = python(program(upstream, warehouse.path, "'killed'"))
    while not any(asked.host == "good.example" for asked in upstream.received):
        time.sleep(0.01)
        assert victim.poll() is None
    time.sleep(pause)
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait(10)
    upstream.delay = 0.0
    run(warehouse, source("good"), name="after", force=True)
    found = dict(warehouse.query("SELECT collection_id, count(*) FROM market_prices GROUP BY 1"))
    assert found["before"] == 2
    assert found["after"] == 2
    assert found.get("killed", 2) == 2
    ids = [i for (i,) in warehouse.query("SELECT DISTINCT collection_id FROM data_collections")]
    assert set(found) == set(ids)


def test_a_canary_key_appears_nowhere(
    warehouse: Warehouse,
    upstream: Upstream,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    canary = "CANARY-0123456789"
    monkeypatch.setenv("KEYED_KEY", canary)
    keyed = source("keyed", key=Key(env="KEYED_KEY", query="apikey"))
    monkeypatch.setitem(SOURCES, "keyed", keyed.source)
    for body in (
        f'{{"error": "key {canary} is invalid"}}',
        f'{{"data": [{{"id": "{canary}", "symbol": "{canary}"}}]}}',
    ):
        upstream.rules = [Rule("keyed", body=body.encode())]
        run(warehouse, keyed, source("good"), name=body[:9], force=True)
    upstream.rules = [Rule("keyed", fault="reset")]
    run(warehouse, keyed, name="c3", force=True)
    assert any(canary in repr(asked.query) for asked in upstream.received)
    for file in warehouse.path.parent.rglob("*"):
        if file.is_file():
            assert canary.encode() not in file.read_bytes(), file
    said = capfd.readouterr()
    assert canary not in caplog.text + said.out + said.err


def test_progress_hears_of_every_endpoint(warehouse: Warehouse, upstream: Upstream) -> None:
    heard: list[tuple[str, int, int]] = []
    run(
        warehouse,
        source("good"),
        source("keyed", key=Key(env="NOT_SET", query="k")),
        progress=lambda result, done, total: heard.append((result.outcome, done, total)),
    )
    assert heard == [("skipped", 1, 2), ("ok", 2, 2)]


def test_a_fault_of_ours_costs_one_answer(
    warehouse: Warehouse, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fetch.Fetcher.fetch

    def broken(self: fetch.Fetcher, request: Request, *, retry: bool = True) -> Answer:
        if "bad" in request.url:
            raise RuntimeError("a bug")
        return real(self, request, retry=retry)

    monkeypatch.setattr(fetch.Fetcher, "fetch", broken)
    collection = run(warehouse, source("good"), source("bad"))
    assert outcomes(collection) == {"good": "ok", "bad": "fault"}
    reason = collection.results[1].reason or ""
    assert "a fault of ours, please report it: RuntimeError: a bug at test_collect.py:" in reason


def test_only_the_agreed_view_can_be_made_anew(warehouse: Warehouse, upstream: Upstream) -> None:
    run(warehouse, source("good"))
    with warehouse.connect() as connection:
        connection.execute("DELETE FROM cached_market_data")
    collect(["cached_market_data"], "c2", warehouse=warehouse)
    assert count(warehouse, "cached_market_data") == 2
    assert count(warehouse, "market_prices") == 2


def test_a_host_that_wants_a_long_gap_is_asked_for_one_thing_at_a_time(
    warehouse: Warehouse, upstream: Upstream, canned: Canned
) -> None:
    slow = Source("slow", "https://slow.example", docs="https://slow.example/docs", gap=10)
    names = ("a", "b")
    pair = [
        slow.endpoint(MarketPrice, f"/{n}", records="data", row=price, variant=n) for n in names
    ]
    canned.bodies |= {"slow.example/a": coins(1), "slow.example/b": coins(1, start=5)}
    first = run(warehouse, *pair)
    assert [r.outcome for r in first.results] == ["ok", "skipped"]
    words = "not due: slow.example wants 10 s between requests, the next time"
    assert (first.results[1].skip, first.results[1].reason) == ("slow_host", words)
    second = run(warehouse, *pair, name="c2")
    assert [r.outcome for r in second.results] == ["skipped", "ok"]


# Pools, on record


def test_the_declared_pools_are_on_record(warehouse: Warehouse, upstream: Upstream) -> None:
    run(warehouse, source("good"))
    pooled = [e for e in ENDPOINTS.values() if e.pool]
    assert count(warehouse, "pool_members") == len(pooled)
    ((pools, members, strategy),) = warehouse.query(
        "SELECT count(*), sum(members), any_value(strategy) FROM source_pools"
    )
    assert (pools, members) == (len({e.pool for e in pooled}), len(pooled))
    assert strategy == "first healthy"
    first = next(iter(pooled))
    assert warehouse.query(
        "SELECT endpoint, source, key_required FROM pool_members WHERE pool = ? AND place = 1",
        [first.pool],
    ) == [(first.id, first.source.name, False)]


ROTATIONS = """
    SELECT from_endpoint, to_endpoint, reason, collection_id FROM rotation_history
    ORDER BY changed_at
"""


def pool_of(*names: str) -> list[Endpoint]:
    return [source(name, pool="p") for name in names]


def later(warehouse: Warehouse, minutes: int) -> None:
    """Let time pass: everything remembered moves into the past."""
    with warehouse.connect() as connection:
        connection.execute(
            "UPDATE source_health SET asked_at = asked_at - to_minutes($1), "
            "next_allowed_at = next_allowed_at - to_minutes($1)",
            [minutes],
        )


def test_a_change_of_who_answers_is_kept_with_its_reason(
    warehouse: Warehouse, upstream: Upstream
) -> None:
    run(warehouse, *pool_of("good", "fine"))
    later(warehouse, 5)
    run(warehouse, *pool_of("good", "fine"), name="c2")
    assert warehouse.query(ROTATIONS) == [
        (None, "good.market_prices", "the first answer", "c1"),
    ]
    upstream.rules.append(Rule("good", status=451, body=b"restricted location"))
    later(warehouse, 5)
    run(warehouse, *pool_of("good", "fine"), name="c3")
    ((was, now, reason, collection_id),) = warehouse.query(ROTATIONS)[1:]
    assert (was, now, collection_id) == ("good.market_prices", "fine.market_prices", "c3")
    assert reason.startswith("good.market_prices: refused: HTTP 451")
    assert warehouse.query("SELECT pool, endpoint, outcome FROM rotation_state") == [
        ("p", "fine.market_prices", "ok")
    ]


def test_the_first_choice_comes_back_when_it_is_healthy_again(
    warehouse: Warehouse, upstream: Upstream
) -> None:
    upstream.rules.append(Rule("good", status=451, times=1))
    asked = []
    for round_ in range(4):
        collection = run(warehouse, *pool_of("good", "fine"), name=f"c{round_}")
        asked.append([r.endpoint.source.name for r in collection.asked])
        later(warehouse, 5)
    assert asked == [["good", "fine"], ["fine"], ["good"], ["good"]]
    changes = warehouse.query(ROTATIONS)
    assert [(now, reason.split(" HTTP")[0]) for _, now, reason, _ in changes] == [
        ("fine.market_prices", "good.market_prices: refused:"),
        ("good.market_prices", "the first choice is healthy again"),
    ]
    assert changes[1][0] == "fine.market_prices"


def test_a_pool_of_which_every_member_failed_keeps_who_answered_last(
    warehouse: Warehouse, upstream: Upstream
) -> None:
    run(warehouse, *pool_of("good", "fine"), name="c1")
    ((since,),) = warehouse.query("SELECT since FROM rotation_state")
    upstream.rules.append(Rule(".", status=500, body=b""))
    run(warehouse, *pool_of("good", "fine"), name="c2", force=True)
    assert warehouse.query("SELECT endpoint, outcome, reason, since FROM rotation_state") == [
        ("good.market_prices", "unreachable", "HTTP 500", since)
    ]
    assert count(warehouse, "rotation_history") == 1


def test_a_pool_that_was_not_asked_leaves_its_state_alone(
    warehouse: Warehouse, upstream: Upstream
) -> None:
    run(warehouse, *pool_of("good", "fine"))
    before = warehouse.query("SELECT * FROM rotation_state")
    run(warehouse, *pool_of("good", "fine"), name="c2")
    assert warehouse.query("SELECT * FROM rotation_state") == before


def test_while_the_file_is_locked_a_change_is_written_once(
    warehouse: Warehouse, upstream: Upstream
) -> None:
    run(warehouse, *pool_of("good", "fine"))
    upstream.rules.append(Rule("good", status=500))
    with held(warehouse.path):
        for name in ("c2", "c3"):
            run(warehouse, *pool_of("good", "fine"), name=name, force=True)
    run(warehouse, *pool_of("good", "fine"), name="c4", force=True)
    assert [row[1] for row in warehouse.query(ROTATIONS)] == [
        "good.market_prices",
        "fine.market_prices",
    ]
