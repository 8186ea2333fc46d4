"""What a source allows in a day and a month is never exceeded, and what was used is on record."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_pipeline import clock
from crypto_pipeline.collection import quotas
from crypto_pipeline.collection.collect import collect
from crypto_pipeline.collection.exchange import Attempt
from crypto_pipeline.collection.limits import LIMITS
from crypto_pipeline.collection.quotas import Quotas, window
from crypto_pipeline.collection.results import Collection
from crypto_pipeline.sources.spec import Endpoint, Key, Source, minutes
from crypto_pipeline.tables import MarketPrice, RateLimitUsage
from crypto_pipeline.tables.outcomes import Skipped
from crypto_pipeline.tables.pools import Period
from crypto_pipeline.warehouse import Warehouse
from crypto_pipeline_tests.conftest import Canned, coins, price
from crypto_pipeline_tests.test_warehouse import held
from crypto_pipeline_tests.upstream import Rule, Upstream

NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
TODAY, THIS_MONTH = datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)
TRIES = 3


def limited(
    name: str = "good", day: int | None = None, month: int | None = None, key: Key | None = None
) -> Source:
    base = f"https://{name}.example"
    return Source(name, base, docs=base, key=key, gap=0, per_day=day, per_month=month)


def prices(source: Source, path: str = "/prices", **about: Any) -> Endpoint:
    return source.endpoint(
        MarketPrice,
        path,
        row=price,
        records="data",
        min_interval=minutes(5),
        **about,
    )


def used(source: Source, calls: int, period: Period = "day") -> RateLimitUsage:
    return RateLimitUsage(
        source=source.name,
        period=period,
        window_start=quotas.window(period, NOW),
        calls=calls,
        bytes_received=0,
    )


def known_usage(*usage: RateLimitUsage, sources: tuple[Source, ...] = ()) -> Quotas:
    known = {(u.source, u.period, u.window_start): u for u in usage}
    return Quotas(sources, known, TRIES)


def midnight() -> str:
    """When today's quotas end, as it is said."""
    return clock.said(window("day", datetime.now(UTC) + timedelta(days=1)))


# Counting, pure


def test_a_source_without_a_limit_may_always_be_asked() -> None:
    free = limited()
    assert known_usage(used(free, 10**9)).why_not(free, 10**6, NOW) is None


def test_the_reason_names_the_quota_and_when_it_ends() -> None:
    daily, monthly = limited(day=1000), limited(month=10_000)
    assert known_usage(used(daily, 1000)).why_not(daily, 1, NOW) == Skipped(
        "over_quota", "daily quota: 1000 of 1000 calls used until 24 Nov 2026 00:00:00 UTC"
    )
    assert known_usage(used(daily, 995)).why_not(daily, 10, NOW) == Skipped(
        "over_quota",
        "daily quota: 995 of 1000 calls used until 24 Nov 2026 00:00:00 UTC, 10 more are needed",
    )
    assert known_usage(used(monthly, 10_000, "month")).why_not(monthly, 1, NOW) == Skipped(
        "over_quota", "monthly quota: 10000 of 10000 calls used until 01 Dec 2026 00:00:00 UTC"
    )
    assert known_usage(used(daily, 999)).why_not(daily, 1, NOW) is None


def test_a_new_day_begins_at_nothing() -> None:
    daily = limited(day=10)
    known = known_usage(used(daily, 10))
    assert known.why_not(daily, 1, TODAY + timedelta(hours=23, minutes=59))
    assert known.why_not(daily, 10, TODAY + timedelta(days=1)) is None


def test_who_takes_the_same_key_shares_what_it_allows() -> None:
    key = Key(env="ALPHA_KEY", query="k")
    alpha, news = limited("alpha", day=25, key=key), limited("alpha_news", day=25, key=key)
    known = known_usage(used(alpha, 20), used(news, 5), sources=(alpha, news))
    assert known.why_not(alpha, 1, NOW) == Skipped(
        "over_quota", "daily quota: 25 of 25 calls used until 24 Nov 2026 00:00:00 UTC"
    )


@given(
    st.integers(1, 40),
    st.lists(
        st.tuples(st.integers(1, 5), st.lists(st.integers(1, TRIES), min_size=5)), max_size=30
    ),
)
def test_whatever_is_asked_and_retried_a_quota_holds(
    quota: int, rounds: list[tuple[int, list[int]]]
) -> None:
    source, made = limited(day=quota), 0
    known = known_usage()
    for calls, tried in rounds:
        if known.why_not(source, calls, NOW):
            continue
        tries = known.take(source, calls, NOW)
        for attempts in tried[:calls]:
            really = min(attempts, tries)
            known.give_back(source, tries - really)
            made += really
    assert made <= quota


def test_usage_is_counted_by_the_day_and_the_month_of_each_attempt() -> None:
    def attempt(at: datetime) -> Attempt:
        return Attempt(1, "GET", "https://good.example", 200, None, 100, 5.0, at)

    late = THIS_MONTH - timedelta(seconds=1)
    found = quotas.usage_of([(limited(day=7), [attempt(late), attempt(NOW)]), (limited(day=7), [])])
    assert {
        (u.period, u.window_start): (u.calls, u.bytes_received, u.limit_calls) for u in found
    } == {
        ("day", datetime(2026, 10, 31, tzinfo=UTC)): (1, 100, 7),
        ("month", datetime(2026, 10, 1, tzinfo=UTC)): (1, 100, None),
        ("day", TODAY): (1, 100, 7),
        ("month", THIS_MONTH): (1, 100, None),
    }


