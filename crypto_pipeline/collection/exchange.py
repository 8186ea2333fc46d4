"""One HTTP exchange as data: the request of an endpoint, each attempt, the answer. Pure.

Owns: how an endpoint's request is written down, without a secret.
Must not know: how a request is sent, what an answer means.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote, urlsplit

from crypto_pipeline.sources.spec import GAP_S, MAX_BYTES, Ask, Endpoint, Key, filled

THROTTLED = frozenset({418, 429})
"""The statuses that say: too many requests."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, as far as it can be written down without a secret.

    Equal requests are one request: a collection makes it once. gap: the least seconds between two
    requests to its host.
    """

    method: str
    url: str
    params: tuple[tuple[str, str], ...] = ()
    body: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    key: Key | None = None
    gap: float = GAP_S
    max_bytes: int = MAX_BYTES
    etag: str | None = None
    last_modified: str | None = None

    @property
    def conditional(self) -> bool:
        """Whether it asks only for what changed."""
        return bool(self.etag or self.last_modified)

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    @property
    def shown(self) -> str:
        """The address with its query, for people."""
        query = "&".join(f"{name}={value}" for name, value in self.params)
        return self.url + ("?" + query if query else "")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One time a request was sent, redacted."""

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
    """What came back: a status and a body, or an error and neither.

    permanent: whether asking again would bring the same error. fault: the error is one of ours.
    retry_after: seconds the host wants to be left alone. conditional: asked for what changed only.
    taken: bytes of the room for answers, until they are given back.
    """

    status: int | None
    body: bytes
    content_type: str
    received_at: datetime
    error: str | None = None
    permanent: bool = False
    fault: bool = False
    conditional: bool = False
    taken: int = 0
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
    params: list[tuple[str, str]] = []
    for name, value in endpoint.params.items():
        found = filled(value, ask, at)
        params += [(name, str(item)) for item in (found if isinstance(found, list) else [found])]
    body = None
    if endpoint.json is not None:
        body = json.dumps(filled(endpoint.json, ask, at), separators=(",", ":"))
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
