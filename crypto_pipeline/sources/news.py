"""Newsrooms, press offices and announcements: what is written about coins and markets."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from crypto_pipeline.sources.spec import Computed, Key, Source, hours, minutes
from crypto_pipeline.sources.values import (
    article,
    at,
    feed_article,
    iso,
    label,
    millis,
    seconds,
)
from crypto_pipeline.tables import NewsArticle, SentimentMetric

FEED = {"Accept": "application/rss+xml, application/atom+xml, application/xml;q=0.9, */*;q=0.5"}


def feeds(every: timedelta, **addresses: str) -> list[Source]:
    """Sources that are one feed each, by name and address."""
    made = []
    for name, address in addresses.items():
        parts = urlsplit(address)
        source = Source(name, f"https://{parts.netloc}", docs=address, headers=FEED)
        source.feed(parts.path, params=dict(parse_qsl(parts.query)), min_interval=every)
        made.append(source)
    return made


NEWSROOMS = feeds(
    minutes(15),
    coindesk="https://www.coindesk.com/arc/outboundfeeds/rss",
    cointelegraph="https://cointelegraph.com/rss",
    theblock="https://www.theblock.co/rss.xml",
    decrypt="https://decrypt.co/feed",
    blockworks="https://blockworks.co/feed",
    dlnews="https://www.dlnews.com/arc/outboundfeeds/rss/",
    protos="https://protos.com/feed/",
    thedefiant="https://thedefiant.io/api/feed",
    cryptoslate="https://cryptoslate.com/feed/",
    beincrypto="https://beincrypto.com/feed/",
    bitcoinist="https://bitcoinist.com/feed/",
    newsbtc="https://www.newsbtc.com/feed/",
    utoday="https://u.today/rss",
    chaincatcher="https://www.chaincatcher.com/rss.xml",
    dailyhodl="https://dailyhodl.com/feed/",
)

MORE_NEWSROOMS = feeds(
    minutes(30),
    ambcrypto="https://ambcrypto.com/feed/",
    coinjournal="https://coinjournal.net/feed/",
    cryptopolitan="https://www.cryptopolitan.com/feed/",
    bitcoin_com="https://news.bitcoin.com/feed/",
    blockonomi="https://blockonomi.com/feed/",
    coingape="https://coingape.com/feed/",
    coinspeaker="https://www.coinspeaker.com/feed/",
    cointribune="https://www.cointribune.com/en/feed/",
    crypto_economy="https://crypto-economy.com/feed/",
    crypto_news="https://crypto.news/feed/",
    cryptonews="https://cryptonews.com/news/feed/",
    cryptopotato="https://cryptopotato.com/feed/",
    cryptotimes="https://www.cryptotimes.io/feed/",
    finbold="https://finbold.com/feed/",
    financemagnates="https://www.financemagnates.com/cryptocurrency/feed/",
    fxstreet="https://www.fxstreet.com/cryptocurrencies/news/feed",
    insidebitcoins="https://insidebitcoins.com/feed",
    investing="https://www.investing.com/rss/news_301.rss",
    thecryptobasic="https://thecryptobasic.com/feed/",
    thenewscrypto="https://thenewscrypto.com/feed/",
    unchained="https://unchainedcrypto.com/feed/",
    watcherguru="https://watcher.guru/news/feed",
    zycrypto="https://zycrypto.com/feed/",
)

OTHER_LANGUAGES = feeds(
    minutes(30),
    blockmedia="https://www.blockmedia.co.kr/feed",
    btcecho="https://www.btc-echo.de/feed/",
    coindeskjapan="https://www.coindeskjapan.com/feed/",
    coinpost="https://coinpost.jp/?feed=rss2",
    theblockbeats="https://api.theblockbeats.news/v1/open-api/home-xml",
    tokenpost="https://www.tokenpost.kr/rss",
)

AUTHORITIES_AND_MARKETS = feeds(
    minutes(30),
    cnbc_finance="https://www.cnbc.com/id/10000664/device/rss/rss.html",
    ecb_press="https://www.ecb.europa.eu/rss/press.html",
    federalreserve_press="https://www.federalreserve.gov/feeds/press_all.xml",
    kraken_status="https://status.kraken.com/history.rss",
)

BLOGS = feeds(
    hours(3),
    bankless="https://newsletter.banklesshq.com/feed",
    bitcoincore_blog="https://bitcoincore.org/en/rss.xml",
    bitcoincore_releases="https://github.com/bitcoin/bitcoin/releases.atom",
    bitcoinops="https://bitcoinops.org/feed.xml",
    bitfinex_blog="https://blog.bitfinex.com/feed/",
    chainalysis_blog="https://www.chainalysis.com/blog/feed/",
    chainlink_blog="https://blog.chain.link/feed/",
    coinbase_blog="https://www.coinbase.com/blog/rss.xml",
    coincenter="https://www.coincenter.org/feed/",
    coinmetrics_substack="https://coinmetrics.substack.com/feed",
    deribit_insights="https://insights.deribit.com/feed/",
    ethresearch="https://ethresear.ch/latest.rss",
    geth_releases="https://github.com/ethereum/go-ethereum/releases.atom",
    glassnode_insights="https://insights.glassnode.com/rss/",
    kraken_blog="https://blog.kraken.com/feed/",
    ledgerinsights="https://www.ledgerinsights.com/feed/",
    solana_news="https://solana.com/news/rss.xml",
    vitalik_blog="https://vitalik.eth.limo/feed.xml",
    wublockchain="https://wublock.substack.com/feed",
)

# The whole history of the blog in one body of several megabytes.
ETHEREUM_BLOG = feeds(hours(12), ethereum_blog="https://blog.ethereum.org/en/feed.xml")

BLOOMBERG = Source(
    "bloomberg",
    "https://feeds.bloomberg.com",
    docs="https://feeds.bloomberg.com/crypto/news.rss",
    headers=FEED,
)
BLOOMBERG.feed("/crypto/news.rss", variant="crypto", min_interval=minutes(30))
BLOOMBERG.feed("/markets/news.rss", variant="markets", min_interval=minutes(30))


# Searches


def found_by_google(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A headline of Google News: " - Publisher" ends it, and the summary only repeats it."""
    headline, _, publisher = entry["title"].rpartition(" - ")
    return feed_article({**entry, "title": headline or publisher, "summary": None}) | {
        "author": publisher if headline else None
    }


