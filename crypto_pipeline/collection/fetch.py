"""Send one request and bring back the answer: this module and connections alone know requests.

Owns: connections, the reading of bodies within their bounds, retries, conditional requests,
redirects, and the redaction of secrets from everything that leaves here.
Must not know: what an answer means, tables, DuckDB, Dagster.
"""

import ipaddress
import os
import random
import socket
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.cookiejar import DefaultCookiePolicy
from urllib.parse import quote, unquote, urljoin, urlsplit
from urllib.request import getproxies

import requests
from urllib3.exceptions import HTTPError

from crypto_pipeline.collection import encoding
from crypto_pipeline.collection.connections import BoundedAdapter
from crypto_pipeline.collection.exchange import THROTTLED, Answer, Attempt, Request
from crypto_pipeline.collection.limits import LIMITS, UNNAMED_WAIT_S, Limits, Room, Slot, Slots
from crypto_pipeline.collection.redaction import Redactor
from crypto_pipeline.collection.waits import wait_s
from crypto_pipeline.text import storable

CHUNK = 65_536

LONGEST_ERROR = 200
LONGEST_VALIDATOR = 500
"""Characters; a longer ETag is not remembered."""

_RETRIED = {502, 503, 504}
_REDIRECTS = {301, 302, 303, 307, 308}
_AGENT = "crypto-pipeline/0.1 (self-hosted data warehouse)"


