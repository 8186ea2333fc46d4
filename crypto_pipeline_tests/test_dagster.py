"""What Dagster sees and does: definitions, runs, checks, schedules, with a real instance."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from crypto_pipeline import docs
from crypto_pipeline.collection import collect
from crypto_pipeline.definitions import build_definitions
from crypto_pipeline.monitoring import dagster_instance
from crypto_pipeline.orchestration import assets, lineage, schedules, sensors
from crypto_pipeline.orchestration.resources import WarehouseResource
from crypto_pipeline.settings import SettingError
from crypto_pipeline.sources import KINDS, Kind
from crypto_pipeline.tables import DATA
from crypto_pipeline.warehouse import Warehouse
from crypto_pipeline_tests.conftest import Canned, coins, source
from crypto_pipeline_tests.dagster_inside import started_run
from crypto_pipeline_tests.test_warehouse import batch, count, held, price
from crypto_pipeline_tests.upstream import Rule, Upstream

PRICES = dg.AssetKey("market_prices")
AGREED = dg.AssetKey("cached_market_data")
TWO = {name: source(name).source for name in ("good", "fine")}


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance as the project's own dagster.yaml makes it."""
    home = tmp_path / "dagster"
    home.mkdir(exist_ok=True)
    shutil.copy(docs.ROOT / "dagster.yaml", home)
    with dg.DagsterInstance.from_config(str(home)) as made:
        yield made


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    """Two sources of prices are all there is."""
    monkeypatch.setattr(collect, "SOURCES", TWO)
    canned = Canned({f"{name}.example/prices": coins(100, 200) for name in ("good", "fine")})
    with Upstream(canned) as server:
        monkeypatch.setenv("CRYPTO_PIPELINE_UPSTREAM", server.url)
        yield server


def materialize(
    instance: dg.DagsterInstance, *tables: str, force: bool = False
) -> dg.ExecuteInProcessResult:
    definitions = build_definitions()
    job = definitions.resolve_job_def("ui_collection")
    return job.execute_in_process(
        instance=instance,
        asset_selection=[dg.AssetKey(table) for table in tables] or None,
        run_config={"ops": {assets.STEP: {"config": {"force": force}}}},
        raise_on_error=False,
    )


def checks(result: dg.ExecuteInProcessResult) -> dict[str, tuple[bool, str]]:
    return {
        e.asset_key.to_user_string(): (e.passed, e.description or "")
        for e in result.get_asset_check_evaluations()
    }


def materialized(result: dg.ExecuteInProcessResult) -> set[str]:
    events = result.get_asset_materialization_events()
    return {e.asset_key.to_user_string() for e in events if e.asset_key}


def test_the_definitions_load() -> None:
    definitions = build_definitions()
    dg.Definitions.validate_loadable(definitions)
    graph = definitions.resolve_asset_graph()
    assert graph.executable_asset_keys == {dg.AssetKey(m.table.name) for m in DATA}
    for model in DATA:
        node = graph.get(dg.AssetKey(model.table.name))
        assert node.metadata["dagster/table_name"] == f"crypto.main.{model.table.name}"
        assert node.group_name == model.table.shown_in
        assert node.owners
        assert node.kinds
        assert node.freshness_policy
        assert node.description == model.table.description
    assert graph.get(AGREED).parent_keys == {PRICES}
    assert len(graph.asset_check_keys) == len(DATA)


def test_sources_are_in_the_lineage_by_kind() -> None:
    graph = build_definitions().resolve_asset_graph()
    assert graph.external_asset_keys == {dg.AssetKey(["sources", kind.name]) for kind in KINDS}
    for kind in KINDS:
        node = graph.get(dg.AssetKey(["sources", kind.name]))
        assert node.group_name == "sources"
        assert {key.to_user_string() for key in node.child_keys} == {
            e.model.table.name for e in kind.endpoints
        }
        assert all(s.name in (node.description or "") for s in kind.sources)


@pytest.mark.parametrize(
    ("table", "fresh", "stale"),
    [
        ("market_prices", 12, 20),
        ("cached_market_data", 12, 20),
        ("fiat_quotes", 22, 30),
        ("news_articles", 35, 60),
        ("defi_tvl", 80, 120),
    ],
)
def test_how_old_a_table_may_be_follows_from_who_is_asked_for_it(
    table: str, fresh: int, stale: int
) -> None:
    node = build_definitions().resolve_asset_graph().get(dg.AssetKey(table))
    assert node.freshness_policy == dg.FreshnessPolicy.time_window(
        warn_window=timedelta(minutes=fresh), fail_window=timedelta(minutes=stale)
    )


