"""Every table of the warehouse, declared once: the only place where a column is declared.

From a row model come the DDL, the comments in the file, the validator, Dagster's column schema
and the generated reference.
"""

from crypto_pipeline.groups import Group
from crypto_pipeline.tables.analytics import AgreedBar, AgreedPrice, StablecoinPeg
from crypto_pipeline.tables.answers import ANSWERS
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
    CorrectedCandle,
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
from crypto_pipeline.tables.views import AS_OF, WORKER, View
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
    StablecoinPeg,
    AgreedPrice,
    AgreedBar,
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
    CorrectedCandle,
    SchemaMigration,
    WorkerRun,
    FailureLog,
    Alert,
    SystemMetrics,
    ScheduleConfig,
    ScheduleCompliance,
)
"""The tables collections and sensors keep about the pipeline itself."""


_SELECTED = (*WORKER, *ANSWERS, *AS_OF)

VIEWS = tuple(view for view in _SELECTED if not view.parameters)
"""Every view, in the order of the reference; each may select from those before it."""

MACROS = tuple(view for view in _SELECTED if view.parameters)
"""Every macro, likewise."""


def of_group(group: Group) -> tuple[type[Row], ...]:
    """The tables that are collected together."""
    return tuple(model for model in DATA if model.table.collected_in is group)


def origins(model: type[Row]) -> tuple[type[Row], ...]:
    """The collected tables that one is made of in the end; of a collected one itself."""
    if not model.table.computed_from:
        return (model,)
    found = (o for name in model.table.computed_from for o in origins(TABLES[name]))
    return tuple(dict.fromkeys(found))


TABLES: dict[str, type[Row]] = {model.table.name: model for model in (*DATA, *MANAGEMENT)}

PAST_OF = {model.table.past_of: model for model in TABLES.values() if model.table.past_of}
"""The table that keeps what was replaced, by the table that it was replaced in."""

KEPT = {name: model.table.keep for name, model in TABLES.items() if model.table.time}
"""How long rows are kept by default, by table; None for ever. Without a time they are not aged."""

__all__ = [
    "DATA",
    "KEPT",
    "MACROS",
    "MANAGEMENT",
    "PAST_OF",
    "TABLES",
    "VIEWS",
    "AgreedBar",
    "AgreedPrice",
    "AgreedRange",
    "Alert",
    "BlockchainStats",
    "CachedMarketData",
    "Candle",
    "Coin",
    "ConnectionAttempt",
    "CorrectedCandle",
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
    "StablecoinPeg",
    "StablecoinSupply",
    "SystemMetrics",
    "Table",
    "TrendingCoin",
    "View",
    "WhaleTransaction",
    "WorkerRun",
    "of_group",
    "origins",
]
