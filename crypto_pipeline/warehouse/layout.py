"""From declarations to the file's tables, views and comments, and from older files to these."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256

import duckdb

from crypto_pipeline.tables import MACROS, TABLES, VIEWS, Row
from crypto_pipeline.warehouse.errors import OF_WHAT_IS_WRITTEN, MigrationFailed, Outdated, TooNew
from crypto_pipeline.warehouse.migrations import FUNCTIONS, MIGRATIONS, VERSION
from crypto_pipeline.warehouse.sql import Connection, first_line, literal, path_of

STORAGE = "v1.4.0"
"""Storage version of new files: DuckDB 1.4 and later can read them, whichever wrote them."""

Layout = Mapping[str, Sequence[str]]
"""The columns of each table and view of a file."""

_OURS = "WHERE database_name = current_database() AND schema_name = 'main'"


def layout(connection: Connection) -> Layout:
    """The columns of each table and view that is in the file."""
    here: dict[str, list[str]] = {}
    found = connection.execute(
        f"SELECT table_name, column_name FROM duckdb_columns() {_OURS} AND NOT internal "
        "ORDER BY table_name, column_index"
    )
    for table, column in found.fetchall():
        here.setdefault(table, []).append(column)
    return here


def version(connection: Connection, here: Layout) -> int:
    """The file's version, 0 for an empty file. Raises TooNew."""
    if "schema_migrations" not in here:
        return 0
    found = connection.execute("SELECT max(version) FROM schema_migrations").fetchone()
    number = int(found[0] or 0) if found else 0
    if number > VERSION:
        raise TooNew(
            f"{path_of(connection)} has layout {number}, this crypto_pipeline knows up to "
            f"{VERSION}: update crypto_pipeline, or point CRYPTO_PIPELINE_DATABASE at another file"
        )
    return number


def require_current(connection: Connection) -> None:
    """Raises Outdated, or TooNew, for a file that has another layout than this code writes."""
    number = version(connection, layout(connection))
    if number != VERSION:
        raise Outdated(f"the file has layout {number}: the next collection brings it to {VERSION}")


def migrate(connection: Connection) -> bool:
    """Bring the file to the declared layout: new tables, new columns, numbered changes; whether
    there was anything to change.

    Raises MigrationFailed when something in the file is in the way.
    """
    here = layout(connection)
    before = version(connection, here)
    file = path_of(connection)
    try:
        return _migrate(connection, before)
    except OF_WHAT_IS_WRITTEN as problem:  # and not the disk or the memory
        raise MigrationFailed(
            f"{file} has layout {before} and cannot be brought to {VERSION}: "
            f"{first_line(str(problem))}. Something of your own is in the way, such as a column, "
            "a macro or an index: rename it or take it out; the next collection tries again"
        ) from None


def _migrate(connection: Connection, before: int) -> bool:
    steps = range(before + 1, VERSION + 1)
    taken = [MIGRATIONS[number] for number in steps] if before else []
    for step in taken:
        for table in step.retyped.keys() | step.loosened.keys():
            values, loosened = step.retyped.get(table, {}), step.loosened.get(table, ())
            _write_anew(connection, table, values, loosened)
    # Before any UPDATE: DuckDB alters no table that was updated.
    incomplete = _add_missing(connection)
    for step in taken:
        for statement in (*step.statements, *step.fills):
            connection.execute(statement)
        for table, values in step.keys.items():
            _fill_key(connection, table, values)
    for number in steps:
        connection.execute(
            "INSERT INTO schema_migrations (version, name, applied_at) VALUES "
            f"({number}, {literal(MIGRATIONS[number].name)}, {literal(datetime.now(UTC))})"
        )
    return _describe(connection, anew=incomplete) or bool(steps)


def _fill_key(connection: Connection, table: str, values: Mapping[str, str]) -> None:
    """Fill columns of a key."""
    _teach(connection)
    for column, value in values.items():
        connection.execute(f'UPDATE {table} SET "{column}" = {value} WHERE "{column}" IS NULL')


def with_keys(connection: Connection, table: str, relation: str) -> str:
    """A relation that an older version staged, with the columns of the key that came since."""
    for step in MIGRATIONS.values():
        if values := step.keys.get(table):
            _teach(connection)
            filled = ", ".join(f'coalesce("{c}", {v}) AS "{c}"' for c, v in values.items())
            relation = f"SELECT * REPLACE ({filled}) FROM ({relation})"
    return relation


