"""Exchanges of one country or region: prices on their dollar pairs, candles on what they quote.

Prices are only taken from houses with pairs against a dollar or a dollar stablecoin. What dollar
coins and bitcoin cost in a house's own currency goes into fiat_quotes. Candles name their quote, so
those of a house that trades against its own currency alone are taken as they are.
"""

from datetime import timedelta
from functools import partial
from typing import Any

from crypto_pipeline.sources.spec import Pairs, Source, ago, day, hours, minutes, now
from crypto_pipeline.sources.values import (
    FIVE_MINUTES,
    HOUR,
    QUARTER_HOUR,
    STABLECOINS,
    Maker,
    SourceMessage,
    candle,
    fiat_quote,
    flag,
    iso,
    label,
    millis,
    named_candle,
    nanos,
    one,
    pairs,
    percent,
    seconds,
    ticker,
    udf_candles,
)
from crypto_pipeline.tables import Candle, FiatQuote, MarketPrice
from crypto_pipeline.tables.fiat import RIAL, TOMAN


def korean_candle(k: Any) -> dict[str, Any]:
    """One candle of Upbit and of Bithumb, whose `timestamp` is the last trade, not the open."""
    return candle(
        iso(k["candle_date_time_utc"]),
        k["opening_price"],
        k["high_price"],
        k["low_price"],
        k["trade_price"],
        k["candle_acc_trade_volume"],
    )


# Iran

NOBITEX = Source(
    "nobitex",
    "https://apiv2.nobitex.ir",
    docs="https://apidocs.nobitex.ir/",
    headers={"User-Agent": "TraderBot/crypto-pipeline"},  # what it asks bots to call themselves
    gap=0.2,
)


def nobitex_price(market: tuple[str, Any], make: Maker = ticker) -> dict[str, Any] | None:
    """Coins sold by the package, such as 100k_floki-usdt, end up without a dollar quote: left out,
    since their price is not that of one coin."""
    name, stats = market
    if stats["isClosed"]:
        return None
    return make(
        name,
        stats["latest"],
        quote_volume=stats["volumeDst"],
        change_pct=stats["dayChange"],
    )


NOBITEX.endpoint(
    MarketPrice,
    "/market/stats",
    params={"dstCurrency": "usdt"},
    records=pairs("stats"),
    min_interval=minutes(15),
    row=nobitex_price,
)

NOBITEX.endpoint(
    FiatQuote,
    "/market/stats",
    params={"dstCurrency": "rls"},
    typical_bytes=20_000,
    records=pairs("stats"),
    min_interval=minutes(15),
    row=lambda p: nobitex_price(p, partial(fiat_quote, names={"RLS": RIAL})),
)

NOBITEX.endpoint(
    Candle,
    "/market/udf/history",
    min_interval=hours(1),
    params={"symbol": "{each}", "resolution": 5, "from": ago(hours=8), "to": now()},
    each=Pairs("{base}USDT", "USDT"),
    fixed=FIVE_MINUTES,
    records=udf_candles,
    row=lambda k: candle(seconds(k[0]), *k[1:6]),
)

WALLEX = Source("wallex", "https://api.wallex.ir", docs="https://api-docs.wallex.ir/")

WALLEX.markets(
    "/v1/markets",
    records=pairs("result.symbols"),
    min_interval=minutes(15),
    row=lambda p, make: make(
        (p[1]["baseAsset"], p[1]["quoteAsset"]),
        p[1]["stats"]["lastPrice"],
        quote_volume=p[1]["stats"]["24h_quoteVolume"],
        change_pct=p[1]["stats"]["24h_ch"],
        source_id=p[0],
    ),
    currencies={"TMN": TOMAN},
)

WALLEX.endpoint(
    Candle,
    "/v1/udf/history",
    min_interval=hours(1),
    params={"symbol": "{each}", "resolution": 60, "from": ago(hours=100), "to": now()},
    each=Pairs("{base}USDT", "USDT"),
    fixed=HOUR,
    records=udf_candles,
    row=lambda k: candle(seconds(k[0]), *k[1:6]),
)

