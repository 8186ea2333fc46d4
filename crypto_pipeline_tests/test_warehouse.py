"""The DuckDB file: layout, writing once, the spool, the lock. Runs on every DuckDB we support."""

import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from crypto_pipeline.addresses import article_key
from crypto_pipeline.tables import (
    Candle,
    Coin,
    DataCollection,
    MarketPrice,
    NewsArticle,
    Provider,
    RateLimitUsage,
    Row,
    SourceHealth,
    WorkerRun,
)
from crypto_pipeline.warehouse import (
    Batch,
    Damaged,
    Locked,
    Memory,
    TooNew,
    Warehouse,
    WarehouseError,
    layout,
    load,
    migrations,
)
from crypto_pipeline.warehouse.migrations import Migration

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def price(
    source: str, symbol: str, usd: float, collection: str = "c1", **about: Any
) -> MarketPrice:
    values = {
        "symbol": symbol,
        "source_id": symbol.lower(),
        "quote": "USD",
        "price_usd": usd,
        "timestamp": NOW,
        "source": source,
        "collection_id": collection,
    }
    return MarketPrice.model_validate({**values, **about})


def outcome(collection: str, endpoint: str = "alpha.market_prices") -> DataCollection:
    return DataCollection(
        endpoint=endpoint,
        source="alpha",
        feeds="market_prices",
        collection_type="ui",
        outcome="ok",
        records=1,
        rows=1,
        left_out=0,
        rejects=0,
        stored=0,
        bytes_received=10,
        started_at=NOW,
        finished_at=NOW,
        collection_id=collection,
    )


def article(url: str, collection: str = "c1", at: datetime = NOW) -> NewsArticle:
    return NewsArticle(
        title="News",
        url=url,
        article_key=article_key(url),
        source="paper",
        created_at=at,
        collection_id=collection,
    )


def candle(minute: int, close: float = 2, collection: str = "c1") -> Candle:
    return Candle.model_validate(
        {
            "symbol": "BTC",
            "interval": "5m",
            "timestamp": NOW + timedelta(minutes=minute),
            "open": 1,
            "high": 9,
            "low": 1,
            "close": close,
            "volume": 1.5,
            "quote": "USD",
            "provider": "alpha",
            "fetched_at": NOW,
            "collection_id": collection,
        }
    )


def batch(collection: str, *rows: Row, at: datetime = NOW, endpoint: str = "alpha.x") -> Batch:
    made = Batch(collection, at)
    made.add(endpoint, rows)
    made.add("", [outcome(collection, endpoint)])
    return made


@contextmanager
def held(path: Path, read_only: bool = False) -> Iterator[None]:
    """Another program that keeps the file open."""
    program = f"""
        import duckdb, sys
        c = duckdb.connect({str(path)!r}, read_only={read_only})
        print("open", flush=True)
        sys.stdin.read()
    """
    other = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert other.stdout
    assert other.stdin
    assert other.stdout.readline() == b"open\n"
    try:
        yield
    finally:
        other.stdin.close()
        other.stdout.close()
        other.wait(10)


def count(warehouse: Warehouse, table: str) -> int:
    return int(warehouse.query(f"SELECT count(*) FROM {table}")[0][0])


# Writing


def test_a_batch_is_written_with_its_types(warehouse: Warehouse) -> None:
    row = price("alpha", "BTC", 92000.123456789, volume_24h="1234.5678", source_at=NOW)
    warehouse.write(batch("c1", row))
    found = warehouse.query("SELECT symbol, price_usd, volume_24h, timestamp FROM market_prices")
    assert found == [("BTC", 92000.123456789, 1235.0, NOW)]


def test_a_collection_written_twice_adds_nothing(warehouse: Warehouse) -> None:
    first = warehouse.write(batch("c1", price("alpha", "BTC", 1), article("https://a/1")))
    again = warehouse.write(batch("c1", price("alpha", "BTC", 1), article("https://a/2")))
    assert not first.repeated
    assert again.repeated
    assert count(warehouse, "market_prices") == count(warehouse, "news_articles") == 1