def _teach(connection: Connection) -> None:
    """Let SQL call what fills keys. It costs the import of pandas, so only who needs it is told."""
    for name, function in FUNCTIONS.items():
        with suppress(duckdb.InvalidInputException):  # not known yet
            connection.remove_function(name)
        connection.create_function(name, function, ["VARCHAR"], "VARCHAR")


def _add_missing(connection: Connection) -> bool:
    """Add the declared tables and columns that the file does not have; whether there were any, or
    a view is not there."""
    here = layout(connection)
    incomplete = any(view.name not in here for view in VIEWS)
    for model in TABLES.values():
        table = model.table
        if table.name not in here:
            connection.execute(ddl(model))
            incomplete = True
            continue
        for column in table.columns:
            if column.name not in here[table.name]:
                connection.execute(
                    f'ALTER TABLE {table.name} ADD COLUMN "{column.name}" {column.type}'
                )
                incomplete = True
    return incomplete


def _write_anew(
    connection: Connection, table: str, values: Mapping[str, str], loosened: Sequence[str]
) -> None:
    """Write a table anew with other values, and their types, in some columns, and some others that
    may be NULL; its indexes too.

    Not by ALTER COLUMN: DuckDB cannot read that back out of its log when it ends before it has
    brought the change into the file (up to 2.0, when the new value is more than a cast), and
    refuses it on a table that has an index.
    """
    of_table = f"{_OURS} AND table_name = {literal(table)}"
    filled = connection.execute(
        f"SELECT column_name FROM duckdb_columns() {of_table} AND NOT is_nullable"
    ).fetchall()
    indexes = connection.execute(f"SELECT sql FROM duckdb_indexes() {of_table}").fetchall()
    new = ", ".join(f'{value} AS "{column}"' for column, value in values.items())
    replaced = f"REPLACE ({new})" if new else ""
    connection.execute(f"CREATE OR REPLACE TEMP TABLE anew AS SELECT * {replaced} FROM {table}")
    connection.execute(f"DROP TABLE {table}")
    connection.execute(f"CREATE TABLE {table} AS FROM anew")
    connection.execute("DROP TABLE anew")
    for (column,) in filled:
        if column in loosened:
            continue
        connection.execute(f'ALTER TABLE {table} ALTER "{column}" SET NOT NULL')
    for (index,) in indexes:
        connection.execute(index)


def ddl(model: type[Row]) -> str:
    """CREATE TABLE. No PRIMARY KEY or UNIQUE: an index costs four times the bytes and grows."""
    columns = ",\n    ".join(
        f'"{c.name}" {c.type}' + ("" if c.nullable else " NOT NULL") for c in model.table.columns
    )
    return f"CREATE TABLE {model.table.name} (\n    {columns}\n)"


def _describe(connection: Connection, *, anew: bool) -> bool:
    """Bring views, macros and comments to their declarations, unless the file has those already, as
    the newest row of schema_migrations says; anew: whatever that says. Whether it had not."""
    described, declared_views = meanings(), declarations()
    declared = sha256(repr((declared_views, described)).encode()).hexdigest()
    last = "WHERE version = (SELECT max(version) FROM schema_migrations)"
    found = connection.execute(f"SELECT declarations FROM schema_migrations {last}").fetchone()
    if found == (declared,) and not anew:
        return False
    for statement in declared_views:
        connection.execute(statement)
    for target, comment in described:
        connection.execute(f"COMMENT ON {target} IS {literal(comment)}")
    connection.execute(f"UPDATE schema_migrations SET declarations = {literal(declared)} {last}")
    return True


def declarations() -> list[str]:
    """The statements that make the views and macros, over the tables or what stands for them."""
    views = [f"VIEW {view.name} AS {view.sql}" for view in VIEWS]
    views += [f"MACRO {macro.signature} AS TABLE {macro.sql}" for macro in MACROS]
    return [f"CREATE OR REPLACE {view}" for view in views]


def meanings() -> list[tuple[str, str]]:
    """What the declarations say of each table, view, macro and column."""
    said = []
    for model in TABLES.values():
        table = model.table
        said.append((f"TABLE {table.name}", table.description))
        for c in table.columns:
            meaning = f"{c.description} [{c.unit}]" if c.unit else c.description
            said.append((f'COLUMN {table.name}."{c.name}"', meaning))
    for view in VIEWS:
        said.append((f"VIEW {view.name}", view.description))
        said += [(f'COLUMN {view.name}."{c.name}"', c.description) for c in view.columns]
    said += [(f"MACRO TABLE {macro.name}", macro.description) for macro in MACROS]
    return said
