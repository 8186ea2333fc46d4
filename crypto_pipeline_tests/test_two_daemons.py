"""Two daemons on one instance, by accident: a tick that both launch is collected once."""

import re
import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from crypto_pipeline import docs
from crypto_pipeline.groups import SCHEDULED
from crypto_pipeline.monitoring.dagster_instance import OVER, open_instance
from crypto_pipeline.tables import MarketPrice
from crypto_pipeline.tables.outcomes import NOT_DUE
from crypto_pipeline.warehouse import Warehouse
from crypto_pipeline_tests.dagster_inside import set_enabled
from crypto_pipeline_tests.stack import EVERY_MINUTE, Session
from crypto_pipeline_tests.test_warehouse import count
from crypto_pipeline_tests.upstream import Samples, Upstream

COLLECTING = set(SCHEDULED)

SIDE_BY_SIDE = "schedules: {use_threads: true, num_workers: 2}"
"""One after the other, each daemon has an order of its own, and they rarely meet."""

READY_S = 4.0
"""How long before a tick the schedules are on: a daemon that has just started comes to them."""

NOT_AGAIN = {*NOT_DUE, "stepped_aside"}

Runs = dict[str, list[dg.DagsterRun]]


def test_a_tick_of_two_daemons_is_collected_once(
    tmp_path: Path, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "dagster"
    ours = (docs.ROOT / "dagster.yaml").read_text()
    (home / "dagster.yaml").write_text(f"{ours}\n{SIDE_BY_SIDE}")
    monkeypatch.chdir(docs.ROOT)
    with open_instance() as instance, Upstream(Samples(), delay=0.5) as upstream:
        monkeypatch.setenv("CRYPTO_PIPELINE_UPSTREAM", upstream.url)
        nothing_before(instance)
        with daemon(tmp_path, "one").running() as one:
            one.until("one runs", lambda: "following daemons" in one.said())
            with daemon(tmp_path, "other").running() as other:
                other.until("the other runs, too", lambda: "following daemons" in other.said())
                tick = both_at_once(instance, home)
                other.until("the tick's runs are over", lambda: over(runs_of(instance, tick)))
                runs = runs_of(instance, tick)
                other.end()
            one.end()
    assert evaluated(one, tick) == evaluated(other, tick) == COLLECTING
    for of_schedule in runs.values():
        collected_once(warehouse, [run.run_id for run in of_schedule])
    assert len(upstream.received) == count(warehouse, "connection_attempts")


def daemon(folder: Path, name: str) -> Session:
    command = ("dagster-daemon", "run", "-w", "workspace.yaml")
    return Session(folder, docs.ROOT, EVERY_MINUTE, name, *command)


def nothing_before(instance: dg.DagsterInstance) -> None:
    """Everything is to be due when both daemons tick: no schedule before, no first collection."""
    set_enabled(instance, COLLECTING, on=False)
    instance.report_runless_asset_event(dg.AssetMaterialization(MarketPrice.table.name))


def both_at_once(instance: dg.DagsterInstance, home: Path) -> datetime:
    """Turn the schedules on for one tick, and let both daemons find it to be done, and then its run
    to be launched, before either has done it; the tick. Left alone they do so about every second
    time.

    Dagster looks for the tick and the run before it stores its own. While a storage is kept it can
    be read; writers wait up to five seconds.
    """
    tick = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
    if until(tick) < READY_S:
        time.sleep(until(tick) + 1)
        tick += timedelta(minutes=1)
    set_enabled(instance, COLLECTING, on=True)
    time.sleep(until(tick) - 1)
    ticks, runs = home / "schedules" / "schedules.db", home / "history" / "runs.db"
    with ExitStack() as kept:
        with keep(ticks):
            time.sleep(until(tick) + 1.5)
            kept.enter_context(keep(runs))
        time.sleep(until(tick) + 5)
    set_enabled(instance, COLLECTING, on=False)
    return tick


@contextmanager
def keep(storage: Path) -> Iterator[None]:
    """Let nobody write to one of Dagster's files."""
    with closing(sqlite3.connect(storage, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def evaluated(session: Session, tick: datetime) -> set[str]:
    """The schedules for which a daemon says it has done a tick."""
    words = rf"Evaluating schedule `(\w+)` at {tick:%Y-%m-%d %H:%M:%S}"
    return COLLECTING & set(re.findall(words, session.log.read_text(errors="replace")))


def until(moment: datetime) -> float:
    return (moment - datetime.now(UTC)).total_seconds()


def runs_of(instance: dg.DagsterInstance, tick: datetime) -> Runs:
    """The runs that were launched for a tick, by schedule."""
    found = defaultdict(list)
    tags = {".dagster/scheduled_execution_time": tick.isoformat()}
    for run in instance.get_runs(dg.RunsFilter(tags=tags)):
        found[run.tags["dagster/schedule_name"]].append(run)
    return found


def over(runs: Runs) -> bool:
    return set(runs) == COLLECTING and all(r.status in OVER for rs in runs.values() for r in rs)


def collected_once(warehouse: Warehouse, run_ids: list[str]) -> None:
    """No endpoint was asked by two of these runs, and the run that did not ask it says why."""
    outcomes = defaultdict(list)
    for run_id in run_ids:
        rows = warehouse.query(
            "SELECT endpoint, outcome, skip FROM data_collections WHERE collection_id = ?",
            [run_id],
        )
        assert rows
        for endpoint, outcome, skip in rows:
            outcomes[endpoint].append((outcome, skip))
    asked = 0
    for endpoint, ended in outcomes.items():
        skipped = [skip for outcome, skip in ended if outcome == "skipped"]
        if len(skipped) < len(ended):
            asked += 1
            assert len(skipped) == len(run_ids) - 1, (endpoint, ended)
            assert NOT_AGAIN.issuperset(skipped), (endpoint, ended)
    assert asked > 100
