"""An HTTP server on loopback that answers for any host: from samples or from recordings.

The request for https://HOST/PATH?QUERY comes as /HOST/PATH?QUERY. Rules make it misbehave: say
something else, or send it in a way that goes wrong.

Run it: python -m crypto_pipeline_tests.upstream --port 8900 [--recordings FOLDER] [--delay 0.3]
"""

import argparse
import contextlib
import gzip
import json
import re
import socket
import struct
import threading
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol, Self
from urllib.parse import parse_qsl, urlsplit

from crypto_pipeline.collection.exchange import request_for
from crypto_pipeline.sources import ENDPOINTS, Endpoint
from crypto_pipeline.sources.spec import Ask, Computed
from crypto_pipeline_tests import fresh

SAMPLES = Path(__file__).parent / "samples"
RECORDINGS = Path(__file__).parents[1].parent / "shared" / "recordings"

_TYPES = {".json": "application/json", ".xml": "application/xml", ".txt": "text/plain"}
_VOLATILE = re.compile(
    r"limit|count|size|page|start|end|from|to|since|time|countback|sort|order|per_page|offset|"
    r"include|sparkline|price_change|lang|locale|format|convert|apikey|api_key|pageNo|currentPage",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Received:
    """A request as the server got it."""

    method: str
    host: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict, hash=False, compare=False)

    @classmethod
    def of(cls, method: str, url: str, body: Any = None) -> "Received":
        split = urlsplit(url)
        query = tuple(parse_qsl(split.query, keep_blank_values=True))
        return cls(method, split.netloc, split.path.rstrip("/"), query, _parsed(body))

    @property
    def place(self) -> tuple[str, str, str]:
        return self.method, self.host, self.path

    def agreement(self, other: "Received") -> int | None:
        """How well two requests of one place agree; None when they ask for different things."""
        mine: dict[str, list[str]] = defaultdict(list)
        theirs: dict[str, list[str]] = defaultdict(list)
        for store, query in ((mine, self.query), (theirs, other.query)):
            for name, value in query:
                store[name].append(value)
        score = 0
        for name in mine.keys() & theirs.keys():
            if mine[name] == theirs[name]:
                score += 1
            elif not _VOLATILE.fullmatch(name):
                return None
        if isinstance(self.body, list) != isinstance(other.body, list):
            return None
        if isinstance(self.body, Mapping) and isinstance(other.body, Mapping):
            for name in ("method", "type", "coin", "query"):
                if self.body.get(name) != other.body.get(name):
                    return None
        return score


def _parsed(body: Any) -> Any:
    if isinstance(body, str | bytes):
        try:
            return json.loads(body)
        except ValueError:
            return None
    return body


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server says."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


class Answers(Protocol):
    """Something that knows what to reply."""

    def reply(self, request: Received) -> Reply | None: ...


def sample_file(endpoint: Endpoint, folder: Path = SAMPLES) -> Path | None:
    """The sample of an endpoint, or of another one of its source that sends the same request."""
    for candidate in (endpoint, *endpoint.source.endpoints):
        if candidate is endpoint or _request(candidate) == _request(endpoint):
            for ending in _TYPES:
                file = folder / f"{candidate.id}{ending}"
                if file.exists():
                    return file
    return None


@cache
def requests_of(endpoint_id: str) -> tuple[Received, ...]:
    """The requests an endpoint sends, as the server gets them, without what depends on the time."""
    endpoint = ENDPOINTS[endpoint_id]
    timely = {name for name, value in endpoint.params.items() if isinstance(value, Computed)}
    at = datetime(2026, 11, 23, tzinfo=UTC)
    found = []
    for ask in endpoint.asks():
        request = request_for(endpoint, ask, at)
        url = request.url.replace("{key}", "KEY")
        query = "&".join(f"{name}={value}" for name, value in request.params if name not in timely)
        found.append(Received.of(request.method, f"{url}?{query}", request.body))
    return tuple(found)


def _request(endpoint: Endpoint) -> tuple[Any, ...]:
    return (endpoint.url, repr(endpoint.params), repr(endpoint.json))