class _Permanent(ValueError):
    """What asking again would bring again."""


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
        self.room = Room(limits.room, limits.small)
        self._upstream = upstream.rstrip("/") if upstream else None
        keys = (os.environ.get(name, "").strip() for name in key_names)
        self.redactor = Redactor([*keys, *_proxy_passwords()])
        self._session = requests.Session()
        size = limits.connections
        adapter = BoundedAdapter(pool_connections=size, pool_maxsize=size)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)
        self._session.trust_env = self._upstream is None  # proxies, but never a .netrc password:
        self._session.auth = lambda prepared: prepared
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.headers.update(
            {"User-Agent": _AGENT, "Accept-Encoding": encoding.ACCEPTED, "Accept": "*/*"}
        )

    def __enter__(self) -> "Fetcher":
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def fetch(self, request: Request, *, retry: bool = True) -> Answer:
        """Ask, retrying what a retry can help; never raises for what the network does."""
        slot = self.slots.of(request.host)
        attempts: list[Attempt] = []
        slot.take(request.gap)
        deadline = time.monotonic() + self.limits.deadline_s
        while True:
            if silence := self._sit_out(slot, deadline):
                return Answer(
                    429, b"", "", datetime.now(UTC), error="this host asked for a pause",
                    retry_after=silence, attempts=tuple(attempts),
                )  # fmt: skip
            answer, attempt = self._exchange(request, len(attempts) + 1, deadline)
            attempts.append(attempt)
            pause = self._pause(answer, len(attempts)) if retry else None
            if pause is None or time.monotonic() + pause >= deadline:
                if answer.retry_after or answer.status in THROTTLED:
                    slot.silence(answer.retry_after or UNNAMED_WAIT_S)
                return replace(answer, attempts=tuple(attempts))
            self.room.give_back(answer.taken)
            time.sleep(pause)
            slot.take(request.gap)

    def _sit_out(self, slot: Slot, deadline: float) -> float:
        """Wait while a host wants silence; gives its seconds when that is too long."""
        silence = slot.silence_s
        if silence > self.limits.patience_s or time.monotonic() + silence >= deadline:
            return silence
        time.sleep(silence)
        return 0.0

    def given_up(self, request: Request) -> Answer:
        """The answer to a request that outlived its deadline: an attempt that came to nothing."""
        deadline_s = self.limits.deadline_s
        error, now = f"no answer within {deadline_s:g} s", datetime.now(UTC)
        attempt = Attempt(
            number=1,
            method=request.method,
            url=self._shown(request),
            status=None,
            error=error,
            bytes_received=0,
            latency_ms=deadline_s * 1000,
            started_at=now - timedelta(seconds=deadline_s),
        )
        return Answer(None, b"", "", now, error=error, attempts=(attempt,))

    def _pause(self, answer: Answer, made: int) -> float | None:
        """How long to wait before the next try, or None when a retry would not help."""
        if made >= self.limits.attempts or answer.permanent:
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
        answer = Answer(None, b"", "", started_at)
        headers: Mapping[str, str] = {}
        received = 0
        try:
            response = self._send(request, deadline)
            try:
                headers = response.headers
                with self.room.reading() as reading:
                    pieces = self._pieces(response, request.max_bytes, deadline)
                    parts = []
                    for piece in pieces:
                        reading.take(len(piece), deadline)
                        parts.append(piece)
                    answer = self._whole(response, b"".join(parts), request, reading.taken)
            finally:
                received = response.raw.tell()
                response.close()
        except (requests.RequestException, HTTPError, OSError, ValueError) as problem:
            answer = replace(answer, error=self._error(problem), permanent=_is_permanent(problem))
        now = datetime.now(UTC)
        attempt = Attempt(
            number=number,
            method=request.method,
            url=self._shown(request),
            status=answer.status,
            error=answer.error,
            bytes_received=received,
            latency_ms=(time.monotonic() - clock) * 1000,
            started_at=started_at,
        )
        return replace(answer, received_at=now, retry_after=wait_s(headers, now)), attempt

    def _whole(
        self, response: requests.Response, body: bytes, request: Request, taken: int
    ) -> Answer:
        """The answer of a response whose body was read to its end."""
        headers = response.headers
        return Answer(
            status=response.status_code,
            body=self.redactor.body(body),
            content_type=self.redactor.text(headers.get("Content-Type", "")),
            received_at=datetime.now(UTC),
            conditional=request.conditional,
            taken=taken,
            etag=self._validator(headers.get("ETag")),
            last_modified=self._validator(headers.get("Last-Modified")),
        )

    def _validator(self, value: str | None) -> str | None:
        """A header to be sent back with the next request; None when that is better left alone."""
        if (
            not value
            or len(value) > LONGEST_VALIDATOR
            or not (value.isascii() and value.isprintable())
        ):
            return None
        return value if self.redactor.text(value) == value else None

    def _shown(self, request: Request) -> str:
        return storable(self.redactor.text(request.shown))

    def _error(self, problem: BaseException) -> str:
        """One line about what went wrong. Redacted before it is cut: half a key is a key."""
        return storable(self.redactor.text(_message(problem)), LONGEST_ERROR)

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
        raise _Permanent(f"more than {self.limits.redirects} redirects")

    def _address(self, url: str) -> str:
        if self._upstream is None:
            return url
        split = urlsplit(url)
        query = f"?{split.query}" if split.query else ""
        return f"{self._upstream}/{split.netloc}{split.path or '/'}{query}"

    def _allow_redirect(self, url: str, target: str) -> None:
        """Raises for a redirect to another scheme or to a private address."""
        before, after = urlsplit(url), urlsplit(target)
        if after.scheme != before.scheme:
            raise _Permanent(f"redirected from {before.scheme} to {after.scheme}: not followed")
        host = after.hostname or ""
        names = [host]
        if self._upstream is None:
            found = socket.getaddrinfo(host, after.port or 443, type=socket.SOCK_STREAM)
            names += [str(info[4][0]) for info in found]
        for name in names:
            if _is_private(name):
                raise _Permanent(f"redirected to the private address {name}: not followed")

    def _pieces(
        self, response: requests.Response, max_bytes: int, deadline: float
    ) -> Iterator[bytes]:
        """The decompressed body, read as it comes so that a drip meets the deadline."""
        size = 0
        raw = self._chunks(response, max_bytes, deadline)
        for piece in encoding.decoded(raw, response.headers.get("Content-Encoding", "")):
            size += len(piece)
            if size > max_bytes:
                raise _Permanent(f"the answer is larger than {max_bytes:,} bytes")
            yield piece

    def _chunks(
        self, response: requests.Response, max_bytes: int, deadline: float
    ) -> Iterator[bytes]:
        """The body as it is on the wire, bounded too: it need not grow when decompressed."""
        left = max_bytes
        while chunk := response.raw.read1(CHUNK, decode_content=False):
            yield chunk
            left -= len(chunk)
            if left < 0:
                raise _Permanent(f"the answer is larger than {max_bytes:,} bytes")
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"the answer was not complete within {self.limits.deadline_s:g} s"
                )


def _proxy_passwords() -> list[str]:
    """What a proxy's address in the environment holds that nobody else should see."""
    return [unquote(urlsplit(url).password or "") for url in getproxies().values()]


def _is_permanent(problem: BaseException) -> bool:
    """Whether asking again would bring the same: a bad certificate, a refused redirect."""
    cause: BaseException | None = problem
    while cause is not None:
        if isinstance(cause, _Permanent | ssl.SSLCertVerificationError):
            return True
        cause = cause.__cause__ or cause.__context__
    return isinstance(problem, requests.exceptions.InvalidURL | requests.exceptions.InvalidHeader)


def _message(problem: BaseException) -> str:
    """What went wrong, from the innermost cause that says something."""
    while True:
        cause = problem.__cause__ or problem.__context__
        if cause is None or isinstance(problem, TimeoutError):
            break
        problem = cause
    text = " ".join(str(problem).split())
    return f"{type(problem).__name__.lstrip('_')}: {text}" if text else type(problem).__name__


def _is_private(name: str) -> bool:
    if name in ("", "localhost") or name.endswith((".localhost", ".local", ".internal")):
        return True
    try:
        address = ipaddress.ip_address(name.split("%", maxsplit=1)[0])
    except ValueError:
        return False
    return not address.is_global
