"""Reading a feed: the entries of RSS, RDF and Atom. Pure.

Owns: where the parts of an entry lie, relative addresses, and which entries a feed tells apart.
Must not know: charsets and broken markup, what becomes of an entry.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import urljoin

from crypto_pipeline.addresses import article_key, telling_fragment
from crypto_pipeline.collection import dates, markup

_CORE = frozenset(
    {
        "",
        "http://www.w3.org/2005/Atom",
        "https://www.w3.org/2005/Atom",
        "http://purl.org/atom/ns#",
        "http://purl.org/rss/1.0/",
        "http://my.netscape.com/rdf/simple/0.9/",
        "http://backend.userland.com/rss2",
    }
)
_OTHERS = {
    "http://purl.org/dc/elements/1.1/": "dc:",
    "http://purl.org/dc/terms/": "dcterms:",
    "http://purl.org/rss/1.0/modules/content/": "content:",
    "http://search.yahoo.com/mrss/": "media:",
    "http://www.itunes.com/dtds/podcast-1.0.dtd": "itunes:",
}
_OF_THE_FEED = frozenset({"rss", "atom", "atom10", "a10"})

_TITLES = ("title", "dc:title", "media:title", "itunes:title")
_SUMMARIES = (
    *("description", "summary", "content:encoded", "content"),
    *("dc:description", "media:description", "itunes:summary"),
)
_DATES = (
    *("pubdate", "published", "issued", "dc:date", "dcterms:issued", "dcterms:created", "created"),
    *("updated", "modified", "dcterms:modified", "date"),
)
_AUTHORS = ("author", "dc:creator", "itunes:author", "creator")
_TAGS = ("category", "dc:subject")

_INLINE = frozenset(
    {
        *("a", "abbr", "b", "bdi", "big", "cite", "code", "em", "font", "i", "mark", "s"),
        *("small", "span", "strong", "sub", "sup", "u"),
    }
)
"""Elements of HTML that do not end a word."""

_FOLDED = re.compile(r"[\t\r\n]\s*")
_MAILBOX = re.compile(r"\S+@\S+\s+\(([^()]+)\)")

Parts = Mapping[str, list[Any]]
"""The children of an entry by their short names."""


@dataclass(slots=True)
class Feed:
    """What a feed says. flaw: why some of its entries are not here. mended: what was not as it
    should be, and cost nothing."""

    entries: list[dict[str, Any]] = field(default_factory=list)
    flaw: str | None = None
    mended: str | None = None


def read(body: bytes, content_type: str, address: str) -> Feed:
    """The entries of the feed that `address` answered with.

    Raises ValueError when it is none. External entities are never read. The last entry of a feed
    that has no end is left away: it may be cut anywhere, in its address too.
    """
    found = markup.read(body, content_type)
    _bare(found.root)
    site = _site(found.root, address)
    entries = [_entry(element, site) for element in _elements(found.root)]
    flaw = None
    if not found.whole:
        del entries[-1:]
        flaw = "the feed is cut: it has no end"
    elif found.doubtful and (lost := _written(found.text) - len(entries)) > 0:
        flaw = f"{lost} entries could not be read"
    _date(entries)
    _tell_apart(entries)
    return Feed(entries, flaw, "; ".join(found.mended) or None)


# Elements


@lru_cache(512)
def _short(tag: str) -> str:
    """The name of an element in short: the feed's own bare, others with a prefix."""
    space, _, name = tag.rpartition("}")
    name = name.lower()
    if not space:  # a prefix that was never declared is a part of the name
        prefix, _, rest = name.rpartition(":")
        return rest if prefix in _OF_THE_FEED else name
    space = space[1:]
    return name if space in _CORE else _OTHERS.get(space, f"{space} ") + name


def _parts(element: Any) -> Parts:
    found: dict[str, list[Any]] = {}
    for child in element:
        if isinstance(child.tag, str):
            found.setdefault(_short(child.tag), []).append(child)
    return found


def _bare(root: Any) -> None:
    """Take a namespace that nobody knows off the elements of the feed: it is theirs anyway."""
    space, _, name = root.tag.rpartition("}")
    if space and space[1:] not in _CORE and name.lower() in ("rss", "feed"):
        for element in root.iter(f"{space}}}*"):
            element.tag = element.tag.rpartition("}")[2]


def _elements(root: Any) -> list[Any]:
    """The entries, wherever they lie; also those whose prefix was never declared."""
    found = [e for e in root.iter("{*}item", "{*}entry") if _is(e, "item", "entry")]
    return found or [e for e in root.iter() if _is(e, "item", "entry")]


def _written(text: str) -> int:
    """How many entries the markup begins."""
    return len(re.findall(r"<(?:\w+:)?(?:item|entry)[\s>]", markup.outside(text)))


def _words(element: Any) -> str | None:
    """All the text in an element: with blanks for the ends of paragraphs, none inside words."""
    if not len(element):
        text: str | None = element.text
        return text
    found = [element.text or ""]
    for child in element:
        name = child.tag.rpartition("}")[2] if isinstance(child.tag, str) else ""
        gap = "" if name.lower() in _INLINE else " "
        found += [gap, _words(child) or "", gap, child.tail or ""]
    return "".join(found)


