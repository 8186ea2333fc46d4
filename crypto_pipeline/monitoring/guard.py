"""The guard before Dagster's UI: who may speak to it, and how.

Dagster's webserver has no login and asks nobody where they come from: any web page that is open in
a browser on this machine could turn the schedules off. The guard lets through what the UI's own
page, the commands and a tool on this machine send, and nothing that another page can.

Owns: which Host, Origin, method and kind of body are let through; the words for the others.
Must not know: Dagster.
"""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

ASKING = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing."""

FRAMED_BY_NOBODY_ELSE = (
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""A page that shows the UI in a frame could have its buttons clicked by who does not see them."""

PORTS = {"http": 80, "https": 443}
"""What a browser leaves away."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not let through: the status and a sentence."""

    status: int
    why: str


class Guard:
    """An ASGI application around another: what it refuses the other never sees.

    port: where the UI is served on this machine. proxied: URLs at which a proxy serves it, as a
    browser is given them.
    """

    def __init__(self, app: App, port: int, proxied: Iterable[str] = ()) -> None:
        self._app = app
        urls = [*(f"http://{name}:{port}" for name in LOOPBACK), *proxied]
        self._origins = {origin_of(url) for url in urls}
        self._hosts = {_host_of(url) for url in self._origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, _framed_by_nobody_else(send))
        else:
            await _refuse(scope, send, refusal)

    def _refusal(self, scope: Scope) -> Refusal | None:
        """Every header is looked at as often as it comes: which one counts is for the application
        to say, so that none may be wrong."""
        hosts, origins = _values(scope, b"host"), _values(scope, b"origin")
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return Refusal(403, f"not served under this name: {hosts[0] if hosts else 'no Host'}")
        if not self._origins.issuperset(origin.lower() for origin in origins):
            return Refusal(403, f"not for a page of another origin: {origins[0]}")
        if scope["type"] == "websocket":
            return None
        if scope["method"] not in ASKING:
            kinds = _values(scope, b"content-type")
            if not kinds or any(_essence(kind) != "application/json" for kind in kinds):
                return Refusal(415, "send JSON, with Content-Type: application/json")
        elif "graphql" in scope["path"].lower() and not _for_reading(scope):
            return Refusal(405, "ask by POST, with Content-Type: application/json")
        return None


def origin_of(url: str) -> str:
    """The origin of a URL as a browser writes it: lower case, without the usual port."""
    parts = urlsplit(url.lower())
    name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    usual = parts.port in (None, PORTS[parts.scheme])
    return f"{parts.scheme}://{name}" + ("" if usual else f":{parts.port}")


def _host_of(origin: str) -> str:
    return origin.partition("://")[2]


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for n, value in scope["headers"] if n.lower() == name]


def _essence(content_type: str) -> str:
    """A media type without its parameters: `text/plain; application/json` is text/plain, and any
    page may send that."""
    return content_type.partition(";")[0].strip().lower()


def _for_reading(scope: Scope) -> bool:
    """Whether Dagster answers a GET with its page for writing queries, and runs none."""
    accepted = _values(scope, b"accept")
    return bool(accepted) and all("text/html" in accept for accept in accepted)


def _framed_by_nobody_else(send: Send) -> Send:
    async def with_headers(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *FRAMED_BY_NOBODY_ELSE]
        await send(message)

    return with_headers


async def _refuse(scope: Scope, send: Send, refusal: Refusal) -> None:
    kind = "http.response"
    if scope["type"] == "websocket":
        kind = "websocket.http.response"
        if kind not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008, "reason": refusal.why[:120]})
            return
    body = f"{refusal.why}\n".encode(errors="replace")
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": f"{kind}.start", "status": refusal.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})
