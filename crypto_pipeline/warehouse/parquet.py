"""The folder of what is published: names, and what is read by them.

Owns: how files are called, and which of them count.
Must not know: who writes them, and when.

    views.sql                                    every table, view and macro over these files
    market_prices/day=2026-11-27/12.parquet      for tools that read Parquet themselves
    coins/7.parquet                              a table without a time: one file
    .views/market_prices.1f0c…/day=…/12-part.parquet             rows that came
    .views/market_prices.1f0c…/day=…/13-whole-1764253020500.parquet   all of that day
    .views/coins.88ab…/7-version.parquet                         all of the table

No file is ever changed, and none is written in the place of another: DuckDB, of any version, opens
a file more than once in a query, and fails, or reads nonsense, when it is another one then. What
counts follows from the names alone. Of a table without a time the newest version does. Of a day all
files do, but those that are older than a whole one whose moment has come: it says all that they
say. The moment is half a second after it was written, so that a query that lists the files twice
finds the same ones to count. What does not count any more is removed later than any query lasts;
from the plain folders at once.
"""

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from functools import cache
from hashlib import sha256
from pathlib import Path

from crypto_pipeline.tables import Row, Table
from crypto_pipeline.warehouse.sql import literal, names

HIDDEN = ".views"
NO_DAY = "day=0000-00-00"
"""Where the files without a row are that tell a table's columns before any row came."""

_NAME = re.compile(r"(\d+)-(part|whole|version)(?:-(\d+))?\.(parquet|gone)")


@dataclass(frozen=True, slots=True, order=True)
class File:
    """A file by its name. moment_ms: from when a whole one counts. gone: no row is left."""

    number: int
    kind: str
    moment_ms: int
    gone: bool
    path: Path

    @classmethod
    def of(cls, path: Path) -> "File | None":
        """None for what is none of ours."""
        found = _NAME.fullmatch(path.name)
        if not found:
            return None
        number, kind, moment, suffix = found.groups()
        return cls(int(number), kind, int(moment or 0), suffix == "gone", path)


def files_in(folder: Path) -> list[File]:
    """The files of a day, or of a table without a time, the oldest first. Raises OSError for what
    is no folder, and finds nothing where none is."""
    try:
        found = list(folder.iterdir())
    except FileNotFoundError:
        return []
    return sorted(file for path in found if (file := File.of(path)))


def counting(files: list[File]) -> list[File]:
    """Of the files of a day, those that count, now or soon."""
    newest = max((file.number for file in files if file.kind == "whole"), default=0)
    return [file for file in files if file.number >= newest and not file.gone]


def folder_of(root: Path, model: type[Row]) -> Path:
    """Where the files of a table are: those of other columns are in another folder."""
    return root / HIDDEN / f"{model.table.name}.{_fingerprint(model)}"


@cache
def _fingerprint(model: type[Row]) -> str:
    columns = [(c.name, c.type) for c in model.table.columns]
    return sha256(repr((columns, model.table.time)).encode()).hexdigest()[:12]


def day_folder(folder: Path, day: date) -> Path:
    return folder / f"day={day:%Y-%m-%d}"


def days_under(folder: Path) -> dict[date, Path]:
    """The folders of a table's days."""
    days = {}
    for path in folder.glob("day=*"):
        with suppress(ValueError):  # the one of no day
            days[date.fromisoformat(path.name.removeprefix("day="))] = path
    return days


def is_complete(folder: Path, table: Table) -> bool:
    """Whether all of the table is there, and not the beginning of it."""
    if table.time is None:
        return bool(files_in(folder))
    return (folder / NO_DAY / "0-part.parquet").exists()


def units(table: Table) -> str:
    """The units of the columns, as JSON: what each file says besides the types."""
    return json.dumps({c.name: c.unit for c in table.columns if c.unit}, ensure_ascii=False)


def order(table: Table) -> str:
    """How rows are sorted in a file: those of one coin together, in time."""
    first = ["symbol"] if "symbol" in table.column_names else []
    time = [table.time] if table.time else []
    return names(list(dict.fromkeys((*first, *time, *table.key)))) or "ALL"


def select(root: Path, model: type[Row]) -> str:
    """The SELECT of the table's rows out of its files."""
    table, folder = model.table, folder_of(root, model)
    columns = names(table.column_names)
    if table.time is None:
        newest = f"QUALIFY {_NUMBER} = max({_NUMBER}) OVER ()"
        return f"SELECT {columns} FROM {_read(folder / '*-version.parquet')} {newest}"
    if table.write != "upsert":
        return f"SELECT {columns} FROM {_counting(folder, '*.parquet')}"
    newest = f"PARTITION BY {names(table.key)} ORDER BY {_NUMBER} DESC"
    return (
        f"SELECT {columns} FROM {_counting(folder, '*-whole-*.parquet')}\n"
        f"UNION ALL\nSELECT {columns} FROM {_counting(folder, '*-part.parquet')}\n"
        f"QUALIFY row_number() OVER ({newest}) = 1"
    )


def _read(pattern: Path) -> str:
    return f"read_parquet({literal(pattern)}, filename = true, hive_partitioning = false)"


def _number(of: str) -> str:
    return f"regexp_extract({of}, '([0-9]+)-[a-z]+[-.][^/\\\\]*$', 1)::BIGINT"


_NUMBER = _number("filename")


def _moment(of: str) -> str:
    return f"coalesce(try_cast(regexp_extract({of}, '-whole-([0-9]+)[.]', 1) AS BIGINT), 0)"


def _counting(folder: Path, pattern: str) -> str:
    """The files of all days that count."""
    come = "<= epoch_ms(now())"
    day = "regexp_extract(file, '(day=[0-9-]+).[^/\\\\]*$', 1)"
    whole = (
        f"SELECT {day} AS day, max({_number('file')}) AS whole "
        f"FROM glob({literal(folder / '*' / '*-whole-*')}) WHERE {_moment('file')} {come} "
        "GROUP BY 1"
    )
    over = (
        f"SELECT file AS filename FROM glob({literal(folder / '*' / pattern)}) "
        f"JOIN ({whole}) ON {day} = day WHERE {_number('file')} < whole"
    )
    return (
        f"(FROM {_read(folder / '*' / pattern)} WHERE {_moment('filename')} {come})\n"
        f"ANTI JOIN ({over}) USING (filename)"
    )
