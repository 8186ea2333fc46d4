"""Requests in threads, answers in one place: asks the endpoints of a plan until each has ended.

Owns: the threads, which requests are shared, who takes over in a pool, and when a request is given
up.
Must not know: how a request is sent, what an answer means, what is written.
"""

import itertools
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from crypto_pipeline.collection.exchange import Answer, Request, request_for
from crypto_pipeline.collection.extract import Extraction, extract
from crypto_pipeline.collection.fetch import Fetcher
from crypto_pipeline.collection.limits import Slot
from crypto_pipeline.collection.plan import Plan
from crypto_pipeline.collection.quotas import Quotas
from crypto_pipeline.collection.results import Result
from crypto_pipeline.sources.spec import Ask, Endpoint, Source
from crypto_pipeline.tables import SourceHealth
from crypto_pipeline.tables.outcomes import Skipped


@dataclass(slots=True)
class _Asked:
    """An endpoint that is being asked. others: of its pool, who is asked when it fails."""

    result: Result
    expected: int
    others: list[Endpoint]
    parts: list[tuple[Ask, Extraction]] = field(default_factory=list)


@dataclass(slots=True)
class _Sent:
    """A request that is waiting for its slot, on its way, or answered.

    waiting: the endpoints it is made for. attempts: how many were set aside for it in its source's
    quota.
    """

    request: Request
    source: Source
    attempts: int
    waiting: list[tuple[_Asked, Ask]] = field(default_factory=list)
    began_at: float | None = None
    answer: Answer | None = None


class Crawler:
    """Asks the endpoints of one collection.

    A request that several endpoints share is made once. Members of a pool are asked one after the
    other until one answers. No source is asked for more than it allows, not even by a retry. A
    request that outlives its deadline (a server can drip headers for ever) is given up with its
    thread; threads are daemons, so nobody waits for it.

    remembered: what is known of endpoints, by id. symbols: the coins that are asked for one by one.
    ended: hears of every endpoint as it ends.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        remembered: Mapping[str, SourceHealth],
        quotas: Quotas,
        symbols: Sequence[str],
        collection_id: str,
        ended: Callable[[Result], None],
    ) -> None:
        self._fetcher = fetcher
        self._limits = fetcher.limits
        self._remembered = remembered
        self._quotas = quotas
        self._collection_id = collection_id
        self._symbols = symbols
        self._ended = ended
        self._sent: dict[Request, _Sent] = {}
        self._open = 0
        self._threads = _Threads(fetcher)

    def run(self, plan: Plan) -> None:
        """Ask the first of every queue, and the next ones where it fails."""
        for endpoint, skipped in plan.skipped:
            self._ended(Result.of_skipped(endpoint, skipped))
        try:
            for first, *others in plan.queues:
                self._ask(first, others)
            while self._open:
                answered = self._threads.next_answer(timeout_s=0.5)
                if answered:
                    self._receive(*answered)
                else:
                    self._give_up()
        finally:
            self._threads.stop()

    def _ask(self, endpoint: Endpoint, others: list[Endpoint]) -> None:
        """Send the requests of an endpoint, or end it with why that cannot be."""
        now = datetime.now(UTC)
        requests = self._requests(endpoint, now)
        new = {request for _, request in requests if request not in self._sent}
        skipped = self._why_not(endpoint, requests, new, now)
        if skipped:
            self._close(Result.of_skipped(endpoint, skipped), others)
            return
        attempts = self._quotas.take(endpoint.source, len(new), now)
        result = Result(endpoint, "ok", asked_at=now)
        asked = _Asked(result, len(requests), others)
        self._open += 1
        for ask, request in requests:
            sent = self._sent.get(request)
            if sent is None:
                sent = self._sent[request] = _Sent(request, endpoint.source, attempts)
                self._threads.send(sent, self._fetcher.slots.of(request.host))
            if sent.answer is not None:
                self._extract(sent.answer, asked, ask, shared=True)
            else:
                sent.waiting.append((asked, ask))

    def _requests(self, endpoint: Endpoint, now: datetime) -> list[tuple[Ask, Request]]:
        """The requests it takes to ask an endpoint once, conditional where it is."""
        known = self._remembered.get(endpoint.id) if endpoint.conditional else None
        etag, last_modified = (known.etag, known.last_modified) if known else (None, None)
        return [
            (ask, request_for(endpoint, ask, now, etag=etag, last_modified=last_modified))
            for ask in endpoint.asks(self._symbols)
        ]

    def _why_not(
        self,
        endpoint: Endpoint,
        requests: Sequence[tuple[Ask, Request]],
        new: set[Request],
        now: datetime,
    ) -> Skipped | None:
        """Why an endpoint that may be asked cannot be: coins, its host's slot, its quota."""
        if not requests:
            return Skipped("unlisted", "none of the wanted coins is listed there")
        first = requests[0][1]
        if first in new and self._fetcher.slots.of(first.host).wait_s > self._limits.slot_wait_s:
            reason = f"not due: {first.host} wants {first.gap:g} s between requests, the next time"
            return Skipped("slow_host", reason)
        return self._quotas.why_not(endpoint.source, len(new), now)

    def _receive(self, sent: _Sent, answer: Answer) -> None:
        """Hand an answer to the endpoints that wait for it."""
        if sent.answer is not None:
            return  # given up before
        sent.answer = answer
        self._quotas.give_back(sent.source, sent.attempts - len(answer.attempts))
        for place, (asked, ask) in enumerate(sent.waiting):
            self._extract(answer, asked, ask, shared=place > 0)

    def _give_up(self) -> None:
        """Answer for the requests whose threads will not come back in time."""
        now = time.monotonic()
        waiting = [sent for sent in self._sent.values() if sent.answer is None]
        at_host = Counter(sent.request.host for sent in waiting)
        for sent in waiting:
            gaps = sent.request.gap * at_host[sent.request.host]
            patience = self._limits.deadline_s + self._limits.grace_s + gaps
            if sent.began_at is not None and now - sent.began_at > patience:
                self._threads.replace_one()
                self._receive(sent, self._fetcher.given_up(sent.request))

    def _extract(self, answer: Answer, asked: _Asked, ask: Ask, *, shared: bool) -> None:
        """Turn an answer into a part of an endpoint's result, and end it with its last part."""
        result = asked.result
        if not shared:
            result.attempts += answer.attempts
            result.bytes_received += answer.bytes_received
        result.latency_ms = max(result.latency_ms or 0.0, answer.latency_ms)
        result.etag, result.last_modified = answer.etag, answer.last_modified
        part = extract(result.endpoint, ask, answer, self._collection_id)
        asked.parts.append((ask, part))
        if len(asked.parts) == asked.expected:
            self._open -= 1
            self._close(_merge(result, asked.parts), asked.others)

    def _close(self, result: Result, others: list[Endpoint]) -> None:
        """End an endpoint; where it failed, the next of its pool takes over."""
        self._ended(result)
        if others and not result.good:
            self._ask(others[0], others[1:])
            return
        answered = Skipped("pool_answered", f"the pool has its answer from {result.endpoint.id}")
        for other in others:
            self._ended(Result.of_skipped(other, answered))


