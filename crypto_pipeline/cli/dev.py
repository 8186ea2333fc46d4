"""crypto-pipeline dev: Dagster's UI behind the guard, its daemon, its code servers, until Ctrl-C.

`dagster dev` does the same without the guard.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from crypto_pipeline import settings
from crypto_pipeline.cli.console import err, out

ABOUT = "Dagster's UI and both schedules, until Ctrl-C."

SHORT_ERRORS = {"DAGSTER_IS_DEV_CLI": "1", "DAGSTER_verbose": ""}
"""As `dagster dev` sets it: what is wrong with the definitions is said without Dagster's own lines
of the traceback."""

LOOK_S = 0.2
END_S = 30.0
"""Seconds that processes are given to end by themselves; a collection keeps what it has."""

Process = subprocess.Popen[bytes]


def run(chosen: argparse.Namespace, home: Path) -> int:
    """Serve until Ctrl-C or SIGTERM; 0 then. Where a part ends by itself the others are ended too,
    and its exit code is given."""
    port = chosen.port or _port_looked_for()
    _say_whose_settings(home)
    with tempfile.TemporaryDirectory() as folder, _stop_wanted() as stop:
        workspace = Path(folder) / "workspace.yaml"
        module = "crypto_pipeline.monitoring.guarded_webserver"
        parts = {"the webserver": _start("-m", module, str(port), str(workspace))}
        try:
            if _until(workspace.exists, parts, stop):
                out.print(f"Dagster's UI: http://127.0.0.1:{port}")
                daemon = _start("-m", "dagster._daemon", "run", "-w", str(workspace))
                parts["the daemon"] = daemon
                _until(lambda: False, parts, stop)
            ended = {name: part.poll() for name, part in parts.items()}
        finally:
            _end(list(parts.values()))
    for name, code in ended.items():
        if code is not None and not stop.is_set():
            err.print(f"[red]{name} ended by itself, exit code {code}")
            return code if code > 0 else 128 - code if code else 1
    return 0


def _port_looked_for() -> int:
    """The port at which the commands look for the UI, where they look for it on this machine."""
    parts = urlsplit(settings.webserver())
    if parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        parts = urlsplit(settings.webserver.default)
    return parts.port or 80


def _say_whose_settings(home: Path) -> None:
    here = Path.cwd()
    if (here / "dagster.yaml").exists() and here != home:
        err.print(f"[yellow]dagster.yaml here is not used: DAGSTER_HOME is {home}", soft_wrap=True)


@contextmanager
def _stop_wanted() -> Iterator[threading.Event]:
    """Set by Ctrl-C and SIGTERM, also where a shell has had SIGINT ignored for its background job;
    and by the end of the terminal, unless nohup has had that ignored."""
    stop = threading.Event()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _start(*arguments: str) -> Process:
    """A part in a group of its own: Ctrl-C in a terminal comes to this process alone, which ends
    the parts in order."""
    command = [sys.executable, *arguments]
    about: Any = {"stdin": subprocess.DEVNULL, "env": os.environ | SHORT_ERRORS}
    if sys.platform == "win32":
        about["creationflags"] = subprocess.CREATE_NEW_PROCESS_GROUP
    else:
        about["process_group"] = 0
    return subprocess.Popen(command, **about)  # noqa: S603  (our own)


def _until(done: Callable[[], bool], parts: Mapping[str, Process], stop: threading.Event) -> bool:
    """Wait until something is done: True; False when a part has ended, or is to."""
    while not stop.wait(LOOK_S):
        if any(part.poll() is not None for part in parts.values()):
            return False
        if done():
            return True
    return False


def _end(parts: Sequence[Process]) -> None:
    """End all processes of the parts, runs at work too: as Ctrl-C does, then for good."""
    for part in parts:
        _signal(part, "SIGINT")
    end = time.monotonic() + END_S
    for part in parts:
        while _is_there(part) and time.monotonic() < end:
            time.sleep(LOOK_S / 4)
        _signal(part, "SIGKILL")
        part.wait()


def _signal(part: Process, name: str) -> None:
    if sys.platform == "win32":
        with suppress(OSError):
            part.send_signal(signal.CTRL_BREAK_EVENT if name == "SIGINT" else signal.SIGTERM)
        return
    with suppress(ProcessLookupError):
        os.killpg(part.pid, getattr(signal, name))


def _is_there(part: Process) -> bool:
    """Whether a process of the part still lives."""
    ended = part.poll() is not None  # and is no zombie any more
    if sys.platform == "win32":
        return not ended
    try:
        os.killpg(part.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # how macOS says that only zombies are left
        return False
    return True
