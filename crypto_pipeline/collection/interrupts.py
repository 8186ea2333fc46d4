"""Ctrl-C and SIGTERM while a collection runs: heard, and raised when what was answered is kept.

Owns: the signals' handlers for as long as a collection runs in the main thread.
Must not know: what a collection does.
"""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from crypto_pipeline.collection.results import Collection

HEARD = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A collection was interrupted; what was answered until then is kept, as its receipt says."""

    def __init__(self, collection: Collection) -> None:
        super().__init__("interrupted")
        self.collection = collection


class Interrupts:
    """Holds the first signal back for the length of a block, so that it hits nothing half done.

    A second one is obeyed as it would have been without this. Where Ctrl-C is ignored, as in a
    background job of a shell, it stays so; SIGTERM is heard there too, though Dagster gives it the
    handler of Ctrl-C.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __call__(self) -> bool:
        """Whether there was one."""
        return self.signal is not None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in HEARD:
                before = signal.getsignal(number)
                if number == signal.SIGTERM or before is not signal.SIG_IGN:
                    self._before[number] = before
                    signal.signal(number, self._hear)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def _hear(self, number: int, _: FrameType | None) -> None:
        if self.signal is not None:
            self._restore()
            signal.raise_signal(number)
        self.signal = number

    def _restore(self) -> None:
        while self._before:
            number, before = self._before.popitem()
            signal.signal(number, before)
