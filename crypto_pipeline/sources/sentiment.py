"""Measures of mood and attention: indices, votes, page views, mentions."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from crypto_pipeline.sources.spec import Key, Source, hours, minutes
from crypto_pipeline.sources.values import (
    WrongShape,
    at,
    iso,
    number,
    one,
    seconds,
)
from crypto_pipeline.tables import SentimentMetric

FEAR_GREED = {"metric_name": "fear_greed_index"}


def fear_greed(day: Mapping[str, Any], moment: datetime | None) -> dict[str, Any]:
    return {
        "value": day["value"],
        "classification": day["value_classification"],
        "timestamp": moment,
    }


ALTERNATIVE_ME = Source(
    "alternative_me", "https://api.alternative.me", docs="https://alternative.me/crypto/api/"
)
ALTERNATIVE_ME.endpoint(
    SentimentMetric,
    "/fng/",
    params={"limit": 30},
    records="data",
    row=lambda d: fear_greed(d, seconds(d["timestamp"])),
    fixed=FEAR_GREED,
    min_interval=hours(1),
)


COINMARKETCAP_SENTIMENT = Source(
    "coinmarketcap_sentiment",
    "https://pro-api.coinmarketcap.com/public-api",
    docs="https://coinmarketcap.com/api/documentation/pro-api-reference/keyless-public-api",
    gap=1,
)
COINMARKETCAP_SENTIMENT.endpoint(
    SentimentMetric,
    "/v3/fear-and-greed/latest",
    variant="latest",
    records=one("data"),
    row=lambda d: fear_greed(d, iso(d["update_time"])),
    fixed=FEAR_GREED,
    min_interval=hours(1),
)
COINMARKETCAP_SENTIMENT.endpoint(
    SentimentMetric,
    "/v3/fear-and-greed/historical",
    variant="history",
    params={"start": 1, "limit": 30},
    records="data",
    row=lambda d: fear_greed(d, seconds(d["timestamp"])),
    fixed=FEAR_GREED,
    min_interval=hours(6),
)
COINMARKETCAP_SENTIMENT.endpoint(
    SentimentMetric,
    "/v1/altcoin-season-index/latest",
    variant="altcoin_season",
    records=one("data"),
    row=lambda d: {"value": d["altcoin_index"]},
    fixed={"metric_name": "altcoin_season_index"},
    min_interval=hours(1),
)

COINYBUBBLE = Source("coinybubble", "https://api.coinybubble.com", docs="https://coinybubble.com/")
COINYBUBBLE.endpoint(
    SentimentMetric,
    "/v1/latest",
    records=one(),
    row=lambda d: {"value": d["actual_value"], "timestamp": iso(d["timestamp"])},
    fixed=FEAR_GREED | {"symbol": "BTC"},
    min_interval=minutes(15),
)


def votes(body: Any) -> list[tuple[str, Any, str]]:
    """What CoinGecko's visitors say of a coin; it does not ask them about every coin."""
    fields = {
        "votes_up_pct": "sentiment_votes_up_percentage",
        "votes_down_pct": "sentiment_votes_down_percentage",
        "watchlists": "watchlist_portfolio_users",
    }
    return [
        (metric, body[field], body["last_updated"])
        for metric, field in fields.items()
        if metric != "watchlists" or field in body
    ]


COINGECKO_SENTIMENT = Source(
    "coingecko_sentiment",
    "https://api.coingecko.com/api/v3",
    docs="https://docs.coingecko.com/reference/coins-id",
    key=Key(env="COINGECKO_API_KEY", header="x-cg-demo-api-key", required=False),
    gap=0.5,
    per_month=10_000,
)
COINGECKO_SENTIMENT.endpoint(
    SentimentMetric,
    "/coins/{each}",
    repeats={"id": "{each}"},
    params={
        "localization": "false",
        "tickers": "false",
        "market_data": "false",
        "community_data": "false",
        "developer_data": "false",
        "sparkline": "false",
    },
    each={
        "bitcoin": {"symbol": "BTC"},
        "ethereum": {"symbol": "ETH"},
    },
    records=votes,
    row=lambda vote: (
        None
        if vote[1] is None
        else {"metric_name": vote[0], "value": vote[1], "timestamp": iso(vote[2])}
    ),
    min_interval=hours(12),
)


ARTICLES = {
    "Bitcoin": "BTC",
    "Ethereum": "ETH",
    "Dogecoin": "DOGE",
    "Solana (blockchain platform)": "SOL",
    "Cryptocurrency": None,
}


def views(body: Any) -> list[tuple[str, str, Any]]:
    return [
        (page["title"], date, count)
        for page in at(body, "query.pages")
        for date, count in (page.get("pageviews") or {}).items()
    ]


