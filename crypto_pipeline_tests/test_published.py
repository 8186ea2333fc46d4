"""What is published: always the rows of the file, for readers that nobody holds up. Runs on every
DuckDB we support."""

import json
import os
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import crypto_pipeline
from crypto_pipeline.monitoring import alerts
from crypto_pipeline.tables import TABLES, Alert, Row
from crypto_pipeline.warehouse import Locked, Warehouse, WarehouseError, parquet, publish
from crypto_pipeline.warehouse.owed import Owed
from crypto_pipeline.warehouse.published import connect, script
from crypto_pipeline_tests import readers
from crypto_pipeline_tests.processes import killed_at, seconds_of
from crypto_pipeline_tests.test_migrations import of_layout
from crypto_pipeline_tests.test_warehouse import (
    NOW,
    article,
    batch,
    candle,
    finished,
    held,
    outcome,
    price,
)
from crypto_pipeline_tests.test_witness import gas

DAY = timedelta(days=1)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "crypto.duckdb", lock_wait_s=0.5, parquet=tmp_path / "parquet")


def folder_of(warehouse: Warehouse) -> Path:
    assert warehouse.parquet
    return warehouse.parquet


def differences(warehouse: Warehouse) -> list[str]:
    """Tables whose published rows are not those of the file."""
    found = []
    with connect(folder_of(warehouse)) as there, warehouse.connect(read_only=True) as here:
        for name, model in TABLES.items():
            columns = ", ".join(f'"{c}"' for c in model.table.column_names)
            query = f"SELECT {columns} FROM {name} ORDER BY ALL"
            if there.execute(query).fetchall() != here.execute(query).fetchall():
                found.append(name)
    return found


def plain(warehouse: Warehouse, table: str) -> list[Path]:
    """The files of a table that tools see which read Parquet themselves."""
    return sorted((folder_of(warehouse) / table).rglob("*.parquet"))


def hidden(warehouse: Warehouse, table: str) -> list[str]:
    """The names that the views read, but those of no day."""
    folder = parquet.folder_of(folder_of(warehouse), TABLES[table])
    return sorted(f.name for f in folder.rglob("*-*") if f.is_file() and f.parent.name != NO_DAY)


NO_DAY = parquet.NO_DAY


def test_every_table_view_and_macro_is_there_before_any_row(warehouse: Warehouse) -> None:
    warehouse.write_rows([finished("r1", "ui_collection", "ui")])
    assert differences(warehouse) == []
    with connect(folder_of(warehouse)) as there, warehouse.connect(read_only=True) as here:
        ours = "SELECT view_name FROM duckdb_views() WHERE NOT internal"
        views = {name for (name,) in there.execute(ours).fetchall()}
        macros = "SELECT function_name FROM duckdb_functions() WHERE NOT internal"
        assert views == set(TABLES) | {n for (n,) in here.execute(ours).fetchall()}
        assert sorted(there.execute(macros).fetchall()) == sorted(here.execute(macros).fetchall())


def test_rows_are_added_replaced_and_corrected_as_in_the_file(warehouse: Warehouse) -> None:
    warehouse.write(batch("c1", price("a", "BTC", 9), price("b", "BTC", 9), candle(0)))
    warehouse.write(batch("c2", price("a", "BTC", 8, "c2"), candle(0, 3, "c2"), candle(5)))
    warehouse.write(batch("c3", article("https://n.example/1", "c3"), outcome("c3")))
    warehouse.write_rows([finished("r1", "ui_collection", "ui")])
    assert differences(warehouse) == []
    assert len(plain(warehouse, "market_prices")) == 2
    assert len(plain(warehouse, "cached_market_data")) == 1


def test_a_change_of_a_day_that_is_one_file_already_is_published_at_once(
    warehouse: Warehouse,
) -> None:
    warehouse.write(batch("c1", price("a", "BTC", 9), candle(0)))
    warehouse.prune({}, NOW + 2 * DAY)
    warehouse.write(batch("c2", candle(5, 2, "c2")))
    warehouse.prune({}, NOW + 2 * DAY)
    warehouse.write(batch("c3", candle(0, 5, "c3"), price("a", "BTC", 7, "c3")))
    assert differences(warehouse) == []
    assert [file.name for file in plain(warehouse, "cached_ohlc")] == ["3.parquet"]


def test_what_the_witness_refuses_is_among_the_published_rejects(warehouse: Warehouse) -> None:
    for gwei, minute in ((20.0, 0), (20.0, 5), (20_001.0, 10)):
        row = gas(gwei, minute, "polygon")
        warehouse.write(batch(row.collection_id, row, at=row.timestamp))
    with connect(folder_of(warehouse)) as there:
        assert there.execute("SELECT count(*) FROM rejected_rows").fetchone() == (1,)
    assert differences(warehouse) == []


