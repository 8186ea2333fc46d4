"""Ask one request and bring back what was said: the only module that knows requests.

Owns: connections, time limits, the size cap, retries, the polite gap per host, conditional
requests, redirects, and the redaction of secrets from everything that leaves here.
Must not know: what an answer means, tables, DuckDB, Dagster.
"""

import ipaddress
import json
import os
import random
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from crypto_pipeline.sources.spec import Ask, Computed, Endpoint, Key

CONNECT_S = 6.0
READ_S = 12.0
DEADLINE_S = 25.0
"""From the first byte sent to the last byte read, retries and pauses included."""

MAX_ATTEMPTS = 3
PATIENCE_S = 3.0
"""The longest Retry-After that is sat out within a collection."""

MAX_REDIRECTS = 4
CHUNK = 65_536
CONNECTIONS = 192
"""Requests in flight at once: most of a request is waiting, and a collection makes a thousand."""


_RETRIED = {502, 503, 504}
_REDIRECTS = {301, 302, 303, 307, 308}
_AGENT = "crypto-pipeline/0.1 (self-hosted data warehouse)"


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, as far as it can be written down without a secret.

    Equal requests are one request: a collection makes it once. One that is not to be retried is
    made once in any case.
    """

    method: str
    url: str
    params: tuple[tuple[str, str], ...] = ()
    body: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    key: Key | None = None
    gap: float = 0.1
    max_bytes: int = 32_000_000
    etag: str | None = None
    last_modified: str | None = None
    retried: bool = field(default=True, compare=False)

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc


@dataclass(frozen=True, slots=True)
class Attempt:
    """One HTTP exchange, redacted."""

    number: int
    method: str
    url: str
    status: int | None
    error: str | None
    bytes_received: int
    latency_ms: float
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: a status and a body, or an error and neither."""

    status: int | None
    body: bytes
    content_type: str
    received_at: datetime
    error: str | None = None
    retry_after: float | None = None
    etag: str | None = None
    last_modified: str | None = None
    attempts: tuple[Attempt, ...] = ()

    @property
    def bytes_received(self) -> int:
        return sum(attempt.bytes_received for attempt in self.attempts)

    @property
    def latency_ms(self) -> float:
        return max((attempt.latency_ms for attempt in self.attempts), default=0.0)


