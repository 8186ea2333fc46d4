"""Tables of the chains: gas, statistics, large transfers, and what is locked or issued on them."""

from datetime import timedelta

from crypto_pipeline.groups import HISTORICAL, UI
from crypto_pipeline.tables.spec import (
    Amount,
    Change,
    Count,
    Number,
    Positive,
    Row,
    Text,
    Time,
    Window,
    column,
    optional,
)


class GasPrice(
    Row,
    table="gas_prices",
    group=UI,
    time="timestamp",
    key=("source", "blockchain", "collection_id"),
    any_of=("gas_price_gwei", "standard_gas_price"),
):
    """What a transaction costs on a chain now.

    The unit column says what the slow, standard and fast prices are in: gwei on EVM chains, sat/vB
    on Bitcoin, and so on. gas_price_gwei is filled on chains that price in gwei, and only there.
    """

    blockchain: Text = column("Chain, lower case: ethereum, bitcoin, bsc, polygon, …")
    gas_price_gwei: Amount | None = optional("Price the node suggests", unit="gwei", decimals=9)
    fast_gas_price: Amount | None = optional("For the next block or two", unit="see unit")
    standard_gas_price: Amount | None = optional("For a few minutes", unit="see unit")
    slow_gas_price: Amount | None = optional("For those who can wait", unit="see unit")
    base_fee_gwei: Amount | None = optional(
        "Base fee of the next block (EIP-1559)", unit="gwei", decimals=9
    )
    unit: Text = column("Unit of the fast, standard and slow prices")
    timestamp: Time = column("When it was observed", fill="observed_at")
    source: Text = column("Which source said so", fill="source")
    collection_id: Text = column("The collection (Dagster run) that wrote it", fill="collection_id")


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
    latest_block: Count | None = optional("Height of the newest block (slot or ledger)")
    latest_block_at: Time | None = optional(
        "Time of the newest block", within=Window(timedelta(hours=6), timedelta(hours=2))
    )
    total_transactions: Count | None = optional("Transactions since the chain began")
    transactions_24h: Count | None = optional("Transactions of the last 24 hours")
    transactions_per_second: Amount | None = optional("Recent rate", unit="1/s", decimals=3)
    network_hashrate: Positive | None = optional("Estimated hash rate", unit="H/s")
    difficulty: Amount | None = optional("Difficulty of the newest block")
    mempool_transactions: Count | None = optional("Transactions waiting")
    mempool_bytes: Count | None = optional("Size of the transactions waiting", unit="vB or bytes")
    average_block_time_s: Positive | None = optional("Recent time between blocks", unit="s")
    total_addresses: Count | None = optional("Addresses ever seen")
    timestamp: Time = column("When it was observed", fill="observed_at")
    source: Text = column("Which source said so", fill="source")
    collection_id: Text = column("The collection (Dagster run) that wrote it", fill="collection_id")


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

    "Large" is the endpoint's own threshold. On Bitcoin and its relatives the amount is the sum of
    all outputs, change included, and no single sender or receiver exists: the addresses are NULL.
    """

    blockchain: Text = column("Chain, lower case")
    transaction_hash: Text = column("The chain's id of the transaction")
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


class DefiTvl(
    Row,
    table="defi_tvl",
    group=HISTORICAL,
    time="timestamp",
    key=("source", "scope", "source_id", "collection_id"),
):
    """Total value locked on one chain or in one protocol. Sources count different things."""

    scope: Text = column("chain or protocol")
    source_id: Text = column("The source's own id of the chain or protocol")
    name: Text = column("Chain or protocol as the source writes it")
    category: Text | None = optional("Kind of protocol, where the source says")
    tvl_usd: Amount = column("Value locked", unit="USD", decimals=0)
    change_1d_pct: Change | None = optional("Change over a day", unit="%", decimals=4)
    change_7d_pct: Change | None = optional("Change over seven days", unit="%", decimals=4)
    timestamp: Time = column("When it was observed", fill="observed_at")
    source: Text = column("Which source said so", fill="source")
    collection_id: Text = column("The collection (Dagster run) that wrote it", fill="collection_id")


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
    source_id: Text = column("The source's own id of the coin")
    peg: Text = column("Currency it is pegged to: USD, EUR, …")
    circulating: Amount = column("Amount in circulation", unit="units of the peg", decimals=2)
    circulating_usd: Amount | None = optional(
        "The same in US dollars, where the source gives it", unit="USD", decimals=2
    )
    price_usd: Positive | None = optional("Price of one coin", unit="USD")
    change_1d_pct: Number | None = optional("Change of the supply over a day", unit="%", decimals=4)
    timestamp: Time = column("When it was observed", fill="observed_at")
    source: Text = column("Which source said so", fill="source")
    collection_id: Text = column("The collection (Dagster run) that wrote it", fill="collection_id")
