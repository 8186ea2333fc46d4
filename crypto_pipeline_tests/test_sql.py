"""The commands sql, shell and publish, as somebody types them."""

import io
import json
from pathlib import Path

import duckdb
import pytest

from crypto_pipeline.cli import main
from crypto_pipeline.warehouse import Warehouse
from crypto_pipeline_tests.test_warehouse import batch, price

QUERY = "SELECT symbol, price_usd, timestamp FROM market_prices ORDER BY symbol"


@pytest.fixture(autouse=True)
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """Two prices, published where the settings say."""
    monkeypatch.delenv("CRYPTO_PIPELINE_PARQUET")
    monkeypatch.setenv("COLUMNS", "200")
    warehouse = Warehouse(tmp_path / "crypto.duckdb", parquet=tmp_path / "crypto_parquet")
    warehouse.write(batch("c1", price("a", "BTC", 92_000), price("a", "ETH", 3_069.5)))
    return warehouse


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def test_a_table_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("sql", QUERY) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["symbol", "price_usd", "timestamp"]
    assert lines[1].split() == ["BTC", "92000.0", "2026-11-23T12:00:00+00:00"]


def test_a_table_ends_and_says_that_there_is_more(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("sql", "FROM range(60)") == 0
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 51
    assert "more than these 50 rows" in said.err
    assert run("sql", "FROM range(60)", "--rows", "60") == 0
    assert len(capsys.readouterr().out.splitlines()) == 61


@pytest.mark.parametrize("guarded", [(), ("--read-only",)])
def test_json_is_a_list_of_objects(
    guarded: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("sql", QUERY, "--json", *guarded) == 0
    assert json.loads(capsys.readouterr().out)[1] == {
        "symbol": "ETH", "price_usd": 3069.5, "timestamp": "2026-11-23T12:00:00+00:00",
    }  # fmt: skip


def test_what_json_has_no_number_for_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("sql", "SELECT 'nan'::DOUBLE AS x, NULL AS y, [1, 2] AS z", "--json") == 0
    assert json.loads(capsys.readouterr().out) == [{"x": "nan", "y": None, "z": [1, 2]}]


def test_csv_has_a_line_of_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("sql", "SELECT symbol, 'a,b' AS t FROM market_prices ORDER BY 1", "--csv") == 0
    assert capsys.readouterr().out == 'symbol,t\nBTC,"a,b"\nETH,"a,b"\n'


def test_rows_go_into_a_parquet_file(tmp_path: Path) -> None:
    file = tmp_path / "out.parquet"
    assert run("sql", f"{QUERY} -- the end;", "--parquet", str(file), "--rows", "1") == 0
    with duckdb.connect() as memory:
        found = memory.execute(f"SELECT symbol FROM '{file}'").fetchall()
    assert found == [("BTC",)]
    assert [path.name for path in tmp_path.glob("out*")] == ["out.parquet"]


def test_a_query_is_read_from_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("SELECT 7 AS seven"))
    assert run("sql", "-", "--csv") == 0
    assert capsys.readouterr().out == "seven\n7\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["SELECT prise_usd FROM market_prices"], 'Candidate bindings: "price_usd"'),
        (["SELECT error('over\n there')", "--json"], "over"),
        (["COPY (SELECT 1) TO 'x.csv'", "--read-only"], "One SELECT"),
        (["FROM read_csv('x.csv')", "--read-only"], "One SELECT"),
        (["SELECT 1", "--read-only", "--parquet", "x.parquet"], "--read-only writes no file"),
    ],
)
def test_sql_that_is_wrong_is_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run("sql", *arguments) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.glob("x.*"))


def test_where_nothing_is_published_it_says_what_to_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CRYPTO_PIPELINE_PARQUET", str(tmp_path / "nowhere"))
    for guarded in ((), ("--read-only",)):
        assert run("sql", QUERY, *guarded) in (1, 2)
        assert "run a collection first" in capsys.readouterr().err


def test_a_prompt_answers_statement_by_statement(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")  # DuckDB's own would take our place
    typed = "SELECT symbol\nFROM market_prices\nORDER BY 1;\nSELECT nonsense;\n.tables\n.quit\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert run("shell") == 0
    said = capsys.readouterr()
    assert said.out.split()[:3] == ["symbol", "BTC", "ETH"]
    assert "agreed_bars" in said.out
    assert len(said.err.splitlines()) == 1


def test_what_was_changed_by_hand_is_published_when_told(
    published: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    with published.connect() as connection:
        connection.execute("UPDATE market_prices SET price_usd = 1")
    assert run("publish") == 0
    assert run("sql", "SELECT DISTINCT price_usd FROM market_prices", "--csv") == 0
    assert capsys.readouterr().out == "price_usd\n1.0\n"