GOOGLE_NEWS = Source(
    "google_news",
    "https://news.google.com",
    docs="https://news.google.com/rss",
    headers=FEED,
)
GOOGLE_NEWS.feed(
    "/rss/search",
    params={
        "q": "(bitcoin OR ethereum OR cryptocurrency) when:1d",
        "hl": "en-US",
        "gl": "US",
        "ceid": "US:en",
    },
    row=found_by_google,
    min_interval=minutes(30),
)

GDELT = Source(
    "gdelt",
    "https://api.gdeltproject.org",
    docs="https://blog.gdeltproject.org/gdelt-doc-2-0-api-debuts/",
    gap=6,
)

GDELT.endpoint(
    NewsArticle,
    "/api/v2/doc/doc",
    params={
        "query": "(bitcoin OR ethereum OR cryptocurrency) sourcelang:english",
        "mode": "artlist",
        "format": "json",
        "maxrecords": 250,
        "timespan": "2h",
        "sort": "datedesc",
    },
    records="articles",
    # The title comes tokenised, with blanks around its punctuation; seendate is when it was read.
    row=lambda a: article(a["title"], a["url"], iso(a["seendate"])),
    min_interval=hours(1),
)


def timeline(body: Any) -> list[Any]:
    """The points of the first series but for the newest, whose quarter of an hour still runs."""
    points = at(body, "timeline.0.data")
    return sorted(points, key=lambda point: point["date"])[:-1]


for mode, metric in (("timelinetone", "news_tone"), ("timelinevolraw", "news_volume")):
    GDELT.endpoint(
        SentimentMetric,
        "/api/v2/doc/doc",
        variant=metric,
        params={"query": "bitcoin", "mode": mode, "format": "json", "timespan": "1d"},
        records=timeline,
        row=lambda p: {"value": p["value"], "timestamp": iso(p["date"])},
        fixed={"metric_name": metric, "symbol": "BTC"},
        min_interval=hours(1),
    )

