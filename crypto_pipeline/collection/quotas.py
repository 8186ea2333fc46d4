"""What a source allows in a day and a month, and what was used of it. Pure.

Owns: the windows (UTC), the count of calls, and the reasons of who is passed over.
Must not know: the database (it is handed what is remembered), the network, the clock.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Literal, get_args

from crypto_pipeline.collection.fetch import Attempt
from crypto_pipeline.sources.spec import Source
from crypto_pipeline.tables import RateLimitUsage

Period = Literal["day", "month"]
PERIODS: tuple[Period, ...] = get_args(Period)

LONGEST_MONTH = 31
"""Days of the month that a monthly cap has to last for."""


def limit(source: Source, period: Period) -> int | None:
    """The calls a source allows in a day or a month, or None when it names no limit."""
    return source.per_day if period == "day" else source.per_month


def house(source: Source) -> str:
    """What sources are counted under: those that take the same API key share what it allows."""
    return source.key.env if source.key else source.name


def window(period: Period, at: datetime) -> datetime:
    """When the day or the month of this moment began."""
    begun = at.replace(hour=0, minute=0, second=0, microsecond=0)
    return begun if period == "day" else begun.replace(day=1)


def spent(source_attempts: Iterable[tuple[Source, Iterable[Attempt]]]) -> list[RateLimitUsage]:
    """What one collection used of every source it asked, to be added to what is on record."""
    calls: Counter[tuple[str, Period, datetime]] = Counter()
    received: Counter[tuple[str, Period, datetime]] = Counter()
    sources = {}
    for source, attempts in source_attempts:
        sources[source.name] = source
        for attempt in attempts:
            for period in PERIODS:
                key = source.name, period, window(period, attempt.started_at)
                calls[key] += 1
                received[key] += attempt.bytes_received
    return [
        RateLimitUsage(
            source=name,
            period=period,
            window_start=start,
            calls=count,
            bytes_received=received[name, period, start],
            limit_calls=limit(sources[name], period),
        )
        for (name, period, start), count in calls.items()
    ]


def added(before: RateLimitUsage | None, more: RateLimitUsage) -> RateLimitUsage:
    """The usage of one window after more of it was used."""
    if before is None:
        return more
    calls, received = before.calls + more.calls, before.bytes_received + more.bytes_received
    return more.model_copy(update={"calls": calls, "bytes_received": received})


class Allowance:
    """What may still be asked of each source in one collection.

    used: what earlier collections used, by source, period and beginning of the window.
    tries: how often a call may be made when it fails; as many are set aside while it is open, so
    that not even retries exceed a cap.
    """

    def __init__(
        self,
        sources: Iterable[Source],
        used: Mapping[tuple[str, str, datetime], RateLimitUsage],
        tries: int,
    ) -> None:
        self._tries = tries
        self._taken: Counter[str] = Counter()
        houses = {source.name: house(source) for source in sources}
        self._used: Counter[tuple[str, str, datetime]] = Counter()
        for (name, period, start), usage in used.items():
            self._used[houses.get(name, name), period, start] += usage.calls

    def why_not(self, source: Source, calls: int, at: datetime) -> str | None:
        """Why a source is not asked for this many answers more, or None when it may be."""
        for period, allowed, used in self._limits(source, at):
            if calls and used + calls > allowed:
                start = window(period, at)
                short = f", {calls} more are needed" if used < allowed else ""
                if period == "day":
                    return f"daily cap: {used} of {allowed} calls used until 00:00 UTC{short}"
                end = window(period, start + timedelta(days=LONGEST_MONTH))
                return (
                    f"monthly cap: {used} of {allowed} calls used until "
                    f"{end.day} {end:%b} 00:00 UTC{short}"
                )
        return None

    def take(self, source: Source, calls: int, at: datetime) -> int:
        """Set calls aside; returns how often each may be tried."""
        left = min((allowed - used for _, allowed, used in self._limits(source, at)), default=None)
        tries = 1 if left is not None and left < calls * self._tries else self._tries
        self._taken[house(source)] += calls * tries
        return tries

    def give_back(self, source: Source, calls: int) -> None:
        """Return calls that were set aside and not made."""
        self._taken[house(source)] -= calls

    def _limits(self, source: Source, at: datetime) -> list[tuple[Period, int, int]]:
        """Period, calls allowed and calls used, for each cap the source has."""
        name = house(source)
        return [
            (period, allowed, self._used[name, period, window(period, at)] + self._taken[name])
            for period in PERIODS
            if (allowed := limit(source, period)) is not None
        ]