WIKIPEDIA = Source(
    "wikipedia",
    "https://en.wikipedia.org/w",
    docs="https://www.mediawiki.org/wiki/Extension:PageViewInfo",
)
WIKIPEDIA.endpoint(
    SentimentMetric,
    "/api.php",
    variant="page_views",
    params={
        "action": "query",
        "prop": "pageviews",
        "titles": "|".join(ARTICLES),
        "pvipdays": 30,
        "redirects": 1,
        "format": "json",
        "formatversion": 2,
    },
    records=views,
    # A day that is not counted yet is null.
    row=lambda v: (
        None if v[2] is None else {"symbol": ARTICLES[v[0]], "value": v[2], "timestamp": iso(v[1])}
    ),
    fixed={"metric_name": "page_views"},
    min_interval=hours(6),
)


def finished_days(body: Mapping[str, Any]) -> list[Any]:
    """The days of a tag but for the newest, which is today and still counts."""
    days = sorted(body["history"], key=lambda day: int(day["day"]))
    return days[:-1]


MASTODON = Source(
    "mastodon", "https://mastodon.social/api/v1", docs="https://docs.joinmastodon.org/methods/tags/"
)
MASTODON.endpoint(
    SentimentMetric,
    "/tags/{each}",
    repeats={"name": "{each}"},
    each={
        "bitcoin": {"symbol": "BTC"},
        "ethereum": {"symbol": "ETH"},
        "crypto": {},
    },
    records=finished_days,
    row=lambda day: {"value": day["uses"], "timestamp": seconds(day["day"])},
    fixed={"metric_name": "mentions"},
    min_interval=hours(6),
)


LEMMY = Source("lemmy", "https://lemmy.world/api/v3", docs="https://join-lemmy.org/api/")
LEMMY.endpoint(
    SentimentMetric,
    "/community",
    repeats={"community_view.community.name": "cryptocurrency"},
    params={"name": "cryptocurrency"},
    records=lambda body: [
        ("community_subscribers", at(body, "community_view.counts.subscribers")),
        ("community_active_users", at(body, "community_view.counts.users_active_day")),
    ],
    row=lambda count: {"metric_name": count[0], "value": count[1]},
    min_interval=hours(6),
)


# Net unrealised profit or loss of all coins, as a share of their value; 15 requests a day.
BITCOIN_DATA = Source(
    "bitcoin_data", "https://bitcoin-data.com", docs="https://bitcoin-data.com/api/scalar.html"
)
BITCOIN_DATA.endpoint(
    SentimentMetric,
    "/v1/nupl/last",
    records=one(),
    row=lambda d: {"value": d["nupl"], "timestamp": seconds(d["unixTs"])},
    fixed={"metric_name": "nupl", "symbol": "BTC"},
    min_interval=hours(6),
)


# Free of charge, this metric ends 30 days ago.
SOCIAL_VOLUME = """{ getMetric(metric: "social_volume_total") {
 timeseriesData(slug: "{each}", from: "utc_now-50d", to: "utc_now-31d", interval: "1d")
 { datetime value } } }"""

SANTIMENT = Source(
    "santiment",
    "https://api.santiment.net",
    docs="https://academy.santiment.net/for-developers/",
    key=Key(env="SANTIMENT_API_KEY", header="Authorization", prefix="Apikey ", required=False),
    per_month=1_000,
)
SANTIMENT.endpoint(
    SentimentMetric,
    "/graphql",
    json={"query": SOCIAL_VOLUME},
    each={
        "bitcoin": {"symbol": "BTC"},
        "ethereum": {"symbol": "ETH"},
        "solana": {"symbol": "SOL"},
    },
    records="data.getMetric.timeseriesData",
    row=lambda d: {"value": d["value"], "timestamp": iso(d["datetime"])},
    fixed={"metric_name": "social_volume"},
    min_interval=hours(12),
)


def hundred_biggest(body: Any) -> list[Any]:
    """The coins up to rank 100, each with the time the answer was made."""
    made = at(body, "config.generated")
    coins = [coin for coin in body["data"] if 0 < (number(coin.get("market_cap_rank")) or 0) <= 100]
    if not coins:
        raise WrongShape("no coin with a rank up to 100")
    return [{**coin, "generated": made} for coin in coins]


LUNARCRUSH = Source(
    "lunarcrush",
    "https://lunarcrush.com/api4",
    docs="https://lunarcrush.com/developers/api/endpoints",
    key=Key(env="LUNARCRUSH_API_KEY", header="Authorization", prefix="Bearer "),
)
LUNARCRUSH.endpoint(
    SentimentMetric,
    "/public/coins/list/v1",
    records=hundred_biggest,
    row=lambda c: (
        None
        if c["galaxy_score"] is None
        else {
            "symbol": c["symbol"],
            "value": c["galaxy_score"],
            "timestamp": seconds(c["generated"]),
        }
    ),
    fixed={"metric_name": "galaxy_score"},
    min_interval=hours(1),
)
