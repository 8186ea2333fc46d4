"""Rows into tables: one transaction a collection, and an account of what was new."""

import itertools
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pydantic_core import to_json

from crypto_pipeline import clock
from crypto_pipeline.groups import GROUPS
from crypto_pipeline.tables import (
    DATA,
    PAST_OF,
    TABLES,
    AgreedBar,
    AgreedPrice,
    AgreedRange,
    CachedMarketData,
    Coin,
    DataCollection,
    FiatQuote,
    FiatRate,
    MarketPrice,
    NewsArticle,
    RateLimitUsage,
    RejectedRow,
    Row,
    StablecoinPeg,
    Table,
    WorkerRun,
)
from crypto_pipeline.tables.spec import FIRST_SEEN, Column, Fill
from crypto_pipeline.warehouse import agreed_past, fiat_view, pegs
from crypto_pipeline.warehouse.agreed_view import IDENTIFY, STATEMENTS
from crypto_pipeline.warehouse.changes import Changes
from crypto_pipeline.warehouse.errors import WarehouseError
from crypto_pipeline.warehouse.layout import migrate, with_keys
from crypto_pipeline.warehouse.migrations import MIGRATIONS
from crypto_pipeline.warehouse.queries import brought
from crypto_pipeline.warehouse.sql import Connection, literal, names, transaction
from crypto_pipeline.warehouse.witness import hear


@dataclass(slots=True)
class Batch:
    """Everything one collection writes: rows by table, and by the endpoint they came from."""

    collection_id: str
    collected_at: datetime
    agree: bool = False
    rows: dict[type[Row], dict[str, list[Row]]] = field(default_factory=dict)

    def add(self, endpoint: str, rows: Sequence[Row]) -> None:
        for model, alike in itertools.groupby(rows, type):
            self.rows.setdefault(model, {}).setdefault(endpoint, []).extend(alike)


@dataclass(slots=True)
class Receipt:
    """What became of a batch: rows that were new, by table and endpoint, or that it waits.

    violations: tables whose rows break their declaration, with the columns and how many.
    refused: rows that the last stored values speak against, by table and endpoint; unusual: tables
    whose values changed much, with some of them.
    totals: rows each table holds now. committed_at: None while the batch waits in the spool.
    problem: why the batch waits, or else what is wrong with another one that does. unpublished: why
    what is in the file is not in the Parquet beside it.
    """

    stored: dict[str, dict[str, int]] = field(default_factory=dict)
    violations: dict[str, str] = field(default_factory=dict)
    refused: dict[str, dict[str, int]] = field(default_factory=dict)
    unusual: dict[str, str] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)
    committed_at: datetime | None = None
    spooled: bool = False
    problem: WarehouseError | None = None
    repeated: bool = False
    drained: int = 0
    unpublished: WarehouseError | None = None

    @property
    def failed(self) -> str | None:
        """Why the batch waits when that does not pass by itself: somebody has to see to it."""
        return (
            str(self.problem) if self.spooled and self.problem and not self.problem.passes else None
        )

    def of(self, table: str) -> int:
        return sum(self.stored.get(table, {}).values())


def stage(batch: Batch, folder: Path) -> dict[str, str]:
    """Write rows as JSON, a line per endpoint, and give the SELECT that reads each table's.

    Measured for 25,000 prices: 0.10 s through JSON, 0.04 s through numpy (which cannot tell a
    missing integer), 0.33 s as lists of parameters, 8 s with executemany.
    """
    staged = {}
    for model, by_endpoint in batch.rows.items():
        table = model.table
        file = folder / f"{table.name}.json"
        longest = 0
        with file.open("wb") as out:
            for endpoint, rows in by_endpoint.items():
                line = b'{"_endpoint":%b,"rows":%b}\n' % (
                    json.dumps(endpoint).encode(),
                    to_json(rows),
                )
                longest = max(longest, len(line))
                out.write(line)
        struct = ", ".join(f'"{c.name}" {c.type}' for c in table.columns)
        fields = ", ".join(f'row."{c.name}" AS "{c.name}"' for c in table.columns)
        size = max(16_777_216, 2 * longest)
        staged[table.name] = (
            f"SELECT _endpoint, {fields} FROM (SELECT _endpoint, unnest(rows) AS row "
            f"FROM read_json({literal(file)}, format = 'newline_delimited', "
            f"maximum_object_size = {size}, "
            f"columns = {{_endpoint: 'VARCHAR', rows: {literal(f'STRUCT({struct})[]')}}}))"
        )
    return staged


