"""Dates as feeds write them: read when they say which moment they mean, else None. Pure.

Owns: the spellings of dates, and which zones have a name of their own.
Must not know: feeds, the clock.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

from crypto_pipeline.sources.values import iso

LONGEST = 100
"""Characters; nothing longer is looked at."""

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            *("jan january", "feb february", "mar march", "apr april", "may", "jun june"),
            *("jul july", "aug august", "sep sept september", "oct october", "nov november"),
            "dec december",
        ),
        1,
    )
    for name in names.split()
}

_ZONES = {
    name: minutes
    for minutes, names in {
        0: "Z UT UTC GMT WET",
        60: "CET MEZ WAT WEST",
        120: "CEST MESZ EET SAST CAT",
        180: "EEST MSK EAT TRT IDT",
        210: "IRST",
        270: "IRDT",
        300: "PKT UZT",
        345: "NPT",
        420: "ICT WIB",
        480: "HKT SGT AWST MYT WITA PHT",
        540: "JST KST WIT",
        570: "ACST",
        600: "AEST",
        630: "ACDT",
        660: "AEDT",
        720: "NZST",
        780: "NZDT",
        -180: "BRT ART",
        -240: "EDT",
        -300: "EST CDT COT PET",
        -360: "CST MDT",
        -420: "MST PDT",
        -480: "PST AKDT",
        -540: "AKST",
        -600: "HST",
    }.items()
    for name in names.split()
}
"""Minutes from UTC of zones whose short name is theirs alone, or given to them by RFC 822: EST to
PDT are North America's there, and CST is China's where RFC 822 is not followed. What means several,
like IST, BST or AST, is not here."""

_TIME = r"(?P<time>\d{1,2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)(?:\s*(?P<half>[ap])\.?m\b\.?)?"
_WEEKDAY = r"(?:[A-Za-z]{3,9}\.?,?\s+)?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_MONTH = r"(?P<month>[A-Za-z]{3,9})\.?"
_REST = rf"(?:(?:,?\s+|T)(?:at\s+)?{_TIME})?\s*(?P<zone>.*)"

_SPELLINGS = tuple(
    re.compile(pattern, re.ASCII | re.I)
    for pattern in (
        rf"{_WEEKDAY}{_DAY}[\s-]+{_MONTH}[\s,-]+(?P<year>\d{{4}}|\d{{2}})\b{_REST}",
        rf"{_WEEKDAY}{_MONTH}\s+{_DAY},?\s+(?P<year>\d{{4}})\b{_REST}",
        rf"{_WEEKDAY}{_MONTH}\s+{_DAY}\s+{_TIME}\s+(?P<zone>(?!CST)[A-Z+:\d-]*?)\s*(?P<year>\d{{4}})",
        rf"(?P<year>\d{{4}})[-/.](?P<month>\d{{1,2}})[-/.](?P<day>\d{{1,2}})(?!\d){_REST}",
        rf"(?P<day>\d{{1,2}})[/.-](?P<month>\d{{1,2}})[/.-](?P<year>\d{{4}})\b{_REST}",
    )
)
_MONTH_FIRST = re.compile(
    rf"(?P<month>\d{{1,2}})/(?P<day>\d{{1,2}})/(?P<year>\d{{4}})\b{_REST}", re.ASCII | re.I
)
_SURELY_MONTH_FIRST = re.compile(r"\s*(?:0?[1-9]|1[0-2])/(?:1[3-9]|2\d|3[01])/\d{4}\b", re.ASCII)
_OFFSET = re.compile(
    r"(?P<name>[A-Za-z]*)\s*(?:(?P<sign>[+-])(?P<hours>\d{1,2})(?::?(?P<minutes>\d{2}))?)?"
    r"\s*(?:\([^()]*\))?",
    re.ASCII,
)


def months_first(texts: Iterable[str]) -> bool:
    """Whether one of the dates of a feed can only be read as month, day, year: then all are."""
    return any(_SURELY_MONTH_FIRST.match(text) for text in texts)


def moment(text: str, month_first: bool = False) -> datetime | None:
    """The moment a date means; None when that would be a guess.

    No zone is UTC; a zone that nobody can know, a date without its day or year, or a time alone
    is None. 5/11/2026 is the 5th of November unless the feed writes the month first.
    """
    text = " ".join(text[:LONGEST].split())
    if text[:4].isdigit():
        try:
            return iso(text)
        except ValueError:
            pass
    for spelling in (_MONTH_FIRST, *_SPELLINGS) if month_first else _SPELLINGS:
        found = spelling.fullmatch(text)
        if found:
            try:
                return iso(_written(found).isoformat())
            except (ValueError, KeyError, OverflowError):
                return None
    return None


def _written(found: re.Match[str]) -> datetime:
    """The moment of a spelling. Raises ValueError, KeyError or OverflowError for none."""
    day, month, year = int(found["day"]), found["month"].lower(), int(found["year"])
    number = int(month) if month.isdigit() else _MONTHS[month]
    hours, minutes, second = f"{found['time'] or '0:0'}:0".split(":")[:3]
    hour = int(hours)
    if found["half"]:
        if not 1 <= hour <= 12:
            raise ValueError(f"{hour} o'clock")
        hour = hour % 12 + (12 if found["half"].lower() == "p" else 0)
    year += 2000 if year < 50 else 1900 if year < 100 else 0
    whole, _, part = second.partition(".")
    micros = int(part[:6].ljust(6, "0"))
    return datetime(year, number, day, hour, int(minutes), int(whole), micros, _zone(found["zone"]))


@lru_cache(256)
def _zone(text: str) -> timezone:
    """The zone of a name, an offset, or both: UTC+3 is three hours ahead. Raises KeyError."""
    found = _OFFSET.fullmatch(text)
    if not found:
        raise KeyError(text)
    minutes = _ZONES[found["name"].upper() or "UTC"]
    if found["sign"]:
        if minutes and found["name"]:
            raise KeyError(text)  # an offset from what is one already
        away = 60 * int(found["hours"]) + int(found["minutes"] or 0)
        minutes = -away if found["sign"] == "-" else away
    return timezone(timedelta(minutes=minutes)) if minutes else UTC
