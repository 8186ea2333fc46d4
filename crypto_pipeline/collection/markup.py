"""From the bytes of a feed to a tree of XML: its charset, and what is mended in it. Pure.

Owns: which charset is believed, what is mended before parsing, and what is said of it.
Must not know: what the elements of a feed mean.
"""

import codecs
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from html.entities import html5
from typing import Any

_ROOT = re.compile(r"<(?:[\w.-]+:)?(?:(?P<feed>rss|feed|rdf)|html|head|body)\b", re.I)
_END = re.compile(r"</(?:[\w.-]+:)?(?:rss|feed|rdf)\s*>", re.I)
_DECLARED = re.compile(rb"<\?xml[^<>]{0,200}?encoding\s*=\s*[\"']([\w.:-]{1,40})[\"']", re.I)
_NAMED = re.compile(r"charset\s*=\s*[\"']?([\w.:-]{1,40})", re.I)

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"<\0", "utf-16-le"),
    (b"\0<", "utf-16-be"),
)
"""How a body begins whose charset can be seen."""

_CHARSETS = re.compile(
    r"utf-?8|(?:us-)?ascii|(?:iso-?8859|latin)-?\d+|iso-8859-8-i|(?:windows|cp|ibm)-?\d+|"
    r"koi8-[rut]|gb2312|gbk|gb18030|big5(?:-?hkscs)?|euc-(?:jp|kr)|(?:x-)?s(?:hift)?-?jis|"
    r"iso-2022-(?:jp|kr)|ks-c-5601(?:-1987)?|tis-620|mac(?:intosh|-?roman|-?cyrillic)"
)
"""The charsets that are believed. Python knows more under this roof: base64, idna, escapes."""

_WIDER = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "tis_620": "cp874",
}
"""A charset that holds all of another, under whose name it is often sent."""

_UNBROKEN = (("<![CDATA[", "]]>"), ("<!--", "-->"))
"""Between these an ampersand is one."""

_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_BROKEN = re.compile(
    r"&(?!(?:amp|lt|gt|quot|apos);)(?:(?P<named>[A-Za-z][A-Za-z0-9]{1,31});"
    r"|\#(?:x(?P<hex>[0-9a-fA-F]{1,8})|(?P<decimal>[0-9]{1,8}));)?|<(?=[\s\d=<&])"
)
_TAG = re.compile(r"<[A-Za-z][^<>]*>")
_ATTRIBUTE = re.compile(
    r"(?P<name>(?<![\w:.-])[\w:.-]+)\s*=\s*(?:\"[^\"]*\"|'[^']*'|(?P<bare>[^\s\"'<>]+))"
)

MOST_REPAIRS = 100_000
"""What needs more is no feed."""


@dataclass(frozen=True, slots=True)
class Markup:
    """A feed as a tree.

    whole: whether it has its end. mended: what was not as it should be, in words; empty for most.
    doubtful: whether the parser had to guess where elements end, so that some may be lost.
    text: the markup as it was parsed.
    """

    root: Any
    whole: bool
    mended: tuple[str, ...]
    doubtful: bool
    text: str


def read(body: bytes, content_type: str) -> Markup:
    """The tree of a feed. Raises ValueError for what is none."""
    text, doubt = _text(body, content_type)
    mended = [doubt] if doubt else []
    root = _ROOT.search(text)
    if "<!ENTITY" in text[: root.start() if root else 4096]:
        raise ValueError("the feed declares entities")
    if root is None or not root["feed"]:
        raise ValueError(f"not a feed: {'a page' if root else 'no rss, feed or rdf'} in it")
    ends = [found.end() for found in _END.finditer(text, max(root.start(), len(text) - 4096))]
    behind = text[ends[-1] :].strip(" \t\r\n\0") if ends else ""
    if behind and not behind.startswith("<!--"):
        mended.append("text behind its end")
    text = text[root.start() : ends[-1] if ends else None]
    tree, problem = _parsed(text)
    if problem:
        text, repairs = _mend(text)
        mended += repairs
        tree, problem = _parsed(text)
    if problem and ends:
        mended.append(f"not well-formed: {problem}")
    if tree is None:
        tree, _ = _parsed(text, recover=True)
    if tree is None:
        raise ValueError(f"not a feed: {problem}")
    return Markup(tree, bool(ends), tuple(mended), problem is not None, text)


# Its charset


