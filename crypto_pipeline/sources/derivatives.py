"""Exchanges of perpetual swaps: funding rates, open interest, and the mood of their traders.

Dated futures and options are left out, and so are the contracts' prices: they are not spot prices.
"""

import re
from collections.abc import Iterable
from typing import Any

from crypto_pipeline.sources.exchanges import (
    CODES_OF_BINANCE,
    CODES_OF_BYBIT,
    CODES_OF_KUCOIN,
    CODES_OF_MEXC,
    CODES_OF_OKX,
)
from crypto_pipeline.sources.spec import Pairs, RowFunction, Source, ago, hours, minutes, now
from crypto_pipeline.sources.values import (
    QUOTES,
    WrongShape,
    at,
    flag,
    given,
    hours_between,
    iso,
    lot,
    millis,
    nonzero,
    number,
    one,
    pairs,
    per,
    seconds,
    split_pair,
    times,
    whole,
)
from crypto_pipeline.tables import FundingRate, OpenInterest, SentimentMetric
from crypto_pipeline.tables.outcomes import RateKind

CONTRACT_QUOTES = tuple(quote for quote in QUOTES if quote not in ("TUSD", "BUSD"))
"""No contract is quoted in TUSD or BUSD: DOTUSD is on DOT, BNBUSD on BNB."""


def base_of(pair: str) -> str:
    """The base of the pair that a contract is named after."""
    return split_pair(pair, CONTRACT_QUOTES)[0]


def funding(
    base: str,
    source_id: str,
    rate: Any,
    *,
    kind: RateKind | None = None,
    every: Any = None,
    mark: Any = None,
    due: Any = None,
) -> dict[str, Any] | None:
    """The funding_rates row of a contract; None when it pays no funding: it is dated or halted.

    `mark` is the price of one unit of `base`, which may be a thousand coins. `kind` says whether
    the rate still moves, where the exchange's documentation does.
    """
    fraction = number(rate)
    if fraction is None:
        return None
    symbol, many = lot(base)
    return {
        "symbol": symbol,
        "source_id": source_id,
        "rate": fraction,
        "rate_kind": kind,
        "interval_hours": every,
        "mark_price": per(nonzero(mark), many),
        "next_funding_at": due,
    }


def interest(
    base: str, source_id: str, amount: Any, *, mark: Any = None, usd: Any = None
) -> dict[str, Any]:
    """The open_interest row of a contract, from its size in units of `base`.

    What it is in dollars is given, or follows from the mark price of one unit.
    """
    symbol, many = lot(base)
    return {
        "symbol": symbol,
        "source_id": source_id,
        "open_interest": times(amount, many),
        "open_interest_usd": times(amount, mark) if usd is None else number(usd),
    }


def inverse(base: str, source_id: str, usd: Any, mark: Any) -> dict[str, Any]:
    """The open_interest row of a contract that is counted in dollars."""
    dollars, price = number(usd), number(mark)
    return {
        "symbol": base,
        "source_id": source_id,
        "open_interest": dollars / price if price and dollars is not None else None,
        "open_interest_usd": dollars,
    }


def point(time: Any, value: Any) -> dict[str, Any]:
    """The sentiment_metrics row of a value and its time in milliseconds."""
    return {"value": value, "timestamp": millis(time)}


def ratio(field: str) -> RowFunction:
    """Reads the sentiment_metrics row of a ratio that stands in this field, beside its time."""
    return lambda record: point(record["timestamp"], record[field])


# Large houses


BINANCE_FUTURES = Source(
    "binance_futures",
    "https://fapi.binance.com",
    docs="https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api",
    codes=CODES_OF_BINANCE,
)

BINANCE_FUTURES.endpoint(
    FundingRate,
    "/fapi/v1/premiumIndex",
    row=lambda p: funding(
        base_of(p["symbol"]),
        p["symbol"],
        p["lastFundingRate"] if p["nextFundingTime"] else None,
        kind="predicted",
        mark=p["markPrice"],
        due=millis(p["nextFundingTime"]),
    ),
)

BINANCE_FUTURES.endpoint(
    FundingRate,
    "https://dapi.binance.com/dapi/v1/premiumIndex",
    variant="coin",
    row=lambda p: funding(
        base_of(p["pair"]),
        p["symbol"],
        p["lastFundingRate"],
        kind="predicted",
        mark=p["markPrice"],
        due=millis(p["nextFundingTime"]),
    ),
)

BINANCE_FUTURES.endpoint(
    OpenInterest,
    "/futures/data/openInterestHist",
    repeats={"*.symbol": "{each}"},
    params={"symbol": "{each}", "period": "5m", "limit": 1},
    # Contracts on a thousand coins have other names.
    each=Pairs("{base}USDT", names=dict.fromkeys(("PEPE", "SHIB", "BONK", "FLOKI", "LUNC"))),
    row=lambda o: {
        "source_id": o["symbol"],
        "open_interest": o["sumOpenInterest"],
        "open_interest_usd": o["sumOpenInterestValue"],
        "timestamp": millis(o["timestamp"]),
    },
)

BINANCE_FUTURES.endpoint(
    OpenInterest,
    "https://dapi.binance.com/dapi/v1/openInterest",
    repeats={"symbol": "{each}"},
    variant="coin",
    params={"symbol": "{each}"},
    each=Pairs("{base}USD_PERP"),
    records=one(),
    # A contract is on 100 dollars of bitcoin, or on 10 dollars of any other coin.
    row=lambda o: {
        "source_id": o["symbol"],
        "open_interest_usd": times(o["openInterest"], 100 if o["pair"] == "BTCUSD" else 10),
    },
)

for _metric, _path, _field in (
    ("long_short_account_ratio", "globalLongShortAccountRatio", "longShortRatio"),
    ("top_trader_account_ratio", "topLongShortAccountRatio", "longShortRatio"),
    ("top_trader_position_ratio", "topLongShortPositionRatio", "longShortRatio"),
    ("taker_buy_sell_ratio", "takerlongshortRatio", "buySellRatio"),
):
    BINANCE_FUTURES.endpoint(
        SentimentMetric,
        f"/futures/data/{_path}",
        variant=_metric,
        # The ratio of takers comes without the name of its contract.
        repeats={} if _field == "buySellRatio" else {"*.symbol": "{each}"},
        params={"symbol": "{each}", "period": "5m", "limit": 12},
        each={"BTCUSDT": {"symbol": "BTC"}, "ETHUSDT": {"symbol": "ETH"}},
        fixed={"metric_name": _metric},
        min_interval=minutes(15),
        row=ratio(_field),
    )

