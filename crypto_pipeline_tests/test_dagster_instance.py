"""What the one door to Dagster's inside takes for granted: a test for each name that Dagster does
not promise to keep. When one fails after an upgrade, `monitoring/dagster_instance` is the place.
"""

import ast
import inspect
import json
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._annotations import is_public

from crypto_pipeline import docs, event_log, groups
from crypto_pipeline.definitions import build_definitions
from crypto_pipeline.monitoring import dagster_instance as door
from crypto_pipeline.monitoring.snapshot import NotSwitched
from crypto_pipeline_tests.dagster_inside import (
    BROKEN,
    TickStatus,
    add_tick,
    create_run_for_test,
    on_since,
    started_run,
)
from crypto_pipeline_tests.test_dagster import instance, materialize, upstream
from crypto_pipeline_tests.test_house import files
from crypto_pipeline_tests.upstream import Rule, Upstream

__all__ = ["instance", "upstream"]

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
UI = groups.UI.schedule

RECEIVERS: dict[str, tuple[type, ...]] = {
    "instance": (dg.DagsterInstance,),
    "definitions": (dg.Definitions,),
    "context": (
        dg.AssetExecutionContext,
        dg.OpExecutionContext,
        dg.SensorEvaluationContext,
        dg.ScheduleEvaluationContext,
        dg.InputContext,
        dg.OutputContext,
    ),
    "record": (dg.RunRecord,),
}
"""What our modules call Dagster's objects, and of which class they are."""


def private_uses(file: Path) -> Iterator[str]:
    """Imports of Dagster's inside, and attributes of its objects that it does not mark public."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            if name.startswith(("dagster._", "dagster_shared", "dagster_webserver")):
                yield f"import of {name}"
        if isinstance(node, ast.Attribute):
            receiver = getattr(node.value, "id", getattr(node.value, "attr", ""))
            classes = [c for c in RECEIVERS.get(receiver, ()) if hasattr(c, node.attr)]
            if classes and not any(_is_public(c, node.attr) for c in classes):
                yield f"{receiver}.{node.attr}"


def _is_public(owner: type, name: str) -> bool:
    found: Any = inspect.getattr_static(owner, name)
    found = found.fget if isinstance(found, property) else getattr(found, "__func__", found)
    return is_public(found)


def test_only_the_doors_use_what_dagster_does_not_promise() -> None:
    """The second is the webserver's process; test_guard holds what it takes for granted."""
    uses = {name: set(private_uses(file)) for name, file in files().items()}
    assert {name for name, used in uses.items() if used} == {
        "monitoring.dagster_instance",
        "monitoring.guarded_webserver",
    }


def test_of_the_tests_only_two_use_what_dagster_does_not_promise() -> None:
    tests = Path(__file__).parent.glob("*.py")
    importing = {f.stem for f in tests if any("import" in use for use in private_uses(f))}
    assert importing == {"dagster_inside", Path(__file__).stem}


# The instance


def test_an_instance_knows_its_folder(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    assert door.home_of(instance) == tmp_path / "dagster"


def test_a_job_of_the_definitions_can_be_had_by_name() -> None:
    job = door.job_of(build_definitions(), groups.UI.job)
    assert (job.name, isinstance(job, dg.JobDefinition)) == (groups.UI.job, True)


def test_a_step_knows_the_run_it_is_part_of(tmp_path: Path) -> None:
    ids = []

    @dg.asset
    def one(context: dg.AssetExecutionContext) -> None:
        ids.append(door.run_id_of(context))

    with dg.DagsterInstance.local_temp(str(tmp_path)) as temporary:
        assert [dg.materialize([one], instance=temporary).run_id] == ids


def test_the_events_a_step_yields_are_kept_and_no_remark_on_outputs(
    upstream: Upstream, instance: dg.DagsterInstance
) -> None:
    run_id = materialize(instance).run_id
    kept = instance.get_latest_materialization_event(dg.AssetKey("market_prices"))
    assert kept
    assert kept.run_id == run_id
    logged = [entry.user_message for entry in instance.all_logs(run_id)]
    assert any("market_prices" in words for words in logged)
    assert not any("did not yield or return expected outputs" in words for words in logged)


def test_without_the_filter_dagster_makes_its_remark(tmp_path: Path) -> None:
    @dg.multi_asset(
        specs=[dg.AssetSpec("one")],
        check_specs=[dg.AssetCheckSpec("well", asset="one")],
        can_subset=True,
    )
    def step() -> Any:
        yield dg.AssetMaterialization("one")
        yield dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey("one"), check_name="well", passed=True, metadata={}
        )

    with dg.DagsterInstance.local_temp(str(tmp_path)) as temporary:
        done = dg.materialize([step], instance=temporary)
        logged = [entry.user_message for entry in temporary.all_logs(done.run_id)]
    assert done.success
    assert any("did not yield or return expected outputs" in words for words in logged)


