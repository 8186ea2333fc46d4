"""Explorers and gas oracles of EVM chains: products that read chains and say what they found."""

from collections.abc import Callable, Mapping
from typing import Any

from crypto_pipeline.sources.evm_chains import (
    LARGE,
    NODES,
    height,
    large_transfer,
    newest_block,
    node,
    transactions,
)
from crypto_pipeline.sources.spec import Key, Source, hours, minutes
from crypto_pipeline.sources.values import (
    fees,
    given,
    gwei,
    iso,
    nonzero,
    number,
    one,
    seconds,
    times,
    units,
    whole_number,
)
from crypto_pipeline.tables import BlockchainStats, GasPrice, WhaleTransaction


def gas(slow: Any, standard: Any, fast: Any, base_fee: Any = None) -> dict[str, Any]:
    """The gas_prices row of an oracle that speaks in gwei."""
    return fees(slow, standard, fast, "gwei") | {
        "gas_price_gwei": standard,
        "base_fee_gwei": base_fee,
    }


# Blockscout: one product, an instance per chain


def blockscout_gas(stats: Mapping[str, Any]) -> dict[str, Any] | None:
    """Gas of an instance's statistics; None when its oracle is off or has seen nothing yet."""

    levels = stats["gas_prices"]

    def price(level: str) -> float | None:
        found = levels[level]
        return number(found["price"] if isinstance(found, Mapping) else found)

    if not levels or price("average") is None:
        return None
    return gas(price("slow"), price("average"), price("fast"))


def blockscout_stats(stats: Mapping[str, Any]) -> dict[str, Any]:
    """Counters of an instance.

    total_blocks is how many it has indexed, which is not the height; transactions_today begins
    anew at midnight. Neither is stored.
    """
    return {
        "total_transactions": stats["total_transactions"],
        "total_addresses": stats["total_addresses"],
        "average_block_time_s": times(nonzero(stats["average_block_time"]), 0.001),
    }


def blockscout_transfer(chain: str) -> Callable[[Any], dict[str, Any] | None]:
    """`large_transfer`, of a transaction as an instance writes it."""
    _, least = LARGE[chain]

    def row(transaction: Mapping[str, Any]) -> dict[str, Any] | None:
        amount = units(transaction["value"], 18)
        if amount < least or transaction["status"] != "ok":
            return None
        receiver = transaction["to"]  # null where a contract is created
        return {
            "transaction_hash": transaction["hash"],
            # capitals in an address are a checksum; nodes write none
            "from_address": transaction["from"]["hash"].lower(),
            "to_address": receiver["hash"].lower() if receiver else None,
            "amount": amount,
            "amount_usd": times(amount, nonzero(transaction["exchange_rate"])),
            "timestamp": iso(transaction["timestamp"]),
        }

    return row


WITH_NODES = {endpoint.fixed["blockchain"] for source in NODES for endpoint in source.endpoints}
WITH_PRO = {
    "ethereum": 1,
    "optimism": 10,
    "gnosis": 100,
    "polygon": 137,
    "base": 8453,
    "arbitrum": 42161,
}


def statistics(source: Source, chain: str, path: str, variant: str = "") -> None:
    """Declare the two tables that one request for an instance's statistics feeds.

    Its gas stands in for that of the chain's nodes; its counters are what no node knows.
    """
    about: dict[str, Any] = {"records": one(), "variant": variant, "fixed": {"blockchain": chain}}
    source.endpoint(
        GasPrice,
        path,
        row=blockscout_gas,
        pool=f"{chain}_gas" if chain in WITH_NODES else None,
        min_interval=None if chain in WITH_NODES else minutes(15),
        **about,
    )
    source.endpoint(
        BlockchainStats,
        path,
        row=blockscout_stats,
        pool=f"{chain}_counters" if chain in WITH_PRO else None,
        **about,
    )


BLOCKSCOUT_DOCS = "https://docs.blockscout.com/devs/apis/rest"


def blockscout(chain: str, base: str, *, whales: bool = False) -> Source:
    source = Source(f"blockscout_{chain}", base, docs=BLOCKSCOUT_DOCS, gap=0.4)
    statistics(source, chain, "/api/v2/stats")
    if whales:
        # A sample: the newest 50 transactions out of all since the last collection.
        source.endpoint(
            WhaleTransaction,
            "/api/v2/transactions",
            params={"filter": "validated"},
            records="items",
            row=blockscout_transfer(chain),
            fixed={"blockchain": chain, "symbol": LARGE[chain][0]},
        )
    return source


