"""What Dagster hands to steps: the warehouse as dagster-duckdb's resource, the tables as inputs.

Owns: how a step gets a connection.
Must not know: what is asked or written.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dagster_duckdb import DuckDBResource

from crypto_pipeline import settings
from crypto_pipeline.orchestration import inputs
from crypto_pipeline.warehouse import Connection, Warehouse


class WarehouseResource(DuckDBResource):
    """dagster-duckdb's resource over the warehouse, for assets of your own.

    A connection is closed in any case and waits for the file with jitter. It writes; keep it
    short, and read with `crypto_pipeline.connect()`. parquet: the folder into which what
    collections write is published; None: it is not.
    """

    parquet: str | None = None

    @contextmanager
    def get_connection(self) -> Iterator[Connection]:
        with self.warehouse.connect() as connection:
            yield connection

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse(Path(self.database), parquet=Path(self.parquet) if self.parquet else None)


def resources() -> Mapping[str, Any]:
    """The resources of the definitions, by the name that steps ask for."""
    folder = settings.published()
    return {
        "warehouse": WarehouseResource(
            database=str(settings.database()), parquet=str(folder) if folder else None
        ),
        inputs.KEY: inputs.Published(),
    }