Owe = Callable[[Changes], None]
"""What is told of the changes of a transaction before it is committed."""


def _owe_nobody(changes: Changes) -> None:
    """Nothing is published."""


def load(
    connection: Connection,
    collection_id: str,
    staged: Mapping[str, str],
    agree_at: datetime | None = None,
    *,
    from_spool: bool = False,
    owe: Owe = _owe_nobody,
) -> Receipt:
    """Write staged relations in one transaction, unless the collection is there already.

    from_spool: an older version may have staged them.
    """
    receipt, changes = Receipt(), Changes()
    connection.execute("SET threads = 1")  # a hundred small statements: more threads cost a sixth
    with transaction(connection):
        changes.everything = migrate(connection)
        if _has(connection, collection_id):
            receipt.repeated = True
            return receipt
        if from_spool:
            staged = {name: with_keys(connection, name, how) for name, how in staged.items()}
        _write_collection(connection, staged, receipt, changes, agree_at)
        for step in MIGRATIONS.values() if from_spool else ():
            for fill in step.fills:
                connection.execute(f"{fill} AND collection_id = {literal(collection_id)}")
        owe(changes)
    receipt.committed_at = datetime.now(UTC)
    sizes = connection.execute(
        "SELECT table_name, estimated_size FROM duckdb_tables() "
        "WHERE database_name = current_database()"
    )
    receipt.totals = dict(sizes.fetchall())
    return receipt


def _write_collection(
    connection: Connection,
    staged: Mapping[str, str],
    receipt: Receipt,
    changes: Changes,
    agree_at: datetime | None,
) -> None:
    """The account comes after the rows, since it tells how many were new; then what is computed
    from the prices, and from the quotes in other currencies."""
    account = DataCollection.table.name
    for name, relation in staged.items():
        if name != account:
            whole = _added_up(relation) if name == RateLimitUsage.table.name else relation
            receipt.stored[name] = _write_table(connection, TABLES[name], whole, receipt, changes)
            if TABLES[name] in DATA and (broken := _violations(connection, TABLES[name])):
                receipt.violations[name] = broken
    if account in staged:
        relation = _with_stored(staged[account], receipt)
        receipt.stored[account] = _write_table(
            connection, DataCollection, relation, receipt, changes
        )
    if MarketPrice.table.name in staged:
        for model, relation in ((Coin, IDENTIFY), (StablecoinPeg, pegs.MEASURED)):
            receipt.stored[model.table.name] = _write_table(
                connection, model, relation, receipt, changes
            )
        agree_at = agree_at or datetime.now(UTC)
    if agree_at:
        latest = literal(datetime.now(UTC) + clock.AHEAD)
        newest = connection.execute(
            f"SELECT max(timestamp) FROM market_prices WHERE timestamp <= {latest}"
        ).fetchone()
        _agree(connection, newest[0] if newest and newest[0] else agree_at, receipt, changes)
    if FiatQuote.table.name in staged:
        _rate(connection, receipt, changes)


def load_rows(connection: Connection, staged: Mapping[str, str], owe: Owe = _owe_nobody) -> None:
    """Write rows of management tables in one transaction; runs are completed with what their
    collections left."""
    changes = Changes()
    with transaction(connection):
        changes.everything = migrate(connection)
        for name, relation in staged.items():
            whole = _with_records(relation) if name == WorkerRun.table.name else relation
            _write_table(connection, TABLES[name], whole, Receipt(), changes)
        owe(changes)


def _with_records(relation: str) -> str:
    """Runs with the endpoints they asked and the rows they brought, from data_collections."""
    counts = ("endpoints_asked", "endpoints_answered", *(f"{g.name}_records" for g in GROUPS))
    replaced = ", ".join(f"coalesce(brought.{name}, 0) AS {name}" for name in counts)
    return (
        f"SELECT run.* REPLACE ({replaced}, "
        "coalesce(brought.collection_type, run.collection_type) AS collection_type) "
        f"FROM ({relation}) run "
        f"LEFT JOIN ({brought(f'collection_id IN (SELECT run_id FROM ({relation}))')}) brought "
        "ON brought.collection_id = run.run_id"
    )


def _violations(connection: Connection, model: type[Row]) -> str | None:
    """Columns of the rows just written that lie outside their declared bounds."""
    bounded = [(c.name, op, bound) for c in model.table.columns for op, bound in c.bounds]
    if not bounded:
        return None
    counts = ", ".join(f'count(*) FILTER (NOT "{c}" {op} {bound!r})' for c, op, bound in bounded)
    found = connection.execute(f"SELECT {counts} FROM stage_{model.table.name}").fetchone() or ()
    broken = [
        f"{c} {op} {b:g}: {n} rows" for (c, op, b), n in zip(bounded, found, strict=True) if n
    ]
    return "; ".join(broken) or None


