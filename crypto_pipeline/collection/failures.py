"""Errors that come instead of data, called by their names. Pure.

Owns: which outcome a status, a code, a web page or a message stands for, in this order: a number is
decided by whoever sent it, words only by us.
Must not know: records and rows.
"""

import json
import re
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crypto_pipeline.collection.exchange import THROTTLED, Answer
from crypto_pipeline.sources.spec import Codes
from crypto_pipeline.sources.values import SourceMessage
from crypto_pipeline.tables.outcomes import FAULT, Outcome
from crypto_pipeline.text import storable

LONGEST_MESSAGE = 300
LONGEST_ERROR_PAGE = 64_000
"""Bytes of an error's body that are read as JSON; a longer one is judged by how it begins."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An answer without data: its outcome, why, and the seconds to be left alone if it said so."""

    outcome: Outcome
    reason: str
    retry_after: float | None = None


_RPC: Codes = {
    "-32700": "refused",
    "-32600": "refused",
    "-32601": "refused",
    "-32602": "refused",
    "-32603": "unreachable",
    "-32001": "refused",
    "-32002": "unreachable",
    "-32004": "refused",
    "-32005": "throttled",
}
"""JSON-RPC's codes and those of EIP-1474. -32000 stands for anything: there the words decide."""

_HTTP: Codes = {
    **dict.fromkeys(("401", "403", "404", "405", "451"), "refused"),
    **dict.fromkeys(("418", "429"), "throttled"),
    **dict.fromkeys(("500", "502", "503", "504"), "unreachable"),
}
"""Statuses of HTTP, where they stand in a body as a code."""

_CLOUDFLARE: Codes = {"1015": "throttled", "1020": "refused", "1009": "refused", "1006": "refused"}
"""On its pages: https://developers.cloudflare.com/support/troubleshooting/http-status-codes/"""

_CLOUDFLARE_CODE = re.compile(rb"\berror(?: code)?:?(?: |<[^<>]{0,40}>){0,3}(1\d{3})\b", re.I)

_CODE_FIELDS = (
    *("code", "error_code", "errorCode", "err_code", "err-code", "errcode", "retCode", "ret_code"),
    *("statusCode", "status_code", "status", "label"),
)

_THROTTLED = re.compile(
    r"rate.?limit|too many|too fast|throttl|quota|(?:limit|max\w{0,20}) (?:exceeded|reached)|"
    r"exceed\w{0,20} .{0,30}limit|limit requests|frequen|slow down|max calls|max rate|credits",
    re.I,
)
_BUSY = re.compile(
    r"maintenance|busy|timed? ?out|internal (?:server )?error|temporar|unavailable\b(?! in)|"
    r"try again|overload",
    re.I,
)
_FINE = re.compile(r"(?:ok|okay|success\w*|null|none|true|done|操作成功|成功|\d+)?\.?", re.I)
_TITLE = re.compile(rb"<title[^<>]{0,200}>([^<]*)<", re.I)
_WALL = re.compile(
    rb"just a moment|captcha|access denied|attention required|cf-chl|forbidden", re.I
)


def by_status(answer: Answer, codes: Codes) -> Failure | None:
    """What the status decides; None when the body has to be read. codes: the source's own."""
    status = answer.status
    if answer.fault:
        return Failure(FAULT, answer.error or "a fault of ours")
    if status == 304:
        if answer.conditional:
            return Failure("unchanged", "not modified since the last answer")
        return Failure("changed", "HTTP 304 to a request that asked for the whole")
    if status == 200:
        return None if answer.body.strip() else Failure("empty", "the body is empty")
    if status is None:
        return Failure("unreachable", answer.error or "no answer", answer.retry_after)
    if status < 400:
        return Failure("changed", f"HTTP {status} where 200 was expected")
    message = answer.error or message_of(answer.body)
    reason = f"HTTP {status}" + (f": {message}" if message else "")
    return Failure(_by_number(status, answer, codes), reason, answer.retry_after)


def _by_number(status: int, answer: Answer, codes: Codes) -> Outcome:
    """The outcome of a status from 400 on."""
    if status in THROTTLED:
        return "throttled"
    if status >= 500 or status in (408, 425):
        return "unreachable"
    found = coded(_parsed(answer.body), codes) or _on_page(answer.body)
    return found or ("throttled" if answer.retry_after is not None else "refused")


def unreadable(answer: Answer, problem: str) -> Failure:
    """A body of status 200 that is not what was asked for."""
    start = answer.body.lstrip()[:512].lower()
    if start.startswith((b"<!doctype html", b"<html")):
        title = message_of(answer.body)
        reason = f"a web page instead of data: {title}"
        wall = "refused" if _WALL.search(answer.body[:8000]) else "changed"
        throttled = "throttled" if _THROTTLED.search(title) else None
        return Failure(_on_page(answer.body) or throttled or wall, reason)  # type: ignore[arg-type]
    text = message_of(answer.body)
    if len(answer.body) < 300 and _THROTTLED.search(text):
        return Failure("throttled", text, answer.retry_after)
    words = storable(f"unreadable: {problem[:120]} (begins {text[:60]!r})", LONGEST_MESSAGE)
    return Failure("changed", words)