HACKERNEWS = Source(
    "hackernews", "https://hn.algolia.com/api/v1", docs="https://hn.algolia.com/api"
)

HACKERNEWS.endpoint(
    NewsArticle,
    "/search_by_date",
    params={"query": "bitcoin", "tags": "story", "hitsPerPage": 100},
    records="hits",
    row=lambda h: article(
        h["title"],
        h.get("url") or f"https://news.ycombinator.com/item?id={label(h['objectID'])}",
        seconds(h["created_at_i"]),
        content=h.get("story_text"),
        author=h.get("author"),
    ),
    min_interval=minutes(30),
)

HACKERNEWS.endpoint(
    SentimentMetric,
    "/search_by_date",
    repeats={"query": "{each}"},
    params={
        "query": "{each}",
        "tags": "(story,comment)",
        "numericFilters": Computed(lambda now: f"created_at_i>{int(now.timestamp()) - 86_400}"),
        "hitsPerPage": 0,
    },
    each={
        "bitcoin": {"symbol": "BTC"},
        "ethereum": {"symbol": "ETH"},
        "solana": {"symbol": "SOL"},
        "cryptocurrency": {},
    },
    records=lambda body: [body["nbHits"]],
    row=lambda count: {"value": count},
    fixed={"metric_name": "mentions_24h"},
    min_interval=hours(1),
)


# Exchanges' announcements


def by_catalog(body: Any) -> list[tuple[str, Any]]:
    return [
        (catalog["catalogName"], entry)
        for catalog in at(body, "data.catalogs")
        for entry in catalog["articles"]
    ]


BINANCE_ANNOUNCEMENTS = Source(
    "binance_announcements",
    "https://www.binance.com/bapi/composite/v1/public/cms",
    docs="https://www.binance.com/en/support/announcement",
)
BINANCE_ANNOUNCEMENTS.endpoint(
    NewsArticle,
    "/article/list/query",
    params={"type": 1, "pageNo": 1, "pageSize": 20},
    records=by_catalog,
    row=lambda pair: article(
        pair[1]["title"],
        f"https://www.binance.com/en/support/announcement/{label(pair[1]['code'])}",
        millis(pair[1]["releaseDate"]),
        tags=[pair[0]],
    ),
)

OKX_ANNOUNCEMENTS = Source(
    "okx_announcements",
    "https://www.okx.com/api/v5/support",
    docs="https://www.okx.com/docs-v5/en/#announcement-get-announcements",
)
OKX_ANNOUNCEMENTS.endpoint(
    NewsArticle,
    "/announcements",
    params={"page": 1},
    records="data.0.details",
    row=lambda a: article(a["title"], a["url"], millis(a["pTime"]), tags=[a["annType"]]),
)

BYBIT_ANNOUNCEMENTS = Source(
    "bybit_announcements",
    "https://api.bybit.com/v5/announcements",
    docs="https://bybit-exchange.github.io/docs/v5/announcement",
)
BYBIT_ANNOUNCEMENTS.endpoint(
    NewsArticle,
    "/index",
    params={"locale": "en-US", "limit": 20},
    records="result.list",
    row=lambda a: article(
        a["title"],
        a["url"],
        millis(a["dateTimestamp"]),
        content=a.get("description"),
        tags=[a["type"]["key"], *(a.get("tags") or [])],
    ),
)

KUCOIN_ANNOUNCEMENTS = Source(
    "kucoin_announcements",
    "https://api.kucoin.com/api/v3",
    docs="https://www.kucoin.com/docs-new/rest/spot-trading/market-data/get-announcements",
)
KUCOIN_ANNOUNCEMENTS.endpoint(
    NewsArticle,
    "/announcements",
    params={
        "currentPage": 1,
        "pageSize": 50,
        "annType": "latest-announcements",
        "lang": "en_US",
    },
    records="data.items",
    row=lambda a: article(
        a["annTitle"],
        a["annUrl"],
        millis(a["cTime"]),
        content=a.get("annDesc"),
        tags=a.get("annType") or [],
    ),
)