BINANCE_FUTURES.endpoint(
    SentimentMetric,
    "https://dapi.binance.com/futures/data/globalLongShortAccountRatio",
    repeats={"*.pair": "{each}"},
    variant="long_short_account_ratio_coinm",
    params={"pair": "{each}", "period": "5m", "limit": 12},
    each={"BTCUSD": {"symbol": "BTC"}, "ETHUSD": {"symbol": "ETH"}},
    fixed={"metric_name": "long_short_account_ratio_coinm"},
    min_interval=minutes(15),
    row=ratio("longShortRatio"),
)

BINANCE_FUTURES.endpoint(
    SentimentMetric,
    "https://dapi.binance.com/futures/data/takerBuySellVol",
    repeats={"*.pair": "{each}"},
    variant="taker_buy_sell_ratio_coinm",
    params={"pair": "{each}", "contractType": "ALL", "period": "5m", "limit": 12},
    each={"BTCUSD": {"symbol": "BTC"}, "ETHUSD": {"symbol": "ETH"}},
    fixed={"metric_name": "taker_buy_sell_ratio_coinm"},
    min_interval=minutes(15),
    row=lambda r: (
        point(r["timestamp"], given(r["takerBuyVol"]) / given(r["takerSellVol"]))
        if number(r["takerSellVol"])
        else None
    ),
)


OKX_FUTURES = Source(
    "okx_futures",
    "https://www.okx.com",
    docs="https://www.okx.com/docs-v5/en/",
    codes=CODES_OF_OKX,
)

OKX_FUTURES.endpoint(
    FundingRate,
    "/api/v5/public/funding-rate",
    repeats={"*.instType": "SWAP"},
    params={"instId": "ANY"},
    records="data",
    # The rate is the one that is due at fundingTime; nextFundingTime is one interval later.
    row=lambda f: funding(
        f["instId"].split("-")[0],
        f["instId"],
        f["fundingRate"],
        kind="predicted",
        every=hours_between(millis(f["fundingTime"]), millis(f["nextFundingTime"])),
        due=millis(f["fundingTime"]),
    ),
)

OKX_FUTURES.endpoint(
    OpenInterest,
    "/api/v5/public/open-interest",
    repeats={"*.instType": "SWAP"},
    params={"instType": "SWAP"},
    records="data",
    row=lambda o: interest(o["instId"].split("-")[0], o["instId"], o["oiCcy"], usd=o.get("oiUsd")),
)

OKX_FUTURES.endpoint(
    SentimentMetric,
    "/api/v5/rubik/stat/contracts/long-short-account-ratio",
    variant="long_short_account_ratio",
    params={"ccy": "{each}", "period": "5m", "begin": ago("ms", hours=1)},
    each={"BTC": {"symbol": "BTC"}, "ETH": {"symbol": "ETH"}},
    fixed={"metric_name": "long_short_account_ratio"},
    min_interval=minutes(15),
    records="data",
    row=lambda r: point(r[0], r[1]),
)

for _metric, _path in (
    ("top_trader_account_ratio", "long-short-account-ratio-contract-top-trader"),
    ("top_trader_position_ratio", "long-short-position-ratio-contract-top-trader"),
):
    OKX_FUTURES.endpoint(
        SentimentMetric,
        f"/api/v5/rubik/stat/contracts/{_path}",
        variant=_metric,
        params={"instId": "{each}", "period": "5m", "limit": 12},
        each={"BTC-USDT-SWAP": {"symbol": "BTC"}, "ETH-USDT-SWAP": {"symbol": "ETH"}},
        fixed={"metric_name": _metric},
        min_interval=minutes(15),
        records="data",
        row=lambda r: point(r[0], r[1]),
    )


def bybit_base(symbol: str) -> str:
    """BTCUSDT and, margined in USDC, BTCPERP."""
    return symbol.removesuffix("PERP") if symbol.endswith("PERP") else base_of(symbol)


BYBIT_FUTURES = Source(
    "bybit_futures",
    "https://api.bybit.com",
    docs="https://bybit-exchange.github.io/docs/v5/market/tickers",
    codes=CODES_OF_BYBIT,
)


def bybit_funding(t: Any) -> dict[str, Any] | None:
    if not t["fundingRate"]:  # dated, and named in a way that cannot be split
        return None
    return funding(
        bybit_base(t["symbol"]),
        t["symbol"],
        t["fundingRate"],
        every=number(t["fundingIntervalHour"]),
        mark=t["markPrice"],
        due=millis(t["nextFundingTime"]),
    )


BYBIT_FUTURES.endpoint(
    FundingRate,
    "/v5/market/tickers",
    repeats={"result.category": "linear"},
    typical_bytes=100_000,
    params={"category": "linear"},
    records="result.list",
    row=bybit_funding,
)

BYBIT_FUTURES.endpoint(
    FundingRate,
    "/v5/market/tickers",
    repeats={"result.category": "inverse"},
    variant="inverse",
    params={"category": "inverse"},
    records="result.list",
    row=bybit_funding,
)

BYBIT_FUTURES.endpoint(
    OpenInterest,
    "/v5/market/tickers",
    repeats={"result.category": "linear"},
    params={"category": "linear"},
    records="result.list",
    # openInterest counts both sides.
    row=lambda t: (
        interest(
            bybit_base(t["symbol"]),
            t["symbol"],
            t["singleOpenInterest"],
            usd=t["singleOpenInterestValue"],
        )
        if t["fundingRate"]
        else None
    ),
)

BYBIT_FUTURES.endpoint(
    SentimentMetric,
    "/v5/market/account-ratio",
    repeats={"*.symbol": "{each}"},
    variant="long_short_account_ratio",
    params={"category": "linear", "symbol": "{each}", "period": "5min", "limit": 12},
    each={"BTCUSDT": {"symbol": "BTC"}, "ETHUSDT": {"symbol": "ETH"}},
    fixed={"metric_name": "long_short_account_ratio"},
    min_interval=minutes(15),
    records="result.list",
    row=lambda r: point(r["timestamp"], given(r["buyRatio"]) / given(r["sellRatio"])),
)


