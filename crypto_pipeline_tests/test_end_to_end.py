"""The whole stack with real processes: `dagster dev`, its schedules, the command line, the file."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from crypto_pipeline import docs
from crypto_pipeline.warehouse import Warehouse, WarehouseError
from crypto_pipeline_tests.upstream import Rule, Samples, Upstream

PATIENCE_S = 100
"""For anything that should happen within a minute or so; a busy machine is given more."""

LAUNCH = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background job comes with it ignored
os.setsid()
os.execv(sys.argv[1], sys.argv[1:])
"""


class Stack:
    """`dagster dev` in a session of its own, asked through GraphQL, the commands and SQL."""

    def __init__(self, folder: Path, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.warehouse = Warehouse(folder / "crypto.duckdb", lock_wait_s=5)
        self.environment = os.environ | {
            "DAGSTER_DISABLE_TELEMETRY": "yes",
            "CRYPTO_PIPELINE_WEBSERVER": self.url,
            "CRYPTO_PIPELINE_UI_CRON": "* * * * *",
            "CRYPTO_PIPELINE_HISTORICAL_CRON": "* * * * *",
            "PYTHONPATH": str(docs.ROOT),
        }
        self.log = folder / "dev.log"
        dagster = str(Path(sys.executable).with_name("dagster"))
        command = [dagster, "dev", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", LAUNCH, *command],
                cwd=docs.ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
            )

    def ask(self, query: str) -> Any:
        request = urllib.request.Request(
            f"{self.url}/graphql",
            json.dumps({"query": query}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)["data"]

    def runs(self, job: str) -> dict[str, str]:
        """Statuses of a job's runs by id, newest first, as the UI shows them."""
        found = self.ask(
            f'{{ runsOrError(filter: {{pipelineName: "{job}"}}) '
            "{ ... on Runs { results { runId status } } } }"
        )
        return {run["runId"]: run["status"] for run in found["runsOrError"]["results"]}

    def schedules(self) -> dict[str, str]:
        """Whether each schedule is on, as the UI shows it."""
        found = self.ask(
            "{ repositoriesOrError { ... on RepositoryConnection { nodes { schedules "
            "{ name scheduleState { status } } } } } }"
        )
        (node,) = found["repositoriesOrError"]["nodes"]
        return {s["name"]: s["scheduleState"]["status"] for s in node["schedules"]}

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "crypto_pipeline.cli", *arguments],
            cwd=docs.ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call(self, *arguments: str, code: int = 0) -> Any:
        process = self.start(*arguments, "--json")
        said, trouble = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == code, said + trouble
        return json.loads(said)

    def until(self, what: str, done: Callable[[], Any]) -> Any:
        """Wait for something to become true; while the server starts, no answer is a no."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            assert self.process.poll() is None, self.log.read_text(errors="replace")[-3000:]
            try:
                found = done()
            except (OSError, TypeError, WarehouseError):
                found = None
            if found:
                return found
            time.sleep(0.5)
        pytest.fail(f"never: {what}\n{self.log.read_text(errors='replace')[-3000:]}")

    def left(self) -> list[str]:
        """Processes of the session that still live."""
        listed = subprocess.run(
            ["ps", "-eo", "sid=,stat=,pid=,args="], capture_output=True, text=True, check=True
        )
        lines = [line.split(None, 3) for line in listed.stdout.splitlines()]
        sid = str(self.process.pid)
        return [line[3] for line in lines if line[0] == sid and not line[1].startswith("Z")]

    def end(self) -> None:
        """Stop as Ctrl-C does, and see the last of its processes go."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(PATIENCE_S)
        end = time.monotonic() + PATIENCE_S
        while self.left() and time.monotonic() < end:
            time.sleep(0.1)


@contextmanager
def running(folder: Path) -> Iterator[Stack]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    stack = Stack(folder, port)
    try:
        yield stack
    finally:
        if stack.left():
            os.killpg(stack.process.pid, signal.SIGKILL)
        stack.process.wait()


def test_the_stack_collects_answers_stops_starts_recovers_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dagster" / "dagster.yaml").write_bytes((docs.ROOT / "dagster.yaml").read_bytes())
    with Upstream(Samples()) as upstream:
        monkeypatch.setenv("CRYPTO_PIPELINE_UPSTREAM", upstream.url)
        with running(tmp_path) as stack:
            both_schedules_collect(stack)
            the_answers_agree(stack)
            stop_stops_and_start_starts(stack)
            a_killed_run_is_recovered(stack, upstream)
            stack.end()
            assert stack.left() == []
        left = {file.name for file in tmp_path.glob("crypto.duckdb.*")}
        assert not {name for name in left if name.endswith((".wal", ".run", ".compacting"))}
        assert stack.warehouse.query("SELECT count(*) > 0 FROM market_prices") == [(True,)]


def both_schedules_collect(stack: Stack) -> None:
    def done() -> bool:
        jobs = ("ui_collection", "historical_collection")
        return all("SUCCESS" in stack.runs(job).values() for job in jobs)

    stack.until("both schedules have collected", done)
    sql = (
        "SELECT count(DISTINCT schedule) FROM schedule_compliance "
        "WHERE outcome IN ('on_time', 'late') AND run_id IN (SELECT run_id FROM worker_runs)"
    )
    stack.until("the ticks are recorded", lambda: stack.warehouse.query(sql) == [(2,)])


def the_answers_agree(stack: Stack) -> None:
    """Status, stats, schedules and health with the UI's GraphQL and with SQL."""

    def agree() -> bool:
        status, stats = stack.call("status"), stack.call("stats")
        assert status["asked"] == "webserver"
        assert status["is_running"]
        assert status["database"] == "ok" or status["database"].startswith("locked")
        in_sql = stack.warehouse.query(
            "SELECT ui_collections, historical_collections, total_records_saved FROM worker_status"
        )
        shown = [
            sum(
                status in ("SUCCESS", "FAILURE")
                for job in (f"{group}_collection", "full_collection")
                for status in stack.runs(job).values()
            )
            for group in ("ui", "historical")
        ]
        said = [status["ui_collections"], status["historical_collections"]]
        told = [stats["total_ui_collections"], stats["total_historical_collections"]]
        saved = {status["total_records_saved"], stats["total_records_saved"], in_sql[0][2]}
        return said == told == list(in_sql[0][:2]) == shown and len(saved) == 1

    stack.until("the answers agree between two runs", agree)
    listed = {row["id"]: row for row in stack.call("schedules")}
    assert listed["every_5_minutes"]["enabled"]
    assert listed["every_5_minutes"]["cron"] == "* * * * *"
    assert listed["every_5_minutes"]["last_outcome"] in ("SUCCESS", "SKIPPED", "STARTED")
    assert datetime.fromisoformat(listed["every_15_minutes"]["next_run_time"]) > datetime(
        2020, 1, 1, tzinfo=UTC
    )
    stack.until("health is well", lambda: _healthy(stack))
    collected = stack.warehouse.query("SELECT sum(stored)::BIGINT FROM data_collections")
    assert stack.call("status")["total_records_saved"] == collected[0][0]


def _healthy(stack: Stack) -> bool:
    process = stack.start("health", "--json")
    said, _ = process.communicate(timeout=PATIENCE_S)
    return bool(json.loads(said)["healthy"]) and process.returncode == 0


def stop_stops_and_start_starts(stack: Stack) -> None:
    assert not stack.call("stop")["is_running"]
    collecting = ("every_5_minutes", "every_15_minutes")
    assert {stack.schedules()[name] for name in collecting} == {"STOPPED"}
    health = stack.call("health", code=1)
    assert any(reason.startswith("stopped: ") for reason in health["reasons"])
    assert stack.call("collect", "ui")["collection_type"] == "ui"
    assert {stack.schedules()[name] for name in collecting} == {"STOPPED"}
    assert stack.call("start")["is_running"]
    assert {stack.schedules()[name] for name in collecting} == {"RUNNING"}


def a_killed_run_is_recovered(stack: Stack, upstream: Upstream) -> None:
    """A collection is killed at work: its run is found dead, and the schedule goes on."""
    upstream.rules.append(Rule(".", fault="silent"))
    before = stack.runs("ui_collection")
    process = stack.start("collect", "ui", "--force")
    with process:
        signs = stack.warehouse.path.parent
        stack.until("the collection is at work", lambda: list(signs.glob("*.run")))
        (sign,) = signs.glob("*.run")
        dead = sign.name.split(".")[-2]
        process.kill()
    upstream.rules.clear()
    assert dead not in before
    stack.until("it is found dead", lambda: stack.runs("ui_collection")[dead] == "FAILURE")

    def went_on() -> bool:
        runs = stack.runs("ui_collection")
        newer = [status for run, status in runs.items() if run not in {*before, dead}]
        return "SUCCESS" in newer

    stack.until("the schedule collects again", went_on)
    sql = f"SELECT message FROM failure_logs WHERE run_id = '{dead}'"
    said = stack.until("the failure is recorded", lambda: stack.warehouse.query(sql))
    assert "its process is gone" in said[0][0]
