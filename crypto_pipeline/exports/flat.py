"""csv and parquet: one file of everything, for tools that read tables."""

import json
from pathlib import Path

from crypto_pipeline.exports.history import COLUMNS, HISTORY, Wanted
from crypto_pipeline.warehouse.sql import Connection, copy_to, literal


def write_csv(connection: Connection, wanted: Wanted, symbols: list[str], folder: Path) -> None:
    """candles.csv: a header, times in UTC, an empty field for NULL."""
    copy_to(connection, HISTORY, folder / "candles.csv", "FORMAT csv, HEADER")


def write_parquet(connection: Connection, wanted: Wanted, symbols: list[str], folder: Path) -> None:
    """candles.parquet: by coin and time, the units in the file's metadata."""
    units = json.dumps({c.name: c.unit for c in COLUMNS if c.unit})
    options = f"FORMAT parquet, COMPRESSION zstd, KV_METADATA {{units: {literal(units)}}}"
    copy_to(connection, HISTORY, folder / "candles.parquet", options)