BITGET_FUTURES = Source(
    "bitget_futures",
    "https://api.bitget.com",
    docs="https://www.bitget.com/api-doc/contract/market/Get-Current-Funding-Rate",
)

BITGET_FUTURES.endpoint(
    FundingRate,
    "/api/v2/mix/market/current-fund-rate",
    params={"productType": "usdt-futures"},
    records="data",
    row=lambda f: funding(
        base_of(f["symbol"]),
        f["symbol"],
        f["fundingRate"],
        every=number(f["fundingRateInterval"]),
        due=millis(f["nextUpdate"]),
    ),
)

BITGET_FUTURES.endpoint(
    OpenInterest,
    "/api/v2/mix/market/tickers",
    params={"productType": "USDT-FUTURES"},
    records="data",
    row=lambda t: interest(
        base_of(t["symbol"]), t["symbol"], t["holdingAmount"], mark=t["markPrice"]
    ),
)

# Each of the two ratios may be asked for once a second, so for one coin.
BITGET_FUTURES.endpoint(
    SentimentMetric,
    "/api/v2/mix/market/account-long-short",
    variant="long_short_account_ratio",
    params={"symbol": "BTCUSDT", "period": "5m"},
    fixed={"symbol": "BTC", "metric_name": "long_short_account_ratio"},
    min_interval=minutes(15),
    records="data",
    row=lambda r: point(r["ts"], r["longShortAccountRatio"]),
)

BITGET_FUTURES.endpoint(
    SentimentMetric,
    "/api/v2/mix/market/position-long-short",
    variant="long_short_position_ratio",
    params={"symbol": "BTCUSDT", "period": "5m"},
    fixed={"symbol": "BTC", "metric_name": "long_short_position_ratio"},
    min_interval=minutes(15),
    records="data",
    row=lambda r: point(r["ts"], r["longShortPositionRatio"]),
)


GATE_FUTURES = Source(
    "gate_futures",
    "https://api.gateio.ws",
    docs="https://www.gate.com/docs/developers/apiv4/",
)

GATE_FUTURES.endpoint(
    FundingRate,
    "/api/v4/futures/usdt/contracts",
    typical_bytes=120_000,
    min_interval=hours(1),
    row=lambda c: (
        None
        if flag(c["in_delisting"])
        else funding(
            base_of(c["name"]),
            c["name"],
            c["funding_rate"],
            every=per(c["funding_interval"], 3600),
            mark=c["mark_price"],
            due=seconds(c["funding_next_apply"]),
        )
    ),
)

GATE_FUTURES.endpoint(
    OpenInterest,
    "/api/v4/futures/usdt/contracts",
    min_interval=hours(1),
    # position_size is one side, in contracts.
    row=lambda c: (
        None
        if flag(c["in_delisting"])
        else interest(
            base_of(c["name"]),
            c["name"],
            times(c["position_size"], c["quanto_multiplier"]),
            mark=c["mark_price"],
        )
    ),
)


def gate_stats(body: Any) -> Iterable[tuple[str, Any, Any]]:
    """Four measures of every closed period; the newest period is still open."""
    closed = sorted(body, key=lambda s: s["time"])[:-1]
    for s in closed:
        yield "long_short_account_ratio", s["time"], s["lsr_account"]
        yield "taker_buy_sell_ratio", s["time"], s["lsr_taker"]
        yield "top_trader_account_ratio", s["time"], s["top_lsr_account"]
        yield "top_trader_position_ratio", s["time"], s["top_lsr_size"]


GATE_FUTURES.endpoint(
    SentimentMetric,
    "/api/v4/futures/usdt/contract_stats",
    params={"contract": "{each}", "interval": "5m", "limit": 13},
    each={"BTC_USDT": {"symbol": "BTC"}, "ETH_USDT": {"symbol": "ETH"}},
    min_interval=minutes(15),
    records=gate_stats,
    # 0 stands for a period without trades.
    row=lambda m: (
        {"metric_name": m[0], "timestamp": seconds(m[1]), "value": m[2]} if m[2] else None
    ),
)


KUCOIN_FUTURES = Source(
    "kucoin_futures",
    "https://api-futures.kucoin.com",
    docs="https://www.kucoin.com/docs-new",
    codes=CODES_OF_KUCOIN,
)
PERPETUAL_OF_KUCOIN = "FFWCSX"


def kucoin_interest(c: Any) -> dict[str, Any] | None:
    """Contracts times what one is on: coins, or, as a negative number, dollars."""
    if c["type"] != PERPETUAL_OF_KUCOIN or c["status"] != "Open":
        return None
    size = times(c["openInterest"], abs(given(c["multiplier"])))
    if flag(c["isInverse"]):
        return inverse(c["baseCurrency"], c["symbol"], size, c["markPrice"])
    return interest(c["baseCurrency"], c["symbol"], size, mark=c["markPrice"])


KUCOIN_FUTURES.endpoint(
    FundingRate,
    "/api/v1/contracts/active",
    typical_bytes=160_000,
    records="data",
    min_interval=hours(1),
    row=lambda c: (
        funding(
            c["baseCurrency"],
            c["symbol"],
            c["fundingFeeRate"],
            every=per(c["fundingRateGranularity"], 3_600_000),
            mark=c["markPrice"],
            due=millis(c["nextFundingRateDateTime"]),
        )
        if c["type"] == PERPETUAL_OF_KUCOIN and c["status"] == "Open"
        else None
    ),
)

KUCOIN_FUTURES.endpoint(
    OpenInterest,
    "/api/v1/contracts/active",
    records="data",
    min_interval=hours(1),
    row=kucoin_interest,
)


HTX_FUTURES = Source(
    "htx_futures",
    "https://api.hbdm.com",
    docs="https://www.htx.com/en-us/opend/newApiPages/",
)

HTX_FUTURES.endpoint(
    FundingRate,
    "/linear-swap-api/v1/swap_batch_funding_rate",
    records="data",
    row=lambda f: funding(
        f["contract_code"].split("-")[0],
        f["contract_code"],
        f["funding_rate"],
        every=hours_between(millis(f["funding_time"]), millis(f.get("next_funding_time"))),
        due=millis(f["funding_time"]),
    ),
)

