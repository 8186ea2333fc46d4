"""One collection: plan, fetch, extract, load, and an outcome for every endpoint.

Owns: the order of the steps, the threads, pools of sources, and the account that is kept.
Must not know: how requests are sent, what answers mean, how rows are stored; and not Dagster.
"""

import gc
import itertools
import os
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from crypto_pipeline import settings
from crypto_pipeline.collection import backoff, log_file, pools, quotas, universe
from crypto_pipeline.collection.extract import Extraction, Outcome, Reject, extract
from crypto_pipeline.collection.fetch import (
    CONNECTIONS,
    DEADLINE_S,
    MAX_ATTEMPTS,
    Answer,
    Attempt,
    Fetcher,
    Request,
    request_for,
)
from crypto_pipeline.sources import ENDPOINTS, SOURCES
from crypto_pipeline.sources.spec import MAJORS, Ask, Endpoint, Source
from crypto_pipeline.tables import (
    CachedMarketData,
    ConnectionAttempt,
    DataCollection,
    MarketPrice,
    Provider,
    RejectedRow,
    RotationState,
    Row,
)
from crypto_pipeline.warehouse import Batch, Memory, Receipt, Warehouse

GRACE_S = 5.0
"""How long past its deadline a request may take before its thread is given up."""

LONGEST_TURN_S = 3.0
"""How far away an endpoint's turn at its host may be; one further back waits for the next tick.
A source that wants ten seconds between requests is asked for one thing at a time."""

REJECTS_KEPT = 50
TURN_WAIT_S = 90.0
"""How long a collection waits for another of the same group before it steps aside."""


@dataclass(slots=True)
class Result:
    """How one endpoint ended in one collection."""

    endpoint: Endpoint
    outcome: Outcome
    reason: str | None = None
    records: int = 0
    rows: list[Row] = field(default_factory=list)
    left_out: int = 0
    rejects: list[Reject] = field(default_factory=list)
    bytes_received: int = 0
    latency_ms: float | None = None
    attempts: tuple[Attempt, ...] = ()
    retry_after: float | None = None
    etag: str | None = None
    last_modified: str | None = None
    asked_at: datetime | None = None
    finished_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def asked(self) -> bool:
        return self.outcome != "skipped"


@dataclass(slots=True)
class Collection:
    """What one collection came to."""

    id: str
    kind: str
    started_at: datetime
    results: list[Result] = field(default_factory=list)
    receipt: Receipt = field(default_factory=Receipt)
    stepped_aside: str | None = None
    unlogged: str | None = None

    def of(self, table: str) -> list[Result]:
        return [r for r in self.results if r.endpoint.table.table.name == table]

    @property
    def asked(self) -> list[Result]:
        return [r for r in self.results if r.asked]

    @property
    def answered(self) -> list[Result]:
        return [r for r in self.results if r.outcome in backoff.GOOD]

    @property
    def failed(self) -> str | None:
        """Why the collection as a whole failed: asked somebody, and nobody answered."""
        if self.asked and not self.answered:
            first = self.asked[0]
            return (
                f"none of the {len(self.asked)} endpoints asked could be collected; the first: "
                f"{first.endpoint.id}: {first.outcome}: {first.reason}"
            )
        return None


Progress = Callable[[Result, int, int], None]
"""Called for every endpoint as it ends, with how many are done and how many there are."""


def endpoints(tables: Iterable[str]) -> list[Endpoint]:
    """The declared endpoints that feed any of these tables."""
    wanted = set(tables)
    return [e for s in SOURCES.values() for e in s.endpoints if e.table.table.name in wanted]


def key_names() -> list[str]:
    """The environment variables that hold API keys."""
    return [source.key.env for source in SOURCES.values() if source.key]


