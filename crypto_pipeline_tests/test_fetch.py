"""Asking: time limits, retries, manners, and secrets, against a real server on loopback."""

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_pipeline.collection.exchange import Answer, Request
from crypto_pipeline.collection.fetch import Fetcher
from crypto_pipeline.collection.limits import LIMITS, Limits
from crypto_pipeline.collection.waits import LONGEST_WAIT_S
from crypto_pipeline.sources.spec import Key
from crypto_pipeline_tests.conftest import Canned
from crypto_pipeline_tests.upstream import Rule, Upstream

URL = "https://alpha.example/prices"
SHORT = Limits(deadline_s=2.0, read_s=1.0)
BODY = {"data": list(range(2000))}


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream(Canned({"alpha.example/prices": BODY, "beta.example/prices": BODY})) as server:
        yield server


def ask(upstream: Upstream, url: str = URL, **about: object) -> Answer:
    with Fetcher(upstream.url, limits=SHORT) as fetcher:
        return fetcher.fetch(Request("GET", url, gap=0, **about))  # type: ignore[arg-type]


def test_an_answer_comes_with_its_account(upstream: Upstream) -> None:
    answer = ask(upstream)
    assert answer.status == 200
    assert answer.error is None
    assert len(answer.attempts) == 1
    assert answer.bytes_received == len(answer.body)
    assert answer.attempts[0].url == URL


def test_compressed_answers_count_as_they_came(upstream: Upstream) -> None:
    upstream.rules.append(Rule("alpha", fault="gzip"))
    answer = ask(upstream)
    assert 0 < answer.bytes_received < len(answer.body)


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_passing_server_error_is_retried(upstream: Upstream, status: int) -> None:
    upstream.rules.append(Rule("alpha", status=status, times=1))
    answer = ask(upstream)
    assert answer.status == 200
    assert [a.status for a in answer.attempts] == [status, 200]


@pytest.mark.parametrize("status", [400, 403, 404, 451, 500])
def test_what_a_retry_cannot_help_is_asked_once(upstream: Upstream, status: int) -> None:
    upstream.rules.append(Rule("alpha", status=status))
    answer = ask(upstream)
    assert answer.status == status
    assert len(answer.attempts) == 1


def test_a_reset_is_retried_and_then_told(upstream: Upstream) -> None:
    upstream.rules.append(Rule("alpha", fault="reset"))
    answer = ask(upstream)
    assert answer.status is None
    assert answer.error
    assert 1 < len(answer.attempts) <= LIMITS.attempts


def test_a_truncated_answer_is_no_answer(upstream: Upstream) -> None:
    upstream.rules.append(Rule("alpha", fault="truncate"))
    answer = ask(upstream)
    assert answer.status is None
    assert answer.body == b""
    assert "IncompleteRead" in (answer.error or "")


@pytest.mark.parametrize("fault", ["drip", "silent"])
def test_a_drip_meets_the_deadline(upstream: Upstream, fault: str) -> None:
    upstream.rules.append(Rule("alpha", fault=fault))
    answer = ask(upstream)
    assert answer.status is None
    assert "time" in (answer.error or "").lower()


def test_max_bytes_counts_decompressed_bytes(upstream: Upstream) -> None:
    upstream.rules.append(Rule("alpha", fault="bomb"))
    answer = ask(upstream, max_bytes=1_000_000)
    assert answer.status is None
    assert "larger than 1,000,000 bytes" in (answer.error or "")
    assert answer.bytes_received < 1_000_000


def test_a_short_retry_after_is_sat_out(upstream: Upstream) -> None:
    upstream.rules.append(Rule("alpha", status=429, headers={"Retry-After": "0"}, times=1))
    assert ask(upstream).status == 200


def test_a_host_that_says_wait_is_left_alone(upstream: Upstream) -> None:
    upstream.rules.append(Rule("alpha", status=429, headers={"Retry-After": "600"}))
    with Fetcher(upstream.url) as fetcher:
        first = fetcher.fetch(Request("GET", URL, gap=0))
        second = fetcher.fetch(Request("GET", URL, params=(("page", "2"),), gap=0))
        other = fetcher.fetch(Request("GET", "https://beta.example/prices", gap=0))
    assert (first.status, first.retry_after, len(first.attempts)) == (429, 600, 1)
    assert second.status == 429
    assert second.attempts == ()
    assert other.status == 200
    assert len(upstream.received) == 2


