"""How long a host wants to be left alone: headers as hosts really write them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_pipeline.collection.waits import LONGEST_WAIT_S, wait_s

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SOON = int((NOW + timedelta(seconds=90)).timestamp())


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        ("1.5", 1.5),
        ("Mon, 23 Nov 2026 12:02:00 GMT", 120),
        ("Mon, 23 Nov 2020 12:02:00 GMT", 0),
        ("Mon, 23 Nov 2099 12:00:00 GMT", LONGEST_WAIT_S),
        ("2026-11-23T12:02:00Z", 120),
        (str(SOON), 90),
        (str(SOON * 1000), 90),
        ("999999999999", LONGEST_WAIT_S),
        ("99999999999999999999999", LONGEST_WAIT_S),
        ("9" * 400, LONGEST_WAIT_S),
        ("1e999", None),
        ("-5", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_a_moment_or_a_date(value: str, seconds: float | None) -> None:
    assert wait_s({"Retry-After": value}, NOW) == seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(SOON)}, 90),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "30"}, 30),
        ({"X-RateLimit-Remaining": "3", "X-RateLimit-Reset": "30"}, None),
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": "30"}, 30),
        ({"X-Rate-Limit-Remaining": "0", "X-Rate-Limit-Reset": str(SOON * 1000)}, 90),
        ({"X-RateLimit-Remaining": "0"}, None),
        ({"RateLimit": '"default";r=0;t=45'}, 45),
        ({"RateLimit": '"default";r=9;t=45'}, None),
        ({"RateLimit": "limit=10, remaining=0, reset=45"}, 45),
        ({"Retry-After": "5", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "60"}, 5),
    ],
)
def test_a_reset_counts_when_nothing_remains(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert wait_s(headers, NOW) == seconds


@given(st.dictionaries(st.sampled_from(["Retry-After", "RateLimit", "X-RateLimit-Remaining",
                                        "X-RateLimit-Reset"]), st.text()))  # fmt: skip
def test_no_header_is_too_odd(headers: dict[str, str]) -> None:
    found = wait_s(headers, NOW)
    assert found is None or 0 <= found <= LONGEST_WAIT_S