HTX_FUTURES.endpoint(
    OpenInterest,
    "/linear-swap-api/v1/swap_open_interest",
    records="data",
    # Both amounts count both sides.
    row=lambda o: (
        interest(
            o["contract_code"].split("-")[0],
            o["contract_code"],
            times(o["amount"], 0.5),
            usd=times(o["value"], 0.5),
        )
        if o["business_type"] == "swap"
        else None
    ),
)

for _metric, _path in (
    ("top_trader_account_ratio", "swap_elite_account_ratio"),
    ("top_trader_position_ratio", "swap_elite_position_ratio"),
):
    HTX_FUTURES.endpoint(
        SentimentMetric,
        f"/linear-swap-api/v1/{_path}",
        repeats={"data.contract_code": "{each}"},
        variant=_metric,
        params={"contract_code": "{each}", "period": "5min"},
        each={"BTC-USDT": {"symbol": "BTC"}, "ETH-USDT": {"symbol": "ETH"}},
        fixed={"metric_name": _metric},
        min_interval=minutes(15),
        records="data.list",
        row=lambda r: point(r["ts"], given(r["buy_ratio"]) / given(r["sell_ratio"])),
    )


MEXC_FUTURES = Source(
    "mexc_futures",
    "https://contract.mexc.com",
    docs="https://www.mexc.com/api-docs/futures/market-endpoints",
    codes=CODES_OF_MEXC,
)

MEXC_FUTURES.endpoint(
    FundingRate,
    "/api/v1/contract/ticker",
    typical_bytes=100_000,
    records="data",
    row=lambda t: funding(
        t["symbol"].split("_")[0], t["symbol"], t["fundingRate"], mark=t["fairPrice"]
    ),
)


def kraken_rate(t: Any) -> float | None:
    """The rate as a fraction: it comes as money per contract and hour.

    A linear contract (PF_) is on one coin and pays dollars, an inverse one (PI_) is on one dollar
    and pays coins.
    """
    paid = number(t.get("fundingRate"))
    if paid is None:
        return None
    index = given(t["indexPrice"])
    return paid / index if t["symbol"].upper().startswith("PF_") else paid * index


KRAKEN_FUTURES = Source(
    "kraken_futures",
    "https://futures.kraken.com",
    docs="https://docs.kraken.com/api/docs/futures-api",
)


def kraken_perpetual(t: Any) -> bool:
    return t.get("tag") == "perpetual" and t["symbol"].upper()[:3] in ("PF_", "PI_")


def kraken_interest(t: Any) -> dict[str, Any] | None:
    if not kraken_perpetual(t):
        return None
    base, name = base_of(t["pair"]), t["symbol"].upper()
    if name.startswith("PI_"):
        return inverse(base, name, t["openInterest"], t["markPrice"])
    return interest(base, name, t["openInterest"], mark=t["markPrice"])


KRAKEN_FUTURES.endpoint(
    FundingRate,
    "/derivatives/api/v3/tickers",
    records="tickers",
    row=lambda t: (
        funding(
            base_of(t["pair"]),
            t["symbol"].upper(),
            kraken_rate(t),
            kind="settled",
            every=1,
            mark=t["markPrice"],
        )
        if kraken_perpetual(t)
        else None
    ),
)

KRAKEN_FUTURES.endpoint(
    OpenInterest, "/derivatives/api/v3/tickers", records="tickers", row=kraken_interest
)


COINBASE_INTL = Source(
    "coinbase_intl",
    "https://api.international.coinbase.com",
    docs="https://docs.cdp.coinbase.com/intx/reference",
)

COINBASE_INTL.endpoint(
    FundingRate,
    "/api/v1/instruments",
    row=lambda i: (
        funding(
            i["symbol"].removesuffix("-PERP"),
            i["symbol"],
            i["quote"]["predicted_funding"],
            kind="predicted",
            every=per(i["funding_interval"], 3_600e9),
            mark=i["quote"]["mark_price"],
        )
        if i["type"] == "PERP"
        else None
    ),
)

COINBASE_INTL.endpoint(
    OpenInterest,
    "/api/v1/instruments",
    row=lambda i: (
        interest(
            i["symbol"].removesuffix("-PERP"),
            i["symbol"],
            i["open_interest"],
            mark=i["quote"]["mark_price"],
        )
        if i["type"] == "PERP"
        else None
    ),
)


DERIBIT_FUTURES = Source(
    "deribit_futures",
    "https://www.deribit.com",
    docs="https://docs.deribit.com/",
)


def deribit_interest(b: Any) -> dict[str, Any] | None:
    """BTC-PERPETUAL is counted in dollars, SOL_USDC-PERPETUAL in coins."""
    name = b["instrument_name"]
    if not name.endswith("-PERPETUAL"):
        return None
    if "_" in name:
        return interest(b["base_currency"], name, b["open_interest"], mark=b["mark_price"])
    return inverse(b["base_currency"], name, b["open_interest"], b["mark_price"])


DERIBIT_FUTURES.endpoint(
    FundingRate,
    "/api/v2/public/get_book_summary_by_currency",
    params={"currency": "{each}", "kind": "future"},
    each={"BTC": {}, "ETH": {}, "USDC": {}},
    records="result",
    # Funding is paid all the time; this is what the last eight hours came to.
    row=lambda b: (
        funding(
            b["base_currency"],
            b["instrument_name"],
            b["funding_8h"],
            kind="settled",
            every=8,
            mark=b["mark_price"],
        )
        if b["instrument_name"].endswith("-PERPETUAL")
        else None
    ),
)

DERIBIT_FUTURES.endpoint(
    OpenInterest,
    "/api/v2/public/get_book_summary_by_currency",
    params={"currency": "{each}", "kind": "future"},
    each={"BTC": {}, "ETH": {}, "USDC": {}},
    records="result",
    row=deribit_interest,
)

