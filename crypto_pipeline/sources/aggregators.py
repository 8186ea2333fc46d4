"""Aggregators and oracles: products that watch many markets and speak of coins, not of pairs."""

from typing import Any

from crypto_pipeline.sources.spec import Key, Pairs, Source, hours, minutes
from crypto_pipeline.sources.values import (
    chain_name,
    change,
    coin,
    from_hex,
    given,
    iso,
    label,
    millis,
    nonzero,
    number,
    one,
    pairs,
    percent,
    ranked,
    rpc_results,
    seconds,
    ticker,
    times,
    units,
    whole_number,
)
from crypto_pipeline.tables import (
    Candle,
    GlobalMarket,
    MarketPrice,
    StablecoinSupply,
    TrendingCoin,
)


def with_figures(c: dict[str, Any], usd: dict[str, Any]) -> dict[str, Any] | None:
    """The row of a coin whose figures in dollars stand apart from its name."""
    return coin(
        label(c["id"]),
        c["symbol"],
        c["name"],
        usd["price"],
        market_cap=usd["market_cap"],
        volume=usd["volume_24h"],
        change_pct=usd["percent_change_24h"],
        at=iso(c["last_updated"]),
    )


# CoinGecko. A free key buys 10,000 calls a month: the prices take 8,928 of them in a month of 31
# days, so the other endpoints are asked seldom.

COINGECKO = Source(
    "coingecko",
    "https://api.coingecko.com/api/v3",
    docs="https://docs.coingecko.com/reference/introduction",
    key=Key(env="COINGECKO_API_KEY", header="x-cg-demo-api-key", required=False),
    gap=0.5,
    per_month=10_000,
)

COINGECKO.endpoint(
    MarketPrice,
    "/coins/markets",
    typical_bytes=45_000,
    params={"vs_currency": "usd", "order": "market_cap_desc", "per_page": 250, "page": 1},
    row=lambda c: coin(
        c["id"],
        c["symbol"],
        c["name"],
        c["current_price"],
        market_cap=c["market_cap"],
        volume=c["total_volume"],
        change_pct=c["price_change_percentage_24h"],
        at=iso(c["last_updated"]),
    ),
)

