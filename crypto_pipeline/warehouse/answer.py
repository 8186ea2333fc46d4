"""The answer to a query: rows, as JSON has them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import duckdb

from crypto_pipeline import files
from crypto_pipeline.warehouse.errors import Refused
from crypto_pipeline.warehouse.sql import Connection, copy_to, first_line

AT_ONCE = 1_000
"""Rows that are in memory together while an answer is read."""


@dataclass(frozen=True, slots=True)
class Answer:
    """columns: names. types: DuckDB's, of each. rows: values as JSON has them; times as ISO text,
    decimals as text. truncated: whether there are more rows than were let through."""

    columns: list[str]
    types: list[str]
    rows: list[list[Any]]
    truncated: bool


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    return value.isoformat() if isinstance(value, date | datetime | time) else str(value)


def query(
    connection: Connection, sql: str, values: Sequence[object] = ()
) -> tuple[list[str], Iterator[list[Any]]]:
    """The columns of a query of somebody who is trusted, and its rows as they are read. values:
    for each ? in it.

    Raises Refused, with what is wrong in the first line, for SQL that cannot be carried out.
    """
    try:
        result = connection.execute(sql, values) if values else connection.execute(sql)
    except duckdb.Error as problem:
        raise wrong(problem) from None
    return [str(name) for name, *_ in result.description or ()], _rows(result)


def _rows(result: Connection) -> Iterator[list[Any]]:
    try:
        while found := result.fetchmany(AT_ONCE):
            for row in found:
                yield [plain(value) for value in row]
    except duckdb.Error as problem:
        raise wrong(problem) from None


def to_parquet(connection: Connection, sql: str, file: Path) -> None:
    """Write the rows of a query into a Parquet file, in one step. Raises Refused or OSError."""
    beside = file.with_name(f"{files.unfinished_name(f'{file.name}.')}.unfinished")
    try:
        copy_to(connection, f"({sql.strip().rstrip(';')}\n)", beside, "FORMAT parquet")
        beside.replace(file)
    except duckdb.Error as problem:
        raise wrong(problem) from None
    finally:
        beside.unlink(missing_ok=True)


def wrong(problem: duckdb.Error) -> Refused:
    """What is wrong with a query, in a line; DuckDB's hint is in it."""
    lines = [line.strip() for line in str(problem).splitlines()]
    hints = [line for line in lines[1:] if line.startswith(("Did you mean", "Candidate"))]
    return Refused(" ".join([first_line(str(problem)), *hints[:1]]))
