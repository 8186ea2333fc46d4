"""Aggregators: products that watch many markets and speak of coins, not of pairs."""

from crypto_pipeline.sources.spec import Key, Source
from crypto_pipeline.sources.values import iso, nonzero, one, seconds
from crypto_pipeline.tables import GlobalMarket, MarketPrice

COINGECKO = Source(
    "coingecko",
    "https://api.coingecko.com/api/v3",
    docs="https://docs.coingecko.com/reference/introduction",
    key=Key(env="COINGECKO_API_KEY", header="x-cg-demo-api-key", required=False),
    gap=1,
)

COINGECKO.endpoint(
    MarketPrice,
    "/coins/markets",
    params={"vs_currency": "usd", "order": "market_cap_desc", "per_page": 250, "page": 1},
    row=lambda c: {
        "source_id": c["id"],
        "symbol": c["symbol"],
        "name": c["name"],
        "quote": "USD",
        "price_usd": c["current_price"],
        "market_cap": nonzero(c["market_cap"]),
        "volume_24h": c["total_volume"],
        "price_change_24h": c["price_change_percentage_24h"],
        "source_at": iso(c["last_updated"]),
    },
)

COINGECKO.endpoint(
    GlobalMarket,
    "/global",
    records=one("data"),
    row=lambda g: {
        "total_market_cap_usd": g["total_market_cap"]["usd"],
        "total_volume_24h_usd": g["total_volume"]["usd"],
        "btc_dominance_pct": g["market_cap_percentage"]["btc"],
        "eth_dominance_pct": g["market_cap_percentage"]["eth"],
        "market_cap_change_24h_pct": g["market_cap_change_percentage_24h_usd"],
        "active_coins": g["active_cryptocurrencies"],
        "markets": g["markets"],
        "source_at": seconds(g["updated_at"]),
    },
)

COINLORE = Source(
    "coinlore",
    "https://api.coinlore.net",
    docs="https://www.coinlore.com/cryptocurrency-data-api",
    gap=1,
)

COINLORE.endpoint(
    MarketPrice,
    "/api/tickers/",
    params={"start": 0, "limit": 100},
    records="data",
    row=lambda c: {
        "source_id": c["id"],
        "symbol": c["symbol"],
        "name": c["name"],
        "quote": "USD",
        "price_usd": c["price_usd"],
        "market_cap": nonzero(c["market_cap_usd"]),
        "volume_24h": c["volume24"],
        "price_change_24h": c["percent_change_24h"],
    },
)
