"""How long a host wants to be left alone, as the headers of its answer say. Pure.

Owns: Retry-After, and the family of RateLimit headers.
Must not know: what becomes of it.

RFC 9110 gives Retry-After as seconds or an HTTP date. The others are customs: seconds to go, or a
moment of the Unix clock in seconds or milliseconds; the sizes of the three never meet.
https://www.ietf.org/archive/id/draft-ietf-httpapi-ratelimit-headers-10.html
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_WAIT_S = 86_400.0
"""Whatever a host says, it is asked again after a day."""

_MOMENT_S = 1_000_000_000
_MOMENT_MS = 1_000_000_000_000
"""From here on a number is a moment (September 2001), and no number of seconds to go."""

_REMAINING = ("RateLimit-Remaining", "X-RateLimit-Remaining", "X-Rate-Limit-Remaining")
_RESET = ("RateLimit-Reset", "X-RateLimit-Reset", "X-Rate-Limit-Reset", "X-RateLimit-Reset-After")
_NONE_LEFT = re.compile(r"\b(?:r|remaining)=0\b")
_UNTIL = re.compile(r"\b(?:t|reset)=(\d{1,15})\b")


def wait_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds until the host wants to be asked again, at most a day; None when it does not say.

    A Retry-After always counts; the time of a reset only when nothing remains until then.
    """
    told = _seconds(headers.get("Retry-After"), now)
    if told is not None:
        return told
    combined = headers.get("RateLimit", "")
    if _NONE_LEFT.search(combined[:1000]) and (until := _UNTIL.search(combined[:1000])):
        return _seconds(until[1], now)
    if not any(headers.get(name, "").strip() == "0" for name in _REMAINING):
        return None
    resets = (_seconds(headers.get(name), now) for name in _RESET)
    return next((reset for reset in resets if reset is not None), None)


def _seconds(value: str | None, now: datetime) -> float | None:
    """Seconds from a number of seconds, a moment of the Unix clock, or a date."""
    if not value:
        return None
    text = value.strip()[:60]
    try:
        number = float(text)
    except ValueError:
        return _until_date(text, now)
    if not math.isfinite(number) or number < 0:
        return None
    if number >= _MOMENT_MS:
        number = number / 1000 - now.timestamp()
    elif number >= _MOMENT_S:
        number -= now.timestamp()
    return min(max(number, 0.0), LONGEST_WAIT_S)


def _until_date(text: str, now: datetime) -> float | None:
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = read(text)
        except (ValueError, TypeError, OverflowError):
            continue
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        try:
            return min(max((moment - now).total_seconds(), 0.0), LONGEST_WAIT_S)
        except OverflowError:
            return None
    return None