def _has(connection: Connection, collection_id: str) -> bool:
    found = connection.execute(
        f"SELECT 1 FROM data_collections WHERE collection_id = {literal(collection_id)} LIMIT 1"
    )
    return found.fetchone() is not None


def _with_stored(relation: str, receipt: Receipt) -> str:
    """The account of the endpoints with what is known only now: the rows that were new, and those
    that were refused here."""
    stored, refused = (
        f"coalesce(MAP {{{_pairs(counts)}}}[endpoint], 0)"
        for counts in (receipt.stored, receipt.refused)
    )
    return (
        f'SELECT account.* REPLACE ({stored} AS stored, "rows" - {refused} AS "rows", '
        f"rejects + {refused} AS rejects) FROM ({relation}) account"
    )


def _pairs(counts: Mapping[str, Mapping[str, int]]) -> str:
    """Counts by endpoint, over all tables, as the inside of a MAP."""
    total: Counter[str] = Counter()
    for by_endpoint in counts.values():
        total.update(by_endpoint)
    return ", ".join(f"{literal(endpoint)}: {count}" for endpoint, count in total.items())


def _added_up(relation: str) -> str:
    """The usage of the windows after what the collection used of them is added.

    The adding happens here and not before: two collections of different groups, or one out of the
    spool, must not overwrite what the other used.
    """
    return (
        "SELECT more.* REPLACE (more.calls + coalesce(t.calls, 0) AS calls, "
        "more.bytes_received + coalesce(t.bytes_received, 0) AS bytes_received) "
        f"FROM ({relation}) more LEFT JOIN rate_limit_usage t "
        "USING (source, period, window_start)"
    )


def _agree(connection: Connection, at: datetime, receipt: Receipt, changes: Changes) -> None:
    """Make the agreed view anew, and write its past on; the view's last statement tells how many
    coins it has."""
    connection.execute("RESET threads")  # these statements are not small
    for statement in STATEMENTS:
        written = connection.execute(statement.replace("$now", literal(at))).fetchall()
    receipt.stored[CachedMarketData.table.name] = {"": written[0][0]}
    changes.wholes |= {CachedMarketData.table.name, AgreedRange.table.name}
    for model, relation in ((AgreedPrice, agreed_past.PRICES), (AgreedBar, agreed_past.BARS_SINCE)):
        rows = relation.replace("$now", literal(at))
        receipt.stored[model.table.name] = _write_table(connection, model, rows, receipt, changes)


def _rate(connection: Connection, receipt: Receipt, changes: Changes) -> None:
    """Add the rates that follow from the quotes just written, as of their own time: a collection
    out of the spool says what a dollar cost then."""
    newest = connection.execute(
        f"SELECT max(timestamp), any_value(collection_id) FROM stage_{FiatQuote.table.name}"
    ).fetchone()
    if not newest or newest[0] is None:  # all of them were refused
        return
    at, collection = map(literal, newest)
    connection.execute(fiat_view.VOICES.replace("$now", at))
    rates = fiat_view.RATES.replace("$collection", collection)
    receipt.stored[FiatRate.table.name] = _write_table(
        connection, FiatRate, rates, receipt, changes
    )


def _write_table(
    connection: Connection,
    model: type[Row],
    relation: str,
    receipt: Receipt,
    changes: Changes,
) -> dict[str, int]:
    """Write one staged relation as its table says; returns new rows by endpoint."""
    table = model.table
    stage, columns = f"stage_{table.name}", names(table.column_names)
    fill_stage(connection, stage, table, relation)
    if model is MarketPrice:
        pegs.convert(connection)
    heard = hear(connection, model, stage)
    if heard.refused:
        receipt.refused[table.name] = dict(heard.refused)
        changes.touched(RejectedRow.table.name, heard.refused_on)
    if heard.unusual:
        receipt.unusual[table.name] = heard.unusual
    if not make_way(connection, model, stage, changes):
        return {}
    ((count,),) = connection.execute(
        f"INSERT INTO {table.name} ({columns}) SELECT {columns} FROM {stage}"
    ).fetchall()
    if count or table.write == "replace":
        changes.added(connection, model, stage)
    if model not in DATA:
        return {}
    counted = connection.execute(f"SELECT _endpoint, count(*) FROM {stage} GROUP BY 1")
    return dict(counted.fetchall())


