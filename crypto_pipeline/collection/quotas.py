"""Quotas: what a source allows in a day and a month, and what was used of it. Pure.

Owns: the windows (UTC), the count of calls, and why a source is not asked for more.
Must not know: the database (it is handed what is remembered), the network, the clock.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import get_args

from crypto_pipeline import clock
from crypto_pipeline.collection.exchange import Attempt
from crypto_pipeline.sources.spec import Source
from crypto_pipeline.tables import RateLimitUsage
from crypto_pipeline.tables.outcomes import Skipped
from crypto_pipeline.tables.pools import Period

PERIODS: tuple[Period, ...] = get_args(Period)

LONGEST_MONTH = 31
"""Days of the month that a monthly quota has to last for."""


def quota(source: Source, period: Period) -> int | None:
    """The calls a source allows in a day or a month, or None when it names no limit."""
    return source.per_day if period == "day" else source.per_month


def quota_account(source: Source) -> str:
    """What requests are counted on: sources that take the same API key share what it allows."""
    return source.key.env if source.key else source.name


def window(period: Period, at: datetime) -> datetime:
    """When the day or the month of this moment began."""
    begun = at.replace(hour=0, minute=0, second=0, microsecond=0)
    return begun if period == "day" else begun.replace(day=1)


def usage_of(source_attempts: Iterable[tuple[Source, Iterable[Attempt]]]) -> list[RateLimitUsage]:
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
            limit_calls=quota(sources[name], period),
        )
        for (name, period, start), count in calls.items()
    ]


def added(before: RateLimitUsage | None, more: RateLimitUsage) -> RateLimitUsage:
    """The usage of one window after more of it was used."""
    if before is None:
        return more
    calls, received = before.calls + more.calls, before.bytes_received + more.bytes_received
    return more.model_copy(update={"calls": calls, "bytes_received": received})


class Quotas:
    """What may still be asked of each source in one collection.

    used: what earlier collections used, by source, period and beginning of the window.
    attempts: how often a call may be made when it fails; as many are set aside while it is open, so
    that not even retries exceed a quota.
    """

    def __init__(
        self,
        sources: Iterable[Source],
        used: Mapping[tuple[str, Period, datetime], RateLimitUsage],
        attempts: int,
    ) -> None:
        self._attempts = attempts
        self._taken: Counter[str] = Counter()
        accounts = {source.name: quota_account(source) for source in sources}
        self._used: Counter[tuple[str, Period, datetime]] = Counter()
        for (name, period, start), usage in used.items():
            self._used[accounts.get(name, name), period, start] += usage.calls

    def why_not(self, source: Source, calls: int, at: datetime) -> Skipped | None:
        """Why a source is not asked for this many answers more, or None when it may be."""
        for period, allowed, used in self._states(source, at):
            if calls and used + calls > allowed:
                start = window(period, at)
                short = f", {calls} more are needed" if used < allowed else ""
                days = 1 if period == "day" else LONGEST_MONTH
                until = clock.said(window(period, start + timedelta(days=days)))
                name = "daily" if period == "day" else "monthly"
                reason = f"{name} quota: {used} of {allowed} calls used until {until}{short}"
                return Skipped("over_quota", reason)
        return None

    def take(self, source: Source, calls: int, at: datetime) -> int:
        """Set calls aside; returns how many attempts each may take."""
        left = min((allowed - used for _, allowed, used in self._states(source, at)), default=None)
        short = left is not None and left < calls * self._attempts
        attempts = 1 if short else self._attempts
        self._taken[quota_account(source)] += calls * attempts
        return attempts

    def give_back(self, source: Source, calls: int) -> None:
        """Return calls that were set aside and not made."""
        self._taken[quota_account(source)] -= calls

    def _states(self, source: Source, at: datetime) -> list[tuple[Period, int, int]]:
        """Period, calls allowed and calls used, for each quota the source has."""
        account = quota_account(source)
        return [
            (
                period,
                allowed,
                self._used[account, period, window(period, at)] + self._taken[account],
            )
            for period in PERIODS
            if (allowed := quota(source, period)) is not None
        ]
