"""Exchanges: prices and candles of spot markets."""

import re
from collections.abc import Mapping
from typing import Any

from crypto_pipeline.sources.spec import Codes, Pairs, Source, ago, hours, minutes, now
from crypto_pipeline.sources.values import (
    FIVE_MINUTES,
    HOUR,
    STABLECOINS,
    Maker,
    WrongShape,
    at,
    candle,
    flag,
    iso,
    millis,
    named_candle,
    nanos,
    nonzero,
    pairs,
    parallel,
    per,
    percent,
    seconds,
    ticker,
)
from crypto_pipeline.tables import Candle, MarketPrice

CODES_OF_BINANCE: Codes = {"-1003": "throttled", "-1008": "throttled", "-1001": "unreachable"}
CODES_OF_OKX: Codes = {
    "50011": "throttled",
    **dict.fromkeys(("50001", "50004", "50013", "50026"), "unreachable"),
}
CODES_OF_BYBIT: Codes = {"10006": "throttled", "10018": "throttled", "10000": "unreachable"}
CODES_OF_KUCOIN: Codes = {"429000": "throttled"}
CODES_OF_MEXC: Codes = {"510": "throttled"}
"""Codes of errors as the venues document them, where they are not those of HTTP."""

BINANCE = Source(
    "binance",
    "https://data-api.binance.vision",
    docs="https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints",
    codes=CODES_OF_BINANCE,
)

BINANCE.markets(
    "/api/v3/ticker/24hr",
    typical_bytes=100_000,
    params={"symbolStatus": "TRADING", "type": "MINI"},
    row=lambda t, make: make(
        t["symbol"],
        t["lastPrice"],
        quote_volume=t["quoteVolume"],
        opened=t["openPrice"],
        at=millis(t["closeTime"]),
        quotes=STABLECOINS,
    ),
)

BINANCE.endpoint(
    Candle,
    "/api/v3/klines",
    width=12,
    params={"symbol": "{each}", "interval": "5m", "limit": 100},
    each=Pairs("{base}USDT", "USDT"),
    fixed=FIVE_MINUTES,
    row=lambda k: candle(millis(k[0]), *k[1:6]),
)

COINBASE_EXCHANGE = Source(
    "coinbase_exchange",
    "https://api.exchange.coinbase.com",
    docs="https://docs.cdp.coinbase.com/exchange/reference",
    aliases={"CGLD": "CELO"},
    voice_of="coinbase",
)


def coinbase_stats(product: tuple[str, Mapping[str, Any]], make: Maker) -> dict[str, Any] | None:
    name, stats = product
    day = stats["stats_24hour"]
    return make(name, day["last"], base_volume=day["volume"], opened=day["open"])


COINBASE_EXCHANGE.markets(
    "/products/stats", typical_bytes=33_000, records=pairs(), row=coinbase_stats
)

COINBASE_EXCHANGE.endpoint(
    Candle,
    "/products/{each}/candles",
    width=6,
    typical_bytes=10_000,
    params={"granularity": 300},
    each=Pairs("{base}-USD", "USD", names={"TRX": None}),
    fixed=FIVE_MINUTES,
    # time, low, high, open, close
    row=lambda k: candle(seconds(k[0]), k[3], k[2], k[1], k[4], k[5]),
)

KRAKEN_OLD_NAME = re.compile(r"([XZ]?)([A-Z]{3,4})(?:Z([A-Z]{3})|X(XBT|ETH))")


def kraken_pair(name: str) -> str | tuple[str, str]:
    """Base and quote of a name of eight letters, in which older currencies begin with Z and older
    coins with X: XXBTZUSD, USDTZUSD. Other names are as anywhere."""
    found = KRAKEN_OLD_NAME.fullmatch(name) if len(name) == 8 else None
    return (found[2], found[3] or found[4]) if found else name


def kraken_ticker(market: tuple[str, Mapping[str, Any]], make: Maker) -> dict[str, Any] | None:
    """AAVE/USD:BTNL is a market of another venue; `o` is the price at midnight, not 24 hours ago.
    Each pair of figures is of today and of the last 24 hours."""
    name, t = market
    if ":" in name:
        return None
    (_, volume), (_, vwap), (last, _) = t["v"], t["p"], t["c"]
    pair = kraken_pair(name)
    return make(pair, last, base_volume=volume, vwap=vwap, source_id=name)


KRAKEN = Source("kraken", "https://api.kraken.com", docs="https://docs.kraken.com/api", gap=0.2)

KRAKEN.markets(
    "/0/public/Ticker",
    typical_bytes=110_000,
    params={"assetVersion": 1},
    records=pairs("result"),
    row=kraken_ticker,
)


def kraken_candles(body: Any) -> list[Any]:
    """The one list under result: asked for XBTUSD, the answer comes under XXBTZUSD."""
    found = [value for name, value in at(body, "result").items() if name != "last"]
    if len(found) != 1:
        raise WrongShape(f"{len(found)} pairs under result where one was asked for")
    return list(found[0])


KRAKEN.endpoint(
    Candle,
    "/0/public/OHLC",
    width=8,
    params={"pair": "{each}", "interval": 5, "since": ago(hours=9)},
    records=kraken_candles,
    each=Pairs("{base}USD", "USD", names={"BTC": "XBT", "DOGE": "XDG"}),
    fixed=FIVE_MINUTES,
    # the sixth column is the average price, the seventh the volume
    row=lambda k: candle(seconds(k[0]), k[1], k[2], k[3], k[4], k[6]),
)

