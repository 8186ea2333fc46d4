"""The warehouse: everything that knows duckdb, behind one class.

errors       what can be wrong with the file
sql          small pieces of SQL
memory       what one collection tells the next, in the file and in a note beside it
layout       from declarations to tables, views and comments
migrations   what each version of the layout changed
queries      what is asked of the file: by alerts, status and the budget
agreed_view  the SQL of the agreed view over all sources
load         rows into tables, one transaction a collection
upkeep       old rows out, the file written anew
file         the DuckDB file itself, its locks and its spool
"""

from crypto_pipeline.warehouse.errors import (
    Damaged,
    Locked,
    MigrationFailed,
    Outdated,
    TooNew,
    WarehouseError,
)
from crypto_pipeline.warehouse.file import Warehouse
from crypto_pipeline.warehouse.load import Batch, Receipt
from crypto_pipeline.warehouse.memory import Memory
from crypto_pipeline.warehouse.sql import Connection

__all__ = [
    "Batch",
    "Connection",
    "Damaged",
    "Locked",
    "Memory",
    "MigrationFailed",
    "Outdated",
    "Receipt",
    "TooNew",
    "Warehouse",
    "WarehouseError",
]
