"""crypto-pipeline sql and shell: questions in SQL, of what is published."""

import argparse
import csv
import itertools
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from crypto_pipeline import settings
from crypto_pipeline.cli.console import err, out, plain_table, print_json, shown
from crypto_pipeline.warehouse import Connection, Refused, WarehouseError

ABOUT = "Ask in SQL; collections never wait for it, nor it for them."
ABOUT_SHELL = "A prompt for SQL: DuckDB's own where it is installed."

ROWS = 50
"""Rows of a table on a terminal, unless more are wanted."""

PROMPT, MORE = "sql> ", "...> "

TABLES = "SELECT view_name FROM duckdb_views() WHERE NOT internal ORDER BY 1"

HELP = ".tables lists what there is, .quit ends; a statement ends with ;"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sql`."""
    parser.add_argument(
        "query", nargs="?", default="-", help="one query; - or none reads it from standard input"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print a list of objects")
    form.add_argument("--csv", action="store_true", help="print CSV, with a line of names")
    form.add_argument("--parquet", type=Path, metavar="FILE", help="write the rows to this file")
    parser.add_argument(
        "--rows", type=int, metavar="N",
        help=f"at most so many; without it {ROWS} in a table, and all in the other forms",
    )  # fmt: skip
    parser.add_argument(
        "--read-only", action="store_true",
        help="for SQL of somebody you do not trust: one SELECT of the tables, within limits",
    )  # fmt: skip


def run(chosen: argparse.Namespace) -> int:
    """Ask; exit code 2 where the SQL is wrong, or not allowed."""
    query = sys.stdin.read() if chosen.query == "-" else chosen.query
    try:
        if chosen.parquet:
            return _to_parquet(chosen, query)
        columns, rows = _guarded(chosen, query) if chosen.read_only else _asked(query)
        _print(chosen, columns, rows)
    except Refused as problem:
        err.print(f"[red]{shown(str(problem))}", soft_wrap=True)
        return 2
    except BrokenPipeError:  # who reads has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _connection() -> Connection:
    from crypto_pipeline.warehouse import published  # noqa: PLC0415  (other commands need none)

    return published.connect(settings.published())


def _asked(query: str) -> tuple[list[str], Iterator[list[Any]]]:
    from crypto_pipeline.warehouse import answer  # noqa: PLC0415

    return answer.query(_connection(), query)


def _guarded(chosen: argparse.Namespace, query: str) -> tuple[list[str], Iterator[list[Any]]]:
    from crypto_pipeline.warehouse import guarded_sql  # noqa: PLC0415

    rows = {} if chosen.rows is None else {"rows": chosen.rows}
    answer = guarded_sql.ask(settings.published(), query, **rows)
    if answer.truncated:
        err.print("[yellow]there are more rows than these: a limit of --read-only")
    return answer.columns, iter(answer.rows)


def _to_parquet(chosen: argparse.Namespace, query: str) -> int:
    from crypto_pipeline.warehouse import answer  # noqa: PLC0415

    if chosen.read_only:
        raise Refused("--read-only writes no file: take --json or --csv")
    if chosen.rows is not None:
        query = f"FROM ({query.strip().rstrip(';')}\n) LIMIT {chosen.rows}"
    try:
        answer.to_parquet(_connection(), query, chosen.parquet)
    except OSError as problem:
        raise WarehouseError(f"{chosen.parquet}: {problem.strerror or problem}") from None
    return 0


def _print(chosen: argparse.Namespace, columns: list[str], rows: Iterator[list[Any]]) -> None:
    if not (chosen.json or chosen.csv):
        _table(columns, rows, ROWS if chosen.rows is None else chosen.rows)
        return
    rows = itertools.islice(rows, chosen.rows)
    if chosen.json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)


def _table(columns: list[str], rows: Iterable[list[Any]], most: int) -> None:
    """A table of the first rows, and whether there are more."""
    found = list(itertools.islice(iter(rows), most + 1))
    numbers = {
        n for n in range(len(columns))
        if all(isinstance(row[n], int | float | None) for row in found)
    }  # fmt: skip
    table = plain_table()
    for n, name in enumerate(columns):
        table.add_column(shown(name), justify="right" if n in numbers else "left")
    for row in found[:most]:
        table.add_row(*(shown("" if value is None else str(value)) for value in row))
    out.print(table)
    if len(found) > most:
        err.print(f"[yellow]there are more than these {most} rows: --rows N shows more")


def shell(chosen: argparse.Namespace) -> int:
    """A prompt until its end. Raises WarehouseError where nothing is published."""
    connection = _connection()
    folder = settings.published()
    if folder and (duckdb := shutil.which("duckdb")):
        sys.stdout.flush()
        command = [duckdb, "-cmd", "SET TimeZone = 'UTC'", "-init", str(folder / "views.sql")]
        os.execv(duckdb, command)  # noqa: S606  (the user's own, in our place)
    if sys.stdin.isatty():
        import readline  # noqa: F401, PLC0415  (arrows and history for `input`)

        out.print(HELP)
    for statement in _statements():
        if statement == ".tables":
            _answer(connection, TABLES, most=1_000)
        else:
            _answer(connection, statement)
    return 0


def _answer(connection: Connection, statement: str, most: int = ROWS) -> None:
    from crypto_pipeline.warehouse import answer  # noqa: PLC0415

    try:
        columns, rows = answer.query(connection, statement)
        if columns:
            _table(columns, rows, most)
    except Refused as problem:
        err.print(f"[red]{shown(str(problem))}", soft_wrap=True)


def _statements() -> Iterator[str]:
    """What is typed, statement by statement, until .quit or the end of the input."""
    typed = ""
    while True:
        try:
            line = input((MORE if typed else PROMPT) if sys.stdin.isatty() else "")
        except EOFError:
            line = ".quit"
        if line.strip() == ".quit":
            if typed.strip():
                yield typed
            return
        if not typed and line.strip() == ".help":
            out.print(HELP)
            continue
        typed += f"{line}\n"
        if line.strip() == ".tables" or line.rstrip().endswith(";"):
            yield typed.strip()
            typed = ""