BLOCKSCOUTS = [
    blockscout("ethereum", "https://eth.blockscout.com", whales=True),
    blockscout("base", "https://base.blockscout.com", whales=True),
    blockscout("polygon", "https://polygon.blockscout.com", whales=True),
    blockscout("arbitrum", "https://arbitrum.blockscout.com", whales=True),
    blockscout("optimism", "https://optimism.blockscout.com"),
    blockscout("gnosis", "https://gnosis.blockscout.com"),
    blockscout("zksync", "https://zksync.blockscout.com"),
    blockscout("celo", "https://celo.blockscout.com"),
    blockscout("scroll", "https://scroll.blockscout.com"),
    blockscout("ethereum_classic", "https://etc.blockscout.com"),
    blockscout("rootstock", "https://rootstock.blockscout.com"),
    blockscout("soneium", "https://soneium.blockscout.com"),
    blockscout("unichain", "https://unichain.blockscout.com"),
    blockscout("mode", "https://explorer.mode.network"),
    blockscout("ink", "https://explorer.inkonchain.com"),
    blockscout("zora", "https://explorer.zora.energy"),
    blockscout("shibarium", "https://www.shibariumscan.io"),
    blockscout("story", "https://www.storyscan.io"),
    blockscout("fuse", "https://explorer.fuse.io"),
    blockscout("immutable", "https://explorer.immutable.com"),
    blockscout("worldchain", "https://worldchain-mainnet.explorer.alchemy.com"),
    blockscout("katana", "https://explorer.katanarpc.com"),
    blockscout("abey", "https://api.abeyscan.com"),
]

# Routescan, which speaks as Etherscan does


ROUTESCAN = Source(
    "routescan",
    "https://api.routescan.io",
    docs="https://routescan.io/documentation",
    key=Key(env="ROUTESCAN_API_KEY", query="apikey", required=False),
    gap=0.5,
    per_day=10_000,
)

ROUTESCAN_CHAINS = {
    "ethereum": 1,
    "optimism": 10,
    "base": 8453,
    "avalanche": 43114,
    "blast": 81457,
}


def newest(full: bool) -> dict[str, Any]:
    """Ask a proxy for the newest block, with its transactions or only their hashes."""
    call = {"module": "proxy", "action": "eth_getBlockByNumber", "tag": "latest"}
    return call | {"boolean": str(full).lower()}


for _chain, _number in ROUTESCAN_CHAINS.items():
    ROUTESCAN.endpoint(
        BlockchainStats,
        f"/v2/network/mainnet/evm/{_number}/etherscan/api",
        variant=_chain,
        params=newest(full=False),
        records=newest_block,
        row=height,
        fixed={"blockchain": _chain},
        pool=f"{_chain}_stats",
    )

ROUTESCAN.endpoint(
    WhaleTransaction,
    "/v2/network/mainnet/evm/1/etherscan/api",
    params=newest(full=True),
    records=transactions,
    row=large_transfer("ethereum"),
    fixed={"blockchain": "ethereum", "symbol": "ETH"},
)


# Gas oracles


POLYGON_GAS_STATION = Source(
    "polygon_gas_station",
    "https://gasstation.polygon.technology",
    docs="https://docs.polygon.technology/tools/gas/polygon-gas-station/",
    gap=1,
)

POLYGON_GAS_STATION.endpoint(
    GasPrice,
    "/v2",
    records=one(),
    row=lambda g: gas(
        g["safeLow"]["maxFee"],
        g["standard"]["maxFee"],
        g["fast"]["maxFee"],
        g["estimatedBaseFee"],
    ),
    fixed={"blockchain": "polygon"},
)


def suggested(levels: Mapping[str, Any]) -> dict[str, Any]:
    """Base fee and tip, as the nodes' rows have it.

    suggestedMaxFeePerGas is the most to bid: it allows for a base fee that rises by a third or
    more while one waits.
    """
    base = given(levels["estimatedBaseFee"])
    slow, standard, fast = (
        base + given(levels[level]["suggestedMaxPriorityFeePerGas"])
        for level in ("low", "medium", "high")
    )
    return gas(slow, standard, fast, base)


