"""Functions run in processes of their own: killed at a moment, without rights, without room.

They come out of a process that has loaded what they need, so that one takes milliseconds.
"""

import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from typing import Any

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["crypto_pipeline_tests.test_nothing_lost"])

NOBODY = 65534
PATIENCE_S = 120.0


def killed_at(moment_s: float, action: Callable[..., object], *arguments: Any) -> bool:
    """Kill a function so many seconds after it began; whether it was still at it."""
    begun = FORKS.Event()
    process = FORKS.Process(target=_begin, args=(begun, action, *arguments))
    process.start()
    assert begun.wait(PATIENCE_S)
    process.join(moment_s)
    at_it = process.exitcode is None
    process.kill()
    process.join()
    assert at_it or process.exitcode == 0
    return at_it


def _begin(begun: Event, action: Callable[..., object], *arguments: Any) -> None:
    begun.set()
    action(*arguments)


def seconds_of(action: Callable[..., object], *arguments: Any) -> float:
    """How long a function takes in such a process."""
    begun = FORKS.Event()
    process = FORKS.Process(target=_begin, args=(begun, action, *arguments))
    process.start()
    assert begun.wait(PATIENCE_S)
    start = time.monotonic()
    process.join(PATIENCE_S)
    assert process.exitcode == 0
    return time.monotonic() - start


def apart(action: Callable[..., Any], *arguments: Any, nobody: bool = False) -> Any:
    """What a function gives, or the error it ends with as text.

    nobody: as a user without rights, where this process has all of them.
    """
    here, there = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=_apart, args=(there, action, arguments, nobody))
    process.start()
    assert here.poll(PATIENCE_S)
    given = here.recv()
    process.join()
    return given


def _apart(
    there: Any, action: Callable[..., Any], arguments: tuple[Any, ...], nobody: bool
) -> None:
    if nobody and os.getuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    try:
        there.send(action(*arguments))
    except BaseException as problem:
        there.send(f"{type(problem).__name__}: {problem}")
