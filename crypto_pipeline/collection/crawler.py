"""Requests in threads, answers in one place: asks the endpoints of a plan until each has ended.

Owns: which requests are shared, who takes over in a pool, when a request is given up, and the wall
around each endpoint: whatever is raised while its answer is made into rows is its own outcome.
Must not know: how a request is sent, what an answer means, what is written.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from crypto_pipeline import clock
from crypto_pipeline.collection import failures
from crypto_pipeline.collection.exchange import Answer, Request, request_for
from crypto_pipeline.collection.extract import Bounds, Extraction, extract, failed
from crypto_pipeline.collection.fetch import Fetcher
from crypto_pipeline.collection.keeper import Keeper
from crypto_pipeline.collection.plan import Plan
from crypto_pipeline.collection.quotas import Quotas
from crypto_pipeline.collection.results import Result
from crypto_pipeline.collection.threads import Sent, Threads
from crypto_pipeline.sources.spec import Ask, Endpoint
from crypto_pipeline.tables import SourceHealth
from crypto_pipeline.tables.outcomes import Skipped

LOOKED_EVERY_S = 0.2
"""Between two looks at the clock while no answer comes."""

ASKED_WHOLE_AFTER = timedelta(days=1)
"""An endpoint that says "not modified" for longer is asked for a whole answer once."""


@dataclass(slots=True)
class _Asked:
    """An endpoint that is being asked. others: of its pool, who is asked when it fails."""

    result: Result
    expected: int
    others: list[Endpoint]
    parts: list[tuple[Ask, Extraction]] = field(default_factory=list)


class Crawler:
    """Asks the endpoints of one collection.

    A request that several endpoints share is made once. Members of a pool are asked one after the
    other until one answers. No source is asked for more than it allows, not even by a retry. A
    request that outlives its deadline (a server can drip headers for ever) is given up with its
    thread; threads are daemons, so nobody waits for it. Small answers are read first: a host that
    sends too much keeps nobody waiting but itself.

    remembered: what is known of endpoints, by id. symbols: the coins that are asked for one by one.
    ended: hears of every endpoint as it ends. keeper: packs the bodies that are used. interrupted:
    whether to make an end now, with what was answered until then.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        remembered: Mapping[str, SourceHealth],
        quotas: Quotas,
        symbols: Sequence[str],
        collection_id: str,
        ended: Callable[[Result], None],
        keeper: Keeper,
        interrupted: Callable[[], bool] = lambda: False,
    ) -> None:
        self._fetcher = fetcher
        self._limits = fetcher.limits
        self._remembered = remembered
        self._quotas = quotas
        self._collection_id = collection_id
        self._symbols = symbols
        self._ended = ended
        self._keeper = keeper
        self._interrupted = interrupted
        self._sent: dict[Request, Sent[tuple[_Asked, Ask]]] = {}
        self._open: dict[str, _Asked] = {}
        self._not_yet: Counter[str] = Counter()
        self._rows = 0
        self._until = time.monotonic() + self._limits.whole_s
        self._threads: Threads[tuple[_Asked, Ask]] = Threads(fetcher)

    def run(self, plan: Plan) -> None:
        """Ask the first of every queue, and the next ones where it fails."""
        for endpoint, skipped in plan.skipped:
            self._ended(Result.of_skipped(endpoint, skipped))
        self._not_yet.update(other.url for queue in plan.queues for other in queue[1:])
        try:
            for first, *others in plan.queues:
                self._ask(first, others)
            while self._open:
                if why := self._why_end():
                    self._end_all(why)
                    return
                answered = self._threads.next_answer(LOOKED_EVERY_S)
                if answered:
                    self._receive(*answered)
                else:
                    self._give_up()
        finally:
            self._threads.stop()

    def _why_end(self) -> Skipped | None:
        """Why nobody is waited for any more."""
        if self._interrupted():
            return Skipped("interrupted", "the collection was interrupted")
        if time.monotonic() > self._until:
            whole_s = self._limits.whole_s
            return Skipped("out_of_time", f"not reached in the {whole_s:g} s of a collection")
        return None

    def _ask(self, endpoint: Endpoint, others: list[Endpoint]) -> None:
        """Send the requests of an endpoint, or end it with why that cannot be."""
        now = datetime.now(UTC)
        try:
            requests = self._requests(endpoint, now)
        except Exception as problem:  # the wall
            fault = failures.of_ours(problem)
            self._close(Result(endpoint, fault.outcome, fault.reason, asked_at=now), others)
            return
        new = {request for _, request in requests if request not in self._sent}
        skipped = self._why_not(endpoint, requests, new, now)
        if skipped:
            self._close(Result.of_skipped(endpoint, skipped), others)
            return
        attempts = self._quotas.take(endpoint.source, len(new), now)
        asked = _Asked(Result(endpoint, "ok", asked_at=now), len(requests), others)
        self._open[endpoint.id] = asked
        for ask, request in requests:
            sent = self._sent.get(request)
            if sent is None:
                sent = self._sent[request] = Sent(request, endpoint.source, attempts)
                self._threads.send(sent, self._fetcher.slots.of(request.host))
            if sent.answer is not None:
                self._extract(sent.answer, asked, ask, shared=True)
            else:
                sent.waiting.append((asked, ask))

    def _requests(self, endpoint: Endpoint, now: datetime) -> list[tuple[Ask, Request]]:
        """The requests it takes to ask an endpoint once, conditional where it is."""
        known = self._remembered.get(endpoint.id) if endpoint.conditional else None
        if known and not _may_be_unchanged(known, now):
            known = None
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

    def _receive(self, sent: Sent[tuple[_Asked, Ask]], answer: Answer) -> None:
        """Hand an answer to the endpoints that wait for it, and let go of its body."""
        if sent.answer is None:
            sent.answer = answer
            self._quotas.give_back(sent.source, sent.attempts - len(answer.attempts))
            for place, (asked, ask) in enumerate(sent.waiting):
                self._extract(answer, asked, ask, shared=place > 0)
            wanted = any(self._not_yet[asked.result.endpoint.url] for asked, _ in sent.waiting)
            if not wanted or len(answer.body) > self._limits.small:
                del self._sent[sent.request]
        self._fetcher.room.give_back(answer.taken)

    def _give_up(self) -> None:
        """Answer for the requests whose threads will not come back in time."""
        now = time.monotonic()
        waiting = [sent for sent in self._sent.values() if not sent.came]
        at_host = Counter(sent.request.host for sent in waiting)
        for sent in waiting:
            gaps = sent.request.gap * at_host[sent.request.host]
            patience = self._limits.deadline_s + self._limits.grace_s + gaps
            if sent.began_at is not None and now - sent.began_at > patience:
                sent.came = True
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
        bounds = self._bounds()
        try:
            part = extract(result.endpoint, ask, answer, self._collection_id, bounds)
        except Exception as problem:  # the wall
            part = failed(failures.of_ours(problem))
        if packed := self._keeper.pack(result.endpoint, ask, answer):
            result.bodies.append(packed)
        self._rows += len(part.rows)
        asked.parts.append((ask, part))
        if len(asked.parts) == asked.expected:
            del self._open[result.endpoint.id]
            self._close(_merge(result, asked.parts), asked.others)

    def _bounds(self) -> Bounds:
        """What an answer may cost: its first records are always read."""
        until = min(time.monotonic() + self._limits.read_body_s, self._until)

        def why_no_more(records: int, rows: int) -> str | None:
            if self._rows + rows > self._limits.rows:
                return f"a collection has room for {self._limits.rows:,} rows"
            if records and time.monotonic() > until:
                return "reading them takes too long"
            return "interrupted" if records and self._interrupted() else None

        return why_no_more

    def _close(self, result: Result, others: list[Endpoint]) -> None:
        """End an endpoint; where it failed, the next of its pool takes over."""
        self._ended(result)
        self._not_yet.subtract(other.url for other in (others if result.good else others[:1]))
        if others and not result.good:
            self._ask(others[0], others[1:])
            return
        answered = Skipped("pool_answered", f"the pool has its answer from {result.endpoint.id}")
        for other in others:
            self._ended(Result.of_skipped(other, answered))

    def _end_all(self, why: Skipped) -> None:
        """End everybody who is still being asked, with the parts that came."""
        for sent in self._sent.values():
            if sent.answer is None and sent.began_at is not None and sent.waiting:
                result = sent.waiting[0][0].result
                result.attempts += self._fetcher.given_up(sent.request).attempts
        for asked in list(self._open.values()):
            self._ended(_cut_short(asked, why))
            for other in asked.others:
                self._ended(Result.of_skipped(other, why))


def _may_be_unchanged(known: SourceHealth, now: datetime) -> bool:
    """Whether "not modified" would be believed: a whole answer came within a day."""
    at = known.answered_at
    return at is not None and not clock.ahead(at, now) and now - at < ASKED_WHOLE_AFTER


def _cut_short(asked: _Asked, why: Skipped) -> Result:
    """The result of an endpoint that is not waited for: what came of it, or that it was not."""
    result = asked.result
    if any(part.good or part.outcome == "throttled" for _, part in asked.parts):
        merged = _merge(result, asked.parts)
        missing = asked.expected - len(asked.parts)
        merged.reason = f"{missing} of {asked.expected} requests: {why.reason}"
        return merged
    return replace(
        Result.of_skipped(result.endpoint, why),
        attempts=result.attempts,
        bytes_received=result.bytes_received,
        latency_ms=result.latency_ms,
    )


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
        result.rejects.extend(part.rejects)
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