METAMASK_CHAINS = {
    "1": {"blockchain": "ethereum"},
    "10": {"blockchain": "optimism"},
    "56": {"blockchain": "bsc"},
    "137": {"blockchain": "polygon"},
    "8453": {"blockchain": "base"},
    "42161": {"blockchain": "arbitrum"},
    "43114": {"blockchain": "avalanche"},
    "59144": {"blockchain": "linea"},
}

METAMASK_GAS = Source(
    "metamask_gas",
    "https://gas.api.cx.metamask.io",
    docs="https://docs.metamask.io/services/reference/gas-api/",
    gap=0.3,
)

METAMASK_GAS.endpoint(
    GasPrice,
    "/networks/{each}/suggestedGasFees",
    records=one(),
    row=suggested,
    each=METAMASK_CHAINS,
    min_interval=minutes(15),
)

INFURA_GAS = Source(
    "infura_gas",
    "https://gas.api.infura.io",
    docs="https://docs.metamask.io/services/reference/gas-api/",
    key=Key(env="INFURA_API_KEY", path=True),
    gap=0.3,
)

INFURA_GAS.endpoint(
    GasPrice,
    "/v3/{key}/networks/{each}/suggestedGasFees",
    records=one(),
    row=suggested,
    each=METAMASK_CHAINS,
    min_interval=minutes(15),
)

ONEINCH_GAS = Source(
    "oneinch_gas",
    "https://api.1inch.dev",
    docs="https://portal.1inch.dev/documentation/apis/gas-price",
    key=Key(env="ONEINCH_API_KEY", header="Authorization", prefix="Bearer "),
    gap=1.1,
)


def in_wei(levels: Mapping[str, Any]) -> dict[str, Any]:
    """Base fee and tip, both as decimal text in wei."""
    base = whole_number(levels["baseFee"])
    slow, standard, fast = (
        gwei(base + whole_number(levels[level]["maxPriorityFeePerGas"]))
        for level in ("low", "medium", "high")
    )
    return gas(slow, standard, fast, gwei(base))


ONEINCH_GAS.endpoint(
    GasPrice,
    "/gas-price/v1.5/1",
    records=one(),
    row=in_wei,
    fixed={"blockchain": "ethereum"},
)

OWLRACLE = Source(
    "owlracle",
    "https://api.owlracle.info",
    docs="https://owlracle.info/docs",
    key=Key(env="OWLRACLE_API_KEY", query="apikey", required=False),
    gap=0.3,
)


