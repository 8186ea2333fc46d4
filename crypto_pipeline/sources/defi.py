"""DeFi: what is locked on chains and in protocols, stablecoins, and prices of exchanges on chain.

Pools trade tokens: a token keeps its own ticker here (WBTC, not BTC), and the market
capitalisations these sources compute from one chain's supply stay out.
"""

from collections.abc import Mapping
from typing import Any

from crypto_pipeline.sources.spec import Key, Source, hours, minutes
from crypto_pipeline.sources.values import (
    WrongShape,
    at,
    chain_name,
    change,
    coin,
    given,
    label,
    list_at,
    nonzero,
    number,
    one,
    pairs,
    percent,
    ranked,
    seconds,
    times,
)
from crypto_pipeline.tables import (
    Candle,
    DefiTvl,
    MarketPrice,
    StablecoinSupply,
    TrendingCoin,
)

LEAST = 1_000_000
"""Protocols and stablecoins smaller than this are left out: thousands of rows, little in them."""

# DefiLlama

DEFILLAMA = Source(
    "defillama", "https://api.llama.fi", docs="https://api-docs.defillama.com/", gap=0.5
)

DEFILLAMA.endpoint(
    DefiTvl,
    "/v2/chains",
    variant="chains",
    min_interval=hours(1),
    fixed={"scope": "chain"},
    row=lambda c: (
        None
        if nonzero(c["tvl"]) is None
        else {
            "source_id": c["name"],
            "name": c["name"],
            "blockchain": chain_name(c["name"]),
            "tvl_usd": c["tvl"],
        }
    ),
)


def defillama_protocol(p: dict[str, Any]) -> dict[str, Any] | None:
    """Centralised exchanges are listed among the protocols: what they hold is not DeFi."""
    if label(p["category"]) == "CEX" or (number(p["tvl"]) or 0) < LEAST:
        return None
    return {
        "source_id": p["slug"],
        "name": p["name"],
        "category": p["category"],
        "tvl_usd": p["tvl"],
        "change_1d_pct": p.get("change_1d"),
        "change_7d_pct": p.get("change_7d"),
    }


# 9 MB, with the protocols' parts and descriptions.
DEFILLAMA.endpoint(
    DefiTvl,
    "/protocols",
    variant="protocols",
    typical_bytes=2_200_000,
    min_interval=hours(3),
    fixed={"scope": "protocol"},
    row=defillama_protocol,
)

PEGS = {"REAL": "BRL"}
"""Pegs that DefiLlama does not write as a currency's code; VAR is a peg that varies."""


def defillama_stablecoin(c: dict[str, Any]) -> dict[str, Any] | None:
    """Coins without a CoinGecko id all carry one and the same price, which is not theirs."""
    kind = c["pegType"]
    circulating = number(c["circulating"].get(kind)) or 0
    if circulating < LEAST:
        return None
    peg = kind.removeprefix("pegged")
    price = nonzero(c.get("price")) if c["gecko_id"] else None
    return {
        "source_id": c["id"],
        "symbol": c["symbol"].upper(),
        "name": c["name"],
        "peg": PEGS.get(peg, peg),
        "circulating": circulating,
        "circulating_usd": times(circulating, price),
        "price_usd": price,
        "change_1d_pct": change((c.get("circulatingPrevDay") or {}).get(kind), circulating),
    }


DEFILLAMA.endpoint(
    StablecoinSupply,
    "https://stablecoins.llama.fi/stablecoins",
    typical_bytes=150_000,
    params={"includePrices": "true"},
    min_interval=hours(1),
    records="peggedAssets",
    row=defillama_stablecoin,
)

DEFILLAMA_COINS = Source(
    "defillama_coins",
    "https://coins.llama.fi",
    docs="https://api-docs.defillama.com/",
    gap=0.5,
    voice_of="coingecko",
)

PRICED = (
    *("bitcoin", "ethereum", "tether", "binancecoin", "solana", "ripple", "usd-coin", "dogecoin"),
    *("cardano", "tron", "avalanche-2", "chainlink", "polkadot", "litecoin", "bitcoin-cash"),
    *("stellar", "uniswap", "near", "aptos", "sui", "shiba-inu", "hedera-hashgraph", "monero"),
    *("the-open-network", "dai", "aave", "cosmos", "ethereum-classic", "filecoin", "arbitrum"),
    *("optimism", "injective-protocol", "algorand", "pepe", "internet-computer", "hyperliquid"),
    *("ethena", "ondo-finance", "bittensor", "kaspa", "zcash", "dash", "wrapped-bitcoin"),
)