def test_maintenance_makes_a_file_of_a_day_and_drops_old_ones(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(3):
        at = NOW - n * DAY
        for k in range(3):
            name = f"c{n}{k}"
            warehouse.write(batch(name, price("a", "BTC", 9, name, timestamp=at), at=at))
    assert len(plain(warehouse, "market_prices")) == 9
    warehouse.prune({"market_prices": DAY}, NOW + DAY)
    assert differences(warehouse) == []
    assert len(plain(warehouse, "market_prices")) == 1
    left = hidden(warehouse, "market_prices")
    assert len(left) == 12  # for queries that began before
    monkeypatch.setattr(publish, "DAYS_LEFT", timedelta(0))
    for _ in range(2):
        warehouse.prune({"market_prices": DAY}, NOW + DAY)
        assert differences(warehouse) == []
        assert len(hidden(warehouse, "market_prices")) == 1


def test_a_transaction_from_before_a_merge_reads_what_there_was(warehouse: Warehouse) -> None:
    for name in ("c1", "c2"):
        warehouse.write(batch(name, price("a", "BTC", 9, name)))
    with connect(folder_of(warehouse)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT now()").fetchall()
        warehouse.prune({}, NOW + 2 * DAY)
        rows = "SELECT collection_id FROM market_prices ORDER BY 1"
        assert reader.execute(rows).fetchall() == [("c1",), ("c2",)]
        reader.execute("COMMIT")
        assert reader.execute(rows).fetchall() == [("c1",), ("c2",)]


def test_former_versions_of_a_replaced_table_go_after_an_hour(warehouse: Warehouse) -> None:
    warehouse.write(batch("c1", price("a", "BTC", 9)))
    warehouse.write(batch("c2", price("a", "BTC", 8, "c2")))
    assert len(hidden(warehouse, "cached_market_data")) == 2
    folder = parquet.folder_of(folder_of(warehouse), TABLES["cached_market_data"])
    for file in folder.iterdir():
        os.utime(file, (time.time() - 4000, time.time() - 4000))
    warehouse.write(batch("c3", price("a", "BTC", 7, "c3")))
    assert len(hidden(warehouse, "cached_market_data")) == 1
    assert differences(warehouse) == []


def test_what_waited_in_the_spool_is_published(warehouse: Warehouse) -> None:
    warehouse.write(batch("c1", price("a", "BTC", 9)))
    with held(warehouse.path):
        for name in ("c2", "c3"):
            assert warehouse.write(batch(name, price("a", "BTC", 8, name))).spooled
    warehouse.write(batch("c4", price("a", "BTC", 7, "c4")))
    assert differences(warehouse) == []
    assert len(plain(warehouse, "market_prices")) == 1  # written anew, whole


def test_while_another_program_holds_the_file_readers_read(warehouse: Warehouse) -> None:
    warehouse.write(batch("c1", price("a", "BTC", 9)))
    with held(warehouse.path):
        with pytest.raises(Locked):
            warehouse.query("SELECT 1")
        assert len(crypto_pipeline.read("market_prices", parquet=folder_of(warehouse))) == 1


def test_a_file_that_was_never_published_is_published_whole(warehouse: Warehouse) -> None:
    alone = Warehouse(warehouse.path)
    for n in range(3):
        at = NOW - n * DAY
        alone.write(batch(f"c{n}", price("a", "BTC", 9, f"c{n}", timestamp=at), at=at))
    warehouse.write(batch("c4", price("a", "BTC", 7, "c4")))
    assert differences(warehouse) == []


def test_a_file_of_a_former_release_is_published(tmp_path: Path) -> None:
    former = of_layout(3, Warehouse(tmp_path / "crypto.duckdb"))
    warehouse = Warehouse(former.path, parquet=tmp_path / "parquet")
    warehouse.write(batch("c1", price("a", "BTC", 9)))
    assert differences(warehouse) == []


def test_other_columns_are_in_another_folder(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.write(batch("c1", price("a", "BTC", 9)))
    before = script(folder_of(warehouse))
    with connect(folder_of(warehouse)) as reader:
        with monkeypatch.context() as former:
            real = parquet.folder_of
            former.setattr(parquet, "folder_of", lambda *a: real(*a).with_suffix(".0f0f"))
            warehouse.write(batch("c2", price("a", "BTC", 8, "c2")))
        assert reader.execute("SELECT count(*) FROM market_prices").fetchone() == (1,)
    warehouse.write(batch("c3", price("a", "BTC", 7, "c3")))
    assert script(folder_of(warehouse)) == before
    with connect(folder_of(warehouse)) as reader:
        assert reader.execute("SELECT count(*) FROM market_prices").fetchone() == (3,)


def test_what_cannot_be_published_is_kept_told_and_made_up_for(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.write(batch("c1", price("a", "BTC", 9)))
    with monkeypatch.context() as broken:
        broken.setattr(publish.Publication, "_to_disk", _no_room)
        receipt = warehouse.write(batch("c2", price("a", "BTC", 8, "c2")))
    assert receipt.committed_at
    assert "No space left" in str(receipt.unpublished)
    assert warehouse.why_unpublished == str(receipt.unpublished)
    found = alerts.check(warehouse, None, warehouse.path.parent, collecting=True)
    messages = [alert.message for alert in found.opened if alert.kind == "unpublished"]
    assert messages == [str(receipt.unpublished)]
    warehouse.write_rows([finished("r1", "ui_collection", "ui")])
    assert warehouse.why_unpublished is None
    assert differences(warehouse) == []


def _no_room(*_: Any) -> None:
    raise OSError(28, "No space left on device")


def test_what_somebody_changed_in_the_file_is_published_when_told(warehouse: Warehouse) -> None:
    warehouse.write(batch("c1", price("a", "BTC", 9)))
    with warehouse.connect() as connection:
        connection.execute("UPDATE market_prices SET price_usd = 10")
    assert differences(warehouse) == ["market_prices"]
    warehouse.publish()
    assert differences(warehouse) == []


def test_a_folder_of_another_file_is_left_alone(warehouse: Warehouse, tmp_path: Path) -> None:
    warehouse.write(batch("c1", price("a", "BTC", 9)))
    other = Warehouse(tmp_path / "other.duckdb", parquet=warehouse.parquet)
    receipt = other.write(batch("c2", price("a", "ETH", 8, "c2")))
    assert receipt.committed_at
    assert "holds what crypto.duckdb published" in str(receipt.unpublished)
    assert differences(warehouse) == []


def test_a_new_file_under_the_former_s_name_is_published_alone(warehouse: Warehouse) -> None:
    warehouse.write(batch("c1", price("a", "BTC", 9, timestamp=NOW - DAY)))
    warehouse.path.unlink()
    warehouse.write(batch("c2", price("a", "ETH", 8, "c2")))
    assert differences(warehouse) == []
    assert len(plain(warehouse, "market_prices")) == 1


def test_nothing_is_published_while_it_is_off_and_all_of_it_afterwards(
    warehouse: Warehouse,
) -> None:
    off = Warehouse(warehouse.path)
    off.write(batch("c1", price("a", "BTC", 9)))
    assert not folder_of(warehouse).exists()
    warehouse.write(batch("c2", price("a", "BTC", 9, "c2")))
    off.write(batch("c3", price("a", "BTC", 9, "c3")))
    warehouse.write(batch("c4", price("a", "BTC", 9, "c4")))
    assert differences(warehouse) == []
    with pytest.raises(WarehouseError, match="PARQUET=off"):
        crypto_pipeline.connect()


def test_units_are_in_each_file(warehouse: Warehouse) -> None:
    warehouse.write(batch("c1", price("a", "BTC", 9)))
    (file,) = plain(warehouse, "market_prices")
    with duckdb.connect() as memory:
        found = memory.execute(f"SELECT key, value FROM parquet_kv_metadata('{file}')").fetchall()
    said = {key.decode(): value.decode() for key, value in found}
    assert said["table"] == "market_prices"
    assert json.loads(said["units"])["price_usd"] == "USD"


def test_the_script_makes_all_of_it_with_its_meanings(warehouse: Warehouse) -> None:
    warehouse.write(batch("c1", price("a", "BTC", 9)))
    with duckdb.connect() as anybody:
        anybody.execute((folder_of(warehouse) / "views.sql").read_text())
        meaning = "SELECT comment FROM duckdb_columns() WHERE table_name = 'market_prices' AND "
        found = anybody.execute(f"{meaning} column_name = 'price_usd'").fetchone()
        assert found
        assert found[0].endswith("[USD]")
        assert anybody.execute("SELECT symbol FROM market_prices").fetchone() == ("BTC",)
        warehouse.write(batch("c2", price("a", "ETH", 9, "c2")))
        assert anybody.execute("SELECT count(*) FROM market_prices").fetchone() == (2,)


def test_reading_a_table(warehouse: Warehouse) -> None:
    rows = [
        price("a", symbol, 9, timestamp=NOW + timedelta(hours=n))
        for n, symbol in enumerate(("BTC", "ETH", "SOL"))
    ]
    warehouse.write(batch("c1", *rows))
    root = folder_of(warehouse)

    def read(**how: Any) -> list[str]:
        return list(crypto_pipeline.read("market_prices", parquet=root, **how).symbol)

    assert read() == ["BTC", "ETH", "SOL"]
    assert read(since="2026-11-23 13:00") == ["ETH", "SOL"]
    assert read(until=datetime(2026, 11, 23, 13, tzinfo=UTC)) == ["BTC"]
    assert read(since=date(2026, 11, 24)) == []
    assert read(symbols=["eth"]) == ["ETH"]
    assert list(crypto_pipeline.read("coins", parquet=root, columns=["symbol"]).columns) == [
        "symbol"
    ]
    with pytest.raises(ValueError, match="'market_price' is no table; the nearest is market_"):
        crypto_pipeline.read("market_price", parquet=root)
    with pytest.raises(ValueError, match="'prise' is no column of market_prices; the nearest"):
        read(columns=["prise"])
    with pytest.raises(ValueError, match="coins has no time"):
        crypto_pipeline.read("coins", since="2026-11-23", parquet=root)


# Any order of events


@st.composite
def _events(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    names = st.sampled_from(("prices", "candles", "manage", "spool", "killed", "upkeep"))
    return draw(st.lists(st.tuples(names, st.integers(0, 3), st.integers(0, 2)), max_size=5))


def _rows(what: str, name: str, day: int, minute: int) -> list[Row]:
    at = NOW - day * DAY
    if what == "manage":
        alert = Alert(kind="clock", subject="set", severity="warning", message=name, opened_at=at)
        run = finished(f"r{day}", "ui_collection", "ui", status=name[-1])
        return [alert, run.model_copy(update={"created_at": at - minute * DAY})]
    made = [candle(5 * minute, 1 + minute, name), candle(5 * minute + 5, 3, name)]
    return [*made, price("a", f"C{minute}", 9, name, timestamp=at, source_id=name)]


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(events=_events())
def test_whatever_happens_the_published_rows_are_those_of_the_file(
    events: list[tuple[str, int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("any")
    with pytest.MonkeyPatch.context() as hasty:
        hasty.setattr(publish, "SOON_MS", 20)
        _all_of_it_happens(events, folder)


def _all_of_it_happens(events: list[tuple[str, int, int]], folder: Path) -> None:
    warehouse = Warehouse(folder / "any.duckdb", lock_wait_s=0.2, parquet=folder / "parquet")
    warehouse.write(batch("first", price("a", "BTC", 9, "first")))
    for n, (what, day, minute) in enumerate(events):
        name = f"c{n}"
        made = batch(name, *_rows(what, name, day, minute), at=NOW - day * DAY)
        if what == "upkeep":
            keep = {"market_prices": day * DAY, "cached_ohlc": DAY}
            warehouse.prune(keep if minute else {}, NOW + minute * DAY)
        elif what == "manage":
            warehouse.write_rows(_rows(what, name, day, minute))
        elif what == "spool":
            assert warehouse.write(made, hurry=lambda: True).spooled
            warehouse.drain()
        elif what == "killed":
            Warehouse(warehouse.path).write(made)  # committed, and its note is all that is left
            Owed(everything=True).write(warehouse.spool / "unpublished.json")
            warehouse.write_rows(_rows("manage", name, day, minute))
        else:
            assert warehouse.write(made).unpublished is None
        assert differences(warehouse) == []


# Kills, and readers beside a writer


def _collect_and_keep(path: Path, root: Path) -> None:
    warehouse = Warehouse(path, parquet=root)
    warehouse.write(readers.collection("victim", NOW))
    warehouse.prune({}, NOW + 2 * DAY)


def test_a_kill_at_any_moment_leaves_nothing_unpublished(tmp_path: Path) -> None:
    def begun(n: int) -> Warehouse:
        folder = tmp_path / str(n)
        warehouse = Warehouse(folder / "crypto.duckdb", parquet=folder / "parquet")
        warehouse.write(readers.collection("before", NOW))
        return warehouse

    measured = begun(99)
    took = seconds_of(_collect_and_keep, measured.path, measured.parquet)
    at_it = 0
    for n in range(KILLS):
        warehouse = begun(n)
        moment = took * (n + 0.5) / KILLS
        at_it += killed_at(moment, _collect_and_keep, warehouse.path, warehouse.parquet)
        with connect(folder_of(warehouse)) as reader:  # readers find whole collections in any case
            assert reader.execute(readers.TORN).fetchall() == []
        warehouse.write(batch("after", price("a", "BTC", 9, "after")))
        assert differences(warehouse) == []
    assert at_it > KILLS // 2


KILLS = int(os.environ.get("KILLS", "4"))


def test_readers_beside_a_writer_fail_never_and_see_whole_collections(tmp_path: Path) -> None:
    done = readers.beside(tmp_path, collections=4, readers=1, upkeep_every=2)
    assert done["queries"] > 20
    assert done["failed"] == []
    assert done["torn"] == done["spooled"] == 0
    assert differences(done["live"]) == []