OKX = Source(
    "okx", "https://www.okx.com", docs="https://www.okx.com/docs-v5/en/", codes=CODES_OF_OKX
)

OKX.markets(
    "/api/v5/market/tickers",
    repeats={"*.instType": "SPOT"},
    typical_bytes=80_000,
    params={"instType": "SPOT"},
    records="data",
    row=lambda t, make: make(
        t["instId"],
        t["last"],
        quote_volume=t["volCcy24h"],
        opened=t["open24h"],
        at=millis(t["ts"]),
    ),
)

OKX.endpoint(
    Candle,
    "/api/v5/market/candles",
    width=9,
    params={"instId": "{each}", "bar": "5m", "limit": 100},
    records="data",
    each=Pairs("{base}-USDT", "USDT"),
    fixed=FIVE_MINUTES,
    row=lambda k: candle(millis(k[0]), *k[1:6]),
)

BYBIT = Source(
    "bybit",
    "https://api.bybit.com",
    docs="https://bybit-exchange.github.io/docs/v5/market/tickers",
    codes=CODES_OF_BYBIT,
)

BYBIT.markets(
    "/v5/market/tickers",
    repeats={"result.category": "spot"},
    typical_bytes=50_000,
    params={"category": "spot"},
    records="result.list",
    row=lambda t, make: make(
        t["symbol"],
        t["lastPrice"],
        quote_volume=t["turnover24h"],
        change_pct=percent(t["price24hPcnt"]),
        quotes=STABLECOINS,
    ),
)

BYBIT.endpoint(
    Candle,
    "/v5/market/kline",
    width=7,
    repeats={"result.category": "spot", "result.symbol": "{each}"},
    params={"category": "spot", "symbol": "{each}", "interval": 5, "limit": 100},
    records="result.list",
    each=Pairs("{base}USDT", "USDT"),
    fixed=FIVE_MINUTES,
    row=lambda k: candle(millis(k[0]), *k[1:6]),
)

KUCOIN = Source(
    "kucoin",
    "https://api.kucoin.com",
    docs="https://www.kucoin.com/docs-new",
    codes=CODES_OF_KUCOIN,
)

KUCOIN.markets(
    "/api/v1/market/allTickers",
    typical_bytes=120_000,
    records="data.ticker",
    row=lambda t, make: make(
        t["symbol"],
        t["last"],
        quote_volume=t["volValue"],
        change_pct=percent(t["changeRate"]),
    ),
)

KUCOIN.endpoint(
    Candle,
    "/api/v1/market/candles",
    width=7,
    params={"type": "5min", "symbol": "{each}", "startAt": ago(hours=9)},
    records="data",
    each=Pairs("{base}-USDT", "USDT"),
    fixed=FIVE_MINUTES,
    # time, open, close, high, low
    row=lambda k: candle(seconds(k[0]), k[1], k[3], k[4], k[2], k[5]),
)

GATE = Source("gate", "https://api.gateio.ws", docs="https://www.gate.com/docs/developers/apiv4/")

GATE.endpoint(
    MarketPrice,
    "/api/v4/spot/tickers",
    typical_bytes=150_000,
    row=lambda t: ticker(
        t["currency_pair"],
        t["last"],
        quote_volume=t["quote_volume"],
        change_pct=t["change_percentage"],
    ),
)

GATE.endpoint(
    Candle,
    "/api/v4/spot/candlesticks",
    width=8,
    params={"currency_pair": "{each}", "interval": "5m", "limit": 100},
    each=Pairs("{base}_USDT", "USDT"),
    fixed=FIVE_MINUTES,
    # time, volume in quote currency, close, high, low, open, volume in coins
    row=lambda k: candle(seconds(k[0]), k[5], k[3], k[4], k[2], k[6]),
)

BITGET = Source(
    "bitget",
    "https://api.bitget.com",
    docs="https://www.bitget.com/api-doc/spot/market/Get-Tickers",
)

BITGET.endpoint(
    MarketPrice,
    "/api/v2/spot/market/tickers",
    typical_bytes=70_000,
    records="data",
    row=lambda t: ticker(
        t["symbol"],
        t["lastPr"],
        quote_volume=t["quoteVolume"],
        change_pct=percent(t["change24h"]),
        at=millis(t["ts"]),
        quotes=STABLECOINS,
    ),
)

BITGET.endpoint(
    Candle,
    "/api/v2/spot/market/candles",
    width=8,
    params={"symbol": "{each}", "granularity": "5min", "limit": 100},
    records="data",
    each=Pairs("{base}USDT", "USDT"),
    fixed=FIVE_MINUTES,
    row=lambda k: candle(millis(k[0]), *k[1:6]),
)

MEXC = Source(
    "mexc",
    "https://api.mexc.com",
    docs="https://www.mexc.com/api-docs/spot-v3/introduction",
    aliases={"XBT": "XBT"},  # another coin there
    codes=CODES_OF_MEXC,
)

