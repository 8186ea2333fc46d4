"""Every table of the warehouse, declared once: the only place where a column is declared.

From a row model come the DDL, the comments in the file, the validator, Dagster's column schema
and the generated reference.
"""

from crypto_pipeline.groups import Group
from crypto_pipeline.tables.chain import (
    BlockchainStats,
    DefiTvl,
    GasPrice,
    StablecoinSupply,
    WhaleTransaction,
)
from crypto_pipeline.tables.derivatives import FundingRate, OpenInterest
from crypto_pipeline.tables.fiat import FiatQuote, FiatRate
from crypto_pipeline.tables.management import (
    Coin,
    ConnectionAttempt,
    DataCollection,
    Provider,
    RejectedRow,
    SchemaMigration,
    SourceHealth,
)
from crypto_pipeline.tables.market import (
    AgreedRange,
    CachedMarketData,
    Candle,
    GlobalMarket,
    MarketPrice,
    RejectedVoice,
    TrendingCoin,
)
from crypto_pipeline.tables.news import NewsArticle, SentimentMetric
from crypto_pipeline.tables.pools import (
    PoolMember,
    RateLimitUsage,
    RotationChange,
    RotationState,
    SourcePool,
)
from crypto_pipeline.tables.spec import Row, Table
from crypto_pipeline.tables.views import VIEWS, View
from crypto_pipeline.tables.worker import (
    Alert,
    FailureLog,
    ScheduleCompliance,
    ScheduleConfig,
    SystemMetrics,
    WorkerRun,
)

DATA: tuple[type[Row], ...] = (
    MarketPrice,
    CachedMarketData,
    FiatQuote,
    FiatRate,
    GasPrice,
    SentimentMetric,
    Candle,
    NewsArticle,
    WhaleTransaction,
    BlockchainStats,
    FundingRate,
    OpenInterest,
    DefiTvl,
    StablecoinSupply,
    GlobalMarket,
    TrendingCoin,
)
"""The tables people come for; each is a Dagster asset."""

MANAGEMENT: tuple[type[Row], ...] = (
    Provider,
    ConnectionAttempt,
    DataCollection,
    SourceHealth,
    RejectedRow,
    SourcePool,
    PoolMember,
    RotationState,
    RotationChange,
    RateLimitUsage,
    Coin,
    AgreedRange,
    SchemaMigration,
    WorkerRun,
    FailureLog,
    Alert,
    SystemMetrics,
    ScheduleConfig,
    ScheduleCompliance,
)
"""The tables collections and sensors keep about the pipeline itself."""


def of_group(group: Group) -> tuple[type[Row], ...]:
    """The tables that are collected together."""
    return tuple(model for model in DATA if model.table.collected_in is group)


TABLES: dict[str, type[Row]] = {model.table.name: model for model in (*DATA, *MANAGEMENT)}

KEPT = {name: model.table.keep for name, model in TABLES.items() if model.table.time}
"""How long rows are kept by default, by table; None for ever. Without a time they are not aged."""

__all__ = [
    "DATA",
    "KEPT",
    "MANAGEMENT",
    "TABLES",
    "VIEWS",
    "AgreedRange",
    "Alert",
    "BlockchainStats",
    "CachedMarketData",
    "Candle",
    "Coin",
    "ConnectionAttempt",
    "DataCollection",
    "DefiTvl",
    "FailureLog",
    "FiatQuote",
    "FiatRate",
    "FundingRate",
    "GasPrice",
    "GlobalMarket",
    "MarketPrice",
    "NewsArticle",
    "OpenInterest",
    "PoolMember",
    "Provider",
    "RateLimitUsage",
    "RejectedRow",
    "RejectedVoice",
    "RotationChange",
    "RotationState",
    "Row",
    "ScheduleCompliance",
    "ScheduleConfig",
    "SchemaMigration",
    "SentimentMetric",
    "SourceHealth",
    "SourcePool",
    "StablecoinSupply",
    "SystemMetrics",
    "Table",
    "TrendingCoin",
    "View",
    "WhaleTransaction",
    "WorkerRun",
    "of_group",
]