UPBIT_ANNOUNCEMENTS = Source(
    "upbit_announcements",
    "https://api-manager.upbit.com/api/v1",
    docs="https://upbit.com/service_center/notice",
    gap=6,
)
UPBIT_ANNOUNCEMENTS.endpoint(
    NewsArticle,
    "/announcements",
    params={"os": "web", "page": 1, "per_page": 20, "category": "all"},
    records="data.notices",
    row=lambda n: article(
        n["title"],
        f"https://upbit.com/service_center/notice?id={label(n['id'])}",
        iso(n.get("first_listed_at") or n["listed_at"]),
        tags=[n.get("category")],
    ),
)

BITGET_ANNOUNCEMENTS = Source(
    "bitget_announcements",
    "https://api.bitget.com/api/v2/public",
    docs="https://www.bitget.com/api-doc/common/notice/Get-All-Notices",
)
BITGET_ANNOUNCEMENTS.endpoint(
    NewsArticle,
    "/annoucements",  # as they spell it
    params={"language": "en_US"},
    records="data",
    row=lambda a: article(
        a["annTitle"],
        a["annUrl"],
        millis(a["cTime"]),
        content=a.get("annDesc"),
        tags=[a.get("annType"), a.get("annSubType")],
    ),
)

BITMEX_ANNOUNCEMENTS = Source(
    "bitmex_announcements",
    "https://www.bitmex.com/api/v1",
    docs="https://www.bitmex.com/api/explorer/#!/Announcement/Announcement_get",
)
BITMEX_ANNOUNCEMENTS.endpoint(
    NewsArticle,
    "/announcement",
    params={"columns": "title,link,date,content"},
    row=lambda a: article(a["title"], a["link"], iso(a["date"]), content=a.get("content")),
    min_interval=hours(1),
)


# Aggregators of news


COINMARKETCAP_NEWS = Source(
    "coinmarketcap_news",
    "https://api.coinmarketcap.com/content/v3",
    docs="https://coinmarketcap.com/headlines/news/",
)
COINMARKETCAP_NEWS.endpoint(
    NewsArticle,
    "/news",
    params={"page": 1, "size": 40, "language": "en"},
    records="data",
    row=lambda n: (
        article(
            n["meta"]["title"],
            n["meta"]["sourceUrl"],
            iso(n["meta"].get("releasedAt") or n.get("createdAt")),
            content=n["meta"].get("subtitle"),
            author=n["meta"].get("sourceName"),
            tags=[asset["name"] for asset in n.get("assets") or []],
        )
        if n["meta"]
        else None
    ),
)

CRYPTOCURRENCY_CV = Source(
    "cryptocurrency_cv",
    "https://cryptocurrency.cv/api",
    docs="https://github.com/nirholas/free-crypto-news",
)
CRYPTOCURRENCY_CV.endpoint(
    NewsArticle,
    "/news",
    params={"limit": 50},
    records="articles",
    # Beside news there are rows of gas prices, network figures and trading ideas.
    row=lambda a: (
        article(
            a["title"],
            a["link"],
            iso(a.get("pubDate")),
            content=a.get("description"),
            author=a.get("author"),
            tags=[a.get("category")],
        )
        if a.get("contentType") == "news"
        else None
    ),
    min_interval=minutes(30),
)

BLOCKCHAIR_NEWS = Source(
    "blockchair_news",
    "https://api.blockchair.com",
    docs="https://blockchair.com/api/docs",
    key=Key(env="BLOCKCHAIR_API_KEY", query="key", required=False),
    gap=0.25,
    per_day=288,  # 1,440 points; a call costs up to 5
)
BLOCKCHAIR_NEWS.endpoint(
    NewsArticle,
    "/news",
    params={"q": "language(en)", "limit": 100},
    records="data",
    row=lambda n: article(n["title"], n["link"], iso(n["time"]), content=n.get("description")),
    min_interval=hours(1),
)