MEXC.endpoint(
    MarketPrice,
    "/api/v3/ticker/24hr",
    typical_bytes=200_000,
    min_interval=minutes(30),
    row=lambda t: ticker(
        t["symbol"],
        t["lastPrice"],
        base_volume=t["volume"],
        quote_volume=t["quoteVolume"],
        change_pct=percent(t["priceChangePercent"]),
        at=millis(t["closeTime"]),
        quotes=STABLECOINS,
    ),
)

MEXC.endpoint(
    Candle,
    "/api/v3/klines",
    width=8,
    params={"symbol": "{each}", "interval": "5m", "limit": 100},
    each=Pairs("{base}USDT", "USDT"),
    fixed=FIVE_MINUTES,
    row=lambda k: candle(millis(k[0]), *k[1:6]),
)

HTX = Source("htx", "https://api.huobi.pro", docs="https://www.htx.com/en-us/opend/newApiPages/")

HTX.endpoint(
    MarketPrice,
    "/market/tickers",
    typical_bytes=85_000,
    records="data",
    # `amount` is in coins, `vol` in quote currency; `open` is the price at midnight in Singapore,
    # not 24 hours ago
    row=lambda t: ticker(t["symbol"], t["close"], quote_volume=t["vol"], quotes=STABLECOINS),
)

HTX.endpoint(
    Candle,
    "/market/history/kline",
    params={"symbol": "{each}", "period": "5min", "size": 100},
    repeats={"ch": "market.{each}.kline.5min"},
    records="data",
    each=Pairs("{base}usdt", "USDT", lower=True),
    fixed=FIVE_MINUTES,
    row=lambda k: candle(seconds(k["id"]), k["open"], k["high"], k["low"], k["close"], k["amount"]),
)

BITFINEX = Source(
    "bitfinex",
    "https://api-pub.bitfinex.com",
    docs="https://docs.bitfinex.com/reference/rest-public-tickers",
    aliases={
        "UST": "USDT",
        "UDC": "USDC",
        "TSD": "TUSD",
        "EUT": "EURT",
        "TERRAUST": "USTC",
        "ALG": "ALGO",
        "AMP": "AMPL",
        "ATO": "ATOM",
        "BCHABC": "XEC",
        "BCHN": "BCH",
        "DSH": "DASH",
        "IOT": "IOTA",
        "LUNA": "LUNC",
        "LUNA2": "LUNA",
        "MNA": "MANA",
        "QTM": "QTUM",
        "STJ": "STORJ",
        "WAX": "WAXP",
    },
    gap=0.15,
)


def bitfinex_ticker(t: list[Any], make: Maker) -> dict[str, Any] | None:
    """Pairs begin with t; what begins with f is a currency that is lent, in other columns."""
    name = t[0]
    if not name.startswith("t"):
        return None
    base, colon, quote = name[1:].partition(":")
    if not colon:
        base, quote = name[1:-3], name[-3:]
    quote = BITFINEX.aliases.get(quote, quote)
    return make((base, quote), t[7], base_volume=t[8], change_pct=percent(t[6]), source_id=name)


BITFINEX.markets(
    "/v2/tickers",
    width=11,
    typical_bytes=12_000,
    params={"symbols": "ALL"},
    row=bitfinex_ticker,
)

BITFINEX.endpoint(
    Candle,
    "/v2/candles/trade:5m:t{each}/hist",
    width=6,
    params={"limit": 100},
    each=Pairs(
        "{base}USD",
        "USD",
        names={"DOGE": "DOGE:", "LINK": "LINK:", "AVAX": "AVAX:", "BNB": None},
    ),
    fixed=FIVE_MINUTES,
    # time, open, close, high, low
    row=lambda k: candle(millis(k[0]), k[1], k[3], k[4], k[2], k[5]),
)

BITSTAMP = Source("bitstamp", "https://www.bitstamp.net", docs="https://www.bitstamp.net/api/")

BITSTAMP.markets(
    "/api/v2/ticker/",
    typical_bytes=14_000,
    # perpetuals are listed too, as BTC/USD-PERP
    row=lambda t, make: (
        None
        if t.get("market_type", "SPOT") != "SPOT" or t["pair"].endswith("PERP")
        else make(
            t["pair"],
            t["last"],
            base_volume=t["volume"],
            vwap=t["vwap"],
            change_pct=t["percent_change_24"],
            at=seconds(t["timestamp"]),
        )
    ),
)

BITSTAMP.endpoint(
    Candle,
    "/api/v2/ohlc/{each}/",
    repeats={"data.pair": "{each}"},
    params={"step": 300, "limit": 100},
    records="data.ohlc",
    each=Pairs("{base}usd", "USD", names={"BNB": None, "TRX": None}, lower=True),
    fixed=FIVE_MINUTES,
    row=lambda k: named_candle(seconds(k["timestamp"]), k),
)

GEMINI = Source(
    "gemini", "https://api.gemini.com", docs="https://docs.gemini.com/rest/market-data", gap=0.25
)


def gemini_ticker(t: Mapping[str, Any]) -> dict[str, Any] | None:
    """BTCGUSD is quoted in GUSD, another stablecoin, but PAXGUSD is PAXG in dollars."""
    name = t["pair"]
    return ticker(
        ("PAXG", "USD") if name == "PAXGUSD" else name,
        t["price"],
        change_pct=percent(t["percentChange24h"]),
        source_id=name,
        quotes=("USD", "USDT", "USDC", "DAI", "GUSD", "RLUSD"),
    )


