"""Assets of a user's own over the tables: what they get as inputs, and the example that is told of
in the documents, run as a user runs it.
"""

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pytest

from crypto_pipeline import docs
from crypto_pipeline.definitions import build_definitions
from crypto_pipeline.orchestration.inputs import KEY, InputError, Published, published_tables
from crypto_pipeline.tables import DATA, GasPrice
from crypto_pipeline.warehouse import Warehouse, WarehouseError
from crypto_pipeline_tests.test_warehouse import batch, price

NOW = datetime.now(UTC)
MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
DAYS = dg.DailyPartitionsDefinition(start_date="2026-11-01")


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of what is published: prices of two days and of now."""
    folder = tmp_path / "parquet"
    monkeypatch.setenv("CRYPTO_PIPELINE_PARQUET", str(folder))
    warehouse = Warehouse(tmp_path / "crypto.duckdb", parquet=folder)
    moments = [
        MONDAY - timedelta(seconds=1),
        MONDAY,
        MONDAY + timedelta(hours=23.9),
        MONDAY + timedelta(days=1),
        NOW,
    ]
    rows = [
        price("alpha", symbol, usd, f"c{usd}", timestamp=at)
        for usd, at in enumerate(moments, 1)
        for symbol in ("BTC", "ETH")
    ]
    gas = [
        GasPrice(
            blockchain=chain, unit="gwei", standard_gas_price=gwei, source="alpha",
            collection_id="c1", timestamp=NOW,
        )
        for chain, gwei in (("ethereum", 2.0), ("bsc", 1.0))
    ]  # fmt: skip
    assert warehouse.write(batch("c1", *rows, *gas)).problem is None
    return folder


def given(
    metadata: dict[str, Any] | None = None,
    kind: Any = pd.DataFrame,
    table: str = "market_prices",
    **partition: Any,
) -> Any:
    """What an asset gets whose input has this metadata and annotation."""
    got: list[Any] = []

    def mine(rows: Any) -> None:
        got.append(rows)

    mine.__annotations__["rows"] = kind
    days = DAYS if partition else None
    made = dg.asset(ins={"rows": dg.AssetIn(table, metadata=metadata)}, partitions_def=days)(mine)
    dg.materialize([*published_tables(table), made], resources={KEY: Published()}, **partition)
    return got[0]


def prices(rows: Any) -> list[float]:
    return list(dict.fromkeys(rows["price_usd"]))


def test_an_input_is_what_is_published_of_its_table_in_time(published: Path) -> None:
    rows = given()
    assert isinstance(rows, pd.DataFrame)
    assert prices(rows) == [1, 2, 3, 4, 5]
    assert rows["timestamp"].is_monotonic_increasing
    assert str(rows["timestamp"].dt.tz) == "UTC"
    assert set(rows.columns) >= {"symbol", "source", "volume_24h"}
    assert len(given(kind=Any)) == len(rows) == 10


def test_an_input_is_chosen_by_its_metadata(published: Path) -> None:
    rows = given({"columns": ["symbol", "price_usd"], "symbols": ["eth"]})
    assert list(rows.columns) == ["symbol", "price_usd"]
    assert set(rows["symbol"]) == {"ETH"}
    assert prices(given({"within": "1h"})) == [5]


def test_a_partition_gets_the_rows_of_its_day(published: Path) -> None:
    assert prices(given(partition_key="2026-11-23")) == [2, 3]
    assert prices(given(partition_key="2026-11-22")) == [1]
    assert len(given({"columns": ["symbol"]}, partition_key="2026-11-20")) == 0


@pytest.mark.parametrize(
    "days", [None, dg.StaticPartitionsDefinition(["2026-11-23"])], ids=["none", "not by time"]
)
def test_an_asset_without_days_of_its_own_gets_all(
    published: Path, days: dg.PartitionsDefinition[str] | None
) -> None:
    """In a run that has a partition as well: for another asset's sake, or of another sort."""
    got = []

    @dg.asset(partitions_def=days)
    def mine(market_prices: pd.DataFrame) -> None:
        got.append(market_prices)

    @dg.asset(partitions_def=DAYS)
    def daily() -> None: ...

    made: list[dg.AssetSpec | dg.AssetsDefinition] = [*published_tables("market_prices"), mine]
    made += [] if days else [daily]
    dg.materialize(made, resources={KEY: Published()}, partition_key="2026-11-23")
    assert prices(got[0]) == [1, 2, 3, 4, 5]