def test_a_run_materializes_what_it_collected(
    upstream: Upstream, warehouse: Warehouse, instance: dg.DagsterInstance
) -> None:
    result = materialize(instance, "market_prices", "cached_market_data")
    assert result.success
    assert materialized(result) == {"market_prices", "cached_market_data"}
    metadata = result.asset_materializations_for_node(assets.STEP)[0].metadata
    assert metadata["rows"].value == metadata["dagster/row_count"].value == 4
    assert metadata["endpoints_answered"].value == 2
    assert checks(result)["market_prices"] == (True, "4 rows from 2 of 2 endpoints asked")
    assert warehouse.query("SELECT DISTINCT collection_id FROM market_prices") == [(result.run_id,)]
    said = [log.user_message for log in instance.all_logs(result.run_id) if not log.dagster_event]
    assert said == ["2 of 2 endpoints answered with 4 rows, 0 were not asked"]


def test_one_asset_collects_its_own_endpoints(
    upstream: Upstream, warehouse: Warehouse, instance: dg.DagsterInstance
) -> None:
    result = materialize(instance, "market_prices")
    assert materialized(result) == {"market_prices"}
    with warehouse.connect() as connection:
        connection.execute("DELETE FROM cached_market_data")
    assert materialized(materialize(instance, "cached_market_data")) == {"cached_market_data"}
    assert count(warehouse, "cached_market_data") == 2