Answer = tuple[Path, Endpoint, Ask]
"""A sample, and what it is asked for."""


class Samples:
    """Answers from the samples beside the tests, one file per endpoint, as if they were of now."""

    def __init__(self, folder: Path = SAMPLES) -> None:
        self._places: dict[tuple[str, str, str], list[tuple[Received, Answer]]] = defaultdict(list)
        for endpoint in ENDPOINTS.values():
            file = sample_file(endpoint, folder)
            if file is not None:
                asks = endpoint.asks()
                for ask, request in zip(asks, requests_of(endpoint.id), strict=True):
                    place = (request.method, request.host, request.path.replace("/KEY", "/*"))
                    self._places[place].append((request, (file, endpoint, ask)))

    def reply(self, request: Received) -> Reply | None:
        best: tuple[int, Answer] | None = None
        for known, answer in self._places.get(request.place, []):
            score = known.agreement(request)
            if score is not None and known.body is not None and known.body == request.body:
                score += 100
            if score is not None and (best is None or score > best[0]):
                best = (score, answer)
        if best is None:
            return None
        file, endpoint, ask = best[1]
        return Reply(200, fresh.answer(file, endpoint, ask), _TYPES[file.suffix])


def exactly(text: str | None) -> bool:
    """Whether what an index says of the capture is one moment, to the second."""
    return bool(_CAPTURED.fullmatch(text or "")) and "T" in (text or "")


def capture(text: str | None) -> datetime | None:
    """The latest moment at which a recording can have been made, of what its index says: a time, a
    day, a month, a year, or several with words between them."""
    moments = []
    for year, month, day, clock in _CAPTURED.findall(text or ""):
        if clock:
            moments.append(datetime.fromisoformat(f"{year}-{month}-{day}T{clock}+00:00"))
        elif day:
            moments.append(datetime(int(year), int(month), int(day), tzinfo=UTC) + _DAY)
        else:
            months = int(year) * 12 + int(month or 12)  # the first moment of the month after it
            moments.append(datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC))
    return max(moments, default=None)