DERIBIT_FUTURES.endpoint(
    SentimentMetric,
    "/api/v2/public/get_volatility_index_data",
    variant="dvol_index",
    params={
        "currency": "{each}",
        "start_timestamp": ago("ms", hours=12),
        "end_timestamp": now("ms"),
        "resolution": 3600,
    },
    each={"BTC": {"symbol": "BTC"}, "ETH": {"symbol": "ETH"}},
    fixed={"metric_name": "dvol_index"},
    min_interval=minutes(15),
    records="result.data",
    # The value at the hour: the close of the newest candle still moves.
    row=lambda c: point(c[0], c[1]),
)


def put_call(body: Any) -> list[tuple[str, Any, float]]:
    """Puts over calls of all options of a coin: by open interest, and by volume of 24 hours."""
    options = at(body, "result")
    found = []
    for metric, name in (("put_call_oi_ratio", "open_interest"), ("put_call_ratio", "volume")):
        puts = sum(number(o[name]) or 0 for o in options if o["instrument_name"].endswith("-P"))
        calls = sum(number(o[name]) or 0 for o in options if o["instrument_name"].endswith("-C"))
        if calls:
            found.append((metric, max(o["creation_timestamp"] for o in options), puts / calls))
    return found


DERIBIT_FUTURES.endpoint(
    SentimentMetric,
    "/api/v2/public/get_book_summary_by_currency",
    repeats={"result.0.base_currency": "{each}"},
    variant="put_call",
    params={"currency": "{each}", "kind": "option"},
    each={"BTC": {"symbol": "BTC"}, "ETH": {"symbol": "ETH"}},
    min_interval=hours(1),
    records=put_call,
    row=lambda m: {"metric_name": m[0], **point(m[1], m[2])},
)


BITFINEX_FUTURES = Source(
    "bitfinex_futures",
    "https://api-pub.bitfinex.com",
    docs="https://docs.bitfinex.com/reference/rest-public-derivatives-status",
    aliases={"ALG": "ALGO", "ATO": "ATOM", "DSH": "DASH", "IOT": "IOTA", "OPX": "OP"},
)


def bitfinex_base(key: str) -> str | None:
    """BTC of tBTCF0:USTF0; None for the contracts of paper trading and for other quotes."""
    base, quote = key[1:].split(":")
    return base.removesuffix("F0") if quote == "USTF0" and not base.startswith("TEST") else None


def bitfinex_funding(s: Any) -> dict[str, Any] | None:
    base = bitfinex_base(s[0])
    return funding(base, s[0], s[12], every=8, mark=s[15], due=millis(s[8])) if base else None


def bitfinex_interest(s: Any) -> dict[str, Any] | None:
    base = bitfinex_base(s[0])
    return interest(base, s[0], s[18], mark=s[15]) if base else None


BITFINEX_FUTURES.endpoint(
    FundingRate, "/v2/status/deriv", params={"keys": "ALL"}, row=bitfinex_funding
)

BITFINEX_FUTURES.endpoint(
    OpenInterest, "/v2/status/deriv", params={"keys": "ALL"}, row=bitfinex_interest
)

for _side in ("long", "short"):
    BITFINEX_FUTURES.endpoint(
        SentimentMetric,
        f"/v2/stats1/pos.size:1m:t{{each}}USD:{_side}/last",
        variant=f"margin_{_side}_size",
        each={"BTC": {"symbol": "BTC"}, "ETH": {"symbol": "ETH"}},
        fixed={"metric_name": f"margin_{_side}_size"},
        min_interval=minutes(15),
        records=whole,
        row=lambda r: point(r[0], r[1]),
    )


CRYPTOCOM_FUTURES = Source(
    "cryptocom_futures",
    "https://api.crypto.com",
    docs="https://exchange-docs.crypto.com/exchange/v1/rest-ws/index.html",
)

CRYPTOCOM_FUTURES.endpoint(
    FundingRate,
    "/exchange/v1/public/get-valuations",
    repeats={"result.instrument_name": "{each}"},
    params={
        "instrument_name": "{each}",
        "valuation_type": "estimated_funding_rate",
        "count": 1,
    },
    each=Pairs("{base}USD-PERP", names={"BNB": None, "TRX": None}),
    records=lambda body: [
        (at(body, "result.instrument_name"), value) for value in at(body, "result.data")
    ],
    row=lambda v: {
        "source_id": v[0],
        "rate": v[1]["v"],
        "rate_kind": "predicted",
        "interval_hours": 1,
    },
)

CRYPTOCOM_FUTURES.endpoint(
    OpenInterest,
    "/exchange/v1/public/get-tickers",
    records="result.data",
    row=lambda t: (
        interest(t["i"].removesuffix("USD-PERP"), t["i"], t["oi"])
        if t["i"].endswith("USD-PERP")
        else None
    ),
)


# On chains


def hyperliquid_assets(body: Any) -> list[tuple[Any, Any]]:
    """What is listed, and the state of each: two lists side by side."""
    listed, states = at(body, "0.universe"), at(body, "1")
    if len(listed) != len(states):
        raise WrongShape(f"{len(listed)} assets are listed, {len(states)} have a state")
    return list(zip(listed, states, strict=True))


HYPERLIQUID = Source(
    "hyperliquid",
    "https://api.hyperliquid.xyz",
    docs="https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/info-endpoint/perpetuals",
)

HYPERLIQUID.endpoint(
    FundingRate,
    "/info",
    json={"type": "metaAndAssetCtxs"},
    records=hyperliquid_assets,
    row=lambda a: (
        None
        if flag(a[0].get("isDelisted", False))
        else funding(a[0]["name"], a[0]["name"], a[1]["funding"], every=1, mark=a[1]["markPx"])
    ),
)

HYPERLIQUID.endpoint(
    OpenInterest,
    "/info",
    json={"type": "metaAndAssetCtxs"},
    records=hyperliquid_assets,
    row=lambda a: (
        None
        if flag(a[0].get("isDelisted", False))
        else interest(a[0]["name"], a[0]["name"], a[1]["openInterest"], mark=a[1]["markPx"])
    ),
)


def dydx_base(market: str) -> str:
    """BTC of BTC-USD, and BUFFI of BUFFI,UNISWAP_V3,0X…-USD."""
    return re.split("[-,]", market)[0]


DYDX = Source(
    "dydx",
    "https://indexer.dydx.trade",
    docs="https://docs.dydx.xyz/indexer-client/http",
)

