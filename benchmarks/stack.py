"""The whole stack at rest and over a day: start-up, idle CPU, memory, and what Dagster writes."""

import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from crypto_pipeline.docs import ROOT
from crypto_pipeline.groups import COLLECTION_JOBS, GROUPS, CollectionType
from crypto_pipeline.orchestration.schedules import QUIET
from crypto_pipeline_tests.stack import Stack

RUNS_A_DAY = {group.name: timedelta(days=1) // group.beat for group in GROUPS}
IDLE_S = 60.0
RUNS_MEASURED = 3

_LOADED = """{ repositoriesOrError { ... on RepositoryConnection {
  nodes { name location { name } }
} } }"""
_RUNS = "{ runsOrError { ... on Runs { results { runId jobName status } } } }"
_LAUNCH = """mutation($p: ExecutionParams!) { launchRun(executionParams: $p) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
} }"""


@dataclass(frozen=True, slots=True)
class AtRest:
    """Seconds, CPU seconds a minute and megabytes of a stack that has nothing to do."""

    first_answer_s: float
    cpu_s_a_minute: float
    memory_mb: float
    end_s: float


def empty(folder: Path, project: str) -> AtRest:
    """The measures of a project of a few empty assets, without schedules and sensors."""
    (folder / "empty_project.py").write_text(project)
    environment = {"DAGSTER_HOME": str(folder)}
    stack = Stack(folder, folder, environment, "dagster", "dev", "-m", "empty_project")
    with stack.running():
        began = time.perf_counter()
        stack.until("the server answers", lambda: stack.ask(_LOADED)["repositoriesOrError"])
        return _at_rest(stack, time.perf_counter() - began)


def ours(folder: Path) -> tuple[AtRest, dict[CollectionType, float], float]:
    """The measures of the worker; bytes a run of each job writes, and bytes of ticks a day.

    The schedules are put off, so that nothing starts in the middle of a measurement.
    """
    shutil.copy(ROOT / "dagster.yaml", folder)
    environment = {
        "DAGSTER_HOME": str(folder),
        "CRYPTO_PIPELINE_DATABASE": str(folder / "data" / "crypto.duckdb"),
        "CRYPTO_PIPELINE_UI_CRON": "0 0 1 1 *",
        "CRYPTO_PIPELINE_HISTORICAL_CRON": "0 0 1 1 *",
    }
    stack = Stack(folder, folder, {**environment, "PYTHONPATH": str(ROOT)})
    with stack.running():
        began = time.perf_counter()
        stack.until("the server answers", lambda: stack.ask(_LOADED)["repositoriesOrError"])
        first_answer = time.perf_counter() - began
        stack.until("the first collection is done", lambda: "SUCCESS" in _statuses(stack).values())
        written = {}
        for group in RUNS_A_DAY:
            _run(stack, COLLECTION_JOBS[group])  # the first of a kind stores its job's snapshot
            before = _written(folder)
            for _ in range(RUNS_MEASURED):
                _run(stack, COLLECTION_JOBS[group])
            written[group] = (_written(folder) - before) / RUNS_MEASURED
        before, began = _written(folder), time.perf_counter()
        rest = _at_rest(stack, first_answer)
        ticks = (_written(folder) - before) / (time.perf_counter() - began) * 86_400
    return rest, written, ticks


def _at_rest(stack: Stack, first_answer_s: float) -> AtRest:
    before = _used(stack)
    time.sleep(IDLE_S)
    cpu = sum(used - before.get(process, 0.0) for process, used in _used(stack).items())
    memory = sum(int(rss) for (rss,) in stack.processes("rss")) / 1024
    began = time.perf_counter()
    stack.end()
    return AtRest(first_answer_s, cpu * 60 / IDLE_S, memory, time.perf_counter() - began)


def _used(stack: Stack) -> dict[str, float]:
    """CPU seconds by process."""
    return {process: _cpu(time_used) for process, time_used in stack.processes("pid", "time")}


def _cpu(shown: str) -> float:
    """Seconds of what ps shows as [days-][hours:]minutes:seconds."""
    days, _, clock = shown.rpartition("-")
    seconds = 0.0
    for part in clock.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds + 86_400 * int(days or 0)


def _statuses(stack: Stack) -> dict[str, str]:
    runs = stack.ask(_RUNS)["runsOrError"]["results"]
    return {run["runId"]: run["status"] for run in runs}


def _run(stack: Stack, job: str) -> None:
    """Launch a job as a schedule does, through queue and daemon, and wait for its end."""
    (repository,) = stack.ask(_LOADED)["repositoriesOrError"]["nodes"]
    selector = {
        "repositoryName": repository["name"],
        "repositoryLocationName": repository["location"]["name"],
        "pipelineName": job,
    }
    parameters = {"selector": selector, "runConfigData": QUIET, "mode": "default"}
    launched = stack.ask(_LAUNCH, p=parameters)["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    run_id = launched["run"]["runId"]
    stack.until(f"{job} is done", lambda: _statuses(stack)[run_id] == "SUCCESS")


def _written(home: Path) -> float:
    """Bytes of Dagster's storage: pages of its databases, and all other files but the log."""
    return float(sum(_bytes(home)))


def _bytes(home: Path) -> Iterator[int]:
    for folder in ("history", "schedules", "storage", "logs"):
        for file in (home / folder).rglob("*"):
            if file.suffix == ".db":
                with closing(sqlite3.connect(file)) as database:
                    pages = database.execute("PRAGMA page_count").fetchone()[0]
                    yield pages * database.execute("PRAGMA page_size").fetchone()[0]
            elif file.is_file() and not file.name.endswith(("-wal", "-shm")):
                yield file.stat().st_size