RAMZINEX = Source(
    "ramzinex", "https://publicapi.ramzinex.com", docs="https://api-doc.ramzinex.com/"
)


def ramzinex_price(pair: Any, make: Maker) -> dict[str, Any] | None:
    last24h = (pair["financial"] or {}).get("last24h")
    if not last24h:  # never traded
        return None
    return make(
        (pair["base_currency_symbol"]["en"], pair["quote_currency_symbol"]["en"]),
        last24h["close"],
        quote_volume=last24h["quote_volume"],
        change_pct=last24h["change_percent"],
        source_id=label(pair["pair_id"]),
    )


RAMZINEX.markets(
    "/exchange/api/v1.0/exchange/pairs",
    typical_bytes=80_000,
    records="data",
    row=ramzinex_price,
    min_interval=minutes(15),
    currencies={"IRR": RIAL},
)

BITPIN = Source("bitpin", "https://api.bitpin.org", docs="https://docs.bitpin.ir/")

BITPIN.markets(
    "/api/v1/mkt/tickers/",
    row=lambda t, make: make(t["symbol"], t["price"], change_pct=t["daily_change_price"]),
    min_interval=minutes(15),
    currencies={"IRT": TOMAN},
)

TABDEAL = Source("tabdeal", "https://api.tabdeal.org", docs="https://docs.tabdeal.org/")

TABDEAL.markets(
    "/plots/market_information/",
    row=lambda t, make: make(t["symbol"], t["price"], base_volume=t["volume"]),
    min_interval=minutes(15),
    currencies={"IRT": TOMAN},
)

EXIR = Source("exir", "https://api.exir.io", docs="https://apidocs.exir.io/")

EXIR.markets(
    "/v2/tickers",
    records=pairs(),
    row=lambda p, make: make(p[0], p[1]["last"], base_volume=p[1]["volume"], at=iso(p[1]["time"])),
    min_interval=minutes(15),
    currencies={"IRT": TOMAN},
)

OMPFINEX = Source("ompfinex", "https://api.ompfinex.com", docs="https://docs.ompfinex.com/")

OMPFINEX.markets(
    "/v1/market",
    records="data",
    row=lambda m, make: (
        None
        if not flag(m["is_visible"])
        else make(
            (m["base_currency"]["id"], m["quote_currency"]["id"]),
            m["last_price"],
            quote_volume=m["last_volume"],
            change_pct=m["day_change_percent"],
            source_id=label(m["id"]),
        )
    ),
    min_interval=minutes(15),
    currencies={"IRR": RIAL},
)

# Korea

UPBIT = Source(
    "upbit", "https://api.upbit.com", docs="https://docs.upbit.com/kr/reference", gap=0.15
)


def upbit_price(t: Any, make: Maker = ticker) -> dict[str, Any] | None:
    """A market of Upbit, or of Bithumb, is named quote first.

    The changes it gives are since 09:00 in Seoul, so unused.
    """
    quote, base = t["market"].split("-")
    return make(
        (base, quote),
        t["trade_price"],
        quote_volume=t["acc_trade_price_24h"],
        at=millis(t["timestamp"]),
        source_id=t["market"],
    )


UPBIT.endpoint(
    MarketPrice,
    "/v1/ticker/all",
    typical_bytes=25_000,
    params={"quote_currencies": "USDT"},
    row=upbit_price,
)

UPBIT.endpoint(
    FiatQuote,
    "/v1/ticker",
    min_interval=minutes(15),
    params={"markets": "KRW-BTC,KRW-USDT"},
    row=lambda t: upbit_price(t, fiat_quote),
)

UPBIT.endpoint(
    Candle,
    "/v1/candles/minutes/5",
    repeats={"*.market": "{each}", "*.unit": "5"},
    params={"market": "{each}", "count": 100},
    each=Pairs("USDT-{base}", "USDT", names={"BNB": None}),
    fixed=FIVE_MINUTES,
    row=korean_candle,
)

BITHUMB = Source("bithumb", "https://api.bithumb.com", docs="https://apidocs.bithumb.com/")

BITHUMB.endpoint(
    FiatQuote,
    "/v1/ticker",
    min_interval=minutes(15),
    params={"markets": "KRW-BTC,KRW-USDT"},
    row=lambda t: upbit_price(t, fiat_quote),
)