DYDX.endpoint(
    FundingRate,
    "/v4/perpetualMarkets",
    records=pairs("markets"),
    # The oracle's price is what positions are marked with.
    row=lambda p: (
        funding(
            dydx_base(p[0]),
            p[0],
            p[1]["nextFundingRate"],
            kind="predicted",
            every=1,
            mark=p[1]["oraclePrice"],
        )
        if p[1]["status"] == "ACTIVE"
        else None
    ),
)

DYDX.endpoint(
    OpenInterest,
    "/v4/perpetualMarkets",
    records=pairs("markets"),
    row=lambda p: (
        interest(dydx_base(p[0]), p[0], p[1]["openInterest"], mark=p[1]["oraclePrice"])
        if p[1]["status"] == "ACTIVE"
        else None
    ),
)


PARADEX = Source(
    "paradex",
    "https://api.prod.paradex.trade",
    docs="https://docs.paradex.trade/api/prod/markets/get-markets-summary",
)

PARADEX.endpoint(
    FundingRate,
    "/v1/markets/summary",
    params={"market": "ALL"},
    records="results",
    min_interval=hours(1),
    row=lambda m: (
        funding(
            m["symbol"].split("-")[0],
            m["symbol"],
            m["funding_rate"],
            every=8,
            mark=m["mark_price"],
        )
        if m["symbol"].endswith("-PERP")
        else None
    ),
)

PARADEX.endpoint(
    OpenInterest,
    "/v1/markets/summary",
    params={"market": "ALL"},
    records="results",
    min_interval=hours(1),
    row=lambda m: (
        interest(m["symbol"].split("-")[0], m["symbol"], m["open_interest"], mark=m["mark_price"])
        if m["symbol"].endswith("-PERP")
        else None
    ),
)


ASTER = Source(
    "aster",
    "https://fapi.asterdex.com",
    docs="https://github.com/asterdex/api-docs",
)

ASTER.endpoint(
    FundingRate,
    "/fapi/v3/premiumIndex",
    row=lambda p: funding(
        base_of(p["symbol"]),
        p["symbol"],
        p["lastFundingRate"],
        kind="predicted",
        mark=p["markPrice"],
        due=millis(p["nextFundingTime"]),
    ),
)


ORDERLY = Source(
    "orderly",
    "https://api-evm.orderly.org",
    docs="https://orderly.network/docs/build-on-omnichain/evm-api/restful-api/public/get-predicted-funding-rates-for-all-markets",
)

ORDERLY.endpoint(
    FundingRate,
    "/v1/public/funding_rates",
    records="data.rows",
    row=lambda f: funding(
        f["symbol"].split("_")[1],
        f["symbol"],
        f["est_funding_rate"],
        kind="predicted",
        every=hours_between(
            millis(f["last_funding_rate_timestamp"]), millis(f["next_funding_time"])
        ),
        due=millis(f["next_funding_time"]),
    ),
)

ORDERLY.endpoint(
    OpenInterest,
    "/v1/public/futures",
    records="data.rows",
    row=lambda f: interest(
        f["symbol"].split("_")[1], f["symbol"], f["open_interest"], mark=f["mark_price"]
    ),
)


LIGHTER = Source(
    "lighter",
    "https://mainnet.zklighter.elliot.ai",
    docs="https://apidocs.lighter.xyz/",
    gap=1,
)

LIGHTER.endpoint(
    FundingRate,
    "/api/v1/funding-rates",
    records="funding_rates",
    # Rates of other exchanges stand beside its own. All are for eight hours; it settles hourly.
    row=lambda f: (
        funding(f["symbol"], f["symbol"], per(f["rate"], 8), every=1)
        if f["exchange"] == "lighter"
        else None
    ),
)

LIGHTER.endpoint(
    OpenInterest,
    "/api/v1/orderBookDetails",
    records="order_book_details",
    row=lambda b: (
        interest(b["symbol"], b["symbol"], b["open_interest"])
        if b["market_type"] == "perp" and b["status"] == "active"
        else None
    ),
)


PACIFICA = Source(
    "pacifica",
    "https://api.pacifica.fi",
    docs="https://docs.pacifica.fi/",
)

PACIFICA.endpoint(
    FundingRate,
    "/api/v1/info/prices",
    records="data",
    # funding is what the past hour paid, next_funding what this one is expected to pay.
    row=lambda p: funding(
        p["symbol"], p["symbol"], p["next_funding"], kind="predicted", every=1, mark=p["mark"]
    ),
)


EXTENDED = Source(
    "extended",
    "https://api.starknet.extended.exchange",
    docs="https://api.docs.extended.exchange/",
)

EXTENDED.endpoint(
    FundingRate,
    "/api/v1/info/markets",
    records="data",
    # nextFundingRate is a time.
    row=lambda m: (
        funding(
            m["name"].split("-")[0],
            m["name"],
            m["marketStats"]["fundingRate"],
            kind="predicted",
            every=1,
            mark=m["marketStats"]["markPrice"],
            due=millis(m["marketStats"]["nextFundingRate"]),
        )
        if m["status"] == "ACTIVE"
        else None
    ),
)

EXTENDED.endpoint(
    OpenInterest,
    "/api/v1/info/markets",
    records="data",
    row=lambda m: (
        interest(
            m["name"].split("-")[0],
            m["name"],
            m["marketStats"]["openInterestBase"],
            usd=m["marketStats"]["openInterest"],
        )
        if m["status"] == "ACTIVE"
        else None
    ),
)


BACKPACK_FUTURES = Source(
    "backpack_futures",
    "https://api.backpack.exchange",
    docs="https://docs.backpack.exchange/",
)

BACKPACK_FUTURES.endpoint(
    FundingRate,
    "/api/v1/markPrices",
    row=lambda p: (
        funding(
            p["symbol"].split("_")[0],
            p["symbol"],
            p["fundingRate"],
            kind="predicted",
            every=1,
            mark=p["markPrice"],
            due=millis(p["nextFundingTimestamp"]),
        )
        if p["symbol"].endswith("_PERP")
        else None
    ),
)

BACKPACK_FUTURES.endpoint(
    OpenInterest,
    "/api/v1/openInterest",
    row=lambda o: (
        interest(o["symbol"].split("_")[0], o["symbol"], o["openInterest"])
        if o["symbol"].endswith("_PERP")
        else None
    ),
)


# More houses


