"""Who may be asked now, in which order, and why the others may not. Pure.

Owns: the plan of a collection.
Must not know: the database (it is handed what is remembered), the network, the clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from crypto_pipeline.collection import backoff
from crypto_pipeline.sources.spec import Endpoint
from crypto_pipeline.tables import SourceHealth
from crypto_pipeline.tables.outcomes import GOOD, Skipped


@dataclass(slots=True)
class Plan:
    """Who is asked in a collection, and who is not.

    queues: the members of each pool that may be asked, in order: the next one is asked when the one
    before it fails. An endpoint of no pool is a queue of its own.
    """

    queues: list[list[Endpoint]] = field(default_factory=list)
    skipped: list[tuple[Endpoint, Skipped]] = field(default_factory=list)


def plan_collection(
    endpoints: Sequence[Endpoint],
    remembered: Mapping[str, SourceHealth],
    now: datetime,
    keys: Mapping[str, str],
    *,
    force: bool = False,
) -> Plan:
    """Plan a collection of these endpoints, of which `remembered` tells by id.

    `keys` is the environment. Forcing asks what is not due and what rests after failures, never
    what told us to wait.
    """
    pools: dict[str, list[Endpoint]] = {}
    for endpoint in endpoints:
        pools.setdefault(endpoint.pool or endpoint.id, []).append(endpoint)
    plan = Plan()
    for members in pools.values():
        _plan_pool(plan, members, remembered, now, keys, force)
    return plan


def _plan_pool(
    plan: Plan,
    members: Sequence[Endpoint],
    remembered: Mapping[str, SourceHealth],
    now: datetime,
    keys: Mapping[str, str],
    force: bool,
) -> None:
    """Add the members of one pool: when one that answers is not due, none of the others is."""
    able: list[Endpoint] = []
    skipped: list[tuple[Endpoint, Skipped]] = []
    for member in backoff.in_order(members, remembered, now):
        known = remembered.get(member.id)
        why = backoff.why_not(member, known, now, keys, force)
        if why is None:
            able.append(member)
            continue
        skipped.append((member, why))
        if known and known.outcome in GOOD and why.skip in ("not_due", "told_to_wait"):
            reason = f"the pool is not due: {member.id} answered lately"
            rest = Skipped("pool_not_due", reason)
            plan.skipped += [(m, why if m is member else rest) for m in members]
            return
    plan.skipped += skipped
    if able:
        plan.queues.append(able)