# States and ticks


def test_a_snapshot_has_schedules_sensors_ticks_and_heartbeats(
    instance: dg.DagsterInstance,
) -> None:
    on_since(instance, UI, NOW)
    add_tick(instance, UI, NOW, TickStatus.SKIPPED, skip_reason="because")
    seen = door.take_snapshot(instance)
    (schedule,) = [s for s in seen.schedules if s.name == UI]
    (tick,) = schedule.ticks
    assert (schedule.on, schedule.cron, tick.at) == (True, groups.UI.cron, NOW)
    assert (tick.status, tick.reason, tick.ended_at) == (
        "SKIPPED",
        "because",
        NOW + timedelta(seconds=1),
    )
    assert schedule.id
    assert "::" in schedule.id
    assert (seen.heartbeats, seen.sensors) == ({}, [])


def test_ticks_of_a_schedule_come_with_the_time_it_was_turned_on(
    instance: dg.DagsterInstance,
) -> None:
    on_since(instance, UI, NOW)
    add_tick(instance, UI, NOW, TickStatus.SUCCESS, run_ids=["r1"])
    add_tick(instance, UI, NOW + timedelta(minutes=5), TickStatus.FAILURE, error=BROKEN)
    since, ticks = door.schedule_ticks(instance, UI, NOW + timedelta(minutes=1), 10)
    assert since == NOW
    assert [(t.status, t.reason) for t in ticks] == [("FAILURE", "it broke")]
    failed = list(door.failed_ticks(instance, NOW - timedelta(minutes=1)))
    assert [(kind, name, tick.reason) for kind, name, tick in failed] == [
        ("schedule", UI, "it broke")
    ]


@pytest.mark.parametrize(
    ("cron", "first", "second"),
    [
        ("*/5 * * * *", NOW + timedelta(minutes=5), NOW + timedelta(minutes=10)),
        ("2-59/15 * * * *", NOW + timedelta(minutes=2), NOW + timedelta(minutes=17)),
        ("0 3 * * *", NOW + timedelta(hours=15), NOW + timedelta(hours=39)),
    ],
)
def test_a_cron_expression_has_its_moments(cron: str, first: datetime, second: datetime) -> None:
    moments = door.ticks_after(cron, NOW)
    assert (next(moments), next(moments)) == (first, second)


