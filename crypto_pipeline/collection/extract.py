"""From an answer to rows, records left out, and rejects: pure.

Owns: reading bodies, telling an error from data, and the account of every record.
Must not know: the clock, the network, the database.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from html.entities import html5
from typing import Any, Literal
from urllib.parse import urljoin

from pydantic import ValidationError

from crypto_pipeline.collection.fetch import Answer
from crypto_pipeline.sources.spec import Ask, Endpoint
from crypto_pipeline.sources.values import Said, at, iso, rfc822, ticker_name
from crypto_pipeline.tables import Row

Outcome = Literal[
    "ok", "unchanged", "empty", "throttled", "refused", "unreachable", "changed", "skipped"
]

AHEAD = timedelta(days=1)
"""How far in the future an observed time may lie before it is a unit mistaken."""

SHOWN = 2000
_PRICE_OF_ALL = 0.5


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that was refused: the column, the reason, the record as JSON."""

    field: str | None
    reason: str
    record: str


@dataclass(slots=True)
class Extraction:
    """What one answer came to. len(rows) + left_out + len(rejects) == records, always."""

    outcome: Outcome
    reason: str | None = None
    records: int = 0
    rows: list[Row] = field(default_factory=list)
    left_out: int = 0
    rejects: list[Reject] = field(default_factory=list)
    retry_after: float | None = None


def extract(endpoint: Endpoint, ask: Ask, answer: Answer, collection_id: str) -> Extraction:
    """Turn an answer into rows, or into the named reason why there are none."""
    refusal = _by_status(answer)
    if refusal:
        return refusal
    try:
        body = _READERS[endpoint.read](answer.body)
    except (ValueError, RecursionError) as problem:
        return _unreadable(answer, str(problem))
    try:
        where = endpoint.records
        found = where(body) if callable(where) else at(body, where)
        if not isinstance(found, list | tuple) and not callable(where):
            raise KeyError(f"{where or 'the body'} is {type(found).__name__}, not a list")
        records = list(found)
    except Said as said:
        return _by_words(str(said), answer)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as problem:
        words = envelope(body)
        if words:
            return _by_words(words, answer)
        return Extraction("changed", f"records: {_text(problem)}")
    if not records:
        words = envelope(body)
        return _by_words(words, answer) if words else Extraction("empty", "no records")
    return _rows(endpoint, ask, answer, collection_id, records)


# The account of the records


def _rows(
    endpoint: Endpoint, ask: Ask, answer: Answer, collection_id: str, records: list[Any]
) -> Extraction:
    model = endpoint.table
    table = model.table
    filled = {
        **dict.fromkeys(table.filled_by("source"), endpoint.source.name),
        **dict.fromkeys(table.filled_by("observed_at"), answer.received_at),
        **dict.fromkeys(table.filled_by("collection_id"), collection_id),
        **endpoint.fixed,
        **ask.fixed,
    }
    aliases = endpoint.source.aliases
    tickers = [name for name in ("symbol", "quote") if name in table.column_names]
    latest = answer.received_at + AHEAD
    model.model_rebuild()  # does nothing from the second time on
    validate = model.__pydantic_validator__.validate_python
    ends = model.finished is not Row.finished
    done = Extraction("ok", records=len(records))
    for record in records:
        try:
            made = endpoint.row(record)
            if made is None:
                done.left_out += 1
                continue
            values = {**filled, **made}
            for name in tickers:
                if values.get(name) is not None:
                    values[name] = ticker_name(values[name], aliases)
            if bool in map(type, values.values()):
                _refuse_booleans(values)
            row = validate(values)
            if table.any_of and (lacking := row.missing()):
                raise ValueError(lacking)
            if table.time and table.time in made and getattr(row, table.time) > latest:
                raise ValueError(f"{table.time}: {getattr(row, table.time)} is in the future")
            if ends and not row.finished(answer.received_at):
                done.left_out += 1
            else:
                done.rows.append(row)
        except ValidationError as problem:
            first = problem.errors(include_url=False, include_context=False)[0]
            column = ".".join(map(str, first["loc"])) or None
            known = column is None or first["type"] == "missing"
            got = "" if known else f" (got {first['input']!r:.80})"
            reason = f"{column or 'row'}: {first['msg']}{got}"
            done.rejects.append(Reject(column, reason, _shown(record)))
        except (
            KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError
        ) as problem:  # fmt: skip
            done.rejects.append(Reject(None, _text(problem), _shown(record)))
    return _judge(done)


def _judge(done: Extraction) -> Extraction:
    """Call the whole answer changed when most of what should be rows was refused."""
    wanted = len(done.rows) + len(done.rejects)
    if done.rejects and len(done.rejects) > wanted * _PRICE_OF_ALL:
        done.outcome = "changed"
        done.reason = f"{len(done.rejects)} of {wanted} records refused: {done.rejects[0].reason}"
        doubt = "most records of this answer were refused, so this one is not trusted either"
        done.rejects += [
            Reject(None, doubt, _shown(row.model_dump(mode="json"))) for row in done.rows
        ]
        done.rows = []
    elif not done.rows:
        done.outcome, done.reason = "empty", f"all {done.left_out} records left out on purpose"
    return done


def _refuse_booleans(values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, bool):
            raise TypeError(f"{name}: {value!r} is not a value")


def _shown(record: Any) -> str:
    return json.dumps(record, default=str, ensure_ascii=False)[:SHOWN]


def _text(problem: Exception) -> str:
    words = str(problem.args[0]) if isinstance(problem, KeyError) and problem.args else str(problem)
    return f"no {words}" if isinstance(problem, KeyError) and " " not in words else words