def by_message(message: str, body: Any, answer: Answer, codes: Codes) -> Failure:
    """An error that came as HTTP 200 counts as its code says, and without one as its words say."""
    text = storable(message, LONGEST_MESSAGE)
    outcome = coded(body, codes)
    if outcome is None:
        busy: Outcome = "unreachable" if _BUSY.search(text) else "refused"
        outcome = "throttled" if _THROTTLED.search(text) else busy
    return Failure(outcome, text, answer.retry_after)


def error_in(body: Any, answer: Answer, codes: Codes, *, sure: bool = False) -> Failure | None:
    """The error that an answer without rows carries, by its message or its code.

    sure: only what says that it is an error counts. Where a whole answer is one record, an error
    looks like a record, and a record may have a description.
    """
    message = message_in(body, fields=_ERROR_FIELDS if sure else _MESSAGE_FIELDS)
    outcome = coded(body, codes)
    if message:
        return by_message(message, body, answer, codes)
    return Failure(outcome, "an error without words", answer.retry_after) if outcome else None


def of_ours(problem: Exception) -> Failure:
    """A fault of ours, and where: what one endpoint's answer met, nobody else's suffers from."""
    frames = traceback.extract_tb(problem.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    words = f"a fault of ours, please report it: {type(problem).__name__}: {problem}"
    return Failure(FAULT, storable(words, LONGEST_MESSAGE) + where)


# Codes


def coded(body: Any, codes: Codes) -> Outcome | None:
    """What the code of an error inside a parsed answer stands for, where one is known."""
    for code in _codes(body):
        for known in (codes, _RPC, _HTTP):
            if code in known:
                return known[code]
    return None


def _codes(body: Any, depth: int = 2) -> Iterator[str]:
    """The codes in an answer, those of its errors first."""
    if isinstance(body, SourceMessage):
        yield str(body.code)
    if not isinstance(body, Mapping):
        return
    for name in ("error", "errors", "status"):
        inner = body.get(name)
        for item in inner[:3] if isinstance(inner, list) else [inner]:
            if depth:
                yield from _codes(item, depth - 1)
    for name in _CODE_FIELDS:
        value = body.get(name)
        if isinstance(value, int | str) and not isinstance(value, bool) and value != "":
            yield str(value)[:40]


def _on_page(body: bytes) -> Outcome | None:
    found = _CLOUDFLARE_CODE.search(body[:8000])
    return _CLOUDFLARE.get(found[1].decode()) if found else None


# Messages


def _parsed(body: bytes) -> Any:
    """The JSON of an error, or None."""
    if len(body) > LONGEST_ERROR_PAGE:
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def message_of(body: bytes) -> str:
    """The message of an error page: in its JSON, its title, or how it begins."""
    message = message_in(_parsed(body))
    if message:
        return message
    title = _TITLE.search(body[:8000])
    shown = title.group(1) if title else re.sub(rb"<[^<>]*>", b" ", body[:400])
    return storable(" ".join(shown.decode("utf-8", "replace").split()), 200)


_ERROR_FIELDS = (
    *("error", "errors", "message", "msg", "Message", "error_message", "errorMessage", "err_msg"),
    *("err-msg", "errmsg", "retMsg", "ret_msg", "Error Message"),
)
_MESSAGE_FIELDS = (
    *_ERROR_FIELDS,
    *("reason", "detail", "details", "description", "Information", "Note", "status", "result"),
    *("Response", "warning", "desc"),
)


def message_in(body: Any, depth: int = 2, fields: Sequence[str] = _MESSAGE_FIELDS) -> str | None:
    """The message of an error inside a parsed answer, or None when it carries none.

    What a JSON-RPC call came to is no error, whatever it says.
    """
    if not isinstance(body, Mapping):
        return None
    found: list[str] = []
    for name in fields:
        value = body.get(name)
        if name == "result" and "jsonrpc" in body:
            continue
        if isinstance(value, str):
            words = value[:LONGEST_MESSAGE].strip()
            if not _FINE.fullmatch(words):
                found.append(words)
        elif isinstance(value, Mapping) and depth:
            found += filter(None, [message_in(value, depth - 1)])
        elif isinstance(value, list) and name in ("error", "errors", "detail"):
            found += _flat(value[:10])
        elif value is False and name == "result":
            found.append("result is false")
    return storable("; ".join(dict.fromkeys(found)), LONGEST_MESSAGE) or None


def _flat(items: Iterable[Any]) -> list[str]:
    found = [message_in(item) if isinstance(item, Mapping) else str(item) for item in items]
    return [message[:LONGEST_MESSAGE] for message in found if message]
