"""Bitcoin, its relatives, and chains without an EVM: fees, blocks and large transfers."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from crypto_pipeline.sources.spec import Key, Source, ago, day, hours, minutes, now
from crypto_pipeline.sources.values import (
    at,
    fees,
    flag,
    from_hex,
    given,
    iso,
    list_at,
    micros,
    millis,
    nanos,
    nonzero,
    one,
    pairs,
    per,
    rpc_results,
    seconds,
    times,
    units,
    whole_number,
)
from crypto_pipeline.tables import BlockchainStats, GasPrice, MarketPrice, WhaleTransaction

LARGE = {
    "BTC": 100,
    "ALGO": 500_000,
    "HBAR": 1_000_000,
    "TON": 50_000,
    "TRX": 1_000_000,
    "USDT": 1_000_000,
    "VET": 5_000_000,
    "XLM": 1_000_000,
    "XRP": 500_000,
    "XTZ": 100_000,
}
"""From how many whole coins on a transfer is one to tell of."""


def transfer(
    symbol: str,
    amount: float,
    name: str,
    moment: datetime | None,
    sender: str | None = None,
    receiver: str | None = None,
) -> dict[str, Any] | None:
    """The whale_transactions row of a transfer of whole coins; None when it is not large."""
    if amount < LARGE[symbol]:
        return None
    return {
        "transaction_hash": name,
        "from_address": sender,
        "to_address": receiver,
        "amount": amount,
        "symbol": symbol,
        "timestamp": moment,
    }


# Bitcoin and its relatives


def run_of_blocks(body: Any) -> list[Any]:
    """The newest blocks, newest first, are one record together."""
    blocks = list_at(body)
    return [blocks] if blocks else []


def newest_of(blocks: list[Any]) -> dict[str, Any]:
    newest, oldest = blocks[0], blocks[-1]
    between = given(newest["height"]) - given(oldest["height"])
    lasted = given(newest["timestamp"]) - given(oldest["timestamp"])
    return {
        "latest_block": newest["height"],
        "latest_block_at": seconds(newest["timestamp"]),
        "difficulty": newest["difficulty"],
        "average_block_time_s": lasted / between if between else None,
    }


def recommended(f: Mapping[str, Any]) -> dict[str, Any]:
    return fees(f["hourFee"], f["halfHourFee"], f["fastestFee"], "sat/vB")


MEMPOOL_SPACE = Source(
    "mempool_space", "https://mempool.space", docs="https://mempool.space/docs/api/rest", gap=0.2
)

MEMPOOL_SPACE.endpoint(
    GasPrice,
    "/api/v1/fees/recommended",
    records=one(),
    row=recommended,
    fixed={"blockchain": "bitcoin"},
    pool="bitcoin_gas",
)

MEMPOOL_SPACE.endpoint(
    BlockchainStats,
    "/api/v1/blocks",
    records=run_of_blocks,
    row=newest_of,
    fixed={"blockchain": "bitcoin"},
    pool="bitcoin_stats",
)

MEMPOOL_SPACE.endpoint(
    MarketPrice,
    "/api/v1/prices",
    records=one(),
    min_interval=minutes(15),
    row=lambda p: {
        "symbol": "BTC",
        "source_id": "BTC",
        "quote": "USD",
        "price_usd": p["USD"],
        "source_at": seconds(p["time"]),
    },
)

BLOCKSTREAM = Source(
    "blockstream",
    "https://blockstream.info/api",
    docs="https://github.com/Blockstream/esplora/blob/master/API.md",
    gap=1,
)

BLOCKSTREAM.endpoint(
    GasPrice,
    "/fee-estimates",
    records=one(),
    row=lambda f: fees(f["6"], f["3"], f["1"], "sat/vB"),
    fixed={"blockchain": "bitcoin"},
    pool="bitcoin_gas",
)

BLOCKSTREAM.endpoint(
    BlockchainStats,
    "/blocks",
    records=run_of_blocks,
    row=newest_of,
    fixed={"blockchain": "bitcoin"},
    pool="bitcoin_stats",
)

BITCOIN_PUBLICNODE = Source(
    "bitcoin_publicnode", "https://bitcoin-rpc.publicnode.com", docs="https://www.publicnode.com"
)

BITCOIN_PUBLICNODE.rpc(
    GasPrice,
    {
        "fast": ["estimatesmartfee", 2],
        "standard": ["estimatesmartfee", 6],
        "slow": ["estimatesmartfee", 24],
    },
    # feerate is in BTC per 1,000 vB
    row=lambda a: fees(
        times(a["slow"]["feerate"], 1e5),
        times(a["standard"]["feerate"], 1e5),
        times(a["fast"]["feerate"], 1e5),
        "sat/vB",
    ),
    fixed={"blockchain": "bitcoin"},
    pool="bitcoin_gas",
)

BITCOIN_PUBLICNODE.rpc(
    BlockchainStats,
    {
        "chain": ["getblockchaininfo"],
        "mempool": ["getmempoolinfo"],
        "hashrate": ["getnetworkhashps", 144],
    },
    row=lambda a: {
        "latest_block": a["chain"]["blocks"],
        "latest_block_at": seconds(a["chain"]["time"]),
        "difficulty": a["chain"]["difficulty"],
        "network_hashrate": a["hashrate"],
        "mempool_transactions": a["mempool"]["size"],
        "mempool_bytes": a["mempool"]["bytes"],
    },
    fixed={"blockchain": "bitcoin"},
)

BLOCKCHAIN_INFO = Source(
    "blockchain_info",
    "https://blockchain.info",
    docs="https://www.blockchain.com/explorer/api",
    gap=10,
)

BLOCKCHAIN_INFO.endpoint(
    BlockchainStats,
    "https://api.blockchain.info/stats",
    records=one(),
    row=lambda s: {
        "latest_block": s["n_blocks_total"],
        "transactions_24h": s["n_tx"],
        "network_hashrate": times(s["hash_rate"], 1e9),  # it comes in GH/s
        "difficulty": s["difficulty"],
        "average_block_time_s": times(nonzero(s["minutes_between_blocks"]), 60),
    },
    fixed={"blockchain": "bitcoin"},
)

BLOCKCHAIN_INFO.endpoint(
    WhaleTransaction,
    "/unconfirmed-transactions",
    params={"format": "json"},
    records="txs",
    row=lambda t: transfer(
        "BTC", sum(units(o["value"], 8) for o in t["out"]), t["hash"], seconds(t["time"])
    ),
    fixed={"blockchain": "bitcoin"},
)

BLOCKCHAIR = Source(
    "blockchair",
    "https://api.blockchair.com",
    docs="https://blockchair.com/api/docs",
    key=Key(env="BLOCKCHAIR_API_KEY", query="key", required=False),
    gap=0.25,
    per_day=288,  # 1,440 points; a call costs up to 5
)

BLOCKCHAIR_CHAINS = {
    "bitcoin": "bitcoin",
    "bitcoin-cash": "bitcoin_cash",
    "ethereum": "ethereum",
    "litecoin": "litecoin",
    "dogecoin": "dogecoin",
    "dash": "dash",
    "zcash": "zcash",
    "ecash": "ecash",
    "monero": "monero",
    "ripple": "ripple",
    "stellar": "stellar",
    "cardano": "cardano",
    "tezos": "tezos",
}

FEES_PER_BYTE = ("bitcoin", "bitcoin-cash", "litecoin", "dogecoin", "dash", "ecash")


def blockchair_stats(chain: tuple[str, Any]) -> dict[str, Any] | None:
    name, stats = chain[0], chain[1]
    if name not in BLOCKCHAIR_CHAINS:
        return None
    s = stats["data"]
    height = s.get("best_block_height")
    return {
        "blockchain": BLOCKCHAIR_CHAINS[name],
        "latest_block": s["best_ledger_height"] if height is None else height,
        "latest_block_at": iso(s.get("best_block_time") or s.get("best_ledger_time")),
        "total_transactions": s.get("transactions"),
        "transactions_24h": s.get("transactions_24h"),
        "network_hashrate": nonzero(s.get("hashrate_24h")),
        "difficulty": nonzero(s.get("difficulty")),
        "mempool_transactions": s.get("mempool_transactions"),
        "mempool_bytes": s.get("mempool_size"),
    }


def blockchair_fee(chain: tuple[str, Any]) -> dict[str, Any] | None:
    name, stats = chain
    if name not in FEES_PER_BYTE:
        return None
    return {
        "blockchain": BLOCKCHAIR_CHAINS[name],
        "standard_gas_price": stats["data"]["suggested_transaction_fee_per_byte_sat"],
        "unit": "sat/vB",
    }


BLOCKCHAIR.endpoint(
    BlockchainStats, "/stats", records=pairs("data"), row=blockchair_stats, min_interval=minutes(30)
)

BLOCKCHAIR.endpoint(
    GasPrice, "/stats", records=pairs("data"), row=blockchair_fee, min_interval=minutes(30)
)

# A search costs five of the 1,440 points that a day without a key has.
BLOCKCHAIR.endpoint(
    WhaleTransaction,
    "/{each}/transactions",
    params={"q": "output_total_usd(1000000..)", "s": "id(desc)", "limit": 10},
    each={
        "bitcoin": {"blockchain": "bitcoin", "symbol": "BTC"},
        "bitcoin-cash": {"blockchain": "bitcoin_cash", "symbol": "BCH"},
        "litecoin": {"blockchain": "litecoin", "symbol": "LTC"},
        "dogecoin": {"blockchain": "dogecoin", "symbol": "DOGE"},
    },
    records="data",
    min_interval=hours(1),
    row=lambda t: {
        "transaction_hash": t["hash"],
        "amount": units(t["output_total"], 8),
        "amount_usd": nonzero(t["output_total_usd"]),
        "timestamp": iso(t["time"]),
    },
)

BLOCKCHAIR.endpoint(
    WhaleTransaction,
    "/ethereum/transactions",
    variant="ethereum",
    params={"q": "value_usd(1000000..)", "s": "id(desc)", "limit": 10},
    fixed={"blockchain": "ethereum", "symbol": "ETH"},
    records="data",
    min_interval=hours(1),
    row=lambda t: (
        {
            "transaction_hash": t["hash"],
            "from_address": t["sender"],
            "to_address": t["recipient"],
            "amount": units(t["value"], 18),
            "amount_usd": nonzero(t["value_usd"]),
            "timestamp": iso(t["time"]),
        }
        if not flag(t["failed"])
        else None
    ),
)

LITECOINSPACE = Source(
    "litecoinspace", "https://litecoinspace.org", docs="https://litecoinspace.org/docs/api/rest"
)

LITECOINSPACE.endpoint(
    GasPrice,
    "/api/v1/fees/recommended",
    records=one(),
    row=recommended,
    fixed={"blockchain": "litecoin"},
    pool="litecoin_gas",
)

LITECOINSPACE.endpoint(
    BlockchainStats,
    "/api/v1/blocks",
    records=run_of_blocks,
    row=newest_of,
    fixed={"blockchain": "litecoin"},
)

BLOCKCYPHER = Source(
    "blockcypher",
    "https://api.blockcypher.com/v1",
    docs="https://www.blockcypher.com/dev/bitcoin/#chain-endpoint",
    key=Key(env="BLOCKCYPHER_TOKEN", query="token", required=False),
    gap=0.35,
)

for _coin, _chain in (
    ("btc", "bitcoin"),
    ("ltc", "litecoin"),
    ("doge", "dogecoin"),
    ("dash", "dash"),
):
    BLOCKCYPHER.endpoint(
        BlockchainStats,
        f"/{_coin}/main",
        repeats={"name": f"{_coin}.main"},
        variant=_chain,
        records=one(),
        row=lambda c: {
            "latest_block": c["height"],
            "latest_block_at": iso(c["time"]),
            "mempool_transactions": c["unconfirmed_count"],
        },
        fixed={"blockchain": _chain},
    )
    BLOCKCYPHER.endpoint(
        GasPrice,
        f"/{_coin}/main",
        repeats={"name": f"{_coin}.main"},
        variant=_chain,
        records=one(),
        row=lambda c: fees(
            per(c["low_fee_per_kb"], 1000),
            per(c["medium_fee_per_kb"], 1000),
            per(c["high_fee_per_kb"], 1000),
            "sat/vB",
        ),
        fixed={"blockchain": _chain},
        pool=f"{_chain}_gas" if _chain in ("bitcoin", "litecoin") else None,
        min_interval=minutes(15),
    )

TATUM_GATEWAY = Source(
    "tatum_gateway",
    "https://litecoin-mainnet.gateway.tatum.io",
    docs="https://docs.tatum.io/reference/rpc",
    key=Key(env="TATUM_API_KEY", header="x-api-key", required=False),
    gap=12,
)

for _host, _chain in (
    ("litecoin", "litecoin"),
    ("dogecoin", "dogecoin"),
    ("bitcoin-cash", "bitcoin_cash"),
):
    TATUM_GATEWAY.rpc(
        BlockchainStats,
        {"chain": ["getblockchaininfo"]},
        path=f"https://{_host}-mainnet.gateway.tatum.io",
        variant=_chain,
        row=lambda a: {
            "latest_block": a["chain"]["blocks"],
            "difficulty": a["chain"]["difficulty"],
        },
        fixed={"blockchain": _chain},
    )

HASKOIN = Source("haskoin", "https://api.haskoin.com", docs="https://api.haskoin.com/")

HASKOIN.endpoint(
    BlockchainStats,
    "/bch/health",
    records=one("blocks"),
    row=lambda b: {"latest_block": b["blocks"]},
    fixed={"blockchain": "bitcoin_cash"},
)

COINMETRICS = Source(
    "coinmetrics",
    "https://community-api.coinmetrics.io/v4",
    docs="https://docs.coinmetrics.io/api/v4/",
    gap=1,
)

COINMETRICS_CHAINS = {
    "btc": "bitcoin",
    "bch": "bitcoin_cash",
    "ltc": "litecoin",
    "doge": "dogecoin",
}

COINMETRICS.endpoint(
    BlockchainStats,
    "/timeseries/asset-metrics",
    params={
        "assets": ",".join(COINMETRICS_CHAINS),
        "metrics": "TxCnt,HashRate,BlkCnt",
        "frequency": "1d",
        "limit_per_asset": 1,
    },
    records="data",
    min_interval=hours(6),
    row=lambda m: {
        "blockchain": COINMETRICS_CHAINS[m["asset"]],
        "transactions_24h": m["TxCnt"],
        "network_hashrate": times(m["HashRate"], 1e12),  # it comes in TH/s
        "average_block_time_s": 86400 / given(m["BlkCnt"]),
    },
)

XMRCHAIN = Source(
    "xmrchain",
    "https://xmrchain.net",
    docs="https://github.com/moneroexamples/onion-monero-blockchain-explorer",
    gap=1,
)

XMRCHAIN.endpoint(
    BlockchainStats,
    "/api/networkinfo",
    records=one("data"),
    row=lambda n: {
        "latest_block": whole_number(n["height"])
        - 1,  # Monero's height counts blocks, the first is number 0
        "total_transactions": n["tx_count"],
        "network_hashrate": n["hash_rate"],
        "difficulty": n["difficulty"],
        "mempool_transactions": n["tx_pool_size"],
    },
    fixed={"blockchain": "monero"},
)

DCRDATA = Source(
    "dcrdata", "https://dcrdata.decred.org", docs="https://dcrdata.decred.org/api", gap=1
)

DCRDATA.endpoint(
    BlockchainStats,
    "/api/status",
    records=one(),
    row=lambda s: {
        "latest_block": s["db_height"],
        "latest_block_at": seconds(s["db_last_block_time"]),
    },
    fixed={"blockchain": "decred"},
)

KASPA = Source("kaspa", "https://api.kaspa.org", docs="https://api.kaspa.org/docs", gap=1)

KASPA.endpoint(
    BlockchainStats,
    "/info/network",
    records=one(),
    # The node prunes, so blockCount is no height; the DAA score counts every block.
    row=lambda n: {"latest_block": n["virtualDaaScore"], "difficulty": n["difficulty"]},
    fixed={"blockchain": "kaspa"},
)

KASPA.endpoint(
    GasPrice,
    "/info/fee-estimate",
    records=one(),
    row=lambda f: fees(
        f["lowBuckets"][0]["feerate"],
        f["normalBuckets"][0]["feerate"],
        f["priorityBucket"]["feerate"],
        "sompi/gram",
    ),
    fixed={"blockchain": "kaspa"},
    min_interval=minutes(15),
)

ERGO = Source(
    "ergo", "https://api.ergoplatform.com", docs="https://api.ergoplatform.com/api/v1/docs/", gap=1
)

ERGO.endpoint(
    BlockchainStats,
    "/api/v1/networkState",
    records=one(),
    row=lambda s: {"latest_block": s["height"]},
    fixed={"blockchain": "ergo"},
)


# Tron

TRONGRID = Source(
    "trongrid",
    "https://api.trongrid.io",
    docs="https://developers.tron.network/reference",
    key=Key(env="TRONGRID_API_KEY", header="TRON-PRO-API-KEY", required=False),
    gap=0.3,
    per_day=100_000,
)


def tron_transactions(body: Any) -> list[tuple[int, Any]]:
    """Each transaction with the time of its block, which only the header has."""
    moment = at(body, "block_header.raw_data.timestamp")
    return [(moment, transaction) for transaction in body.get("transactions", [])]


def tron_transfer(record: tuple[int, Any]) -> dict[str, Any] | None:
    moment, t = record
    contract = t["raw_data"]["contract"][0]
    if contract["type"] != "TransferContract" or t["ret"][0].get("contractRet") != "SUCCESS":
        return None
    sent = contract["parameter"]["value"]
    sender, receiver = sent["owner_address"], sent["to_address"]
    return transfer("TRX", units(sent["amount"], 6), t["txID"], millis(moment), sender, receiver)


TRONGRID.endpoint(
    BlockchainStats,
    "/wallet/getnowblock",
    json={"visible": True},
    records=one("block_header.raw_data"),
    row=lambda h: {"latest_block": h["number"], "latest_block_at": millis(h["timestamp"])},
    fixed={"blockchain": "tron"},
)

TRONGRID.endpoint(
    WhaleTransaction,
    "/wallet/getnowblock",
    json={"visible": True},
    records=tron_transactions,
    row=tron_transfer,
    fixed={"blockchain": "tron"},
)

TRONGRID.endpoint(
    WhaleTransaction,
    "/v1/contracts/TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t/events",
    repeats={
        "*.contract_address": "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t",
        "*.event_name": "Transfer",
    },
    variant="usdt",
    params={"event_name": "Transfer", "limit": 200, "only_confirmed": "true"},
    records="data",
    row=lambda e: transfer(
        "USDT",
        units(e["result"]["value"], 6),
        e["transaction_id"],
        millis(e["block_timestamp"]),
        e["result"]["from"],
        e["result"]["to"],
    ),
    fixed={"blockchain": "tron"},
)

TRONGRID.endpoint(
    GasPrice,
    "/wallet/getchainparameters",
    records="chainParameter",
    row=lambda p: (
        {"standard_gas_price": p["value"], "unit": "sun/energy"}
        if p["key"] == "getEnergyFee"
        else None
    ),
    fixed={"blockchain": "tron"},
    min_interval=hours(1),
)


# Solana


def level(ordered: list[Any], share: float) -> Any:
    return ordered[round(share * (len(ordered) - 1))]


def priority_fees(answers: Mapping[str, Any]) -> dict[str, Any]:
    paid = sorted(given(slot["prioritizationFee"]) for slot in answers["fees"])
    return fees(level(paid, 0.25), level(paid, 0.5), level(paid, 0.9), "micro-lamports/CU")


def solana_stats(answers: Mapping[str, Any]) -> dict[str, Any]:
    epoch, sample = answers["epoch"], answers["samples"][0]
    return {
        "latest_block": epoch["absoluteSlot"],
        "total_transactions": epoch["transactionCount"],
        # Votes are transactions too, here as in the total.
        "transactions_per_second": given(sample["numTransactions"])
        / given(sample["samplePeriodSecs"]),
    }


def solana(name: str, base: str, docs: str) -> Source:
    source = Source(name, base, docs=docs)
    source.rpc(
        GasPrice,
        {"fees": ["getRecentPrioritizationFees"]},
        row=priority_fees,
        fixed={"blockchain": "solana"},
        pool="solana_gas",
    )
    source.rpc(
        BlockchainStats,
        {"epoch": ["getEpochInfo"], "samples": ["getRecentPerformanceSamples", 1]},
        row=solana_stats,
        fixed={"blockchain": "solana"},
        pool="solana_stats",
    )
    return source


SOLANA_RPC = solana(
    "solana_rpc", "https://api.mainnet-beta.solana.com", "https://solana.com/docs/rpc"
)
SOLANA_PUBLICNODE = solana(
    "solana_publicnode", "https://solana-rpc.publicnode.com", "https://www.publicnode.com"
)


# XRP Ledger and Stellar

XRPL = Source(
    "xrpl",
    "https://s1.ripple.com:51234",
    docs="https://xrpl.org/docs/references/http-websocket-apis/public-api-methods",
    gap=0.3,
)


def ripple_transactions(body: Any) -> list[tuple[str, Any]]:
    """Each transaction with the time its ledger closed."""
    ledger = at(body, "result.ledger")
    return [(ledger["close_time_iso"], transaction) for transaction in ledger["transactions"]]


def ripple_payment(record: tuple[str, Any]) -> dict[str, Any] | None:
    moment, t = record
    if t["TransactionType"] != "Payment" or t["metaData"]["TransactionResult"] != "tesSUCCESS":
        return None
    # Amount is only the most that a partial payment may deliver.
    delivered = t["metaData"]["delivered_amount"]
    if not isinstance(delivered, str):
        return None  # an issued token, not XRP
    amount = units(delivered, 6)
    return transfer("XRP", amount, t["hash"], iso(moment), t["Account"], t["Destination"])


XRPL.endpoint(
    GasPrice,
    "/",
    json={"method": "fee", "params": [{}]},
    records=one("result.drops"),
    # The open ledger's fee is enough for the very next ledger; the minimum one waits in the queue.
    row=lambda d: fees(d["minimum_fee"], d["open_ledger_fee"], d["open_ledger_fee"], "drops"),
    fixed={"blockchain": "ripple"},
    min_interval=minutes(15),
)

XRPL.endpoint(
    BlockchainStats,
    "/",
    json={"method": "ledger", "params": [{"ledger_index": "validated"}]},
    records=one("result.ledger"),
    row=lambda ledger: {
        "latest_block": ledger["ledger_index"],
        "latest_block_at": iso(ledger["close_time_iso"]),
    },
    fixed={"blockchain": "ripple"},
)

XRPL.endpoint(
    WhaleTransaction,
    "/",
    json={
        "method": "ledger",
        "params": [{"ledger_index": "validated", "transactions": True, "expand": True}],
    },
    records=ripple_transactions,
    row=ripple_payment,
    fixed={"blockchain": "ripple"},
)

STELLAR = Source(
    "stellar",
    "https://horizon.stellar.org",
    docs="https://developers.stellar.org/docs/data/apis/horizon",
    gap=0.2,
)


def stellar_payment(p: Mapping[str, Any]) -> dict[str, Any] | None:
    moment = iso(p["created_at"])
    if p["type"] == "create_account":
        amount, sender, receiver = p["starting_balance"], p["funder"], p["account"]
    elif p.get("asset_type") == "native":
        amount, sender, receiver = p["amount"], p["from"], p["to"]
    else:
        return None
    return transfer("XLM", given(amount), p["transaction_hash"], moment, sender, receiver)


STELLAR.endpoint(
    GasPrice,
    "/fee_stats",
    records=one("fee_charged"),
    row=lambda f: fees(f["p10"], f["p50"], f["p95"], "stroops"),
    fixed={"blockchain": "stellar"},
    min_interval=minutes(15),
)

STELLAR.endpoint(
    BlockchainStats,
    "/ledgers",
    params={"order": "desc", "limit": 1},
    records="_embedded.records",
    row=lambda ledger: {
        "latest_block": ledger["sequence"],
        "latest_block_at": iso(ledger["closed_at"]),
    },
    fixed={"blockchain": "stellar"},
)

STELLAR.endpoint(
    WhaleTransaction,
    "/payments",
    params={"order": "desc", "limit": 200},
    records="_embedded.records",
    row=stellar_payment,
    fixed={"blockchain": "stellar"},
)


# Cardano

KOIOS = Source(
    "koios",
    "https://api.koios.rest/api/v1",
    docs="https://api.koios.rest/",
    key=Key(env="KOIOS_API_KEY", header="Authorization", prefix="Bearer ", required=False),
    per_day=5_000,
)

KOIOS.endpoint(
    BlockchainStats,
    "/tip",
    row=lambda t: {
        "latest_block": t["block_height"],
        "latest_block_at": seconds(t["block_time"]),
    },
    fixed={"blockchain": "cardano"},
    pool="cardano_stats",
)

KOIOS.endpoint(
    GasPrice,
    "/epoch_params",
    params={"order": "epoch_no.desc", "limit": 1},
    row=lambda p: {"standard_gas_price": p["min_fee_a"], "unit": "lovelace/byte"},
    fixed={"blockchain": "cardano"},
    min_interval=hours(6),
)

BLOCKFROST = Source(
    "blockfrost",
    "https://cardano-mainnet.blockfrost.io/api/v0",
    docs="https://docs.blockfrost.io/",
    key=Key(env="BLOCKFROST_PROJECT_ID", header="project_id"),
    per_day=50_000,
)

BLOCKFROST.endpoint(
    BlockchainStats,
    "/blocks/latest",
    records=one(),
    row=lambda b: {"latest_block": b["height"], "latest_block_at": seconds(b["time"])},
    fixed={"blockchain": "cardano"},
    pool="cardano_stats",
)


# TON

TONCENTER = Source(
    "toncenter",
    "https://toncenter.com/api",
    docs="https://toncenter.com/api/v3/",
    key=Key(env="TONCENTER_API_KEY", header="X-API-Key", required=False),
    gap=1.1,
)


def ton_transfer(t: Mapping[str, Any]) -> dict[str, Any] | None:
    message = t.get("in_msg") or {}
    if message.get("value") is None:  # a message from outside carries no coins
        return None
    amount = units(message["value"], 9)
    sender, receiver = message["source"], message["destination"]
    return transfer("TON", amount, t["hash"], seconds(t["now"]), sender, receiver)


TONCENTER.endpoint(
    BlockchainStats,
    "/v2/getMasterchainInfo",
    records=one("result.last"),
    row=lambda b: {"latest_block": b["seqno"]},
    fixed={"blockchain": "ton"},
    pool="ton_stats",
)

TONCENTER.endpoint(
    WhaleTransaction,
    "/v3/transactions",
    params={"limit": 128, "sort": "desc"},
    records="transactions",
    row=ton_transfer,
    fixed={"blockchain": "ton"},
)

TONHUB = Source(
    "tonhub",
    "https://mainnet-v4.tonhubapi.com",
    docs="https://github.com/ton-community/ton-api-v4",
    gap=1,
)

TONHUB.endpoint(
    BlockchainStats,
    "/block/latest",
    records=one("last"),
    row=lambda b: {"latest_block": b["seqno"]},
    fixed={"blockchain": "ton"},
    pool="ton_stats",
)

TONAPI = Source(
    "tonapi",
    "https://tonapi.io",
    docs="https://docs.tonconsole.com/tonapi",
    key=Key(env="TONAPI_KEY", header="Authorization", prefix="Bearer ", required=False),
    gap=4,
)

TONAPI.endpoint(
    BlockchainStats,
    "/v2/blockchain/masterchain-head",
    records=one(),
    row=lambda b: {"latest_block": b["seqno"], "latest_block_at": seconds(b["gen_utime"])},
    fixed={"blockchain": "ton"},
)


# Cosmos

COSMOS_PUBLICNODE = Source(
    "cosmos_publicnode", "https://cosmos-rest.publicnode.com", docs="https://docs.cosmos.network/"
)

COSMOS_PUBLICNODE.endpoint(
    BlockchainStats,
    "/cosmos/base/tendermint/v1beta1/blocks/latest",
    repeats={"block.header.chain_id": "cosmoshub-4"},
    records=one("block.header"),
    row=lambda h: {"latest_block": h["height"], "latest_block_at": iso(h["time"])},
    fixed={"blockchain": "cosmos"},
)

COSMOS_PUBLICNODE.endpoint(
    GasPrice,
    "/feemarket/v1/gas_prices",
    records="prices",
    row=lambda p: (
        {"standard_gas_price": p["amount"], "unit": "uatom/gas"} if p["denom"] == "uatom" else None
    ),
    fixed={"blockchain": "cosmos"},
    min_interval=minutes(15),
)


def sync_info(body: Any) -> list[Any]:
    """Sei answers the same as the others, but without the JSON-RPC envelope around it."""
    inside = body if isinstance(body, Mapping) and "sync_info" in body else at(body, "result")
    return one("sync_info")(inside)


def comet(chain: str, network: str, at: str = "result.node_info.network") -> Source:
    source = Source(
        f"{chain}_publicnode",
        f"https://{chain}-rpc.publicnode.com",
        docs="https://docs.cosmos.network/",
    )
    source.endpoint(
        BlockchainStats,
        "/status",
        repeats={at: network},
        records=sync_info,
        row=lambda s: {
            "latest_block": s["latest_block_height"],
            "latest_block_at": iso(s["latest_block_time"]),
        },
        fixed={"blockchain": chain},
    )
    return source


OSMOSIS_PUBLICNODE = comet("osmosis", "osmosis-1")
INJECTIVE_PUBLICNODE = comet("injective", "injective-1")
CELESTIA_PUBLICNODE = comet("celestia", "celestia")
SEI_PUBLICNODE = comet("sei", "pacific-1", at="node_info.network")
DYDX_PUBLICNODE = comet("dydx", "dydx-mainnet-1")
KAVA_PUBLICNODE = comet("kava", "kava_2222-10")
TERRA_PUBLICNODE = comet("terra", "phoenix-1")
AXELAR_PUBLICNODE = comet("axelar", "axelar-dojo-1")


# NEAR, Aptos, Sui, Algorand, Hedera

FASTNEAR = Source(
    "fastnear",
    "https://free.rpc.fastnear.com",
    docs="https://docs.near.org/api/rpc/introduction",
)

FASTNEAR.rpc(
    GasPrice,
    {"gas": ["gas_price", None]},
    row=lambda a: {"standard_gas_price": a["gas"]["gas_price"], "unit": "yoctoNEAR/gas"},
    fixed={"blockchain": "near"},
    min_interval=minutes(15),
)

FASTNEAR.endpoint(
    BlockchainStats,
    "",
    # The parameters of this method are an object.
    json={"jsonrpc": "2.0", "id": 1, "method": "block", "params": {"finality": "final"}},
    records=rpc_results(["block"]),
    row=lambda a: {
        "latest_block": a["block"]["header"]["height"],
        "latest_block_at": nanos(a["block"]["header"]["timestamp"]),
    },
    fixed={"blockchain": "near"},
)

NEARBLOCKS = Source(
    "nearblocks",
    "https://api.nearblocks.io",
    docs="https://api.nearblocks.io/api-docs/",
    key=Key(env="NEARBLOCKS_API_KEY", header="Authorization", prefix="Bearer ", required=False),
    gap=10,
    per_day=333,
)

NEARBLOCKS.endpoint(
    BlockchainStats,
    "/v1/stats",
    records="stats",
    row=lambda s: {"latest_block": s["block"], "total_transactions": s["total_txns"]},
    fixed={"blockchain": "near"},
)

APTOS = Source("aptos", "https://fullnode.mainnet.aptoslabs.com", docs="https://aptos.dev/rest-api")

APTOS.endpoint(
    BlockchainStats,
    "/v1",
    repeats={"chain_id": "1"},
    records=one(),
    row=lambda s: {
        "latest_block": s["block_height"],
        "latest_block_at": micros(s["ledger_timestamp"]),
        "total_transactions": s["ledger_version"],
    },
    fixed={"blockchain": "aptos"},
)

APTOS.endpoint(
    GasPrice,
    "/v1/estimate_gas_price",
    records=one(),
    row=lambda g: fees(
        g["deprioritized_gas_estimate"],
        g["gas_estimate"],
        g["prioritized_gas_estimate"],
        "octas/gas",
    ),
    fixed={"blockchain": "aptos"},
    min_interval=minutes(15),
)

SUI = Source(
    "sui", "https://graphql.mainnet.sui.io", docs="https://docs.sui.io/references/sui-graphql"
)

SUI_QUERY = {
    "query": "{checkpoint{sequenceNumber networkTotalTransactions timestamp}"
    " epoch{epochId referenceGasPrice}}"
}

SUI.endpoint(
    BlockchainStats,
    "/graphql",
    json=SUI_QUERY,
    records=one("data.checkpoint"),
    row=lambda c: {
        "latest_block": c["sequenceNumber"],
        "latest_block_at": iso(c["timestamp"]),
        "total_transactions": c["networkTotalTransactions"],
    },
    fixed={"blockchain": "sui"},
)

SUI.endpoint(
    GasPrice,
    "/graphql",
    json=SUI_QUERY,
    records=one("data.epoch"),
    row=lambda e: {"standard_gas_price": e["referenceGasPrice"], "unit": "MIST/gas"},
    fixed={"blockchain": "sui"},
    min_interval=minutes(15),
)

ALGONODE = Source(
    "algonode",
    "https://mainnet-api.algonode.cloud",
    docs="https://nodely.io/docs/free/start",
)

ALGONODE.endpoint(
    BlockchainStats,
    "/v2/status",
    records=one(),
    row=lambda s: {"latest_block": s["last-round"]},
    fixed={"blockchain": "algorand"},
)

ALGONODE.endpoint(
    GasPrice,
    "/v2/transactions/params",
    records=one(),
    row=lambda p: {"standard_gas_price": p["min-fee"], "unit": "microALGO/transaction"},
    fixed={"blockchain": "algorand"},
    min_interval=hours(1),
)


def algorand_payment(t: Mapping[str, Any]) -> dict[str, Any] | None:
    paid = t.get("payment-transaction")
    if paid is None:  # it was asked for because of a payment inside it, which has no id of its own
        return None
    moment, receiver = seconds(t["round-time"]), paid["receiver"]
    return transfer("ALGO", paid["amount"] / 1e6, t["id"], moment, t["sender"], receiver)


ALGONODE.endpoint(
    WhaleTransaction,
    "https://mainnet-idx.algonode.cloud/v2/transactions",
    params={
        "tx-type": "pay",
        "currency-greater-than": int(LARGE["ALGO"] * 1e6) - 1,
        "after-time": day("%Y-%m-%dT%H:%M:%SZ", hours=1),
        "limit": 100,
    },
    records="transactions",
    row=algorand_payment,
    fixed={"blockchain": "algorand"},
)

HEDERA = Source(
    "hedera",
    "https://mainnet-public.mirrornode.hedera.com/api/v1",
    docs="https://docs.hedera.com/hedera/sdks-and-apis/rest-api",
)


def hedera_transfer(t: Mapping[str, Any]) -> dict[str, Any] | None:
    """From the account that lost most to the one that gained most, which is what was sent."""
    if t["name"] != "CRYPTOTRANSFER" or not t["transfers"]:
        return None
    by_amount = sorted(t["transfers"], key=lambda part: part["amount"])
    sender, receiver = by_amount[0], by_amount[-1]
    return transfer(
        "HBAR",
        units(receiver["amount"], 8),
        t["transaction_id"],
        seconds(t["consensus_timestamp"]),
        sender["account"],
        receiver["account"],
    )


HEDERA.endpoint(
    BlockchainStats,
    "/blocks",
    params={"limit": 1, "order": "desc"},
    records="blocks",
    row=lambda b: {
        "latest_block": b["number"],
        "latest_block_at": seconds(b["timestamp"]["to"]),
    },
    fixed={"blockchain": "hedera"},
)

HEDERA.endpoint(
    GasPrice,
    "/network/fees",
    records="fees",
    row=lambda f: (
        {"standard_gas_price": f["gas"], "unit": "tinybar/gas"}
        if f["transaction_type"] == "ContractCall"
        else None
    ),
    fixed={"blockchain": "hedera"},
    min_interval=hours(1),
)

HEDERA.endpoint(
    WhaleTransaction,
    "/transactions",
    params={
        "transactiontype": "CRYPTOTRANSFER",
        "result": "success",
        "limit": 100,
        "order": "desc",
    },
    records="transactions",
    row=hedera_transfer,
    fixed={"blockchain": "hedera"},
)


# Polkadot and its relatives


def substrate(name: str, base: str, chain: str) -> Source:
    source = Source(name, base, docs="https://polkadot.js.org/docs/substrate/rpc")
    source.rpc(
        BlockchainStats,
        {"header": ["chain_getHeader"]},
        row=lambda a: {"latest_block": from_hex(a["header"]["number"])},
        fixed={"blockchain": chain},
    )
    return source


POLKADOT_PUBLICNODE = substrate(
    "polkadot_publicnode", "https://polkadot-rpc.publicnode.com", "polkadot"
)
KUSAMA_PUBLICNODE = substrate("kusama_publicnode", "https://kusama-rpc.publicnode.com", "kusama")
ACALA = substrate("acala", "https://acala-rpc-0.aca-api.network", "acala")

POLKADOT_SIDECAR = Source(
    "polkadot_sidecar",
    "https://polkadot-public-sidecar.parity-chains.parity.io",
    docs="https://paritytech.github.io/substrate-api-sidecar/dist/",
    gap=1,
)


def sidecar_block(block: Mapping[str, Any]) -> dict[str, Any]:
    set_by = {"pallet": "timestamp", "method": "set"}
    moments = (e["args"]["now"] for e in block["extrinsics"] if e["method"] == set_by)
    return {"latest_block": block["number"], "latest_block_at": millis(next(moments, None))}


POLKADOT_SIDECAR.endpoint(
    BlockchainStats,
    "/blocks/head",
    records=one(),
    row=sidecar_block,
    fixed={"blockchain": "polkadot"},
)


SUBSCAN = Source(
    "subscan",
    "https://polkadot.api.subscan.io",
    docs="https://support.subscan.io/",
    key=Key(env="SUBSCAN_API_KEY", header="X-API-Key"),
    gap=0.5,
)

SUBSCAN.endpoint(
    BlockchainStats,
    "/api/scan/metadata",
    json={},
    records=one("data"),
    row=lambda m: {
        "latest_block": m["blockNum"],
        "total_transactions": m["count_signed_extrinsic"],
    },
    fixed={"blockchain": "polkadot"},
)


# Tezos, Starknet, VeChain, Filecoin

TZKT = Source(
    "tzkt",
    "https://api.tzkt.io/v1",
    docs="https://api.tzkt.io/",
    gap=0.2,
    per_day=500_000,
)

TZKT.endpoint(
    BlockchainStats,
    "/head",
    records=one(),
    row=lambda h: {"latest_block": h["level"], "latest_block_at": iso(h["timestamp"])},
    fixed={"blockchain": "tezos"},
    pool="tezos_stats",
)

TZKT.endpoint(
    WhaleTransaction,
    "/operations/transactions",
    params={
        "status": "applied",
        "amount.ge": int(LARGE["XTZ"] * 1e6),
        "timestamp.ge": day("%Y-%m-%dT%H:%M:%SZ", hours=6),
        "sort.desc": "id",
        "limit": 100,
    },
    row=lambda t: transfer(
        "XTZ",
        t["amount"] / 1e6,
        t["hash"],
        iso(t["timestamp"]),
        t["sender"]["address"],
        t["target"]["address"],
    ),
    fixed={"blockchain": "tezos"},
)

TEZOS_RPC = Source(
    "tezos_rpc", "https://rpc.tzbeta.net", docs="https://tezos.gitlab.io/shell/rpc.html", gap=1
)

TEZOS_RPC.endpoint(
    BlockchainStats,
    "/chains/main/blocks/head/header",
    repeats={"chain_id": "NetXdQprcVkpaWU"},
    records=one(),
    row=lambda h: {"latest_block": h["level"], "latest_block_at": iso(h["timestamp"])},
    fixed={"blockchain": "tezos"},
    pool="tezos_stats",
)

STARKNET_PUBLICNODE = Source(
    "starknet_publicnode", "https://starknet-rpc.publicnode.com", docs="https://www.publicnode.com"
)

STARKNET_BLOCK = {"block": ["starknet_getBlockWithTxHashes", "latest"]}

STARKNET_PUBLICNODE.rpc(
    BlockchainStats,
    STARKNET_BLOCK,
    row=lambda a: {
        "latest_block": a["block"]["block_number"],
        "latest_block_at": seconds(a["block"]["timestamp"]),
    },
    fixed={"blockchain": "starknet"},
)

STARKNET_PUBLICNODE.rpc(
    GasPrice,
    STARKNET_BLOCK,
    row=lambda a: {
        "standard_gas_price": from_hex(a["block"]["l2_gas_price"]["price_in_fri"]),
        "unit": "fri/gas",
    },
    fixed={"blockchain": "starknet"},
    min_interval=minutes(15),
)

VECHAIN = Source(
    "vechain", "https://mainnet.vechain.org", docs="https://docs.vechain.org/", gap=0.5
)

VECHAIN.endpoint(
    BlockchainStats,
    "/blocks/best",
    records=one(),
    row=lambda b: {"latest_block": b["number"], "latest_block_at": seconds(b["timestamp"])},
    fixed={"blockchain": "vechain"},
)

VECHAIN.endpoint(
    WhaleTransaction,
    "/logs/transfer",
    json={
        "range": {"unit": "time", "from": ago(minutes=20), "to": now()},
        "options": {"offset": 0, "limit": 200},
        "order": "desc",
    },
    row=lambda e: transfer(
        "VET",
        from_hex(e["amount"]) / 1e18,
        e["meta"]["txID"],
        seconds(e["meta"]["blockTimestamp"]),
        e["sender"],
        e["recipient"],
    ),
    fixed={"blockchain": "vechain"},
)

FILECOIN_GLIF = Source(
    "filecoin_glif",
    "https://api.node.glif.io/rpc/v1",
    docs="https://api.node.glif.io/",
    gap=1,
)

FILECOIN_HEAD = {"head": ["Filecoin.ChainHead"]}

FILECOIN_GLIF.rpc(
    BlockchainStats,
    FILECOIN_HEAD,
    row=lambda a: {
        "latest_block": a["head"]["Height"],
        "latest_block_at": seconds(a["head"]["Blocks"][0]["Timestamp"]),
    },
    fixed={"blockchain": "filecoin"},
)

FILECOIN_GLIF.rpc(
    GasPrice,
    FILECOIN_HEAD,
    # All blocks of one height have the same base fee.
    row=lambda a: {
        "standard_gas_price": a["head"]["Blocks"][0]["ParentBaseFee"],
        "unit": "attoFIL/gas",
    },
    fixed={"blockchain": "filecoin"},
    min_interval=minutes(15),
)


# Others

MULTIVERSX = Source(
    "multiversx",
    "https://api.multiversx.com",
    docs="https://docs.multiversx.com/sdk-and-tools/rest-api/multiversx-api/",
    gap=0.5,
)

MULTIVERSX.endpoint(
    BlockchainStats,
    "/stats",
    records=one(),
    # "blocks" is the sum over the shards, not a height.
    row=lambda s: {"total_transactions": s["transactions"], "total_addresses": s["accounts"]},
    fixed={"blockchain": "multiversx"},
)

STACKS = Source(
    "stacks",
    "https://api.hiro.so",
    docs="https://docs.hiro.so/stacks/api",
    key=Key(env="HIRO_API_KEY", header="x-api-key", required=False),
    gap=1.2,
)

STACKS.endpoint(
    BlockchainStats,
    "/extended/v2/blocks",
    params={"limit": 1},
    records="results",
    row=lambda b: {"latest_block": b["height"], "latest_block_at": seconds(b["block_time"])},
    fixed={"blockchain": "stacks"},
)

FLOW = Source(
    "flow",
    "https://rest-mainnet.onflow.org",
    docs="https://developers.flow.com/http-api",
    gap=1,
)

FLOW.endpoint(
    BlockchainStats,
    "/v1/blocks",
    params={"height": "sealed"},
    row=lambda b: {
        "latest_block": b["header"]["height"],
        "latest_block_at": iso(b["header"]["timestamp"]),
    },
    fixed={"blockchain": "flow"},
)

HIVE = Source(
    "hive", "https://api.hive.blog", docs="https://developers.hive.io/apidefinitions/", gap=1
)

HIVE.rpc(
    BlockchainStats,
    {"chain": ["condenser_api.get_dynamic_global_properties"]},
    row=lambda a: {
        "latest_block": a["chain"]["head_block_number"],
        "latest_block_at": iso(a["chain"]["time"]),
    },
    fixed={"blockchain": "hive"},
)

WAVES = Source(
    "waves",
    "https://nodes.wavesnodes.com",
    docs="https://docs.waves.tech/en/waves-node/node-api/",
    gap=1,
)

WAVES.endpoint(
    BlockchainStats,
    "/blocks/headers/last",
    records=one(),
    row=lambda b: {"latest_block": b["height"], "latest_block_at": millis(b["timestamp"])},
    fixed={"blockchain": "waves"},
)

EOS = Source(
    "eos",
    "https://eos.greymass.com",
    docs="https://docs.eosnetwork.com/apis/spring/latest/chain.api",
    gap=1,
)

EOS.endpoint(
    BlockchainStats,
    "/v1/chain/get_info",
    json={},
    records=one(),
    row=lambda c: {
        "latest_block": c["head_block_num"],
        "latest_block_at": iso(c["head_block_time"]),
    },
    fixed={"blockchain": "vaulta"},
)
