"""Small pieces of SQL and of what DuckDB says."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

Connection = duckdb.DuckDBPyConnection


def open_duckdb(path: str = ":memory:", **how: Any) -> Connection:
    """A connection. Raises OSError where no more files can be opened: DuckDB 1.5 ends the process
    over that."""
    os.close(os.open(os.devnull, os.O_RDONLY))
    return duckdb.connect(path, **how)


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """All of the block's statements, or none of them."""
    connection.execute("BEGIN TRANSACTION")
    try:
        yield
    except BaseException:
        with suppress(duckdb.Error):  # what went wrong may have ended the transaction already
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def names(columns: Sequence[str]) -> str:
    """A list of column names."""
    return ", ".join(f'"{name}"' for name in columns)


def literal(value: str | Path | datetime) -> str:
    """A value as SQL. Not as a parameter: binding one makes DuckDB import pandas, which costs a
    run a third of a second (measured with DuckDB 1.5)."""
    if isinstance(value, datetime):
        return f"TIMESTAMPTZ '{value.isoformat()}'"
    return "'" + str(value).replace("'", "''") + "'"


def literals(values: Iterable[str]) -> str:
    """Words as the list that IN takes."""
    return f"({', '.join(map(literal, sorted(values)))})"


def copy_to(connection: Connection, rows: str, file: Path, options: str) -> None:
    """Write a table, or a SELECT in brackets, into a file of another format. Raises OSError where
    the disk or its rights are in the way."""
    try:
        connection.execute(f"COPY {rows} TO {literal(file)} ({options})")
    except duckdb.IOException as problem:
        raise OSError(first_line(str(problem))) from problem


def path_of(connection: Connection) -> str:
    """The file of a connection."""
    path = "SELECT path FROM duckdb_databases() WHERE database_name = current_database()"
    return str(connection.execute(path).fetchall()[0][0])


def log_of(database: Path) -> Path:
    """DuckDB's log beside a file: what is committed and not yet in it."""
    return database.with_name(database.name + ".wal")


def first_line(words: str) -> str:
    return words.strip().splitlines()[0][:300] if words.strip() else words


def to_digits(value: str, digits: int) -> str:
    """A number, not negative, with so many digits that tell: those behind them cost bytes."""
    return (
        f"CASE WHEN {value} > 0 THEN round({value}, {digits - 1} - floor(log10({value}))::INTEGER) "
        f"ELSE {value} END"
    )