BITHUMB.endpoint(
    Candle,
    "/v1/candles/minutes/5",
    repeats={"*.market": "{each}", "*.unit": "5"},
    params={"market": "{each}", "count": 100},
    each=Pairs("KRW-{base}", "KRW"),
    fixed=FIVE_MINUTES,
    row=korean_candle,
)

COINONE = Source(
    "coinone", "https://api.coinone.co.kr", docs="https://docs.coinone.co.kr/reference/chart"
)

COINONE.endpoint(
    FiatQuote,
    "/public/v2/ticker_new/KRW",
    typical_bytes=25_000,
    min_interval=minutes(15),
    repeats={"*.quote_currency": "KRW"},
    records="tickers",
    row=lambda t: fiat_quote(
        (t["target_currency"], t["quote_currency"]),
        t["last"],
        base_volume=t["target_volume"],
        at=millis(t["timestamp"]),
    ),
)

COINONE.endpoint(
    Candle,
    "/public/v2/chart/KRW/{each}",
    min_interval=hours(1),
    params={"interval": "5m", "size": 100},
    each=Pairs("{base}", "KRW"),
    fixed=FIVE_MINUTES,
    records="chart",
    row=lambda k: candle(
        millis(k["timestamp"]), k["open"], k["high"], k["low"], k["close"], k["target_volume"]
    ),
)

# Europe and Türkiye

BITVAVO = Source("bitvavo", "https://api.bitvavo.com", docs="https://docs.bitvavo.com/")

BITVAVO.markets(
    "/v2/ticker/24h",
    typical_bytes=26_000,
    row=lambda t, make: make(
        t["market"],
        t["last"],
        quote_volume=t["volumeQuote"],
        opened=t["open"],
        at=millis(t["timestamp"]),
    ),
)

BITVAVO.endpoint(
    Candle,
    "/v2/{each}/candles",
    width=6,
    params={"interval": "5m", "limit": 100},
    each=Pairs("{base}-EUR", "EUR"),
    fixed=FIVE_MINUTES,
    row=lambda k: candle(millis(k[0]), *k[1:6]),
)

BTCTURK = Source(
    "btcturk",
    "https://api.btcturk.com",
    docs="https://docs.btcturk.com/public-endpoints/ticker",
)

BTCTURK.markets(
    "/api/v2/ticker",
    records="data",
    min_interval=minutes(15),
    row=lambda t, make: make(
        t["pairNormalized"],
        t["last"],
        base_volume=t["volume"],
        change_pct=t["dailyPercent"],
        at=millis(t["timestamp"]),
    ),
)

BTCTURK.endpoint(
    Candle,
    "https://graph-api.btcturk.com/v1/klines/history",
    min_interval=hours(1),
    params={"symbol": "{each}", "resolution": 5, "from": ago(hours=8), "to": now()},
    each=Pairs("{base}USDT", "USDT", names={"BNB": None}),
    fixed=FIVE_MINUTES,
    records=udf_candles,
    row=lambda k: candle(seconds(k[0]), *k[1:6]),
)

ONETRADING = Source(
    "onetrading", "https://api.onetrading.com", docs="https://docs.onetrading.com/", gap=0.3
)


def onetrading_candle(k: Any) -> dict[str, Any]:
    """The time it gives is the last millisecond of the candle."""
    ended = iso(k["time"])
    begun = ended and ended + timedelta(milliseconds=1) - timedelta(minutes=5)
    return candle(begun, k["open"], k["high"], k["low"], k["close"], k["total_amount"])


ONETRADING.endpoint(
    Candle,
    "/fast/v1/candlesticks/{each}",
    repeats={
        "*.instrument_code": "{each}",
        "*.granularity.unit": "MINUTES",
        "*.granularity.period": "5",
    },
    min_interval=hours(1),
    params={
        "unit": "MINUTES",
        "period": 5,
        "from": day("%Y-%m-%dT%H:%M:%SZ", hours=8),
        "to": day("%Y-%m-%dT%H:%M:%SZ"),
    },
    each=Pairs("{base}_EUR", "EUR", names={"BNB": None, "TRX": None}),
    fixed=FIVE_MINUTES,
    row=onetrading_candle,
)

