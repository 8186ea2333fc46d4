"""One declaration, every surface: the validator, the DDL, the comments, Dagster, the reference."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from crypto_pipeline import docs
from crypto_pipeline.groups import GROUPS, UI
from crypto_pipeline.orchestration import assets
from crypto_pipeline.tables import (
    DATA,
    MACROS,
    TABLES,
    VIEWS,
    AgreedBar,
    Candle,
    GasPrice,
    MarketPrice,
    Row,
    View,
    origins,
)
from crypto_pipeline.tables.spec import TableError, Text, column
from crypto_pipeline.tables.views import WORKER
from crypto_pipeline.warehouse import Warehouse
from crypto_pipeline.warehouse.layout import migrate

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PRICE = {
    "symbol": "BTC",
    "source_id": "bitcoin",
    "quote": "USD",
    "price_usd": "92000.5",
    "timestamp": NOW,
    "source": "somebody",
    "collection_id": "c",
}
CANDLE = {
    "symbol": "BTC",
    "interval": "5m",
    "timestamp": NOW,
    "open": 1,
    "high": 3,
    "low": 1,
    "close": 2,
    "volume": 5,
    "quote": "USDT",
    "provider": "somebody",
    "fetched_at": NOW,
    "collection_id": "c",
}
NAMES = sorted(TABLES)


def test_there_are_fourteen_collected_tables_and_five_computed_ones() -> None:
    computed = {model.table.name for model in DATA if model.table.computed_from}
    assert len(DATA) - len(computed) == 14
    assert computed == {
        *("cached_market_data", "stablecoin_peg", "agreed_prices", "agreed_bars", "fiat_rates")
    }
    assert {m.table.group for m in DATA} == set(GROUPS)


def test_what_is_computed_says_of_what_in_the_end() -> None:
    assert origins(AgreedBar) == (MarketPrice,)
    assert origins(Candle) == (Candle,)


@pytest.mark.parametrize("name", NAMES)
def test_the_file_has_the_declared_columns_and_comments(name: str, tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "x.duckdb")
    with warehouse.connect() as connection:
        migrate(connection)
        found = connection.execute(
            "SELECT column_name, data_type, is_nullable, comment FROM duckdb_columns() "
            "WHERE table_name = ? ORDER BY column_index",
            [name],
        ).fetchall()
        about = connection.execute(
            "SELECT comment FROM duckdb_tables() WHERE table_name = ?", [name]
        ).fetchone()
    table = TABLES[name].table
    types = {"TIMESTAMPTZ": "TIMESTAMP WITH TIME ZONE"}
    assert [(n, kind.replace('"', ""), nullable) for n, kind, nullable, _ in found] == [
        (c.name, types.get(c.type, c.type), c.nullable) for c in table.columns
    ]
    for (_, _, _, comment), c in zip(found, table.columns, strict=True):
        assert comment.startswith(c.description)
        assert c.unit is None or comment.endswith(f"[{c.unit}]")
    assert about == (table.description,)


@pytest.mark.parametrize("view", VIEWS, ids=lambda v: v.name)
def test_every_column_of_a_view_has_its_meaning(view: View, tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "x.duckdb")
    with warehouse.connect() as connection:
        migrate(connection)
    found = warehouse.query(
        "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = ? "
        "ORDER BY column_index",
        [view.name],
    )
    assert found == [(c.name, c.description) for c in view.columns]
    about = warehouse.query("SELECT comment FROM duckdb_views() WHERE view_name = ?", [view.name])
    assert about == [(view.description,)]
    assert len(warehouse.query(f"SELECT * FROM {view.name}")) == (1 if view in WORKER else 0)
    section = docs.tables().split(f"### {view.name}\n")[1].split("### ")[0]
    assert all(f"| {c.name} | {c.unit or ''} | {c.meaning} |" in section for c in view.columns)


@pytest.mark.parametrize("macro", MACROS, ids=lambda macro: macro.name)
def test_every_macro_has_its_meaning(macro: View, tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "x.duckdb")
    with warehouse.connect() as connection:
        migrate(connection)
    about = "SELECT comment FROM duckdb_functions() WHERE function_name = ?"
    assert warehouse.query(about, [macro.name]) == [(macro.description,)]
    section = docs.tables().split(f"### {macro.signature}\n")[1].split("### ")[0]
    assert macro.description in section
    assert all(f"{name}: {meaning}." in section for name, meaning in macro.parameters.items())


def test_a_view_is_replaced_when_its_declaration_changes_and_only_then(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "x.duckdb")
    with warehouse.connect() as connection:
        migrate(connection)
        before = connection.execute("SELECT view_oid FROM duckdb_views()").fetchall()
        migrate(connection)
        assert connection.execute("SELECT view_oid FROM duckdb_views()").fetchall() == before
        connection.execute("CREATE OR REPLACE VIEW worker_stats AS SELECT 1 AS old")
        connection.execute("UPDATE schema_migrations SET declarations = 'of another release'")
        migrate(connection)
    assert warehouse.query("SELECT total_ui_collections FROM worker_stats") == [(0,)]


@pytest.mark.parametrize("model", DATA, ids=lambda m: m.table.name)
def test_dagster_shows_the_declared_columns(model: type[Row]) -> None:
    shown = assets.column_schema(model).columns
    assert [(c.name, c.type) for c in shown] == [(c.name, c.type) for c in model.table.columns]
    for c, declared in zip(shown, model.table.columns, strict=True):
        assert declared.description in (c.description or "")
        assert c.constraints.other == ([declared.range] if declared.range else [])


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_names_every_column(name: str) -> None:
    section = docs.tables().split(f"### {name}\n")[1].split("### ")[0]
    for c in TABLES[name].table.columns:
        assert re.search(
            rf"\| {c.name} \| {re.escape(c.type)}.*{re.escape(c.description)}", section
        )


def test_a_column_is_declared_in_one_place() -> None:
    package = Path(docs.__file__).parent
    data = {c.name for model in DATA for c in model.table.columns if "_" in c.name}
    unusual = {name for name in data if name.endswith(("_gwei", "_pct", "_24h", "_hashrate"))}
    homes = {"tables", "sources", "exports", "agents"}
    assert len(unusual) > 10
    for file in package.rglob("*.py"):
        place = file.relative_to(package)
        computing = ("agreed_view.py", "agreed_past.py", "pegs.py", "fiat_view.py", "migrations.py")
        if place.parts[0] in homes or place.name in computing:
            continue  # SQL has to name what it computes or asks, and history what it changed
        text = file.read_text(encoding="utf-8")
        for name in unusual:
            assert name not in text, f"{file}: {name}"


def test_numbers_may_come_as_text() -> None:
    assert MarketPrice.model_validate(PRICE).price_usd == 92000.5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("price_usd", 0),
        ("price_usd", -1),
        ("price_usd", float("nan")),
        ("price_usd", float("inf")),
        ("price_usd", "a lot"),
        ("symbol", ""),
        ("symbol", "btc"),
        ("timestamp", 1795435200),
        ("timestamp", "2026-11-23T12:00:00Z"),
        ("timestamp", datetime(2026, 11, 23, 12)),  # noqa: DTZ001
        ("volume_24h", -5),
        ("price_change_24h", -100.1),
        ("no_such_column", 1),
    ],
)
def test_what_breaks_the_declaration_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValidationError, match=name):
        MarketPrice.model_validate({**PRICE, name: value})


@pytest.mark.parametrize(
    "broken",
    [{"high": 1.5}, {"low": 1.5}, {"interval": "7m"}, {"timestamp": NOW.replace(second=7)}],
)
def test_a_candle_that_contradicts_itself_is_refused(broken: dict[str, object]) -> None:
    Candle.model_validate(CANDLE)
    with pytest.raises(ValidationError):
        Candle.model_validate({**CANDLE, **broken})


def test_a_candle_is_finished_when_its_interval_is_over() -> None:
    candle = Candle.model_validate(CANDLE)
    assert not candle.wanted(NOW + timedelta(seconds=299))
    assert candle.wanted(NOW + timedelta(seconds=300))


def test_gas_without_any_price_says_what_is_missing() -> None:
    row = GasPrice(blockchain="ethereum", unit="gwei", timestamp=NOW, source="s", collection_id="c")
    assert row.missing() == "none of gas_price_gwei, standard_gas_price has a value"


def test_a_wrong_declaration_names_the_table_and_the_column() -> None:
    with pytest.raises(TableError, match=r"table odd: no column 'b'"):

        class Odd(Row, table="odd", group=UI, key=("b",)):
            """One odd thing."""

            a: Text = column("What it is")

    with pytest.raises(TableError, match=r"table odd: column 'a' is not declared"):

        class Bare(Row, table="odd", group=UI):
            """One bare thing."""

            a: str


def test_bounds_reach_the_violation_check() -> None:
    bounds = {c.name: c.bounds for c in MarketPrice.table.columns}
    assert bounds["price_usd"] == ((">", 0.0),)
    assert bounds["price_change_24h"] == ((">=", -100.0),)