def test_a_view_is_an_input_too(published: Path) -> None:
    assert set(given(table="gas_by_hour").columns) >= {"blockchain"}


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"kind": str}, r"input market_prices: is a pandas.DataFrame, not <class 'str'>"),
        ({"metadata": {"columns": ["prize_usd"]}}, r"market_prices: 'prize_usd' .*'?price_usd"),
        ({"metadata": {"cols": []}}, r"metadata \['cols'\]: choose \['columns', 'symbols', 'w"),
        ({"metadata": {"within": "a while"}}, r"within: 'a while' is no span"),
        (
            {"metadata": {"within": "1d"}, "partition_key": "2026-11-23"},
            "within: its partition says already",
        ),
    ],
)
def test_what_cannot_be_given_is_named(published: Path, about: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        given(**about)


def test_where_nothing_is_published_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(WarehouseError, match="CRYPTO_PIPELINE_PARQUET=off"):
        given()
    monkeypatch.setenv("CRYPTO_PIPELINE_PARQUET", str(tmp_path / "none"))
    with pytest.raises(WarehouseError, match="run a collection first"):
        given()


def test_nobody_writes_what_is_published(published: Path) -> None:
    @dg.asset(io_manager_key=KEY)
    def market_prices() -> int:
        return 1

    with pytest.raises(InputError, match="asset market_prices: collections alone write"):
        dg.materialize([market_prices], resources={KEY: Published()})


def test_a_table_that_there_is_not_is_named_at_import() -> None:
    assert {spec.key.to_user_string() for spec in published_tables()} == {
        model.table.name for model in DATA
    }
    with pytest.raises(InputError, match="'gas_price' is no table or view; the nearest is gas_pri"):
        published_tables("gas_price")


def test_an_asset_beside_the_tables_in_our_own_definitions_gets_them(published: Path) -> None:
    @dg.asset
    def mine(market_prices: pd.DataFrame) -> int:
        return len(market_prices)

    both = dg.Definitions.merge(build_definitions(), dg.Definitions(assets=[mine]))
    job = both.resolve_implicit_global_asset_job_def()
    done = job.execute_in_process(asset_selection=[dg.AssetKey("mine")])
    assert done.output_for_node("mine") == 10


# The example

EXAMPLE = docs.ROOT / "examples" / "own_assets"


def test_the_example_makes_its_assets(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "yes")

    def materialize(*arguments: str) -> None:
        command = (
            *(sys.executable, "-m", "dagster", "asset", "materialize"),
            *("-f", str(EXAMPLE / "own_assets.py"), *arguments),
        )
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    for _ in range(2):
        materialize("--select", "price_ranges,cheapest_gas", "--partition", "2026-11-23")
    with duckdb.connect(str(tmp_path / "own_assets.duckdb"), read_only=True) as own:
        ranges = own.execute("SELECT day::VARCHAR, symbol, low, high, sources FROM price_ranges")
        assert sorted(ranges.fetchall()) == [
            ("2026-11-23", "BTC", 2.0, 3.0, 1),
            ("2026-11-23", "ETH", 2.0, 3.0, 1),
        ]
        assert own.execute("SELECT blockchain FROM cheapest_gas").fetchall() == [
            ("bsc",),
            ("ethereum",),
        ]


def test_the_example_s_page_tells_code_that_loads() -> None:
    (code,) = re.findall(r"```python\n(.+?)```", (EXAMPLE / "README.md").read_text(), re.DOTALL)
    told: dict[str, Any] = {}
    exec(code, told)
    graph = told["defs"].resolve_asset_graph()
    assert graph.get(dg.AssetKey("mine")).parent_keys == {dg.AssetKey("funding_rates")}