def collect(
    tables: Sequence[str],
    collection_id: str,
    *,
    warehouse: Warehouse | None = None,
    kind: str = "manual",
    force: bool = False,
    among: Sequence[Endpoint] | None = None,
    progress: Progress | None = None,
) -> Collection:
    """Run one collection of these tables, keep what it brings, and log how each endpoint ended.

    `among` limits it to some endpoints. Raises WarehouseError when nothing can be kept, not even
    in the spool; what the network does never raises.
    """
    form = settings.log_form()
    warehouse = warehouse or Warehouse(settings.database())
    chosen = list(endpoints(tables) if among is None else among)
    done = Collection(collection_id, kind, datetime.now(UTC))
    try:
        with _without_pauses():
            _run(done, tables, chosen, warehouse, force, progress)
    finally:
        done.unlogged = log_file.write(done, warehouse, form)
    return done


@contextmanager
def _without_pauses() -> Iterator[None]:
    """Keep the cycle collector out of the way: a collection makes a million objects, few cycles,
    and every full pass walks Dagster's heap as well."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _run(
    done: Collection,
    tables: Sequence[str],
    chosen: Sequence[Endpoint],
    warehouse: Warehouse,
    force: bool,
    progress: Progress | None,
) -> None:
    with ExitStack() as turns:
        for group in sorted({e.table.table.group for e in chosen}):
            if not turns.enter_context(warehouse.turn(group, TURN_WAIT_S)):
                done.stepped_aside = f"another collection of the group {group} is running"
                done.results = [Result(e, "skipped", done.stepped_aside) for e in chosen]
                return
        memory = warehouse.remember()
        done.results = gather(chosen, memory, done.id, force=force, progress=progress)
        batch = _batch(done, memory, agree=CachedMarketData.table.name in tables)
        done.receipt = warehouse.write(batch)
        warehouse.note(memory)


# Asking


def gather(
    chosen: Sequence[Endpoint],
    memory: Memory,
    collection_id: str,
    *,
    force: bool = False,
    progress: Progress | None = None,
) -> list[Result]:
    """Ask the endpoints that may be asked now; a result for every one, in the order given."""
    at = datetime.now(UTC)
    results: dict[str, Result] = {}

    def end(result: Result) -> None:
        results[result.endpoint.id] = result
        if progress:
            progress(result, len(results), len(chosen))

    queues: dict[str, list[Endpoint]] = defaultdict(list)
    for endpoint in chosen:
        queues[endpoint.pool or endpoint.id].append(endpoint)
    able: list[list[Endpoint]] = []
    for members in queues.values():
        asked, passed_over = _plan(members, memory, at, force)
        for member, reason in passed_over:
            end(Result(member, "skipped", reason))
        if asked:
            able.append(asked)
    with Fetcher(settings.upstream(), key_names()) as fetcher:
        sources = (*SOURCES.values(), *(endpoint.source for endpoint in chosen))
        allowance = quotas.Allowance(sources, memory.usage, MAX_ATTEMPTS)
        errand = _Errand(fetcher, memory, allowance, collection_id, end)
        errand.run(able)
    return [results[endpoint.id] for endpoint in chosen]


def _plan(
    members: Sequence[Endpoint], memory: Memory, at: datetime, force: bool
) -> tuple[list[Endpoint], list[tuple[Endpoint, str]]]:
    """Of one pool (or one endpoint alone): who may be asked, in order, and why not the others."""
    able, passed_over = [], []
    for member in backoff.in_order(members, memory.health, at):
        known = memory.health.get(member.id)
        reason = backoff.why_not(member, known, at, os.environ, force)
        if reason:
            passed_over.append((member, reason))
            if known and known.outcome in backoff.GOOD and at < known.next_allowed_at:
                rest = f"the pool is not due: {member.id} answered lately"
                return [], [(m, reason if m is member else rest) for m in members]
        else:
            able.append(member)
    return able, passed_over


class _Errand:
    """Requests in threads, answers in one place: the coordinator of one collection.

    A request that several endpoints share is made once. Members of a pool are asked one after the
    other until one answers. No source is asked for more than it allows, not even by a retry. A
    request that outlives its deadline (a server can drip headers for ever) is given up with its
    thread; threads are daemons, so nobody waits for it.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        memory: Memory,
        allowance: quotas.Allowance,
        collection_id: str,
        end: Callable[[Result], None],
    ) -> None:
        self._fetcher = fetcher
        self._memory = memory
        self._allowance = allowance
        self._collection_id = collection_id
        self._end = end
        self._symbols = universe.asked(settings.universe(), MAJORS)
        self._todo: queue.PriorityQueue[tuple[float, int, Request]] = queue.PriorityQueue()
        self._done: queue.SimpleQueue[tuple[Request, Answer]] = queue.SimpleQueue()
        self._threads = 0
        self._begun: dict[Request, float] = {}
        self._waiting: dict[Request, list[tuple[Endpoint, Ask]]] = {}
        self._answered: dict[Request, Answer] = {}
        self._next_turn: dict[str, float] = defaultdict(float)
        self._order = itertools.count()
        self._open: dict[str, Result] = {}
        self._parts: dict[str, list[tuple[Ask, Extraction]]] = defaultdict(list)
        self._expected: dict[str, int] = {}
        self._reserve: dict[str, list[Endpoint]] = {}
        self._taken: dict[Request, tuple[Source, int]] = {}

    def run(self, queues: Sequence[Sequence[Endpoint]]) -> None:
        """Ask the first of every queue, and the next ones where it fails."""
        for first, *others in queues:
            self._reserve[first.id] = others
            self._ask(first)
        while self._waiting:
            try:
                request, answer = self._done.get(timeout=0.5)
            except queue.Empty:
                self._give_up()
                continue
            self._receive(request, answer)

    def _ask(self, endpoint: Endpoint) -> None:
        at = datetime.now(UTC)
        known = self._memory.health.get(endpoint.id) if endpoint.conditional else None
        etag, last_modified = (known.etag, known.last_modified) if known else (None, None)
        asks = [
            (ask, request_for(endpoint, ask, at, etag=etag, last_modified=last_modified))
            for ask in endpoint.asks(self._symbols)
        ]
        if not asks:
            self._close(Result(endpoint, "skipped", "none of the wanted coins is listed there"))
            return
        if self._turn(asks[0][1]) > LONGEST_TURN_S:
            host, gap = asks[0][1].host, endpoint.source.gap
            words = f"not due: {host} wants {gap:g} s between requests, the next time"
            self._close(Result(endpoint, "skipped", words))
            return
        new = {r for _, r in asks if r not in self._answered and r not in self._waiting}
        reason = self._allowance.why_not(endpoint.source, len(new), at)
        if reason:
            self._close(Result(endpoint, "skipped", reason))
            return
        tries = self._allowance.take(endpoint.source, len(new), at)
        self._taken |= dict.fromkeys(new, (endpoint.source, tries))
        self._open[endpoint.id] = Result(endpoint, "ok", asked_at=at)
        self._expected[endpoint.id] = len(asks)
        for ask, request in asks:
            answer = self._answered.get(request)
            if answer is not None:
                self._extract(answer, endpoint, ask, shared=True)
            elif request in self._waiting:
                self._waiting[request].append((endpoint, ask))
            else:
                self._waiting[request] = [(endpoint, ask)]
                self._queue(request if tries > 1 else replace(request, retried=False))

    def _queue(self, request: Request) -> None:
        turn = max(self._next_turn[request.host], time.monotonic())
        self._next_turn[request.host] = turn + request.gap
        self._todo.put((turn, next(self._order), request))
        self._work_more()

    def _turn(self, request: Request) -> float:
        """Seconds until a new request would have its turn at its host."""
        if request in self._waiting or request in self._answered:
            return 0.0
        return self._next_turn[request.host] - time.monotonic()

    def _work_more(self) -> None:
        if self._threads < CONNECTIONS:
            self._threads += 1
            threading.Thread(target=self._work, daemon=True, name="fetch").start()

    def _work(self) -> None:
        """Make requests in the order of their turns: a thread that waited for the turn of one host
        would keep it from the others."""
        while True:
            try:
                turn, _, request = self._todo.get(timeout=1)
            except queue.Empty:
                if self._waiting:
                    continue
                return
            time.sleep(max(0.0, turn - time.monotonic()))
            self._begun[request] = time.monotonic()
            try:
                answer = self._fetcher.fetch(request)
            except Exception as problem:  # a fault of ours must cost one answer, not all of them
                words = self._fetcher.redact(f"{type(problem).__name__}: {problem}")
                answer = Answer(None, b"", "", datetime.now(UTC), error=words)
            self._done.put((request, answer))

    def _give_up(self) -> None:
        """Answer for the requests whose threads will not come back in time."""
        now = time.monotonic()
        hosts: dict[str, int] = defaultdict(int)
        for request in self._waiting:
            hosts[request.host] += 1
        for request in list(self._waiting):
            patience = DEADLINE_S + GRACE_S + request.gap * hosts[request.host]
            if now - self._begun.get(request, now) > patience:
                self._threads -= 1
                self._work_more()
                self._receive(request, self._fetcher.given_up(request))

    def _receive(self, request: Request, answer: Answer) -> None:
        asked = self._waiting.get(request)
        if asked is None:
            return  # given up before
        self._answered[request] = answer
        source, tries = self._taken.pop(request)
        self._allowance.give_back(source, tries - len(answer.attempts))
        for place, (endpoint, ask) in enumerate(asked):
            self._extract(answer, endpoint, ask, shared=place > 0)
        del self._waiting[request]

    def _extract(self, answer: Answer, endpoint: Endpoint, ask: Ask, *, shared: bool) -> None:
        result = self._open[endpoint.id]
        if not shared:
            result.attempts += answer.attempts
            result.bytes_received += answer.bytes_received
        result.latency_ms = max(result.latency_ms or 0.0, answer.latency_ms)
        result.etag, result.last_modified = answer.etag, answer.last_modified
        parts = self._parts[endpoint.id]
        parts.append((ask, extract(endpoint, ask, answer, self._collection_id)))
        if len(parts) == self._expected[endpoint.id]:
            self._close(_merge(result, parts))

    def _close(self, result: Result) -> None:
        """End an endpoint; where it failed, the next of its pool takes over."""
        endpoint = result.endpoint
        self._end(result)
        others = self._reserve.pop(endpoint.id, [])
        if others and result.outcome not in backoff.GOOD:
            self._reserve[others[0].id] = others[1:]
            self._ask(others[0])
        else:
            for other in others:
                self._end(Result(other, "skipped", f"the pool has its answer from {endpoint.id}"))