GEMINI.endpoint(MarketPrice, "/v1/pricefeed", typical_bytes=3_000, row=gemini_ticker)

GEMINI.endpoint(
    Candle,
    "/v2/candles/{each}/5m",
    width=6,
    min_interval=hours(1),
    typical_bytes=30_000,
    # Prices and open interest are asked for at the same host: not all of its coins.
    each={
        f"{symbol.lower()}usd": {"symbol": symbol, "quote": "USD"}
        for symbol in ("BTC", "ETH", "SOL", "XRP", "DOGE")
    },
    fixed=FIVE_MINUTES,
    row=lambda k: candle(millis(k[0]), *k[1:6]),
)

CRYPTOCOM = Source(
    "cryptocom",
    "https://api.crypto.com/exchange/v1",
    docs="https://exchange-docs.crypto.com/exchange/v1/rest-ws/index.html",
)

CRYPTOCOM.endpoint(
    MarketPrice,
    "/public/get-tickers",
    typical_bytes=50_000,
    records="result.data",
    # `a` is the last trade, not the ask (that is `k`); `vv` is in US dollars
    row=lambda t: ticker(
        t["i"],
        t["a"],
        quote_volume=t["vv"],
        change_pct=percent(t["c"]),
        at=millis(t["t"]),
    ),
)

CRYPTOCOM.endpoint(
    Candle,
    "/public/get-candlestick",
    repeats={"result.instrument_name": "{each}", "result.interval": "{interval}"},
    params={"instrument_name": "{each}", "timeframe": "5m", "count": 100},
    records="result.data",
    each=Pairs("{base}_USD", "USD", names={"BNB": None, "TRX": None}),
    fixed=FIVE_MINUTES,
    row=lambda k: candle(millis(k["t"]), k["o"], k["h"], k["l"], k["c"], k["v"]),
)

BINANCE_US = Source(
    "binance_us",
    "https://api.binance.us",
    docs="https://docs.binance.us/#get-24h-price-change-statistics",
    voice_of="binance",
)

BINANCE_US.endpoint(
    MarketPrice,
    "/api/v3/ticker/24hr",
    typical_bytes=33_000,
    # many markets there stand still: without a trade in 24 hours the last price is an old one
    row=lambda t: (
        None
        if not nonzero(t["count"])
        else ticker(
            t["symbol"],
            t["lastPrice"],
            quote_volume=t["quoteVolume"],
            change_pct=t["priceChangePercent"],
            at=millis(t["closeTime"]),
            quotes=("USD", "USDT", "USDC"),
        )
    ),
)

BINANCE_US.endpoint(
    Candle,
    "/api/v3/klines",
    width=12,
    params={"symbol": "{each}", "interval": "5m", "limit": 100},
    each=Pairs("{base}USDT", "USDT", names={"TRX": None}),
    fixed=FIVE_MINUTES,
    row=lambda k: candle(millis(k[0]), *k[1:6]),
)

POLONIEX = Source(
    "poloniex",
    "https://api.poloniex.com",
    docs="https://api-docs.poloniex.com/spot/api/public/market-data",
)

POLONIEX.endpoint(
    MarketPrice,
    "/markets/ticker24h",
    typical_bytes=100_000,
    min_interval=minutes(15),
    row=lambda t: ticker(
        t["symbol"],
        t["close"],
        quote_volume=t["amount"],
        change_pct=percent(t["dailyChange"]),
        at=millis(t["ts"]),
    ),
)

POLONIEX.endpoint(
    Candle,
    "/markets/{each}/candles",
    width=14,
    repeats={"*.11": "MINUTE_5"},
    min_interval=hours(1),
    params={"interval": "MINUTE_5", "limit": 100},
    each=Pairs("{base}_USDT", "USDT", names={"BNB": None}),
    fixed=FIVE_MINUTES,
    # low, high, open, close, volume in quote currency, volume in coins; the time is in column 12
    row=lambda k: candle(millis(k[12]), k[2], k[1], k[0], k[3], k[5]),
)

LBANK = Source(
    "lbank",
    "https://api.lbank.info",
    docs="https://www.lbank.com/en-US/docs/",
    aliases={"XBT": "XBT"},  # another coin there
)

LBANK.endpoint(
    MarketPrice,
    "/v2/ticker/24hr.do",
    min_interval=minutes(15),
    typical_bytes=80_000,
    params={"symbol": "all"},
    records="data",
    row=lambda t: ticker(
        t["symbol"],
        t["ticker"]["latest"],
        quote_volume=t["ticker"]["turnover"],
        change_pct=t["ticker"]["change"],
        at=millis(t["timestamp"]),
    ),
)

LBANK.endpoint(
    Candle,
    "/v2/kline.do",
    width=6,
    min_interval=hours(1),
    params={"symbol": "{each}", "size": 100, "type": "minute5", "time": ago(minutes=500)},
    records="data",
    each=Pairs("{base}_usdt", "USDT", lower=True),
    fixed=FIVE_MINUTES,
    row=lambda k: candle(seconds(k[0]), *k[1:6]),
)

WHITEBIT = Source(
    "whitebit",
    "https://whitebit.com",
    docs="https://docs.whitebit.com/public/http-v4/#market-activity",
)