def test_a_key_twice_in_a_batch_is_written_once(warehouse: Warehouse) -> None:
    warehouse.write(batch("c1", price("alpha", "BTC", 1), price("alpha", "BTC", 1)))
    assert count(warehouse, "market_prices") == 1


def test_news_are_inserted_once(warehouse: Warehouse) -> None:
    warehouse.write(batch("c1", article("https://a/1"), article("https://a/2")))
    later = NOW + timedelta(days=40)
    receipt = warehouse.write(
        batch("c2", *(article(f"https://a/{n}", "c2", later) for n in (2, 3)))
    )
    assert receipt.of("news_articles") == 1
    assert count(warehouse, "news_articles") == 3


def test_the_account_says_how_many_rows_were_new(warehouse: Warehouse) -> None:
    warehouse.write(batch("c1", article("https://a/1")))
    warehouse.write(batch("c2", article("https://a/1", "c2"), article("https://a/2", "c2")))
    found = warehouse.query("SELECT collection_id, stored FROM data_collections ORDER BY 1")
    assert found == [("c1", 1), ("c2", 1)]


def test_an_endpoint_that_said_nothing_new_stored_nothing(warehouse: Warehouse) -> None:
    warehouse.write(batch("c1", article("https://a/1")))
    receipt = warehouse.write(batch("c2", article("https://a/1", "c2")))
    assert receipt.of("news_articles") == 0
    assert receipt.violations == {}
    found = warehouse.query('SELECT "rows", stored FROM data_collections ORDER BY collection_id')
    assert found == [(1, 1), (1, 0)]


def test_what_an_endpoint_stored_is_that_of_all_its_tables(warehouse: Warehouse) -> None:
    rows = [price("alpha", "BTC", 1), price("alpha", "ETH", 1), article("https://a/1")]
    warehouse.write(batch("c1", *rows))
    assert warehouse.query("SELECT stored FROM data_collections") == [(3,)]


def test_rows_without_a_collection_of_prices_make_no_agreed_view(warehouse: Warehouse) -> None:
    receipt = warehouse.write(batch("c1", candle(0)))
    assert set(receipt.stored) == {"cached_ohlc", "data_collections"}
    assert receipt.committed_at
    assert (receipt.failed, receipt.problem, receipt.drained) == (None, None, 0)
    assert (receipt.spooled, receipt.repeated) == (False, False)


def test_a_collection_s_use_of_a_quota_is_added_to_that_of_others(warehouse: Warehouse) -> None:
    def used(calls: int, size: int, day: datetime = NOW) -> RateLimitUsage:
        return RateLimitUsage(
            source="alpha", period="day", window_start=day, calls=calls, bytes_received=size
        )

    warehouse.write(batch("c1", used(3, 100)))
    warehouse.write(batch("c2", used(4, 50), used(1, 7, NOW + timedelta(days=1))))
    found = warehouse.query("SELECT calls, bytes_received FROM rate_limit_usage ORDER BY 1")
    assert found == [(1, 7), (7, 150)]


def test_the_agreed_view_is_of_the_newest_price_that_is_not_far_ahead(
    warehouse: Warehouse,
) -> None:
    now = datetime.now(UTC)
    for n, minutes in enumerate((-20, 0)):
        moment = now + timedelta(minutes=minutes)
        rows = [price("alpha", "BTC", 100 + n, f"c{n}", timestamp=moment)]
        rows.append(price("alpha", "NEW", 9, f"c{n}", timestamp=moment + timedelta(days=2)))
        warehouse.write(batch(f"c{n}", *rows, at=moment))
    found = warehouse.query("SELECT symbol, price_usd, fetched_at FROM cached_market_data")
    assert ("BTC", 101, now) in found


def test_an_answer_of_any_size_is_written(warehouse: Warehouse) -> None:
    long = article("https://a/1").model_copy(update={"title": "x" * 34 * 2**20})
    assert not warehouse.write(batch("c1", long)).spooled
    assert warehouse.query("SELECT len(title) FROM news_articles") == [(34 * 2**20,)]


