"""Files of former releases: opened, brought to today's layout, and none of their rows lost."""

import re
import signal
import subprocess
import sys
import textwrap
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from crypto_pipeline.addresses import article_key
from crypto_pipeline.monitoring import alerts, status
from crypto_pipeline.tables import TABLES, AgreedBar, AgreedPrice, CorrectedCandle, StablecoinPeg
from crypto_pipeline.tables.outcomes import SKIPS
from crypto_pipeline.warehouse import MigrationFailed, Warehouse
from crypto_pipeline.warehouse.migrations import VERSION
from crypto_pipeline_tests.test_warehouse import NOW, article, batch, count, outcome, price

FORMER = Path(__file__).parent / "former_files"

SKIP_OF_ENDPOINT = {
    "bad.market_prices": "resting",
    "keyed.market_prices": "no_key",
    "monthly.market_prices": "over_quota",
    "slow.market_prices.b": "slow_host",
    "unlisted.market_prices": "unlisted",
    "wait.market_prices": "told_to_wait",
}
"""Of the endpoints that layout 1 skipped in one way only."""


PAST = (StablecoinPeg, AgreedPrice, AgreedBar, CorrectedCandle)
"""Tables that came with layout 4."""


@pytest.fixture
def former(warehouse: Warehouse) -> Warehouse:
    """A file of layout 1."""
    return of_layout(1, warehouse)


@pytest.fixture
def second(warehouse: Warehouse) -> Warehouse:
    """A file of layout 2."""
    return of_layout(2, warehouse)