WHITEBIT.markets(
    "/api/v4/public/ticker",
    typical_bytes=33_000,
    records=pairs(),
    row=lambda p, make: (
        None
        if flag(p[1]["isFrozen"])
        else make(
            p[0],
            p[1]["last_price"],
            quote_volume=p[1]["quote_volume"],
            change_pct=p[1]["change"],
        )
    ),
)

WHITEBIT.endpoint(
    Candle,
    "/api/v1/public/kline",
    width=7,
    min_interval=hours(1),
    params={"market": "{each}", "interval": "5m", "limit": 100},
    records="result",
    each=Pairs("{base}_USDT", "USDT"),
    fixed=FIVE_MINUTES,
    # time, open, close, high, low
    row=lambda k: candle(seconds(k[0]), k[1], k[3], k[4], k[2], k[5]),
)

BINGX = Source("bingx", "https://open-api.bingx.com", docs="https://bingx-api.github.io/docs/")

BINGX.endpoint(
    MarketPrice,
    "/openApi/spot/v1/ticker/24hr",
    min_interval=minutes(15),
    typical_bytes=130_000,
    params={"timestamp": now("ms")},
    records="data",
    row=lambda t: ticker(
        t["symbol"],
        t["lastPrice"],
        quote_volume=t["quoteVolume"],
        opened=t["openPrice"],
        at=millis(t["closeTime"]),
    ),
)

BINGX.endpoint(
    Candle,
    "/openApi/spot/v1/market/kline",
    width=8,
    min_interval=hours(1),
    params={"symbol": "{each}", "interval": "5m", "limit": 100, "timestamp": now("ms")},
    records="data",
    each=Pairs("{base}-USDT", "USDT"),
    fixed=FIVE_MINUTES,
    row=lambda k: candle(millis(k[0]), *k[1:6]),
)

XT = Source("xt", "https://sapi.xt.com", docs="https://doc.xt.com/")

XT.endpoint(
    MarketPrice,
    "/v4/public/ticker/24h",
    records="result",
    min_interval=minutes(15),
    row=lambda t: ticker(
        t["s"],
        t["c"],
        quote_volume=t["v"],
        change_pct=percent(t["cr"]),
        at=millis(t["t"]),
    ),
)

XT.endpoint(
    Candle,
    "/v4/public/kline",
    min_interval=hours(1),
    params={"symbol": "{each}", "interval": "5m", "limit": 100},
    records="result",
    each=Pairs("{base}_usdt", "USDT", lower=True),
    fixed=FIVE_MINUTES,
    # `q` is in coins, `v` in quote currency
    row=lambda k: candle(millis(k["t"]), k["o"], k["h"], k["l"], k["c"], k["q"]),
)

BITRUE = Source(
    "bitrue",
    "https://www.bitrue.com",
    docs="https://github.com/Bitrue-exchange/Spot-official-api-docs",
)

BITRUE.endpoint(
    MarketPrice,
    "/api/v1/ticker/24hr",
    typical_bytes=115_000,
    min_interval=minutes(15),
    row=lambda t: ticker(
        t["symbol"],
        t["lastPrice"],
        quote_volume=t["quoteVolume"],
        change_pct=t["priceChangePercent"],
        at=millis(t["closeTime"]),
        quotes=STABLECOINS,
    ),
)

BITRUE.endpoint(
    Candle,
    "/api/v1/market/kline",
    repeats={"symbol": "{each}", "scale": "KLINE_5MIN"},
    min_interval=hours(1),
    params={"symbol": "{each}", "scale": "5m", "limit": 100},
    records="data",
    each=Pairs("{base}USDT", "USDT"),
    fixed=FIVE_MINUTES,
    row=lambda k: candle(seconds(k["i"]), k["o"], k["h"], k["l"], k["c"], k["v"]),
)

DIGIFINEX = Source(
    "digifinex", "https://openapi.digifinex.com", docs="https://docs.digifinex.com/", gap=0.2
)

DIGIFINEX.endpoint(
    MarketPrice,
    "/v3/ticker",
    records="ticker",
    min_interval=minutes(15),
    # `vol` is in coins; `base_vol`, in spite of its name, in quote currency
    row=lambda t: ticker(
        t["symbol"], t["last"], quote_volume=t["base_vol"], change_pct=t["change"]
    ),
)

DIGIFINEX.endpoint(
    Candle,
    "/v3/kline",
    width=6,
    min_interval=hours(1),
    params={"symbol": "{each}", "period": 5},
    records="data",
    each=Pairs("{base}_usdt", "USDT", lower=True),
    fixed=FIVE_MINUTES,
    # time, volume, close, high, low, open
    row=lambda k: candle(seconds(k[0]), k[5], k[3], k[4], k[2], k[1]),
)

BIGONE = Source("bigone", "https://big.one/api/v3", docs="https://open.big.one/docs/spot/tickers/")

BIGONE.endpoint(
    MarketPrice,
    "/asset_pairs/tickers",
    records="data",
    min_interval=minutes(15),
    row=lambda t: ticker(
        t["asset_pair_name"], t["close"], base_volume=t["volume"], opened=t["open"]
    ),
)