def test_candles_of_two_months_in_one_answer_are_each_written_once(warehouse: Warehouse) -> None:
    long_ago = -40 * 24 * 60
    for n in (1, 2):
        name = f"c{n}"
        warehouse.write(batch(name, candle(long_ago, 1 + n, name), candle(0, 1 + n, name)))
    assert warehouse.query("SELECT close FROM cached_ohlc") == [(3,), (3,)]


def test_a_candle_is_replaced_only_when_it_changed(warehouse: Warehouse) -> None:
    warehouse.write(batch("c1", *(candle(n) for n in (0, 5, 10))))
    receipt = warehouse.write(
        batch("c2", candle(5, 2, "c2"), candle(10, 3, "c2"), candle(15, 4, "c2"))
    )
    assert receipt.of("cached_ohlc") == 2
    found = warehouse.query("SELECT close, collection_id FROM cached_ohlc ORDER BY timestamp")
    assert found == [(2.0, "c1"), (2.0, "c1"), (3.0, "c2"), (4.0, "c2")]


def test_a_replaced_table_forgets_what_is_gone(warehouse: Warehouse) -> None:
    def provider(name: str) -> Provider:
        return Provider(
            source=name,
            base_url="https://x",
            documentation="https://x",
            key_required=False,
            tables=["market_prices"],
            endpoints=1,
        )

    warehouse.write(batch("c1", provider("alpha"), provider("beta")))
    warehouse.write(batch("c2", provider("beta"), provider("gamma")))
    assert warehouse.query("SELECT source FROM providers ORDER BY 1") == [("beta",), ("gamma",)]


def test_rows_outside_their_bounds_are_told(warehouse: Warehouse) -> None:
    wrong = MarketPrice.model_construct(
        **{**price("alpha", "BTC", 1).model_dump(), "price_usd": -5.0}
    )
    receipt = warehouse.write(batch("c1", wrong))
    assert receipt.violations == {"market_prices": "price_usd > 0: 1 rows"}
    worse = wrong.model_copy(update={"volume_24h": -1.0, "collection_id": "c2"})
    told = warehouse.write(batch("c2", worse, price("alpha", "ETH", 1, "c2"))).violations
    assert told == {"market_prices": "price_usd > 0: 1 rows; volume_24h >= 0: 1 rows"}
    assert warehouse.write(batch("c3", price("alpha", "BTC", 1, "c3"))).violations == {}


def test_totals_are_told(warehouse: Warehouse) -> None:
    warehouse.write(batch("c1", price("alpha", "BTC", 1)))
    receipt = warehouse.write(batch("c2", price("alpha", "BTC", 2, "c2")))
    assert receipt.totals["market_prices"] == 2


# What the sensors record


def finished(run: str, job: str, kind: str | None, status: str = "SUCCESS") -> WorkerRun:
    return WorkerRun(
        run_id=run,
        job=job,
        collection_type=kind,
        status=status,
        launched_by="manual",
        created_at=NOW,
        started_at=NOW,
        finished_at=NOW + timedelta(seconds=3),
        duration_s=3,
    )


def collected(run: str, kind: str, **stored: int) -> Batch:
    """The account of a collection that brought so many new rows to these tables."""
    made = Batch(run, NOW)
    for table, rows in stored.items():
        endpoint = f"alpha.{table}"
        about = outcome(run, endpoint).model_copy(
            update={"feeds": table, "collection_type": kind, "records": rows, "rows": rows}
        )
        made.add("", [about])
        if table == "news_articles":
            made.add(endpoint, [article(f"https://{run}/{n}", run) for n in range(rows)])
        else:
            made.add(endpoint, [price("alpha", f"C{n}", 1, run) for n in range(rows)])
    return made