def test_dagsters_events_are_kept_in_small_pages(
    upstream: Upstream, instance: dg.DagsterInstance
) -> None:
    run_id = materialize(instance).run_id
    assert instance.get_latest_materialization_event(PRICES)
    assert instance.all_logs(run_id)
    folder = Path(instance.root_directory) / "history" / "runs"
    for name in (run_id, "index"):
        with closing(sqlite3.connect(folder / f"{name}.db")) as database:
            assert database.execute("PRAGMA page_size").fetchone() == (dagster_instance.PAGE_BYTES,)
            assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_green_run_names_what_got_nothing(
    upstream: Upstream, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    from crypto_pipeline.sources import Source
    from crypto_pipeline.tables import GasPrice

    gas = Source("gasless", "https://gasless.example", docs="https://gasless.example/docs")
    gas.endpoint(GasPrice, "/gas", row=dict)
    monkeypatch.setattr(collect, "SOURCES", {**TWO, "gasless": gas})
    result = materialize(instance)
    assert result.success
    assert "gas_prices" not in materialized(result)
    passed, words = checks(result)["gas_prices"]
    assert not passed
    assert words.startswith("none of 1 endpoints answered; gasless.gas_prices: refused: HTTP 404")
    observed = [
        e.asset_observation_data.asset_observation
        for e in result.all_events
        if e.event_type_value == "ASSET_OBSERVATION"
    ]
    (about,) = [o for o in observed if o.asset_key == dg.AssetKey("gas_prices")]
    assert about.metadata["not_materialized"].value == words
    idle = materialize(instance)
    assert idle.success
    assert checks(idle) == {}  # it stays failed


def test_a_run_fails_when_nothing_could_be_collected(
    upstream: Upstream, warehouse: Warehouse, instance: dg.DagsterInstance
) -> None:
    upstream.rules.append(Rule(".", status=500))
    result = materialize(instance)
    assert not result.success
    assert materialized(result) == set()
    failed = [e for e in result.all_events if e.is_step_failure]
    details = failed[0].step_failure_data.user_failure_data
    assert details
    assert "none of the 2 endpoints asked could be collected" in (details.description or "")
    assert count(warehouse, "data_collections") == 2


def test_a_run_fails_when_nothing_can_be_kept(
    upstream: Upstream, warehouse: Warehouse, instance: dg.DagsterInstance
) -> None:
    warehouse.path.write_bytes(b"not a database at all" * 999)
    result = materialize(instance)
    assert not result.success


def test_a_locked_database_is_a_green_run_with_a_warning(
    upstream: Upstream,
    warehouse: Warehouse,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Warehouse.__init__, "__defaults__", (0.2, None))
    materialize(instance)
    with held(warehouse.path):
        result = materialize(instance, force=True)
    assert result.success
    assert checks(result)["market_prices"] == (
        False,
        "4 rows wait in the spool until the database can be written",
    )
    assert len(warehouse.waiting()) == 1


def test_who_is_not_asked_changes_nothing(upstream: Upstream, instance: dg.DagsterInstance) -> None:
    materialize(instance)
    before = instance.get_latest_materialization_event(PRICES)
    again = materialize(instance)
    assert again.success
    assert len(upstream.received) == 2
    assert (materialized(again), checks(again)) == (set(), {})
    events = {event.event_type_value for event in again.all_events}
    assert not events & {"ASSET_OBSERVATION", "ASSET_CHECK_EVALUATION_PLANNED"}
    assert instance.get_latest_materialization_event(PRICES) == before
    said = [log.user_message for log in instance.all_logs(again.run_id) if not log.dagster_event]
    assert "nobody was asked for market_prices: 2 are not due yet" in "".join(said)


def test_a_kind_of_source_is_observed_when_its_state_changes(
    upstream: Upstream, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lineage, "KINDS", (Kind("both", "Two", tuple(TWO.values())),))

    def observed(result: dg.ExecuteInProcessResult) -> list[dict[str, Any]]:
        assert result.success
        found = [
            e.asset_observation_data.asset_observation
            for e in result.all_events
            if e.event_type_value == "ASSET_OBSERVATION"
        ]
        return [
            {name: value.value for name, value in one.metadata.items()}
            for one in found
            if one.asset_key == dg.AssetKey(["sources", "both"])
        ]

    well = {"answering": 2, "resting": 0, "never_asked": 0}
    assert observed(materialize(instance)) == [well]
    assert observed(materialize(instance, force=True)) == []
    upstream.rules.append(Rule("fine", status=403))
    assert observed(materialize(instance, force=True)) == []  # it failed once and is asked again
    (ill,) = observed(materialize(instance, force=True))
    assert (ill["answering"], ill["resting"]) == (1, 1)
    assert "| fine.market_prices | refused | " in ill["who_rests"]
    assert "HTTP 403" in ill["who_rests"]
    upstream.rules.clear()
    assert observed(materialize(instance, force=True)) == [well]


def test_the_resource_closes_its_connection(warehouse: Warehouse) -> None:
    resource = WarehouseResource(database=str(warehouse.path))
    with pytest.raises(RuntimeError, match="mine"), resource.get_connection():
        raise RuntimeError("mine")
    with resource.get_connection() as connection:
        assert connection.execute("SELECT 1").fetchall() == [(1,)]


# Schedules


def tick(name: str, instance: dg.DagsterInstance) -> Any:
    definitions = build_definitions()
    schedule = definitions.resolve_schedule_def(name)
    context = dg.build_schedule_context(
        instance=instance, scheduled_execution_time=datetime.now(UTC)
    )
    return schedule.evaluate_tick(context)


def test_the_two_schedules_are_on_by_default() -> None:
    built = {s.name: s for s in schedules.build_schedules()}
    assert {n: s.cron_schedule for n, s in built.items()} == {
        "every_5_minutes": "*/5 * * * *",
        "every_15_minutes": "2-59/15 * * * *",
    }
    for schedule in built.values():
        assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
        assert schedule.execution_timezone == "UTC"


def test_a_schedule_can_be_set_and_a_wrong_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYPTO_PIPELINE_UI_CRON", "* * * * *")
    assert schedules.build_schedules()[0].cron_schedule == "* * * * *"
    monkeypatch.setenv("CRYPTO_PIPELINE_UI_CRON", "now and then")
    with pytest.raises(SettingError, match="CRYPTO_PIPELINE_UI_CRON='now and then'"):
        schedules.build_schedules()


def test_a_tick_asks_for_a_run(instance: dg.DagsterInstance) -> None:
    assert len(tick("every_5_minutes", instance).run_requests) == 1


def test_a_tick_whose_job_still_runs_is_skipped_with_the_reason(
    instance: dg.DagsterInstance,
) -> None:
    run = started_run(instance, "ui_collection", timedelta(minutes=2))
    found = tick("every_5_minutes", instance)
    assert found.run_requests == []
    assert found.skip_message == f"run {run.run_id} of ui_collection is still going"
    assert len(tick("every_15_minutes", instance).run_requests) == 1


def test_a_dead_run_silences_nothing(instance: dg.DagsterInstance) -> None:
    run = started_run(instance, "ui_collection", timedelta(hours=3))
    assert len(tick("every_5_minutes", instance).run_requests) == 1
    found = instance.get_run_by_id(run.run_id)
    assert found
    assert found.status == dg.DagsterRunStatus.FAILURE


def test_the_first_collection_starts_at_once_and_only_once(
    upstream: Upstream, instance: dg.DagsterInstance
) -> None:
    def evaluate(cursor: str | None = None) -> tuple[Any, str | None]:
        context = dg.build_sensor_context(instance=instance, cursor=cursor)
        return schedules.first_collection(context), context.cursor

    request, cursor = evaluate()
    assert isinstance(request, dg.RunRequest)
    again, _ = evaluate(cursor)
    assert isinstance(again, dg.SkipReason)
    materialize(instance)
    fresh, _ = evaluate()
    assert isinstance(fresh, dg.SkipReason)
    assert "was collected" in (fresh.skip_message or "")


@pytest.mark.parametrize(
    ("cron", "since", "until"),
    [
        ("*/5 * * * *", "2026-11-23T12:01", "2026-11-23T12:21"),
        ("0 * * * *", "2026-11-23T12:01", "2026-11-23T14:00"),
        ("*/5 8-18 * * 1-5", "2026-11-20T18:56", "2026-11-23T08:05"),  # over a week-end
        ("0 8,9 * * *", "2026-11-23T09:01", "2026-11-24T09:00"),
    ],
)
def test_prices_are_overdue_when_their_schedule_was_due_twice(
    cron: str, since: str, until: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTO_PIPELINE_UI_CRON", cron)
    collected, due = (datetime.fromisoformat(at).replace(tzinfo=UTC) for at in (since, until))
    assert schedules.overdue(collected, due)
    assert not schedules.overdue(collected, due - timedelta(seconds=1))


def test_the_instance_configuration_is_accepted(tmp_path: Path) -> None:
    shutil.copy(docs.ROOT / "dagster.yaml", tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert instance.run_monitoring_enabled
        limit = instance.run_monitoring_settings["max_runtime_seconds"]
        assert limit == schedules.TIME_LIMIT.total_seconds()


# The spool


def test_what_waits_in_the_spool_is_drained_by_a_run(
    warehouse: Warehouse, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensors, "LOCK_WAIT_S", 0.2)
    warehouse.write(batch("c1", price("alpha", "BTC", 1)))
    with held(warehouse.path):
        warehouse.write(batch("c2", price("alpha", "BTC", 2, "c2")))
    with dg.build_sensor_context(instance=instance) as context:
        assert isinstance(sensors.check_alerts(context), dg.RunRequest)
        assert isinstance(sensors.check_alerts(context), dg.SkipReason)
    job = build_definitions().resolve_job_def("drain_spool")
    assert job.execute_in_process(instance=instance).success
    assert warehouse.waiting() == []
    assert count(warehouse, "market_prices") == 2


def test_a_drain_of_a_locked_file_is_no_failure(
    warehouse: Warehouse, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Warehouse.__init__, "__defaults__", (0.2, None))
    warehouse.write(batch("c1", price("alpha", "BTC", 1)))
    with held(warehouse.path):
        job = build_definitions().resolve_job_def("drain_spool")
        assert job.execute_in_process(instance=instance).success


def test_a_collection_that_never_fits_keeps_no_run_from_being_recorded(
    warehouse: Warehouse, instance: dg.DagsterInstance
) -> None:
    warehouse.write(batch("c0", price("alpha", "BTC", 1)))
    warehouse.write(batch("c1", price("alpha", "BTC", 1)), hurry=lambda: True)
    (waiting,) = warehouse.waiting()
    (waiting / "market_prices.parquet").rename(waiting / "of_a_later_release.parquet")
    job = build_definitions().resolve_job_def("drain_spool")
    assert job.execute_in_process(instance=instance).success
    assert warehouse.waiting() == [waiting]

    def recorded() -> int:
        with dg.build_sensor_context(instance=instance) as context:
            sensors.record_worker(context)
        return count(warehouse, "worker_runs")

    assert recorded() == 0
    os.utime(waiting, (0, 0))
    assert recorded() == 1
