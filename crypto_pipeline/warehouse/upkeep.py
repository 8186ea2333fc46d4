"""What keeps the file small: old rows out, into an archive if wanted, and the file written anew."""

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import duckdb

from crypto_pipeline.tables import TABLES, Table
from crypto_pipeline.warehouse.errors import Damaged, Locked
from crypto_pipeline.warehouse.layout import STORAGE
from crypto_pipeline.warehouse.sql import Connection, first_line, literal, log_of, transaction

WORTH_BYTES = 64 * 2**20
WORTH_PART = 0.25
"""Compacting rewrites the whole file: worth it for this much free room, and this part of it."""


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
            deleted = connection.execute(
                f'DELETE FROM {name} WHERE "{TABLES[name].table.time}" < {literal(cut)}'
            ).fetchone()
            dropped[name] = int(deleted[0]) if deleted else 0
    return {name: count for name, count in dropped.items() if count}


def _export(connection: Connection, table: Table, cut: datetime, archive: Path) -> None:
    """The rows before `cut`, a file a day, together with what the day's file has already."""
    days = connection.execute(
        f'SELECT DISTINCT "{table.time}"::DATE FROM {table.name} WHERE "{table.time}" < '
        f"{literal(cut)}"
    ).fetchall()
    folder = archive / table.name
    folder.mkdir(parents=True, exist_ok=True)
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
        with beside.open("rb") as written:
            os.fsync(written.fileno())
        beside.replace(target)
    _sync_folder(folder)


def _free_bytes(connection: Connection) -> int:
    found = connection.execute(
        "SELECT block_size * free_blocks FROM pragma_database_size() "
        "WHERE database_name = current_database()"
    ).fetchone()
    return int(found[0]) if found else 0


def worth_compacting(connection: Connection, path: Path, at_least: int) -> bool:
    """Whether the file has that much free room, and the disk enough for a copy."""
    connection.execute("CHECKPOINT")
    size, free = path.stat().st_size, _free_bytes(connection)
    if free < at_least or free < WORTH_PART * size:
        return False
    return shutil.disk_usage(path.parent).free >= 2 * (size - free)


def replace_with_copy(path: Path) -> int:
    """Write the file anew; returns the bytes won.

    The copy is made beside the file, while a read-only connection keeps every writer out; it is
    brought to the disk, compared, and only then takes the file's place in one step. Raises Locked.
    """
    beside = path.with_name(path.name + ".compacting")
    before = path.stat().st_size
    _remove(beside)
    try:
        _copy(path, beside)
    finally:
        _remove(beside)
    return before - path.stat().st_size


def _copy(path: Path, beside: Path) -> None:
    with duckdb.connect() as neither:
        try:
            neither.execute(f"ATTACH {literal(path)} AS old (READ_ONLY)")
        except duckdb.IOException as problem:
            raise Locked(f"{path}: {first_line(str(problem))}") from None
        if log_of(path).exists():
            raise Locked(f"{path}: another program has just written to it")
        neither.execute(f"ATTACH {literal(beside)} AS new (STORAGE_VERSION {literal(STORAGE)})")
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
        with beside.open("rb") as written:
            os.fsync(written.fileno())
        beside.replace(path)
        _sync_folder(path.parent)


def _remove(database: Path) -> None:
    for file in (database, log_of(database)):
        file.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Bring a rename to the disk, where folders can be opened for that."""
    with suppress(OSError, PermissionError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
