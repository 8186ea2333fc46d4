"""Every source, found in the modules of this folder; no other module may contain a source's name."""

import importlib
import pkgutil

from crypto_pipeline.sources.spec import Endpoint, Source, SourceError


def _find() -> dict[str, Source]:
    found: dict[str, Source] = {}
    for module in sorted(m.name for m in pkgutil.iter_modules(__path__)):
        for value in vars(importlib.import_module(f"{__name__}.{module}")).values():
            if isinstance(value, Source):
                if found.get(value.name, value) is not value:
                    raise SourceError(f"source {value.name!r}: declared twice")
                if not value.endpoints:
                    raise SourceError(f"source {value.name!r}: endpoints: has none")
                found[value.name] = value
    return dict(sorted(found.items()))


SOURCES: dict[str, Source] = _find()

ENDPOINTS: dict[str, Endpoint] = {e.id: e for s in SOURCES.values() for e in s.endpoints}

__all__ = ["ENDPOINTS", "SOURCES", "Endpoint", "Source", "SourceError"]
