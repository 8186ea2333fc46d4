"""The kinds of sources as external assets: what the tables are made of, and how each kind is.

Owns: what Dagster shows of sources.
Must not know: sources by name; how they are asked.
See https://docs.dagster.io/guides/build/assets/external-assets
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from crypto_pipeline import clock
from crypto_pipeline.collection.results import Collection
from crypto_pipeline.sources import KINDS, Kind
from crypto_pipeline.tables import Row, SourceHealth
from crypto_pipeline.text import cell

GROUP = "sources"

SHOWN = 10
"""How many resting endpoints a kind's state names."""


def key_of(kind: Kind) -> dg.AssetKey:
    return dg.AssetKey([GROUP, kind.name])


def kinds() -> list[dg.AssetSpec]:
    """Every kind of source, as an asset that nobody here makes."""
    return [
        dg.AssetSpec(
            key_of(kind),
            description=(
                f"{kind.about}\n\n{len(kind.sources)} sources: "
                + ", ".join(sorted(source.name for source in kind.sources))
            ),
            group_name=GROUP,
            owners=["team:crypto_pipeline"],
            kinds={"api"},
        )
        for kind in KINDS
    ]


def feeding(model: type[Row]) -> list[dg.AssetKey]:
    """The kinds of sources that have an endpoint for a table."""
    return [key_of(kind) for kind in KINDS if any(e.model is model for e in kind.endpoints)]


def observe(instance: dg.DagsterInstance, collection: Collection) -> Iterator[dg.AssetObservation]:
    """How each kind is that was asked in a collection, where that is not as Dagster has it already:
    every event is two kilobytes in its database, and most collections change nothing.
    """
    asked = {result.endpoint.id for result in collection.asked}
    for kind in KINDS:
        if asked.isdisjoint(endpoint.id for endpoint in kind.endpoints):
            continue
        seen = dg.AssetObservation(key_of(kind), metadata=_state(kind, collection))
        last = instance.fetch_observations(key_of(kind), limit=1).records
        known = last[0].event_log_entry.asset_observation if last else None
        if known is None or dict(known.metadata) != dict(seen.metadata):
            yield seen


def _state(kind: Kind, collection: Collection) -> dict[str, Any]:
    """How many endpoints answer, rest after failures, and were never asked; and who rests.

    One that failed once is asked again when it is due: it rests when it goes on.
    """
    known = [h for e in kind.endpoints if (h := collection.health.get(e.id))]
    resting = sorted((h for h in known if h.circuit == "open"), key=lambda h: h.endpoint)
    state: dict[str, Any] = {
        "answering": len(known) - len(resting),
        "resting": len(resting),
        "never_asked": len(kind.endpoints) - len(known),
    }
    if resting:
        more = len(resting) - SHOWN
        state["who_rests"] = dg.MetadataValue.md(
            "| endpoint | outcome | last answered | reason |\n| --- | --- | --- | --- |\n"
            + "\n".join(_line(health) for health in resting[:SHOWN])
            + (f"\n\nand {more} more: see source_health" if more > 0 else "")
        )
    return state


def _line(health: SourceHealth) -> str:
    since = clock.said(health.succeeded_at) if health.succeeded_at else "never"
    return f"| {health.endpoint} | {health.outcome} | {since} | {cell(health.reason, 100)} |"
