"""Tables of the chains: gas, statistics, large transfers, and what is locked or issued on them."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from math import inf
from typing import Self

from pydantic import model_validator

from crypto_pipeline.groups import HISTORICAL, UI
from crypto_pipeline.tables.spec import (
    Amount,
    Change,
    Count,
    Id,
    Number,
    Positive,
    Row,
    Text,
    Time,
    Window,
    column,
    optional,
)

BOUNDS_OF_UNITS: Mapping[str, tuple[float, float]] = {
    "gwei": (1e-9, 1e5),
    "sat/vB": (1e-3, 1e5),
    "lovelace/byte": (1.0, 1e4),
    "drops": (1.0, 1e8),
    "stroops": (1.0, 1e9),
    "sun/energy": (1.0, 1e5),
    "micro-lamports/CU": (0.0, 1e10),  # what is paid for priority, often nothing
    "octas/gas": (1.0, 1e7),
    "MIST/gas": (1.0, 1e8),
    "uatom/gas": (1e-6, 1e3),
    "tinybar/gas": (1.0, 1e6),
    "sompi/gram": (1e-3, 1e8),
    "microALGO/transaction": (1.0, 1e8),
    "attoFIL/gas": (1.0, 1e14),
    "yoctoNEAR/gas": (1.0, 1e13),
    "fri/gas": (1.0, 1e16),
}
"""Where a price of gas lies on any chain, by its unit; a unit is declared by its line here."""

ROUNDED = 0.001
"""What a source may have lost of a price by rounding it."""

BOUNDS_OF_CHAINS: Mapping[str, tuple[float, float]] = {
    "ethereum": (1e-3, 1e4),
    "bitcoin": (0.1, 1e4),
    "bsc": (1e-3, 1e3),
    "dogecoin": (1.0, 1e8),
    "pulsechain": (1.0, 1e9),
}
"""Where a chain's price of gas lies, where that is known better than by its unit."""


class GasPrice(
    Row,
    table="gas_prices",
    group=UI,
    time="timestamp",
    key=("source", "blockchain", "collection_id"),
    any_of=("gas_price_gwei", "standard_gas_price"),
    zeros=True,
):
    """What a transaction costs on a chain now.

    The unit column says what the slow, standard and fast prices are in: gwei on EVM chains, sat/vB
    on Bitcoin, and so on. gas_price_gwei is filled on chains that price in gwei, and only there.
    """

    blockchain: Text = column("Chain, lower case: ethereum, bitcoin, bsc, polygon, …")
    gas_price_gwei: Amount | None = optional(
        "Price the node suggests", unit="gwei", decimals=9, jump=1e3
    )
    fast_gas_price: Amount | None = optional("For the next block or two", unit="see unit")
    standard_gas_price: Amount | None = optional("For a few minutes", unit="see unit", jump=1e3)
    slow_gas_price: Amount | None = optional("For those who can wait", unit="see unit")
    base_fee_gwei: Amount | None = optional(
        "Base fee of the next block (EIP-1559)", unit="gwei", decimals=9
    )
    unit: Text = column("Unit of the fast, standard and slow prices")
    timestamp: Time = column("When it was observed", fill="observed_at")
    source: Text = column("Which source said so", fill="source")
    collection_id: Text = column("The collection (Dagster run) that wrote it", fill="collection_id")

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        speeds = (self.slow_gas_price, self.standard_gas_price, self.fast_gas_price)
        known = [price for price in speeds if price is not None]
        if known != sorted(known):
            raise ValueError(f"slow, standard and fast are not in that order: {known}")
        if (
            self.base_fee_gwei is not None
            and self.unit == "gwei"
            and min(known, default=inf) < (self.base_fee_gwei * (1 - ROUNDED))
        ):
            raise ValueError(f"{known[0]:g} is less than the base fee {self.base_fee_gwei:g}")
        if self.unit not in BOUNDS_OF_UNITS:
            raise ValueError(f"unit {self.unit!r} is not declared")
        least, most = BOUNDS_OF_CHAINS.get(self.blockchain, BOUNDS_OF_UNITS[self.unit])
        for price in (*known, *([self.gas_price_gwei] if self.gas_price_gwei is not None else [])):
            if not least <= price <= most:
                bounds = f"within {least:g} and {most:g}"
                raise ValueError(f"{price:g} {self.unit} on {self.blockchain} is not {bounds}")
        return self


class BlockchainStats(
    Row,
    table="blockchain_stats",
    group=HISTORICAL,
    time="timestamp",
    key=("source", "blockchain", "collection_id"),
    any_of=("latest_block", "total_transactions", "network_hashrate", "mempool_transactions"),
):
    """The state of one chain as one source saw it. Columns a source does not know are NULL."""

    blockchain: Text = column("Chain, lower case: ethereum, bitcoin, solana, …")
    latest_block: Count | None = optional("Height of the newest block (slot or ledger)", jump=4)
    latest_block_at: Time | None = optional(
        "Time of the newest block", within=Window(timedelta(hours=6), timedelta(hours=2))
    )
    total_transactions: Count | None = optional("Transactions since the chain began", jump=10)
    transactions_24h: Count | None = optional("Transactions of the last 24 hours")
    transactions_per_second: Amount | None = optional("Recent rate", unit="1/s", decimals=3)
    network_hashrate: Positive | None = optional("Estimated hash rate", unit="H/s", jump=100)
    difficulty: Amount | None = optional("Difficulty of the newest block", jump=100)
    mempool_transactions: Count | None = optional("Transactions waiting")
    mempool_bytes: Count | None = optional("Size of the transactions waiting", unit="vB or bytes")
    average_block_time_s: Positive | None = optional("Recent time between blocks", unit="s")
    total_addresses: Count | None = optional("Addresses ever seen", jump=10)
    timestamp: Time = column("When it was observed", fill="observed_at")
    source: Text = column("Which source said so", fill="source")
    collection_id: Text = column("The collection (Dagster run) that wrote it", fill="collection_id")


