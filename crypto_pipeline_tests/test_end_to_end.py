"""The whole stack with real processes: what `make dev` starts, its schedules, the commands, the
file."""

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from crypto_pipeline import docs
from crypto_pipeline.monitoring.webserver import Webserver
from crypto_pipeline.warehouse import Warehouse, WarehouseError
from crypto_pipeline_tests.stack import EVERY_MINUTE, PATIENCE_S, Stack
from crypto_pipeline_tests.upstream import Rule, Samples, Upstream


class Worker(Stack):
    """The project's own stack, asked through GraphQL, the commands and SQL."""

    def __init__(self, folder: Path) -> None:
        self.warehouse = Warehouse(folder / "kept" / "here.duckdb", lock_wait_s=5)
        (folder / ".env").write_text("CRYPTO_PIPELINE_DATABASE=kept/here.duckdb\n")
        super().__init__(folder, folder, EVERY_MINUTE)
        self.environment["CRYPTO_PIPELINE_WEBSERVER"] = self.url

    def until(self, what: str, done: Callable[[], Any]) -> Any:
        def readable() -> Any:
            try:
                return done()
            except WarehouseError:
                return None

        return super().until(what, readable)

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
            cwd=self.log.parent,
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


def test_the_stack_collects_answers_stops_starts_recovers_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dagster" / "dagster.yaml").write_bytes((docs.ROOT / "dagster.yaml").read_bytes())
    with Upstream(Samples()) as upstream:
        monkeypatch.setenv("CRYPTO_PIPELINE_UPSTREAM", upstream.url)
        with Worker(tmp_path).running() as stack:
            both_schedules_collect(stack)
            the_answers_agree(stack)
            stop_stops_and_start_starts(stack)
            a_killed_run_is_recovered(stack, upstream)
            stack.end()
            assert stack.left() == []
        before = datetime.now(UTC)
        with Worker(tmp_path).running() as again:
            monkeypatch.setenv("CRYPTO_PIPELINE_WEBSERVER", again.url)
            the_ticks_before_are_known(again, before)
            again.end()
        assert not list(tmp_path.glob("crypto.duckdb*"))  # where .env is not read
        left = {file.name for file in tmp_path.glob("kept/here.duckdb.*")}
        assert not {name for name in left if name.endswith((".wal", ".run", ".compacting"))}
        assert stack.warehouse.query("SELECT count(*) > 0 FROM market_prices") == [(True,)]


def both_schedules_collect(stack: Worker) -> None:
    def done() -> bool:
        jobs = ("ui_collection", "historical_collection")
        return all("SUCCESS" in stack.runs(job).values() for job in jobs)

    stack.until("both schedules have collected", done)
    sql = (
        "SELECT count(DISTINCT schedule) FROM schedule_compliance "
        "WHERE outcome IN ('on_time', 'late') AND run_id IN (SELECT run_id FROM worker_runs)"
    )
    stack.until("the ticks are recorded", lambda: stack.warehouse.query(sql) == [(2,)])


def the_answers_agree(stack: Worker) -> None:
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


def _healthy(stack: Worker) -> bool:
    process = stack.start("health", "--json")
    said, _ = process.communicate(timeout=PATIENCE_S)
    return bool(json.loads(said)["healthy"]) and process.returncode == 0


def stop_stops_and_start_starts(stack: Worker) -> None:
    assert not stack.call("stop")["is_running"]
    collecting = ("every_5_minutes", "every_15_minutes")
    assert {stack.schedules()[name] for name in collecting} == {"STOPPED"}
    health = stack.call("health", code=1)
    assert any(reason.startswith("stopped: ") for reason in health["reasons"])
    assert stack.call("collect", "ui")["collection_type"] == "ui"
    assert {stack.schedules()[name] for name in collecting} == {"STOPPED"}
    assert stack.call("start")["is_running"]
    assert {stack.schedules()[name] for name in collecting} == {"RUNNING"}


def the_ticks_before_are_known(stack: Worker, before: datetime) -> None:
    """After another start the webserver still tells of the ticks of the one before."""
    stack.until("the webserver has the schedules", stack.schedules)
    server = Webserver.find(Path(stack.environment["DAGSTER_HOME"]))
    assert server
    for schedule in server.snapshot.collecting:
        assert any(tick.at < before for tick in schedule.ticks), schedule


def a_killed_run_is_recovered(stack: Worker, upstream: Upstream) -> None:
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
