"""The rows of collections that are there, brought to what their answers say when read again.

Owns: what of a table is compared with what, which rows stay, and what is written.
Must not know: where the answers come from, how they are read.

Rows are judged as they were: prices are turned into dollars with the quotes of the half hour before
them, and witnessed by what was stored in the day before them, of what was read again where that is
so. Rows that are as they were stay as they are, so a rebuild that changes nothing writes nothing.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from crypto_pipeline.tables import DataCollection, MarketPrice, NewsArticle, RejectedRow, Row, Table
from crypto_pipeline.tables.outcomes import SKIPPED
from crypto_pipeline.warehouse import pegs
from crypto_pipeline.warehouse.changes import Changes, days_in
from crypto_pipeline.warehouse.layout import migrate
from crypto_pipeline.warehouse.load import Owe, fill_stage, make_way
from crypto_pipeline.warehouse.sql import Connection, literal, names, transaction
from crypto_pipeline.warehouse.witness import hear

_ACCOUNT = DataCollection.table.name
_REJECTED = RejectedRow.table.name

_READ = ("sentiment_by", "sentiment_score", "symbols", "story")
"""Columns of news_articles that are read out of what else is in the row."""


@dataclass(frozen=True, slots=True)
class Read:
    """One endpoint's answer in one collection, read again."""

    collection: str
    endpoint: str
    source: str