def _merge(result: Result, parts: Sequence[tuple[Ask, Extraction]]) -> Result:
    """One result of the answers to an endpoint's asks.

    Good when any of them was, unless one was throttled: then it is `throttled`, so that the source
    is left alone, and the rows that came are kept all the same.
    """
    failures = []
    for ask, part in parts:
        result.records += part.records
        result.rows += part.rows
        result.left_out += part.left_out
        result.rejects += part.rejects
        if part.retry_after is not None:
            result.retry_after = max(result.retry_after or 0.0, part.retry_after)
        if part.outcome not in backoff.GOOD:
            failures.append((part, f"{ask.each}: {part.reason}" if ask.each else part.reason))
    throttled = next((part for part, _ in failures if part.outcome == "throttled"), None)
    good = next((part for _, part in parts if part.outcome in ("ok", "unchanged")), None)
    decisive = throttled or good or (failures[0][0] if failures else parts[0][1])
    result.outcome, result.reason = decisive.outcome, decisive.reason
    if failures and len(parts) > 1:
        words = failures[0][1] if throttled is None else throttled.reason
        result.reason = f"{len(failures)} of {len(parts)} requests failed: {words}"
    result.finished_at = datetime.now(UTC)
    return result


# Keeping


def _batch(done: Collection, memory: Memory, *, agree: bool) -> Batch:
    """Everything the collection writes: rows, attempts, outcomes, rejects, health, declarations."""
    batch = Batch(done.id, done.started_at, agree=agree)
    prices = [row for r in done.results for row in r.rows if isinstance(row, MarketPrice)]
    for symbol, rank in universe.ranks(prices).items():
        memory.ranks[symbol] = min(rank, memory.ranks.get(symbol, rank))
    _keep_universe(done.results, universe.kept(settings.universe(), memory.ranks))
    batch.add("", [_provider(source) for source in SOURCES.values()])
    batch.add("", pools.declared(ENDPOINTS.values()))
    for usage in quotas.spent((r.endpoint.source, r.attempts) for r in done.results):
        key = (usage.source, usage.period, usage.window_start)
        memory.usage[key] = quotas.added(memory.usage.get(key), usage)
        batch.add("", [usage])
    for row in pools.rotate(done.results, memory.rotation, done.id):
        if isinstance(row, RotationState):
            memory.rotation[row.pool] = row
        batch.add("", [row])
    for result in done.results:
        endpoint = result.endpoint
        batch.add(endpoint.id, result.rows)
        batch.add("", [_attempt(result, attempt, done.id) for attempt in result.attempts])
        batch.add("", [_outcome(result, done)])
        batch.add("", [_reject(result, r, done.id) for r in result.rejects[:REJECTS_KEPT]])
        if result.asked:
            remembered = backoff.after(
                endpoint,
                memory.health.get(endpoint.id),
                result.outcome,
                result.reason,
                result.asked_at or done.started_at,
                retry_after=result.retry_after,
                etag=result.etag,
                last_modified=result.last_modified,
            )
            memory.health[endpoint.id] = remembered
            batch.add("", [remembered])
    return batch


