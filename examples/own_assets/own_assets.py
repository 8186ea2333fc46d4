"""Assets of one's own, made of the warehouse's tables and kept in a DuckDB file of one's own."""

import os

import dagster as dg
import pandas as pd
from dagster_duckdb import DuckDBResource

from crypto_pipeline.orchestration.inputs import KEY, Published, published_tables

DAYS = dg.DailyPartitionsDefinition(start_date="2026-01-01")


@dg.asset(
    partitions_def=DAYS,
    ins={"market_prices": dg.AssetIn(metadata={"columns": ["symbol", "source", "price_usd"]})},
    automation_condition=dg.AutomationCondition.on_cron("20 0 * * *"),
    kinds={"pandas", "duckdb"},
)
def price_ranges(
    context: dg.AssetExecutionContext, market_prices: pd.DataFrame, own: DuckDBResource
) -> dg.MaterializeResult[None]:
    """Between which prices each coin was seen in a day, and by how many sources."""
    by_coin = market_prices.groupby("symbol")
    ranges = by_coin.agg(
        low=("price_usd", "min"), high=("price_usd", "max"), sources=("source", "nunique")
    ).reset_index()
    ranges.insert(0, "day", pd.Timestamp(context.partition_key).date())
    with own.get_connection() as connection:
        connection.register("ranges", ranges)
        connection.execute("CREATE TABLE IF NOT EXISTS price_ranges AS FROM ranges LIMIT 0")
        connection.execute("DELETE FROM price_ranges WHERE day = ?", [context.partition_key])
        connection.execute("INSERT INTO price_ranges BY NAME FROM ranges")
    return dg.MaterializeResult(metadata={"dagster/partition_row_count": len(ranges)})


@dg.asset(
    ins={"gas_prices": dg.AssetIn(metadata={"within": "30min"})},
    automation_condition=dg.AutomationCondition.eager(),
    kinds={"pandas", "duckdb"},
)
def cheapest_gas(gas_prices: pd.DataFrame, own: DuckDBResource) -> dg.MaterializeResult[None]:
    """The EVM chains by what gas costs on them now, the cheapest first."""
    in_gwei = gas_prices[gas_prices["unit"] == "gwei"].dropna(subset=["standard_gas_price"])
    by_chain = in_gwei.groupby("blockchain")["standard_gas_price"].median()
    cheapest = by_chain.sort_values().reset_index()
    with own.get_connection() as connection:
        connection.register("cheapest", cheapest)
        connection.execute("CREATE OR REPLACE TABLE cheapest_gas AS FROM cheapest")
    return dg.MaterializeResult(metadata={"dagster/row_count": len(cheapest)})


defs = dg.Definitions(
    assets=[*published_tables("market_prices", "gas_prices"), price_ranges, cheapest_gas],
    executor=dg.in_process_executor,
    resources={
        KEY: Published(),
        "own": DuckDBResource(database=os.environ.get("OWN_DATABASE", "own_assets.duckdb")),
    },
)