# Latin America

BITSO = Source("bitso", "https://api.bitso.com", docs="https://docs.bitso.com/", gap=0.2)

BITSO.markets(
    "/v3/ticker",
    records="payload",
    min_interval=minutes(15),
    row=lambda t, make: make(
        t["book"],
        t["last"],
        base_volume=t["volume"],
        vwap=t["vwap"],
        at=iso(t["created_at"]),
    ),
)

BITSO.endpoint(
    Candle,
    "/v3/ohlc",
    min_interval=hours(1),
    params={
        "book": "{each}",
        "time_bucket": 300,
        "start": ago("ms", hours=8),
        "end": now("ms"),
    },
    each=Pairs("{base}_usd", "USD", names={"BNB": None, "TRX": None}, lower=True),
    fixed=FIVE_MINUTES,
    records="payload",
    row=lambda k: candle(
        millis(k["bucket_start_time"]),
        k["first_rate"],
        k["max_rate"],
        k["min_rate"],
        k["last_rate"],
        k["volume"],
    ),
)

MERCADO = Source(
    "mercado",
    "https://api.mercadobitcoin.net",
    docs="https://api.mercadobitcoin.net/api/v4/docs",
    gap=1,
)

MERCADO.endpoint(
    FiatQuote,
    "/api/v4/tickers",
    min_interval=minutes(15),
    params={"symbols": "BTC-BRL,USDT-BRL"},
    row=lambda t: fiat_quote(t["pair"], t["last"], base_volume=t["vol"], at=nanos(t["date"])),
)

MERCADO.endpoint(
    Candle,
    "/api/v4/candles",
    min_interval=hours(1),
    params={"symbol": "{each}", "resolution": "15m", "to": now(), "countback": 100},
    # One request a second: no more coins than a collection has time for.
    each={f"{symbol}-BRL": {"symbol": symbol, "quote": "BRL"} for symbol in ("BTC", "ETH", "SOL")},
    fixed=QUARTER_HOUR,
    records=udf_candles,
    row=lambda k: candle(seconds(k[0]), *k[1:6]),
)

FOXBIT = Source("foxbit", "https://api.foxbit.com.br", docs="https://docs.foxbit.com.br/rest/v3/")

FOXBIT.endpoint(
    FiatQuote,
    "/rest/v3/markets/ticker/24hr",
    typical_bytes=12_000,
    min_interval=minutes(15),
    records="data",
    row=lambda t: fiat_quote(
        t["market_symbol"],
        t["last_trade"]["price"],
        base_volume=t["rolling_24h"]["volume"],
        at=iso(t["last_trade"]["date"]),
    ),
)

FOXBIT.endpoint(
    Candle,
    "/rest/v3/markets/{each}/candlesticks",
    width=11,
    min_interval=hours(1),
    params={"interval": "5m", "limit": 100},
    each=Pairs("{base}brl", "BRL", lower=True),
    fixed=FIVE_MINUTES,
    row=lambda k: candle(millis(k[0]), k[1], k[2], k[3], k[4], k[6]),
)

# Africa and Oceania

LUNO = Source(
    "luno",
    "https://api.luno.com",
    docs="https://www.luno.com/en/developers/api#tag/Market/operation/GetTickers",
    gap=1,
)

LUNO.markets(
    "/api/1/tickers",
    records="tickers",
    row=lambda t, make: (
        None
        if t["status"] != "ACTIVE"
        else make(
            t["pair"],
            t["last_trade"],
            base_volume=t["rolling_24_hour_volume"],
            at=millis(t["timestamp"]),
        )
    ),
    min_interval=minutes(15),
)

VALR = Source("valr", "https://api.valr.com", docs="https://docs.valr.com/")

# Perpetuals (BTCUSDTPERP) stand in the same list; their names end in no quote: left out.
VALR.markets(
    "/v1/public/marketsummary",
    row=lambda t, make: make(
        t["currencyPair"],
        t["lastTradedPrice"],
        base_volume=t["baseVolume"],
        quote_volume=t.get("quoteVolume"),
        at=iso(t["created"]),
        quotes=STABLECOINS,
    ),
    min_interval=minutes(15),
)

