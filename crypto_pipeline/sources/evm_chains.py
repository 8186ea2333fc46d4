"""Nodes of EVM chains, asked over JSON-RPC for gas, the newest block and large transfers."""

from collections.abc import Callable, Mapping
from typing import Any

from crypto_pipeline.sources.spec import GAP_S, Key, Source
from crypto_pipeline.sources.values import (
    SourceMessage,
    at,
    evm_gas,
    from_hex,
    one,
    seconds,
    units,
)
from crypto_pipeline.tables import BlockchainStats, GasPrice, WhaleTransaction

PRICE = {"price": ["eth_gasPrice"]}
FEES = PRICE | {"history": ["eth_feeHistory", "0x14", "latest", [10, 50, 90]]}

# No fee market after EIP-1559: the base fee is zero, or eth_feeHistory is not answered at all.
# HyperEVM burns its base fee and takes no priority fees, so its price says everything.
WITHOUT_FEE_MARKET = ("bsc", "opbnb", "chiliz", "harmony", "hyperevm", "metis", "rootstock")

# Merge-mined: elsewhere the difficulty is zero, or a constant that measures nothing.
MINED = ("rootstock",)

# What counts as a large transfer of a chain's own coin.
LARGE = {
    "ethereum": ("ETH", 100),
    "bsc": ("BNB", 500),
    "polygon": ("POL", 200_000),
    "arbitrum": ("ETH", 50),
    "base": ("ETH", 50),
}


def newest_block(body: Any) -> list[Any]:
    """The block of an answer to eth_getBlockByNumber; right at the head it can be null."""
    if at(body, "result") is None:
        raise SourceMessage("the node has no newest block at hand, try again")
    return one("result")(body)


def transactions(body: Any) -> list[tuple[str, Mapping[str, Any]]]:
    """Each transaction of a block, with the time of the block."""
    [block] = newest_block(body)
    return [(block["timestamp"], transaction) for transaction in block["transactions"]]


def height(block: Mapping[str, Any]) -> dict[str, Any]:
    """The blockchain_stats columns of a block."""
    return {
        "latest_block": from_hex(block["number"]),
        "latest_block_at": seconds(from_hex(block["timestamp"])),
    }


def height_and_difficulty(block: Mapping[str, Any]) -> dict[str, Any]:
    return height(block) | {"difficulty": from_hex(block["difficulty"])}


def large_transfer(chain: str) -> Callable[[Any], dict[str, Any] | None]:
    """The whale_transactions row of one of `transactions`; None when it is not large.

    Whether a transaction succeeded is in its receipt, which is not asked for: the rare large
    transfer that was reverted looks the same.
    """

    _, least = LARGE[chain]

    def row(dated: tuple[str, Mapping[str, Any]]) -> dict[str, Any] | None:
        time, transaction = dated
        amount = units(transaction["value"], 18)
        if amount < least:
            return None
        return {
            "transaction_hash": transaction["hash"],
            "from_address": transaction["from"],
            "to_address": transaction["to"],
            "amount": amount,
            "timestamp": seconds(from_hex(time)),
        }

    return row


def block_call(full: bool) -> dict[str, Any]:
    call = {"jsonrpc": "2.0", "id": 1, "method": "eth_getBlockByNumber"}
    return call | {"params": ["latest", full]}


def node(
    chain: str,
    host: str,
    base: str,
    docs: str,
    *,
    fee_history: bool = True,
    key: Key | None = None,
    gap: float = GAP_S,
    whales: bool = False,
) -> Source:
    """A node: feeds the pools of its chain's gas and newest block.

    Without fee history it feeds no gas where there is a fee market: the base fee would be missing.
    """
    source = Source(f"{chain}_{host}", base, docs=docs, key=key, gap=gap)
    path = "/{key}" if key and key.path else ""
    about: dict[str, Any] = {"path": path, "fixed": {"blockchain": chain}}
    fee_market = chain not in WITHOUT_FEE_MARKET
    if fee_history or not fee_market:
        source.rpc(
            GasPrice,
            FEES if fee_market else PRICE,
            row=lambda answers: evm_gas(answers["price"], answers.get("history")),
            pool=f"{chain}_gas",
            **about,
        )
    source.endpoint(
        BlockchainStats,
        json=block_call(full=False),
        records=newest_block,
        row=height_and_difficulty if chain in MINED else height,
        pool=f"{chain}_stats",
        **about,
    )
    if whales:
        _whales_of(source, chain, **about)
    return source


def _whales_of(source: Source, chain: str, path: str, fixed: Mapping[str, Any]) -> None:
    """A sample: one block, the newest, out of all since the last collection."""
    source.endpoint(
        WhaleTransaction,
        path,
        json=block_call(full=True),
        records=transactions,
        row=large_transfer(chain),
        fixed={**fixed, "symbol": LARGE[chain][0]},
    )


TATUM = Key(env="TATUM_API_KEY", header="x-api-key", required=False)

BNB_DOCS = "https://docs.bnbchain.org/bnb-smart-chain/developers/json_rpc/json-rpc-endpoint/"
DRPC_DOCS = "https://drpc.org/docs"
HYPEREVM_DOCS = "https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/hyperevm/json-rpc"
ONE_RPC_DOCS = "https://docs.1rpc.io"
PUBLICNODE_DOCS = "https://www.publicnode.com"


