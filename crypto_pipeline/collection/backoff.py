"""When an endpoint may be asked: due, resting, told to wait. Pure.

Owns: the intervals' tolerance and the back-off after failures.
Must not know: the database (it is handed what is remembered), the network, the clock.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from crypto_pipeline.collection.extract import Outcome
from crypto_pipeline.sources.spec import Endpoint
from crypto_pipeline.tables import SourceHealth

GOOD: frozenset[Outcome] = frozenset({"ok", "unchanged", "empty"})
"""Outcomes of a source that works; after any other an endpoint rests longer and longer."""

TOLERANCE = 0.2
LONGEST_TOLERANCE = timedelta(minutes=1)
"""A tick two seconds early must not skip a round."""

FREE_FAILURES = 2
LONGEST_REST = timedelta(hours=6)
FIRST_REST_REFUSED = timedelta(hours=1)
LONGEST_REST_REFUSED = timedelta(hours=24)
UNNAMED_WAIT = timedelta(minutes=1)
"""How long a source that throttles without saying how long is left alone, even when forced."""


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
) -> str | None:
    """Why an endpoint is not asked now, or None when it is.

    `keys` is the environment. Forcing asks what is not due and what rests after failures, never
    what told us to wait.
    """
    missing = lacks_key(endpoint, keys)
    if missing:
        return f"no key: set {missing}"
    if remembered is None:
        return None
    wait = remembered.told_to_wait_until
    if wait and now < wait:
        return f"told to wait until {wait:%H:%M:%S} UTC"
    if force or now >= remembered.next_allowed_at:
        return None
    if remembered.circuit == "open":
        return (
            f"resting after {remembered.consecutive_failures} failures "
            f"until {remembered.next_allowed_at:%d %b %H:%M:%S} UTC"
        )
    return f"not due before {remembered.next_allowed_at:%H:%M:%S} UTC"


_KINDS = {
    "no key": "need a key that is not set (crypto-pipeline sources names it)",
    "not due": "are not due yet",
    "the pool has": "stand in for one that answered",
    "the pool is": "stand in for one that answered lately",
    "resting": "rest after failures",
    "told to wait": "told us to wait",
}
"""How a reason for not asking begins, and what is said of all that it is true of."""


def not_due(reason: str | None) -> bool:
    """Whether an endpoint was not asked because it, or its pool, had answered lately."""
    return (reason or "").startswith(("not due", "the pool is not due"))


def passed_over(reasons: Iterable[str | None]) -> list[str]:
    """Why endpoints were not asked, in kinds with their number, the biggest first."""
    kinds = Counter(
        next((words for start, words in _KINDS.items() if reason.startswith(start)), reason)
        for reason in map(str, reasons)
    )
    return [f"{number} {words}" for words, number in kinds.most_common()]


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
    """What to remember of an endpoint that was asked at `now`."""
    interval = endpoint.min_interval
    good = outcome in GOOD
    failures = 0 if good else (remembered.consecutive_failures if remembered else 0) + 1
    rest = least_rest(endpoint)
    told: datetime | None = None
    if outcome == "throttled":
        wait = timedelta(seconds=retry_after) if retry_after else UNNAMED_WAIT
        told = now + wait
        rest = max(wait, min(interval * 2 ** min(failures - 1, 12), LONGEST_REST))
    elif outcome == "refused" and failures >= FREE_FAILURES:
        doubled = FIRST_REST_REFUSED * 2 ** min(failures - FREE_FAILURES, 12)
        rest = max(interval, min(doubled, LONGEST_REST_REFUSED))
    elif failures > FREE_FAILURES:
        doubled = interval * 2 ** min(failures - FREE_FAILURES, 12)
        rest = max(interval, min(doubled, LONGEST_REST))
    resting = not good and (failures > FREE_FAILURES or rest > interval)
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
        next_allowed_at=now + rest,
        told_to_wait_until=told,
        etag=etag if good else None,
        last_modified=last_modified if good else None,
    )


def in_order(
    members: Iterable[Endpoint], health: Mapping[str, SourceHealth], now: datetime
) -> list[Endpoint]:
    """Members of a pool in the order to ask them: healthy ones first, then as declared.

    Who failed goes behind the healthy ones for twice its rest, then is tried in its place again:
    so the first choice comes back, and costs a request now and then while it does not.
    """

    def failures(endpoint: Endpoint) -> int:
        known = health.get(endpoint.id)
        if known is None or now >= known.next_allowed_at + (known.next_allowed_at - known.asked_at):
            return 0
        return known.consecutive_failures

    return sorted(members, key=failures)
