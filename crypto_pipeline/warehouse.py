"""The DuckDB file: the only module that knows duckdb.

Owns: opening it (late, briefly, never two writers), its layout and migrations, one transaction
per collection, the spool of collections that could not be written, and what is remembered between
collections.
Must not know: sources, HTTP, Dagster.
"""

import json
import os
import random
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
from filelock import FileLock, Timeout
from pydantic_core import to_json

from crypto_pipeline.agreement import IDENTIFY, STATEMENTS
from crypto_pipeline.tables import (
    DATA,
    GROUPS,
    TABLES,
    VIEWS,
    CachedMarketData,
    Coin,
    ConnectionAttempt,
    DataCollection,
    MarketPrice,
    RateLimitUsage,
    RotationState,
    Row,
    SourceHealth,
    Table,
    WorkerRun,
)

if TYPE_CHECKING:
    import pandas as pd

VERSION = 1
"""The layout this code writes. Raise it with a step in MIGRATIONS for every change that adding
tables and columns does not cover (those follow from the declarations by themselves)."""

MIGRATIONS: Mapping[int, tuple[str, Sequence[str]]] = {1: ("the first layout", ())}
"""What each version changed: its name and the SQL that takes a file there from the one before."""

STORAGE = "v1.4.0"
"""Storage version of new files: DuckDB 1.4 and later can read them, whichever wrote them."""

LOCK_WAIT_S = 15.0
"""How long a writer waits for the file before its collection goes to the spool."""

MEMORY_WAIT_S = 1.0
"""How long a reader waits for what is remembered: the note beside the file says it as well."""

WORTH_BYTES = 64 * 2**20
WORTH_PART = 0.25
"""Compacting rewrites the whole file: worth it for this much free room, and this part of it."""

_LOCKED = ("could not set lock", "conflicting lock", "being used by another process")


class WarehouseError(RuntimeError):
    """The database cannot be used; the message says what to do."""


class Locked(WarehouseError):
    """Another program holds the file."""


class TooNew(WarehouseError):
    """The file was written by a newer crypto_pipeline."""


class Damaged(WarehouseError):
    """DuckDB cannot read the file."""


Usage = tuple[str, str, datetime]
"""Source, period (day or month) and when that began."""


@dataclass(slots=True)
class Memory:
    """What one collection tells the next.

    health by endpoint; ranks by ticker; rotation (who answers) by pool; usage (requests made in
    the newest day and month) by source, period and beginning.
    """

    health: dict[str, SourceHealth] = field(default_factory=dict)
    ranks: dict[str, int] = field(default_factory=dict)
    rotation: dict[str, RotationState] = field(default_factory=dict)
    usage: dict[Usage, RateLimitUsage] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Remembered:
    """A table of which rows are remembered, under its key.

    newer: the column by which, of two rows of one key, the later is known; only: which rows.
    """

    model: type[Row]
    newer: str
    only: str = ""

    def key(self, row: Row) -> Any:
        values = tuple(getattr(row, name) for name in self.model.table.key)
        return values if len(values) > 1 else values[0]


_REMEMBERED = {
    "health": _Remembered(SourceHealth, "asked_at"),
    "rotation": _Remembered(RotationState, "asked_at"),
    "usage": _Remembered(
        RateLimitUsage,
        "calls",
        "QUALIFY window_start = max(window_start) OVER (PARTITION BY period)",
    ),
}
"""The parts of a Memory that are rows of a table."""


@dataclass(slots=True)
class Batch:
    """Everything one collection writes: rows by table, and by the endpoint they came from."""

    collection_id: str
    collected_at: datetime
    agree: bool = False
    rows: dict[type[Row], dict[str, list[Row]]] = field(default_factory=dict)

    def add(self, endpoint: str, rows: Sequence[Row]) -> None:
        for row in rows:
            self.rows.setdefault(type(row), {}).setdefault(endpoint, []).append(row)


@dataclass(slots=True)
class Receipt:
    """What became of a batch: rows that were new, by table and endpoint, or that it waits.

    violations: tables whose rows break their declaration, with the columns and how many.
    totals: rows each table holds now.
    """

    stored: dict[str, dict[str, int]] = field(default_factory=dict)
    violations: dict[str, str] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)
    spooled: bool = False
    repeated: bool = False
    drained: int = 0

    def of(self, table: str) -> int:
        return sum(self.stored.get(table, {}).values())


