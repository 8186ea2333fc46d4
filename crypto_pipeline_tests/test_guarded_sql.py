"""A query of somebody who is not trusted: answered when it reads our tables, and else refused."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import duckdb
import pytest

from crypto_pipeline.tables import MACROS, TABLES, VIEWS
from crypto_pipeline.warehouse import Batch, Refused, Warehouse, WarehouseError
from crypto_pipeline.warehouse import guarded_sql as guard
from crypto_pipeline.warehouse.answer import Answer
from crypto_pipeline_tests.hostile_sql import CANARY, COSTLY, outward


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """What is published, and a folder beside it, both with canaries."""
    base = tmp_path_factory.mktemp("guarded")
    root, outside = base / "parquet", base / "outside"
    Warehouse(base / "crypto.duckdb", parquet=root).write(Batch("c1", datetime.now(UTC)))
    outside.mkdir()
    for folder in (root, outside):
        for name in ("canary.txt", "canary.csv"):
            (folder / name).write_text(f"a\n{CANARY}\n")
        (folder / "canary.json").write_text(f'{{"a": "{CANARY}"}}\n')
        with duckdb.connect(str(folder / "canary.duckdb")) as connection:
            connection.execute(f"CREATE TABLE a AS SELECT '{CANARY}' AS a")
            connection.execute(f"COPY a TO '{folder}/canary.parquet'")
    yield root, outside
    shutil.rmtree(base)


def contents(*folders: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes() for f in folders for path in f.rglob("*") if path.is_file()
    }


def test_two_hundred_hostile_queries_are_refused_by_what_they_say(
    folders: tuple[Path, Path],
) -> None:
    queries = outward(*map(str, folders))
    assert len(queries) > 200
    let_through = []
    for sql in queries:
        try:
            guard.require_allowed(sql)
        except (Refused, duckdb.Error, ValueError):
            continue
        let_through.append(sql)
    assert let_through == []


def test_the_settings_alone_keep_every_query_from_what_is_outside(
    folders: tuple[Path, Path],
) -> None:
    before = contents(*folders)
    root, outside = folders
    for sql in outward(str(outside), str(outside)):
        if "sleep_ms" in sql or "/dev/stdin" in sql:
            continue
        connection = duckdb.connect()
        guard._close(connection, root)
        try:
            result = connection.execute(sql)
            rows = str(result.fetchmany(100)) if result else ""
        except (duckdb.Error, UnicodeError):
            continue
        assert CANARY not in rows, sql
    assert contents(*folders) == before


@pytest.mark.parametrize("sql", COSTLY[3:11:3])
def test_what_would_take_all_memory_or_time_ends(folders: tuple[Path, Path], sql: str) -> None:
    ends_in_time(folders, sql)


def ends_in_time(folders: tuple[Path, Path], sql: str) -> None:
    began = monotonic()
    with pytest.raises(WarehouseError):
        guard.ask(folders[0], sql, rows=100, seconds=2)
    assert monotonic() - began < 2 + guard._START_SECONDS + 2


@pytest.mark.hostile
def test_every_hostile_query_in_its_process(folders: tuple[Path, Path]) -> None:
    before = contents(*folders)
    for sql in outward(*map(str, folders)):
        ends_in_time(folders, sql)
    for sql in COSTLY:
        began = monotonic()
        with suppress(Refused):
            guard.ask(folders[0], sql, rows=100, seconds=2)
        assert monotonic() - began < 2 + guard._START_SECONDS + 2, sql
    assert contents(*folders) == before


def test_the_process_cannot_write_even_where_the_query_could(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    script = (
        "import duckdb\nfrom crypto_pipeline.warehouse.guarded_sql import _bound_process\n"
        "_bound_process(5)\nduckdb.execute(\"COPY (SELECT 1) TO 'evil.csv'\")"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "File too large" in done.stderr
    assert not any(path.read_bytes() for path in tmp_path.rglob("evil*"))


def test_no_key_is_in_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COINGECKO_API_KEY", "a-key")
    assert guard._environment().keys() <= {"PATH", "PYTHONPATH", "SYSTEMROOT"}


def test_every_table_view_and_macro_may_be_asked() -> None:
    for name in (*TABLES, *(view.name for view in VIEWS)):
        guard.require_allowed(f"SELECT count(*) FROM {name}")
    for macro in MACROS:
        guard.require_allowed(f"FROM {macro.name}({', '.join('1' for _ in macro.parameters)})")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT DISTINCT ON (symbol) * EXCLUDE (name) FROM coins ORDER BY symbol DESC NULLS LAST",
        "SELECT symbol FROM coins ORDER BY ALL LIMIT 10 OFFSET 2",
        "SELECT symbol FROM coins LIMIT 10%",
        (
            "SELECT CAST(rank AS DECIMAL(9, 2)), [rank]::INTEGER[], {'a': rank}::STRUCT(a BIGINT), "
            "rank::VARCHAR::ENUM('1'), MAP {'a': 1} FROM coins"
        ),
        "WITH a AS MATERIALIZED (FROM coins), b AS (FROM a) FROM a UNION ALL BY NAME FROM b",
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION SELECT n + 1 FROM r WHERE n < 3) FROM r",
        (
            "FROM market_prices AS p ASOF JOIN agreed_prices AS a "
            "ON p.symbol = a.symbol AND p.timestamp >= a.timestamp"
        ),
        (
            "SELECT sum(rank) OVER w, lag(rank) OVER w, rank() OVER w FROM coins "
            "WINDOW w AS (PARTITION BY source ORDER BY rank ROWS 3 PRECEDING)"
        ),
        "SELECT symbol, unnest(rejected) FROM cached_market_data, unnest(rejected) AS t(u)",
        (
            "SELECT CASE WHEN rank BETWEEN 1 AND 2 THEN 'a' ELSE name END, rank IN (SELECT 1), "
            "name LIKE 'a%', name ILIKE '%', rank = ANY (SELECT 1), name[1:2], COLUMNS('r.*') "
            "FROM coins TABLESAMPLE 10% GROUP BY ALL"
        ),
        (
            "SELECT date_trunc('day', timestamp), now() - INTERVAL 1 DAY, current_date FROM coins "
            "JOIN market_prices USING (symbol) GROUP BY CUBE (1, 2) HAVING count(*) > 1"
        ),
        "PIVOT coins ON symbol IN ('BTC', 'ETH') USING first(name)",
        "DESCRIBE FROM coins",
        "SUMMARIZE coins",
        "SHOW TABLES",
        "DESCRIBE coins",
        "VALUES (1, 'a')",
        "TABLE coins",
    ],
)
def test_what_analysts_write_is_let_through(sql: str) -> None:
    guard.require_allowed(sql)


def test_an_answer_says_its_types_and_that_there_is_more(folders: tuple[Path, Path]) -> None:
    sql = (
        "WITH a AS (FROM range(5) AS t(n)) SELECT n, DATE '2026-11-27' AS day, 1.50 AS price, "
        "[n] AS list, row_number() OVER (ORDER BY n) AS place FROM a ORDER BY n"
    )
    assert guard.ask(folders[0], sql, rows=2) == Answer(
        ["n", "day", "price", "list", "place"],
        ["BIGINT", "DATE", "DECIMAL(3,2)", "BIGINT[]", "BIGINT"],
        [[0, "2026-11-27", "1.50", [0], 1], [1, "2026-11-27", "1.50", [1], 2]],
        truncated=True,
    )
    assert guard.ask(folders[0], "FROM range(2)", rows=2).truncated is False


def test_a_text_without_end_is_not_even_parsed(folders: tuple[Path, Path]) -> None:
    for sql in ("SELECT " + "x" * guard.MAX_TEXT, "SELECT 1\0"):
        with pytest.raises(Refused, match="at most"):
            guard.ask(folders[0], sql)


def test_a_mistake_is_told_and_nothing_published_too(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(Refused, match="nonsense"):
        guard.ask(folders[0], "SELECT nonsense FROM coins")
    with pytest.raises(WarehouseError, match="nothing is published"):
        guard.ask(tmp_path, "SELECT 1")