INDEPENDENT_RESERVE = Source(
    "independent_reserve",
    "https://api.independentreserve.com",
    docs="https://www.independentreserve.com/products/api",
    gap=1,
)

INDEPENDENT_RESERVE.endpoint(
    MarketPrice,
    "/Public/GetMarketSummary",
    repeats={"PrimaryCurrencyCode": "{each}", "SecondaryCurrencyCode": "USD"},
    params={"primaryCurrencyCode": "{each}", "secondaryCurrencyCode": "usd"},
    # One request a second: no more coins than a collection has time for.
    each={"xbt": {"symbol": "BTC"}, "eth": {"symbol": "ETH"}, "xrp": {"symbol": "XRP"}},
    records=one(),
    row=lambda m: ticker(
        (m["PrimaryCurrencyCode"], m["SecondaryCurrencyCode"]),
        m["LastPrice"],
        # In the primary coin, whichever it is. DayVolumeXbt is its volume against all currencies.
        base_volume=m["DayVolumeXbtInSecondaryCurrrency"],
        vwap=m["DayAvgPrice"],
        at=iso(m["CreatedTimestampUtc"]),
    ),
    min_interval=minutes(15),
)

INDEPENDENT_RESERVE.endpoint(
    FiatQuote,
    "/Public/GetMarketSummary",
    repeats={"PrimaryCurrencyCode": "xbt", "SecondaryCurrencyCode": "{each}"},
    params={"primaryCurrencyCode": "xbt", "secondaryCurrencyCode": "{each}"},
    each={code: {"currency": code.upper()} for code in ("aud", "nzd", "sgd")},
    records=one(),
    row=lambda m: fiat_quote(
        (m["PrimaryCurrencyCode"], m["SecondaryCurrencyCode"]),
        m["LastPrice"],
        base_volume=m["DayVolumeXbtInSecondaryCurrrency"],
        at=iso(m["CreatedTimestampUtc"]),
    ),
    min_interval=minutes(15),
)

BTCMARKETS = Source(
    "btcmarkets", "https://api.btcmarkets.net", docs="https://docs.btcmarkets.net/", gap=0.2
)

BTCMARKETS.endpoint(
    FiatQuote,
    "/v3/markets/tickers",
    min_interval=minutes(15),
    params={"marketId": "BTC-AUD"},
    row=lambda t: fiat_quote(
        t["marketId"], t["lastPrice"], base_volume=t["volume24h"], at=iso(t["timestamp"])
    ),
)

BTCMARKETS.endpoint(
    Candle,
    "/v3/markets/{each}/candles",
    width=6,
    min_interval=hours(1),
    params={"timeWindow": "15m", "limit": 100},
    each=Pairs("{base}-AUD", "AUD", names={"BNB": None, "TRX": None}),
    fixed=QUARTER_HOUR,
    row=lambda k: candle(iso(k[0]), *k[1:6]),
)

# South and South-East Asia

COINDCX = Source("coindcx", "https://api.coindcx.com", docs="https://docs.coindcx.com/")

COINDCX.markets(
    "/exchange/ticker",
    row=lambda t, make: make(
        t["market"],
        t["last_price"],
        quote_volume=t["volume"],
        change_pct=t["change_24_hour"],
        at=seconds(t["timestamp"]),
        quotes=STABLECOINS,
    ),
    min_interval=minutes(15),
)

COINDCX.endpoint(
    Candle,
    "https://public.coindcx.com/market_data/candles",
    min_interval=hours(1),
    params={"pair": "{each}", "interval": "5m", "limit": 100},
    each=Pairs("B-{base}_USDT", "USDT"),
    fixed=FIVE_MINUTES,
    row=lambda k: named_candle(millis(k["time"]), k),
)

WAZIRX = Source("wazirx", "https://api.wazirx.com", docs="https://docs.wazirx.com/", gap=1)