def _keep_universe(results: Iterable[Result], kept: frozenset[str] | None) -> None:
    """Leave out the rows of coins outside the universe."""
    if kept is None:
        return
    for result in results:
        if result.rows and result.endpoint.table.table.universe:
            inside = [row for row in result.rows if getattr(row, "symbol", None) in kept]
            result.left_out += len(result.rows) - len(inside)
            result.rows = inside


def _provider(source: Source) -> Provider:
    return Provider(
        source=source.name,
        base_url=source.base,
        documentation=source.docs,
        key_variable=source.key.env if source.key else None,
        key_required=bool(source.key and source.key.required),
        tables=sorted({e.table.table.name for e in source.endpoints}),
        endpoints=len(source.endpoints),
    )


def _attempt(result: Result, attempt: Attempt, collection_id: str) -> ConnectionAttempt:
    return ConnectionAttempt(
        endpoint=result.endpoint.id,
        source=result.endpoint.source.name,
        attempt=attempt.number,
        method=attempt.method,
        url=attempt.url,
        status=attempt.status,
        error=attempt.error,
        bytes_received=attempt.bytes_received,
        latency_ms=attempt.latency_ms,
        started_at=attempt.started_at,
        collection_id=collection_id,
    )


def _outcome(result: Result, done: Collection) -> DataCollection:
    return DataCollection(
        endpoint=result.endpoint.id,
        source=result.endpoint.source.name,
        feeds=result.endpoint.table.table.name,
        collection_type=done.kind,
        outcome=result.outcome,
        reason=result.reason,
        records=result.records,
        rows=len(result.rows),
        left_out=result.left_out,
        rejects=len(result.rejects),
        stored=0,
        bytes_received=result.bytes_received,
        latency_ms=result.latency_ms,
        started_at=done.started_at,
        finished_at=result.finished_at,
        collection_id=done.id,
    )


def _reject(result: Result, reject: Reject, collection_id: str) -> RejectedRow:
    return RejectedRow(
        endpoint=result.endpoint.id,
        source=result.endpoint.source.name,
        feeds=result.endpoint.table.table.name,
        field=reject.field,
        reason=reject.reason,
        record=reject.record,
        rejected_at=result.finished_at,
        collection_id=collection_id,
    )
