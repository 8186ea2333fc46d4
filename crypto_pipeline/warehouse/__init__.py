"""The warehouse: everything that knows duckdb, behind one class."""

from crypto_pipeline.warehouse.errors import (
    Damaged,
    Hurried,
    Locked,
    Lost,
    MigrationFailed,
    Outdated,
    Refused,
    TooNew,
    Unavailable,
    Unfit,
    Unpublished,
    WarehouseError,
)
from crypto_pipeline.warehouse.file import Warehouse, configured
from crypto_pipeline.warehouse.load import Batch, Receipt
from crypto_pipeline.warehouse.memory import Memory
from crypto_pipeline.warehouse.sql import Connection

__all__ = [
    "Batch",
    "Connection",
    "Damaged",
    "Hurried",
    "Locked",
    "Lost",
    "Memory",
    "MigrationFailed",
    "Outdated",
    "Receipt",
    "Refused",
    "TooNew",
    "Unavailable",
    "Unfit",
    "Unpublished",
    "Warehouse",
    "WarehouseError",
    "configured",
]
