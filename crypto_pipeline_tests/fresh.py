"""A sample as its host would give it now: at today's clock, and about what was asked.

Samples are written at one clock and for the first of what an endpoint asks; rows are held to both.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

from crypto_pipeline.sources.spec import Ask, Endpoint
from crypto_pipeline.tables import Candle

SAMPLED_AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
"""The clock of the samples, and of a recording whose own is not known."""

STEP = timedelta(minutes=5)
STEP_OF_CANDLES = timedelta(hours=1)
"""Times are moved by whole steps: a candle opens on its interval still."""

_NEAR = timedelta(days=400)
_UNIX = re.compile(rb"\b(1[78]\d{8})(\d{3}|\d{6}|\d{9})?\b")
_HEX = re.compile(rb"\b0x(6[0-9a-f]{7})\b")
_ISO = re.compile(rb"\b(\d{4}-\d\d-\d\d)(?:([T ])(\d\d:\d\d(?::\d\d)?))?")
_SLOT = re.compile(rb"(\"slot\": ?\"?)(\d{8})\b")
SLOT_S = 12
"""Ethereum's consensus counts time in slots of so many seconds."""

_RFC822 = re.compile(rb"\b\d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d\b")


def answer(file: Path, endpoint: Endpoint, ask: Ask) -> bytes:
    """The sample, for this ask of its endpoint, as if it had been written now."""
    candles = endpoint.model is Candle
    step = STEP_OF_CANDLES if candles else STEP
    steps = (datetime.now(UTC) - SAMPLED_AT) // step
    later = step * (steps if candles else steps + 1)  # no older than the sample says
    return _answer(file, _asked_instead(endpoint, ask), later)


@lru_cache(4096)
def _answer(file: Path, instead: tuple[tuple[str, str], ...], later: timedelta) -> bytes:
    body = file.read_bytes()
    for old, new in instead:
        whole = rf"(?<![A-Za-z0-9]){re.escape(old)}(?![A-Za-z0-9])".encode()
        body = re.sub(whole, new.encode(), body)
    return moved(body, later)


def _asked_instead(endpoint: Endpoint, ask: Ask) -> tuple[tuple[str, str], ...]:
    """What the sample says of its ask, and what it has to say of this one, the longest first."""
    first = endpoint.asks()[0]
    words = [(first.each, ask.each)]
    words += [(str(first.fixed[n]), str(ask.fixed[n])) for n in first.fixed if n in ask.fixed]
    words = [(old, new) for old, new in words if re.search("[A-Za-z]", old)]  # no bare numbers
    forms: list[Callable[[str], str]] = [str, str.upper, str.lower, str.capitalize]
    found = {form(old): form(new) for old, new in words for form in forms if old and old != new}
    return tuple(sorted(found.items(), key=lambda pair: -len(pair[0])))


def moved(body: bytes, later: timedelta) -> bytes:
    """A body with all its times so much later, each written as it was."""
    seconds = int(later.total_seconds())

    def unix(match: re.Match[bytes]) -> bytes:
        whole = int(match[1])
        return str(whole + seconds).encode() + (match[2] or b"") if _near(whole) else match[0]

    def from_hex(match: re.Match[bytes]) -> bytes:
        whole = int(match[1], 16)
        return f"{whole + seconds:#x}".encode() if _near(whole) else match[0]

    def iso(match: re.Match[bytes]) -> bytes:
        pattern = "%Y-%m-%d"
        if match[3]:
            pattern += match[2].decode() + ("%H:%M:%S" if len(match[3]) > 5 else "%H:%M")
        return _rewritten(match, pattern, later)

    def slot(match: re.Match[bytes]) -> bytes:
        return match[1] + str(int(match[2]) + seconds // SLOT_S).encode()

    body = _SLOT.sub(slot, _HEX.sub(from_hex, _UNIX.sub(unix, body)))
    return _RFC822.sub(lambda m: _rewritten(m, "%d %b %Y %H:%M:%S", later), _ISO.sub(iso, body))


def _near(unix: int) -> bool:
    return abs(unix - SAMPLED_AT.timestamp()) < _NEAR.total_seconds()


def _rewritten(match: re.Match[bytes], pattern: str, later: timedelta) -> bytes:
    try:
        moment = datetime.strptime(match[0].decode(), pattern).replace(tzinfo=UTC)
    except ValueError:
        return match[0]
    near = abs(moment - SAMPLED_AT) < _NEAR
    return (moment + later).strftime(pattern).encode() if near else match[0]