def test_a_date_in_retry_after_is_understood(upstream: Upstream) -> None:
    upstream.rules.append(
        Rule("alpha", status=429, headers={"Retry-After": "Mon, 23 Nov 2099 12:00:00 GMT"})
    )
    assert ask(upstream).retry_after == LONGEST_WAIT_S


def test_a_conditional_request_sends_what_was_remembered(upstream: Upstream) -> None:
    upstream.rules.append(Rule("alpha", status=304, body=b""))
    answer = ask(upstream, etag='"v1"', last_modified="Mon, 23 Nov 2026 11:00:00 GMT")
    assert answer.status == 304
    headers = upstream.received[0].headers
    assert headers["If-None-Match"] == '"v1"'
    assert headers["If-Modified-Since"] == "Mon, 23 Nov 2026 11:00:00 GMT"


def test_a_redirect_in_public_is_followed(upstream: Upstream) -> None:
    moved = {"Location": "https://beta.example/prices"}
    upstream.rules.append(Rule("alpha", status=301, headers=moved))
    assert ask(upstream).status == 200
    assert [a.host for a in upstream.received] == ["alpha.example", "beta.example"]


@pytest.mark.parametrize(
    "target",
    [
        "http://beta.example/prices",
        "file:///etc/passwd",
        "https://127.0.0.1/x",
        "https://10.0.0.8/x",
        "https://169.254.169.254/latest",
        "https://[::1]/x",
        "https://localhost/x",
    ],
)
def test_a_redirect_elsewhere_is_not_followed(upstream: Upstream, target: str) -> None:
    upstream.rules.append(Rule("alpha", status=302, headers={"Location": target}))
    answer = ask(upstream)
    assert answer.status is None
    assert "not followed" in (answer.error or "")
    assert {a.host for a in upstream.received} == {"alpha.example"}


def test_redirects_end(upstream: Upstream) -> None:
    upstream.rules.append(Rule("alpha", status=302, headers={"Location": URL}))
    assert "redirects" in (ask(upstream).error or "")


def test_nobody_there_is_an_error_without_an_answer() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with Fetcher(f"http://127.0.0.1:{port}") as fetcher:
        answer = fetcher.fetch(Request("GET", URL, gap=0))
    assert answer.status is None
    assert "refused" in (answer.error or "").lower()


KEYS = [
    Key(env="ALPHA_KEY", query="apikey"),
    Key(env="ALPHA_KEY", header="X-Key"),
    Key(env="ALPHA_KEY", header="Authorization", prefix="Bearer "),
    Key(env="ALPHA_KEY", path=True),
]


@pytest.mark.parametrize("key", KEYS, ids=["query", "header", "bearer", "path"])
@pytest.mark.parametrize("fault", [None, "reset", "truncate"])
def test_a_key_is_sent_and_never_seen(
    upstream: Upstream, key: Key, fault: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary = "c4n/ary+SECRET"
    monkeypatch.setenv("ALPHA_KEY", canary)
    echo = f'{{"error": "key {canary} is wrong"}}'.encode()
    upstream.rules.append(Rule("alpha", body=echo, status=401, fault=fault))
    url = f"{URL}/{{key}}" if key.path else URL
    with Fetcher(upstream.url, ["ALPHA_KEY"]) as fetcher:
        answer = fetcher.fetch(Request("GET", url, key=key, gap=0))
    asked = upstream.received[0]
    sent = repr((asked.path, asked.query, asked.headers))
    assert canary in sent or "c4n%2Fary%2BSECRET" in sent
    assert "SECRET" not in repr(answer)


@given(st.text(max_size=40), st.text(max_size=40))
def test_redaction_leaves_no_secret(before: str, after: str) -> None:
    patch = pytest.MonkeyPatch()
    with patch.context() as context:
        context.setenv("ALPHA_KEY", "s3cr&t value")
        fetcher = Fetcher(None, ["ALPHA_KEY"])
    text = f"{before}s3cr&t value{after} and s3cr%26t%20value"
    found = fetcher.redactor.text(text)
    assert "s3cr&t value" not in found
    assert "s3cr%26t%20value" not in found


def test_no_cookie_and_no_netrc(upstream: Upstream) -> None:
    upstream.rules.append(Rule("alpha", headers={"Set-Cookie": "session=1; Path=/"}))
    with Fetcher(upstream.url) as fetcher:
        for page in "12":
            fetcher.fetch(Request("GET", URL, params=(("page", page),), gap=0))
    assert all(
        "Cookie" not in a.headers and "Authorization" not in a.headers for a in upstream.received
    )
