"""Every source, found in the modules of this folder, in the order they are declared in.

No module outside this folder may contain a source's name.
"""

import importlib
import pkgutil

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


SOURCES: dict[str, Source] = _find()

ENDPOINTS: dict[str, Endpoint] = {e.id: e for s in SOURCES.values() for e in s.endpoints}

__all__ = ["ENDPOINTS", "SOURCES", "Endpoint", "Source", "SourceError"]