# Bodies


_FEED_ROOT = re.compile(rb"<(?:[\w.-]+:)?(?:rss|feed|rdf)\b", re.I)
_FEED_END = re.compile(rb"</(?:[\w.-]+:)?(?:rss|feed|rdf)\s*>", re.I)
_NAMED_ENTITY = re.compile(rb"&(?!(?:amp|lt|gt|quot|apos);)([A-Za-z][A-Za-z0-9]{1,31};)")


def _json(body: bytes) -> Any:
    return json.loads(body.decode("utf-8-sig"))


def _feed(body: bytes) -> list[dict[str, Any]]:
    """The entries of an RSS, RDF or Atom feed.

    Raises ValueError when it is none. External entities are never read. The last entry of a feed
    that has no end is left away: it may be cut anywhere, in its address too.
    """
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
    return [
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


_READERS: Mapping[str, Callable[[bytes], Any]] = {"json": _json, "feed": _feed}


# Errors


_THROTTLED = re.compile(
    r"rate.?limit|too many|too fast|throttl|quota|(?:limit|max\w*) (?:exceeded|reached)|"
    r"exceed\w* .{0,30}limit|limit requests|frequen|slow down|\b1015\b|max calls|max rate|credits",
    re.I,
)
_BUSY = re.compile(
    r"maintenance|busy|timed? ?out|internal (?:server )?error|temporar|unavailable\b(?! in)|"
    r"try again|overload",
    re.I,
)
_FINE = re.compile(r"(?:ok|okay|success\w*|null|none|true|done|操作成功|成功|\d+)?\.?", re.I)
_TITLE = re.compile(rb"<title[^>]*>(.*?)</title>", re.I | re.S)
_WALL = re.compile(
    rb"just a moment|captcha|access denied|attention required|cf-chl|forbidden", re.I
)


def _by_status(answer: Answer) -> Extraction | None:
    """What the status alone decides; None when the body has to be read."""
    status = answer.status
    if status == 304:
        return Extraction("unchanged", "not modified since the last answer")
    if status == 200:
        return None if answer.body.strip() else Extraction("empty", "the body is empty")
    if status is None:
        return Extraction("unreachable", answer.error or "no answer")
    words = answer.error or _said(answer.body)
    reason = f"HTTP {status}" + (f": {words}" if words else "")
    if status in (418, 429) or (400 <= status < 500 and _THROTTLED.search(words)):
        return Extraction("throttled", reason, retry_after=answer.retry_after)
    if status >= 500 or status in (408, 425):
        return Extraction("unreachable", reason, retry_after=answer.retry_after)
    if 400 <= status < 500:
        return Extraction("refused", reason, retry_after=answer.retry_after)
    return Extraction("changed", f"HTTP {status} where 200 was expected")


def _unreadable(answer: Answer, problem: str) -> Extraction:
    """A body of status 200 that is not what was asked for."""
    start = answer.body.lstrip()[:512].lower()
    if start.startswith((b"<!doctype html", b"<html")):
        title = _said(answer.body)
        words = f"a web page instead of data: {title}"
        if _THROTTLED.search(title):
            return Extraction("throttled", words)
        return Extraction("refused" if _WALL.search(answer.body[:8000]) else "changed", words)
    text = _said(answer.body)
    if len(answer.body) < 300 and _THROTTLED.search(text):
        return Extraction("throttled", text, retry_after=answer.retry_after)
    return Extraction("changed", f"unreadable: {problem[:120]} (begins {text[:60]!r})")


def _by_words(words: str, answer: Answer) -> Extraction:
    """An error that came as HTTP 200 counts as what it says."""
    if _THROTTLED.search(words):
        return Extraction("throttled", words, retry_after=answer.retry_after)
    return Extraction("unreachable" if _BUSY.search(words) else "refused", words)


def _said(body: bytes) -> str:
    """The words of an error page: its JSON message, its title, or how it begins."""
    try:
        words = envelope(json.loads(body))
        if words:
            return words
    except (ValueError, RecursionError):
        pass
    title = _TITLE.search(body[:8000])
    shown = title.group(1) if title else re.sub(rb"<[^>]*>", b" ", body[:400])
    return " ".join(shown.decode("utf-8", "replace").split())[:200]


_WORDS = (
    *("error", "errors", "message", "msg", "Message", "error_message", "errorMessage", "err_msg"),
    *("err-msg", "errmsg", "retMsg", "ret_msg", "reason", "detail", "details", "description"),
    *("Error Message", "Information", "Note", "status", "result", "Response", "warning", "desc"),
)


def envelope(body: Any, depth: int = 2) -> str | None:
    """The words of an error inside a parsed answer, or None when it carries none."""
    if not isinstance(body, Mapping):
        return None
    found: list[str] = []
    for name in _WORDS:
        value = body.get(name)
        if isinstance(value, str):
            if not _FINE.fullmatch(value.strip()):
                found.append(value.strip())
        elif isinstance(value, Mapping) and depth:
            found += filter(None, [envelope(value, depth - 1)])
        elif isinstance(value, list) and name in ("error", "errors", "detail"):
            found += [str(item) for item in _flat(value)]
        elif value is False and name == "result":
            found.append("result is false")
    return "; ".join(dict.fromkeys(found))[:300] or None


def _flat(items: Iterable[Any]) -> list[str]:
    words = [envelope(item) if isinstance(item, Mapping) else str(item) for item in items]
    return [word for word in words if word]
