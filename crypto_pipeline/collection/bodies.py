"""Reading a body: JSON, or the entries of a feed. Pure.

Owns: what is forgiven of a body, and what is never read from one.
Must not know: what a body means.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from html.entities import html5
from typing import Any
from urllib.parse import urljoin

from crypto_pipeline.sources.spec import Reader
from crypto_pipeline.sources.values import iso, rfc822

_FEED_ROOT = re.compile(rb"<(?:[\w.-]+:)?(?:rss|feed|rdf)\b", re.I)
_FEED_END = re.compile(rb"</(?:[\w.-]+:)?(?:rss|feed|rdf)\s*>", re.I)
_NAMED_ENTITY = re.compile(rb"&(?!(?:amp|lt|gt|quot|apos);)([A-Za-z][A-Za-z0-9]{1,31};)")


MOST_PARSED = 128_000_000
"""The most bytes that a parsed body may take, by what its brackets and commas cost in CPython."""


@dataclass(frozen=True, slots=True)
class Body:
    """What a body says. flaw: why it is not the whole of what was sent, if it is not."""

    value: Any
    flaw: str | None = None


def _json(body: bytes) -> Body:
    _bound(240 * body.count(b"{") + 80 * (body.count(b"[") + body.count(b",")))
    return Body(json.loads(body.decode("utf-8-sig")))


def _bound(size: int) -> None:
    """Raises ValueError for a body that is small on the wire and huge in memory."""
    if size > MOST_PARSED:
        raise ValueError(f"it would take {size:,} bytes of memory, more than {MOST_PARSED:,}")


def _feed(body: bytes) -> Body:
    """The entries of an RSS, RDF or Atom feed.

    Raises ValueError when it is none. External entities are never read. The last entry of a feed
    that has no end is left away: it may be cut anywhere, in its address too.
    """
    _bound(200 * body.count(b"<"))
    import fastfeedparser  # noqa: PLC0415  (only feeds pay for loading an XML parser)

    ascii_only = body.replace(b"\0", b"")  # so that UTF-16 is searched as well
    root = _FEED_ROOT.search(ascii_only)
    if b"<!ENTITY" in ascii_only[: root.start() if root else 4096]:
        raise ValueError("the feed declares entities")
    try:
        parsed = fastfeedparser.parse(_NAMED_ENTITY.sub(_numbered, body))
    except Exception as problem:  # the parser raises what its XML library raises
        raise ValueError(f"not a feed: {problem}") from None
    whole = _FEED_END.search(ascii_only[-4096:])
    site = parsed.feed.get("link") or ""
    entries = [
        {
            "title": entry.get("title"),
            "link": _absolute(site, entry.get("link") or entry.get("id")),
            "published": _published(entry.get("published") or entry.get("updated")),
            "summary": entry.get("description") or entry.get("summary"),
            "author": entry.get("author"),
            "tags": [tag.get("term") for tag in entry.get("tags") or []],
        }
        for entry in (parsed.entries if whole else parsed.entries[:-1])
    ]
    return Body(entries, None if whole else "the feed is cut: it has no end")


def _numbered(match: re.Match[bytes]) -> bytes:
    """An entity of HTML as numbers: XML knows five by name, and ends the text at any other."""
    letters = html5.get(match.group(1).decode())
    return "".join(f"&#{ord(c)};" for c in letters).encode() if letters else match.group()


def _absolute(site: str, link: str | None) -> str | None:
    return urljoin(site, link) if link and link.startswith("/") else link


def _published(text: str | None) -> datetime | None:
    """A feed's date; None when it is none, since an article without a date is still one."""
    for read in (iso, rfc822):
        try:
            return read(text)
        except (ValueError, TypeError):
            continue
    return None


READERS: Mapping[Reader, Callable[[bytes], Body]] = {"json": _json, "feed": _feed}
"""How each kind of body is read; all raise ValueError for one that cannot be."""