_CAPTURED = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2})(?:T([\d:.]+)Z)?)?)?")
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded answer and the request it answers.

    captured: when at the latest, if that is known; exact: whether that is to the second.
    """

    request: Received
    status: int
    content_type: str
    file: Path
    source: str
    table: str
    note: str
    captured: datetime | None
    exact: bool

    def reply(self) -> Reply:
        return Reply(self.status, self.file.read_bytes(), self.content_type)


class Recordings:
    """Answers from a folder of recordings with its index-*.jsonl."""

    def __init__(self, folder: Path = RECORDINGS) -> None:
        self.all = list(self._read(folder))
        self._places: dict[tuple[str, str, str], list[Recording]] = defaultdict(list)
        for recording in self.all:
            self._places[recording.request.place].append(recording)

    @staticmethod
    def _read(folder: Path) -> Iterator[Recording]:
        for index in sorted(folder.glob("index-*.jsonl")):
            for line in index.read_text(encoding="utf-8").splitlines():
                entry = json.loads(line)
                file = folder / entry["file"]
                if file.exists() and "url" in entry:
                    body = entry.get("request_body") or entry.get("body")
                    yield Recording(
                        request=Received.of(entry["method"], entry["url"], body),
                        status=entry["status"] or 200,
                        content_type=entry["content_type"] or "application/octet-stream",
                        file=file,
                        source=entry["source"],
                        table=entry["table"],
                        note=entry.get("note", ""),
                        captured=capture(entry.get("captured")),
                        exact=exactly(entry.get("captured")),
                    )

    def reply(self, request: Received) -> Reply | None:
        if isinstance(request.body, list):
            return self._batch(request)
        best: tuple[tuple[bool, int], Recording] | None = None
        for recording in self._places.get(request.place, []):
            agreement = recording.request.agreement(request)
            if agreement is not None:
                score = (recording.status == 200, agreement)
                if best is None or score > best[0]:
                    best = (score, recording)
        if best is None:
            return None
        reply = best[1].reply()
        if isinstance(request.body, Mapping) and "jsonrpc" in request.body:
            answer = _parsed(reply.body)
            if isinstance(answer, dict):
                answer["id"] = request.body.get("id")
                return Reply(reply.status, json.dumps(answer).encode())
        return reply

    def _batch(self, request: Received) -> Reply | None:
        """A JSON-RPC batch is answered call by call."""
        answers = []
        for call in request.body:
            reply = self.reply(Received(*request.place, request.query, call))
            if reply is None or reply.status != 200:
                return reply
            answers.append(_parsed(reply.body))
        return Reply(200, json.dumps(answers).encode())


Say = Callable[[Received, Reply], Reply]
"""What is said instead of an honest reply."""


@dataclass(slots=True)
class Rule:
    """How the server treats requests whose host and path match; `times` limits how often.

    status, body, headers: what of the reply they replace or add to. say: makes another reply of it.
    fault: how it goes over the wire, by a name of FAULTS.
    """

    match: str
    status: int | None = None
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    say: Say | None = None
    fault: str | None = None
    delay: float = 0.0
    times: int | None = None

    def applies(self, request: Received) -> bool:
        if self.times == 0 or not re.search(self.match, request.host + request.path):
            return False
        if self.times is not None:
            self.times -= 1
        return True

    def reply(self, request: Received, honest: Reply) -> Reply:
        """What is said instead of the honest reply."""
        said = Reply(
            self.status or honest.status,
            honest.body if self.body is None else self.body,
            honest.content_type,
            (*honest.headers, *self.headers.items()),
        )
        return self.say(request, said) if self.say else said


class Upstream:
    """The server; a context manager whose `url` goes into CRYPTO_PIPELINE_UPSTREAM."""

    def __init__(
        self,
        *answers: Answers,
        rules: Sequence[Rule] = (),
        delay: float = 0.0,
        port: int = 0,
    ) -> None:
        self.answers = answers or (Samples(),)
        self.rules = list(rules)
        self.delay = delay
        self.received: list[Received] = []
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"upstream": self})
        self._server = _Server(("127.0.0.1", port), handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def serve(self) -> None:
        self._server.serve_forever()

    def take(self, request: Received) -> Rule | None:
        with self._lock:
            self.received.append(request)
            return next((rule for rule in self.rules if rule.applies(request)), None)

    def reply(self, request: Received) -> Reply:
        for answers in self.answers:
            reply = answers.reply(request)
            if reply is not None:
                return reply
        words = f"nothing is known for {request.method} {request.host}{request.path}"
        return Reply(404, json.dumps({"error": words}).encode())


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    upstream: Upstream
    protocol_version = "HTTP/1.1"
    wbufsize = 65_536
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        host, _, rest = self.path.lstrip("/").partition("/")
        request = Received.of(self.command, f"https://{host}/{rest}", body)
        request = Received(*request.place, request.query, request.body, dict(self.headers.items()))
        rule = self.upstream.take(request)
        time.sleep(self.upstream.delay + (rule.delay if rule else 0.0))
        reply = self.upstream.reply(request)
        with contextlib.suppress(OSError):
            if rule is None:
                self.send(reply)
            else:
                reply = rule.reply(request, reply)
                FAULTS[rule.fault](self, reply) if rule.fault else self.send(reply)

    def send(self, reply: Reply, length: int | None = None) -> None:
        """Send a reply; `length` is what is said of its body where that is not true."""
        size = len(reply.body) if length is None else length
        self.head(reply, (("Content-Length", str(size)),))
        self.raw(reply.body)

    def head(self, reply: Reply, more: Iterable[tuple[str, str]] = ()) -> None:
        """Send the status and the headers."""
        self.send_response_only(reply.status)
        said = {name.lower() for name, _ in reply.headers}
        own = (("Content-Type", reply.content_type), ("Date", self.date_time_string()))
        headers = [header for header in own if header[0].lower() not in said]
        for name, value in (*headers, *reply.headers, *more):
            self.send_header(name, value)
        self.end_headers()

    def raw(self, content: bytes) -> None:
        self.wfile.write(content)
        self.wfile.flush()

    def drip(self, content: bytes) -> None:
        for byte in content:
            self.raw(bytes([byte]))
            time.sleep(0.2)

    def hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


# How a reply goes over the wire when it goes wrong

MANY = 64 * 1024
_CHUNKED = (("Transfer-Encoding", "chunked"),)


def _half(reply: Reply) -> Reply:
    return replace(reply, body=reply.body[: len(reply.body) // 2])


def _encoded(reply: Reply, encoding: str, body: bytes) -> Reply:
    headers = (*reply.headers, ("Content-Encoding", encoding))
    return replace(reply, body=body, headers=headers)


def _reset(to: _Handler, _: Reply) -> None:
    to.reset()


def _reset_in_body(to: _Handler, reply: Reply) -> None:
    to.send(_half(reply), len(reply.body))
    to.reset()


def _silent(to: _Handler, _: Reply) -> None:
    to.connection.recv(1)  # until the client has had enough
    to.close_connection = True


def _silent_in_body(to: _Handler, reply: Reply) -> None:
    to.send(_half(reply), len(reply.body))
    _silent(to, reply)


def _truncate(to: _Handler, reply: Reply) -> None:
    to.send(_half(reply), len(reply.body))
    to.hang_up()


def _drip(to: _Handler, reply: Reply) -> None:
    to.send(replace(reply, body=b""), len(reply.body))
    to.drip(reply.body)


def _drip_headers(to: _Handler, _: Reply) -> None:
    to.drip(b"HTTP/1.1 200 OK\r\nX-Slow: " + b"z" * 100_000)


def _many_headers(to: _Handler, _: Reply) -> None:
    to.raw(b"HTTP/1.1 200 OK\r\n")
    for number in range(100_000):
        to.raw(b"X-%d: flood\r\n" % number)
    to.hang_up()


def _long_header(to: _Handler, _: Reply) -> None:
    to.raw(b"HTTP/1.1 200 OK\r\nX-Long: " + b"z" * 10_000_000 + b"\r\n\r\n")
    to.hang_up()


def _headers_without_end(to: _Handler, _: Reply) -> None:
    to.raw(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while True:
        to.raw(b"z" * MANY)


def _interim_without_end(to: _Handler, _: Reply) -> None:
    while True:
        to.raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


def _chunked(to: _Handler, reply: Reply) -> None:
    to.head(reply, _CHUNKED)
    for start in range(0, len(reply.body), 1000):
        part = reply.body[start : start + 1000]
        to.raw(b"%x\r\n%b\r\n" % (len(part), part))
    to.raw(b"0\r\n\r\n")


def _chunks_without_end(to: _Handler, reply: Reply) -> None:
    to.head(reply, _CHUNKED)
    chunk = b"%x\r\n%b\r\n" % (MANY, b"[" + b" " * (MANY - 1))
    while True:
        to.raw(chunk)


def _bad_chunk(to: _Handler, reply: Reply) -> None:
    to.head(reply, _CHUNKED)
    to.raw(b"not-hex\r\n" + reply.body)
    to.hang_up()


def _chunks_cut(to: _Handler, reply: Reply) -> None:
    to.head(reply, _CHUNKED)
    part = _half(reply).body
    to.raw(b"%x\r\n%b\r\n" % (len(part), part))
    to.hang_up()


def _without_length(to: _Handler, reply: Reply) -> None:
    to.head(reply, (("Connection", "close"),))
    to.raw(reply.body)
    to.hang_up()


def _gzip(to: _Handler, reply: Reply) -> None:
    to.send(_encoded(reply, "gzip", gzip.compress(reply.body)))


def _half_gzip(to: _Handler, reply: Reply) -> None:
    to.send(_half(_encoded(reply, "gzip", gzip.compress(reply.body))))


def _false_gzip(to: _Handler, reply: Reply) -> None:
    to.send(_encoded(reply, "gzip", reply.body))


def _gzip_of_two(to: _Handler, reply: Reply) -> None:
    half = len(reply.body) // 2
    body = gzip.compress(reply.body[:half]) + gzip.compress(reply.body[half:])
    to.send(_encoded(reply, "gzip", body))


def _zlib(to: _Handler, reply: Reply) -> None:
    to.send(_encoded(reply, "deflate", zlib.compress(reply.body)))


def _deflate(to: _Handler, reply: Reply) -> None:
    to.send(_encoded(reply, "deflate", zlib.compress(reply.body)[2:-4]))


def _brotli(to: _Handler, reply: Reply) -> None:
    to.send(_encoded(reply, "br", b"\x0b\x02\x80" + reply.body + b"\x03"))


def _zstd(to: _Handler, reply: Reply) -> None:
    to.send(_encoded(reply, "zstd", b"\x28\xb5\x2f\xfd" + reply.body))


def _strange_encoding(to: _Handler, reply: Reply) -> None:
    to.send(_encoded(reply, "x-rot13", reply.body))


@cache
def _zeros(megabytes: int) -> bytes:
    return gzip.compress(b"0" * megabytes * 1_000_000, 1)


def _bomb(to: _Handler, reply: Reply) -> None:
    to.send(_encoded(reply, "gzip", _zeros(8)))


def _big_bomb(to: _Handler, reply: Reply) -> None:
    to.send(_encoded(reply, "gzip", _zeros(400)))


def _html(to: _Handler, reply: Reply) -> None:
    page = b"<!DOCTYPE html><html><title>Welcome</title></html>"
    to.send(replace(reply, body=page, content_type="text/html"))


def _no_status(to: _Handler, reply: Reply) -> None:
    to.raw(b"\r\n\r\n" + reply.body)
    to.hang_up()


def _nothing(to: _Handler, _: Reply) -> None:
    to.hang_up()


def _strange_status(to: _Handler, reply: Reply) -> None:
    to.raw(b"HTTP/1.1 " + reply.body + b"\r\n\r\n")
    to.hang_up()


def _http09(to: _Handler, reply: Reply) -> None:
    to.raw(reply.body)
    to.hang_up()


def _garbage(to: _Handler, _: Reply) -> None:
    to.raw(bytes(range(256)) * 100)
    to.hang_up()


FAULTS: Mapping[str, Callable[[_Handler, Reply], None]] = {
    "reset": _reset,
    "reset_in_body": _reset_in_body,
    "silent": _silent,
    "silent_in_body": _silent_in_body,
    "truncate": _truncate,
    "drip": _drip,
    "drip_headers": _drip_headers,
    "many_headers": _many_headers,
    "long_header": _long_header,
    "headers_without_end": _headers_without_end,
    "interim_without_end": _interim_without_end,
    "chunked": _chunked,
    "chunks_without_end": _chunks_without_end,
    "chunks_cut": _chunks_cut,
    "bad_chunk": _bad_chunk,
    "without_length": _without_length,
    "gzip": _gzip,
    "half_gzip": _half_gzip,
    "false_gzip": _false_gzip,
    "gzip_of_two": _gzip_of_two,
    "zlib": _zlib,
    "deflate": _deflate,
    "brotli": _brotli,
    "zstd": _zstd,
    "strange_encoding": _strange_encoding,
    "bomb": _bomb,
    "big_bomb": _big_bomb,
    "html": _html,
    "no_status": _no_status,
    "strange_status": _strange_status,
    "nothing": _nothing,
    "http09": _http09,
    "garbage": _garbage,
}
"""The names by which a rule calls for a fault."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=8900)
    parser.add_argument("--recordings", type=Path, help="a folder of recordings to answer from")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before every answer")
    chosen = parser.parse_args()
    answers = Recordings(chosen.recordings) if chosen.recordings else Samples()
    upstream = Upstream(answers, delay=chosen.delay, port=chosen.port)
    print(f"answering at {upstream.url}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        upstream.serve()


if __name__ == "__main__":
    main()
