"""How long a request may take, how much is in memory at once, and what one host is owed.

Owns: the bounds of a collection, the room for its answers, and the polite gap between two requests
of one host.
Must not know: how a request is sent.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of a collection, in seconds unless they are counts or bytes.

    connect_s, read_s: for the connection, and between two parts of an answer.
    deadline_s: from the first byte sent to the last byte read, retries and pauses included.
    grace_s: how long past its deadline a request may take before its thread is given up.
    patience_s: the longest Retry-After that is sat out within a collection.
    slot_wait_s: how far away an endpoint's slot at its host may be; one further back waits for the
        next collection. A source that wants ten seconds between requests is asked for one thing at
        a time.
    attempts: how often a request is sent when it fails. redirects: how many are followed.
    connections: requests in flight at once; most of a request is waiting, and a collection makes a
        thousand.
    whole_s: from the first request until nobody is waited for any more.
    read_body_s: for the rows of one answer. rows: made of all answers together.
    room: bytes of answers, decompressed, between their first byte and their last row. small: an
        answer up to that many bytes never waits for room.
    """

    connect_s: float = 6.0
    read_s: float = 12.0
    deadline_s: float = 25.0
    grace_s: float = 5.0
    patience_s: float = 3.0
    slot_wait_s: float = 3.0
    attempts: int = 3
    redirects: int = 4
    connections: int = 192
    whole_s: float = 65.0
    read_body_s: float = 10.0
    rows: int = 100_000
    room: int = 32_000_000
    small: int = 128_000


LIMITS = Limits()
"""The bounds of every collection but a test's."""


UNNAMED_WAIT_S = 60.0
"""How long who throttles without saying how long is left alone: the host, and the endpoint."""


class Slot:
    """What one host is owed: a gap between requests, and silence after it asked for it.

    New requests book their moments in advance, one gap after the other. When one is really sent it
    takes the next free moment; so does a retry, which comes between those that are booked.
    """

    def __init__(self) -> None:
        self._booked_until = 0.0
        self._free_at = 0.0
        self._silent_until = 0.0
        self._lock = threading.Lock()

    @property
    def wait_s(self) -> float:
        """Seconds until a request that is booked now would be sent."""
        return max(0.0, self._booked_until - time.monotonic())

    def book(self, gap: float) -> float:
        """Book the next moment of time.monotonic() for a request."""
        moment = max(self._booked_until, time.monotonic())
        self._booked_until = moment + gap
        return moment

    def take(self, gap: float) -> None:
        """Wait until a gap has passed since the last request, and count this one."""
        with self._lock:
            moment = max(time.monotonic(), self._free_at)
            self._free_at = moment + gap
        time.sleep(max(0.0, moment - time.monotonic()))

    @property
    def silence_s(self) -> float:
        """Seconds for which the host wants to be left alone."""
        return max(0.0, self._silent_until - time.monotonic())

    def silence(self, seconds: float) -> None:
        """Leave the host alone for as long."""
        self._silent_until = time.monotonic() + seconds


class Slots:
    """The slot of every host."""

    def __init__(self) -> None:
        self._slots: dict[str, Slot] = defaultdict(Slot)
        self._lock = threading.Lock()

    def of(self, host: str) -> Slot:
        with self._lock:
            return self._slots[host]


class Room:
    """The bytes of answers that may be in memory at once.

    A big answer waits for room while it is read. When all that is in the way are others that are
    being read, the one that began to wait first goes on, so that one after the other is done: the
    room is exceeded by small answers, and by one big one.
    """

    def __init__(self, size: int, small: int) -> None:
        self._size, self._small = size, small
        self._used = 0
        self._whole = 0
        self._waiting: list[_Reading] = []
        self._changed = threading.Condition()

    @contextmanager
    def reading(self) -> "Iterator[_Reading]":
        """Room for one answer while it is read; what it took stays taken unless it fails."""
        reading = _Reading(self)
        try:
            yield reading
        except BaseException:
            self._end(reading, kept=0)
            raise
        self._end(reading, kept=reading.taken)

    def _end(self, reading: "_Reading", kept: int) -> None:
        with self._changed:
            self._used -= reading.taken - kept
            self._whole += kept
            if reading in self._waiting:
                self._waiting.remove(reading)
            self._changed.notify_all()

    def give_back(self, taken: int) -> None:
        """Free what a whole answer took, once nothing needs its bytes any more."""
        with self._changed:
            self._used -= taken
            self._whole -= taken
            self._changed.notify_all()

    def _take(self, reading: "_Reading", more: int, until: float) -> None:
        with self._changed:
            big = reading.taken + more > self._small
            if big and reading not in self._waiting:
                self._waiting.append(reading)
            while big and self._used + more > self._size and not self._goes_on(reading):
                left = until - time.monotonic()
                if left <= 0:
                    raise TimeoutError("no room beside the other answers of this collection")
                self._changed.wait(left)
            self._used += more
            reading.taken += more

    def _goes_on(self, reading: "_Reading") -> bool:
        """Whether waiting would help nobody: no whole answer is there whose room will be free."""
        return not self._whole and self._waiting[0] is reading


class _Reading:
    """One answer that is being read. taken: its bytes so far."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.taken = 0

    def take(self, more: int, until: float) -> None:
        """Room for more bytes. Raises TimeoutError when there is none until then, a moment of
        time.monotonic()."""
        self._room._take(self, more, until)