BIGONE.endpoint(
    Candle,
    "/asset_pairs/{each}/candles",
    min_interval=hours(1),
    params={"period": "min5", "limit": 100},
    records="data",
    each=Pairs("{base}-USDT", "USDT", names={"BNB": None, "AVAX": None}),
    fixed=FIVE_MINUTES,
    row=lambda k: named_candle(iso(k["time"]), k),
)

COINEX = Source("coinex", "https://api.coinex.com/v2", docs="https://docs.coinex.com/api/v2/")

COINEX.endpoint(
    MarketPrice,
    "/spot/ticker",
    typical_bytes=80_000,
    records="data",
    min_interval=minutes(15),
    row=lambda t: ticker(
        t["market"], t["last"], quote_volume=t["value"], opened=t["open"], quotes=STABLECOINS
    ),
)

COINEX.endpoint(
    Candle,
    "/spot/kline",
    repeats={"*.market": "{each}"},
    min_interval=hours(1),
    params={"market": "{each}", "period": "5min", "limit": 100},
    records="data",
    each=Pairs("{base}USDT", "USDT"),
    fixed=FIVE_MINUTES,
    # answers were seen with `volume` and `value` in each other's place: no volume
    row=lambda k: candle(millis(k["created_at"]), k["open"], k["high"], k["low"], k["close"], None),
)


