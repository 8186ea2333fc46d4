"""Every source, found in the modules of this folder, in the order they are declared in.

spec    the vocabulary: a source, its key, its endpoints
values  the converters that row functions share
All other modules declare sources. No module outside this folder may contain a source's name.
"""

import importlib
import pkgutil
from collections.abc import Iterable
from datetime import UTC, datetime

from crypto_pipeline.sources.spec import Endpoint, Source, SourceError


def _find() -> dict[str, Source]:
    found: dict[str, Source] = {}
    for module in sorted(m.name for m in pkgutil.iter_modules(__path__)):
        for value in vars(importlib.import_module(f"{__name__}.{module}")).values():
            for source in value if isinstance(value, list | tuple) else [value]:
                if isinstance(source, Source):
                    if found.get(source.name, source) is not source:
                        raise SourceError(f"source {source.name!r}: declared twice")
                    if not source.endpoints:
                        raise SourceError(f"source {source.name!r}: endpoints: has none")
                    found[source.name] = source
    return found


def refuse_one_under_two_names(sources: Iterable[Source]) -> None:
    """Raises SourceError for two sources that ask the same for one table: one source under two
    names would be two voices."""
    asked: dict[tuple[str, ...], Endpoint] = {}
    for source in sources:
        for endpoint in source.endpoints:
            first = asked.setdefault(endpoint.question(_ANY_TIME), endpoint)
            if first.source is not source:
                raise SourceError(f"endpoint {endpoint.id}: path: asks what {first.id} asks")


_ANY_TIME = datetime(2026, 1, 1, tzinfo=UTC)

SOURCES: dict[str, Source] = _find()
refuse_one_under_two_names(SOURCES.values())

ENDPOINTS: dict[str, Endpoint] = {e.id: e for s in SOURCES.values() for e in s.endpoints}

__all__ = ["ENDPOINTS", "SOURCES", "Endpoint", "Source", "SourceError"]
