"""Tables of words and moods: articles, and the measures of sentiment."""

from datetime import timedelta

from crypto_pipeline.groups import HISTORICAL, UI
from crypto_pipeline.tables.spec import (
    Number,
    Row,
    Symbol,
    Text,
    Time,
    column,
    optional,
)


class NewsArticle(
    Row,
    table="news_articles",
    group=HISTORICAL,
    write="insert",
    key=("article_key",),
    time="created_at",
):
    """One article, announcement or press release, stored once.

    The url is the one it was published with, without what counts readers; article_key is what all
    addresses of one article have in common: http or https, www, AMP, the order of parameters. An
    article that two sources carry belongs to the one that was seen first.
    """

    title: Text = column("Headline, without markup")
    url: Text = column("Address of the article, to be opened")
    article_key: Text = column("What all addresses of one article have in common")
    published_at: Time | None = optional("When it was published, as the source says")
    content: Text | None = optional("Summary or lead, without markup")
    author: Text | None = optional("Author, as the source says")
    tags: list[str] | None = optional("Categories, as the source says")
    sentiment: Text | None = optional("positive, negative or neutral, where the source says")
    source: Text = column("Which source said so first", fill="source")
    created_at: Time = column("When it was first seen", fill="observed_at")
    collection_id: Text = column("The collection (Dagster run) that wrote it", fill="collection_id")


class SentimentMetric(
    Row,
    table="sentiment_metrics",
    group=UI,
    write="insert",
    key=("source", "metric_name", "symbol", "timestamp", "value"),
    time="timestamp",
    window=timedelta(days=60),
):
    """One value of one measure of mood: an index, a long/short ratio, an implied volatility.

    Measures that are published once a day are stored once a day: the timestamp is the source's
    own where it gives one. Scales differ from measure to measure; classification is the source's.
    """

    metric_name: Text = column("Measure: fear_greed_index, long_short_ratio, …")
    symbol: Symbol | None = optional("Coin it is about, NULL for the whole market")
    value: Number = column("Value, on the measure's own scale")
    classification: Text | None = optional("The source's own word for the value")
    timestamp: Time = column("The time the value is about", fill="observed_at")
    source: Text = column("Which source said so", fill="source")
    collection_id: Text = column("The collection (Dagster run) that wrote it", fill="collection_id")
