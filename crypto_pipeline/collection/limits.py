"""How long a request may take, how much is in flight at once, and what one host is owed.

Owns: the bounds of a collection's requests, and the polite gap between two of one host.
Must not know: how a request is sent.
"""

import threading
import time
from collections import defaultdict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of a collection's requests, in seconds unless they are counts.

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