LEAST_WHALE_USD = 10_000
"""A transfer worth less, where its source says what it is worth, is no large one."""


class WhaleTransaction(
    Row,
    table="whale_transactions",
    group=HISTORICAL,
    write="insert",
    key=("blockchain", "transaction_hash"),
    time="timestamp",
    window=timedelta(days=7),
):
    """One large transfer, stored once however many sources report it.

    "Large" is the endpoint's own threshold, and never less than 10,000 US dollars where its worth
    is known. On Bitcoin and its relatives the amount is the sum of all outputs, change included,
    and no single sender or receiver exists: the addresses are NULL.
    """

    blockchain: Text = column("Chain, lower case")
    transaction_hash: Id = column("The chain's id of the transaction")
    from_address: Text | None = optional("Sender, where the chain has one")
    to_address: Text | None = optional("Receiver, where the chain has one")
    amount: Positive = column("Amount moved", unit="see symbol")
    symbol: Text = column("Coin of the amount: BTC, ETH, USDT, …")
    amount_usd: Positive | None = optional(
        "Value at the time, where the source gives it", unit="USD", decimals=2
    )
    timestamp: Time = column(
        "Time of the block, or of first sight where it is not mined yet",
        within=Window(timedelta(days=30), timedelta(hours=2)),
    )
    source: Text = column("Which source said so first", fill="source")
    collection_id: Text = column("The collection (Dagster run) that wrote it", fill="collection_id")

    def wanted(self, observed_at: datetime) -> bool:
        return self.amount_usd is None or self.amount_usd >= LEAST_WHALE_USD


class DefiTvl(
    Row,
    table="defi_tvl",
    group=HISTORICAL,
    time="timestamp",
    key=("source", "scope", "source_id", "collection_id"),
):
    """Total value locked on one chain or in one protocol. Sources count different things."""

    scope: Text = column("chain or protocol")
    source_id: Id = column("The source's own id of the chain or protocol")
    name: Text = column("Chain or protocol as the source writes it")
    blockchain: Text | None = optional("Of a chain, its name as in the other tables")
    category: Text | None = optional("Kind of protocol, where the source says")
    tvl_usd: Amount = column("Value locked", unit="USD", decimals=0, jump=1e5)
    change_1d_pct: Change | None = optional("Change over a day", unit="%", decimals=4)
    change_7d_pct: Change | None = optional("Change over seven days", unit="%", decimals=4)
    timestamp: Time = column("When it was observed", fill="observed_at")
    source: Text = column("Which source said so", fill="source")
    collection_id: Text = column("The collection (Dagster run) that wrote it", fill="collection_id")


WORTH_OF_PEGS: Mapping[str, float] = {
    "USD": 1.0,
    "EUR": 1.15,
    "GBP": 1.3,
    "CHF": 1.2,
    "JPY": 0.007,
    "CNY": 0.14,
    "CNH": 0.14,
    "AUD": 0.67,
    "CAD": 0.73,
    "SGD": 0.76,
    "BRL": 0.18,
    "TRY": 0.03,
    "MXN": 0.055,
    "RUB": 0.012,
    "IDR": 6.2e-5,
    "KRW": 7.2e-4,
    "UAH": 0.024,
    "ZAR": 0.056,
    "PHP": 0.017,
    "ARS": 0.0008,
    "NGN": 0.00065,
    "THB": 0.03,
    "HKD": 0.128,
    "INR": 0.0115,
    "NZD": 0.6,
}
"""US dollars for one unit of a peg, roughly: enough to tell a stablecoin from another coin."""

PEG_LEFT_ABOVE = 2.0
"""A coin that costs this many times its peg is no stablecoin; one that costs less may be broken."""


class StablecoinSupply(
    Row,
    table="stablecoin_supply",
    group=HISTORICAL,
    time="timestamp",
    key=("source", "source_id", "collection_id"),
):
    """What circulates of one stablecoin. Coins with one ticker are told apart by source_id."""

    symbol: Text = column("Ticker as the source writes it, upper case")
    name: Text | None = optional("Name as the source writes it")
    source_id: Id = column("The source's own id of the coin")
    peg: Text = column("Currency it is pegged to: USD, EUR, …")
    circulating: Amount = column(
        "Amount in circulation", unit="units of the peg", decimals=2, jump=1e3
    )
    circulating_usd: Amount | None = optional(
        "The same in US dollars, where the source gives it", unit="USD", decimals=2, jump=1e3
    )
    price_usd: Positive | None = optional("Price of one coin", unit="USD")
    change_1d_pct: Number | None = optional("Change of the supply over a day", unit="%", decimals=4)
    timestamp: Time = column("When it was observed", fill="observed_at")
    source: Text = column("Which source said so", fill="source")
    collection_id: Text = column("The collection (Dagster run) that wrote it", fill="collection_id")

    @model_validator(mode="after")
    def _near_its_peg(self) -> Self:
        worth = WORTH_OF_PEGS.get(self.peg)
        if worth is None:
            return self
        prices = [self.price_usd]
        if self.circulating_usd is not None and self.circulating:
            prices.append(self.circulating_usd / self.circulating)
        for price in prices:
            if price is not None and price > worth * PEG_LEFT_ABOVE:
                raise ValueError(f"{price:g} US dollars is no price of a coin pegged to {self.peg}")
        return self
