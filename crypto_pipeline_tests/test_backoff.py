"""When an endpoint may be asked."""

from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_pipeline.collection import backoff
from crypto_pipeline.sources.spec import Key, minutes
from crypto_pipeline.tables import SourceHealth
from crypto_pipeline.tables.outcomes import SKIPPED, Outcome, Skipped
from crypto_pipeline_tests.conftest import source

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ALPHA = source("alpha")
HOURLY = source("hourly", min_interval=minutes(60))
KEYED = source("keyed", key=Key(env="KEYED_KEY", query="k"))
OUTCOMES: list[Outcome] = [outcome for outcome in get_args(Outcome) if outcome != SKIPPED]


def after(*outcomes: Outcome, times: int = 1, retry_after: float | None = None) -> SourceHealth:
    known = None
    for outcome in outcomes * times:
        known = backoff.after(ALPHA, known, outcome, "why", NOW, retry_after=retry_after)
    assert known
    return known


def test_an_endpoint_never_asked_is_due() -> None:
    assert backoff.why_not(ALPHA, None, NOW, {}) is None


@pytest.mark.parametrize(("seconds", "due"), [(200, False), (239, False), (298, True), (300, True)])
def test_a_tick_two_seconds_early_skips_no_round(seconds: float, due: bool) -> None:
    skipped = backoff.why_not(ALPHA, after("ok"), NOW + timedelta(seconds=seconds), {})
    assert skipped == (
        None if due else Skipped("not_due", "not due before 23 Nov 2026 12:04:00 UTC")
    )


def test_an_hourly_endpoint_rests_between_the_ticks() -> None:
    known = backoff.after(HOURLY, None, "ok", None, NOW)
    assert backoff.why_not(HOURLY, known, NOW + minutes(55), {})
    assert backoff.why_not(HOURLY, known, NOW + minutes(59), {}) is None


def test_without_its_key_an_endpoint_is_not_asked() -> None:
    assert backoff.why_not(KEYED, None, NOW, {}) == Skipped("no_key", "no key: set KEYED_KEY")
    assert backoff.why_not(KEYED, None, NOW, {"KEYED_KEY": " "}) is not None
    assert backoff.why_not(KEYED, None, NOW, {"KEYED_KEY": "x"}) is None


def test_failures_open_the_circuit_and_rest_longer_and_longer() -> None:
    rests = []
    for count in range(1, 12):
        known = after("unreachable", times=count)
        rests.append(known.next_allowed_at - NOW)
        assert known.consecutive_failures == count
        assert known.circuit == ("open" if count > backoff.FREE_FAILURES else "closed")
    assert rests == sorted(rests)
    assert rests[0] == rests[1] == minutes(4)
    assert rests[-1] == backoff.LONGEST_REST


def test_a_refusal_is_not_retried_soon() -> None:
    assert after("refused").next_allowed_at == NOW + minutes(4)
    assert after("refused", "refused").next_allowed_at == NOW + timedelta(hours=1)
    assert after("refused", times=20).next_allowed_at == NOW + timedelta(hours=24)


def test_success_closes_the_circuit() -> None:
    known = after("unreachable", "unreachable", "unreachable", "ok")
    assert (known.circuit, known.consecutive_failures, known.succeeded_at) == ("closed", 0, NOW)


def test_who_told_us_to_wait_is_not_even_forced() -> None:
    known = after("throttled", retry_after=1800)
    early, late = NOW + minutes(29), NOW + minutes(31)
    for force in (False, True):
        wait = Skipped("told_to_wait", "told to wait until 23 Nov 2026 12:30:00 UTC")
        assert backoff.why_not(ALPHA, known, early, {}, force) == wait
        assert backoff.why_not(ALPHA, known, late, {}, force) is None


def test_force_asks_what_is_not_due_and_what_rests() -> None:
    for known in (after("ok"), after("changed", times=9)):
        assert backoff.why_not(ALPHA, known, NOW + minutes(1), {})
        assert backoff.why_not(ALPHA, known, NOW + minutes(1), {}, force=True) is None


def test_an_unchanged_feed_keeps_what_it_is_asked_with() -> None:
    first = backoff.after(ALPHA, None, "ok", None, NOW, etag='"1"', last_modified="Mon")
    second = backoff.after(ALPHA, first, "unchanged", None, NOW)
    assert (second.etag, second.last_modified) == ('"1"', "Mon")
    assert backoff.after(ALPHA, second, "changed", None, NOW, etag='"2"').etag is None


@given(st.lists(st.sampled_from(OUTCOMES), min_size=1, max_size=30))
def test_the_next_call_is_always_ahead_and_never_forgotten(outcomes: list[Outcome]) -> None:
    known = after(*outcomes)
    assert NOW < known.next_allowed_at <= NOW + backoff.LONGEST_REST_REFUSED
    assert backoff.why_not(ALPHA, known, NOW + timedelta(seconds=1), {}) is not None


def test_a_pool_asks_its_healthy_members_first() -> None:
    beta = source("beta")
    known = {ALPHA.id: after("changed")}
    assert backoff.in_order([ALPHA, beta], known, NOW + minutes(5)) == [beta, ALPHA]


def test_after_twice_its_rest_the_first_of_a_pool_is_tried_in_its_place_again() -> None:
    beta = source("beta")
    for failures in (1, 2, 3, 9):
        known = after("unreachable", times=failures)
        rest = known.next_allowed_at - NOW
        early, late = NOW + 2 * rest - timedelta(seconds=1), NOW + 2 * rest
        assert backoff.in_order([ALPHA, beta], {ALPHA.id: known}, early) == [beta, ALPHA]
        assert backoff.in_order([ALPHA, beta], {ALPHA.id: known}, late) == [ALPHA, beta]