def test_runs_are_recorded_once_with_what_they_brought(warehouse: Warehouse) -> None:
    warehouse.write(collected("c1", "ui", market_prices=4))
    warehouse.write(collected("c2", "both", market_prices=2, news_articles=5))
    runs = [
        finished("c1", "ui_collection", "ui"),
        finished("c2", "full_collection", "both"),
        finished("c3", "ui_collection", "ui", "FAILURE"),
        finished("c4", "maintenance", None),
    ]
    warehouse.write_rows(runs)
    warehouse.write_rows(runs)
    assert warehouse.query(
        "SELECT run_id, endpoints_asked, ui_records, historical_records FROM worker_runs ORDER BY 1"
    ) == [("c1", 1, 4, 0), ("c2", 2, 2, 5), ("c3", 0, 0, 0), ("c4", 0, 0, 0)]


def test_averages_are_of_a_group_s_records_by_its_own_collections(warehouse: Warehouse) -> None:
    for n in range(3):
        warehouse.write(collected(f"u{n}", "ui", market_prices=4))
    warehouse.write(collected("h", "historical", news_articles=10))
    warehouse.write(collected("b", "both", market_prices=8, news_articles=20))
    warehouse.write_rows(
        [
            *(finished(f"u{n}", "ui_collection", "ui") for n in range(3)),
            finished("h", "historical_collection", "historical"),
            finished("b", "full_collection", "both"),
            finished("m", "maintenance", None),
        ]
    )
    (stats,) = warehouse.query(
        "SELECT total_ui_collections, total_historical_collections, total_records_saved, "
        "average_records_per_ui_collection, average_records_per_historical_collection, "
        "average_seconds_per_ui_collection FROM worker_stats"
    )
    assert stats == (4, 2, 50, 5.0, 15.0, 3.0)
    (status,) = warehouse.query(
        "SELECT ui_collections, historical_collections, total_records_saved, last_ui_collection "
        "FROM worker_status"
    )
    assert status == (4, 2, 50, NOW + timedelta(seconds=3))


def test_while_the_file_is_locked_nothing_is_recorded(warehouse: Warehouse) -> None:
    warehouse.write(batch("c1", price("alpha", "BTC", 1)))
    with held(warehouse.path), pytest.raises(Locked):
        warehouse.write_rows([finished("c1", "ui_collection", "ui")])
    assert warehouse.waiting() == []
    assert count(warehouse, "worker_runs") == 0


# Layout and versions


def test_new_files_are_readable_by_duckdb_1_4(warehouse: Warehouse) -> None:
    warehouse.write(batch("c1", price("alpha", "BTC", 1)))
    with duckdb.connect(str(warehouse.path), read_only=True) as connection:
        tags = connection.execute(
            "SELECT tags FROM duckdb_databases() WHERE database_name = current_database()"
        ).fetchone()
    assert tags
    assert str(tags[0]["storage_version"]).startswith(layout.STORAGE.rsplit(".", 1)[0])


def test_an_older_file_is_migrated_and_keeps_its_rows(warehouse: Warehouse) -> None:
    warehouse.write(batch("c1", price("alpha", "BTC", 1)))
    with warehouse.connect() as connection:
        connection.execute("ALTER TABLE market_prices DROP COLUMN source_at")
        connection.execute("DROP TABLE coins")
        connection.execute("COMMENT ON TABLE market_prices IS 'old words'")
    warehouse.write(batch("c2", price("alpha", "BTC", 2, "c2", source_at=NOW)))
    found = warehouse.query("SELECT price_usd, source_at FROM market_prices ORDER BY 1")
    assert found == [(1.0, None), (2.0, NOW)]
    assert count(warehouse, "coins") == 0
    comment = "SELECT comment FROM duckdb_tables() WHERE table_name = 'market_prices'"
    assert warehouse.query(comment) == [(MarketPrice.table.description,)]


