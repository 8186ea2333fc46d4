"""What is published, as readers have it: connect, read, and the SQL of the views.

Owns: views.sql, and connections that lock nothing and that nobody's lock keeps out.
Must not know: how anything is published.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from crypto_pipeline.tables import TABLES, VIEWS
from crypto_pipeline.warehouse import parquet
from crypto_pipeline.warehouse.errors import WarehouseError
from crypto_pipeline.warehouse.layout import declarations, meanings
from crypto_pipeline.warehouse.sql import Connection, literal, open_duckdb

if TYPE_CHECKING:
    import pandas as pd

Moment = str | date | datetime
"""A moment as people write it; without a zone it is UTC's."""


def script(root: Path) -> str:
    """The SQL that makes every table, view and macro over the Parquet in the folder."""
    return "\n".join(
        (
            "-- Every table, view and macro of crypto_pipeline over the Parquet beside this file.",
            "-- In DuckDB: .read FILE, or execute its text. New rows are there at the next query.",
            *(f"{statement};" for statement in (*_tables(root), *declarations(), *_comments())),
            "",
        )
    )


def _tables(root: Path) -> list[str]:
    return [
        f"CREATE OR REPLACE VIEW {model.table.name} AS {parquet.select(root, model)}"
        for model in TABLES.values()
    ]


def _comments() -> list[str]:
    """The meanings of all: what is a table in the file is a view here."""
    views = {f"TABLE {name}": f"VIEW {name}" for name in TABLES}
    return [
        f"COMMENT ON {views.get(target, target)} IS {literal(comment)}"
        for target, comment in meanings()
    ]


def connect(root: Path | None) -> Connection:
    """A connection in memory with every table, view and macro over the published Parquet: it locks
    nothing, and sees at each query what is there then. The time zone is UTC's.

    root: None where nothing is to be published. Raises WarehouseError where nothing is.
    """
    root = require(root)
    connection = open_duckdb()
    connection.execute("SET TimeZone = 'UTC'")
    for statement in (*_tables(root), *declarations()):
        connection.execute(statement)
    return connection


def require(root: Path | None) -> Path:
    """The folder of what is published. Raises WarehouseError where nothing is."""
    if root is None:
        raise WarehouseError("CRYPTO_PIPELINE_PARQUET=off: nothing is published for readers")
    root = root.absolute()
    if not (root / "views.sql").exists():
        raise WarehouseError(
            f"nothing is published in {root} yet: run a collection first "
            "(crypto-pipeline collect), or say where with CRYPTO_PIPELINE_PARQUET"
        )
    return root


def read(
    connection: Connection,
    table: str,
    *,
    since: Moment | None = None,
    until: Moment | None = None,
    symbols: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
) -> "pd.DataFrame":
    """The rows of a table or view as a pandas DataFrame, in time.

    since, until: from when on, and before when, by the table's own time. symbols: of these coins
    alone. columns: these alone. Raises ValueError for what the table does not have.
    """
    known = {view.name for view in VIEWS} | TABLES.keys()
    _must_be(table, known, "table")
    here = [str(row[0]) for row in connection.execute(f"DESCRIBE {table}").fetchall()]
    for column in columns or ():
        _must_be(column, here, f"column of {table}")
    time = TABLES[table].table.time if table in TABLES else "timestamp"
    where, values = [], list[object]()
    for bound, sign in ((since, ">="), (until, "<")):
        if bound is not None:
            if time not in here:
                raise ValueError(f"{table} has no time: since and until mean nothing there")
            where.append(f'"{time}" {sign} ?')
            values.append(_moment(bound))
    if symbols is not None:
        if "symbol" not in here:
            raise ValueError(f"{table} has no column symbol: symbols mean nothing there")
        where.append("list_contains(?, symbol)")
        values.append([s.upper() for s in ([symbols] if isinstance(symbols, str) else symbols)])
    chosen = ", ".join(f'"{c}"' for c in columns or here)
    query = f"SELECT {chosen} FROM {table}"
    if where:
        query += f" WHERE {' AND '.join(where)}"
    if time in here:
        query += f' ORDER BY "{time}"'
    return connection.execute(query, values).df()


def _must_be(name: str, known: Sequence[str] | set[str], what: str) -> None:
    if name not in known:
        near = get_close_matches(name, list(known), 1, cutoff=0)
        raise ValueError(f"{name!r} is no {what}; the nearest is {near[0]}")


def _moment(moment: Moment) -> datetime:
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)  # noqa: DTZ001
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
