"""Reading a body: JSON, or the entries of a feed. Pure.

Owns: what is forgiven of a body, and what is never read from one.
Must not know: what a body means.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from crypto_pipeline.collection.exchange import Answer
from crypto_pipeline.sources.spec import Reader

MOST_PARSED = 128_000_000
"""The most bytes that a parsed body may take, by what its brackets and commas cost in CPython."""


@dataclass(frozen=True, slots=True)
class Body:
    """What a body says. flaw: why it is not the whole of what was sent, if it is not. mended: what
    had to be put right before it could be read, and cost nothing."""

    value: Any
    flaw: str | None = None
    mended: str | None = None


def _json(answer: Answer, address: str) -> Body:
    body = answer.body
    _bound(240 * body.count(b"{") + 80 * (body.count(b"[") + body.count(b",")))
    return Body(json.loads(body.decode("utf-8-sig")))


def _bound(size: int) -> None:
    """Raises ValueError for a body that is small on the wire and huge in memory."""
    if size > MOST_PARSED:
        raise ValueError(f"it would take {size:,} bytes of memory, more than {MOST_PARSED:,}")


def _feed(answer: Answer, address: str) -> Body:
    from crypto_pipeline.collection import feeds  # noqa: PLC0415  (only who reads one pays for it)

    _bound(200 * answer.body.count(b"<"))
    feed = feeds.read(answer.body, answer.content_type, address)
    return Body(feed.entries, feed.flaw, feed.mended)


READERS: Mapping[Reader, Callable[[Answer, str], Body]] = {"json": _json, "feed": _feed}
"""How each kind of answer is read, with the address it is of; all raise ValueError for one that
cannot be."""