def test_dagsters_command_turns_schedules_off_and_on(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(docs.ROOT)
    for on in (False, True):
        door.set_enabled([UI], on=on)
        (schedule,) = [s for s in door.take_snapshot(instance).schedules if s.name == UI]
        assert schedule.on == on
    with pytest.raises(NotSwitched, match="nonsense: dagster schedule stop: KeyError"):
        door.set_enabled(["nonsense"], on=False)


# Runs


def test_a_failed_run_says_why(upstream: Upstream, instance: dg.DagsterInstance) -> None:
    upstream.rules.append(Rule(".", status=500))
    run_id = materialize(instance).run_id
    assert "none of the 2 endpoints asked" in door.why_failed(instance, run_id)
    assert door.failure_of(instance, run_id) == door.why_failed(instance, run_id)
    upstream.rules.clear()
    assert door.failure_of(instance, materialize(instance, force=True).run_id) is None


def test_a_run_can_be_marked_failed_from_outside(instance: dg.DagsterInstance) -> None:
    run = started_run(instance, groups.UI.job, timedelta(minutes=1))
    assert [r.id for r in door.open_runs(instance, groups.UI.job)] == [run.run_id]
    assert door.fail_dead_runs(instance, lambda run_id: run_id == run.run_id) == [run.run_id]
    assert door.open_runs(instance) == []
    assert door.runs_by_id(instance, [run.run_id])[run.run_id].status == "FAILURE"
    assert door.why_failed(instance, run.run_id) == "declared dead: its process is gone"


def test_finished_runs_come_in_the_order_they_ended(instance: dg.DagsterInstance) -> None:
    ids = [str(uuid.uuid4()) for _ in range(3)]
    for run_id in ids:
        create_run_for_test(
            instance, "job", run_id=run_id, status=dg.DagsterRunStatus.SUCCESS, tags={}
        )
    found = door.finished_runs(instance, datetime(2020, 1, 1, tzinfo=UTC), 10)
    assert [run.id for _, run in found] == ids
    assert [changed for changed, _ in found] == sorted(changed for changed, _ in found)


# The files


def test_a_run_s_files_lie_where_they_are_removed_from(
    upstream: Upstream, instance: dg.DagsterInstance
) -> None:
    run_id = materialize(instance).run_id
    storage = instance.event_log_storage
    assert isinstance(storage, event_log.SmallPages)
    shard = Path(storage.path_for_shard(run_id))
    home = door.home_of(instance)
    assert shard == home / "history" / "runs" / f"{run_id}.db"
    assert shard.exists()
    assert (Path(instance.storage_directory()) / run_id).is_dir()
    assert (home / "history" / "runs.db").exists()
    assert (home / "schedules" / "schedules.db").exists()


def test_evaluations_of_checks_lie_where_they_are_removed_from(
    upstream: Upstream, instance: dg.DagsterInstance
) -> None:
    run_id = materialize(instance).run_id
    index = door.home_of(instance) / "history" / "runs" / "index.db"
    with closing(sqlite3.connect(index)) as database:
        found = database.execute(
            "SELECT asset_key, check_name, run_id FROM asset_check_executions ORDER BY id"
        ).fetchall()
    assert {json.loads(key)[0] for key, _, _ in found} >= {"market_prices"}
    assert {(name, run) for _, name, run in found} == {("as_declared", run_id)}


def test_the_event_log_is_made_in_small_pages(instance: dg.DagsterInstance) -> None:
    instance.get_run_records()
    storage = instance.event_log_storage
    assert isinstance(storage, event_log.SmallPages)
    with closing(sqlite3.connect(storage.path_for_shard("index"))) as database:
        assert database.execute("PRAGMA page_size").fetchone() == (door.PAGE_BYTES,)


def test_a_schedule_that_ticked_at_a_time_to_come_ticks_again(instance: dg.DagsterInstance) -> None:
    now = datetime.now(UTC)
    on_since(instance, UI, now + timedelta(days=400))
    add_tick(instance, UI, now + timedelta(days=400), TickStatus.SUCCESS, run_ids=[])
    other = groups.HISTORICAL.schedule
    on_since(instance, other, now - timedelta(days=1))
    add_tick(instance, other, now, TickStatus.SUCCESS, run_ids=[])
    assert door.forget_ticks_ahead(instance, now) == [UI]
    since, ticks = door.schedule_ticks(instance, UI, now - timedelta(days=1), 10)
    assert ticks == []
    assert since
    assert abs(since - now) < timedelta(seconds=1)
    assert len(door.schedule_ticks(instance, other, now - timedelta(days=1), 10)[1]) == 1
    assert door.forget_ticks_ahead(instance, now) == []