WAZIRX.markets(
    "/sapi/v1/tickers/24hr",
    row=lambda t, make: make(
        (t["baseAsset"], t["quoteAsset"]),
        t["lastPrice"],
        base_volume=t["volume"],
        at=millis(t["at"]),
        source_id=t["symbol"],
    ),
    min_interval=minutes(15),
)

ZEBPAY = Source("zebpay", "https://sapi.zebpay.com", docs="https://build.zebpay.com/")

ZEBPAY.endpoint(
    FiatQuote,
    "/api/v2/market/allTickers",
    typical_bytes=16_000,
    min_interval=minutes(15),
    records="data",
    row=lambda t: fiat_quote(t["symbol"], t["last"], base_volume=t["vol"]),
)

INDODAX = Source(
    "indodax",
    "https://indodax.com",
    docs="https://github.com/btcid/indodax-official-api-docs",
    gap=0.2,
)


def indodax_price(pair: Any, make: Maker) -> dict[str, Any] | None:
    """A record names its volumes after the coins: vol_btc, vol_usdt."""
    name, t = pair
    return make(
        name,
        t["last"],
        quote_volume=t[f"vol_{name.rpartition('_')[2]}"],
        at=seconds(t["server_time"]),
    )


INDODAX.markets(
    "/api/ticker_all",
    records=pairs("tickers"),
    row=indodax_price,
    min_interval=minutes(15),
)

INDODAX.endpoint(
    Candle,
    "/tradingview/history_v2",
    min_interval=hours(1),
    params={"symbol": "{each}", "tf": 15, "from": ago(hours=25), "to": now()},
    each=Pairs("{base}IDR", "IDR"),
    fixed=QUARTER_HOUR,
    row=lambda k: candle(
        seconds(k["Time"]), k["Open"], k["High"], k["Low"], k["Close"], k["Volume"]
    ),
)

BITKUB = Source(
    "bitkub",
    "https://api.bitkub.com",
    docs="https://github.com/bitkub/bitkub-official-api-docs",
)

BITKUB.endpoint(
    FiatQuote,
    "/api/v3/market/ticker",
    typical_bytes=16_000,
    min_interval=minutes(15),
    row=lambda t: fiat_quote(t["symbol"], t["last"], base_volume=t["base_volume"]),
)

BITKUB.endpoint(
    Candle,
    "/tradingview/history",
    min_interval=hours(1),
    params={"symbol": "{each}", "resolution": 5, "from": ago(hours=8), "to": now()},
    each=Pairs("{base}_THB", "THB"),
    fixed=FIVE_MINUTES,
    records=udf_candles,
    row=lambda k: candle(seconds(k[0]), *k[1:6]),
)

COINSPH = Source(
    "coinsph", "https://api.pro.coins.ph", docs="https://coins-docs.github.io/rest-api/"
)

COINSPH.markets(
    "/openapi/quote/v1/ticker/24hr",
    row=lambda t, make: make(
        t["symbol"],
        t["lastPrice"],
        quote_volume=t["quoteVolume"],
        change_pct=percent(t["priceChangePercent"]),  # a fraction, in spite of its name
        at=millis(t["closeTime"]),
    ),
    min_interval=minutes(15),
)

COINSPH.endpoint(
    Candle,
    "/openapi/quote/v1/klines",
    width=11,
    min_interval=hours(1),
    params={"symbol": "{each}", "interval": "5m", "limit": 100},
    each=Pairs(
        "{base}USDT",
        "USDT",
        names={"BNB": None, "ADA": None, "TRX": None, "LINK": None, "AVAX": None},
    ),
    fixed=FIVE_MINUTES,
    row=lambda k: candle(millis(k[0]), *k[1:6]),
)

# Taiwan and Japan

MAX_MAICOIN = Source(
    "max_maicoin",
    "https://max-api.maicoin.com",
    docs="https://max.maicoin.com/documents/api_list/v3",
)

MAX_MAICOIN.markets(
    "/api/v3/tickers",
    row=lambda t, make: make(t["market"], t["last"], base_volume=t["vol"], at=seconds(t["at"])),
    min_interval=minutes(15),
)

