"""Nodes of EVM chains, asked over JSON-RPC for gas and blocks."""

from typing import Any

from crypto_pipeline.sources.spec import Source
from crypto_pipeline.sources.values import evm_gas, from_hex, seconds
from crypto_pipeline.tables import BlockchainStats, GasPrice

GAS = {"price": ["eth_gasPrice"], "fees": ["eth_feeHistory", "0x14", "latest", [10, 50, 90]]}
BLOCK = {"block": ["eth_getBlockByNumber", "latest", False]}


def gas(answers: dict[str, Any]) -> dict[str, Any]:
    return evm_gas(answers["price"], answers.get("fees"))


def newest_block(answers: dict[str, Any]) -> dict[str, Any]:
    block = answers["block"]
    return {
        "latest_block": from_hex(block["number"]),
        "latest_block_at": seconds(from_hex(block["timestamp"])),
        "difficulty": from_hex(block["difficulty"]) or None,
    }


ETHEREUM_PUBLICNODE = Source(
    "ethereum_publicnode", "https://ethereum-rpc.publicnode.com", docs="https://www.publicnode.com"
)
ETHEREUM_PUBLICNODE.rpc(
    GasPrice, GAS, row=gas, fixed={"blockchain": "ethereum"}, pool="ethereum_gas"
)
ETHEREUM_PUBLICNODE.rpc(
    BlockchainStats, BLOCK, row=newest_block, fixed={"blockchain": "ethereum"}
)
