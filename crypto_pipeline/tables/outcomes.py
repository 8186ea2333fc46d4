"""How an endpoint ends in a collection, and why one is not asked: the values of columns.

Owns: these words. Python and SQL use them from here; sentences beside them are for people.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Outcome = Literal[
    "ok",
    "unchanged",
    "empty",
    "throttled",
    "refused",
    "unreachable",
    "changed",
    "fault",
    "skipped",
]

SKIPPED: Outcome = "skipped"
"""The outcome of an endpoint that was not asked; then `skip` says why."""

FAULT: Outcome = "fault"
"""The outcome of an endpoint whose answer was lost by a fault of ours; nobody else loses by it."""

GOOD: frozenset[Outcome] = frozenset({"ok", "unchanged", "empty"})
"""Outcomes of a source that works; after any other an endpoint rests longer and longer."""

Skip = Literal[
    "not_due",
    "pool_not_due",
    "slow_host",
    "pool_answered",
    "resting",
    "told_to_wait",
    "no_key",
    "over_quota",
    "unlisted",
    "stepped_aside",
    "out_of_time",
    "interrupted",
]

NOT_DUE: frozenset[Skip] = frozenset({"not_due", "pool_not_due", "slow_host"})
"""Nothing is wrong: the endpoint, its pool or its host is asked in a later collection."""

SKIPS: Mapping[Skip, str] = {
    "not_due": "are not due yet",
    "pool_not_due": "stand in for one that answered lately",
    "slow_host": "are left for the next time: their host wants a long pause between requests",
    "pool_answered": "stand in for one that answered",
    "resting": "rest after failures",
    "told_to_wait": "told us to wait",
    "no_key": "need a key that is not set (crypto-pipeline sources names it)",
    "over_quota": "have used up what their source allows",
    "unlisted": "list none of the wanted coins",
    "stepped_aside": "were left to another collection that is running",
    "out_of_time": "were not reached in the time that a collection has",
    "interrupted": "were not waited for: the collection was interrupted",
}
"""What is said of endpoints that were not asked, after their number."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """Why an endpoint is not asked: the kind, and the sentence for people."""

    skip: Skip
    reason: str


Circuit = Literal["closed", "open"]
"""closed: the endpoint is asked when it is due; open: it rests after failures."""

Abstention = Literal["stale", "untraded"]
"""Why a price is kept and does not vote: its source's own clock is old, or nothing is traded."""

RateKind = Literal["predicted", "settled"]
"""Whether a funding rate still moves until it is paid, or stands."""

Rejection = Literal["outlier", "other_coin", "disputed", "stale", "untraded", "frozen"]
"""Why a voice is left out of an agreed price: it is far off, or another coin of that ticker, or
nothing decides between the voices; or it has no vote: its price abstains, or has not moved for
hours while others did."""

RateState = Literal["agreed", "single", "disputed", "silent"]
"""Whether a currency has a rate, and whether more than one voice says so."""

RateRejection = Literal["tenfold", "outlier", "disputed", "stale", "untraded", "implausible"]
"""Why a voice is left out of a rate: about ten times or a tenth of it, as a rial sold for a
toman; otherwise far off; nothing decides; or it has no vote, its price being old, hardly traded, or
outside of what a dollar may cost."""

UNDECIDED: Rejection = "disputed"
"""Why all voices of a coin are left out when nothing decides between them."""

OFF: frozenset[Rejection] = frozenset({"outlier", "other_coin"})
"""Why voices are left out that say another price than the agreed one."""

Agreement = Literal["agreed", "disputed", "silent"]
"""agreed: there is a price; disputed: nothing decides between the voices, so there is none; silent:
no voice has a vote."""
