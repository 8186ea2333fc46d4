"""What is recorded of the worker, and its answers, with a real instance and a real DuckDB file."""

import json
import subprocess
import sys
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from crypto_pipeline import docs
from crypto_pipeline.monitoring import dagster_instance, run_records, status
from crypto_pipeline.monitoring.run_records import write_run_records
from crypto_pipeline.orchestration import schedules, sensors
from crypto_pipeline.warehouse import Warehouse
from crypto_pipeline_tests.dagster_inside import (
    BROKEN,
    TickStatus,
    add_tick,
    create_run_for_test,
    on_since,
    set_enabled,
    started_run,
)
from crypto_pipeline_tests.test_dagster import instance, materialize, upstream
from crypto_pipeline_tests.test_warehouse import collected, count, held
from crypto_pipeline_tests.upstream import Rule, Upstream

__all__ = ["instance", "upstream"]

UI = "every_5_minutes"


def run_id(name: str) -> str:
    """Dagster wants its run ids to be UUIDs."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


def ended(
    instance: dg.DagsterInstance, name: str, status: str = "SUCCESS", job: str = "ui_collection"
) -> None:
    create_run_for_test(
        instance, job_name=job, run_id=run_id(name), status=dg.DagsterRunStatus(status)
    )


def slot(minutes_ago: int) -> datetime:
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    return now - timedelta(minutes=now.minute % 5 + 5 * (minutes_ago // 5))


# Run records


def test_runs_and_failures_are_recorded_once(
    upstream: Upstream, warehouse: Warehouse, instance: dg.DagsterInstance
) -> None:
    good = materialize(instance)
    upstream.rules.append(Rule(".", status=500))
    bad = materialize(instance, force=True)
    cursor = write_run_records(instance, warehouse, None)
    assert write_run_records(instance, warehouse, cursor) == cursor
    runs = warehouse.query(
        "SELECT run_id, job, collection_type, status, launched_by, endpoints_asked, ui_records "
        "FROM worker_runs ORDER BY created_at"
    )
    assert runs == [
        (good.run_id, "ui_collection", "ui", "SUCCESS", "manual", 2, 4),
        (bad.run_id, "ui_collection", "ui", "FAILURE", "manual", 2, 0),
    ]
    (failure,) = warehouse.query("SELECT kind, name, run_id, message FROM failure_logs")
    assert failure[:3] == ("run", "ui_collection", bad.run_id)
    assert "none of the 2 endpoints asked could be collected" in failure[3]
    upstream.rules.clear()
    after = materialize(instance, force=True)
    write_run_records(instance, warehouse, cursor)
    assert warehouse.query("SELECT run_id FROM worker_runs WHERE run_id = ?", [after.run_id])
    assert count(warehouse, "worker_runs") == 3


def test_a_locked_database_loses_nothing_and_fails_no_sensor(
    warehouse: Warehouse, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensors, "LOCK_WAIT_S", 0.1)
    warehouse.write(collected(run_id("c1"), "ui", market_prices=3))
    ended(instance, "c1")

    def evaluate(cursor: str | None) -> tuple[str, str | None]:
        with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
            said = sensors.record_worker(context)
            assert isinstance(said, dg.SkipReason)
            return said.skip_message or "", context.cursor

    with held(warehouse.path):
        words, cursor = evaluate(None)
    assert "nothing recorded" in words
    assert cursor is None
    _, cursor = evaluate(cursor)
    assert warehouse.query("SELECT run_id, ui_records FROM worker_runs") == [(run_id("c1"), 3)]
    assert evaluate(cursor)[0] == "nothing is new"


def test_more_runs_than_fit_in_one_go_are_recorded_in_turn(
    warehouse: Warehouse, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_records, "RUNS_A_TIME", 3)
    for n in range(7):
        ended(instance, f"run-{n}")
    cursor: str | None = None
    for _ in range(4):
        cursor = write_run_records(instance, warehouse, cursor)
    assert count(warehouse, "worker_runs") == 7


def test_what_became_of_each_tick_is_recorded(
    warehouse: Warehouse, instance: dg.DagsterInstance
) -> None:
    on_since(instance, UI, slot(25))
    add_tick(instance, UI, slot(20), TickStatus.SKIPPED, skip_reason="run x is still going")
    add_tick(instance, UI, slot(10), TickStatus.FAILURE, error=BROKEN)
    add_tick(instance, UI, slot(5), TickStatus.SUCCESS, run_ids=[run_id("late")])
    run = create_run_for_test(instance, "ui_collection", run_id=run_id("late"))
    cursor = write_run_records(instance, warehouse, None)
    found = "SELECT expected_at, outcome, reason FROM schedule_compliance ORDER BY 1"
    assert warehouse.query(found) == [
        (slot(25), "missed", "no daemon was running"),
        (slot(20), "skipped", "run x is still going"),
        (slot(15), "missed", "no daemon was running"),
        (slot(10), "failed", "it broke"),
        (slot(5), "launched", None),
    ]
    instance.report_run_failed(run)  # it never began: its slot is settled
    write_run_records(instance, warehouse, cursor)
    assert warehouse.query(found)[-1] == (
        slot(5),
        "failed",
        "the run ended as FAILURE before it began",
    )
    (config,) = warehouse.query(
        "SELECT cron, variable, enabled, last_tick_at FROM schedule_config WHERE schedule = ?", [UI]
    )
    assert config == ("*/5 * * * *", "CRYPTO_PIPELINE_UI_CRON", True, slot(5))
    failures = warehouse.query("SELECT kind, name FROM failure_logs WHERE kind = 'schedule'")
    assert failures == [("schedule", UI)]


def test_a_stopped_schedule_misses_nothing(
    warehouse: Warehouse, instance: dg.DagsterInstance
) -> None:
    on_since(instance, UI, slot(60))
    add_tick(instance, UI, slot(55), TickStatus.SKIPPED, skip_reason="x")
    set_enabled(instance, [UI], on=False)
    cursor = write_run_records(instance, warehouse, None)
    set_enabled(instance, [UI], on=True)
    write_run_records(instance, warehouse, cursor)
    assert count(warehouse, "schedule_compliance") == 0
    assert [s.on for s in dagster_instance.take_snapshot(instance).collecting if s.name == UI] == [
        True
    ]


# A run that died


def test_a_run_dated_ahead_of_the_clock_silences_nothing(
    warehouse: Warehouse, instance: dg.DagsterInstance
) -> None:
    run = started_run(instance, "ui_collection", timedelta(days=-1))
    assert schedules.why_not_start(instance, "ui_collection") is None
    found = instance.get_run_by_id(run.run_id)
    assert found
    assert found.status == dg.DagsterRunStatus.FAILURE
    assert " UTC, the limit is" in dagster_instance.why_failed(instance, run.run_id)


def test_a_run_whose_process_was_killed_is_found_at_the_next_tick(
    warehouse: Warehouse, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    run = started_run(instance, "ui_collection", timedelta(seconds=5))
    program = (
        "import sys; from pathlib import Path; from crypto_pipeline.warehouse import Warehouse\n"
        f"with Warehouse(Path({str(warehouse.path)!r})).run_lock({run.run_id!r}):\n"
        "    print('alive', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=docs.ROOT,
    )
    with other:
        assert other.stdout
        assert other.stdout.readline() == b"alive\n"
        assert "still going" in (schedules.why_not_start(instance, "ui_collection") or "")
        other.kill()
    assert schedules.why_not_start(instance, "ui_collection") is None
    found = instance.get_run_by_id(run.run_id)
    assert found
    assert found.status == dg.DagsterRunStatus.FAILURE
    assert "its process is gone" in dagster_instance.why_failed(instance, run.run_id)


def test_a_run_that_ended_leaves_no_lock(warehouse: Warehouse) -> None:
    with warehouse.run_lock("r1"):
        assert not warehouse.died("r1")
    assert not warehouse.died("r1")
    assert list(warehouse.path.parent.glob("*.run")) == []


# Answers


def answers(instance: dg.DagsterInstance, warehouse: Warehouse) -> tuple[Any, Any]:
    snapshot = dagster_instance.take_snapshot(instance)
    facts = status.read_facts(warehouse)
    return status.status(snapshot, facts), status.stats(snapshot, facts)


def test_the_answers_are_the_same_before_and_after_the_runs_are_recorded(
    warehouse: Warehouse, instance: dg.DagsterInstance
) -> None:
    warehouse.write(collected(run_id("u1"), "ui", market_prices=4))
    warehouse.write(collected(run_id("b1"), "both", market_prices=8, news_articles=30))
    ended(instance, "u1")
    ended(instance, "b1", job="full_collection")
    ended(instance, "u2", "FAILURE")
    ended(instance, "other", job="maintenance")
    fresh = answers(instance, warehouse)
    write_run_records(instance, warehouse, None)
    status, stats = answers(instance, warehouse)
    for before, now in zip(fresh, (status, stats), strict=True):
        for name in ("recent_errors", "first_collection", "endpoints_asked", "endpoints_answered"):
            before.pop(name, None)
            now.pop(name, None)
        assert before == now
    assert (status["ui_collections"], status["historical_collections"]) == (3, 1)
    assert status["total_records_saved"] == 42
    assert stats["average_records_per_ui_collection"] == 4.0
    assert stats["average_records_per_historical_collection"] == 30.0
    assert stats["success_rate_pct"] == 75.0
    in_sql = warehouse.query(
        "SELECT ui_collections, historical_collections, total_records_saved FROM worker_status"
    )
    assert in_sql == [(3, 1, 42)]
    assert {job["id"] for job in status["scheduler_jobs"]} == {UI, "every_15_minutes"}
    assert all(job["next_run_time"] for job in status["scheduler_jobs"])
    assert json.dumps([status, stats])


def test_a_locked_database_still_gets_an_answer(
    warehouse: Warehouse, instance: dg.DagsterInstance
) -> None:
    warehouse.write(collected(run_id("u1"), "ui", market_prices=4))
    ended(instance, "u1")
    with held(warehouse.path):
        status, _ = answers(instance, warehouse)
    assert status["ui_collections"] == 1
    assert status["database"].startswith("locked: ")


def test_health_names_every_reason(warehouse: Warehouse, instance: dg.DagsterInstance) -> None:
    set_enabled(instance, [UI], on=False)
    ended(instance, "u1", "FAILURE")
    facts = status.read_facts(warehouse)
    answer = status.health(dagster_instance.take_snapshot(instance), facts, warehouse)
    assert not answer["healthy"]
    words = "\n".join(answer["reasons"])
    for reason in (
        "the daemon is not running",
        f"stopped: {UI}",
        f"the last ui collection failed: run {run_id('u1')}",
        "no historical collection has ended yet",
        "there is no database",
    ):
        assert reason in words


def test_health_names_a_sensor_that_fails(
    warehouse: Warehouse, instance: dg.DagsterInstance
) -> None:
    on_since(instance, UI, slot(10))
    add_tick(instance, UI, slot(5), TickStatus.FAILURE, error=BROKEN)
    answer = status.health(
        dagster_instance.take_snapshot(instance), status.read_facts(warehouse), warehouse
    )
    assert f"schedule {UI} failed: it broke" in answer["reasons"]


def test_stop_and_start_are_what_the_daemon_and_the_ui_read(instance: dg.DagsterInstance) -> None:
    names = [UI, "every_15_minutes"]
    assert all(schedule.on for schedule in dagster_instance.take_snapshot(instance).collecting)
    for on in (False, True, True, False):
        set_enabled(instance, names, on=on)
        seen = dagster_instance.take_snapshot(instance)
        assert [schedule.on for schedule in seen.collecting] == [on, on]
        assert all((schedule.next_at is not None) == on for schedule in seen.collecting)
    assert len(instance.all_instigator_state()) == 2