def request_for(
    endpoint: Endpoint,
    ask: Ask,
    at: datetime,
    *,
    etag: str | None = None,
    last_modified: str | None = None,
) -> Request:
    """Write an endpoint's request down for one of its asks at one moment."""

    def filled(value: Any) -> Any:
        if isinstance(value, Computed):
            return value.compute(at)
        if isinstance(value, str):
            return value.replace("{each}", ask.each)
        if isinstance(value, Mapping):
            return {name: filled(inner) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [filled(inner) for inner in value]
        return value

    params: list[tuple[str, str]] = []
    for name, value in endpoint.params.items():
        found = filled(value)
        params += [(name, str(item)) for item in (found if isinstance(found, list) else [found])]
    body = None
    if endpoint.json is not None:
        body = json.dumps(filled(endpoint.json), separators=(",", ":"))
    return Request(
        method="GET" if body is None else "POST",
        url=endpoint.url.replace("{each}", quote(ask.each, safe="")),
        params=tuple(params),
        body=body,
        headers=tuple({**endpoint.source.headers, **endpoint.headers}.items()),
        key=endpoint.key,
        gap=endpoint.source.gap,
        max_bytes=endpoint.max_bytes,
        etag=etag,
        last_modified=last_modified,
    )


@dataclass(slots=True)
class _Host:
    """What one host is owed: a gap between requests, and silence after it asked for it."""

    free_at: float = 0.0
    silent_until: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Fetcher:
    """Connections and manners for the length of one collection; use it as a context manager.

    upstream: base URL that stands in for the internet (CRYPTO_PIPELINE_UPSTREAM), or None.
    key_names: environment variables whose values must never be seen.
    """

    def __init__(self, upstream: str | None = None, key_names: Iterable[str] = ()) -> None:
        self._upstream = upstream.rstrip("/") if upstream else None
        values = (os.environ.get(name, "").strip() for name in key_names)
        secrets = {form for value in values if value for form in (value, quote(value, safe=""))}
        self._secrets = sorted(secrets, key=len, reverse=True)
        self._hosts: dict[str, _Host] = {}
        self._hosts_lock = threading.Lock()
        self._session = requests.Session()
        adapter = HTTPAdapter(pool_connections=CONNECTIONS, pool_maxsize=CONNECTIONS)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)
        self._session.trust_env = self._upstream is None  # proxies, but never a .netrc password:
        self._session.auth = lambda prepared: prepared
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.headers.update(
            {"User-Agent": _AGENT, "Accept-Encoding": "gzip, deflate", "Accept": "*/*"}
        )

    def __enter__(self) -> "Fetcher":
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def redact(self, text: str) -> str:
        """The text without the value of any key."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def fetch(self, request: Request) -> Answer:
        """Ask, retrying what a retry can help; never raises for what the network does."""
        attempts: list[Attempt] = []
        host = self._host(request.host)
        self._take_turn(host, request.gap)
        deadline = time.monotonic() + DEADLINE_S
        while True:
            wait = host.silent_until - time.monotonic()
            if wait > 0:
                return Answer(
                    429, b"", "", datetime.now(UTC), error="this host asked for a pause",
                    retry_after=wait, attempts=tuple(attempts),
                )  # fmt: skip
            answer, attempt = self._exchange(request, len(attempts) + 1, deadline)
            attempts.append(attempt)
            pause = self._pause(answer, len(attempts)) if request.retried else None
            if pause is None or time.monotonic() + pause >= deadline:
                if answer.status in (418, 429):
                    host.silent_until = time.monotonic() + (answer.retry_after or 60.0)
                return Answer(
                    answer.status, answer.body, answer.content_type, answer.received_at,
                    answer.error, answer.retry_after, answer.etag, answer.last_modified,
                    tuple(attempts),
                )  # fmt: skip
            time.sleep(pause)
            self._take_turn(host, request.gap)

    def given_up(self, request: Request) -> Answer:
        """The answer to a request that outlived its deadline: an attempt that came to nothing."""
        error, now = f"no answer within {DEADLINE_S:g} s", datetime.now(UTC)
        attempt = Attempt(
            1, request.method, self.redact(_shown(request)), None, error, 0, DEADLINE_S * 1000,
            now - timedelta(seconds=DEADLINE_S),
        )  # fmt: skip
        return Answer(None, b"", "", now, error=error, attempts=(attempt,))

    def _host(self, name: str) -> _Host:
        with self._hosts_lock:
            return self._hosts.setdefault(name, _Host())

    @staticmethod
    def _take_turn(host: _Host, gap: float) -> None:
        with host.lock:
            turn = max(time.monotonic(), host.free_at)
            host.free_at = turn + gap
        time.sleep(max(0.0, turn - time.monotonic()))

    @staticmethod
    def _pause(answer: Answer, made: int) -> float | None:
        """How long to wait before the next try, or None when a retry would not help."""
        if made >= MAX_ATTEMPTS:
            return None
        jitter = random.uniform(0.2, 0.5) * 2.0 ** (made - 1)
        if answer.status is None:
            return jitter
        if answer.status == 429 or answer.status in _RETRIED:
            if answer.retry_after is None:
                return None if answer.status == 429 else jitter
            return answer.retry_after + jitter if answer.retry_after <= PATIENCE_S else None
        return None

    def _exchange(self, request: Request, number: int, deadline: float) -> tuple[Answer, Attempt]:
        url, params, headers = self._with_key(request)
        started_at = datetime.now(UTC)
        clock = time.monotonic()
        status = error = None
        body, received = b"", 0
        answered: Mapping[str, str] = {}
        try:
            response = self._send(request, url, params, headers, deadline)
            try:
                status, answered = response.status_code, response.headers
                body = self._read(response, request.max_bytes, deadline)
            finally:
                received = response.raw.tell()
                response.close()
        except (requests.RequestException, HTTPError, OSError, ValueError) as problem:
            error, status = self.redact(_words(problem)), None
        for secret in self._secrets:
            body = body.replace(secret.encode(), b"***")
        now = datetime.now(UTC)
        attempt = Attempt(
            number=number,
            method=request.method,
            url=self.redact(_shown(request)),
            status=status,
            error=error,
            bytes_received=received,
            latency_ms=(time.monotonic() - clock) * 1000,
            started_at=started_at,
        )
        answer = Answer(
            status=status,
            body=body if error is None else b"",
            content_type=answered.get("Content-Type", ""),
            received_at=now,
            error=error,
            retry_after=_retry_after(answered.get("Retry-After"), now),
            etag=answered.get("ETag"),
            last_modified=answered.get("Last-Modified"),
        )
        return answer, attempt

    def _with_key(self, request: Request) -> tuple[str, list[tuple[str, str]], dict[str, str]]:
        """The request's address and headers with the key put where it belongs."""
        url, params, headers = request.url, list(request.params), dict(request.headers)
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        if request.etag:
            headers["If-None-Match"] = request.etag
        if request.last_modified:
            headers["If-Modified-Since"] = request.last_modified
        key = request.key
        value = os.environ.get(key.env, "").strip() if key else ""
        if key and value:
            if key.query:
                params.append((key.query, key.prefix + value))
            elif key.header:
                headers[key.header] = key.prefix + value
            else:
                url = url.replace("{key}", quote(value, safe=""))
        return url, params, headers

    def _send(
        self,
        request: Request,
        url: str,
        params: list[tuple[str, str]],
        headers: dict[str, str],
        deadline: float,
    ) -> requests.Response:
        """Send, and follow redirects that stay on the same scheme and in public."""
        secret_header = request.key.header if request.key else None
        for _ in range(MAX_REDIRECTS + 1):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"no answer within {DEADLINE_S:g} s")
            response = self._session.request(
                request.method,
                self._address(url),
                params=params,
                data=request.body,
                headers=headers,
                timeout=(min(CONNECT_S, left), min(READ_S, left)),
                allow_redirects=False,
                stream=True,
            )
            location = response.headers.get("Location")
            if response.status_code not in _REDIRECTS or not location:
                return response
            response.close()
            target = urljoin(url, location)
            self._allow_redirect(url, target)
            if secret_header and urlsplit(target).netloc != urlsplit(url).netloc:
                headers.pop(secret_header, None)
            url, params = target, []
        raise ValueError(f"more than {MAX_REDIRECTS} redirects")

    def _address(self, url: str) -> str:
        if self._upstream is None:
            return url
        split = urlsplit(url)
        query = f"?{split.query}" if split.query else ""
        return f"{self._upstream}/{split.netloc}{split.path or '/'}{query}"

    def _allow_redirect(self, url: str, target: str) -> None:
        """Raises ValueError for a redirect to another scheme or to a private address."""
        before, after = urlsplit(url), urlsplit(target)
        if after.scheme != before.scheme:
            raise ValueError(f"redirected from {before.scheme} to {after.scheme}: not followed")
        host = after.hostname or ""
        names = [host]
        if self._upstream is None:
            found = socket.getaddrinfo(host, after.port or 443, type=socket.SOCK_STREAM)
            names += [str(info[4][0]) for info in found]
        for name in names:
            if _is_private(name):
                raise ValueError(f"redirected to the private address {name}: not followed")

    @staticmethod
    def _read(response: requests.Response, max_bytes: int, deadline: float) -> bytes:
        """The decompressed body, read as it comes so that a drip meets the deadline."""
        parts: list[bytes] = []
        size = 0
        while True:
            part = response.raw.read1(CHUNK, decode_content=True)
            if not part:
                return b"".join(parts)
            parts.append(part)
            size += len(part)
            if size > max_bytes:
                raise ValueError(f"the answer is larger than {max_bytes:,} bytes")
            if time.monotonic() > deadline:
                raise TimeoutError(f"the answer was not complete within {DEADLINE_S:g} s")


def _shown(request: Request) -> str:
    query = "&".join(f"{name}={value}" for name, value in request.params)
    return request.url + ("?" + query if query else "")


def _words(problem: BaseException) -> str:
    """One line about what went wrong, from the innermost cause that says something."""
    while True:
        cause = problem.__cause__ or problem.__context__
        if cause is None or isinstance(problem, TimeoutError):
            break
        problem = cause
    text = " ".join(str(problem).split())[:200]
    return f"{type(problem).__name__}: {text}" if text else type(problem).__name__


def _retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds from a Retry-After header, given as seconds or as a date."""
    if not value:
        return None
    try:
        if value.strip().isdigit():
            return float(value)
        return max(0.0, (parsedate_to_datetime(value) - now).total_seconds())
    except (ValueError, TypeError):
        return None


def _is_private(name: str) -> bool:
    if name in ("", "localhost") or name.endswith((".localhost", ".local", ".internal")):
        return True
    try:
        address = ipaddress.ip_address(name.split("%", maxsplit=1)[0])
    except ValueError:
        return False
    return not address.is_global