DEFILLAMA_COINS.endpoint(
    MarketPrice,
    "/prices/current/" + ",".join(f"coingecko:{coin_id}" for coin_id in PRICED),
    params={"searchWidth": "4h"},
    min_interval=minutes(15),
    records=pairs("coins"),
    # Below 0.9 a price stands on thin liquidity.
    row=lambda p: (
        None
        if given(p[1]["confidence"]) < 0.9
        else coin(p[0], p[1]["symbol"], None, p[1]["price"], at=seconds(p[1]["timestamp"]))
    ),
)

# L2BEAT. What it calls value secured also counts what is bridged or minted natively.

L2BEAT = Source("l2beat", "https://l2beat.com/api", docs="https://l2beat.com", gap=1)


def l2beat_project(p: tuple[str, dict[str, Any]]) -> dict[str, Any] | None:
    name, project = p
    total = nonzero(project["tvs"]["breakdown"]["total"])
    if total is None:
        return None
    return {
        "source_id": name,
        "name": project["name"],
        "blockchain": chain_name(project["name"]),
        "category": project.get("category"),
        "tvl_usd": total,
        "change_7d_pct": percent(project["tvs"].get("change7d")),
    }


L2BEAT.endpoint(
    DefiTvl,
    "/scaling/summary",
    min_interval=hours(1),
    fixed={"scope": "chain"},
    records=pairs("projects"),
    row=l2beat_project,
)

# Blockchair counts the chains it follows itself.

BLOCKCHAIR_STABLECOINS = Source(
    "blockchair_stablecoins",
    "https://api.blockchair.com",
    docs="https://blockchair.com/api/docs",
    key=Key(env="BLOCKCHAIR_API_KEY", query="key", required=False),
    gap=0.25,
    per_day=288,  # 1,440 points; a call costs up to 5
)

BLOCKCHAIR_STABLECOINS.endpoint(
    StablecoinSupply,
    "/cross-chain/{each}/stats",
    each={
        "tether": {"source_id": "tether", "symbol": "USDT", "name": "Tether"},
        "usd-coin": {"source_id": "usd-coin", "symbol": "USDC", "name": "USD Coin"},
    },
    fixed={"peg": "USD"},
    min_interval=hours(2),
    records=one("data"),
    row=lambda c: {"circulating": c["circulation"]},
)

# Prices of tokens on Ethereum

TOKENS = {
    "0x2260fac5e5542a773aa44fbcfedf7c193bc2c599": "WBTC",
    "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2": "WETH",
    "0x514910771af9ca656af840dff83e8264ecf986ca": "LINK",
    "0x1f9840a85d5af5bf1d1762f925bdaddc4201f984": "UNI",
    "0x7fc66500c84a76ad7e9c93437bfc5ac33e2ddae9": "AAVE",
    "0x5a98fcbea516cf06857215779fd812ca3bef1b32": "LDO",
    "0xd533a949740bb3306d119cc777fa900ba034cd52": "CRV",
    "0x95ad61b0a150d79219dcf64e1e6cc01f0b64c4ce": "SHIB",
    "0x6982508145454ce325ddbe47a25d4ec3d2311933": "PEPE",
}

GECKOTERMINAL = Source(
    "geckoterminal",
    "https://api.geckoterminal.com/api/v2",
    docs="https://apiguide.geckoterminal.com/",
    headers={"Accept": "application/json;version=20230302"},
    gap=0.5,
    voice_of="coingecko",
)


def geckoterminal_trend(place: tuple[int, Any]) -> dict[str, Any]:
    """The pool's id is its chain, an underscore and its address; its name begins with the token."""
    rank, pool = place
    about = pool["attributes"]
    return {
        "rank": rank,
        "source_id": pool["id"],
        "symbol": about["name"].split(" / ")[0] or None,
        "name": about["name"],
        "blockchain": pool["id"].removesuffix("_" + label(about["address"])),
        "price_usd": nonzero(about["base_token_price_usd"]),
        "price_change_24h": number(about["price_change_percentage"].get("h24")),
    }


GECKOTERMINAL.endpoint(
    TrendingCoin,
    "/networks/trending_pools",
    params={"page": 1},
    records=ranked("data"),
    row=geckoterminal_trend,
)

GECKOTERMINAL.endpoint(
    MarketPrice,
    "/simple/networks/eth/token_price/" + ",".join(TOKENS),
    min_interval=minutes(15),
    records=pairs("data.attributes.token_prices"),
    row=lambda p: coin(f"eth_{p[0]}", TOKENS[p[0]], None, p[1]),
)


def geckoterminal_bars(body: Any) -> list[tuple[str, list[Any]]]:
    """The token that is priced is named beside the bars."""
    symbol = at(body, "meta.base.symbol")
    return [(symbol, bar) for bar in at(body, "data.attributes.ohlcv_list")]