MAX_MAICOIN.endpoint(
    Candle,
    "/api/v3/k",
    width=6,
    min_interval=hours(1),
    params={"market": "{each}", "period": 5, "limit": 100},
    each=Pairs("{base}usdt", "USDT", names={"TRX": None, "AVAX": None}, lower=True),
    fixed=FIVE_MINUTES,
    row=lambda k: candle(seconds(k[0]), *k[1:6]),
)

BITOPRO = Source(
    "bitopro",
    "https://api.bitopro.com",
    docs="https://github.com/bitoex/bitopro-offical-api-docs",
)

BITOPRO.markets(
    "/v3/tickers",
    records="data",
    row=lambda t, make: make(
        t["pair"],
        t["lastPrice"],
        base_volume=t["volume24hr"],
        change_pct=t["priceChange24hr"],
    ),
    min_interval=minutes(15),
)

BITOPRO.endpoint(
    Candle,
    "/v3/trading-history/{each}",
    min_interval=hours(1),
    params={"resolution": "5m", "from": ago(hours=8), "to": now()},
    each=Pairs("{base}_usdt", "USDT", names={"LINK": None, "AVAX": None}, lower=True),
    fixed=FIVE_MINUTES,
    records="data",
    row=lambda k: named_candle(millis(k["timestamp"]), k),
)

GMO_COIN = Source(
    "gmo_coin", "https://api.coin.z.com", docs="https://api.coin.z.com/docs/", gap=0.2
)


def gmo_data(body: Any) -> list[Any]:
    """The data of an answer. Raises SourceMessage when it says no, as in maintenance."""
    if body["status"] != 0:
        raise SourceMessage("; ".join(m["message_string"] for m in body["messages"]))
    return list(body["data"])


# BTC is the coin itself, against yen; BTC_JPY is a position with leverage.
GMO_COIN.endpoint(
    FiatQuote,
    "/public/v1/ticker",
    min_interval=minutes(15),
    records=gmo_data,
    row=lambda t: fiat_quote(
        (t["symbol"], "JPY"), t["last"], base_volume=t["volume"], at=iso(t["timestamp"])
    ),
)

GMO_COIN.endpoint(
    Candle,
    "/public/v1/klines",
    # Its day begins at 06:00 in Japan, 21:00 UTC; half an hour later the old one is surely read.
    params={"symbol": "{each}", "interval": "5min", "date": day("%Y%m%d", hours=-2.5)},
    each=Pairs("{base}", "JPY", names={"BNB": None, "TRX": None, "AVAX": None}),
    fixed=FIVE_MINUTES,
    records=gmo_data,
    row=lambda k: named_candle(millis(k["openTime"]), k),
)

BITFLYER = Source(
    "bitflyer",
    "https://api.bitflyer.com",
    docs="https://lightning.bitflyer.com/docs?lang=en#ticker",
)

BITFLYER.endpoint(
    FiatQuote,
    "/v1/ticker",
    min_interval=minutes(15),
    params={"product_code": "BTC_JPY"},
    repeats={"product_code": "BTC_JPY"},
    records=one(),
    # `volume` is that of positions with leverage too
    row=lambda t: fiat_quote(
        t["product_code"], t["ltp"], base_volume=t["volume_by_product"], at=iso(t["timestamp"])
    ),
)

BITBANK = Source(
    "bitbank",
    "https://public.bitbank.cc",
    docs="https://github.com/bitbankinc/bitbank-api-docs/blob/master/public-api.md",
)

BITBANK.endpoint(
    FiatQuote,
    "/tickers",
    min_interval=minutes(15),
    records="data",
    row=lambda t: fiat_quote(t["pair"], t["last"], base_volume=t["vol"], at=millis(t["timestamp"])),
)

COINCHECK = Source(
    "coincheck",
    "https://coincheck.com",
    docs="https://coincheck.com/documents/exchange/api#ticker",
)

# The answer does not repeat which pair it is about.
COINCHECK.endpoint(
    FiatQuote,
    "/api/ticker",
    min_interval=minutes(15),
    params={"pair": "btc_jpy"},
    records=one(),
    row=lambda t: fiat_quote(
        ("BTC", "JPY"), t["last"], base_volume=t["volume"], at=seconds(t["timestamp"])
    ),
)
