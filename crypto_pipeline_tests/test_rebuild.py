"""Kept answers read again: a mended parser reaches the past, and nothing else is touched."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from crypto_pipeline import cli
from crypto_pipeline.collection import rebuild as rebuilding
from crypto_pipeline.collection.collect import collect
from crypto_pipeline.collection.kept_answers import KeptAnswers, beside
from crypto_pipeline.collection.rebuild import Report, rebuild
from crypto_pipeline.settings import Keeping
from crypto_pipeline.sources import ENDPOINTS, Source
from crypto_pipeline.sources.spec import Endpoint
from crypto_pipeline.tables import DATA, TABLES, Candle, GasPrice, MarketPrice, NewsArticle
from crypto_pipeline.tables.spec import FIRST_SEEN
from crypto_pipeline.warehouse import Warehouse, WarehouseError
from crypto_pipeline_tests.conftest import Canned, coins, price, source
from crypto_pipeline_tests.upstream import Received, Reply, Samples, Upstream

KEEPING = Keeping(timedelta(days=2), timedelta(days=30), 2**30)
EVER = (datetime(1990, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))

RowFunction = Callable[[dict[str, Any]], Mapping[str, Any] | None]


@pytest.fixture
def canned() -> Canned:
    return Canned()


@pytest.fixture
def upstream(canned: Canned, monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    monkeypatch.setenv("CRYPTO_PIPELINE_ANSWERS_GB", "1")
    with Upstream(canned) as server:
        monkeypatch.setenv("CRYPTO_PIPELINE_UPSTREAM", server.url)
        yield server


class SamplesToo(Canned):
    """The samples, beside what a test answers itself."""

    samples = Samples()

    def reply(self, request: Received) -> Reply | None:
        return super().reply(request) or self.samples.reply(request)


def kept(warehouse: Warehouse) -> KeptAnswers:
    return KeptAnswers(beside(warehouse.path), KEEPING)


def again(warehouse: Warehouse, *endpoints: Endpoint, **about: Any) -> Report:
    model = endpoints[0].model
    return rebuild(model, endpoints, *EVER, warehouse, kept(warehouse), **about)


def run(warehouse: Warehouse, name: str, *among: Endpoint) -> None:
    tables = sorted({e.model.table.name for e in among})
    done = collect(tables, name, warehouse=warehouse, among=among, force=True)
    assert done.unkept is None


def everything(warehouse: Warehouse) -> dict[str, list[Any]]:
    """Every row of every table, as text."""
    with warehouse.connect(read_only=True) as connection:
        return {
            name: connection.execute(f"SELECT x::VARCHAR FROM {name} x ORDER BY 1").fetchall()
            for name in TABLES
        }


def counts(report: Report) -> tuple[int, ...]:
    done = report.rebuilt
    return done.same, done.changed, done.added, done.removed


def in_cents(coin: dict[str, Any]) -> dict[str, Any]:
    """A parser that is wrong."""
    return price(coin) | {"price_usd": coin["price"] * 100}


def strict(coin: dict[str, Any]) -> dict[str, Any]:
    """One that refuses what it should not."""
    if coin["price"] == 2:
        raise ValueError("two is no price")
    return price(coin)


# Nothing changed


def some() -> list[Endpoint]:
    """A few endpoints of each table."""
    found: list[Endpoint] = []
    for model in DATA:
        fitting = [e for e in ENDPOINTS.values() if e.model is model and not e.key]
        found += [e for e in fitting if len(e.asks(("BTC", "ETH"))) < 3 and e.source.gap < 0.3][:3]
    return found


def test_what_did_not_change_stays_bit_by_bit(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTO_PIPELINE_ANSWERS_GB", "1")
    monkeypatch.setenv("CRYPTO_PIPELINE_UNIVERSE", "BTC,ETH")
    endpoints = [*some(), source("alpha", row=strict)]
    with Upstream(SamplesToo({"alpha.example/prices": coins(1, 2, 3, 4)})) as server:
        monkeypatch.setenv("CRYPTO_PIPELINE_UPSTREAM", server.url)
        for n in range(2):
            tables = [model.table.name for model in DATA]
            collect(tables, f"c{n}", warehouse=warehouse, among=endpoints, force=True)
    before = everything(warehouse)
    assert len(before["rejected_rows"]) > 0
    for model in {e.model for e in endpoints}:
        report = again(warehouse, *(e for e in endpoints if e.model is model))
        assert counts(report)[1:] == (0, 0, 0), model
        assert counts(report)[0] == len(before[model.table.name]) > 0, model
        assert report.rebuilt.rejects_gone == report.rebuilt.rejects_new == 0, model
        assert (report.not_kept, report.damaged, report.faults) == ({}, [], {})
        assert report.collections == 2
    assert everything(warehouse) == before


# A parser is mended


def test_a_mended_parser_reaches_the_past(
    warehouse: Warehouse, canned: Canned, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "COLLECTIONS_AT_ONCE", 2)  # transactions of their own
    good, wrong, mended = source("good"), source("bad", row=in_cents), source("bad")
    for n in range(3):
        canned.bodies["good.example/prices"] = coins(100 + n, 200)
        canned.bodies["bad.example/prices"] = coins(100 + n, 200)
        run(warehouse, f"c{n}", good, wrong)
    began = datetime.now(UTC)
    untouched = warehouse.query("SELECT * FROM market_prices WHERE source = 'good' ORDER BY ALL")
    then = "SELECT source_id, timestamp, collection_id FROM market_prices ORDER BY ALL"
    observed = warehouse.query(then)
    assert counts(again(warehouse, good, mended, dry_run=True)) == (6, 6, 0, 0)
    assert counts(again(warehouse, good, wrong)) == (12, 0, 0, 0)  # the dry run changed nothing
    assert counts(again(warehouse, good, mended)) == (6, 6, 0, 0)
    prices = "SELECT collection_id, source_id, price_usd FROM market_prices WHERE source = ? "
    assert warehouse.query(prices + "ORDER BY ALL", ["bad"]) == warehouse.query(
        prices + "ORDER BY ALL", ["good"]
    )
    assert untouched == warehouse.query(
        "SELECT * FROM market_prices WHERE source = 'good' ORDER BY ALL"
    )
    assert warehouse.query(then) == observed
    (known,) = warehouse.query(
        f"SELECT min({FIRST_SEEN.name}) FROM market_prices WHERE source = 'bad'"
    )[0]
    assert known >= began  # nobody knew them before
    assert counts(again(warehouse, good, mended)) == (12, 0, 0, 0)


def test_rejected_rows_come_home(warehouse: Warehouse, canned: Canned, upstream: Upstream) -> None:
    canned.bodies["alpha.example/prices"] = coins(1, 2, 3)
    run(warehouse, "c1", source("alpha", row=strict))
    canned.bodies["alpha.example/prices"] = coins(1, 2)
    run(warehouse, "c2", source("alpha", row=strict), source("other"))
    assert warehouse.query("SELECT count(*) FROM market_prices") == [(3,)]
    assert warehouse.query("SELECT count(*) FROM rejected_rows") == [(2,)]
    report = again(warehouse, source("alpha"))
    assert counts(report) == (3, 0, 2, 0)
    assert (report.rebuilt.rejects_gone, report.rebuilt.rejects_new) == (2, 0)
    assert warehouse.query("SELECT * FROM rejected_rows") == []
    found = "SELECT collection_id, price_usd FROM market_prices ORDER BY ALL"
    assert warehouse.query(found) == [("c1", p) for p in (1, 2, 3)] + [("c2", p) for p in (1, 2)]
    back = again(warehouse, source("alpha", row=strict))
    assert counts(back) == (3, 0, 0, 2)
    assert (back.rebuilt.rejects_gone, back.rebuilt.rejects_new) == (0, 2)
    finished = warehouse.query("SELECT finished_at FROM data_collections WHERE source = 'alpha'")
    assert sorted(warehouse.query("SELECT rejected_at FROM rejected_rows")) == sorted(finished)


def test_dollars_are_measured_as_they_were(
    warehouse: Warehouse, canned: Canned, upstream: Upstream
) -> None:
    def listed(coin: dict[str, Any]) -> dict[str, Any]:
        return price(coin) | {
            "symbol": coin["symbol"], "quote": coin["quote"], "volume_24h": 1e6, "market_cap": None,
        }  # fmt: skip

    def told(tether: float, bitcoin: float) -> dict[str, Any]:
        return {
            "data": [
                {"id": "t", "symbol": "USDT", "quote": "USD", "price": tether},
                {"id": "b", "symbol": "BTC", "quote": "USDT", "price": bitcoin},
            ]
        }

    names = ("one", "two", "three")
    endpoints = [source(name, row=listed) for name in names]
    for n, tether in enumerate((0.99, 0.995, 1.01)):
        for name in names:
            canned.bodies[f"{name}.example/prices"] = told(tether, 90_000 + n)
        run(warehouse, f"c{n}", *endpoints)
    before = warehouse.query("SELECT * FROM market_prices ORDER BY ALL")
    rates = "SELECT DISTINCT quote_usd FROM market_prices WHERE symbol = 'BTC' ORDER BY 1"
    assert len(warehouse.query(rates)) == 3
    assert counts(again(warehouse, *endpoints)) == (18, 0, 0, 0)
    # One alone is read again: the others of its collection are heard as they were.
    assert counts(again(warehouse, endpoints[0])) == (6, 0, 0, 0)
    assert warehouse.query("SELECT * FROM market_prices ORDER BY ALL") == before


def gas(gwei: float, times: float = 1.0) -> Endpoint:
    declared = Source("chain", "https://chain.example", docs="https://chain.example", gap=0)

    def row(record: dict[str, Any]) -> dict[str, Any]:
        by = times if record["gas"] > gwei else 1
        return {"blockchain": "polygon", "unit": "gwei", "standard_gas_price": record["gas"] * by}

    return declared.endpoint(GasPrice, "/gas", row=row, records=lambda body: [body])


def test_what_a_wrong_row_spoke_against_comes_home(
    warehouse: Warehouse, canned: Canned, upstream: Upstream
) -> None:
    wrong, mended = gas(25, 2_000), gas(25)
    for n, gwei in enumerate((30, 20, 21)):  # the first is stored as 60,000
        canned.bodies["chain.example/gas"] = {"gas": gwei}
        run(warehouse, f"c{n}", wrong)
    said = "SELECT standard_gas_price FROM gas_prices ORDER BY timestamp"
    assert warehouse.query(said) == [(60_000.0,)]
    assert warehouse.query("SELECT count(*) FROM rejected_rows") == [(2,)]
    assert counts(again(warehouse, wrong)) == (1, 0, 0, 0)
    assert warehouse.query("SELECT count(*) FROM rejected_rows") == [(2,)]
    report = again(warehouse, mended)
    assert counts(report) == (0, 1, 2, 0)
    assert report.rebuilt.rejects_gone == 2
    assert warehouse.query(said) == [(30.0,), (20.0,), (21.0,)]


def news(row: RowFunction) -> Endpoint:
    declared = Source("paper", "https://paper.example", docs="https://paper.example", gap=0)
    return declared.endpoint(NewsArticle, "/news", row=row, records="items")


def article(record: dict[str, Any]) -> dict[str, Any] | None:
    url = record["url"]
    mood = record.get("mood")
    return {"title": record["title"], "url": url, "article_key": url, "sentiment": mood}


def test_an_article_is_kept_as_the_first_who_can_read_it_brought_it(
    warehouse: Warehouse, canned: Canned, upstream: Upstream
) -> None:
    def item(n: int, **about: Any) -> dict[str, Any]:
        return {"title": f"Bitcoin soars {n}", "url": f"https://paper.example/{n}", **about}

    def picky(record: dict[str, Any]) -> dict[str, Any] | None:
        return None if record["url"].endswith("/2") else article(record)

    def shouting(record: dict[str, Any]) -> dict[str, Any] | None:
        return {**(article(record) or {}), "title": record["title"].upper()}

    canned.bodies["paper.example/news"] = {"items": [item(1, mood="glad"), item(2)]}
    run(warehouse, "c1", news(picky))
    canned.bodies["paper.example/news"] = {"items": [item(1, mood="glad"), item(2), item(3)]}
    run(warehouse, "c2", news(picky))
    assert counts(again(warehouse, news(picky))) == (2, 0, 0, 0)
    assert counts(again(warehouse, news(article))) == (2, 0, 1, 0)
    said = "SELECT right(url, 1), collection_id, title, sentiment, sentiment_by, symbols "
    said += "FROM news_articles ORDER BY 1"
    found = warehouse.query(said)
    assert [(n, c) for n, c, *_ in found] == [("1", "c1"), ("2", "c1"), ("3", "c2")]
    assert found[0][3:] == ("glad", "source", ["BTC"])
    assert found[1][4:] == ("lexicon", ["BTC"])  # read as it is stored
    assert counts(again(warehouse, news(shouting))) == (0, 3, 0, 0)
    assert [title for _, _, title, *_ in warehouse.query(said)] == [
        f"BITCOIN SOARS {n}" for n in (1, 2, 3)
    ]
    assert counts(again(warehouse, news(lambda record: None))) == (0, 0, 0, 3)


def candles(times: float = 1.0) -> Endpoint:
    declared = Source("venue", "https://venue.example", docs="https://venue.example", gap=0)

    def row(record: dict[str, Any]) -> dict[str, Any]:
        at = datetime.fromisoformat(record["at"])
        values = dict.fromkeys(("open", "high", "low", "close"), record["close"] * times)
        return {"symbol": "BTC", "interval": "1h", "timestamp": at, "volume": 1.0, **values}

    return declared.endpoint(Candle, "/candles", row=row, records="data", fixed={"quote": "USD"})


def test_a_candle_is_what_was_said_last(
    warehouse: Warehouse, canned: Canned, upstream: Upstream
) -> None:
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=5)

    def said(*closes: float) -> dict[str, Any]:
        found = [
            {"at": (hour + n * timedelta(hours=1)).isoformat(), "close": close}
            for n, close in enumerate(closes)
        ]
        return {"data": found}

    for n, closes in enumerate(((1.0, 2.0), (1.0, 2.5), (1.0, 2.5, 3.0), (1.0, 2.0, 3.0))):
        canned.bodies["venue.example/candles"] = said(*closes)
        run(warehouse, f"c{n}", candles())
    before = everything(warehouse)
    assert len(before["corrected_candles"]) == 2
    assert counts(again(warehouse, candles())) == (3, 0, 0, 0)
    assert everything(warehouse) == before
    assert counts(again(warehouse, candles(2.0))) == (0, 3, 0, 0)
    found = "SELECT close, collection_id FROM cached_ohlc ORDER BY timestamp"
    assert warehouse.query(found) == [(2.0, "c0"), (4.0, "c3"), (6.0, "c2")]
    assert len(everything(warehouse)["corrected_candles"]) == 5  # what was known before is kept


# What cannot be read again is named, and stays


def test_of_a_source_that_was_not_read_as_a_whole_nothing_is_removed(
    warehouse: Warehouse, canned: Canned, upstream: Upstream
) -> None:
    first = source("alpha", row=lambda coin: None if coin["price"] == 1 else price(coin))
    both = source("alpha")
    canned.bodies["alpha.example/prices"] = coins(1, 2)
    run(warehouse, "c1", both)
    _note_another_endpoint(warehouse)
    report = again(warehouse, first)
    assert counts(report) == (1, 0, 0, 0)
    assert report.not_kept == {"c1": ["alpha.market_prices.more"]}
    with warehouse.connect() as connection:
        connection.execute("DELETE FROM data_collections WHERE endpoint LIKE '%more'")
    assert counts(again(warehouse, first)) == (1, 0, 0, 1)


def _note_another_endpoint(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        connection.execute(
            "INSERT INTO data_collections SELECT * REPLACE "
            "('alpha.market_prices.more' AS endpoint) FROM data_collections"
        )


def test_what_is_not_kept_or_damaged_or_a_fault_stays_and_is_named(
    warehouse: Warehouse, canned: Canned, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raises(coin: dict[str, Any]) -> dict[str, Any]:
        raise MemoryError("a fault of ours")

    for name in ("alpha", "beta", "gamma"):
        canned.bodies[f"{name}.example/prices"] = coins(*range(1, 4 + len(name)))
    run(warehouse, "c1", source("alpha"), source("beta"), source("gamma"))
    monkeypatch.setenv("CRYPTO_PIPELINE_ANSWERS_GB", "0")
    run(warehouse, "c2", source("alpha"))
    with kept(warehouse).open() as connection:
        connection.execute(
            "UPDATE bodies SET packed = x'00' WHERE number = "
            "(SELECT body FROM answers JOIN asks ON ask = number WHERE endpoint LIKE 'beta%')"
        )
    before = everything(warehouse)
    endpoints = (source("alpha"), source("beta"), source("gamma", row=raises))
    report = again(warehouse, *endpoints)
    assert everything(warehouse) == before
    assert report.damaged == [("c1", "beta.market_prices")]
    assert "a fault of ours" in report.faults["gamma.market_prices"]
    assert report.not_kept == {
        "c1": ["beta.market_prices", "gamma.market_prices"],
        "c2": ["alpha.market_prices"],
    }
    assert counts(report)[1:] == (0, 0, 0)


def test_a_collection_that_is_not_in_the_file_gives_no_row(
    warehouse: Warehouse, canned: Canned, upstream: Upstream
) -> None:
    canned.bodies["alpha.example/prices"] = coins(1, 2)
    run(warehouse, "c1", source("alpha"))
    run(warehouse, "c2", source("alpha"))
    with warehouse.connect() as connection:
        for table in ("market_prices", "data_collections"):
            connection.execute(f"DELETE FROM {table} WHERE collection_id = 'c1'")
    report = again(warehouse, source("alpha"))
    assert report.rebuilt.unknown == {"c1"}
    assert counts(report) == (2, 0, 0, 0)


def test_a_rebuild_that_is_ended_has_the_older_ones_done(
    warehouse: Warehouse, canned: Canned, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "COLLECTIONS_AT_ONCE", 1)
    canned.bodies["bad.example/prices"] = coins(1, 2)
    for n in range(3):
        run(warehouse, f"c{n}", source("bad", row=in_cents))

    def end(collections: int) -> None:
        if collections == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        again(warehouse, source("bad"), told=end)
    maximum = "SELECT collection_id, max(price_usd) FROM market_prices GROUP BY 1 ORDER BY 1"
    assert warehouse.query(maximum) == [("c0", 2.0), ("c1", 2.0), ("c2", 200.0)]
    assert counts(again(warehouse, source("bad"))) == (4, 2, 0, 0)


def test_what_is_written_is_published(tmp_path: Path, canned: Canned, upstream: Upstream) -> None:
    warehouse = Warehouse(tmp_path / "x.duckdb", parquet=tmp_path / "published")
    canned.bodies["alpha.example/prices"] = coins(1, 2, 3)
    run(warehouse, "c1", source("alpha", row=strict))
    again(warehouse, source("alpha"))
    for table in ("market_prices", "rejected_rows"):
        files = tmp_path / "published" / table / "**" / "*.parquet"
        published: list[tuple[Any, ...]] = []
        if list(files.parents[1].rglob("*.parquet")):
            published = warehouse.query(f"FROM read_parquet('{files}', hive_partitioning = false)")
        stored = warehouse.query(f"FROM {table}")
        assert sorted(map(repr, published)) == sorted(map(repr, stored)), table


# The command line


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    said = capsys.readouterr()
    code = ended.value.code
    assert isinstance(code, int)
    return code, json.loads(said.out) if "--json" in arguments else said.out, said.err


def test_the_command_line_shows_what_is_kept_and_rebuilds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CRYPTO_PIPELINE_ANSWERS_GB", "1")
    warehouse = Warehouse(tmp_path / "crypto.duckdb")
    chosen = [e for e in ENDPOINTS.values() if e.model is MarketPrice and not e.key][:3]
    with Upstream(Samples()) as server:
        monkeypatch.setenv("CRYPTO_PIPELINE_UPSTREAM", server.url)
        run(warehouse, "c1", *chosen)
    code, said, _ = told(capsys, "answers", "--json")
    assert code == 0
    assert said["all"]["answers"] == sum(len(e.asks()) for e in chosen)
    assert {e["name"] for e in said["endpoints"]} == {e.id for e in chosen}
    _, text, _ = told(capsys, "answers")
    assert "1 collections" in text
    assert "came / kept" in text
    with warehouse.connect() as connection:
        ((gone,),) = connection.execute("DELETE FROM market_prices").fetchall()
    code, said, _ = told(capsys, "rebuild", "market_prices", "--since", "1h", "--dry-run", "--json")
    assert (code, said["rows"]["added"], said["dry_run"]) == (0, gone, True)
    code, text, _ = told(capsys, "rebuild", "market_prices", "--since", "1h")
    assert code == 0
    assert f"{gone} added" in text
    assert "left as they are: cached_market_data" in text
    code, said, _ = told(capsys, "rebuild", "market_prices", "--since", "2026-01-01", "--json")
    assert said["rows"] == {"same": gone, "changed": 0, "added": 0, "removed": 0}
    code, _, _ = told(capsys, "rebuild", "gas_prices", "--since", "2026-01-01T10:00+02:00")
    assert code == 1  # there was nothing to read
    for wrong in (("cached_market_data", "--since", "1d"), ("gas_prices", "--since", "soon")):
        assert told(capsys, "rebuild", *wrong)[0] == 2


def test_without_a_file_it_says_so(tmp_path: Path, upstream: Upstream) -> None:
    nothing = Warehouse(tmp_path / "nothing.duckdb")
    with pytest.raises(WarehouseError, match="there is no database at"):
        again(nothing, source("alpha"))
