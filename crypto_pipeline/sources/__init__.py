"""Every source, found in the modules of this folder, in the order they are declared in.

All but `spec` and `values` declare sources. No module outside this folder may contain a source's
name.
"""

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from types import ModuleType

from crypto_pipeline.sources.spec import Endpoint, Source, SourceError


@dataclass(frozen=True, slots=True)
class Kind:
    """Sources that are alike: those of one module. about: what they are, in a sentence."""

    name: str
    about: str
    sources: tuple[Source, ...]

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        return tuple(endpoint for source in self.sources for endpoint in source.endpoints)


_ANY_TIME = datetime(2026, 1, 1, tzinfo=UTC)


def find(modules: Iterable[ModuleType]) -> dict[str, Source]:
    """The sources that these modules declare, by name.

    Raises SourceError for a source without an endpoint, for two sources of one name, for two that
    ask the same for one table: they would be two voices of one, and for a voice of no source.
    """
    found: dict[str, Source] = {}
    asked: dict[tuple[str, ...], Endpoint] = {}
    for module in modules:
        for source in _sources_in(module):
            if found.setdefault(source.name, source) is not source:
                raise SourceError(f"source {source.name!r}: declared twice")
            if not source.endpoints:
                raise SourceError(f"source {source.name!r}: endpoints: has none")
            for endpoint in source.endpoints:
                first = asked.setdefault(endpoint.question(_ANY_TIME), endpoint)
                if first.source is not source:
                    raise SourceError(f"endpoint {endpoint.id}: path: asks what {first.id} asks")
    for source in found.values():
        if source.voice_of and (source.voice_of not in found or found[source.voice_of].voice_of):
            raise SourceError(
                f"source {source.name!r}: voice_of: {source.voice_of!r} has no voice of its own"
            )
    return found


def _sources_in(module: ModuleType) -> Iterator[Source]:
    """The sources among a module's names, also in lists and tuples; those it imports too."""
    for value in vars(module).values():
        for one in value if isinstance(value, list | tuple) else [value]:
            if isinstance(one, Source):
                yield one


def kinds_of(modules: Iterable[ModuleType]) -> tuple[Kind, ...]:
    """A kind for each module that declares sources; one that several have is of the first's."""
    taken: set[str] = set()
    kinds = []
    for module in modules:
        own = {s.name: s for s in _sources_in(module) if s.name not in taken}
        taken |= own.keys()
        if own:
            name = module.__name__.rpartition(".")[2]
            about = (module.__doc__ or name).splitlines()[0]
            kinds.append(Kind(name, about, tuple(own.values())))
    return tuple(kinds)


_MODULES = [
    importlib.import_module(f"{__name__}.{name}")
    for name in sorted(module.name for module in pkgutil.iter_modules(__path__))
]

SOURCES: dict[str, Source] = find(_MODULES)

KINDS: tuple[Kind, ...] = kinds_of(_MODULES)

ENDPOINTS: dict[str, Endpoint] = {e.id: e for s in SOURCES.values() for e in s.endpoints}

__all__ = ["ENDPOINTS", "KINDS", "SOURCES", "Endpoint", "Kind", "Source", "SourceError"]
