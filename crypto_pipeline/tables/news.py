"""Tables of words and moods: articles, and the measures of sentiment."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from crypto_pipeline.groups import HISTORICAL, UI
from crypto_pipeline.tables.spec import (
    Number,
    Row,
    Symbol,
    Text,
    Time,
    Window,
    column,
    optional,
)

Score = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]


class NewsArticle(
    Row,
    table="news_articles",
    group=HISTORICAL,
    write="insert",
    key=("article_key",),
    time="created_at",
    zeros=True,
):
    """One article, announcement or press release, stored once.

    The url is the one it was published with, without what counts readers; article_key is what all
    addresses of one article have in common: http or https, www, AMP, the order of parameters. An
    article that two sources carry belongs to the one that was seen first. Sentiment, coins and
    story are read out of it as it is stored; articles stored before there was that have none.
    """

    title: Text = column("Headline, without markup")
    url: Text = column("Address of the article, to be opened")
    article_key: Text = column("What all addresses of one article have in common")
    published_at: Time | None = optional(
        "When it was published, as the source says",
        within=Window(None, timedelta(days=1), or_null=True),
    )
    content: Text | None = optional("Summary or lead, without markup")
    author: Text | None = optional("Author, as the source says")
    tags: list[str] | None = optional("Categories, as the source says")
    sentiment: Text | None = optional(
        "positive, negative or neutral: the source's word, or else what its words come to; NULL in "
        "languages other than English and Persian"
    )
    sentiment_by: Literal["source", "lexicon"] | None = optional("Who says so: source or lexicon")
    sentiment_score: Score | None = optional(
        "What its words come to, -1 the worst news and 1 the best; also where the source says",
        decimals=4,
    )
    symbols: list[str] | None = optional("Coins that it names, as canonical tickers")
    story: Text | None = optional(
        "The story it tells: article_key of the first article that told it, within 48 hours"
    )
    source: Text = column("Which source said so first", fill="source")
    created_at: Time = column("When it was first seen", fill="observed_at")
    collection_id: Text = column("The collection (Dagster run) that wrote it", fill="collection_id")


RATIO = (0.0, 1_000.0)
RATIO_OF_MANY = (0.001, 1_000.0)
"""Of two counts neither of which is ever none."""
PERCENT = (0.0, 100.0)
COUNTED = (0.0, 1e12)

SCALES: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(
        ("fear_greed_index", "altcoin_season_index", "galaxy_score", "votes_up_pct"), PERCENT
    ),
    "votes_down_pct": PERCENT,
    **dict.fromkeys(
        (*("put_call_ratio", "put_call_oi_ratio"),),
        RATIO,
    ),
    **dict.fromkeys(
        (
            *("long_short_account_ratio", "long_short_account_ratio_coinm"),
            *("long_short_position_ratio", "top_trader_account_ratio", "top_trader_position_ratio"),
            *("taker_buy_sell_ratio", "taker_buy_sell_ratio_coinm"),
        ),
        RATIO_OF_MANY,
    ),
    **dict.fromkeys(
        (
            *("community_active_users", "community_subscribers", "mentions", "mentions_24h"),
            *("news_volume", "page_views", "social_volume", "watchlists"),
            *("margin_long_size", "margin_short_size"),
        ),
        COUNTED,
    ),
    "dvol_index": (1.0, 1_000.0),
    "news_tone": (-100.0, 100.0),
    "nupl": (-100.0, 1.0),
}
"""The least and the most that a measure can come to. A measure is declared by its line here."""


class SentimentMetric(
    Row,
    table="sentiment_metrics",
    group=UI,
    write="insert",
    key=("source", "metric_name", "symbol", "timestamp", "value"),
    time="timestamp",
    window=timedelta(days=60),
    zeros=True,
):
    """One value of one measure of mood: an index, a long/short ratio, an implied volatility.

    Measures that are published once a day are stored once a day: the timestamp is the source's
    own where it gives one. Scales differ from measure to measure; classification is the source's.
    """

    metric_name: Text = column("Measure: fear_greed_index, long_short_ratio, …")
    symbol: Symbol | None = optional("Coin it is about, NULL for the whole market")
    value: Number = column("Value, on the measure's own scale, which it never leaves")
    classification: Text | None = optional("The source's own word for the value")
    timestamp: Time = column(
        "The time the value is about",
        fill="observed_at",
        within=Window(timedelta(days=400), timedelta(days=1)),
    )
    source: Text = column("Which source said so", fill="source")
    collection_id: Text = column("The collection (Dagster run) that wrote it", fill="collection_id")

    @model_validator(mode="after")
    def _on_its_scale(self) -> Self:
        if self.metric_name not in SCALES:
            raise ValueError(f"metric_name {self.metric_name!r} has no scale")
        least, most = SCALES[self.metric_name]
        if not least <= self.value <= most:
            raise ValueError(
                f"value {self.value:g} of {self.metric_name} is not within {least:g} and {most:g}"
            )
        return self