def test_numbered_changes_run_once_in_order(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.write(batch("c1", price("alpha", "BTC", 1)))
    newest = migrations.VERSION
    twice = Migration("twice", ("UPDATE market_prices SET price_usd = price_usd * 2",))
    plus_one = Migration("plus one", ("UPDATE market_prices SET price_usd = price_usd + 1",))
    steps = {**migrations.MIGRATIONS, newest + 1: twice, newest + 2: plus_one}
    monkeypatch.setattr(layout, "VERSION", newest + 2)
    monkeypatch.setattr(layout, "MIGRATIONS", steps)
    for collection in ("c2", "c3"):
        warehouse.write(batch(collection, article(f"https://a/{collection}", collection)))
    assert warehouse.query("SELECT price_usd FROM market_prices") == [(3.0,)]
    assert warehouse.query("SELECT version FROM schema_migrations ORDER BY 1") == [
        (version,) for version in range(1, newest + 3)
    ]


def test_a_newer_file_is_a_clear_error(warehouse: Warehouse) -> None:
    warehouse.write(batch("c1", price("alpha", "BTC", 1)))
    with warehouse.connect() as connection:
        connection.execute("INSERT INTO schema_migrations VALUES (99, 'the future', now(), NULL)")
    receipt = warehouse.write(batch("c2", price("alpha", "BTC", 2, "c2")))
    assert isinstance(receipt.problem, TooNew)
    assert re.search(
        f"has layout 99.*knows up to {migrations.VERSION}.*update crypto_pipeline",
        str(receipt.problem),
    )
    assert receipt.spooled
    with pytest.raises(TooNew):
        warehouse.drain()
    assert len(warehouse.waiting()) == 1
    with warehouse.connect() as connection:
        connection.execute("DELETE FROM schema_migrations WHERE version = 99")
    assert warehouse.drain() == 1
    assert count(warehouse, "market_prices") == 2


def test_a_damaged_file_is_a_clear_error(warehouse: Warehouse) -> None:
    warehouse.path.write_bytes(b"this is not a database" * 1000)
    receipt = warehouse.write(batch("c1", price("alpha", "BTC", 1)))
    assert isinstance(receipt.problem, Damaged)
    assert receipt.failed
    assert "move it" in receipt.failed
    assert ".wal" not in receipt.failed
    warehouse.path.unlink()
    assert warehouse.write(batch("c2", price("alpha", "BTC", 2, "c2"))).drained == 1
    assert count(warehouse, "market_prices") == 2


def test_no_file_yet_is_a_clear_error(warehouse: Warehouse) -> None:
    with pytest.raises(WarehouseError, match="run a collection first"):
        warehouse.query("SELECT 1")
    assert warehouse.remember() == Memory()


def test_an_error_in_a_transaction_leaves_nothing(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.write(batch("c1", price("alpha", "BTC", 1)))

    def fail(*_: object) -> dict[str, int]:
        raise RuntimeError("half way")

    monkeypatch.setattr(load, "_agree", fail)
    with pytest.raises(RuntimeError, match="half way"):
        warehouse.write(batch("c2", price("alpha", "BTC", 2, "c2")))
    monkeypatch.undo()
    assert count(warehouse, "market_prices") == 1
    warehouse.write(batch("c2", price("alpha", "BTC", 2, "c2")))
    assert count(warehouse, "market_prices") == 2


# The lock and the spool


@pytest.mark.parametrize("read_only", [False, True])
def test_a_locked_file_costs_no_row(warehouse: Warehouse, read_only: bool) -> None:
    warehouse.write(batch("c1", price("alpha", "BTC", 1)))
    with held(warehouse.path, read_only):
        for n in (2, 3):
            at = NOW + timedelta(minutes=n)
            rows = (price("alpha", "BTC", n, f"c{n}"), article(f"https://a/{n}", f"c{n}"))
            receipt = warehouse.write(batch(f"c{n}", *rows, at=at))
            assert receipt.spooled
            assert (receipt.failed, receipt.committed_at) == (None, None)
    assert len(warehouse.waiting()) == 2
    receipt = warehouse.write(batch("c4", price("alpha", "BTC", 4, "c4")))
    assert receipt.drained == 2
    assert warehouse.waiting() == []
    found = warehouse.query("SELECT price_usd FROM market_prices ORDER BY 1")
    assert found == [(1.0,), (2.0,), (3.0,), (4.0,)]
    assert count(warehouse, "news_articles") == 2
    assert count(warehouse, "data_collections") == 4


def test_the_spool_is_drained_exactly_once(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.write(batch("c1", price("alpha", "BTC", 1)))
    with held(warehouse.path):
        warehouse.write(batch("c2", price("alpha", "BTC", 2, "c2")))

    def killed(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        warehouse.drain()
    monkeypatch.undo()
    assert len(warehouse.waiting()) == 1
    assert warehouse.drain() == 1
    assert warehouse.waiting() == []
    assert count(warehouse, "market_prices") == 2


def test_a_damaged_collection_in_the_spool_is_put_aside_loudly(warehouse: Warehouse) -> None:
    warehouse.write(batch("c1", price("alpha", "BTC", 1)))
    with held(warehouse.path):
        warehouse.write(batch("c2", price("alpha", "BTC", 2, "c2")))
    (waiting,) = warehouse.waiting()
    (waiting / "market_prices.parquet").write_bytes(b"rubbish")
    with pytest.raises(Damaged, match=r"put aside as .*\.damaged"):
        warehouse.drain()
    assert warehouse.waiting() == []
    assert warehouse.drain() == 0


def test_an_unfinished_spool_is_not_drained(warehouse: Warehouse) -> None:
    (warehouse.spool / "20261123T120000~c9.unfinished").mkdir(parents=True)
    assert warehouse.drain() == 0


def test_the_holder_of_the_lock_is_named(warehouse: Warehouse) -> None:
    warehouse.write(batch("c1", price("alpha", "BTC", 1)))
    with held(warehouse.path), pytest.raises(Locked, match=r"held by another program.*PID \d+"):
        warehouse.query("SELECT 1")


# Memory


def health(endpoint: str, minute: int) -> SourceHealth:
    at = NOW + timedelta(minutes=minute)
    return SourceHealth(
        endpoint=endpoint,
        source="alpha",
        outcome="ok",
        circuit="closed",
        consecutive_failures=0,
        asked_at=at,
        next_allowed_at=at + timedelta(minutes=4),
    )


def coin(symbol: str, rank: int) -> Coin:
    return Coin(
        source="alpha",
        source_id=symbol.lower(),
        symbol=symbol,
        market_cap=1,
        rank=rank,
        rank_of_symbol=1,
        updated_at=NOW,
    )


def test_health_and_ranks_are_remembered(warehouse: Warehouse) -> None:
    warehouse.write(batch("c1", health("alpha.x", 0), coin("BTC", 1), coin("ETH", 2)))
    warehouse.write(batch("c2", health("alpha.x", 5)))
    memory = warehouse.remember()
    assert memory.health == {"alpha.x": health("alpha.x", 5)}
    assert memory.ranks == {"BTC": 1, "ETH": 2}


def test_while_the_file_is_locked_the_note_remembers(warehouse: Warehouse) -> None:
    warehouse.write(batch("c1", health("alpha.x", 0)))
    noted = Memory({"alpha.x": health("alpha.x", 5)}, {"BTC": 1})
    warehouse.note(noted)
    assert warehouse.remember().health == {"alpha.x": health("alpha.x", 0)}
    with held(warehouse.path):
        assert warehouse.remember() == noted
        warehouse.write(batch("c2", price("alpha", "BTC", 1, "c2")))
    assert warehouse.remember().health == noted.health


def test_a_torn_note_is_no_note(warehouse: Warehouse) -> None:
    warehouse.write(batch("c1", health("alpha.x", 0)))
    (warehouse.spool / "memory.json").write_text("{")
    with held(warehouse.path):
        assert warehouse.remember() == Memory()


def test_a_lock_is_held_by_one(warehouse: Warehouse) -> None:
    with warehouse.lock("ui", 0.1) as first, warehouse.lock("ui", 0.1) as second:
        assert (first, second) == (True, False)
    with warehouse.lock("ui", 0.1) as third:
        assert third
