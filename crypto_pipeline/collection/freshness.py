"""From what age a table is old, by the intervals at which the endpoints that feed it are asked.

Owns: the one rule for it; Dagster's freshness and the alert of a stale table both follow it.
Must not know: when anything was collected.
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import NamedTuple

from crypto_pipeline.collection.backoff import lacks_key
from crypto_pipeline.sources import ENDPOINTS
from crypto_pipeline.sources.spec import Endpoint
from crypto_pipeline.tables import Row, origins


class Window(NamedTuple):
    """fresh: the age up to which a table is as new as it should be. stale: the age from which
    nobody should rely on it."""

    fresh: timedelta
    stale: timedelta


def asked_for(model: type[Row], keys: Mapping[str, str]) -> list[Endpoint]:
    """The endpoints whose answers a table is made of in the end, without those that lack a key.

    `keys` is the environment.
    """
    made_of = origins(model)
    return [e for e in ENDPOINTS.values() if e.model in made_of and not lacks_key(e, keys)]


def window(model: type[Row], endpoints: Iterable[Endpoint]) -> Window:
    """How old a table may be that these endpoints feed: the most frequent of them sets it, and no
    collection comes more often than the beat of the table's group. Without endpoints: the group's.
    """
    group = model.table.group
    interval = max(group.beat, min((e.min_interval for e in endpoints), default=group.beat))
    return Window(interval + (group.fresh - group.beat), max(group.stale, 2 * interval))