class _Threads:
    """The threads that send, as many as there is work for, up to the limit.

    Each takes the request whose moment comes next: a thread that waited for the slot of one host
    would keep it from the others.
    """

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._todo: queue.PriorityQueue[tuple[float, int, _Sent]] = queue.PriorityQueue()
        self._done: queue.SimpleQueue[tuple[_Sent, Answer]] = queue.SimpleQueue()
        self._order = itertools.count()
        self._count = 0
        self._stopped = False

    def send(self, sent: _Sent, slot: Slot) -> None:
        """Send a request when its host's slot is free."""
        moment = slot.book(sent.request.gap)
        self._todo.put((moment, next(self._order), sent))
        self._start_one()

    def next_answer(self, timeout_s: float) -> tuple[_Sent, Answer] | None:
        """The next request that was answered; None when none was in time."""
        try:
            return self._done.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def replace_one(self) -> None:
        """Start a thread for one that will not come back."""
        self._count -= 1
        self._start_one()

    def stop(self) -> None:
        """Let the threads end that have nothing to send."""
        self._stopped = True

    def _start_one(self) -> None:
        if self._count < self._fetcher.limits.connections:
            self._count += 1
            threading.Thread(target=self._work, daemon=True, name="fetch").start()

    def _work(self) -> None:
        while True:
            try:
                moment, _, sent = self._todo.get(timeout=1)
            except queue.Empty:
                if self._stopped:
                    return
                continue
            time.sleep(max(0.0, moment - time.monotonic()))
            sent.began_at = time.monotonic()
            try:
                answer = self._fetcher.fetch(sent.request, retry=sent.attempts > 1)
            except Exception as problem:  # a fault of ours must cost one answer, not all of them
                error = self._fetcher.redact(f"{type(problem).__name__}: {problem}")
                answer = Answer(None, b"", "", datetime.now(UTC), error=error)
            self._done.put((sent, answer))


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
        if not part.good:
            failures.append((part, f"{ask.each}: {part.reason}" if ask.each else part.reason))
    throttled = next((part for part, _ in failures if part.outcome == "throttled"), None)
    answered = next((part for _, part in parts if part.outcome in ("ok", "unchanged")), None)
    decisive = throttled or answered or (failures[0][0] if failures else parts[0][1])
    result.outcome, result.reason = decisive.outcome, decisive.reason
    if failures and len(parts) > 1:
        reason = failures[0][1] if throttled is None else throttled.reason
        result.reason = f"{len(failures)} of {len(parts)} requests failed: {reason}"
    result.finished_at = datetime.now(UTC)
    return result