def _text(body: bytes, content_type: str) -> tuple[str, str | None]:
    """The body's text, and what was odd about its charset: a mark at its beginning is believed
    first, then the header, then its own declaration (RFC 7303). What is UTF-8 beyond doubt is
    that, whatever it is called: no other text comes out as valid UTF-8 by chance."""
    body = body.lstrip(b" \t\r\n")
    for mark, charset in _BOMS:
        if body.startswith(mark):
            skipped = 0 if b"<" in mark else len(mark)
            return _replaced(body[skipped:], charset)
    named, declared = _NAMED.search(content_type), _DECLARED.search(body, 0, 1024)
    names = [named[1] if named else "", declared[1].decode() if declared else "", "utf-8"]
    charsets = [known for name in names if (known := _known(name))]
    if _fits(body, "utf-8") and not charsets[0].startswith("iso2022"):
        odd = charsets[0] != "utf-8" and not body.isascii()
        return body.decode(), f"charset utf-8 instead of {charsets[0]}" if odd else None
    for charset in charsets:
        text, doubt = _replaced(body, charset)
        if doubt and not (charset == "utf-8" and _mostly(text)):
            continue
        odd = charset != charsets[0]
        return text, f"charset {charset} instead of {charsets[0]}" if odd else doubt
    return _replaced(body, charsets[0])


def _known(name: str) -> str | None:
    """Python's name for a charset that is believed."""
    name = name.lower().replace("_", "-")
    if not _CHARSETS.fullmatch(name):
        return None
    try:
        found = codecs.lookup(name.removeprefix("x-")).name
    except LookupError:
        return None
    return _WIDER.get(found, found)


def _fits(body: bytes, charset: str) -> bool:
    try:
        body.decode(charset)
    except UnicodeDecodeError:
        return False
    return True


def _replaced(body: bytes, charset: str) -> tuple[str, str | None]:
    """The text with a mark for each wrong byte, and how many those are."""
    text = body.decode(charset, "replace")
    wrong = text.count("\ufffd")
    return text, f"{wrong} characters not in {charset}" if wrong else None


def _mostly(text: str) -> bool:
    """Whether few of the characters beyond ASCII could not be read."""
    return 10 * text.count("\ufffd") <= len(text) - len(text.encode("ascii", "ignore"))


# Its markup


def _parsed(text: str, *, recover: bool = False) -> tuple[Any, str | None]:
    """The tree, and the first thing that is wrong with it: a tree then only with recover."""
    from lxml import etree  # noqa: PLC0415  (only feeds pay for loading an XML parser)

    parser = etree.XMLParser(
        encoding="utf-8", recover=recover, resolve_entities=False, no_network=True,
        remove_comments=True, remove_pis=True, collect_ids=False,
    )  # fmt: skip
    try:
        return etree.fromstring(text.encode("utf-8", "replace"), parser), None
    except (etree.LxmlError, SyntaxError, ValueError) as problem:
        return None, str(problem)[:200]


def _mend(text: str) -> tuple[str, list[str]]:
    """The markup with what can be mended for sure, and what that was."""
    repairs: Counter[str] = Counter()

    def counted(what: str) -> None:
        repairs[what] += 1
        if repairs[what] > MOST_REPAIRS:
            raise ValueError(f"not a feed: more than {MOST_REPAIRS:,} {what}")

    def character(found: re.Match[str]) -> str:
        new, what = _repair(found)
        if what:
            counted(what)
        return new

    def attribute(found: re.Match[str]) -> str:
        if found["bare"] is None:
            return found.group()
        counted("attributes without quotes")
        return f'{found["name"]}="{found["bare"]}"'

    def part(text: str) -> str:
        text = _BROKEN.sub(character, text)
        return _TAG.sub(lambda tag: _ATTRIBUTE.sub(attribute, tag.group()), text)

    text, controls = _CONTROLS.subn(" ", text)
    if controls:
        repairs["control characters"] += controls
    text = "".join(found if unbroken else part(found) for found, unbroken in _parts(text))
    return text, [f"{count} {what}" for what, count in repairs.items()]


def _repair(found: re.Match[str]) -> tuple[str, str | None]:
    """What stands for an ampersand or bracket, and what was wrong with it."""
    written = found.group()
    if written == "<":
        return "&lt;", "bare brackets"
    if name := found["named"]:
        if letters := html5.get(name + ";"):
            return "".join(f"&#{ord(letter)};" for letter in letters), "undeclared entities"
    elif found["hex"] or found["decimal"]:
        number = int(found["hex"], 16) if found["hex"] else int(found["decimal"])
        if number in (9, 10, 13) or 32 <= number < 0xD800 or 0xE000 <= number < 0xFFFE:
            return written, None
        fits = 0x10000 <= number < 0x110000
        return (written, None) if fits else ("\ufffd", "references to no character")
    return "&amp;" + written[1:], "bare ampersands"


def outside(text: str) -> str:
    """The markup without CDATA and comments."""
    return "".join(part for part, unbroken in _parts(text) if not unbroken)


def _parts(text: str) -> Iterator[tuple[str, bool]]:
    """The parts of a text, and whether each is CDATA or a comment. One without its end is none."""
    ends = dict(_UNBROKEN)
    place = 0
    for start in re.finditer(r"<!\[CDATA\[|<!--", text):
        mark = start.group()
        if start.start() < place or mark not in ends:
            continue
        end = text.find(ends[mark], start.end())
        if end < 0:
            del ends[mark]  # nor has any behind it
            continue
        yield text[place : start.start()], False
        place = end + 3
        yield text[start.start() : place], True
    yield text[place:], False