def publicnode(chain: str, subdomain: str = "", *, whales: bool = False) -> Source:
    base = f"https://{subdomain or chain}-rpc.publicnode.com"
    return node(chain, "publicnode", base, PUBLICNODE_DOCS, gap=0.2, whales=whales)


def drpc(chain: str, subdomain: str = "") -> Source:
    return node(chain, "drpc", f"https://{subdomain or chain}.drpc.org", DRPC_DOCS, gap=0.2)


def one_rpc(chain: str, path: str) -> Source:
    """1RPC counts requests by the day and promises neither batches nor fee history."""
    return node(
        chain, "one_rpc", f"https://1rpc.io/{path}", ONE_RPC_DOCS, fee_history=False, gap=0.4
    )


# The order is that of the pools: where one answered lately and surely, it stands first. Nodes
# that want a key are the last members, see KEYED_NODES.
NODES = [
    publicnode("ethereum", whales=True),
    publicnode("polygon", "polygon-bor", whales=True),
    publicnode("arbitrum", "arbitrum-one", whales=True),
    publicnode("base", whales=True),
    publicnode("moonbeam"),
    node("bsc", "dataseed", "https://bsc-dataseed1.bnbchain.org", BNB_DOCS),
    node("optimism", "rpc", "https://mainnet.optimism.io", "https://docs.optimism.io"),
    node(
        "avalanche",
        "rpc",
        "https://api.avax.network/ext/bc/C/rpc",
        "https://build.avax.network/docs",
    ),
    node("gnosis", "rpc", "https://rpc.gnosischain.com", "https://docs.gnosischain.com"),
    node("celo", "forno", "https://forno.celo.org", "https://docs.celo.org"),
    node("linea", "rpc", "https://rpc.linea.build", "https://docs.linea.build"),
    node("scroll", "rpc", "https://rpc.scroll.io", "https://docs.scroll.io"),
    node("zksync", "rpc", "https://mainnet.era.zksync.io", "https://docs.zksync.io"),
    node("sonic", "rpc", "https://rpc.soniclabs.com", "https://docs.soniclabs.com"),
    node("mantle", "rpc", "https://rpc.mantle.xyz", "https://docs.mantle.xyz"),
    node("sei", "rpc", "https://evm-rpc.sei-apis.com", "https://docs.sei.io/evm/reference"),
    node("hyperevm", "rpc", "https://rpc.hyperliquid.xyz/evm", HYPEREVM_DOCS, gap=0.6),
    node("cronos", "rpc", "https://evm.cronos.org", "https://docs.cronos.org"),
    publicnode("bsc", whales=True),
    publicnode("optimism"),
    publicnode("avalanche", "avalanche-c-chain"),
    publicnode("gnosis"),
    publicnode("celo"),
    publicnode("linea"),
    publicnode("scroll"),
    publicnode("moonriver"),
    publicnode("mantle"),
    publicnode("blast"),
    publicnode("sonic"),
    publicnode("opbnb"),
    publicnode("arbitrum_nova", "arbitrum-nova"),
    publicnode("metis"),
    publicnode("fraxtal"),
    publicnode("taiko"),
    publicnode("unichain"),
    publicnode("soneium"),
    publicnode("berachain"),
    publicnode("cronos", "cronos-evm"),
    publicnode("pulsechain"),
    publicnode("chiliz"),
    drpc("ethereum", "eth"),
    drpc("polygon"),
    drpc("bsc"),
    drpc("arbitrum"),
    drpc("optimism"),
    drpc("base"),
    one_rpc("ethereum", "eth"),
    one_rpc("bsc", "bnb"),
    one_rpc("arbitrum", "arb"),
    one_rpc("base", "base"),
    one_rpc("gnosis", "gnosis"),
    node("ethereum", "flashbots", "https://rpc.flashbots.net", "https://docs.flashbots.net"),
    node("ethereum", "mevblocker", "https://rpc.mevblocker.io", "https://docs.cow.fi/mevblocker"),
    node(
        "ethereum",
        "tenderly",
        "https://gateway.tenderly.co/public/mainnet",
        "https://docs.tenderly.co/node",
    ),
    node("ethereum", "nodies", "https://ethereum-public.nodies.app", "https://docs.nodies.app"),
    node("ethereum", "zan", "https://api.zan.top/eth-mainnet", "https://docs.zan.top"),
    node("bsc", "defibit", "https://bsc-dataseed1.defibit.io", BNB_DOCS),
    node("bsc", "ninicoin", "https://bsc-dataseed1.ninicoin.io", BNB_DOCS),
    node("arbitrum", "rpc", "https://arb1.arbitrum.io/rpc", "https://docs.arbitrum.io"),
    node("base", "rpc", "https://mainnet.base.org", "https://docs.base.org", gap=0.5),
    node("harmony", "rpc", "https://api.harmony.one", "https://docs.harmony.one"),
    node("rootstock", "rpc", "https://public-node.rsk.co", "https://dev.rootstock.io"),
    node("kaia", "rpc", "https://public-en.node.kaia.io", "https://docs.kaia.io"),
    node("monad", "rpc", "https://rpc.monad.xyz", "https://docs.monad.xyz"),
    node("flare", "rpc", "https://flare-api.flare.network/ext/C/rpc", "https://dev.flare.network"),
    node(
        "ethereum",
        "tatum",
        "https://ethereum-mainnet.gateway.tatum.io",
        "https://docs.tatum.io",
        key=TATUM,
        gap=1,
    ),
]