WOO_FUTURES = Source("woo_futures", "https://api.woox.io", docs="https://developer.woox.io/")

WOO_FUTURES.endpoint(
    FundingRate,
    "/v3/public/fundingRate",
    records="data.rows",
    row=lambda f: funding(
        f["symbol"].split("_")[1],
        f["symbol"],
        f["estFundingRate"],
        kind="predicted",
        every=f["estFundingIntervalHours"],
        due=millis(f["nextFundingTime"]),
    ),
)

WOO_FUTURES.endpoint(
    OpenInterest,
    "/v3/public/futures",
    records="data.rows",
    row=lambda f: interest(
        f["symbol"].split("_")[1], f["symbol"], f["openInterest"], mark=f["markPrice"]
    ),
)


PHEMEX_FUTURES = Source(
    "phemex_futures", "https://api.phemex.com", docs="https://phemex-docs.github.io/"
)

PHEMEX_FUTURES.endpoint(
    FundingRate,
    "/md/v2/ticker/24hr/all",
    records="result",
    row=lambda t: funding(
        base_of(t["symbol"].removeprefix("u")),
        t["symbol"],
        t["fundingRateRr"],
        mark=t["markPriceRp"],
    ),
)

PHEMEX_FUTURES.endpoint(
    OpenInterest,
    "/md/v2/ticker/24hr/all",
    records="result",
    row=lambda t: interest(
        base_of(t["symbol"].removeprefix("u")),
        t["symbol"],
        t["openInterestRv"],
        mark=t["markPriceRp"],
    ),
)


BINGX_FUTURES = Source(
    "bingx_futures", "https://open-api.bingx.com", docs="https://bingx-api.github.io/docs/"
)

BINGX_FUTURES.endpoint(
    FundingRate,
    "/openApi/swap/v2/quote/premiumIndex",
    records="data",
    row=lambda p: funding(
        base_of(p["symbol"]),
        p["symbol"],
        p["lastFundingRate"],
        every=p.get("fundingIntervalHours"),
        mark=p["markPrice"],
        due=millis(p["nextFundingTime"]),
    ),
)

BINGX_FUTURES.endpoint(
    OpenInterest,
    "/openApi/swap/v2/quote/openInterest",
    repeats={"data.symbol": "{each}"},
    params={"symbol": "{each}"},
    each=Pairs("{base}-USDT"),
    records=one("data"),
    row=lambda o: {"source_id": o["symbol"], "open_interest_usd": o["openInterest"]},
)


XT_FUTURES = Source("xt_futures", "https://fapi.xt.com", docs="https://doc.xt.com/")

XT_FUTURES.endpoint(
    FundingRate,
    "/future/market/v1/public/q/funding-rate",
    repeats={"result.symbol": "{each}"},
    params={"symbol": "{each}"},
    each=Pairs("{base}_usdt", lower=True),
    records=one("result"),
    row=lambda f: {
        "source_id": f["symbol"],
        "rate": f["fundingRate"],
        "interval_hours": f["collectionInternal"],
        "next_funding_at": millis(f["nextCollectionTime"]),
    },
)

XT_FUTURES.endpoint(
    OpenInterest,
    "/future/market/v1/public/contract/open-interest",
    repeats={"result.symbol": "{each}"},
    params={"symbol": "{each}"},
    each=Pairs("{base}_usdt", lower=True),
    records=one("result"),
    row=lambda o: {
        "source_id": o["symbol"],
        "open_interest": o["openInterest"],
        "open_interest_usd": o["openInterestUsd"],
    },
)


DELTA = Source("delta", "https://api.delta.exchange", docs="https://docs.delta.exchange/")

DELTA.endpoint(
    FundingRate,
    "/v2/tickers",
    repeats={"*.contract_type": "perpetual_futures"},
    params={"contract_types": "perpetual_futures"},
    records="result",
    # Percent, for eight hours.
    row=lambda t: funding(
        base_of(t["symbol"]),
        t["symbol"],
        times(t["funding_rate"], 0.01),
        every=8,
        mark=t["mark_price"],
    ),
)

DELTA.endpoint(
    OpenInterest,
    "/v2/tickers",
    repeats={"*.contract_type": "perpetual_futures"},
    params={"contract_types": "perpetual_futures"},
    records="result",
    row=lambda t: interest(
        base_of(t["symbol"]),
        t["symbol"],
        t["oi_value"] if t["oi_value_symbol"] == base_of(t["symbol"]) else None,
        usd=t["oi_value_usd"],
    ),
)


WHITEBIT_FUTURES = Source(
    "whitebit_futures",
    "https://whitebit.com",
    docs="https://docs.whitebit.com/public/http-v4/#available-futures-markets-list",
)

WHITEBIT_FUTURES.endpoint(
    FundingRate,
    "/api/v4/public/futures",
    records="result",
    row=lambda f: (
        funding(
            f["stock_currency"],
            f["ticker_id"],
            f["funding_rate"],
            every=per(f["funding_interval_minutes"], 60),
            due=millis(f["next_funding_rate_timestamp"]),
        )
        if f["product_type"] == "Perpetual"
        else None
    ),
)

WHITEBIT_FUTURES.endpoint(
    OpenInterest,
    "/api/v4/public/futures",
    records="result",
    row=lambda f: (
        interest(f["stock_currency"], f["ticker_id"], f["open_interest"])
        if f["product_type"] == "Perpetual"
        else None
    ),
)


POLONIEX_FUTURES = Source(
    "poloniex_futures",
    "https://api.poloniex.com",
    docs="https://api-docs.poloniex.com/v3/futures/api/market",
)

POLONIEX_FUTURES.endpoint(
    FundingRate,
    "/v3/market/fundingRate",
    repeats={"data.s": "{each}"},
    params={"symbol": "{each}"},
    each={"BTC_USDT_PERP": {"symbol": "BTC"}, "ETH_USDT_PERP": {"symbol": "ETH"}},
    records=one("data"),
    row=lambda f: {
        "source_id": f["s"],
        "rate": f["fR"],
        "interval_hours": hours_between(millis(f["fT"]), millis(f["nFT"])),
    },
)


HITBTC_FUTURES = Source("hitbtc_futures", "https://api.hitbtc.com", docs="https://api.hitbtc.com/")

