"""Pools: which sources stand in for one another, which one answers, and why that changed. Pure.

Owns: the rows about pools.
Must not know: how members are asked, the network, the database, the clock.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from crypto_pipeline.collection.results import Result
from crypto_pipeline.sources.spec import Endpoint
from crypto_pipeline.tables import PoolMember, RotationChange, RotationState, Row, SourcePool

STRATEGY = "first healthy"

RECOVERED = "the first choice is healthy again"


def members(endpoints: Iterable[Endpoint]) -> dict[str, list[Endpoint]]:
    """The endpoints of each pool, in the order they are declared in."""
    found: dict[str, list[Endpoint]] = defaultdict(list)
    for endpoint in endpoints:
        if endpoint.pool:
            found[endpoint.pool].append(endpoint)
    return dict(found)


def declared(endpoints: Iterable[Endpoint]) -> list[Row]:
    """The rows of source_pools and pool_members."""
    rows: list[Row] = []
    for pool, listed in members(endpoints).items():
        rows.append(
            SourcePool(
                pool=pool,
                feeds=listed[0].model.table.name,
                members=len(listed),
                strategy=STRATEGY,
            )
        )
        rows += [
            PoolMember(
                pool=pool,
                endpoint=member.id,
                source=member.source.name,
                place=place,
                key_required=not member.source.keyless,
            )
            for place, member in enumerate(listed, 1)
        ]
    return rows


def rotate(
    results: Sequence[Result], known: Mapping[str, RotationState], collection_id: str
) -> list[RotationState | RotationChange]:
    """What a collection says of the pools it asked: the state of each, and the changes."""
    by_pool: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        if result.endpoint.pool:
            by_pool[result.endpoint.pool].append(result)
    rows: list[RotationState | RotationChange] = []
    for pool, of_pool in by_pool.items():
        if any(result.asked for result in of_pool):
            rows += _rotate(pool, of_pool, known.get(pool), collection_id)
    return rows


def _rotate(
    pool: str, results: Sequence[Result], before: RotationState | None, collection_id: str
) -> list[RotationState | RotationChange]:
    asked = sorted((r for r in results if r.asked), key=lambda r: r.asked_at or r.finished_at)
    last = asked[-1]
    at = last.asked_at or last.finished_at
    was = before.endpoint if before else None
    answered = last.good
    now = last.endpoint.id if answered else was
    state = RotationState(
        pool=pool,
        endpoint=now,
        since=before.since if before and now == was else at,
        outcome=last.outcome,
        reason=last.reason,
        asked_at=at,
    )
    if now is None or now == was:
        return [state]
    change = RotationChange(
        pool=pool,
        from_endpoint=was,
        to_endpoint=now,
        reason=_why(results, asked, was, last),
        changed_at=at,
        collection_id=collection_id,
    )
    return [state, change]


def _why(results: Sequence[Result], asked: Sequence[Result], was: str | None, last: Result) -> str:
    """Why another member answers than the one that did before."""
    failed = [r for r in asked if r is not last and was in (None, r.endpoint.id)]
    if failed:
        return f"{failed[0].endpoint.id}: {failed[0].outcome}: {failed[0].reason}"
    if was is None:
        return "the first answer"
    order = [r.endpoint.id for r in results]
    if was in order and order.index(was) > order.index(last.endpoint.id):
        return RECOVERED
    passed_over = next((r for r in results if r.endpoint.id == was), None)
    return (
        f"{was}: {passed_over.outcome}: {passed_over.reason}" if passed_over else f"{was} is gone"
    )