@dataclass(slots=True)
class Rebuilt:
    """What came of it: rows of the table, and rejects that are none any more, or new.

    unknown: collections that are not in the file. reads: what was compared.
    """

    same: int = 0
    changed: int = 0
    added: int = 0
    removed: int = 0
    rejects_gone: int = 0
    rejects_new: int = 0
    unknown: set[str] = field(default_factory=set)
    reads: set[tuple[str, str]] = field(default_factory=set)

    def add(self, other: "Rebuilt") -> None:
        for name in ("same", "changed", "added", "removed", "rejects_gone", "rejects_new"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.unknown |= other.unknown
        self.reads |= other.reads


class _OnlyTried(Exception):
    """Ends a transaction of which nothing is to be kept."""


def rebuild(
    connection: Connection,
    model: type[Row],
    staged: Mapping[str, str],
    reads: list[Read],
    owe: Owe,
    *,
    dry_run: bool = False,
) -> Rebuilt:
    """Bring a table to the staged rows of these collections, the oldest first, in one transaction.

    Only collections that are in the file count. dry_run: nothing is kept of it.
    """
    changes, done = Changes(), Rebuilt()
    with suppress(_OnlyTried), transaction(connection):
        changes.everything = migrate(connection)
        connection.execute("SET threads = 1")  # many small statements, and rows in their order
        _note_reads(connection, model, reads, done)
        _judge(connection, model, staged)
        connection.execute("RESET threads")
        _compare(connection, model, done)
        _write(connection, model, changes)
        _write_rejects(connection, model, changes, done)
        if dry_run:
            raise _OnlyTried
        owe(changes)
    return done


def _temp(connection: Connection, name: str, select: str) -> None:
    """A temporary table of what is selected."""
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {select}")


def _note_reads(connection: Connection, model: type[Row], reads: list[Read], done: Rebuilt) -> None:
    """What was read again, in the order of the collections; and of which source of a collection
    that is all there was."""
    listed = [
        {"turn": turn, "collection_id": r.collection, "endpoint": r.endpoint, "source": r.source}
        for turn, r in enumerate(reads)
    ]
    shape = '[{"turn":"BIGINT","collection_id":"VARCHAR","endpoint":"VARCHAR","source":"VARCHAR"}]'
    asked = (
        f"feeds = {literal(model.table.name)} AND outcome <> {literal(SKIPPED)} "
        "AND collection_id IN (SELECT collection_id FROM rebuild_listed)"
    )
    _temp(
        connection,
        "rebuild_listed",
        f"SELECT unnest(from_json({literal(json.dumps(listed))}, {literal(shape)}), "
        "recursive := true)",
    )
    _temp(connection, "rebuild_asked", f"SELECT * FROM {_ACCOUNT} WHERE {asked}")
    _temp(
        connection,
        "rebuild_reads",
        "SELECT l.*, a.finished_at FROM rebuild_listed l "
        "JOIN rebuild_asked a USING (collection_id, endpoint)",
    )
    _temp(
        connection,
        "rebuild_whole",
        "SELECT collection_id, source FROM rebuild_reads EXCEPT SELECT collection_id, source "
        "FROM rebuild_asked a ANTI JOIN rebuild_reads USING (collection_id, endpoint) "
        'WHERE a."rows" > 0',
    )
    found = connection.execute("SELECT collection_id, endpoint FROM rebuild_reads").fetchall()
    done.reads = set(found)
    done.unknown = {r.collection for r in reads} - {collection for collection, _ in found}


# What the rows would have been


def _judge(connection: Connection, model: type[Row], staged: Mapping[str, str]) -> None:
    """Every collection's rows as they would be written, in rebuilt; what is refused of them, in
    rebuilt_rejects."""
    table = model.table
    columns = names(table.column_names)
    known = "SELECT DISTINCT collection_id, endpoint FROM rebuild_reads"
    _temp(
        connection,
        "rebuild_rows",
        f"SELECT s.* FROM ({staged[table.name]}) s WHERE (collection_id, _endpoint) IN ({known})",
    )
    _temp(
        connection,
        "rebuilt",
        f"SELECT 0::BIGINT AS _turn, _endpoint, {columns} FROM rebuild_rows LIMIT 0",
    )
    _temp(
        connection,
        "rebuilt_rejects",
        "SELECT s.* EXCLUDE (_endpoint) REPLACE (r.finished_at AS rejected_at) "
        f"FROM ({staged[_REJECTED]}) s JOIN rebuild_reads r USING (collection_id, endpoint)",
    )
    stage = f"stage_{table.name}"
    turns = connection.execute(
        "SELECT collection_id, min(turn) FROM rebuild_reads GROUP BY 1 ORDER BY 2"
    ).fetchall()
    for collection, turn in turns:
        rows = f"FROM rebuild_rows WHERE collection_id = {literal(collection)}"
        fill_stage(connection, stage, table, rows)
        if model is MarketPrice:
            _convert(connection, collection, stage)
        stored = _stored(table, stage, collection)
        hear(connection, model, stage, stored=stored, rejects="rebuilt_rejects")
        connection.execute(f"INSERT INTO rebuilt SELECT {turn}, _endpoint, {columns} FROM {stage}")


def _stored(table: Table, stage: str, collection: str) -> str:
    """The relation of the rows before a collection's: of those that were read again, what that
    gave."""
    columns = names(table.column_names)
    before = f'"{table.time}" < (SELECT min("{table.time}") FROM {stage})'
    return (
        f"(SELECT {columns} FROM {table.name} WHERE {before} "
        f"AND collection_id <> {literal(collection)} "
        "AND (collection_id, source) NOT IN (SELECT collection_id, source FROM rebuild_whole) "
        f"UNION ALL SELECT {columns} FROM rebuilt WHERE {before})"
    )


def _convert(connection: Connection, collection: str, stage: str) -> None:
    """Turn a collection's prices into dollars beside those of it that could not be read again."""
    table = MarketPrice.table
    same = " AND ".join(f's."{k}" IS NOT DISTINCT FROM t."{k}"' for k in table.key)
    connection.execute(
        f"INSERT INTO {stage} SELECT NULL, {names(table.column_names)} FROM {table.name} t "
        f"WHERE collection_id = {literal(collection)} AND (collection_id, source) NOT IN "
        "(SELECT collection_id, source FROM rebuild_whole) "
        f"AND NOT EXISTS (SELECT 1 FROM {stage} s WHERE {same})"
    )
    pegs.convert(connection, _stored(table, stage, collection))
    connection.execute(f"DELETE FROM {stage} WHERE _endpoint IS NULL")


# What is different of them


def _compare(connection: Connection, model: type[Row], done: Rebuilt) -> None:
    """What is to be written, in rebuild_new, and which rows are to go, in rebuild_gone."""
    if model.table.write == "upsert":
        _compare_latest(connection, model)
    else:
        _compare_each(connection, model)
    counts = connection.execute(
        "SELECT count(*) FILTER (what = 'same'), count(*) FILTER (what = 'changed'), "
        "count(*) FILTER (what = 'added') FROM rebuild_compared"
    ).fetchone()
    if counts:
        done.same, done.changed, done.added = counts
    ((done.removed,),) = connection.execute(
        "SELECT count(*) FROM rebuild_gone WHERE removed"
    ).fetchall()
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE rebuild_new AS "
        "SELECT * EXCLUDE (what, place) FROM rebuild_compared WHERE what IN ('changed', 'added')"
    )


