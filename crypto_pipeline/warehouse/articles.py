"""What is read out of new articles as they are stored: sentiment, coins, and the story they tell.

Owns: which stored articles and coins a new one is held against.
Must not know: how a text is read.
"""

import json
from datetime import datetime
from typing import Any

from crypto_pipeline.reading.coins import symbols
from crypto_pipeline.reading.sentiment import read
from crypto_pipeline.reading.stories import WITHIN, Article, Stories
from crypto_pipeline.warehouse.sql import Connection, literal

_MOMENT = "coalesce(published_at, created_at)"

_SHAPE = {
    "article_key": "VARCHAR",
    "read_sentiment": "VARCHAR",
    "read_score": "DOUBLE",
    "read_symbols": ["VARCHAR"],
    "read_story": "VARCHAR",
}


def read_articles(connection: Connection, stage: str) -> None:
    """Fill in the staged articles what their words say. Those that are stored already are gone from
    the stage by then: each article is read once."""
    new = connection.execute(
        f"SELECT article_key, title, content, tags, {_MOMENT} FROM {stage}"
    ).fetchall()
    if not new:
        return
    stories, known = _stories(connection, stage), _known_coins(connection)
    readings = [
        _reading(stories, known, *article)
        for article in sorted(new, key=lambda article: (article[-1], article[0]))
    ]
    connection.execute(
        f"UPDATE {stage} SET sentiment_score = read_score, symbols = read_symbols, "
        "story = read_story, sentiment = coalesce(sentiment, read_sentiment), sentiment_by = CASE "
        "WHEN sentiment IS NOT NULL THEN 'source' WHEN read_score IS NOT NULL THEN 'lexicon' END "
        f"FROM (SELECT unnest(from_json({literal(json.dumps(readings))}, "
        f"{literal(json.dumps([_SHAPE]))}), recursive := true)) reading "
        f"WHERE {stage}.article_key = reading.article_key"
    )


def _stories(connection: Connection, stage: str) -> Stories:
    """The stories that the file has of the time before the staged articles."""
    stories = Stories()
    first = connection.execute(
        f"SELECT article_key, title, {_MOMENT} AS moment FROM news_articles "
        "WHERE coalesce(story, article_key) = article_key AND created_at > "
        f"(SELECT min(created_at) FROM {stage}) - to_seconds({WITHIN.total_seconds():.0f}) "
        "ORDER BY moment, article_key"
    )
    for key, title, at in first.fetchall():
        stories.begin(Article(key, title, at))
    return stories


def _known_coins(connection: Connection) -> dict[str, str]:
    """The coins that sources named, by ticker; of one ticker the biggest."""
    found = connection.execute(
        "SELECT symbol, arg_max(name, market_cap) FROM coins WHERE name IS NOT NULL GROUP BY 1"
    )
    return dict(found.fetchall())


def _reading(
    stories: Stories,
    known: dict[str, str],
    key: str,
    title: str,
    content: str | None,
    tags: list[str] | None,
    at: datetime,
) -> dict[str, Any]:
    reading = read(title, content)
    return {
        "article_key": key,
        "read_sentiment": reading and reading.sentiment,
        "read_score": reading and reading.score,
        "read_symbols": symbols(title, content, tags or (), known) or None,
        "read_story": stories.of(Article(key, title, at)),
    }