def make_way(connection: Connection, model: type[Row], stage: str, changes: Changes) -> bool:
    """Take away the staged rows that are there already, and the stored ones that others replace, as
    the table says; whether anything is left to be written."""
    table, columns = model.table, names(model.table.column_names)
    if table.write == "insert":
        connection.execute(
            f"DELETE FROM {stage} s WHERE EXISTS "
            f"(SELECT 1 FROM {table.name} t WHERE {_same(table, stage)})"
        )
        if model is NewsArticle:
            _read_articles(connection, stage)
    elif table.write == "upsert":
        _clear_for_upsert(connection, stage, table, changes)
    elif table.write == "replace":
        if _equal(connection, *(f"SELECT {columns} FROM {n}" for n in (stage, table.name))):
            return False
        connection.execute(f"DELETE FROM {table.name}")
    return True


def _read_articles(connection: Connection, stage: str) -> None:
    from crypto_pipeline.warehouse import articles  # noqa: PLC0415  (only with news it is paid for)

    articles.read_articles(connection, stage)


def fill_stage(connection: Connection, stage: str, table: Table, relation: str) -> None:
    """A temporary table of the relation's rows, rounded, one for each key."""
    rounded = ", ".join(f'{_value(c)} AS "{c.name}"' for c in table.columns)
    once = f"DISTINCT ON ({names(table.key)}) " if table.key else ""
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {stage} AS SELECT {once}_endpoint, {rounded} "
        f"FROM ({relation})"
    )


def _value(column: Column) -> str:
    """What is written into a column: its value with the decimals that are kept; too small for them
    is NULL where zero is no value of it, and whole where NULL is none either."""
    if column.fill == "written_at":
        return literal(datetime.now(UTC))
    if column.decimals is None:
        return f'"{column.name}"'
    rounded = f'round("{column.name}", {column.decimals})'
    if (">", 0.0) not in column.bounds:
        return rounded
    whole = "NULL" if column.nullable else f'"{column.name}"'
    return f"coalesce(nullif({rounded}, 0), {whole})"


def _same(table: Table, stage: str) -> str:
    """Whether a staged row s and a stored row t have one key, looked for within the window."""
    same = [f's."{k}" IS NOT DISTINCT FROM t."{k}"' for k in table.key]
    if table.window:
        same.append(
            f't."{table.time}" >= (SELECT min("{table.time}") FROM {stage}) '
            f"- to_seconds({table.window.total_seconds():.0f})"
        )
    return " AND ".join(same)


def _clear_for_upsert(connection: Connection, stage: str, table: Table, changes: Changes) -> None:
    """Take away the staged rows that say nothing new, and the stored ones that the rest replace:
    into the past of their table, where it has one."""
    same = _same(table, stage)
    engines: tuple[Fill, ...] = ("observed_at", "collection_id", "written_at")
    unmeaning = (*table.key, *(name for fill in engines for name in table.filled_by(fill)))
    equal = "".join(
        f' AND s."{name}" IS NOT DISTINCT FROM t."{name}"'
        for name in table.column_names
        if name not in unmeaning
    )
    connection.execute(
        f"DELETE FROM {stage} s WHERE EXISTS (SELECT 1 FROM {table.name} t WHERE {same}{equal})"
    )
    replaced = f"EXISTS (SELECT 1 FROM {stage} s WHERE {same})"
    if past := PAST_OF.get(table.name):
        # Replaced at the moment from which the new row is known: else both are, or neither.
        at = f"(SELECT max({FIRST_SEEN.name}) FROM {stage})"
        moved = connection.execute(
            f"INSERT INTO {past.table.name} BY NAME "
            f"SELECT {names(table.column_names)}, {at} AS {past.table.time} "
            f"FROM {table.name} t WHERE {replaced} RETURNING {past.table.time}"
        ).fetchall()
        changes.touched(past.table.name, {at.date() for (at,) in moved})
    gone = f"DELETE FROM {table.name} t WHERE {replaced}"
    if table.time and table.time not in table.key:  # the new row may be of another day
        days = connection.execute(f'{gone} RETURNING "{table.time}"').fetchall()
        changes.touched(table.name, {at.date() for (at,) in days})
    else:
        connection.execute(gone)


def _equal(connection: Connection, rows: str, others: str) -> bool:
    """Whether two relations have the same rows."""
    found = connection.execute(
        f"SELECT 1 FROM (({rows} EXCEPT {others}) UNION ALL ({others} EXCEPT {rows})) LIMIT 1"
    )
    return found.fetchone() is None