def _compare_each(connection: Connection, model: type[Row]) -> None:
    """Of a table that keeps what each collection brought, or a thing as the first one brought it:
    each collection's rows with those that are stored of it."""
    table = model.table
    own = (*table.key, *(() if "collection_id" in table.key else ("collection_id",)))
    match = _on(own)
    there = ""
    if table.write == "insert":  # what another collection brought is there already
        there = (
            f"WHEN EXISTS (SELECT 1 FROM {table.name} o WHERE {_on(table.key, other='o')} "
            "AND o.rowid NOT IN (SELECT place FROM rebuild_gone WHERE removed)) "
            f"OR row_number() OVER (PARTITION BY t.rowid IS NULL, {_of('r', table.key)} "
            "ORDER BY r._turn) > 1 THEN 'there'"
        )
    _find_removed(connection, table, f"SELECT 1 FROM rebuilt r WHERE {match}")
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE rebuild_compared AS "
        f"SELECT r.*, t.rowid AS place, CASE WHEN t.rowid IS NOT NULL AND {_equal(model)} "
        f"THEN 'same' WHEN t.rowid IS NOT NULL THEN 'changed' {there} ELSE 'added' END AS what "
        f"FROM rebuilt r LEFT JOIN (SELECT rowid, * FROM {table.name}) t ON {match}"
    )
    connection.execute(
        "INSERT INTO rebuild_gone SELECT place, false FROM rebuild_compared WHERE what = 'changed'"
    )


def _compare_latest(connection: Connection, model: type[Row]) -> None:
    """Of a table that keeps what was said last: what the collections say in the end, unless a later
    one that was not read again said something else."""
    table = model.table
    at = table.filled_by("observed_at")[0]
    match = _on(table.key)
    _find_removed(connection, table, f"SELECT 1 FROM rebuilt r WHERE {match}")
    meaning = ", ".join(f'"{name}"' for name in _meaning(model))
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE rebuild_compared AS "
        # The last of what was said, as of when it was first said in one go.
        f"WITH said AS (SELECT *, row({meaning}) IS DISTINCT FROM lag(row({meaning})) "
        f"OVER turns AS begins FROM rebuilt WINDOW turns AS "
        f"(PARTITION BY {names(table.key)} ORDER BY _turn)), "
        "latest AS (SELECT * EXCLUDE (begins) FROM said WHERE begins QUALIFY row_number() OVER "
        f"(PARTITION BY {names(table.key)} ORDER BY _turn DESC) = 1) "
        "SELECT r.*, t.rowid AS place, CASE WHEN t.rowid IS NULL THEN 'added' "
        f"WHEN {_equal(model)} THEN 'same' "
        f'WHEN t."{at}" > r."{at}" AND t.collection_id NOT IN '
        "(SELECT collection_id FROM rebuild_reads) THEN 'there' ELSE 'changed' END AS what "
        f"FROM latest r LEFT JOIN (SELECT rowid, * FROM {table.name}) t ON {match}"
    )