ARCTIC_SHIFT = Source(
    "arctic_shift",
    "https://arctic-shift.photon-reddit.com/api",
    docs="https://github.com/ArthurHeitmann/arctic_shift/blob/master/api/README.md",
    gap=1,
)
ARCTIC_SHIFT.endpoint(
    NewsArticle,
    "/posts/search",
    params={"subreddit": "{each}", "limit": 100, "sort": "desc"},
    each={"CryptoCurrency": {}, "Bitcoin": {}, "ethereum": {}},
    records="data",
    row=lambda p: article(
        p["title"],
        f"https://www.reddit.com{label(p['permalink'])}",
        seconds(p["created_utc"]),
        content=p.get("selftext"),
        author=p.get("author"),
        tags=[f"r/{p['subreddit']}", p.get("link_flair_text")],
    ),
    min_interval=hours(1),
)


# With a key


CRYPTOPANIC = Source(
    "cryptopanic",
    "https://cryptopanic.com/api/developer/v2",
    docs="https://cryptopanic.com/developers/api/",
    key=Key(env="CRYPTOPANIC_TOKEN", query="auth_token"),
    per_month=100,
)
CRYPTOPANIC.endpoint(
    NewsArticle,
    "/posts/",
    params={"public": "true", "kind": "news"},
    records="results",
    row=lambda p: article(
        p["title"],
        p.get("original_url") or p["url"],
        iso(p["published_at"]),
        content=p.get("description"),
        tags=[coin["code"] for coin in p.get("instruments") or []],
    ),
    min_interval=hours(8),  # the smallest plan allows about 100 requests a month
)

NEWSAPI = Source(
    "newsapi",
    "https://newsapi.org/v2",
    docs="https://newsapi.org/docs/endpoints/everything",
    key=Key(env="NEWSAPI_KEY", header="X-Api-Key"),
    per_day=100,
)
NEWSAPI.endpoint(
    NewsArticle,
    "/everything",
    params={
        "q": "bitcoin OR ethereum OR cryptocurrency",
        "language": "en",
        "sortBy": "publishedAt",
        "pageSize": 100,
    },
    records="articles",
    row=lambda a: (
        None
        if a["title"] == "[Removed]"
        else article(
            a["title"],
            a["url"],
            iso(a["publishedAt"]),
            content=a.get("description"),
            author=a.get("author"),
        )
    ),
    min_interval=hours(1),
)

COINDESK_DATA_NEWS = Source(
    "coindesk_data_news",
    "https://data-api.coindesk.com/news/v1",
    docs="https://developers.coindesk.com/documentation/data-api/news_v1_article_list",
    key=Key(env="COINDESK_API_KEY", query="api_key"),
)
COINDESK_DATA_NEWS.endpoint(
    NewsArticle,
    "/article/list",
    params={"lang": "EN", "limit": 100},
    records="Data",
    row=lambda a: article(
        a["TITLE"],
        a["URL"],
        seconds(a["PUBLISHED_ON"]),
        content=a.get("BODY"),
        author=a.get("AUTHORS"),
        tags=[category["CATEGORY"] for category in a.get("CATEGORY_DATA") or []],
        sentiment=(a.get("SENTIMENT") or "").lower() or None,
    ),
    min_interval=minutes(30),
)

CRYPTOCOMPARE_NEWS = Source(
    "cryptocompare_news",
    "https://min-api.cryptocompare.com/data/v2",
    docs="https://min-api.cryptocompare.com/documentation",
    key=Key(env="CRYPTOCOMPARE_API_KEY", query="api_key"),
)
CRYPTOCOMPARE_NEWS.endpoint(
    NewsArticle,
    "/news/",
    params={"lang": "EN"},
    records="Data",
    row=lambda a: article(
        a["title"],
        a["url"],
        seconds(a["published_on"]),
        content=a.get("body"),
        tags=(a.get("categories") or "").split("|"),
    ),
    min_interval=minutes(30),
)

MOODS = {
    "Bearish": "negative",
    "Somewhat-Bearish": "negative",
    "Neutral": "neutral",
    "Somewhat-Bullish": "positive",
    "Bullish": "positive",
}

