"""One collection: the order of its steps.

Owns: that order, and that two collections of one group never run at once.
Must not know: what any step does; and not Dagster.
"""

import gc
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

from crypto_pipeline import settings
from crypto_pipeline.collection import log_file, records, universe
from crypto_pipeline.collection.crawler import Crawler
from crypto_pipeline.collection.fetch import Fetcher
from crypto_pipeline.collection.interrupts import Interrupted, Interrupts
from crypto_pipeline.collection.keeper import Keeper, keeper_of
from crypto_pipeline.collection.kept_answers import Brought
from crypto_pipeline.collection.limits import LIMITS, Limits
from crypto_pipeline.collection.plan import plan_collection
from crypto_pipeline.collection.quotas import Quotas
from crypto_pipeline.collection.results import Collection, Progress, Result
from crypto_pipeline.groups import CollectionType
from crypto_pipeline.sources import SOURCES
from crypto_pipeline.sources.spec import MAJORS, Endpoint
from crypto_pipeline.tables import TABLES
from crypto_pipeline.tables.outcomes import Skipped
from crypto_pipeline.warehouse import Hurried, Memory, Warehouse, configured

GROUP_WAIT_S = 90.0
"""How long a collection waits for another of the same group before it steps aside."""


def collect(
    tables: Sequence[str],
    collection_id: str,
    *,
    warehouse: Warehouse | None = None,
    collection_type: CollectionType = "manual",
    force: bool = False,
    among: Sequence[Endpoint] | None = None,
    progress: Progress | None = None,
    limits: Limits = LIMITS,
) -> Collection:
    """Run one collection of these tables, keep what it brings, and log how each endpoint ended.

    `among` limits it to some endpoints. Raises SettingError before anybody is asked, WarehouseError
    when nothing can be kept, and Interrupted after a signal, when what was answered is kept.
    """
    form = settings.log_form()
    settings.check_keys(key_names())
    warehouse = warehouse or configured()
    endpoints = endpoints_of(tables) if among is None else list(among)
    collection = Collection(collection_id, collection_type, datetime.now(UTC))
    with Interrupts() as stop, keeper_of(warehouse) as keeper:
        try:
            with _cycle_collector_off(), _groups_locked(warehouse, endpoints, stop) as busy:
                if busy:
                    _step_aside(collection, endpoints, busy)
                else:
                    warehouse.require_room()
                    memory = warehouse.remember()
                    collection.results = crawl(
                        endpoints, memory, collection.id, force=force, progress=progress,
                        limits=limits, interrupted=stop, keeper=keeper,
                    )  # fmt: skip
                    _keep(collection, memory, warehouse, tables, stop, keeper)
        finally:
            collection.unlogged = log_file.write(collection, warehouse, form)
    if stop.signal:
        collection.interrupted = stop.signal
        raise Interrupted(collection)
    return collection


def crawl(
    endpoints: Sequence[Endpoint],
    memory: Memory,
    collection_id: str,
    *,
    force: bool = False,
    progress: Progress | None = None,
    limits: Limits = LIMITS,
    interrupted: Callable[[], bool] = lambda: False,
    keeper: Keeper | None = None,
) -> list[Result]:
    """Ask the endpoints that may be asked now; a result for every one, in the order given. Without
    a keeper no answer is kept."""
    keeper = keeper or Keeper(None)
    results: dict[str, Result] = {}

    def ended(result: Result) -> None:
        results[result.endpoint.id] = result
        if progress:
            progress(result, len(results), len(endpoints))

    plan = plan_collection(endpoints, memory.health, datetime.now(UTC), os.environ, force=force)
    sources = (*SOURCES.values(), *(endpoint.source for endpoint in endpoints))
    quotas = Quotas(sources, memory.usage, limits.attempts)
    symbols = universe.one_by_one(settings.universe(), MAJORS)
    with Fetcher(settings.upstream(), key_names(), limits) as fetcher:
        Crawler(
            fetcher, memory.health, quotas, symbols, collection_id, ended, keeper, interrupted
        ).run(plan)
    return [results[endpoint.id] for endpoint in endpoints]


def _keep(
    collection: Collection,
    memory: Memory,
    warehouse: Warehouse,
    tables: Sequence[str],
    interrupted: Callable[[], bool],
    keeper: Keeper,
) -> None:
    """Write what a collection brought, without the coins that a user does not want by all that is
    known of their ranks; then keep the answers it came from."""
    universe.learn_ranks(memory.ranks, collection.results)
    wanted = universe.inside(settings.universe(), memory.ranks)
    universe.leave_out(collection.results, wanted)
    agree = any(TABLES[name].table.computed_from for name in tables)
    batch = records.batch(collection, memory, agree=agree)
    collection.health = memory.health
    try:
        collection.receipt = warehouse.write(batch, interrupted)
    finally:
        warehouse.note(memory)  # who was asked counts, whatever became of the answers
    keeper.keep(collection.id, collection.started_at, wanted, _brought(collection))
    collection.unkept = keeper.problem


def _brought(collection: Collection) -> list[Brought]:
    """The answers of each endpoint; those are of use for longer of which not all became rows."""
    refused = {e for counts in collection.receipt.refused.values() for e in counts}
    return [
        Brought(
            result.bodies,
            not result.good or len(result.rejects) > 0 or result.endpoint.id in refused,
        )
        for result in collection.results
    ]


def endpoints_of(tables: Iterable[str]) -> list[Endpoint]:
    """The declared endpoints that feed any of these tables."""
    wanted = set(tables)
    return [e for s in SOURCES.values() for e in s.endpoints if e.model.table.name in wanted]


def key_names() -> list[str]:
    """The environment variables that hold API keys."""
    return [source.key.env for source in SOURCES.values() if source.key]


@contextmanager
def _cycle_collector_off() -> Iterator[None]:
    """A collection makes a million objects, few cycles, and every full pass of the cycle collector
    walks Dagster's heap as well."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def _groups_locked(
    warehouse: Warehouse, endpoints: Sequence[Endpoint], interrupted: Callable[[], bool]
) -> Iterator[str | None]:
    """Keep other collections of these endpoints' groups away; gives the group that is taken."""
    with ExitStack() as locks:
        for group in sorted({e.model.table.group.name for e in endpoints}):
            try:
                held = locks.enter_context(warehouse.lock(group, GROUP_WAIT_S, interrupted))
            except Hurried:
                held = False
            if not held:
                yield group
                return
        yield None


def _step_aside(collection: Collection, endpoints: Sequence[Endpoint], group: str) -> None:
    """Ask nobody, since another collection does."""
    skipped = Skipped("stepped_aside", f"another collection of the group {group} is running")
    collection.stepped_aside = skipped.reason
    collection.results = [Result.of_skipped(endpoint, skipped) for endpoint in endpoints]