def _find_removed(connection: Connection, table: Table, said: str) -> None:
    """Rows of collections whose answers say nothing of them any more."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE rebuild_gone AS SELECT t.rowid AS place, true AS removed "
        f"FROM {table.name} t WHERE (t.collection_id, t.source) IN "
        f"(SELECT collection_id, source FROM rebuild_whole) AND NOT EXISTS ({said})"
    )


def _on(columns: tuple[str, ...], other: str = "t") -> str:
    return " AND ".join(f'r."{c}" IS NOT DISTINCT FROM {other}."{c}"' for c in columns)


def _of(relation: str, columns: tuple[str, ...]) -> str:
    return ", ".join(f'{relation}."{c}"' for c in columns)


def _meaning(model: type[Row]) -> list[str]:
    """The columns in which a row read again may differ from the stored one."""
    table = model.table
    without = {*table.filled_by("written_at")}
    if table.write == "upsert":
        without |= {*table.filled_by("observed_at"), *table.filled_by("collection_id")}
    if model is NewsArticle:
        without |= {*_READ}
    return [name for name in table.column_names if name not in without]


def _equal(model: type[Row]) -> str:
    """Whether a row read again, r, says what the stored one does, t."""
    stored = {name: f't."{name}"' for name in _meaning(model)}
    if model is NewsArticle:  # who said nothing of it has got what its words say
        stored["sentiment"] = "CASE WHEN t.sentiment_by = 'source' THEN t.sentiment END"
    return " AND ".join(f'r."{n}" IS NOT DISTINCT FROM {there}' for n, there in stored.items())


# Writing


def _write(connection: Connection, model: type[Row], changes: Changes) -> None:
    """Take away what goes, and write what is new, as the table says."""
    table = model.table
    stage = f"stage_{table.name}"
    time = table.time or ""
    gone = "rowid IN (SELECT place FROM rebuild_gone)"
    changes.touched(table.name, days_in(connection, table.name, time, gone))
    connection.execute(f"DELETE FROM {table.name} WHERE {gone}")
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {stage} AS SELECT * EXCLUDE (_turn) FROM rebuild_new"
    )
    make_way(connection, model, stage, changes)
    columns = names(table.column_names)
    connection.execute(f"INSERT INTO {table.name} ({columns}) SELECT {columns} FROM {stage}")
    changes.touched(table.name, days_in(connection, stage, time))


def _write_rejects(
    connection: Connection, model: type[Row], changes: Changes, done: Rebuilt
) -> None:
    """Take away the rejects that are none any more, and write new ones."""
    shown = 'regexp_replace(record, \'"first_seen_at":"[^"]*"\', \'\')'  # when it was judged
    said = ("collection_id", "endpoint", "field", "reason", "shown", "number")
    counted = (
        f"row_number() OVER (PARTITION BY collection_id, endpoint, field, reason, {shown} "
        f"ORDER BY rejected_at) AS number, {shown} AS shown"
    )
    _temp(
        connection,
        "rebuild_rejected",
        f"SELECT rowid AS place, *, {counted} FROM {_REJECTED} "
        f"WHERE feeds = {literal(model.table.name)} AND (collection_id, endpoint) IN "
        "(SELECT collection_id, endpoint FROM rebuild_reads)",
    )
    _temp(connection, "rebuild_rejects", f"SELECT *, {counted} FROM rebuilt_rejects")
    _temp(
        connection,
        "rebuild_rejects_gone",
        "SELECT t.place, t.rejected_at FROM rebuild_rejected t "
        f"ANTI JOIN rebuild_rejects r ON {_on(said)}",
    )
    _temp(
        connection,
        "rebuild_rejects_new",
        "SELECT * EXCLUDE (number, shown) FROM rebuild_rejects r "
        f"ANTI JOIN rebuild_rejected t ON {_on(said)}",
    )
    for relation in ("rebuild_rejects_gone", "rebuild_rejects_new"):
        changes.touched(_REJECTED, days_in(connection, relation, "rejected_at"))
    ((done.rejects_gone,),) = connection.execute(
        f"DELETE FROM {_REJECTED} WHERE rowid IN (SELECT place FROM rebuild_rejects_gone)"
    ).fetchall()
    ((done.rejects_new,),) = connection.execute(
        f"INSERT INTO {_REJECTED} BY NAME SELECT * FROM rebuild_rejects_new"
    ).fetchall()