def of_layout(number: int, warehouse: Warehouse) -> Warehouse:
    with duckdb.connect(str(warehouse.path)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute((FORMER / f"layout_{number}.sql").read_text(encoding="utf-8"))
    return warehouse


def rows(warehouse: Warehouse) -> dict[str, int]:
    names = [n for n in TABLES if n not in ("schema_migrations", "coins", "agreed_ranges")]
    here = {n for (n,) in warehouse.query("SELECT table_name FROM duckdb_tables()")}
    return {name: count(warehouse, name) if name in here else 0 for name in names}


@pytest.mark.parametrize("number", range(1, VERSION))
def test_a_former_file_keeps_its_rows_and_has_today_s_layout(
    warehouse: Warehouse, number: int
) -> None:
    former = of_layout(number, warehouse)
    before = rows(former)
    former.write_rows([])
    former.write_rows([outcome("after")])
    assert rows(former) == before | {"data_collections": before["data_collections"] + 1}
    for name, model in TABLES.items():
        columns = former.query(f"SELECT column_name FROM (DESCRIBE {name})")
        assert {c for (c,) in columns} == set(model.table.column_names)
    versions = former.query("SELECT version FROM schema_migrations ORDER BY 1")
    assert versions == [(n,) for n in range(1, VERSION + 1)]


def test_who_said_a_row_of_layout_3_is_in_the_same_column_everywhere(warehouse: Warehouse) -> None:
    third = of_layout(3, warehouse)
    third.write_rows([outcome("after")])
    for table, former in (
        ("funding_rates", "exchange"),
        ("open_interest", "exchange"),
        ("cached_ohlc", "provider"),
    ):
        assert third.query(f"SELECT source, {former} FROM {table}") == [("alpha", "alpha")]


def test_prices_of_layout_3_have_no_rate_and_go_on(warehouse: Warehouse) -> None:
    third = of_layout(3, warehouse)
    later = {"timestamp": NOW + timedelta(minutes=15), "source_id": "btc"}
    said = [price(s, "BTC", 102, "c3", **later) for s in ("good", "fine", "well")]
    assert third.write(batch("c3", *said)).problem is None
    before = "SELECT DISTINCT quoted, quote_usd, first_seen_at FROM market_prices WHERE {} <> 'c3'"
    assert third.query(before.format("collection_id")) == [(None, None, None)]
    assert third.query("SELECT price_usd, voices FROM agreed_prices WHERE symbol = 'BTC'") == [
        (102, 3)
    ]


def test_a_skip_of_layout_1_gets_its_kind(former: Warehouse) -> None:
    former.write_rows([outcome("after")])
    found = former.query("SELECT endpoint, skip FROM data_collections WHERE outcome = 'skipped'")
    assert {skip for _, skip in found} == set(SKIPS) - {
        *("stepped_aside", "out_of_time", "interrupted")  # of later releases
    }
    kinds: dict[str, set[Any]] = {}
    for endpoint, skip in found:
        kinds.setdefault(endpoint, set()).add(skip)
    assert {endpoint: kinds[endpoint] for endpoint in SKIP_OF_ENDPOINT} == {
        endpoint: {skip} for endpoint, skip in SKIP_OF_ENDPOINT.items()
    }
    assert kinds["third.market_prices"] == {"pool_answered", "pool_not_due"}
    assert kinds["capped.market_prices"] == {"over_quota", "not_due"}
    asked = former.query("SELECT count(skip) FROM data_collections WHERE outcome <> 'skipped'")
    assert asked == [(0,)]


def test_a_rejected_voice_of_layout_1_is_a_struct(former: Warehouse) -> None:
    former.write_rows([outcome("after")])
    off = {"source": "mad", "price_usd": 50.0, "off_pct": -50.0, "why": "outlier"}
    assert former.query("SELECT symbol, rejected FROM cached_market_data ORDER BY 1") == [
        ("C0", [off]),
        ("C1", []),
    ]


def test_a_collection_that_waits_since_layout_1_gets_its_kinds_too(former: Warehouse) -> None:
    waiting = former.spool / "20261126T135900000000~waited.collection"
    waiting.mkdir(parents=True)
    with former.connect() as connection:
        connection.execute(
            "COPY (SELECT '' AS _endpoint, * REPLACE ('waited' AS collection_id) "
            "FROM data_collections WHERE endpoint = 'keyed.market_prices') "
            f"TO '{waiting / 'data_collections.parquet'}' (FORMAT parquet)"
        )
    assert former.write(batch("new", price("alpha", "BTC", 1, "new"))).drained == 1
    assert former.query(
        "SELECT outcome, skip FROM data_collections WHERE collection_id = 'waited'"
    ) == [("skipped", "no_key")]


def test_an_agreed_price_of_layout_2_is_called_so(second: Warehouse) -> None:
    second.write_rows([outcome("after")])
    assert second.query("SELECT symbol, state, price_usd FROM cached_market_data") == [
        ("C0", "agreed", 100.0)
    ]
    filled_in = second.query(
        "SELECT column_name FROM duckdb_columns() "
        "WHERE table_name = 'cached_market_data' AND NOT is_nullable ORDER BY 1"
    )
    assert filled_in == [("fetched_at",), ("rejected",), ("sources",), ("symbol",)]


def test_a_coin_of_a_file_of_layout_2_can_be_disputed(second: Warehouse) -> None:
    rows = [price(s, "C9", usd, "new") for s, usd in (("a", 1), ("b", 9))]
    assert second.write(batch("new", *rows)).problem is None
    assert second.query("SELECT state, price_usd FROM cached_market_data WHERE symbol = 'C9'") == [
        ("disputed", None)
    ]


def test_what_a_user_made_of_a_table_of_layout_2_stays(second: Warehouse) -> None:
    with second.connect() as connection:
        connection.execute("ALTER TABLE cached_market_data ADD COLUMN mine INTEGER DEFAULT 7")
        connection.execute("CREATE INDEX by_symbol ON cached_market_data (symbol)")
    second.write_rows([])
    assert second.query("SELECT mine FROM cached_market_data") == [(7,)]
    assert second.query("SELECT index_name FROM duckdb_indexes()") == [("by_symbol",)]


def test_articles_of_layout_2_get_the_key_that_new_ones_have(second: Warehouse) -> None:
    urls = second.query("SELECT url FROM news_articles ORDER BY url")
    second.write_rows([outcome("after")])
    assert second.query("SELECT url FROM news_articles ORDER BY url") == urls
    stored = second.query("SELECT url, article_key FROM news_articles")
    assert len(stored) == 5
    assert all(key == article_key(url) for url, key in stored)


def test_articles_of_layout_2_do_not_come_again_as_new(second: Warehouse) -> None:
    again = [
        "https://www.paper.example/café/",
        "https://paper.example/rally",
        "https://paper.example/view?a=1&id=7&utm_source=rss",
        "https://paper.example/x?id=1",
        "https://paper.example/gas?amp=1",
    ]
    receipt = second.write(batch("after", *(article(url) for url in again)))
    assert receipt.of("news_articles") == 0
    receipt = second.write(batch("later", article("https://paper.example/new", "later")))
    assert receipt.of("news_articles") == 1


def test_articles_that_wait_since_layout_2_are_compared_by_their_keys(second: Warehouse) -> None:
    waiting = second.spool / "20261126T135900000000~waited.collection"
    waiting.mkdir(parents=True)
    with second.connect() as connection:
        connection.execute(
            "COPY (SELECT 'paper.x' AS _endpoint, * REPLACE ('waited' AS collection_id, "
            "CASE WHEN url LIKE '%rally%' THEN 'https://paper.example/rally' "
            "ELSE url || '-more' END AS url) FROM news_articles) "
            f"TO '{waiting / 'news_articles.parquet'}' (FORMAT parquet)"
        )
    assert second.write(batch("new", price("alpha", "BTC", 1, "new"))).drained == 1
    waited = second.query(
        "SELECT url, article_key FROM news_articles WHERE collection_id = 'waited'"
    )
    assert len(waited) == 4
    assert all(key == article_key(url) for url, key in waited)


def test_a_former_file_answers_before_it_is_brought_up_to_date(former: Warehouse) -> None:
    memory = former.remember()
    assert memory.health["bad.market_prices"].consecutive_failures == 3
    assert memory.usage
    assert status.read_facts(former).trouble is None
    assert alerts.check(former, None, former.path.parent, collecting=True).opened == []


def test_a_file_is_whole_when_the_process_dies_right_behind_the_migration(
    former: Warehouse,
) -> None:
    before = rows(former)
    program = """
        import os, signal, sys
        from pathlib import Path
        from crypto_pipeline.warehouse import Warehouse
        from crypto_pipeline.warehouse.load import load_rows
        with Warehouse(Path(sys.argv[1])).connect() as connection:
            load_rows(connection, {})
            os.kill(os.getpid(), signal.SIGKILL)  # committed, and not yet in the file
    """
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(former.path)], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert former.path.with_name(former.path.name + ".wal").exists()
    assert former.query("SELECT max(version) FROM schema_migrations") == [(VERSION,)]
    assert rows(former) == before
    assert former.query("SELECT unnest(rejected).source FROM cached_market_data") == [("mad",)]


