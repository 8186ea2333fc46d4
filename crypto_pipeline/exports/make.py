"""One export from beginning to end: begin here.

Owns: the formats, and what is said of an export.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from crypto_pipeline.exports import flat, freqtrade, nautilus, qlib
from crypto_pipeline.exports.errors import ExportError
from crypto_pipeline.exports.folder import check_free, written
from crypto_pipeline.exports.history import AGREED, COLUMNS, HISTORY, Wanted, prepare
from crypto_pipeline.warehouse.sql import Connection, literals

Write = Callable[[Connection, Wanted, list[str], Path], None]

NAMED = re.compile(r"[A-Z0-9]{1,20}")
"""A coin that the tools can name, in files and as an instrument."""


@dataclass(frozen=True, slots=True)
class Format:
    """What can be exported: what it is, how it is written, and whether any ticker will do."""

    about: str
    write: Write
    any_symbol: bool = False


FORMATS = {
    "freqtrade": Format("a data directory of freqtrade, as Parquet", freqtrade.write),
    "nautilus": Format("a ParquetDataCatalog of nautilus_trader", nautilus.write),
    "qlib": Format("a folder of binary features for qlib", qlib.write),
    "parquet": Format("one Parquet file", flat.write_parquet, any_symbol=True),
    "csv": Format("one CSV file", flat.write_csv, any_symbol=True),
}


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export came to. left_out: coins whose ticker the tool cannot name."""

    folder: Path
    candles: int
    symbols: list[str]
    left_out: list[str]
    first: datetime
    last: datetime


def export(
    connection: Connection, form: str, folder: Path, wanted: Wanted, python: str | None = None
) -> Exported:
    """Write what is wanted into the folder, in the place of an export that is there.

    connection: over what is published. python: see nautilus. Raises ExportError; then the folder is
    as it was.
    """
    check_free(folder.absolute())
    chosen = FORMATS[form]
    symbols = prepare(connection, wanted)
    symbols, left_out = (symbols, []) if chosen.any_symbol else _named(connection, wanted, symbols)
    query = f"SELECT count(*), min(timestamp), max(timestamp) FROM {HISTORY}"
    candles, first, last = connection.execute(query).fetchall()[0]
    done = Exported(folder, candles, symbols, left_out, first.astimezone(UTC), last.astimezone(UTC))
    write = partial(nautilus.write, python=python) if form == "nautilus" else chosen.write
    with written(folder, _about(form, wanted, done)) as beside:
        write(connection, wanted, symbols, beside)
    return done


def _named(
    connection: Connection, wanted: Wanted, symbols: list[str]
) -> tuple[list[str], list[str]]:
    """The coins that the tools can name, and those they cannot, which are taken out."""
    left_out = [symbol for symbol in symbols if not NAMED.fullmatch(symbol)]
    if left_out and (wanted.symbols or len(left_out) == len(symbols)):
        raise ExportError(
            f"{left_out[0]} cannot be named there, by its letters: export it as parquet or csv"
        )
    if left_out:
        connection.execute(f"DELETE FROM {HISTORY} WHERE symbol IN {literals(left_out)}")
    return [symbol for symbol in symbols if symbol not in left_out], left_out


def _about(form: str, wanted: Wanted, done: Exported) -> dict[str, Any]:
    """What export.json says."""
    return {
        "made_by": "crypto_pipeline export",
        "format": form,
        "provider": wanted.provider or AGREED,
        "interval": wanted.interval,
        "since": wanted.since and wanted.since.isoformat(),
        "until": wanted.until and wanted.until.isoformat(),
        "as_of": wanted.as_of.isoformat(),
        "candles": done.candles,
        "first": done.first.isoformat(),
        "last": done.last.isoformat(),
        "symbols": done.symbols,
        "left_out": done.left_out,
        "columns": {c.name: {"meaning": c.meaning, "unit": c.unit} for c in COLUMNS},
    }