COINGECKO.endpoint(
    GlobalMarket,
    "/global",
    min_interval=hours(4),
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


def coingecko_trend(place: tuple[int, Any]) -> dict[str, Any]:
    rank, item = place[0], place[1]["item"]
    data = item.get("data") or {}
    return {
        "rank": rank,
        "source_id": item["id"],
        "symbol": item["symbol"],
        "name": item["name"],
        "price_usd": data.get("price"),
        "price_change_24h": (data.get("price_change_percentage_24h") or {}).get("usd"),
    }


COINGECKO.endpoint(
    TrendingCoin,
    "/search/trending",
    min_interval=hours(2),
    records=ranked("coins"),
    row=coingecko_trend,
)

COINGECKO.endpoint(
    StablecoinSupply,
    "/coins/markets",
    params={
        "vs_currency": "usd",
        "category": "usd-stablecoin",
        "order": "market_cap_desc",
        "per_page": 100,
        "page": 1,
    },
    min_interval=hours(6),
    fixed={"peg": "USD"},
    row=lambda c: (
        None
        if (number(c["circulating_supply"]) or 0) < 1_000_000
        else {
            "source_id": c["id"],
            "symbol": c["symbol"].upper(),
            "name": c["name"],
            "circulating": c["circulating_supply"],
            "circulating_usd": nonzero(c["market_cap"]),
            "price_usd": nonzero(c["current_price"]),
        }
    ),
)

# Coinpaprika

COINPAPRIKA = Source(
    "coinpaprika",
    "https://api.coinpaprika.com/v1",
    docs="https://docs.coinpaprika.com/",
    per_month=20_000,
)


COINPAPRIKA.endpoint(
    MarketPrice,
    "/tickers",
    typical_bytes=110_000,
    params={"quotes": "USD", "limit": 500},
    min_interval=minutes(15),
    row=lambda c: with_figures(c, c["quotes"]["USD"]),
)

COINPAPRIKA.endpoint(
    GlobalMarket,
    "/global",
    records=one(),
    row=lambda g: {
        "total_market_cap_usd": g["market_cap_usd"],
        "total_volume_24h_usd": g["volume_24h_usd"],
        "btc_dominance_pct": g["bitcoin_dominance_percentage"],
        "market_cap_change_24h_pct": g["market_cap_change_24h"],
        "active_coins": g["cryptocurrencies_number"],
        "source_at": seconds(g["last_updated"]),
    },
)

# The last full day of each coin. Its volume is in dollars, not in coins: it stays out.
COINPAPRIKA.endpoint(
    Candle,
    "/coins/{each}/ohlcv/latest",
    each={
        id_: {"symbol": id_.split("-")[0].upper(), "quote": "USD"}
        for id_ in (
            *("btc-bitcoin", "eth-ethereum", "bnb-binance-coin", "sol-solana", "xrp-xrp"),
            *("doge-dogecoin", "ada-cardano", "trx-tron", "link-chainlink", "avax-avalanche"),
        )
    },
    fixed={"interval": "1d"},
    min_interval=hours(6),
    row=lambda k: {
        "timestamp": iso(k["time_open"]),
        "open": k["open"],
        "high": k["high"],
        "low": k["low"],
        "close": k["close"],
    },
)

# Coinlore

COINLORE = Source(
    "coinlore",
    "https://api.coinlore.net",
    docs="https://www.coinlore.com/cryptocurrency-data-api",
    gap=1,
)

COINLORE.endpoint(
    MarketPrice,
    "/api/tickers/",
    typical_bytes=10_000,
    params={"start": "{each}", "limit": 100},
    each={"0": {}, "100": {}},  # it asks for one request a second
    records="data",
    row=lambda c: coin(
        c["id"],
        c["symbol"],
        c["name"],
        c["price_usd"],
        market_cap=c["market_cap_usd"],
        volume=c["volume24"],
        change_pct=c["percent_change_24h"],
    ),
)

COINLORE.endpoint(
    GlobalMarket,
    "/api/global/",
    row=lambda g: {
        "total_market_cap_usd": g["total_mcap"],
        "total_volume_24h_usd": g["total_volume"],
        "btc_dominance_pct": g["btc_d"],
        "eth_dominance_pct": g["eth_d"],
        "market_cap_change_24h_pct": g["mcap_change"],
        "active_coins": g["coins_count"],
        "markets": g["active_markets"],
    },
)

# CoinCap. Its free key buys 2,500 credits a month.

COINCAP = Source(
    "coincap",
    "https://rest.coincap.io/v3",
    docs="https://pro.coincap.io/api-docs/",
    key=Key(env="COINCAP_API_KEY", header="Authorization", prefix="Bearer "),
    per_month=2_500,
)

COINCAP.endpoint(
    MarketPrice,
    "/assets",
    params={"limit": 250},
    min_interval=hours(1),
    records="data",
    row=lambda c: coin(
        c["id"],
        c["symbol"],
        c["name"],
        c["priceUsd"],
        market_cap=c["marketCapUsd"],
        volume=c["volumeUsd24Hr"],
        change_pct=c["changePercent24Hr"],
    ),
)

# CoinMarketCap: what its own pages read, and the official interface. 200 coins are one of the
# 10,000 credits a month of a free key.

COINMARKETCAP_DATAAPI = Source(
    "coinmarketcap_dataapi",
    "https://api.coinmarketcap.com/data-api/v3",
    docs="https://coinmarketcap.com",
    headers={"Accept": "application/json"},
    gap=1,
    voice_of="coinmarketcap",
)


def coinmarketcap_listed(c: dict[str, Any]) -> dict[str, Any] | None:
    usd = {quote["name"]: quote for quote in c["quotes"]}["USD"]
    return coin(
        label(c["id"]),
        c["symbol"],
        c["name"],
        usd["price"],
        market_cap=usd["marketCap"],
        volume=usd["volume24h"],
        change_pct=usd["percentChange24h"],
        at=iso(c["lastUpdated"]),
    )


COINMARKETCAP_DATAAPI.endpoint(
    MarketPrice,
    "/cryptocurrency/listing",
    typical_bytes=130_000,
    params={
        "start": 1,
        "limit": 500,
        "sortBy": "market_cap",
        "sortType": "desc",
        "convert": "USD",
        "cryptoType": "all",
        "tagType": "all",
    },
    min_interval=minutes(15),
    records="data.cryptoCurrencyList",
    row=coinmarketcap_listed,
)


def coinmarketcap_trend(place: tuple[int, Any]) -> dict[str, Any]:
    """Its field `rank` is the coin's place by market capitalisation, not its place in this list."""
    rank, item = place
    price = item.get("priceChange") or {}
    return {
        "rank": rank,
        "source_id": label(item["id"]),
        "symbol": item["symbol"] or None,
        "name": item["name"],
        "price_usd": nonzero(price.get("price")),
        "price_change_24h": price.get("priceChange24h"),
    }


COINMARKETCAP_DATAAPI.endpoint(
    TrendingCoin,
    "/topsearch/rank",
    params={"timeframe": "24h", "top": 30},
    records=ranked("data.cryptoTopSearchRanks"),
    row=coinmarketcap_trend,
)

COINMARKETCAP = Source(
    "coinmarketcap",
    "https://pro-api.coinmarketcap.com/v1",
    docs="https://coinmarketcap.com/api/documentation/v1/",
    key=Key(env="COINMARKETCAP_API_KEY", header="X-CMC_PRO_API_KEY"),
    per_month=10_000,
)


def coinmarketcap_coin(c: dict[str, Any]) -> dict[str, Any] | None:
    """A token has a platform, its chain, and an address there; a chain's own coin has none."""
    row, home = with_figures(c, c["quote"]["USD"]), c.get("platform")
    if row and home:
        row["contract"] = f"{chain_name(home['name'])}:{label(home['token_address'])}"
    return row


COINMARKETCAP.endpoint(
    MarketPrice,
    "/cryptocurrency/listings/latest",
    params={"start": 1, "limit": 200, "convert": "USD"},
    records="data",
    row=coinmarketcap_coin,
)

COINMARKETCAP.endpoint(
    GlobalMarket,
    "/global-metrics/quotes/latest",
    params={"convert": "USD"},
    min_interval=hours(1),
    records=one("data"),
    row=lambda g: {
        "total_market_cap_usd": g["quote"]["USD"]["total_market_cap"],
        "total_volume_24h_usd": g["quote"]["USD"]["total_volume_24h"],
        "btc_dominance_pct": g["btc_dominance"],
        "eth_dominance_pct": g["eth_dominance"],
        "market_cap_change_24h_pct": g["quote"]["USD"][
            "total_market_cap_yesterday_percentage_change"
        ],
        "active_coins": g["active_cryptocurrencies"],
        "markets": g["active_market_pairs"],
        "source_at": iso(g["last_updated"]),
    },
)

# Live Coin Watch

LIVECOINWATCH = Source(
    "livecoinwatch",
    "https://api.livecoinwatch.com",
    docs="https://livecoinwatch.github.io/lcw-api-docs/",
    key=Key(env="LIVECOINWATCH_API_KEY", header="x-api-key"),
    per_day=10_000,
)

LIVECOINWATCH.endpoint(
    MarketPrice,
    "/coins/list",
    json={
        "currency": "USD",
        "sort": "rank",
        "order": "ascending",
        "offset": 0,
        "limit": 100,
        "meta": True,
    },
    # Codes that clash carry leading underscores; changes are ratios: 1.02 is 2 % up.
    row=lambda c: coin(
        c["code"],
        c["code"].lstrip("_"),
        c["name"],
        c["rate"],
        market_cap=c["cap"],
        volume=c["volume"],
        change_pct=change(1, (c["delta"] or {}).get("day")),
    ),
)

LIVECOINWATCH.endpoint(
    GlobalMarket,
    "/overview",
    json={"currency": "USD"},
    records=one(),
    row=lambda g: {
        "total_market_cap_usd": g["cap"],
        "total_volume_24h_usd": g["volume"],
        "btc_dominance_pct": percent(g["btcDominance"]),
    },
)

# Aggregators that want a key

COINSTATS = Source(
    "coinstats",
    "https://openapiv1.coinstats.app",
    docs="https://coinstats.app/api-docs/",
    key=Key(env="COINSTATS_API_KEY", header="X-API-KEY"),
    per_month=20_000,
)

COINSTATS.endpoint(
    MarketPrice,
    "/coins",
    params={"page": 1, "limit": 100, "currency": "USD"},
    min_interval=hours(1),
    records="result",
    row=lambda c: coin(
        c["id"],
        c["symbol"],
        c["name"],
        c["price"],
        market_cap=c["marketCap"],
        volume=c["volume"],
        change_pct=c["priceChange1d"],
    ),
)

COINSTATS.endpoint(
    GlobalMarket,
    "/markets",
    min_interval=hours(1),
    records=one(),
    row=lambda g: {
        "total_market_cap_usd": g["marketCap"],
        "total_volume_24h_usd": g["volume"],
        "btc_dominance_pct": g["btcDominance"],
    },
)

COINRANKING = Source(
    "coinranking",
    "https://api.coinranking.com/v2",
    docs="https://developers.coinranking.com/api/documentation",
    key=Key(env="COINRANKING_API_KEY", header="x-access-token"),
    per_month=5_000,
)

COINRANKING.endpoint(
    MarketPrice,
    "/coins",
    params={"limit": 100, "orderBy": "marketCap"},
    min_interval=minutes(15),
    records="data.coins",
    row=lambda c: coin(
        c["uuid"],
        c["symbol"],
        c["name"],
        c["price"],
        market_cap=c["marketCap"],
        volume=c["24hVolume"],
        change_pct=c["change"],
    ),
)

COINRANKING.endpoint(
    GlobalMarket,
    "/stats",
    min_interval=hours(1),
    records=one("data"),
    row=lambda g: {
        "total_market_cap_usd": g["totalMarketCap"],
        "total_volume_24h_usd": g["total24hVolume"],
        "btc_dominance_pct": g["btcDominance"],
        "active_coins": g["totalCoins"],
        "markets": g["totalMarkets"],
    },
)

MOBULA = Source(
    "mobula",
    "https://api.mobula.io/api/1",
    docs="https://docs.mobula.io",
    key=Key(env="MOBULA_API_KEY", header="Authorization"),
    per_month=10_000,
)

MOBULA.endpoint(
    MarketPrice,
    "/market/multi-data",
    params={"assets": "Bitcoin,Ethereum,Solana,XRP,BNB"},
    min_interval=hours(1),
    records=pairs("data"),
    row=lambda p: coin(
        p[0],
        p[1]["symbol"],
        p[1]["name"],
        p[1]["price"],
        market_cap=p[1]["market_cap"],
        volume=p[1]["volume"],
        change_pct=p[1]["price_change_24h"],
    ),
)

FREECRYPTOAPI = Source(
    "freecryptoapi",
    "https://api.freecryptoapi.com/v1",
    docs="https://freecryptoapi.com/documentation/",
    key=Key(env="FREECRYPTOAPI_KEY", header="Authorization", prefix="Bearer "),
    per_month=100_000,
)

FREECRYPTOAPI.endpoint(
    MarketPrice,
    "/getData",
    params={"symbol": "BTC ETH SOL XRP BNB"},
    min_interval=minutes(15),
    records="symbols",
    row=lambda c: ticker(
        (c["symbol"], "USDT"),
        c["last"],
        change_pct=c["daily_change_percentage"],
        at=iso(c["date"]),
    ),
)

COINAPI = Source(
    "coinapi",
    "https://rest.coinapi.io/v1",
    docs="https://docs.coinapi.io/",
    key=Key(env="COINAPI_KEY", header="X-CoinAPI-Key"),
    per_day=100,
)

COINAPI.endpoint(
    MarketPrice,
    "/assets",
    params={"filter_asset_id": "BTC;ETH;SOL;XRP;BNB"},
    min_interval=hours(1),
    # Its volume is many times what the whole market trades: it stays out.
    row=lambda c: coin(c["asset_id"], c["asset_id"], c["name"], c.get("price_usd")),
)

TIINGO = Source(
    "tiingo",
    "https://api.tiingo.com/tiingo/crypto",
    docs="https://www.tiingo.com/documentation/crypto",
    key=Key(env="TIINGO_API_KEY", header="Authorization", prefix="Token "),
    per_day=1_000,
)

TIINGO.endpoint(
    MarketPrice,
    "/top",
    params={"tickers": "btcusd,ethusd,solusd,xrpusd,dogeusd"},
    min_interval=minutes(15),
    row=lambda c: ticker(
        (c["baseCurrency"], c["quoteCurrency"]),
        c["topOfBookData"][0]["lastPrice"],
        at=iso(c["topOfBookData"][0]["lastSaleTimestamp"]),
        source_id=c["ticker"],
    ),
)

ALPHAVANTAGE = Source(
    "alphavantage",
    "https://www.alphavantage.co",
    docs="https://www.alphavantage.co/documentation/",
    key=Key(env="ALPHAVANTAGE_API_KEY", query="apikey"),
    per_day=25,
)

# 25 calls a day are free, for all that is asked with the key.
ALPHAVANTAGE.endpoint(
    MarketPrice,
    "/query",
    params={
        "function": "CURRENCY_EXCHANGE_RATE",
        "from_currency": "BTC",
        "to_currency": "USD",
    },
    min_interval=hours(2),
    records=one("Realtime Currency Exchange Rate"),
    row=lambda r: ticker(
        (r["1. From_Currency Code"], r["3. To_Currency Code"]),
        r["5. Exchange Rate"],
        at=iso(r["6. Last Refreshed"]),
    ),
)

# Keyless aggregators

ALTERNATIVE_ME_MARKET = Source(
    "alternative_me_market",
    "https://api.alternative.me/v2",
    docs="https://alternative.me/crypto/api/",
    gap=1,
)


def alternative_me_coin(c: dict[str, Any]) -> dict[str, Any] | None:
    usd = c["quotes"]["USD"]
    return coin(
        c["website_slug"],
        c["symbol"],
        c["name"],
        usd["price"],
        market_cap=usd["market_cap"],
        volume=usd["volume_24h"],
        change_pct=usd["percentage_change_24h"],
        at=seconds(c["last_updated"]),
    )


ALTERNATIVE_ME_MARKET.endpoint(
    MarketPrice,
    "/ticker/",
    params={"limit": 100, "convert": "USD", "structure": "array"},
    min_interval=minutes(15),
    records="data",
    row=alternative_me_coin,
)

ALTERNATIVE_ME_MARKET.endpoint(
    GlobalMarket,
    "/global/",
    params={"convert": "USD"},
    records=one("data"),
    # Bitcoin's share has been a fraction and a percentage here: it stays out.
    row=lambda g: {
        "total_market_cap_usd": g["quotes"]["USD"]["total_market_cap"],
        "total_volume_24h_usd": g["quotes"]["USD"]["total_volume_24h"],
        "active_coins": g["active_cryptocurrencies"],
        "markets": g["active_markets"],
        "source_at": seconds(g["last_updated"]),
    },
)

CRYPTOBUBBLES = Source(
    "cryptobubbles",
    "https://cryptobubbles.net/backend/data",
    docs="https://cryptobubbles.net",
    voice_of="coingecko",
)

CRYPTOBUBBLES.endpoint(
    MarketPrice,
    "/bubbles1000.usd.json",
    typical_bytes=130_000,
    min_interval=hours(1),
    row=lambda c: coin(
        label(c["id"]),
        c["symbol"],
        c["name"],
        c["price"],
        market_cap=c["marketcap"],
        volume=c["volume"],
        change_pct=c["performance"]["day"],
    ),
)

COINCODEX = Source(
    "coincodex",
    "https://coincodex.com/api/coincodex",
    docs="https://coincodex.com/page/api/",
    gap=0.2,
)

COINCODEX.endpoint(
    MarketPrice,
    "/get_coin/{each}",
    repeats={"symbol": "{each}"},
    each=Pairs("{base}"),
    min_interval=minutes(15),
    records=one(),
    row=lambda c: coin(
        c["slug"],
        c["symbol"],
        c["coin_name"],
        c["last_price_usd"],
        volume=c["volume_24_usd"],
        change_pct=c["price_change_1D_percent"],
        at=iso(c["last_update"]),
    ),
)

# Exchange rates: what one dollar, or one bitcoin, buys

COINBASE_RATES = Source(
    "coinbase_rates",
    "https://api.coinbase.com/v2",
    docs="https://docs.cdp.coinbase.com/coinbase-app/track-apis/exchange-rates",
    voice_of="coinbase",
)

RATED = frozenset(
    (
        *("BTC", "ETH", "SOL", "XRP", "DOGE", "ADA", "AVAX", "LINK", "DOT", "LTC", "BCH", "XLM"),
        *("UNI", "NEAR", "APT", "SUI", "SHIB", "HBAR", "AAVE", "ATOM", "ETC", "FIL", "ARB", "OP"),
        *("INJ", "ALGO", "PEPE", "RENDER", "ICP", "ZEC", "DASH", "CRV", "SNX", "COMP", "GRT"),
        *("LDO", "IMX", "SEI", "TIA", "BONK", "WIF", "ONDO", "ENA", "XTZ", "EIGEN", "STX", "FET"),
        *("QNT", "SAND", "MANA", "AXS", "CHZ"),
    )
)
"""The answer mixes coins and fiat currencies, and some tickers are both: only these are read."""

COINBASE_RATES.endpoint(
    MarketPrice,
    "/exchange-rates",
    repeats={"data.currency": "USD"},
    typical_bytes=6_000,
    params={"currency": "USD"},
    records=pairs("data.rates"),
    # The rate is what one dollar buys: the price is one over it.
    row=lambda p: (
        coin(p[0], p[0], None, 1 / given(p[1])) if p[0] in RATED and nonzero(p[1]) else None
    ),
)

BLOCKCHAIN_INFO_TICKER = Source(
    "blockchain_info_ticker",
    "https://blockchain.info",
    docs="https://www.blockchain.com/explorer/api/exchange_rates_api",
    voice_of="blockchaincom",
)

BLOCKCHAIN_INFO_TICKER.endpoint(
    MarketPrice,
    "/ticker",
    min_interval=minutes(15),
    records=pairs(),
    row=lambda p: ticker(("BTC", p[0]), p[1]["last"]),
)

BITPAY = Source("bitpay", "https://bitpay.com", docs="https://developer.bitpay.com/reference/rates")

BITPAY.endpoint(
    MarketPrice,
    "/api/rates",
    min_interval=minutes(15),
    row=lambda r: ticker(("BTC", r["code"]), r["rate"]),
)

# Oracles

DIADATA = Source("diadata", "https://api.diadata.org/v1", docs="https://docs.diadata.org/")

DIADATA.endpoint(
    MarketPrice,
    "/assetQuotation/{each}/0x0000000000000000000000000000000000000000",
    repeats={"Blockchain": "{each}"},
    each={"Bitcoin": {}, "Ethereum": {}},
    min_interval=minutes(15),
    records=one(),
    row=lambda c: coin(
        f"{c['Blockchain']}:{label(c['Address'])}",
        c["Symbol"],
        c["Name"],
        c["Price"],
        volume=c["VolumeYesterdayUSD"],
        change_pct=change(c["PriceYesterday"], c["Price"]),
        at=iso(c["Time"]),
    ),
)

REDSTONE = Source(
    "redstone",
    "https://api.redstone.finance",
    docs="https://api.docs.redstone.finance/http-api/prices",
)


def redstone_price(p: tuple[str, Any]) -> dict[str, Any] | None:
    """A symbol's newest value, by itself or at the head of a list."""
    newest = p[1][0] if isinstance(p[1], list) else p[1]
    return coin(p[0], p[0], None, newest["value"], at=millis(newest["timestamp"]))


REDSTONE.endpoint(
    MarketPrice,
    "/prices",
    params={"symbols": "BTC,ETH,SOL,BNB,XRP,LINK,AVAX", "provider": "redstone-primary-prod"},
    min_interval=minutes(15),
    records=pairs(),
    row=redstone_price,
)

TONAPI_RATES = Source("tonapi_rates", "https://tonapi.io/v2", docs="https://docs.tonconsole.com")

TONAPI_RATES.endpoint(
    MarketPrice,
    "/rates",
    params={"tokens": "ton", "currencies": "usd"},
    min_interval=minutes(15),
    records=pairs("rates"),
    row=lambda p: coin(p[0], p[0], None, p[1]["prices"]["USD"]),
)

CHAINLINK = Source(
    "chainlink",
    "https://ethereum-rpc.publicnode.com",
    docs="https://docs.chain.link/data-feeds/price-feeds/addresses",
)

CHAINLINK_FEEDS = {
    "BTC": "0xF4030086522a5bEEa4988F8cA5B36dbC97BeE88c",
    "ETH": "0x5f4eC3Df9cbd43714FE2740f5E3616155c5b8419",
    "LINK": "0x2c1d072e956AFFC0D435Cb7AC38EF18d24d9127c",
}
"""Contracts of the dollar feeds on Ethereum, each with eight decimals."""

LATEST_ROUND_DATA = "0xfeaf968c"


def chainlink_price(feed: tuple[str, str]) -> dict[str, Any] | None:
    """Five words of 32 bytes: round, answer, started at, updated at, answered in round."""
    symbol, result = feed
    words = result.removeprefix("0x")
    if len(words) != 5 * 64:
        raise ValueError(f"{result[:80]!r} is not five words")
    answer, updated = (from_hex("0x" + words[64 * i : 64 * (i + 1)]) for i in (1, 3))
    return coin(CHAINLINK_FEEDS[symbol], symbol, None, units(answer, 8), at=seconds(updated))


CHAINLINK.endpoint(
    MarketPrice,
    "",
    # Its feeds are written anew after an hour, or once the price moved by half a percent or more:
    # https://docs.chain.link/data-feeds (heartbeat; the last round takes a moment to get on chain).
    stale_after=minutes(70),
    json=[
        {
            "jsonrpc": "2.0",
            "id": i,
            "method": "eth_call",
            "params": [{"to": feed, "data": LATEST_ROUND_DATA}, "latest"],
        }
        for i, feed in enumerate(CHAINLINK_FEEDS.values(), 1)
    ],
    min_interval=minutes(15),
    records=lambda body: [
        feed for answers in rpc_results(list(CHAINLINK_FEEDS))(body) for feed in answers.items()
    ],
    row=chainlink_price,
)

PYTH_HERMES = Source(
    "pyth_hermes",
    "https://hermes.pyth.network",
    docs="https://docs.pyth.network/price-feeds/core/api-reference",
    key=Key(env="PYTH_API_KEY", header="Authorization", prefix="Bearer "),
)

PYTH_FEEDS = {
    "e62df6c8b4a85fe1a67db44dc12de5db330f7ac66b72dc658afedf0f4a415b43": "BTC",
    "ff61491a931112ddf1bd8147cd1b641375f79f5825126d665480874634fd0ace": "ETH",
    "ef0d8b6fda2ceba41da15d4095d1da392a0d2f8ed0c6c7bc0f4cfac8c280b56d": "SOL",
}

PYTH_HERMES.endpoint(
    MarketPrice,
    "/v2/updates/price/latest",
    params={"parsed": "true", "encoding": "hex", "ids[]": list(PYTH_FEEDS)},
    min_interval=minutes(15),
    records="parsed",
    row=lambda f: coin(
        f["id"],
        PYTH_FEEDS[f["id"]],
        None,
        times(f["price"]["price"], 10.0 ** whole_number(f["price"]["expo"])),
        at=seconds(f["price"]["publish_time"]),
    ),
)

ALCHEMY_PRICES = Source(
    "alchemy_prices",
    "https://api.g.alchemy.com/prices/v1",
    docs="https://www.alchemy.com/docs/data/prices-api",
    key=Key(env="ALCHEMY_API_KEY", path=True),
)


def alchemy_price(c: dict[str, Any]) -> dict[str, Any] | None:
    usd = {price["currency"].lower(): price for price in c["prices"]}.get("usd")
    if usd is None:
        return None
    return coin(c["symbol"], c["symbol"], None, usd["value"], at=iso(usd["lastUpdatedAt"]))


ALCHEMY_PRICES.endpoint(
    MarketPrice,
    "/{key}/tokens/by-symbol",
    params={"symbols": ["BTC", "ETH", "SOL", "LINK", "UNI", "AAVE"]},
    min_interval=minutes(15),
    records="data",
    row=alchemy_price,
)