def test_what_a_user_made_of_a_changed_table_stays(former: Warehouse) -> None:
    with former.connect() as connection:
        connection.execute("ALTER TABLE cached_market_data ADD COLUMN mine INTEGER DEFAULT 7")
        connection.execute("CREATE INDEX by_symbol ON cached_market_data (symbol)")
        connection.execute("CREATE VIEW prices AS SELECT symbol, price_usd FROM cached_market_data")
        connection.execute("UPDATE cached_market_data SET rejected = ['odd'] WHERE symbol = 'C1'")
    former.write_rows([])
    assert former.query("SELECT mine FROM cached_market_data") == [(7,), (7,)]
    assert former.query("SELECT index_name FROM duckdb_indexes()") == [("by_symbol",)]
    assert len(former.query("FROM prices")) == 2
    odd = {"source": "odd", "price_usd": None, "off_pct": None, "why": "outlier"}
    assert former.query("SELECT rejected FROM cached_market_data WHERE symbol = 'C1'") == [([odd],)]


def test_what_stands_in_the_way_is_named_and_no_collection_is_lost(former: Warehouse) -> None:
    with former.connect() as connection:
        connection.execute("ALTER TABLE data_collections ADD COLUMN skip INTEGER")
    for collection in ("first", "second"):
        problem = former.write(batch(collection, price("alpha", "BTC", 1, collection))).problem
        assert isinstance(problem, MigrationFailed)
        assert re.search(r"has layout 1 and cannot.*of your own.*rename", str(problem))
    assert len(former.waiting()) == 2
    assert former.why_waiting == str(problem)
    with former.connect() as connection:
        connection.execute("ALTER TABLE data_collections RENAME skip TO my_skip")
    assert former.write(batch("third", price("alpha", "BTC", 1, "third"))).drained == 2
