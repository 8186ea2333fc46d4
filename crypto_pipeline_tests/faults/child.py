"""Functions run in processes of their own, with their peak memory and their seconds.

What a child does to itself (hangs, eats memory, ends) is an observation, not the campaign's end.
"""

import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(
    ["crypto_pipeline_tests.faults.together", "crypto_pipeline_tests.faults.alone"]
)


MOST_BYTES = 12_000_000_000
"""Address space of a child: who wants more fails, and not the machine."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a function came to. value: what it returned, None when it did not. problem: what it
    raised, or how else it ended. mb: its process's peak, in MB."""

    value: Any
    problem: str | None
    seconds: float
    mb: float


def run(
    function: Callable[..., Any],
    *arguments: Any,
    environment: Mapping[str, str],
    patience_s: float = 120.0,
) -> Done:
    """Run a function of a module in a process with these variables beside what is set."""
    here, there = _PROCESSES.Pipe(duplex=False)
    variables = {**os.environ, **environment}
    process = _PROCESSES.Process(
        target=_work, args=(there, function, arguments, variables), daemon=True
    )
    began = time.monotonic()
    process.start()
    there.close()
    try:
        if here.poll(patience_s):
            return Done(*here.recv())
        problem = f"did not end within {patience_s:g} s"
    except EOFError:
        process.join(5)
        problem = f"its process ended with {process.exitcode}"
    finally:
        process.kill()
        process.join()
        here.close()
    return Done(None, problem, time.monotonic() - began, 0.0)


def _work(
    pipe: Connection,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    environment: Mapping[str, str],
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    began = time.monotonic()
    value = problem = None
    try:
        value = function(*arguments)
    except Exception as raised:
        problem = f"{type(raised).__name__}: {raised}"[:300].encode("utf-8", "replace").decode()
    pipe.send((value, problem, time.monotonic() - began, peak_mb()))


def peak_mb() -> float:
    """The most memory this process has held."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1024 * 1024 if sys.platform == "darwin" else 1024)