class Warehouse:
    """The DuckDB file at `path`, and the spool and the locks beside it."""

    def __init__(self, path: Path, lock_wait_s: float = LOCK_WAIT_S) -> None:
        self.path = Path(path).absolute()
        self.spool = self.path.with_name(self.path.name + ".spool")
        self.lock_wait_s = lock_wait_s

    # Opening

    @contextmanager
    def connect(
        self, *, read_only: bool = False, wait_s: float | None = None
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection, closed in any case; waits for the file with jitter.

        Raises Locked when another program keeps the file, Damaged when DuckDB cannot read it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = self._open(read_only, self.lock_wait_s if wait_s is None else wait_s)
        try:
            connection.execute("SET TimeZone = 'UTC'")
            yield connection
        finally:
            connection.close()

    def _open(self, read_only: bool, wait_s: float) -> duckdb.DuckDBPyConnection:
        until = time.monotonic() + wait_s
        while True:
            try:
                return duckdb.connect(
                    str(self.path),
                    read_only=read_only,
                    config={"storage_compatibility_version": STORAGE},
                )
            except duckdb.IOException as problem:
                words = str(problem)
                if not any(sign in words.lower() for sign in _LOCKED):
                    raise self._unusable(words) from None
                if time.monotonic() >= until:
                    raise Locked(
                        f"{self.path} is held by another program: {_first_line(words)}. "
                        "Close it there, or read a copy of the file"
                    ) from None
                time.sleep(random.uniform(0.05, 0.3))
            except duckdb.Error as problem:
                raise self._unusable(str(problem)) from None

    def _unusable(self, words: str) -> WarehouseError:
        return Damaged(
            f"{self.path} cannot be opened: {_first_line(words)}. If the file is damaged, move it "
            "and its .wal aside: the next collection makes a new one and adds what waits in the "
            "spool beside it"
        )

    @contextmanager
    def turn(self, name: str, wait_s: float) -> Iterator[bool]:
        """Hold the lock `name` among crypto_pipeline's own processes; False when it stays taken."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path.with_name(f"{self.path.name}.{name}.lock"))
        try:
            lock.acquire(timeout=wait_s, poll_interval=0.05)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    # Who is at work

    def _sign(self, run_id: str) -> Path:
        return self.path.with_name(f"{self.path.name}.{run_id}.run")

    @contextmanager
    def at_work(self, run_id: str) -> Iterator[None]:
        """Show that a run lives: a lock that the system takes from a process however it ends."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        sign = self._sign(run_id)
        lock = FileLock(sign)
        lock.acquire()
        try:
            yield
        finally:
            sign.unlink(missing_ok=True)
            lock.release()

    def died(self, run_id: str) -> bool:
        """Whether a run was at work and its process is gone; says so once."""
        sign = self._sign(run_id)
        try:
            left = sign.stat()
        except FileNotFoundError:
            return False
        lock = FileLock(sign)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        # The owner takes its sign away when it is done: then the one locked here is a new one.
        gone = sign.stat().st_ino == left.st_ino
        sign.unlink(missing_ok=True)
        lock.release()
        return gone

    # Reading

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of a query, read only. Raises WarehouseError when there is no file yet."""
        self._must_exist()
        with self.connect(read_only=True) as connection:
            return connection.execute(sql, list(parameters)).fetchall()

    def frame(self, sql: str, parameters: Sequence[Any] = ()) -> "pd.DataFrame":
        """A query's answer as a pandas DataFrame, read only."""
        self._must_exist()
        with self.connect(read_only=True) as connection:
            return connection.execute(sql, list(parameters)).df()

    def _must_exist(self) -> None:
        if not self.path.exists():
            raise WarehouseError(f"there is no database at {self.path} yet: run a collection first")

    def remember(self) -> Memory:
        """What earlier collections left for this one.

        While the file is locked, or a collection waits in the spool, the note that the last
        collection left beside the file says what the file cannot.
        """
        if not self.path.exists():
            return Memory()
        try:
            with self.connect(read_only=True, wait_s=MEMORY_WAIT_S) as connection:
                self._check_version(connection)
                memory = self._read_memory(connection)
        except Locked:
            return self._read_note()
        if self.waiting():
            note = self._read_note()
            for part, about in _REMEMBERED.items():
                known = getattr(memory, part)
                for key, noted in getattr(note, part).items():
                    here = known.get(key)
                    if here is None or getattr(noted, about.newer) > getattr(here, about.newer):
                        known[key] = noted
        return memory

    def bytes_per_answer(self) -> dict[str, float]:
        """What the answers of each endpoint weighed on average in the newest week on record.

        Empty when there is no file yet, or while another program holds it.
        """
        if not self.path.exists():
            return {}
        try:
            with self.connect(read_only=True) as connection:
                if ConnectionAttempt.table.name not in _layout(connection):
                    return {}
                found = connection.execute(
                    "SELECT endpoint, avg(bytes_received) FROM connection_attempts "
                    "WHERE status IS NOT NULL AND started_at > "
                    "(SELECT max(started_at) FROM connection_attempts) - INTERVAL 7 DAY "
                    "GROUP BY endpoint"
                )
                return dict(found.fetchall())
        except Locked:
            return {}

    @staticmethod
    def _read_memory(connection: duckdb.DuckDBPyConnection) -> Memory:
        here = _layout(connection)
        memory = Memory()
        for part, about in _REMEMBERED.items():
            name = about.model.table.name
            columns = [c for c in about.model.table.column_names if c in here.get(name, ())]
            if columns:
                found = connection.execute(f"SELECT {_list(columns)} FROM {name} {about.only}")
                for values in found.fetchall():
                    row = about.model.model_validate(dict(zip(columns, values, strict=True)))
                    getattr(memory, part)[about.key(row)] = row
        if "coins" in here:
            ranks = connection.execute(
                "SELECT symbol, min(rank) FROM coins "
                "WHERE updated_at > (SELECT max(updated_at) FROM coins) - INTERVAL 2 DAY "
                "GROUP BY symbol"
            )
            memory.ranks = dict(ranks.fetchall())
        return memory

    @property
    def _note(self) -> Path:
        return self.spool / "memory.json"

    def note(self, memory: Memory) -> None:
        """Leave the memory beside the file, for the times when the file cannot be read."""
        self.spool.mkdir(parents=True, exist_ok=True)
        text = json.dumps(
            {"ranks": memory.ranks}
            | {
                part: [row.model_dump(mode="json") for row in getattr(memory, part).values()]
                for part in _REMEMBERED
            }
        )
        beside = self._note.with_suffix(f".{uuid.uuid4().hex}")
        beside.write_text(text, encoding="utf-8")
        beside.replace(self._note)

    def _read_note(self) -> Memory:
        try:
            noted = json.loads(self._note.read_text(encoding="utf-8"))
            memory = Memory(ranks=noted["ranks"])
            for part, about in _REMEMBERED.items():
                for values in noted.get(part, ()):
                    row = about.model.model_validate_json(json.dumps(values))
                    getattr(memory, part)[about.key(row)] = row
        except (OSError, ValueError, KeyError):
            return Memory()
        return memory

    # Layout

    def _check_version(self, connection: duckdb.DuckDBPyConnection) -> int:
        """The file's version, 0 for an empty file. Raises TooNew."""
        if "schema_migrations" not in _layout(connection):
            return 0
        found = connection.execute("SELECT max(version) FROM schema_migrations").fetchone()
        version = int(found[0] or 0) if found else 0
        if version > VERSION:
            raise TooNew(
                f"{self.path} has layout {version}, this crypto_pipeline knows up to {VERSION}: "
                "update crypto_pipeline, or point CRYPTO_PIPELINE_DATABASE at another file"
            )
        return version

    def migrate(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Bring the file to the declared layout: new tables, new columns, numbered changes."""
        version = self._check_version(connection)
        for number in range(version + 1, VERSION + 1):
            for statement in MIGRATIONS[number][1] if version else ():
                connection.execute(statement)
        here = _layout(connection)
        for model in TABLES.values():
            table = model.table
            if table.name not in here:
                connection.execute(ddl(model))
            for column in table.columns:
                if table.name in here and column.name not in here[table.name]:
                    connection.execute(
                        f'ALTER TABLE {table.name} ADD COLUMN "{column.name}" {column.type}'
                    )
        _create_views(connection)
        for target, said, comment in _comments(connection):
            if said != comment:
                connection.execute(f"COMMENT ON {target} IS {_literal(comment)}")
        for number in range(version + 1, VERSION + 1):
            connection.execute(
                f"INSERT INTO schema_migrations VALUES "
                f"({number}, {_literal(MIGRATIONS[number][0])}, {_literal(datetime.now(UTC))})"
            )

    # Writing

    def write(self, batch: Batch) -> Receipt:
        """Write a collection in one transaction, after those that wait in the spool.

        Written again under the same collection id it adds nothing. When the file stays locked the
        batch goes to the spool and the receipt says so. Raises Damaged when the file cannot be
        read (the batch is kept in the spool all the same), TooNew, or OSError when not even the
        spool can be written.
        """
        with tempfile.TemporaryDirectory(prefix="crypto_pipeline_") as folder:
            staged = _stage(batch, Path(folder))
            with self.turn("writer", self.lock_wait_s) as mine:
                try:
                    if not mine:
                        raise Locked(f"{self.path}: another collection is writing")
                    with self.connect() as connection:
                        drained = self._drain(connection)
                        agree_at = batch.collected_at if batch.agree else None
                        receipt = _load(
                            connection, batch.collection_id, staged, self.migrate, agree_at
                        )
                        receipt.drained = drained
                        return receipt
                except Locked:
                    self._put_aside(batch, staged)
                    return Receipt(spooled=True)
                except Damaged:
                    self._put_aside(batch, staged)
                    raise

    def record(self, rows: Sequence[Row]) -> None:
        """Write rows of the management tables in one short transaction.

        Runs are completed with what their collections left. Raises Locked, and then nothing was
        written; unlike a collection, what is recorded can be recorded again.
        """
        batch = Batch("", datetime.now(UTC))
        batch.add("", rows)
        with tempfile.TemporaryDirectory(prefix="crypto_pipeline_") as folder:
            staged = _stage(batch, Path(folder))
            runs = WorkerRun.table.name
            if runs in staged:
                staged[runs] = _with_records(staged[runs])
            with self.turn("writer", self.lock_wait_s) as mine:
                if not mine:
                    raise Locked(f"{self.path}: another collection is writing")
                with self.connect() as connection, _transaction(connection):
                    self.migrate(connection)
                    for name, relation in staged.items():
                        _write_table(connection, TABLES[name], relation)

    def waiting(self) -> list[Path]:
        """Collections in the spool, oldest first."""
        return sorted(self.spool.glob("*.collection"))

    def drain(self) -> int:
        """Write what waits in the spool; returns how many collections. Raises Locked."""
        with self.turn("writer", self.lock_wait_s) as mine:
            if not mine:
                raise Locked(f"{self.path}: another collection is writing")
            with self.connect() as connection:
                return self._drain(connection)

    def _drain(self, connection: duckdb.DuckDBPyConnection) -> int:
        """Each waiting collection in a transaction of its own, and only then out of the spool.

        A crash between the two leaves it in the spool; its id is then found in the file, and it
        adds nothing.
        """
        drained = 0
        for folder in self.waiting():
            collection_id = folder.name.removesuffix(".collection").split("~", 1)[1]
            staged = {
                file.stem: f"SELECT * FROM read_parquet({_literal(file)})"
                for file in sorted(folder.glob("*.parquet"))
            }
            try:
                _load(connection, collection_id, staged, self.migrate)
            except duckdb.Error as problem:
                folder.replace(folder.with_suffix(".damaged"))
                raise Damaged(
                    f"a collection in the spool cannot be read: {_first_line(str(problem))}. It "
                    f"was put aside as {folder.with_suffix('.damaged')}; run the collection again"
                ) from None
            shutil.rmtree(folder)
            drained += 1
        return drained

    def _put_aside(self, batch: Batch, staged: Mapping[str, str]) -> None:
        """Keep a staged batch as Parquet until the file can be written; all of it or nothing."""
        self.spool.mkdir(parents=True, exist_ok=True)
        name = f"{batch.collected_at:%Y%m%dT%H%M%S%f}~{batch.collection_id}"
        unfinished = self.spool / f"{name}.unfinished"
        unfinished.mkdir()
        with duckdb.connect() as memory:
            memory.execute("SET TimeZone = 'UTC'")
            for table, relation in staged.items():
                target = _literal(unfinished / f"{table}.parquet")
                memory.execute(f"COPY ({relation}) TO {target} (FORMAT parquet)")
        for file in unfinished.iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())
        unfinished.replace(self.spool / f"{name}.collection")

    # Keeping it small

    def prune(
        self, keep: Mapping[str, timedelta], at: datetime, archive: Path | None = None
    ) -> dict[str, int]:
        """Drop the rows of whole days older than `keep` says, by table; returns how many.

        With an archive they are first exported, a Parquet file a table and day. A crash between
        the two exports them again, to the same file. Raises Locked, or OSError for the archive.
        """
        self._must_exist()
        with self.turn("writer", self.lock_wait_s) as mine:
            if not mine:
                raise Locked(f"{self.path}: another collection is writing")
            with self.connect() as connection:
                here = _layout(connection)
                cuts = {
                    name: (at - age).replace(hour=0, minute=0, second=0, microsecond=0)
                    for name, age in keep.items()
                    if name in here
                }
                if archive:
                    for name, cut in cuts.items():
                        _export(connection, TABLES[name].table, cut, archive)
                dropped = {}
                with _transaction(connection):
                    for name, cut in cuts.items():
                        deleted = connection.execute(
                            f'DELETE FROM {name} WHERE "{TABLES[name].table.time}" < ?', [cut]
                        ).fetchone()
                        dropped[name] = int(deleted[0]) if deleted else 0
                return {name: count for name, count in dropped.items() if count}

    def compact(self, *, at_least: int = WORTH_BYTES) -> int:
        """Write the file anew when that is worth it; returns the bytes won, 0 when it was not.

        DuckDB reuses the room of deleted rows but does not give it back. The copy is made beside
        the file, while a read-only connection keeps every writer out; it is brought to the disk,
        compared, and only then takes the file's place in one step. Raises Locked.
        """
        self._must_exist()
        with self.turn("writer", self.lock_wait_s) as mine:
            if not mine:
                raise Locked(f"{self.path}: another collection is writing")
            beside = self.path.with_name(self.path.name + ".compacting")
            _remove(beside)
            with self.connect() as connection:
                connection.execute("CHECKPOINT")
                before = self.path.stat().st_size
                free = _free_bytes(connection)
            if free < at_least or free < WORTH_PART * before:
                return 0
            if shutil.disk_usage(self.path.parent).free < 2 * (before - free):
                return 0
            try:
                self._replace_with_copy(beside)
            finally:
                _remove(beside)
            return before - self.path.stat().st_size

    def _replace_with_copy(self, beside: Path) -> None:
        with duckdb.connect() as neither:
            try:
                neither.execute(f"ATTACH {_literal(self.path)} AS old (READ_ONLY)")
            except duckdb.IOException as problem:
                raise Locked(f"{self.path}: {_first_line(str(problem))}") from None
            if self.path.with_name(self.path.name + ".wal").exists():
                raise Locked(f"{self.path}: another program has just written to it")
            neither.execute(
                f"ATTACH {_literal(beside)} AS new (STORAGE_VERSION {_literal(STORAGE)})"
            )
            neither.execute("COPY FROM DATABASE old TO new")
            rows = (
                "SELECT table_name, estimated_size FROM duckdb_tables() "
                "WHERE database_name = ? ORDER BY 1"
            )
            expected, found = (neither.execute(rows, [n]).fetchall() for n in ("old", "new"))
            neither.execute("DETACH new")
            if [name for name, _ in expected] != [name for name, _ in found]:
                raise Damaged(f"the copy of {self.path} lacks tables; the file stays as it is")
            with beside.open("rb") as written:
                os.fsync(written.fileno())
            beside.replace(self.path)
            _sync_folder(self.path.parent)


def _export(
    connection: duckdb.DuckDBPyConnection, table: Table, cut: datetime, archive: Path
) -> None:
    """The rows before `cut`, a file a day, together with what the day's file has already."""
    days = connection.execute(
        f'SELECT DISTINCT "{table.time}"::DATE FROM {table.name} WHERE "{table.time}" < ?', [cut]
    ).fetchall()
    folder = archive / table.name
    folder.mkdir(parents=True, exist_ok=True)
    for (day,) in sorted(days):
        target = folder / f"{day:%Y-%m-%d}.parquet"
        beside = target.with_suffix(".unfinished")
        rows = f"SELECT * FROM {table.name} WHERE \"{table.time}\"::DATE = DATE '{day}'"
        if target.exists():
            rows = f"SELECT * FROM read_parquet({_literal(target)}) UNION BY NAME ({rows})"
        connection.execute(
            f'COPY (FROM ({rows}) ORDER BY "{table.time}") TO {_literal(beside)} '
            "(FORMAT parquet, COMPRESSION zstd)"
        )
        with beside.open("rb") as written:
            os.fsync(written.fileno())
        beside.replace(target)
    _sync_folder(folder)


def _free_bytes(connection: duckdb.DuckDBPyConnection) -> int:
    found = connection.execute(
        "SELECT block_size * free_blocks FROM pragma_database_size() "
        "WHERE database_name = current_database()"
    ).fetchone()
    return int(found[0]) if found else 0


def _remove(database: Path) -> None:
    for file in (database, database.with_name(database.name + ".wal")):
        file.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Bring a rename to the disk, where folders can be opened for that."""
    with suppress(OSError, PermissionError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


# From rows to a relation DuckDB can read


def _stage(batch: Batch, folder: Path) -> dict[str, str]:
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
            f"FROM read_json({_literal(file)}, format = 'newline_delimited', "
            f"maximum_object_size = {size}, "
            f"columns = {{_endpoint: 'VARCHAR', rows: {_literal(f'STRUCT({struct})[]')}}}))"
        )
    return staged


def _load(
    connection: duckdb.DuckDBPyConnection,
    collection_id: str,
    staged: Mapping[str, str],
    migrate: Callable[[duckdb.DuckDBPyConnection], None],
    agree_at: datetime | None = None,
) -> Receipt:
    """Write staged relations in one transaction, unless the collection is there already."""
    receipt = Receipt()
    account = DataCollection.table.name
    connection.execute("BEGIN TRANSACTION")
    try:
        migrate(connection)
        if _has(connection, collection_id):
            connection.execute("ROLLBACK")
            receipt.repeated = True
            return receipt
        for name, relation in staged.items():
            if name in TABLES and name != account:
                whole = _added_up(relation) if name == RateLimitUsage.table.name else relation
                receipt.stored[name] = _write_table(connection, TABLES[name], whole)
                if TABLES[name] in DATA and (broken := _violations(connection, TABLES[name])):
                    receipt.violations[name] = broken
        if account in staged:
            relation = _with_stored(staged[account], receipt)
            receipt.stored[account] = _write_table(connection, DataCollection, relation)
        if MarketPrice.table.name in staged:
            receipt.stored[Coin.table.name] = _write_table(connection, Coin, IDENTIFY)
            newest = connection.execute("SELECT max(timestamp) FROM stage_market_prices").fetchone()
            agree_at = newest[0] if newest else agree_at
        if agree_at:
            receipt.stored[CachedMarketData.table.name] = _agree(connection, agree_at)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    sizes = connection.execute(
        "SELECT table_name, estimated_size FROM duckdb_tables() "
        "WHERE database_name = current_database()"
    )
    receipt.totals = dict(sizes.fetchall())
    return receipt


@contextmanager
def _transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    connection.execute("BEGIN TRANSACTION")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _with_records(relation: str) -> str:
    """Runs with the endpoints they asked and the rows they brought, from data_collections."""
    groups = {
        group: ", ".join(_literal(m.table.name) for m in DATA if m.table.group == group)
        for group in GROUPS
    }
    sums = ", ".join(
        f"coalesce(sum(stored) FILTER (feeds IN ({names})), 0)::BIGINT AS {group}_records"
        for group, names in groups.items()
    )
    replaced = ", ".join(
        f"coalesce(brought.{name}, 0) AS {name}"
        for name in ("endpoints_asked", "endpoints_answered", *(f"{g}_records" for g in groups))
    )
    return (
        f"SELECT run.* REPLACE ({replaced}, coalesce(brought.kind, run.collection_type) "
        f"AS collection_type) FROM ({relation}) run LEFT JOIN (SELECT collection_id, "
        "any_value(collection_type) AS kind, "
        "count(*) FILTER (outcome <> 'skipped') AS endpoints_asked, "
        "count(*) FILTER (outcome IN ('ok', 'unchanged', 'empty')) AS endpoints_answered, "
        f"{sums} FROM data_collections "
        f"WHERE collection_id IN (SELECT run_id FROM ({relation})) GROUP BY collection_id) brought "
        "ON brought.collection_id = run.run_id"
    )


def _violations(connection: duckdb.DuckDBPyConnection, model: type[Row]) -> str | None:
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


def _has(connection: duckdb.DuckDBPyConnection, collection_id: str) -> bool:
    found = connection.execute(
        f"SELECT 1 FROM data_collections WHERE collection_id = {_literal(collection_id)} LIMIT 1"
    )
    return found.fetchone() is not None


def _with_stored(relation: str, receipt: Receipt) -> str:
    """The account of the endpoints with the number of rows that were new, known only now."""
    counts = [
        f"({_literal(endpoint)}, {count})"
        for by_endpoint in receipt.stored.values()
        for endpoint, count in by_endpoint.items()
    ]
    values = ", ".join(counts) or "(NULL, 0)"
    return (
        "SELECT account.* REPLACE (coalesce(counted.n, 0) AS stored) "
        f"FROM ({relation}) account LEFT JOIN (VALUES {values}) counted(id, n) ON id = endpoint"
    )


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


def _agree(connection: duckdb.DuckDBPyConnection, at: datetime) -> dict[str, int]:
    """Make the agreed view anew; the last statement tells how many coins it has."""
    for statement in STATEMENTS:
        written = connection.execute(statement.replace("$now", _literal(at))).fetchone()
    return {"": int(written[0]) if written else 0}


def _write_table(
    connection: duckdb.DuckDBPyConnection, model: type[Row], relation: str
) -> dict[str, int]:
    """Write one staged relation as its table says; returns new rows by endpoint."""
    table = model.table
    name, stage = table.name, f"stage_{table.name}"
    available = [row[0] for row in connection.execute(f"DESCRIBE {relation}").fetchall()]
    columns = [c for c in table.columns if c.name in available]
    names = _list([c.name for c in columns])
    selected = ", ".join(
        f'round("{c.name}", {c.decimals}) AS "{c.name}"'
        if c.decimals is not None
        else f'"{c.name}"'
        for c in columns
    )
    once = ""
    if table.key:
        once = f"QUALIFY row_number() OVER (PARTITION BY {_list(table.key)}) = 1"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {stage} AS SELECT _endpoint, {selected} "
        f"FROM ({relation}) {once}"
    )
    same = " AND ".join(f's."{k}" IS NOT DISTINCT FROM t."{k}"' for k in table.key)
    if table.window:
        days = table.window.total_seconds()
        same += (
            f' AND t."{table.time}" >= (SELECT min("{table.time}") FROM {stage}) '
            f"- to_seconds({days:.0f})"
        )
    if table.write == "insert":
        connection.execute(
            f"DELETE FROM {stage} s WHERE EXISTS (SELECT 1 FROM {name} t WHERE {same})"
        )
    elif table.write in ("upsert", "replace"):
        unmeaning = (
            *table.key, *table.filled_by("observed_at"), *table.filled_by("collection_id")
        )  # fmt: skip
        equal = " AND ".join(
            f's."{c.name}" IS NOT DISTINCT FROM t."{c.name}"'
            for c in columns
            if c.name not in unmeaning
        )
        if table.write == "replace":
            connection.execute(
                f"DELETE FROM {name} t WHERE NOT EXISTS (SELECT 1 FROM {stage} s WHERE {same})"
            )
        connection.execute(
            f"DELETE FROM {stage} s WHERE EXISTS (SELECT 1 FROM {name} t WHERE {same} AND {equal})"
        )
        connection.execute(
            f"DELETE FROM {name} t WHERE EXISTS (SELECT 1 FROM {stage} s WHERE {same})"
        )
    connection.execute(f"INSERT INTO {name} ({names}) SELECT {names} FROM {stage}")
    if model not in DATA:
        return {}
    counted = connection.execute(f"SELECT _endpoint, count(*) FROM {stage} GROUP BY 1")
    return dict(counted.fetchall())


# SQL from declarations


def ddl(model: type[Row]) -> str:
    """CREATE TABLE. No PRIMARY KEY or UNIQUE: an index costs four times the bytes and grows."""
    columns = ",\n    ".join(
        f'"{c.name}" {c.type}' + ("" if c.nullable else " NOT NULL") for c in model.table.columns
    )
    return f"CREATE TABLE {model.table.name} (\n    {columns}\n)"


def _create_views(connection: duckdb.DuckDBPyConnection) -> None:
    """Bring the views to their declarations; touches nothing in the file that is as it should be.

    DuckDB keeps a view's SQL in its own words, so the declared one is put into the same words, as
    a temporary view, before they are compared.
    """
    body = "SELECT regexp_replace(sql, '^CREATE (TEMP )?VIEW \\S+ AS ', '') FROM duckdb_views()"
    for view in VIEWS:
        connection.execute(f"CREATE OR REPLACE TEMP VIEW as_declared AS {view.sql}")
        declared = connection.execute(f"{body} WHERE view_name = 'as_declared'").fetchone()
        here = connection.execute(
            f"{body} WHERE view_name = ? AND database_name = current_database()", [view.name]
        ).fetchone()
        if here != declared:
            connection.execute(f"CREATE OR REPLACE VIEW {view.name} AS {view.sql}")
    connection.execute("DROP VIEW IF EXISTS temp.as_declared")


def _layout(connection: duckdb.DuckDBPyConnection) -> dict[str, list[str]]:
    """The columns of each table that is in the file."""
    here: dict[str, list[str]] = {}
    found = connection.execute(
        "SELECT table_name, column_name FROM duckdb_columns() "
        "WHERE database_name = current_database() AND schema_name = 'main' AND NOT internal "
        "ORDER BY table_name, column_index"
    )
    for table, column in found.fetchall():
        here.setdefault(table, []).append(column)
    return here


def _comments(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str | None, str]]:
    """What the file says of each table and column beside what the declaration says."""
    where = "WHERE database_name = current_database() AND schema_name = 'main'"
    of_tables = dict(
        connection.execute(f"SELECT table_name, comment FROM duckdb_tables() {where}").fetchall()
    )
    of_views = dict(
        connection.execute(f"SELECT view_name, comment FROM duckdb_views() {where}").fetchall()
    )
    of_columns = {
        (table, column): comment
        for table, column, comment in connection.execute(
            f"SELECT table_name, column_name, comment FROM duckdb_columns() {where}"
        ).fetchall()
    }
    found = []
    for model in TABLES.values():
        table = model.table
        found.append((f"TABLE {table.name}", of_tables.get(table.name), table.description))
        for c in table.columns:
            meaning = f"{c.description} [{c.unit}]" if c.unit else c.description
            target = f'COLUMN {table.name}."{c.name}"'
            found.append((target, of_columns.get((table.name, c.name)), meaning))
    for view in VIEWS:
        found.append((f"VIEW {view.name}", of_views.get(view.name), view.description))
        for name, meaning in view.columns:
            target = f'COLUMN {view.name}."{name}"'
            found.append((target, of_columns.get((view.name, name)), meaning))
    return found


def _list(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _literal(value: str | Path | datetime) -> str:
    """A value as SQL. Not as a parameter: binding one makes DuckDB import pandas, which costs a
    run a third of a second (measured with DuckDB 1.5)."""
    if isinstance(value, datetime):
        return f"TIMESTAMPTZ '{value.isoformat()}'"
    return "'" + str(value).replace("'", "''") + "'"


def _first_line(words: str) -> str:
    return words.strip().splitlines()[0][:300] if words.strip() else words