# Open, high, low and close in dollars. The volume is in dollars too, not in coins: it stays out.
GECKOTERMINAL.endpoint(
    Candle,
    "/networks/eth/pools/{each}/ohlcv/minute",
    min_interval=hours(1),
    params={"aggregate": 5, "limit": 100, "currency": "usd"},
    each={
        "0x88e6a0c2ddd26feeb64f039a2c41296fcb3f5640": {},
        "0x99ac8ca7087fa4a2a1fb6357269965a2014abc35": {},
    },
    fixed={"interval": "5m", "quote": "USD"},
    records=geckoterminal_bars,
    row=lambda p: {
        "symbol": p[0],
        "timestamp": seconds(p[1][0]),
        "open": p[1][1],
        "high": p[1][2],
        "low": p[1][3],
        "close": p[1][4],
    },
)

DEXSCREENER = Source(
    "dexscreener", "https://api.dexscreener.com", docs="https://docs.dexscreener.com/api/reference"
)


def deepest_pools(body: Any) -> list[Mapping[str, Any]]:
    """Of each token asked for, the pool with most liquidity: the others quote stale prices."""
    found: dict[str, Mapping[str, Any]] = {}
    for pool in list_at(body):
        token = pool["baseToken"]["address"].lower()
        if token in TOKENS and depth(pool) > depth(found.get(token, {})):
            found[token] = pool
    if not found:
        raise WrongShape("no pool with liquidity of a token that was asked for")
    return list(found.values())


def depth(pool: Mapping[str, Any]) -> float:
    return number((pool.get("liquidity") or {}).get("usd")) or 0


DEXSCREENER.endpoint(
    MarketPrice,
    "/tokens/v1/ethereum/" + ",".join(TOKENS),
    min_interval=minutes(15),
    records=deepest_pools,
    row=lambda p: coin(
        f"{label(p['chainId'])}:{p['baseToken']['address']}",
        TOKENS[p["baseToken"]["address"].lower()],
        p["baseToken"]["name"],
        p.get("priceUsd"),
        volume=(p.get("volume") or {}).get("h24"),
        change_pct=(p.get("priceChange") or {}).get("h24"),
    ),
)

# Places in this list are paid for.
DEXSCREENER.endpoint(
    TrendingCoin,
    "/token-boosts/top/v1",
    records=ranked(),
    row=lambda p: {
        "rank": p[0],
        "source_id": p[1]["tokenAddress"],
        "blockchain": p[1]["chainId"],
    },
)

DEXPAPRIKA = Source(
    "dexpaprika",
    "https://api.dexpaprika.com",
    docs="https://docs.dexpaprika.com/",
    gap=2,
    per_month=200_000,
)

DEXPAPRIKA.endpoint(
    MarketPrice,
    "/networks/ethereum/multi/prices",
    params={"tokens": ",".join(TOKENS)},
    min_interval=minutes(15),
    row=lambda t: coin(
        f"{label(t['chain'])}:{t['id']}", TOKENS[t["id"].lower()], None, t["price_usd"]
    ),
)

# By traded volume. Which of a pool's tokens its price is of is not said: the price stays out.
DEXPAPRIKA.endpoint(
    TrendingCoin,
    "/networks/solana/pools",
    params={"limit": 50, "order_by": "volume_usd", "sort": "desc"},
    records=ranked("pools"),
    row=lambda p: {
        "rank": p[0],
        "source_id": p[1]["id"],
        "name": " / ".join(label(token["symbol"]) for token in p[1]["tokens"]),
        "blockchain": p[1]["chain"],
    },
)

# Jupiter, on Solana

JUPITER = Source(
    "jupiter",
    "https://api.jup.ag",
    docs="https://dev.jup.ag/docs/price/v3",
    key=Key(env="JUPITER_API_KEY", header="x-api-key"),
    gap=1,
)

MINTS = {
    "So11111111111111111111111111111111111111112": "SOL",
    "JUPyiwrYJFskUPiHa7hkeR8VUtAeFoSYbKedZNsDvCN": "JUP",
    "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v": "USDC",
}

JUPITER.endpoint(
    MarketPrice,
    "/price/v3",
    params={"ids": ",".join(MINTS)},
    min_interval=minutes(15),
    records=pairs(),
    row=lambda p: coin(
        p[0], MINTS[p[0]], None, p[1]["usdPrice"], change_pct=p[1].get("priceChange24h")
    ),
)

JUPITER.endpoint(
    TrendingCoin,
    "/tokens/v2/toptrending/24h",
    params={"limit": 50},
    fixed={"blockchain": "solana"},
    records=ranked(),
    row=lambda p: {
        "rank": p[0],
        "source_id": p[1]["id"],
        "symbol": p[1]["symbol"] or None,
        "name": p[1]["name"] or None,
        "price_usd": nonzero(p[1].get("usdPrice")),
        "price_change_24h": (p[1].get("stats24h") or {}).get("priceChange"),
    },
)
