"""What keeps the file small: old rows out, into an archive if wanted, and the file written anew."""

import math
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from crypto_pipeline import files
from crypto_pipeline.tables import TABLES, Table
from crypto_pipeline.warehouse.errors import Damaged, Locked, named
from crypto_pipeline.warehouse.layout import STORAGE
from crypto_pipeline.warehouse.sql import Connection, literal, log_of, open_duckdb, transaction

WORTH_BYTES = 64 * 2**20
WORTH_PART = 0.25
"""Compacting rewrites the whole file: worth it for this much free room, and this part of it."""

_DAY = timedelta(days=1)


def cut(connection: Connection, name: str, age: timedelta, at: datetime) -> datetime | None:
    """The start of the first day of a table's rows that stays; None when all of them do.

    The earlier one of the day `age` before `at`, by the clock, and the first of as many days that
    have rows: a clock that is ahead, or was for a day, must not take the whole table. What is dated
    more than a day after `at` is no such day.
    """
    days = max(1, math.ceil(age / _DAY))
    time = TABLES[name].table.time
    found = connection.execute(
        f'SELECT DISTINCT epoch_us("{time}") // {_DAY // timedelta(microseconds=1)} AS day '
        f'FROM {name} WHERE "{time}" <= {literal(at + _DAY)} '
        f"ORDER BY day DESC LIMIT 1 OFFSET {days - 1}"
    ).fetchone()
    if not found:
        return None
    by_rows: datetime = datetime.fromtimestamp(0, UTC) + found[0] * _DAY
    by_clock = (at - age).replace(hour=0, minute=0, second=0, microsecond=0)
    return min(by_clock, by_rows)


def drop(
    connection: Connection, cuts: Mapping[str, datetime], archive: Path | None
) -> dict[str, int]:
    """Drop the rows before each table's cut, exported first if there is an archive."""
    if archive:
        for name, cut in cuts.items():
            _export(connection, TABLES[name].table, cut, archive)
    dropped = {}
    with transaction(connection):
        for name, cut in cuts.items():
            ((dropped[name],),) = connection.execute(
                f'DELETE FROM {name} WHERE "{TABLES[name].table.time}" < {literal(cut)}'
            ).fetchall()
    return {name: count for name, count in dropped.items() if count}


def _export(connection: Connection, table: Table, cut: datetime, archive: Path) -> None:
    """The rows before `cut`, a file a day, together with what the day's file has already."""
    days = connection.execute(
        f'SELECT DISTINCT "{table.time}"::DATE FROM {table.name} WHERE "{table.time}" < '
        f"{literal(cut)}"
    ).fetchall()
    folder = archive / table.name
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob("*.unfinished"):  # of a run that was killed
        left.unlink()
    for (day,) in sorted(days):
        target = folder / f"{day:%Y-%m-%d}.parquet"
        beside = target.with_suffix(".unfinished")
        rows = f"SELECT * FROM {table.name} WHERE \"{table.time}\"::DATE = DATE '{day}'"
        if target.exists():
            rows = f"SELECT * FROM read_parquet({literal(target)}) UNION BY NAME ({rows})"
        connection.execute(
            f'COPY (FROM ({rows}) ORDER BY "{table.time}") TO {literal(beside)} '
            "(FORMAT parquet, COMPRESSION zstd)"
        )
        files.sync(beside)
        beside.replace(target)
    files.sync_folder(folder)


def _free_bytes(connection: Connection) -> int:
    ((free,),) = connection.execute(
        "SELECT block_size * free_blocks FROM pragma_database_size() "
        "WHERE database_name = current_database()"
    ).fetchall()
    return int(free)


def worth_compacting(connection: Connection, path: Path, at_least: int) -> bool:
    """Whether the file has that much free room, and the disk enough for a copy."""
    connection.execute("CHECKPOINT")
    size, free = path.stat().st_size, _free_bytes(connection)
    if free < at_least or free < WORTH_PART * size:
        return False
    return shutil.disk_usage(path.parent).free >= 2 * (size - free)


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".compacting")


def clear(path: Path) -> None:
    """Remove the unfinished copy that a killed compaction has left. Only for the one writer."""
    for file in (_beside(path), log_of(_beside(path))):
        file.unlink(missing_ok=True)


def replace_with_copy(path: Path) -> int:
    """Write the file anew; returns the bytes won.

    The copy is made beside the file, while a read-only connection keeps every writer out; it is
    brought to the disk, compared, and only then takes the file's place in one step, with its mode.
    Raises WarehouseError or OSError.
    """
    before = path.stat().st_size
    try:
        _copy(path, _beside(path))
    finally:
        clear(path)
    return before - path.stat().st_size


def _copy(path: Path, beside: Path) -> None:
    with open_duckdb() as neither:
        try:
            neither.execute(f"ATTACH {literal(path)} AS old (READ_ONLY)")
        except duckdb.Error as problem:
            raise named(problem, path) from None
        if log_of(path).exists() and log_of(path).stat().st_size:
            raise Locked(f"{path}: another program has just written to it")
        neither.execute(f"ATTACH {literal(beside)} AS new (STORAGE_VERSION {literal(STORAGE)})")
        files.as_private_as(beside, path)
        neither.execute("COPY FROM DATABASE old TO new")
        expected, found = (
            neither.execute(
                f"SELECT table_name FROM duckdb_tables() WHERE database_name = '{name}' ORDER BY 1"
            ).fetchall()
            for name in ("old", "new")
        )
        neither.execute("DETACH new")
        if expected != found:
            raise Damaged(f"the copy of {path} lacks tables; the file stays as it is")
        files.sync(beside)
        beside.replace(path)
        files.sync_folder(path.parent)