# Whole collections


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    bodies = {f"{name}.example/prices": coins(100) for name in ("good", "fine")}
    of_each = {f"good.example/of/{n}": coins(1, start=n) for n in range(4)}
    with Upstream(Canned(bodies | of_each)) as server:
        monkeypatch.setenv("CRYPTO_PIPELINE_UPSTREAM", server.url)
        yield server


def run(warehouse: Warehouse, name: str, *among: Endpoint, force: bool = True) -> Collection:
    return collect(["market_prices"], name, warehouse=warehouse, among=among, force=force)


def calls(warehouse: Warehouse, period: str = "day") -> dict[str, tuple[int, int | None]]:
    found = warehouse.query(
        "SELECT source, calls, limit_calls FROM rate_limit_usage WHERE period = ?", [period]
    )
    return {source: (count, allowed) for source, count, allowed in found}


def test_every_source_asked_leaves_its_usage_limited_or_not(
    warehouse: Warehouse, upstream: Upstream
) -> None:
    good, fine = prices(limited("good", day=100)), prices(limited("fine"))
    run(warehouse, "c1", good, fine)
    run(warehouse, "c2", good)
    assert calls(warehouse) == {"good": (2, 100), "fine": (1, None)}
    assert calls(warehouse, "month") == {"good": (2, None), "fine": (1, None)}
    ((received, attempted),) = warehouse.query(
        "SELECT (SELECT sum(bytes_received) FROM rate_limit_usage WHERE period = 'day'), "
        "(SELECT sum(bytes_received) FROM connection_attempts)"
    )
    assert received == attempted


@pytest.mark.parametrize("force", [False, True])
def test_a_quota_is_remembered_and_not_even_forced(
    warehouse: Warehouse, upstream: Upstream, force: bool
) -> None:
    for round_ in range(3):
        run(warehouse, f"c{round_}", prices(limited("good", day=3)))
    (result,) = run(warehouse, "last", prices(limited("good", day=3)), force=force).results
    assert result.outcome == "skipped"
    if force:
        assert result.reason == f"daily quota: 3 of 3 calls used until {midnight()}"
    assert len(upstream.received) == 3


def test_the_next_of_a_pool_takes_over_where_a_quota_is_used_up(
    warehouse: Warehouse, upstream: Upstream
) -> None:
    for round_ in range(2):
        members = [prices(limited("good", day=1), pool="p"), prices(limited("fine"), pool="p")]
        collection = run(warehouse, f"c{round_}", *members)
    assert [r.outcome for r in collection.results] == ["skipped", "ok"]
    assert warehouse.query("SELECT reason FROM rotation_history ORDER BY changed_at")[1:] == [
        (f"good.market_prices: skipped: daily quota: 1 of 1 calls used until {midnight()}",)
    ]


def test_a_retry_counts_and_is_not_made_past_the_quota(
    warehouse: Warehouse, upstream: Upstream
) -> None:
    upstream.rules.append(Rule("good", status=503))
    source = limited("good", day=LIMITS.attempts + 1)
    run(warehouse, "c1", prices(source))
    assert calls(warehouse)["good"][0] == LIMITS.attempts
    run(warehouse, "c2", prices(limited("good", day=LIMITS.attempts + 1)))
    assert calls(warehouse)["good"][0] == LIMITS.attempts + 1 == len(upstream.received)


def test_an_endpoint_asked_coin_by_coin_needs_a_call_for_each(
    warehouse: Warehouse, upstream: Upstream
) -> None:
    def shop(quota: int) -> Endpoint:
        each = {str(n): {"name": f"Coin {n}"} for n in range(4)}
        return prices(limited("good", day=quota), "/of/{each}", each=each)

    (skipped,) = run(warehouse, "c1", shop(3)).results
    until = midnight()
    assert skipped.reason == f"daily quota: 0 of 3 calls used until {until}, 4 more are needed"
    assert not upstream.received
    (asked,) = run(warehouse, "c2", shop(4)).results
    assert (asked.outcome, asked.records) == ("ok", 4)


def test_equal_requests_cost_one_call(warehouse: Warehouse, upstream: Upstream) -> None:
    source = limited("good", day=1)
    collection = run(warehouse, "c1", prices(source), prices(source, variant="again"))
    assert [r.outcome for r in collection.results] == ["ok", "ok"]
    assert calls(warehouse)["good"] == (1, 1)


def test_what_was_used_while_the_file_was_locked_is_added_when_it_is_free(
    warehouse: Warehouse, upstream: Upstream
) -> None:
    run(warehouse, "c1", prices(limited("good", day=3)))
    with held(warehouse.path):
        run(warehouse, "c2", prices(limited("good", day=3)))
        run(warehouse, "c3", prices(limited("good", day=3)))
        (result,) = run(warehouse, "c4", prices(limited("good", day=3))).results
    assert (result.reason or "").startswith("daily quota: 3 of 3")
    warehouse.drain()
    assert calls(warehouse)["good"] == (3, 3)


def test_two_collections_that_knew_nothing_of_each_other_are_added_up(
    warehouse: Warehouse, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(warehouse, "c1", prices(limited("good")))
    nothing = warehouse.remember()
    monkeypatch.setattr(Warehouse, "remember", lambda _: nothing)
    nothing.usage.clear()
    run(warehouse, "c2", prices(limited("good")))
    assert calls(warehouse)["good"][0] == 2
