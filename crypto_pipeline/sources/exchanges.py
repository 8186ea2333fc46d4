"""Exchanges: prices and candles of spot markets."""

from crypto_pipeline.sources.spec import Pairs, Source
from crypto_pipeline.sources.values import candle, millis, pairs, ticker
from crypto_pipeline.tables import Candle, MarketPrice

BINANCE = Source(
    "binance",
    "https://data-api.binance.vision",
    docs="https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints",
)

BINANCE.endpoint(
    MarketPrice,
    "/api/v3/ticker/24hr",
    params={"symbolStatus": "TRADING"},
    row=lambda t: ticker(
        t["symbol"],
        t["lastPrice"],
        quote_volume=t["quoteVolume"],
        change_pct=t["priceChangePercent"],
        at=millis(t["closeTime"]),
    ),
)

BINANCE.endpoint(
    Candle,
    "/api/v3/klines",
    params={"symbol": "{each}", "interval": "5m", "limit": 100},
    each=Pairs("{base}USDT", "USDT"),
    fixed={"interval": "5m"},
    row=lambda k: candle(millis(k[0]), *k[1:6]),
)

KRAKEN = Source("kraken", "https://api.kraken.com", docs="https://docs.kraken.com/api", gap=0.5)

KRAKEN.endpoint(
    MarketPrice,
    "/0/public/Ticker",
    params={"assetVersion": 1},
    records=pairs("result"),
    row=lambda p: ticker(p[0], p[1]["c"][0], base_volume=p[1]["v"][1]),
)