def _first(parts: Parts, names: tuple[str, ...]) -> str | None:
    """The text of the first of these that has some."""
    return next(_texts(parts, names), None)


def _texts(parts: Parts, names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        for element in parts.get(name, ()):
            text = _words(element)
            if text and not text.isspace():
                yield text


# Entries


def _entry(element: Any, site: str) -> dict[str, Any]:
    parts = _parts(element)
    return {
        "title": _title(parts),
        "link": _link(parts, site) or _named_by(parts, element, site),
        "guid": (_first(parts, ("guid", "id")) or "").strip() or None,
        "published": list(_texts(parts, _DATES)),
        "summary": _first(parts, _SUMMARIES),
        "author": _author(parts),
        "tags": [tag for element in _all(parts, _TAGS) if (tag := _tag(element))],
        "apart": "",
    }


def _title(parts: Parts) -> str | None:
    """The title, as text with markup. What says that it has none keeps its brackets: they are
    escaped twice, since markup may be."""
    text = _first(parts, _TITLES)
    plain = any(title.get("type") == "text" for title in parts.get("title", ()))
    return text.replace("<", "&amp;lt;") if text and plain else text


def _all(parts: Parts, names: tuple[str, ...]) -> Iterator[Any]:
    for name in names:
        yield from parts.get(name, ())


def _tag(element: Any) -> str | None:
    return element.get("term") or element.get("label") or _words(element)


def _author(parts: Parts) -> str | None:
    for element in _all(parts, _AUTHORS):
        text = (_first(_parts(element), ("name",)) if len(element) else None) or _words(element)
        if text and not text.isspace():
            mailbox = _MAILBOX.fullmatch(text.strip())
            return mailbox[1] if mailbox else text
    return None


def _link(parts: Parts, site: str) -> str | None:
    """The address of what an element is about: the text of a link, or where an alternate leads;
    a page before what is not one."""
    others = []
    for link in parts.get("link", ()):
        href = link.get("href")
        if href is None:
            if (text := _words(link)) and not text.isspace():
                return _joined(site, link, text)
        elif link.get("rel", "alternate").rpartition("/")[2].lower() == "alternate":
            if "html" in link.get("type", "html"):
                return _joined(site, link, href)
            others.append(link)
    return _joined(site, others[0], others[0].get("href")) if others else None


def _named_by(parts: Parts, element: Any, site: str) -> str | None:
    """The name of an entry, where it is its address as well."""
    names = [e.text for e in _all(parts, ("guid", "id")) if e.get("isPermaLink", "") != "false"]
    names.append(element.get("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}about"))
    name = next((text.strip() for text in names if text and not text.isspace()), None)
    return _joined(site, element, name) if name and name.startswith("/") else name


def _joined(site: str, element: Any, link: str) -> str:
    """A link of an element made whole: with xml:base, else with the address of the site."""
    link = _FOLDED.sub("", link.strip())
    if link[:8].lower().startswith(("http://", "https://")):
        return link
    if link[:4].lower() == "www.":
        return f"https://{link}"
    try:
        return urljoin(urljoin(site, str(element.base or "")), link)
    except ValueError:
        return link


def _site(root: Any, address: str) -> str:
    """What addresses of a feed without xml:base are relative to: the page it is about, else the
    feed itself."""
    channel = next((child for child in root if _is(child, "channel")), root)
    return _link(_parts(channel), address) or address


def _is(element: Any, *names: str) -> bool:
    return isinstance(element.tag, str) and _short(element.tag) in names


# What entries say of one another


def _date(entries: list[dict[str, Any]]) -> None:
    """The first of each entry's dates that means a moment, read as the whole feed writes them."""
    month_first = dates.months_first(text for e in entries for text in e["published"])
    for entry in entries:
        moments = (dates.moment(text, month_first) for text in entry["published"])
        entry["published"] = next((moment for moment in moments if moment), None)


def _tell_apart(entries: list[dict[str, Any]]) -> None:
    """Say what tells entries of one page apart, where the feed says that they differ: by their
    names (guid or id), or else by the fragments of their addresses.

    An entry with a name that is not its page's keeps its fragment, whatever stands beside it: else
    an article would be another one once there are two.
    """
    pages: defaultdict[tuple[str, str], list[_Named]] = defaultdict(list)
    for entry in entries:
        page = _key(entry["link"])
        if page is None:
            continue
        name = _key(entry["guid"]) or entry["guid"]
        fragment = telling_fragment(entry["link"])
        if fragment and name and (name != page or entry["guid"].endswith(f"#{fragment}")):
            entry["apart"] = fragment
        pages[page, entry["apart"]].append(_Named(entry, name, fragment))
    for (page, _), alike in pages.items():
        names, fragments = ([one.name for one in alike], [one.fragment for one in alike])
        telling = next((marks for marks in (names, fragments) if len(set(marks)) > 1), ())
        for one, mark in zip(alike, telling, strict=False):
            one.entry["apart"] = "" if mark in (None, page) else mark


class _Named(NamedTuple):
    entry: dict[str, Any]
    name: str | None
    fragment: str


def _key(address: str | None) -> str | None:
    try:
        return article_key(address) if address and address.startswith("http") else None
    except ValueError:
        return None