def hitbtc_ticker(market: tuple[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    name, t = market
    return ticker(
        name,
        t["last"],
        quote_volume=t["volume_quote"],
        opened=t["open"],
        at=iso(t["timestamp"]),
        quotes=STABLECOINS,
    )


HITBTC = Source("hitbtc", "https://api.hitbtc.com/api/3", docs="https://api.hitbtc.com/")

HITBTC.endpoint(
    MarketPrice,
    "/public/ticker",
    records=pairs(),
    min_interval=minutes(15),
    row=hitbtc_ticker,
)

HITBTC.endpoint(
    Candle,
    "/public/candles/{each}",
    min_interval=hours(1),
    params={"period": "M5", "limit": 100},
    each=Pairs("{base}USDT", "USDT"),
    fixed=FIVE_MINUTES,
    row=lambda k: candle(
        iso(k["timestamp"]), k["open"], k["max"], k["min"], k["close"], k["volume"]
    ),
)

FMFWIO = Source(
    "fmfwio",
    "https://api.fmfw.io/api/3",
    docs="https://api.fmfw.io/",
    voice_of="hitbtc",
)

FMFWIO.endpoint(
    MarketPrice,
    "/public/ticker",
    records=pairs(),
    min_interval=minutes(15),
    row=hitbtc_ticker,
)

PHEMEX = Source("phemex", "https://api.phemex.com", docs="https://phemex-docs.github.io/")


def phemex_ticker(t: Mapping[str, Any]) -> dict[str, Any] | None:
    """Integers in units of 1e-8: so are all spot prices, and turnover in USDT.

    Names of spot markets begin with s; prices of contracts are in other units.
    """
    if not t["symbol"].startswith("s"):
        return None
    name = t["symbol"][1:]
    return ticker(
        name,
        per(t["lastEp"], 1e8),
        quote_volume=per(t["turnoverEv"], 1e8) if name.endswith("USDT") else None,
        opened=per(t["openEp"], 1e8),
        at=nanos(t["timestamp"]),
        source_id=t["symbol"],
        quotes=STABLECOINS,
    )


PHEMEX.endpoint(
    MarketPrice,
    "/md/spot/ticker/24hr/all",
    records="result",
    min_interval=minutes(15),
    row=phemex_ticker,
)

DERIBIT = Source(
    "deribit",
    "https://www.deribit.com/api/v2",
    docs="https://docs.deribit.com/#public-get_book_summary_by_currency",
)


def deribit_ticker(t: Mapping[str, Any]) -> dict[str, Any] | None:
    """A spot market is named BASE_QUOTE; a name with more to it is a future or an option."""
    base, quote, name = t["base_currency"], t["quote_currency"], t["instrument_name"]
    if name != f"{base}_{quote}":
        return None
    return ticker(
        name,
        t["last"],
        quote_volume=t["volume_notional"],
        change_pct=t["price_change"],
        at=millis(t["creation_timestamp"]),
    )


DERIBIT.endpoint(
    MarketPrice,
    "/public/get_book_summary_by_currency",
    params={"currency": "USDC", "kind": "spot"},
    records="result",
    min_interval=minutes(15),
    row=deribit_ticker,
)

DERIBIT.endpoint(
    Candle,
    "/public/get_tradingview_chart_data",
    min_interval=hours(1),
    params={
        "instrument_name": "{each}",
        "resolution": 5,
        "start_timestamp": ago("ms", hours=9),
        "end_timestamp": now("ms"),
    },
    records=parallel("result", "ticks", "open", "high", "low", "close", "volume"),
    each={
        "BTC_USDC": {"symbol": "BTC", "quote": "USDC"},
        "ETH_USDC": {"symbol": "ETH", "quote": "USDC"},
    },
    fixed=FIVE_MINUTES,
    row=lambda k: candle(millis(k[0]), *k[1:]),
)

BACKPACK = Source(
    "backpack", "https://api.backpack.exchange/api/v1", docs="https://docs.backpack.exchange/"
)

BACKPACK.endpoint(
    MarketPrice,
    "/tickers",
    min_interval=minutes(15),
    # perpetuals (_PERP) and tokenised stocks (MU.US) stand in the same list
    row=lambda t: (
        None
        if t["symbol"].endswith("_PERP") or "." in t["symbol"]
        else ticker(
            t["symbol"],
            t["lastPrice"],
            quote_volume=t["quoteVolume"],
            change_pct=percent(t["priceChangePercent"]),
        )
    ),
)

BACKPACK.endpoint(
    Candle,
    "/klines",
    min_interval=hours(1),
    params={"symbol": "{each}", "interval": "5m", "startTime": ago(hours=9)},
    each={
        f"{symbol}_USDC": {"symbol": symbol, "quote": "USDC"}
        for symbol in ("BTC", "ETH", "SOL", "XRP")
    },
    fixed=FIVE_MINUTES,
    # without a trade all prices are null
    row=lambda k: None if k["open"] is None else named_candle(iso(k["start"]), k),
)

WOO = Source("woo", "https://api.woox.io", docs="https://developer.woox.io/")

WOO.endpoint(
    Candle,
    "/v3/public/klineHistory",
    repeats={"*.symbol": "{each}", "*.type": "{interval}"},
    min_interval=hours(1),
    params={"symbol": "{each}", "type": "5m", "limit": 100},
    records="data.rows",
    each=Pairs("SPOT_{base}_USDT", "USDT"),
    fixed=FIVE_MINUTES,
    row=lambda k: named_candle(millis(k["startTimestamp"]), k),
)

TOOBIT = Source("toobit", "https://api.toobit.com", docs="https://toobit-docs.github.io/")

TOOBIT.endpoint(
    MarketPrice,
    "/quote/v1/ticker/24hr",
    min_interval=minutes(15),
    row=lambda t: ticker(
        t["s"],
        t["c"],
        quote_volume=t["qv"],
        change_pct=percent(t["pcp"]),
        at=millis(t["t"]),
        quotes=STABLECOINS,
    ),
)

TOOBIT.endpoint(
    Candle,
    "/quote/v1/klines",
    width=11,
    min_interval=hours(1),
    params={"symbol": "{each}", "interval": "5m", "limit": 100},
    each=Pairs("{base}USDT", "USDT"),
    fixed=FIVE_MINUTES,
    row=lambda k: candle(millis(k[0]), *k[1:6]),
)

WEEX = Source(
    "weex",
    "https://api-spot.weex.com",
    docs="https://www.weex.com/api-doc/",
    aliases={"XBT": "XBT"},  # another coin there
)

WEEX.endpoint(
    MarketPrice,
    "/api/v3/market/ticker/24hr",
    typical_bytes=90_000,
    min_interval=minutes(15),
    row=lambda t: ticker(
        t["symbol"],
        t["lastPrice"],
        quote_volume=t["quoteVolume"],
        change_pct=percent(t["priceChangePercent"]),
        at=millis(t["closeTime"]),
        quotes=STABLECOINS,
    ),
)

HASHKEY = Source(
    "hashkey", "https://api-glb.hashkey.com", docs="https://hashkeyglobal-apidoc.readme.io/"
)

HASHKEY.endpoint(
    MarketPrice,
    "/quote/v1/ticker/24hr",
    min_interval=minutes(15),
    row=lambda t: ticker(
        t["s"],
        t["c"],
        quote_volume=t["qv"],
        opened=t["o"],
        at=millis(t["t"]),
        quotes=("USD", "USDT", "USDC"),
    ),
)

HASHKEY.endpoint(
    Candle,
    "/quote/v1/klines",
    width=11,
    min_interval=hours(1),
    params={"symbol": "{each}", "interval": "5m", "limit": 100},
    each={
        "BTCUSDT": {"symbol": "BTC", "quote": "USDT"},
        "ETHUSDT": {"symbol": "ETH", "quote": "USDT"},
    },
    fixed=FIVE_MINUTES,
    row=lambda k: candle(millis(k[0]), *k[1:6]),
)

BTSE = Source(
    "btse", "https://api.btse.com", docs="https://docs.btse.com/markets/rest/get-24-hr-ticker/"
)

BTSE.endpoint(
    MarketPrice,
    "/public-api/market/v1/ticker/24hr",
    records="data",
    min_interval=minutes(15),
    # only contracts have these two; `volume` is in quote currency
    row=lambda t: (
        None
        if t.get("fundingRate") is not None or t.get("openInterest") is not None
        else ticker(
            t["symbol"],
            t["lastPrice"],
            quote_volume=t["volume"],
            opened=t["openPrice"],
            at=seconds(t["closeTime"]),
        )
    ),
)

DEEPCOIN = Source("deepcoin", "https://api.deepcoin.com", docs="https://www.deepcoin.com/docs/")

DEEPCOIN.endpoint(
    MarketPrice,
    "/deepcoin/market/tickers",
    repeats={"*.instType": "SPOT"},
    params={"instType": "SPOT"},
    records="data",
    min_interval=minutes(15),
    row=lambda t: ticker(
        t["instId"],
        t["last"],
        quote_volume=t["volCcy24h"],
        opened=t["open24h"],
        at=millis(t["ts"]),
    ),
)

DEEPCOIN.endpoint(
    Candle,
    "/deepcoin/market/candles",
    width=7,
    min_interval=hours(1),
    params={"instId": "{each}", "bar": "5m", "limit": 100},
    records="data",
    each=Pairs("{base}-USDT", "USDT"),
    fixed=FIVE_MINUTES,
    # what unit the volume of a spot candle is in is not written anywhere
    row=lambda k: candle(millis(k[0]), k[1], k[2], k[3], k[4], None),
)

P2B = Source("p2b", "https://api.p2pb2b.com", docs="https://github.com/P2B-team/p2b-api-docs")

P2B.endpoint(
    MarketPrice,
    "/api/v2/public/tickers",
    records=pairs("result"),
    min_interval=minutes(15),
    row=lambda p: ticker(
        p[0],
        p[1]["ticker"]["last"],
        quote_volume=p[1]["ticker"]["deal"],
        change_pct=p[1]["ticker"]["change"],
        at=seconds(p[1]["at"]),
    ),
)

P2B.endpoint(
    Candle,
    "/api/v2/public/market/kline",
    width=8,
    repeats={"*.7": "{each}"},
    params={"market": "{each}", "interval": "1h", "limit": 100},
    records="result",
    each={
        "BTC_USDT": {"symbol": "BTC", "quote": "USDT"},
        "ETH_USDT": {"symbol": "ETH", "quote": "USDT"},
    },
    fixed=HOUR,
    min_interval=hours(1),
    # time, open, close, high, low
    row=lambda k: candle(seconds(k[0]), k[1], k[3], k[4], k[2], k[5]),
)

HOLLAEX = Source("hollaex", "https://api.hollaex.com/v2", docs="https://apidocs.hollaex.com/")

HOLLAEX.endpoint(
    MarketPrice,
    "/tickers",
    records=pairs(),
    min_interval=minutes(15),
    row=lambda p: ticker(
        p[0],
        p[1]["last"],
        base_volume=p[1]["volume"],
        opened=p[1]["open"],
        at=iso(p[1]["time"]),
    ),
)

BITTEAM = Source(
    "bitteam", "https://bit.team/trade/api", docs="https://bit.team/trade/api/documentation"
)

BITTEAM.endpoint(
    MarketPrice,
    "/cmc/summary",
    min_interval=minutes(15),
    row=lambda t: ticker(
        (t["base_currency"], t["quote_currency"]),
        t["last_price"],
        quote_volume=t["quote_volume"],
        change_pct=t["price_change_percent_24h"],
        source_id=t["trading_pairs"],
    ),
)

CRYPTOMUS = Source(
    "cryptomus", "https://api.cryptomus.com", docs="https://doc.cryptomus.com/personal"
)

CRYPTOMUS.endpoint(
    MarketPrice,
    "/v1/exchange/market/tickers",
    records="data",
    min_interval=minutes(15),
    row=lambda t: ticker(t["currency_pair"], t["last_price"], quote_volume=t["quote_volume"]),
)

CEX = Source(
    "cex",
    "https://trade.cex.io/api/spot/rest-public",
    docs="https://trade.cex.io/docs/#rest-public-api-calls-ticker",
)

CEX.markets(
    "/get_ticker",
    json={},
    records=pairs("data"),
    min_interval=minutes(15),
    row=lambda p, make: make(
        p[0],
        p[1]["last"],
        quote_volume=p[1]["quoteVolume"],
        change_pct=p[1]["priceChangePercentage"],
    ),
)

BLOCKCHAINCOM = Source(
    "blockchaincom", "https://api.blockchain.com/v3", docs="https://exchange.blockchain.com/api/"
)

BLOCKCHAINCOM.markets(
    "/exchange/tickers",
    min_interval=minutes(15),
    row=lambda t, make: make(
        t["symbol"],
        t["last_trade_price"],
        base_volume=t["volume_24h"],
        opened=t["price_24h"],
    ),
)

COINBASE = Source(
    "coinbase",
    "https://api.coinbase.com/api/v3/brokerage/market",
    docs="https://docs.cdp.coinbase.com/advanced-trade/reference",
    aliases={"CGLD": "CELO"},
)


def coinbase_product(p: Mapping[str, Any]) -> dict[str, Any] | None:
    """BTC-USDC is another name of the market BTC-USD: it has an alias, and the same volume.

    A market that is disabled keeps its last price.
    """
    if p["product_type"] != "SPOT" or p["alias"] != "" or flag(p["is_disabled"]):
        return None
    return ticker(
        (p["base_currency_id"], p["quote_currency_id"]),
        p["price"],
        base_volume=p["volume_24h"],
        quote_volume=p.get("approximate_quote_24h_volume"),
        change_pct=p["price_percentage_change_24h"],
        source_id=p["product_id"],
    )


COINBASE.endpoint(
    MarketPrice,
    "/products",
    typical_bytes=150_000,
    records="products",
    min_interval=hours(1),
    row=coinbase_product,
)

COINBASE.endpoint(
    Candle,
    "/products/{each}/candles",
    min_interval=hours(1),
    params={
        "granularity": "FIVE_MINUTE",
        "limit": 100,
        "start": ago(minutes=500),
        "end": now(),
    },
    records="candles",
    each=Pairs("{base}-USD", "USD", names={"TRX": None}),
    fixed=FIVE_MINUTES,
    row=lambda k: named_candle(seconds(k["start"]), k),
)
