"""Dagster as real processes, for tests and measurements."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from crypto_pipeline.docs import ROOT

PATIENCE_S = 100
"""For anything that should happen within a minute or so; a busy machine is given more."""

LAUNCH = """
import os, signal, sys
signal.signal(signal.SIGINT, getattr(signal, sys.argv[1]))
os.setsid()
os.execv(sys.argv[2], sys.argv[2:])
"""

EVERY_MINUTE = {
    "CRYPTO_PIPELINE_UI_CRON": "* * * * *",
    "CRYPTO_PIPELINE_HISTORICAL_CRON": "* * * * *",
    "PYTHONPATH": str(ROOT),
}
"""The project here, with both schedules on the fastest beat there is."""


class Session:
    """A command in a session of its own; what it prints goes to NAME.log.

    sigint: what it finds done about Ctrl-C; a shell's background job finds it ignored.
    """

    def __init__(
        self,
        folder: Path,
        cwd: Path,
        environment: Mapping[str, str],
        name: str,
        *command: str,
        sigint: str = "SIG_DFL",
    ) -> None:
        self.environment = os.environ | {"DAGSTER_DISABLE_TELEMETRY": "yes"} | dict(environment)
        self.log = folder / f"{name}.log"
        program = str(Path(sys.executable).with_name(command[0]))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", LAUNCH, sigint, program, *command[1:]],
                cwd=cwd,
                env=self.environment,
                stdout=log,
                stderr=log,
            )

    @contextmanager
    def running(self) -> Iterator[Self]:
        """The session, and in any case none of its processes afterwards."""
        try:
            yield self
        finally:
            while pids := [int(pid) for (pid,) in self.processes("pid")]:
                for pid in pids:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                time.sleep(0.1)
            self.process.wait()

    def until(self, what: str, done: Callable[[], Any]) -> Any:
        """Wait for something to become true; while the server starts, no answer is a no.

        Raises TimeoutError with the end of the log.
        """
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            assert self.process.poll() is None, self.said()
            try:
                found = done()
            except (OSError, TypeError):
                found = None
            if found:
                return found
            time.sleep(0.5)
        raise TimeoutError(f"never: {what}\n{self.said()}")

    def said(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    def processes(self, *columns: str) -> list[list[str]]:
        """What `ps` says of the session's processes that still live, a list for each."""
        shown = ",".join(f"{column}=" for column in ("sid", "stat", *columns))
        listed = subprocess.run(
            ["ps", "-ww", "-eo", shown], capture_output=True, text=True, check=True
        )
        lines = [line.split(None, len(columns) + 1) for line in listed.stdout.splitlines()]
        sid = str(self.process.pid)
        return [line[2:] for line in lines if line[0] == sid and not line[1].startswith("Z")]

    def left(self) -> list[str]:
        """The commands of the processes that still live."""
        return [command for (command,) in self.processes("args")]

    def end(self, number: int = signal.SIGINT) -> None:
        """Stop as Ctrl-C does, and see the last of its processes go."""
        self.process.send_signal(number)
        self.process.wait(PATIENCE_S)
        end = time.monotonic() + PATIENCE_S
        while self.left() and time.monotonic() < end:
            time.sleep(0.1)


DEV = ("crypto-pipeline", "dev")
"""What `make dev` starts."""


class Stack(Session):
    """A command that serves Dagster's UI, on a free port; what it prints goes to dev.log in the
    folder."""

    def __init__(
        self,
        folder: Path,
        cwd: Path,
        environment: Mapping[str, str],
        *command: str,
        sigint: str = "SIG_DFL",
    ) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        whole = (*(command or DEV), "--port", str(self.port))
        super().__init__(folder, cwd, environment, "dev", *whole, sigint=sigint)

    def ask(self, query: str, **variables: Any) -> Any:
        """The data of a GraphQL answer. Raises OSError while the server starts."""
        request = urllib.request.Request(
            f"{self.url}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)["data"]
