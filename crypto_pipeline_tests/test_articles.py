"""Articles from a feed to the file: sentiment, coins and story of what is new there."""

import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from xml.sax.saxutils import escape

import pytest

from crypto_pipeline import docs
from crypto_pipeline.collection.collect import collect
from crypto_pipeline.reading import sentiment
from crypto_pipeline.sources import Source
from crypto_pipeline.sources.spec import Endpoint
from crypto_pipeline.sources.values import article as row_of_article
from crypto_pipeline.tables import NewsArticle
from crypto_pipeline.warehouse import Warehouse, articles
from crypto_pipeline_tests.conftest import Canned, source
from crypto_pipeline_tests.test_warehouse import article, batch, price
from crypto_pipeline_tests.upstream import Upstream


@pytest.fixture
def canned() -> Canned:
    return Canned()


@pytest.fixture(autouse=True)
def upstream(canned: Canned, monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    with Upstream(canned) as server:
        monkeypatch.setenv("CRYPTO_PIPELINE_UPSTREAM", server.url)
        yield server


def feed(canned: Canned, name: str, *headlines: str) -> Endpoint:
    """A source whose feed has these headlines, the last one published last."""
    now = datetime.now(UTC)
    items = "".join(
        f"<item><title>{escape(title)}</title><link>https://{name}.example/{place}</link>"
        f"<pubDate>{format_datetime(now.replace(minute=place, hour=0))}</pubDate></item>"
        for place, title in enumerate(headlines)
    )
    body = f'<rss version="2.0"><channel><title>{name}</title>{items}</channel></rss>'
    canned.bodies[f"{name}.example/feed"] = body.encode()
    declared = Source(name, f"https://{name}.example", docs=f"https://{name}.example", gap=0)
    return declared.feed("/feed")


def run(warehouse: Warehouse, collection: str, *among: Endpoint) -> None:
    tables = ["market_prices", "news_articles"]
    done = collect(tables, collection, warehouse=warehouse, among=among, force=True)
    assert done.failed is None
    assert {r.outcome for r in done.results} == {"ok"}


def of(warehouse: Warehouse, *columns: str) -> dict[str, Any]:
    """These columns of each article, by its key."""
    found = warehouse.query(f"SELECT article_key, {', '.join(columns)} FROM news_articles")
    return {key: rest[0] if len(rest) == 1 else rest for key, *rest in found}


def test_articles_of_a_collection_are_read(warehouse: Warehouse, canned: Canned) -> None:
    first = feed(
        canned,
        "paper",
        "Solana surges as Kraken lists $LINK",
        "بیت‌کوین سقوط کرد",
        "비트코인 급등",
        "Conference opens in Berlin near the river",
    )
    second = feed(canned, "gazette", "Conference in Rome ends", "Solana Surges, Kraken Lists $LINK")
    run(warehouse, "c1", first, second)
    read = of(warehouse, "sentiment", "sentiment_by", "symbols")
    assert read == {
        "paper.example/0": ["positive", "lexicon", ["SOL", "LINK"]],
        "paper.example/1": ["negative", "lexicon", ["BTC"]],
        "paper.example/2": [None, None, None],
        "paper.example/3": ["neutral", "lexicon", None],
        "gazette.example/0": ["neutral", "lexicon", None],
        "gazette.example/1": ["positive", "lexicon", ["SOL", "LINK"]],
    }
    scores = of(warehouse, "sentiment_score")
    assert scores["paper.example/0"] > 0 > scores["paper.example/1"]
    assert scores["paper.example/3"] == 0
    assert scores["paper.example/2"] is None
    stories = of(warehouse, "story")
    assert stories.pop("gazette.example/1") == "paper.example/0"
    assert all(key == story for key, story in stories.items())


def test_a_story_goes_on_in_the_next_collection(warehouse: Warehouse, canned: Canned) -> None:
    title = "Kraken halts withdrawals after outage"
    run(warehouse, "c1", feed(canned, "paper", title))
    run(warehouse, "c2", feed(canned, "gazette", "Other news", title))
    assert of(warehouse, "story") == {
        "paper.example/0": "paper.example/0",
        "gazette.example/0": "gazette.example/0",
        "gazette.example/1": "paper.example/0",
    }


def test_a_story_does_not_drift(warehouse: Warehouse, canned: Canned) -> None:
    told = "Kraken halts withdrawals after outage"
    run(warehouse, "c1", feed(canned, "paper", told, f"{told} hits wallets"))
    run(warehouse, "c2", feed(canned, "gazette", "Kraken outage hits wallets"))
    assert of(warehouse, "story") == {
        "paper.example/0": "paper.example/0",
        "paper.example/1": "paper.example/0",
        "gazette.example/0": "gazette.example/0",
    }


def test_what_is_stored_is_not_read_again(
    warehouse: Warehouse, canned: Canned, monkeypatch: pytest.MonkeyPatch
) -> None:
    paper = feed(canned, "paper", "Bitcoin surges", "Bitcoin trades")
    run(warehouse, "c1", paper)
    before = of(warehouse, "sentiment", "story", "collection_id")
    texts: list[str] = []
    plain = sentiment.read

    def noting(title: str, summary: str | None) -> sentiment.Reading | None:
        texts.append(title)
        return plain(title, summary)

    monkeypatch.setattr("crypto_pipeline.warehouse.articles.read", noting)
    paper = feed(canned, "paper", "Bitcoin surges", "Bitcoin trades", "Bitcoin falls")
    run(warehouse, "c2", paper)
    assert texts == ["Bitcoin falls"]
    after = of(warehouse, "sentiment", "story", "collection_id")
    assert {key: after[key] for key in before} == before


def test_the_source_s_own_word_is_kept(warehouse: Warehouse, canned: Canned) -> None:
    canned.bodies["teller.example/news"] = [{"t": "Bitcoin surges", "mood": "negative"}]
    declared = Source("teller", "https://teller.example", docs="https://teller.example", gap=0)
    endpoint = declared.endpoint(
        NewsArticle,
        "/news",
        row=lambda a: row_of_article(a["t"], "https://teller.example/1", None, sentiment=a["mood"]),
    )
    run(warehouse, "c1", endpoint)
    told = of(warehouse, "sentiment", "sentiment_by", "sentiment_score > 0")
    assert told == {"teller.example/1": ["negative", "source", True]}


def test_a_coin_that_only_the_file_knows_is_named(warehouse: Warehouse, canned: Canned) -> None:
    canned.bodies["prices.example/prices"] = {
        "data": [{"id": "allora", "symbol": "allo", "name": "Allora", "price": 1, "cap": 1e9}]
    }

    def named(coin: dict[str, Any]) -> dict[str, Any]:
        return {
            "source_id": coin["id"],
            "symbol": coin["symbol"],
            "name": coin["name"],
            "quote": "USD",
            "price_usd": coin["price"],
            "market_cap": coin["cap"],
        }

    run(warehouse, "c1", source("prices", row=named))
    headlines = ["Allora (ALLO) is here", "$ALLO and $NVDA", "All is ALLO"]
    run(warehouse, "c2", feed(canned, "paper", *headlines))
    assert list(of(warehouse, "symbols").values()) == [["ALLO"], ["ALLO"], None]


def test_an_article_of_before_begins_a_story(warehouse: Warehouse) -> None:
    warehouse.write(batch("c1", article("https://a.example/1")))
    with warehouse.connect() as connection:
        connection.execute("UPDATE news_articles SET story = NULL")
    warehouse.write(batch("c2", article("https://a.example/2", "c2")))
    assert of(warehouse, "story") == {"a.example/1": None, "a.example/2": "a.example/1"}


def test_what_waited_in_the_spool_is_read_when_it_is_written(warehouse: Warehouse) -> None:
    with warehouse.lock("writer", 1):
        assert warehouse.write(batch("c1", article("https://a.example/1"))).spooled
    warehouse.write(batch("c2", price("alpha", "BTC", 1, "c2")))
    assert of(warehouse, "story", "sentiment") == {"a.example/1": ["a.example/1", "neutral"]}


def test_who_stores_no_articles_does_not_pay_for_reading_them() -> None:
    code = "import sys, crypto_pipeline.cli, crypto_pipeline.warehouse; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = ran.stdout.split()
    assert "crypto_pipeline.warehouse.load" in loaded
    assert not [name for name in loaded if name.startswith(("vader", "crypto_pipeline.reading"))]


def test_news_by_coin_and_day_can_be_counted(warehouse: Warehouse, canned: Canned) -> None:
    run(warehouse, "c0", feed(canned, "a", "Bitcoin soars", "Ether and BTC fall"))
    run(warehouse, "c1", feed(canned, "b", "Bitcoin soars"))
    page = (docs.ROOT / "docs" / "news.md").read_text(encoding="utf-8")
    (sql,) = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    counted = [(coin, *rest) for _, coin, *rest in warehouse.query(sql)]
    assert counted == [("BTC", 2, 3, 0.2), ("ETH", 1, 1, -0.56)]


def test_an_article_that_cannot_be_read_costs_no_other_one(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(title: str, content: str | None) -> Any:
        if title == "News":
            raise ZeroDivisionError
        return None

    monkeypatch.setattr(articles, "read", read)
    good = article("https://paper.example/good")
    good.title = "Bitcoin rallies"
    receipt = warehouse.write(batch("c1", article("https://paper.example/bad"), good))
    assert receipt.of("news_articles") == 2
    found = warehouse.query("SELECT title, symbols FROM news_articles ORDER BY 1")
    assert found == [("Bitcoin rallies", ["BTC"]), ("News", None)]


def test_of_a_flood_so_many_are_read(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(articles, "MOST", 3)
    receipt = warehouse.write(
        batch("c1", *(article(f"https://paper.example/{n}") for n in range(5)))
    )
    assert receipt.of("news_articles") == 5
    assert warehouse.query("SELECT count(story), count(*) FROM news_articles") == [(3, 5)]
