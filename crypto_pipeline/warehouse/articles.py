"""What is read out of new articles as they are stored: sentiment, coins, and the story they tell.

Owns: which stored articles and coins a new one is held against.
Must not know: how a text is read.
"""

import json
import logging
from datetime import datetime
from typing import Any

from crypto_pipeline.reading.coins import symbols
from crypto_pipeline.reading.sentiment import read
from crypto_pipeline.reading.stories import WITHIN, Article, Stories
from crypto_pipeline.warehouse.sql import Connection, literal

MOST = 5_000
"""Articles of one collection that are read: a first one brings 2,000, and a flood is not news."""

log = logging.getLogger(__name__)

_MOMENT = "coalesce(published_at, created_at)"

_SHAPE = {
    "key": "VARCHAR",
    "sentiment": "VARCHAR",
    "score": "DOUBLE",
    "symbols": ["VARCHAR"],
    "story": "VARCHAR",
}


def read_articles(connection: Connection, stage: str) -> None:
    """Fill in the staged articles what their words say. Those that are stored already are gone from
    the stage by then: each article is read once."""
    new = connection.execute(
        f"SELECT article_key, title, content, tags, {_MOMENT} AS moment FROM {stage} "
        f"ORDER BY moment, article_key LIMIT {MOST}"
    ).fetchall()
    if not new:
        return
    stories, known = _stories(connection, stage), _known_coins(connection)
    readings = []
    for article in new:
        try:
            readings.append(_reading(stories, known, *article))
        except Exception:  # the wall: it costs this article what its words say, and nobody else
            log.exception("an article is kept unread: %s", article[0])
    said = f"from_json({literal(json.dumps(readings))}, {literal(json.dumps([_SHAPE]))})"
    connection.execute(
        f"UPDATE {stage} SET sentiment_score = said.score, symbols = said.symbols, "
        "story = said.story, sentiment = coalesce(sentiment, said.sentiment), sentiment_by = CASE "
        "WHEN sentiment IS NOT NULL THEN 'source' WHEN said.score IS NOT NULL THEN 'lexicon' END "
        f"FROM (SELECT unnest({said}) AS said) WHERE article_key = said.key"
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
        "key": key,
        "sentiment": reading and reading.sentiment,
        "score": reading and reading.score,
        "symbols": symbols(title, content, tags or (), known) or None,
        "story": stories.of(Article(key, title, at)),
    }