def accepted(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Prices that 35, 60 and 90 % of recent blocks accepted, a fourth one by all.

    The base fee in them is that of recent blocks, not of the next one.
    """
    slow, standard, fast = (
        speed["maxFeePerGas"] if "maxFeePerGas" in speed else speed["gasPrice"]
        for speed in answer["speeds"][:3]
    )
    return gas(slow, standard, fast)


# Ten requests an hour without a key.
OWLRACLE.endpoint(
    GasPrice,
    "/v4/{each}/gas",
    records=one(),
    row=accepted,
    each={
        "eth": {"blockchain": "ethereum"},
        "bsc": {"blockchain": "bsc"},
        "poly": {"blockchain": "polygon"},
        "arb": {"blockchain": "arbitrum"},
        "opt": {"blockchain": "optimism"},
        "base": {"blockchain": "base"},
        "avax": {"blockchain": "avalanche"},
    },
    min_interval=hours(1),
)

BEACONCHAIN = Source(
    "beaconchain",
    "https://beaconcha.in",
    docs="https://beaconcha.in/api/v1/docs",
    key=Key(env="BEACONCHAIN_API_KEY", header="apikey", required=False),
    gap=6,
    per_month=1_000,
)

# In wei; rapid is for 15 seconds, fast for a minute, standard for three, slow for ten or more.
# A free key is good for a thousand requests a month.
BEACONCHAIN.endpoint(
    GasPrice,
    "/api/v1/execution/gasnow",
    records=one("data"),
    row=lambda g: gas(gwei(g["slow"]), gwei(g["standard"]), gwei(g["rapid"])),
    fixed={"blockchain": "ethereum"},
    min_interval=hours(1),
)

ETHEREUM_BEACON = Source(
    "ethereum_beacon",
    "https://ethereum-beacon-api.publicnode.com",
    docs="https://ethereum.github.io/beacon-APIs/",
    gap=0.2,
)

GENESIS = 1_606_824_023
SLOT_S = 12

ETHEREUM_BEACON.endpoint(
    BlockchainStats,
    "/eth/v1/beacon/headers/head",
    records=one("data.header.message"),
    row=lambda h: {
        "latest_block": h["slot"],
        "latest_block_at": seconds(GENESIS + SLOT_S * whole_number(h["slot"])),
    },
    fixed={"blockchain": "ethereum_beacon"},
)


# With a key: the last members of their pools


BLOCKSCOUT_PRO = Source(
    "blockscout_pro",
    "https://api.blockscout.com",
    docs="https://docs.blockscout.com/devs/pro-api",
    key=Key(env="BLOCKSCOUT_API_KEY", query="apikey"),
    gap=0.2,
    per_day=5_000,  # 100,000 credits; a call costs 20
)

for _chain, _number in WITH_PRO.items():
    statistics(BLOCKSCOUT_PRO, _chain, f"/{_number}/api/v2/stats", variant=_chain)

ETHERSCAN = Source(
    "etherscan",
    "https://api.etherscan.io",
    docs="https://docs.etherscan.io",
    key=Key(env="ETHERSCAN_API_KEY", query="apikey"),
    gap=0.4,
    per_day=100_000,
)

# The chains of the free plan: BNB Chain, Base, Optimism and Avalanche are not among them.
ETHERSCAN.endpoint(
    GasPrice,
    "/v2/api",
    params={"chainid": "{each}", "module": "gastracker", "action": "gasoracle"},
    records=one("result"),
    row=lambda g: gas(
        g["SafeGasPrice"],
        g["ProposeGasPrice"],
        g["FastGasPrice"],
        number(g.get("suggestBaseFee")),
    ),
    each={
        "1": {"blockchain": "ethereum"},
        "137": {"blockchain": "polygon"},
        "100": {"blockchain": "gnosis"},
        "1284": {"blockchain": "moonbeam"},
        "1285": {"blockchain": "moonriver"},
        "42220": {"blockchain": "celo"},
        "59144": {"blockchain": "linea"},
    },
)

for _chain, _number in (("ethereum", 1), ("polygon", 137), ("arbitrum", 42161)):
    ETHERSCAN.endpoint(
        BlockchainStats,
        "/v2/api",
        variant=_chain,
        params={"chainid": _number, **newest(full=False)},
        records=newest_block,
        row=height,
        fixed={"blockchain": _chain},
        pool=f"{_chain}_stats",
    )

ETHERSCAN.endpoint(
    WhaleTransaction,
    "/v2/api",
    params={"chainid": 1, **newest(full=True)},
    records=transactions,
    row=large_transfer("ethereum"),
    fixed={"blockchain": "ethereum", "symbol": "ETH"},
)

ALCHEMY = Key(env="ALCHEMY_API_KEY", path=True)
CHAINSTACK = Key(env="CHAINSTACK_API_KEY", path=True)
INFURA = Key(env="INFURA_API_KEY", path=True)
NODEREAL = Key(env="NODEREAL_API_KEY", path=True)
NOWNODES = Key(env="NOWNODES_API_KEY", header="api-key")

KEYED_NODES = [
    node(
        "ethereum",
        "alchemy",
        "https://eth-mainnet.g.alchemy.com/v2",
        "https://www.alchemy.com/docs",
        key=ALCHEMY,
    ),
    node(
        "ethereum",
        "chainstack",
        "https://ethereum-mainnet.core.chainstack.com",
        "https://docs.chainstack.com",
        key=CHAINSTACK,
    ),
    node(
        "ethereum", "infura", "https://mainnet.infura.io/v3", "https://docs.infura.io", key=INFURA
    ),
    node(
        "ethereum", "nownodes", "https://eth.nownodes.io", "https://nownodes.io/docs", key=NOWNODES
    ),
    node(
        "bsc",
        "nodereal",
        "https://bsc-mainnet.nodereal.io/v1",
        "https://docs.nodereal.io",
        key=NODEREAL,
    ),
]
