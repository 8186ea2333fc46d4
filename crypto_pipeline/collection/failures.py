"""Errors that come instead of data, called by their names. Pure.

Owns: which outcome a status, a web page or a message stands for.
Must not know: records and rows.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from crypto_pipeline.collection.exchange import THROTTLED, Answer
from crypto_pipeline.tables.outcomes import Outcome


@dataclass(frozen=True, slots=True)
class Failure:
    """An answer without data: its outcome, why, and the seconds to be left alone if it said so."""

    outcome: Outcome
    reason: str
    retry_after: float | None = None


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


def by_status(answer: Answer) -> Failure | None:
    """What the status alone decides; None when the body has to be read."""
    status = answer.status
    if status == 304:
        return Failure("unchanged", "not modified since the last answer")
    if status == 200:
        return None if answer.body.strip() else Failure("empty", "the body is empty")
    if status is None:
        return Failure("unreachable", answer.error or "no answer")
    message = answer.error or message_of(answer.body)
    reason = f"HTTP {status}" + (f": {message}" if message else "")
    if status in THROTTLED or (400 <= status < 500 and _THROTTLED.search(message)):
        return Failure("throttled", reason, retry_after=answer.retry_after)
    if status >= 500 or status in (408, 425):
        return Failure("unreachable", reason, retry_after=answer.retry_after)
    if 400 <= status < 500:
        return Failure("refused", reason, retry_after=answer.retry_after)
    return Failure("changed", f"HTTP {status} where 200 was expected")


def unreadable(answer: Answer, problem: str) -> Failure:
    """A body of status 200 that is not what was asked for."""
    start = answer.body.lstrip()[:512].lower()
    if start.startswith((b"<!doctype html", b"<html")):
        title = message_of(answer.body)
        reason = f"a web page instead of data: {title}"
        if _THROTTLED.search(title):
            return Failure("throttled", reason)
        return Failure("refused" if _WALL.search(answer.body[:8000]) else "changed", reason)
    text = message_of(answer.body)
    if len(answer.body) < 300 and _THROTTLED.search(text):
        return Failure("throttled", text, retry_after=answer.retry_after)
    return Failure("changed", f"unreadable: {problem[:120]} (begins {text[:60]!r})")


def by_message(message: str, answer: Answer) -> Failure:
    """An error that came as HTTP 200 counts as what it says."""
    if _THROTTLED.search(message):
        return Failure("throttled", message, retry_after=answer.retry_after)
    return Failure("unreachable" if _BUSY.search(message) else "refused", message)


def message_of(body: bytes) -> str:
    """The message of an error page: in its JSON, its title, or how it begins."""
    try:
        message = message_in(json.loads(body))
        if message:
            return message
    except (ValueError, RecursionError):
        pass
    title = _TITLE.search(body[:8000])
    shown = title.group(1) if title else re.sub(rb"<[^>]*>", b" ", body[:400])
    return " ".join(shown.decode("utf-8", "replace").split())[:200]


_MESSAGE_FIELDS = (
    *("error", "errors", "message", "msg", "Message", "error_message", "errorMessage", "err_msg"),
    *("err-msg", "errmsg", "retMsg", "ret_msg", "reason", "detail", "details", "description"),
    *("Error Message", "Information", "Note", "status", "result", "Response", "warning", "desc"),
)


def message_in(body: Any, depth: int = 2) -> str | None:
    """The message of an error inside a parsed answer, or None when it carries none."""
    if not isinstance(body, Mapping):
        return None
    found: list[str] = []
    for name in _MESSAGE_FIELDS:
        value = body.get(name)
        if isinstance(value, str):
            if not _FINE.fullmatch(value.strip()):
                found.append(value.strip())
        elif isinstance(value, Mapping) and depth:
            found += filter(None, [message_in(value, depth - 1)])
        elif isinstance(value, list) and name in ("error", "errors", "detail"):
            found += [str(item) for item in _flat(value)]
        elif value is False and name == "result":
            found.append("result is false")
    return "; ".join(dict.fromkeys(found))[:300] or None


def _flat(items: Iterable[Any]) -> list[str]:
    found = [message_in(item) if isinstance(item, Mapping) else str(item) for item in items]
    return [message for message in found if message]
