"""When an endpoint may be asked: due, resting, told to wait. Pure.

Owns: the tolerance of intervals, and the back-off after failures.
Must not know: the database (it is handed what is remembered), the network, the clock.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from crypto_pipeline import clock
from crypto_pipeline.collection.limits import UNNAMED_WAIT_S
from crypto_pipeline.collection.waits import LONGEST_WAIT_S
from crypto_pipeline.sources.spec import Endpoint
from crypto_pipeline.tables import SourceHealth
from crypto_pipeline.tables.outcomes import GOOD, Outcome, Skipped

TOLERANCE = 0.2
LONGEST_TOLERANCE = timedelta(minutes=1)
"""A tick two seconds early must not skip a round."""

FREE_FAILURES = 2
"""Failures in a row after which an endpoint is still asked when it is due."""

LONGEST_REST = timedelta(hours=6)
FIRST_REST_REFUSED = timedelta(hours=1)
LONGEST_REST_REFUSED = timedelta(hours=24)
LONGEST_WAIT = timedelta(seconds=LONGEST_WAIT_S)
"""Whatever a host says; who says it again waits again."""

UNNAMED_WAIT = timedelta(seconds=UNNAMED_WAIT_S)
"""Not even asked when forced."""


def least_rest(endpoint: Endpoint) -> timedelta:
    """The time after which an endpoint that answered may be asked again."""
    interval = endpoint.min_interval
    return interval - min(interval * TOLERANCE, LONGEST_TOLERANCE)


def lacks_key(endpoint: Endpoint, keys: Mapping[str, str]) -> str | None:
    """The variable of the key without which an endpoint is not asked, where it is not set."""
    key = endpoint.key
    lacking = key and key.required and not keys.get(key.env, "").strip()
    return key.env if key and lacking else None


def why_not(
    endpoint: Endpoint,
    remembered: SourceHealth | None,
    now: datetime,
    keys: Mapping[str, str],
    force: bool = False,
) -> Skipped | None:
    """Why an endpoint is not asked now, or None when it is.

    `keys` is the environment. Forcing asks what is not due and what rests after failures, never
    what told us to wait.
    """
    missing = lacks_key(endpoint, keys)
    if missing:
        return Skipped("no_key", f"no key: set {missing}")
    if remembered is None or clock.ahead(remembered.asked_at, now):
        return None
    wait, due = bounded(remembered)
    if wait and now < wait:
        return Skipped("told_to_wait", f"told to wait until {clock.said(wait)}")
    if force or now >= due:
        return None
    if remembered.circuit == "open":
        failures = remembered.consecutive_failures
        return Skipped("resting", f"resting after {failures} failures until {clock.said(due)}")
    return Skipped("not_due", f"not due before {clock.said(due)}")


def bounded(remembered: SourceHealth) -> tuple[datetime | None, datetime]:
    """Until when an endpoint told us to wait, and when it is due: a day after it was asked at the
    latest, whatever an older release or a host wrote."""
    last = remembered.asked_at + LONGEST_WAIT
    wait = remembered.told_to_wait_until
    return min(wait, last) if wait else None, min(remembered.next_allowed_at, last)


def after(
    endpoint: Endpoint,
    remembered: SourceHealth | None,
    outcome: Outcome,
    reason: str | None,
    now: datetime,
    *,
    retry_after: float | None = None,
    etag: str | None = None,
    last_modified: str | None = None,
) -> SourceHealth:
    """What to remember of an endpoint that was asked at `now`; retry_after is in seconds."""
    good = outcome in GOOD
    failures = 0 if good else (remembered.consecutive_failures if remembered else 0) + 1
    wait = UNNAMED_WAIT if outcome == "throttled" else None
    if retry_after:
        wait = timedelta(seconds=min(retry_after, LONGEST_WAIT_S))
    rest = _rest(endpoint, outcome, failures, wait)
    resting = not good and (failures > FREE_FAILURES or rest > endpoint.min_interval)
    if outcome == "unchanged" and remembered:
        etag, last_modified = etag or remembered.etag, last_modified or remembered.last_modified
    return SourceHealth(
        endpoint=endpoint.id,
        source=endpoint.source.name,
        outcome=outcome,
        reason=reason,
        circuit="open" if resting else "closed",
        consecutive_failures=failures,
        asked_at=now,
        succeeded_at=now if good else (remembered.succeeded_at if remembered else None),
        answered_at=_answered_at(remembered, outcome, now),
        next_allowed_at=now + rest,
        told_to_wait_until=now + wait if wait else None,
        etag=etag if good else None,
        last_modified=last_modified if good else None,
    )


def _answered_at(
    remembered: SourceHealth | None, outcome: Outcome, now: datetime
) -> datetime | None:
    """When it last sent a whole answer."""
    if outcome in GOOD and outcome != "unchanged":
        return now
    return remembered.answered_at if remembered else None


def _rest(endpoint: Endpoint, outcome: Outcome, failures: int, wait: timedelta | None) -> timedelta:
    """How long an endpoint is not asked by a schedule: longer and longer while it fails."""
    interval = endpoint.min_interval
    if wait is not None and failures:
        return max(wait, min(_doubled(interval, failures - 1), LONGEST_REST))
    if outcome == "refused" and failures >= FREE_FAILURES:
        rest = _doubled(FIRST_REST_REFUSED, failures - FREE_FAILURES)
        return max(interval, min(rest, LONGEST_REST_REFUSED))
    if failures > FREE_FAILURES:
        rest = _doubled(interval, failures - FREE_FAILURES)
        return max(interval, min(rest, LONGEST_REST))
    return max(wait or timedelta(), least_rest(endpoint))


def _doubled(span: timedelta, times: int) -> timedelta:
    return span * 2.0 ** min(times, 12)


def in_order(
    members: Iterable[Endpoint], remembered: Mapping[str, SourceHealth], now: datetime
) -> list[Endpoint]:
    """Members of a pool in the order to ask them: healthy ones first, then as declared.

    Who failed goes behind the healthy ones for twice its rest, then is tried in its place again:
    so the first choice comes back, and costs a request now and then while it does not.
    """

    def failures(endpoint: Endpoint) -> int:
        known = remembered.get(endpoint.id)
        if known is None or clock.ahead(known.asked_at, now):
            return 0
        _, due = bounded(known)
        if now >= due + (due - known.asked_at):
            return 0
        return known.consecutive_failures

    return sorted(members, key=failures)