ALPHAVANTAGE_NEWS = Source(
    "alphavantage_news",
    "https://www.alphavantage.co",
    docs="https://www.alphavantage.co/documentation/#news-sentiment",
    key=Key(env="ALPHAVANTAGE_API_KEY", query="apikey"),
    per_day=25,
)
ALPHAVANTAGE_NEWS.endpoint(
    NewsArticle,
    "/query",
    params={"function": "NEWS_SENTIMENT", "tickers": "CRYPTO:BTC", "limit": 200},
    records="feed",
    row=lambda a: article(
        a["title"],
        a["url"],
        iso(a["time_published"]),
        content=a.get("summary"),
        author=", ".join(a.get("authors") or []),
        tags=[topic["topic"] for topic in a.get("topics") or []],
        sentiment=MOODS.get(a.get("overall_sentiment_label")),
    ),
    min_interval=hours(3),
)

GNEWS = Source(
    "gnews",
    "https://gnews.io/api/v4",
    docs="https://gnews.io/docs/v4",
    key=Key(env="GNEWS_API_KEY", query="apikey"),
    per_day=100,
)
GNEWS.endpoint(
    NewsArticle,
    "/search",
    params={"q": "bitcoin", "lang": "en", "max": 10},
    records="articles",
    row=lambda a: article(
        a["title"], a["url"], iso(a["publishedAt"]), content=a.get("description")
    ),
    min_interval=hours(1),
)

NEWSDATA = Source(
    "newsdata",
    "https://newsdata.io/api/1",
    docs="https://newsdata.io/documentation",
    key=Key(env="NEWSDATA_API_KEY", query="apikey"),
    per_day=200,
)
NEWSDATA.endpoint(
    NewsArticle,
    "/crypto",
    params={"language": "en"},
    records="results",
    row=lambda a: article(
        a["title"],
        a["link"],
        iso(a["pubDate"]),
        content=a.get("description"),
        author=", ".join(a.get("creator") or []),
        tags=a.get("coin") or [],
    ),
    min_interval=hours(1),
)

FINNHUB_NEWS = Source(
    "finnhub_news",
    "https://finnhub.io/api/v1",
    docs="https://finnhub.io/docs/api/market-news",
    key=Key(env="FINNHUB_API_KEY", query="token"),
)
FINNHUB_NEWS.endpoint(
    NewsArticle,
    "/news",
    params={"category": "crypto"},
    row=lambda a: article(
        a["headline"], a["url"], seconds(a["datetime"]), content=a.get("summary")
    ),
    min_interval=minutes(30),
)

MARKETAUX = Source(
    "marketaux",
    "https://api.marketaux.com/v1",
    docs="https://www.marketaux.com/documentation",
    key=Key(env="MARKETAUX_API_TOKEN", query="api_token"),
    per_day=100,
)
MARKETAUX.endpoint(
    NewsArticle,
    "/news/all",
    params={"entity_types": "cryptocurrency", "language": "en"},
    records="data",
    row=lambda a: article(
        a["title"],
        a["url"],
        iso(a["published_at"]),
        content=a.get("description"),
        tags=[entity["symbol"] for entity in a.get("entities") or []],
    ),
    min_interval=hours(1),
)

COINSTATS_NEWS = Source(
    "coinstats_news",
    "https://openapiv1.coinstats.app",
    docs="https://coinstats.app/api-docs/",
    key=Key(env="COINSTATS_API_KEY", header="X-API-KEY"),
    per_month=20_000,
)
COINSTATS_NEWS.endpoint(
    NewsArticle,
    "/news",
    params={"limit": 20},
    records="result",
    row=lambda a: article(
        a["title"],
        a["link"],
        millis(a["feedDate"]),
        content=a.get("description"),
        tags=[coin["coinKeyWords"] for coin in a.get("coins") or []],
    ),
    min_interval=hours(1),
)

TIINGO_NEWS = Source(
    "tiingo_news",
    "https://api.tiingo.com/tiingo",
    docs="https://www.tiingo.com/documentation/news",
    key=Key(env="TIINGO_API_KEY", header="Authorization", prefix="Token "),
    per_day=1_000,
)
TIINGO_NEWS.endpoint(
    NewsArticle,
    "/news",
    params={"tags": "bitcoin,cryptocurrency", "limit": 100},
    row=lambda a: article(
        a["title"],
        a["url"],
        iso(a["publishedDate"]),
        content=a.get("description"),
        tags=[*(a.get("tags") or []), *(a.get("tickers") or [])],
    ),
    min_interval=hours(1),
)
