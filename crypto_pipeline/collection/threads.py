"""The threads that send, and the order in which their answers are taken.

Owns: how many threads there are, which request goes next, which answer is read next.
Must not know: endpoints, what an answer means.
"""

import heapq
import itertools
import queue
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Generic, TypeVar

from crypto_pipeline.collection import failures
from crypto_pipeline.collection.exchange import Answer, Request
from crypto_pipeline.collection.fetch import Fetcher
from crypto_pipeline.collection.limits import Slot
from crypto_pipeline.sources.spec import Source

Waiting = TypeVar("Waiting")


@dataclass(slots=True)
class Sent(Generic[Waiting]):
    """A request that is waiting for its slot, on its way, or answered.

    waiting: who it is made for. attempts: how many were set aside for it in its source's quota.
    began_at: when it was sent, of time.monotonic(). came: whether its thread is done with it, or
    given up; answer: what was handed on.
    """

    request: Request
    source: Source
    attempts: int
    waiting: list[Waiting] = field(default_factory=list)
    began_at: float | None = None
    came: bool = False
    answer: Answer | None = None


class Threads(Generic[Waiting]):
    """The threads that send, as many as there is work for, up to the limit.

    Each takes the request whose moment comes next: a thread that waited for the slot of one host
    would keep it from the others.
    """

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._todo: queue.PriorityQueue[tuple[float, int, Sent[Waiting]]] = queue.PriorityQueue()
        self._done: queue.SimpleQueue[tuple[Sent[Waiting], Answer]] = queue.SimpleQueue()
        self._answers: list[tuple[int, int, Sent[Waiting], Answer]] = []
        self._order = itertools.count()
        self._count = 0
        self._stopped = False

    def send(self, sent: Sent[Waiting], slot: Slot) -> None:
        """Send a request when its host's slot is free."""
        moment = slot.book(sent.request.gap)
        self._todo.put((moment, next(self._order), sent))
        self._start_one()

    def next_answer(self, timeout_s: float) -> tuple[Sent[Waiting], Answer] | None:
        """The smallest answer that has come; None when none comes in time."""
        try:
            while True:
                wait = not self._answers
                sent, answer = self._done.get(block=wait, timeout=timeout_s if wait else None)
                entry = (len(answer.body), next(self._order), sent, answer)
                heapq.heappush(self._answers, entry)
        except queue.Empty:
            pass
        if not self._answers:
            return None
        _, _, sent, answer = heapq.heappop(self._answers)
        return sent, answer

    def replace_one(self) -> None:
        """Start a thread for one that will not come back."""
        self._count -= 1
        self._start_one()

    def stop(self) -> None:
        """Let the threads end: those that have nothing to send, and the others after theirs."""
        self._stopped = True

    def _start_one(self) -> None:
        if self._count < self._fetcher.limits.connections:
            self._count += 1
            threading.Thread(target=self._work, daemon=True, name="fetch").start()

    def _work(self) -> None:
        while not self._stopped:
            try:
                moment, _, sent = self._todo.get(timeout=1)
            except queue.Empty:
                continue
            time.sleep(max(0.0, moment - time.monotonic()))
            if self._stopped:
                return
            sent.began_at = time.monotonic()
            self._done.put((sent, self._answer(sent)))  # no name for it: it would keep the body

    def _answer(self, sent: Sent[Waiting]) -> Answer:
        try:
            answer = self._fetcher.fetch(sent.request, retry=sent.attempts > 1)
        except Exception as problem:  # a fault of ours must cost one answer, not all of them
            words = self._fetcher.redactor.text(failures.of_ours(problem).reason)
            answer = Answer(None, b"", "", datetime.now(UTC), error=words, fault=True)
        sent.came = True
        return answer