HITBTC_FUTURES.endpoint(
    FundingRate,
    "/api/3/public/futures/info",
    records=pairs(),
    row=lambda p: (
        funding(
            base_of(p[0].removesuffix("_PERP")),
            p[0],
            p[1]["funding_rate"],
            mark=p[1]["mark_price"],
            due=iso(p[1]["next_funding_time"]),
        )
        if p[1]["contract_type"] == "perpetual"
        else None
    ),
)

HITBTC_FUTURES.endpoint(
    OpenInterest,
    "/api/3/public/futures/info",
    records=pairs(),
    row=lambda p: (
        interest(
            base_of(p[0].removesuffix("_PERP")),
            p[0],
            p[1]["open_interest"],
            mark=p[1]["mark_price"],
        )
        if p[1]["contract_type"] == "perpetual"
        else None
    ),
)


LBANK_FUTURES = Source(
    "lbank_futures",
    "https://lbkperp.lbank.com",
    docs="https://www.lbank.com/en-US/docs/contract.html",
)

LBANK_FUTURES.endpoint(
    FundingRate,
    "/cfd/openApi/v1/pub/marketData",
    params={"productGroup": "SwapU"},
    records="data",
    row=lambda t: funding(
        base_of(t["symbol"]),
        t["symbol"],
        t["fundingRate"],
        every=per(t["positionFeeTime"], 3600),
        mark=t["markedPrice"],
        due=millis(t["nextFeeTime"]),
    ),
)


BIGONE_FUTURES = Source(
    "bigone_futures", "https://big.one", docs="https://open.big.one/docs/contract/"
)

BIGONE_FUTURES.endpoint(
    FundingRate,
    "/api/contract/v2/instruments",
    row=lambda i: funding(
        base_of(i["symbol"]),
        i["symbol"],
        i["fundingRate"],
        mark=i["markPrice"],
        due=millis(i["nextFundingTime"]),
    ),
)


COINEX_FUTURES = Source(
    "coinex_futures", "https://api.coinex.com", docs="https://docs.coinex.com/api/v2/"
)

COINEX_FUTURES.endpoint(
    FundingRate,
    "/v2/futures/funding-rate",
    records="data",
    # The latest rate is settled; the next one is what will be paid at next_funding_time.
    row=lambda f: funding(
        base_of(f["market"]),
        f["market"],
        f["next_funding_rate"],
        kind="predicted",
        every=hours_between(millis(f["latest_funding_time"]), millis(f["next_funding_time"])),
        mark=f["mark_price"],
        due=millis(f["next_funding_time"]),
    ),
)

COINEX_FUTURES.endpoint(
    OpenInterest,
    "/v2/futures/ticker",
    records="data",
    # Contracts quoted in USD itself are inverse.
    row=lambda t: (
        interest(base_of(t["market"]), t["market"], t["open_interest_volume"], mark=t["mark_price"])
        if t["market"].endswith(("USDT", "USDC"))
        else None
    ),
)


TOOBIT_FUTURES = Source(
    "toobit_futures", "https://api.toobit.com", docs="https://toobit-docs.github.io/"
)

TOOBIT_FUTURES.endpoint(
    FundingRate,
    "/api/v1/futures/fundingRate",
    row=lambda f: funding(
        f["symbol"].split("-")[0], f["symbol"], f["rate"], due=millis(f["nextFundingTime"])
    ),
)


WEEX_FUTURES = Source(
    "weex_futures", "https://api-contract.weex.com", docs="https://www.weex.com/api-doc/"
)

WEEX_FUTURES.endpoint(
    FundingRate,
    "/capi/v3/market/premiumIndex",
    # lastFundingRate is settled already; collectCycle is in minutes.
    row=lambda p: funding(
        base_of(p["symbol"]),
        p["symbol"],
        p["forecastFundingRate"],
        kind="predicted",
        every=per(p["collectCycle"], 60),
        mark=p["markPrice"],
        due=millis(p["nextFundingTime"]),
    ),
)


HASHKEY_FUTURES = Source(
    "hashkey_futures",
    "https://api-glb.hashkey.com",
    docs="https://hashkeyglobal-apidoc.readme.io/",
)

HASHKEY_FUTURES.endpoint(
    FundingRate,
    "/api/v1/futures/fundingRate",
    row=lambda f: funding(
        base_of(f["symbol"].removesuffix("-PERPETUAL")),
        f["symbol"],
        f["rate"],
        due=millis(f["nextSettleTime"]),
    ),
)


DEEPCOIN_FUTURES = Source(
    "deepcoin_futures", "https://api.deepcoin.com", docs="https://www.deepcoin.com/docs/"
)

DEEPCOIN_FUTURES.endpoint(
    FundingRate,
    "/deepcoin/trade/fund-rate/current-funding-rate",
    params={"instType": "SwapU"},
    records="data.current_fund_rates",
    row=lambda f: funding(base_of(f["instrumentId"]), f["instrumentId"], f["fundingRate"]),
)


BLOFIN_FUTURES = Source(
    "blofin_futures", "https://openapi.blofin.com", docs="https://docs.blofin.com/"
)

BLOFIN_FUTURES.endpoint(
    FundingRate,
    "/api/v1/market/funding-rate",
    records="data",
    row=lambda f: funding(
        f["instId"].split("-")[0], f["instId"], f["fundingRate"], due=millis(f["fundingTime"])
    ),
)


GEMINI_FUTURES = Source(
    "gemini_futures",
    "https://api.gemini.com",
    docs="https://docs.gemini.com/rest/market-data",
    gap=0.25,
)

GEMINI_FUTURES.endpoint(
    OpenInterest,
    "/v1/riskstats/{each}",
    each={
        "BTCGUSDPERP": {"symbol": "BTC", "source_id": "BTCGUSDPERP"},
        "ETHGUSDPERP": {"symbol": "ETH", "source_id": "ETHGUSDPERP"},
        "SOLGUSDPERP": {"symbol": "SOL", "source_id": "SOLGUSDPERP"},
        "XRPGUSDPERP": {"symbol": "XRP", "source_id": "XRPGUSDPERP"},
    },
    records=one(),
    row=lambda r: {
        "open_interest": r["open_interest"],
        "open_interest_usd": r["open_interest_notional"],
    },
)
