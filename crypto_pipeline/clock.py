"""The one rule for times that were written down: what lies ahead of the clock is not known.

A clock can be wrong for an hour and right again. What was written meanwhile bears a time to come,
and whoever waited for that time would wait as long.
"""

from datetime import UTC, datetime, timedelta

AHEAD = timedelta(minutes=5)
"""How far two right clocks may be apart."""


def ahead(moment: datetime, at: datetime) -> bool:
    """Whether no right clock can have written this moment by then: it counts as unknown."""
    return moment > at + AHEAD


def said(moment: datetime) -> str:
    """A time for people, always with its date: a wait of a year must not look like one of a day."""
    return f"{moment.astimezone(UTC):%d %b %Y %H:%M:%S} UTC"
