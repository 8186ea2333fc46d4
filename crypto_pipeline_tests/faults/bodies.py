"""What the kinds say: edits of an honest answer.

Each function makes a `Say`: of a request and its honest reply, another reply.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

from crypto_pipeline_tests.upstream import Received, Reply, Say

HALF_EMOJI = "\ud83d"
CONTROLS = "\x1b[31mRED\x1b[0m\x07\x00\r\n\x7f\x9b\u202e"
MEGABYTE = 1_000_000

Edit = Callable[[Any], Any]


def status(code: int, **headers: str) -> Say:
    """A status with a plain page that has no word of any meaning."""
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    body = b"" if code in (204, 304) else b"<p>x</p>"

    def say(_: Received, honest: Reply) -> Reply:
        return Reply(code, body, "text/html", named)

    return say


def body(content: bytes, content_type: str = "application/json", code: int = 200) -> Say:
    """A body that has nothing to do with the question."""
    return lambda _, honest: Reply(code, content, content_type)


def made(make: Callable[[], bytes]) -> Say:
    """A body too large to be made before it is asked for; made once."""
    kept = lru_cache(maxsize=1)(make)
    return lambda _, honest: replace(honest, body=kept())


def raw(edit: Callable[[bytes], bytes]) -> Say:
    """The bytes of the honest body, edited."""
    return lambda _, honest: replace(honest, body=edit(honest.body))


def headers(**named: str) -> Say:
    """The honest answer with headers more."""
    more = tuple((name.replace("_", "-"), value) for name, value in named.items())
    return lambda _, honest: replace(honest, headers=(*honest.headers, *more))


def parsed(edit: Edit) -> Say:
    """The honest JSON, edited."""

    def say(_: Received, honest: Reply) -> Reply:
        return replace(honest, body=dumped(edit(json.loads(honest.body))))

    return say


def dumped(value: Any) -> bytes:
    """JSON as a careless server writes it: NaN, half emojis and integers of any length too."""
    return json.dumps(value).encode("utf-8", "surrogatepass")


# Edits of parsed JSON


def each_value(change: Edit) -> Edit:
    """Every value that is no object or list replaced; names and shapes stay."""

    def edit(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: edit(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [edit(inner) for inner in value]
        return change(value)

    return edit


def leaves(text: Edit | None = None, number: Edit | None = None) -> Edit:
    """Every text, or every number, replaced."""

    def change(value: Any) -> Any:
        if isinstance(value, str):
            return text(value) if text else value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return number(value) if number else value
        return value

    return each_value(change)


def everywhere(value: Any) -> Edit:
    """The same shape, and this for every value."""
    return each_value(lambda _: value)


def keys(edit: Callable[[str], str]) -> Edit:
    """Every name of a field edited."""

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            return {edit(name): walk(inner) for name, inner in value.items()}
        return [walk(inner) for inner in value] if isinstance(value, list) else value

    return walk


def lists(value: Any) -> Iterator[list[Any]]:
    """Every list inside a value, the outer ones first."""
    if isinstance(value, list):
        yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        yield from lists(item)


def longest(value: Any) -> list[Any] | None:
    """The longest list: where the records most likely lie."""
    return max(lists(value), key=len, default=None)


def one_more(edit: Edit) -> Edit:
    """One more record behind the others, edited; nothing where there is no list."""

    def more(value: Any) -> Any:
        found = longest(value)
        if found:
            found.append(edit(json.loads(json.dumps(found[0]))))
        return value

    return more


def one_text(to: str) -> Edit:
    """The first text of the longest list, or of all, replaced; the others stay."""

    def edit(value: Any) -> Any:
        left = [to]
        swap = leaves(text=lambda text: left.pop() if left else text)
        found = longest(value)
        if found:
            found[:] = swap(list(found))
        return value if found and not left else swap(value)

    return edit


def repeated(size: int, edit: Edit = lambda record: record) -> Edit:
    """The records over and over, until they weigh so many bytes."""

    def more(value: Any) -> Any:
        found = longest(value)
        if found:
            records = [edit(record) for record in found]
            times = size // max(1, len(dumped(records)))
            found[:] = records * (times + 1)
        return value

    return more


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


# JSON-RPC


def rpc_error(code: int, message: str = "x") -> Say:
    """Every call of the exchange answered with an error."""
    return _rpc(lambda call: {"error": {"code": code, "message": message}})


def rpc_result(result: Any) -> Say:
    """Every call answered with the same result."""
    return _rpc(lambda call: {"result": result})


def _rpc(answer: Callable[[Any], dict[str, Any]]) -> Say:
    def say(request: Received, honest: Reply) -> Reply:
        def one(call: Any) -> dict[str, Any]:
            number = call.get("id", 1) if isinstance(call, dict) else 1
            return {"jsonrpc": "2.0", "id": number, **answer(call)}

        asked = request.body
        said = [one(call) for call in asked] if isinstance(asked, list) else one(asked)
        return replace(honest, body=dumped(said))

    return say


def rpc_single(value: dict[str, Any]) -> Say:
    """One object, whatever was asked."""
    return body(dumped({"jsonrpc": "2.0", "id": None, **value}))


def rpc_number(number: bytes) -> Say:
    """The honest answers with another number, as it is written."""

    def edit(content: bytes) -> bytes:
        marked = leaves()(json.loads(content))
        for answer in marked if isinstance(marked, list) else [marked]:
            answer["id"] = "THE-NUMBER"
        return dumped(marked).replace(b'"THE-NUMBER"', number)

    return raw(edit)


# Feeds


def feed(entries: int, *, content: str = "x", end: str = "</channel></rss>") -> bytes:
    """A feed of so many small entries."""
    made = [
        f"<item><title>Entry {n}</title><link>https://paper.example/{n}</link>"
        f"<pubDate>Mon, 23 Nov 2026 11:00:00 +0000</pubDate>"
        f"<description>{content}</description></item>"
        for n in range(entries)
    ]
    start = '<?xml version="1.0"?><rss version="2.0"><channel><title>Paper</title>'
    return (start + "".join(made) + end).encode()


def cut_feed(content: bytes) -> bytes:
    """A feed cut inside its last entry."""
    last = max(content.rfind(b"<item"), content.rfind(b"<entry"))
    return content[: last + 20] if last > 0 else content[: len(content) // 2]


def endless_feed(content: bytes) -> bytes:
    """A feed whose entries are whole and whose end is missing."""
    last = max(content.rfind(b"</item>") + 7, content.rfind(b"</entry>") + 8)
    return content[:last] if last > 8 else content[: len(content) // 2]


def entity_bomb() -> bytes:
    """Forty entities, each of which is the one before it twice."""
    levels = '<!ENTITY e0 "x">' + "".join(
        f'<!ENTITY e{n} "&e{n - 1};&e{n - 1};">' for n in range(1, 40)
    )
    return (
        f'<?xml version="1.0"?><!DOCTYPE rss [{levels}]><rss version="2.0"><channel>'
        "<item><title>&e39;</title><link>https://paper.example/a</link></item></channel></rss>"
    ).encode()


EXTERNAL_ENTITY = (
    b'<?xml version="1.0"?><!DOCTYPE rss [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
    b'<rss version="2.0"><channel><item><title>&a;</title><link>https://paper.example/a</link>'
    b"</item></channel></rss>"
)
