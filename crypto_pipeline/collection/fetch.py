"""Send one request and bring back the answer: the only module that knows requests.

Owns: connections, the reading of bodies within their bounds, retries, conditional requests,
redirects, and the redaction of secrets from everything that leaves here.
Must not know: what an answer means, tables, DuckDB, Dagster.
"""

import ipaddress
import os
import random
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from urllib.parse import quote, urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from crypto_pipeline.collection.exchange import THROTTLED, Answer, Attempt, Request
from crypto_pipeline.collection.limits import LIMITS, UNNAMED_WAIT_S, Limits, Slots

CHUNK = 65_536

_RETRIED = {502, 503, 504}
_REDIRECTS = {301, 302, 303, 307, 308}
_AGENT = "crypto-pipeline/0.1 (self-hosted data warehouse)"


class Fetcher:
    """Connections and manners for the length of one collection; use it as a context manager.

    upstream: base URL that stands in for the internet (CRYPTO_PIPELINE_UPSTREAM), or None.
    key_names: environment variables whose values must never be seen.
    """

    def __init__(
        self,
        upstream: str | None = None,
        key_names: Iterable[str] = (),
        limits: Limits = LIMITS,
    ) -> None:
        self.limits = limits
        self.slots = Slots()
        self._upstream = upstream.rstrip("/") if upstream else None
        values = (os.environ.get(name, "").strip() for name in key_names)
        secrets = {form for value in values if value for form in (value, quote(value, safe=""))}
        self._secrets = sorted(secrets, key=len, reverse=True)
        self._session = requests.Session()
        adapter = HTTPAdapter(pool_connections=limits.connections, pool_maxsize=limits.connections)
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

    def fetch(self, request: Request, *, retry: bool = True) -> Answer:
        """Ask, retrying what a retry can help; never raises for what the network does."""
        slot = self.slots.of(request.host)
        attempts: list[Attempt] = []
        slot.take(request.gap)
        deadline = time.monotonic() + self.limits.deadline_s
        while True:
            if (silence := slot.silence_s) > 0:
                return Answer(
                    429, b"", "", datetime.now(UTC), error="this host asked for a pause",
                    retry_after=silence, attempts=tuple(attempts),
                )  # fmt: skip
            answer, attempt = self._exchange(request, len(attempts) + 1, deadline)
            attempts.append(attempt)
            pause = self._pause(answer, len(attempts)) if retry else None
            if pause is None or time.monotonic() + pause >= deadline:
                if answer.status in THROTTLED:
                    slot.silence(answer.retry_after or UNNAMED_WAIT_S)
                return replace(answer, attempts=tuple(attempts))
            time.sleep(pause)
            slot.take(request.gap)

    def given_up(self, request: Request) -> Answer:
        """The answer to a request that outlived its deadline: an attempt that came to nothing."""
        deadline_s = self.limits.deadline_s
        error, now = f"no answer within {deadline_s:g} s", datetime.now(UTC)
        attempt = Attempt(
            number=1,
            method=request.method,
            url=self.redact(request.shown),
            status=None,
            error=error,
            bytes_received=0,
            latency_ms=deadline_s * 1000,
            started_at=now - timedelta(seconds=deadline_s),
        )
        return Answer(None, b"", "", now, error=error, attempts=(attempt,))

    def _pause(self, answer: Answer, made: int) -> float | None:
        """How long to wait before the next try, or None when a retry would not help."""
        if made >= self.limits.attempts:
            return None
        jitter = random.uniform(0.2, 0.5) * 2.0 ** (made - 1)
        if answer.status is None:
            return jitter
        if answer.status == 429 or answer.status in _RETRIED:
            if answer.retry_after is None:
                return None if answer.status == 429 else jitter
            helps = answer.retry_after <= self.limits.patience_s
            return answer.retry_after + jitter if helps else None
        return None

    def _exchange(self, request: Request, number: int, deadline: float) -> tuple[Answer, Attempt]:
        """Send once: what came, and the account of it."""
        started_at, clock = datetime.now(UTC), time.monotonic()
        status = error = None
        body, received = b"", 0
        headers: Mapping[str, str] = {}
        try:
            response = self._send(request, deadline)
            try:
                status, headers = response.status_code, response.headers
                body = self._read(response, request.max_bytes, deadline)
            finally:
                received = response.raw.tell()
                response.close()
        except (requests.RequestException, HTTPError, OSError, ValueError) as problem:
            status, body, error = None, b"", self.redact(_message(problem))
        now = datetime.now(UTC)
        attempt = Attempt(
            number=number,
            method=request.method,
            url=self.redact(request.shown),
            status=status,
            error=error,
            bytes_received=received,
            latency_ms=(time.monotonic() - clock) * 1000,
            started_at=started_at,
        )
        return self._answer(status, body, headers, now, error), attempt

    def _answer(
        self,
        status: int | None,
        body: bytes,
        headers: Mapping[str, str],
        received_at: datetime,
        error: str | None,
    ) -> Answer:
        for secret in self._secrets:
            body = body.replace(secret.encode(), b"***")
        return Answer(
            status=status,
            body=body,
            content_type=headers.get("Content-Type", ""),
            received_at=received_at,
            error=error,
            retry_after=_retry_after(headers.get("Retry-After"), received_at),
            etag=headers.get("ETag"),
            last_modified=headers.get("Last-Modified"),
        )

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

    def _send(self, request: Request, deadline: float) -> requests.Response:
        """Send, and follow redirects that stay on the same scheme and in public."""
        url, params, headers = self._with_key(request)
        secret_header = request.key.header if request.key else None
        for _ in range(self.limits.redirects + 1):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"no answer within {self.limits.deadline_s:g} s")
            response = self._session.request(
                request.method,
                self._address(url),
                params=params,
                data=request.body,
                headers=headers,
                timeout=(min(self.limits.connect_s, left), min(self.limits.read_s, left)),
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
        raise ValueError(f"more than {self.limits.redirects} redirects")

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

    def _read(self, response: requests.Response, max_bytes: int, deadline: float) -> bytes:
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
                raise TimeoutError(
                    f"the answer was not complete within {self.limits.deadline_s:g} s"
                )


def _message(problem: BaseException) -> str:
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
