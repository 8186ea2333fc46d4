"""The DuckDB file: opening it (late, briefly, never two writers), its locks and its spool."""

import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
from filelock import FileLock, Timeout

from crypto_pipeline.tables import Row
from crypto_pipeline.warehouse import queries, upkeep
from crypto_pipeline.warehouse.errors import Damaged, Locked, MigrationFailed, WarehouseError
from crypto_pipeline.warehouse.layout import STORAGE, layout, version
from crypto_pipeline.warehouse.load import Batch, Receipt, load, load_rows, stage
from crypto_pipeline.warehouse.memory import Memory, from_file, from_note, newest, to_note
from crypto_pipeline.warehouse.sql import Connection, first_line, literal, log_of

if TYPE_CHECKING:
    import pandas as pd

LOCK_WAIT_S = 15.0
"""How long a writer waits for the file before its collection goes to the spool."""

MEMORY_WAIT_S = 1.0
"""How long a reader waits for what is remembered: the note beside the file says it as well."""

_LOCKED = ("could not set lock", "conflicting lock", "being used by another process")


class Warehouse:
    """The DuckDB file at `path`, and the spool and the locks beside it.

    lock_wait_s: how long all but `remember` wait for the file.
    """

    def __init__(self, path: Path, lock_wait_s: float = LOCK_WAIT_S) -> None:
        self.path = Path(path).absolute()
        self.spool = self.path.with_name(self.path.name + ".spool")
        self.lock_wait_s = lock_wait_s

    # Opening

    @contextmanager
    def connect(
        self, *, read_only: bool = False, wait_s: float | None = None
    ) -> Iterator[Connection]:
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

    def _open(self, read_only: bool, wait_s: float) -> Connection:
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
                        f"{self.path} is held by another program: {first_line(words)}. "
                        "Close it there, or read a copy of the file"
                    ) from None
                time.sleep(random.uniform(0.05, 0.3))
            except duckdb.Error as problem:
                raise self._unusable(str(problem)) from None

    def _unusable(self, words: str) -> WarehouseError:
        log = log_of(self.path)
        first = ""
        if log.exists():
            first = (
                f"First move {log.name} alone aside: it holds the last writes, and without it the "
                "file may be whole. "
            )
        return Damaged(
            f"{self.path} cannot be opened: {first_line(words)}. {first}If the file is damaged, "
            "move it aside: the next collection makes a new one and adds what waits in the spool "
            "beside it"
        )

    @contextmanager
    def lock(self, name: str, wait_s: float) -> Iterator[bool]:
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

    # Runs that live

    def _run_lock_file(self, run_id: str) -> Path:
        return self.path.with_name(f"{self.path.name}.{run_id}.run")

    @contextmanager
    def run_lock(self, run_id: str) -> Iterator[None]:
        """Show that a run lives: a lock that the system takes from a process however it ends."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = self._run_lock_file(run_id)
        lock = FileLock(file)
        lock.acquire()
        try:
            yield
        finally:
            file.unlink(missing_ok=True)
            lock.release()

    def died(self, run_id: str) -> bool:
        """Whether a run had its lock and its process is gone; says so once."""
        file = self._run_lock_file(run_id)
        try:
            left = file.stat()
        except FileNotFoundError:
            return False
        lock = FileLock(file)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        # The owner removes its file when it is done: then the one locked here is a new one.
        gone = file.stat().st_ino == left.st_ino
        file.unlink(missing_ok=True)
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
                here = layout(connection)
                version(connection, here)
                memory = from_file(connection, here)
        except Locked:
            return from_note(self._note)
        return newest(memory, from_note(self._note)) if self.waiting() else memory

    def bytes_per_answer(self) -> dict[str, float]:
        """What the answers of each endpoint weighed on average in the newest week on record.

        Empty when there is no file yet, or while another program holds it.
        """
        if not self.path.exists():
            return {}
        try:
            with self.connect(read_only=True) as connection:
                return queries.bytes_per_answer(connection)
        except Locked:
            return {}

    def note(self, memory: Memory) -> None:
        """Leave the memory beside the file, for the times when the file cannot be read."""
        to_note(memory, self._note)

    @property
    def _note(self) -> Path:
        return self.spool / "memory.json"

    # Writing

    @contextmanager
    def _writer_lock(self) -> Iterator[None]:
        """Hold the one writer's place among crypto_pipeline's processes. Raises Locked."""
        with self.lock("writer", self.lock_wait_s) as held:
            if not held:
                raise Locked(f"{self.path}: another collection is writing")
            yield

    def write(self, batch: Batch) -> Receipt:
        """Write a collection in one transaction, after those that wait in the spool.

        Written again under the same collection id it adds nothing. When the file stays locked the
        batch goes to the spool and the receipt says so. Raises Damaged when the file cannot be
        read and MigrationFailed when it keeps an older layout (the batch is kept in the spool all
        the same), TooNew, or OSError when not even the spool can be written.
        """
        with tempfile.TemporaryDirectory(prefix="crypto_pipeline_") as folder:
            staged = stage(batch, Path(folder))
            try:
                with self._writer_lock(), self.connect() as connection:
                    drained = self._drain(connection)
                    agree_at = batch.collected_at if batch.agree else None
                    receipt = load(connection, batch.collection_id, staged, agree_at)
                    receipt.drained = drained
                    return receipt
            except Locked:
                self._put_aside(batch, staged)
                return Receipt(spooled=True)
            except (Damaged, MigrationFailed):
                self._put_aside(batch, staged)
                raise

    def write_rows(self, rows: Sequence[Row]) -> None:
        """Write rows of the management tables in one short transaction.

        Runs are completed with what their collections left. Raises WarehouseError,
        and then nothing was written; unlike a collection it can be written again.
        """
        batch = Batch("", datetime.now(UTC))
        batch.add("", rows)
        with tempfile.TemporaryDirectory(prefix="crypto_pipeline_") as folder:
            staged = stage(batch, Path(folder))
            with self._writer_lock(), self.connect() as connection:
                load_rows(connection, staged)

    def waiting(self) -> list[Path]:
        """Collections in the spool, oldest first."""
        return sorted(self.spool.glob("*.collection"))

    def drain(self) -> int:
        """Write what waits in the spool; returns how many collections. Raises Locked."""
        with self._writer_lock(), self.connect() as connection:
            return self._drain(connection)

    def _drain(self, connection: Connection) -> int:
        """Each waiting collection in a transaction of its own, and only then out of the spool.

        A crash between the two leaves it in the spool; its id is then found in the file, and it
        adds nothing.
        """
        drained = 0
        for folder in self.waiting():
            collection_id = folder.name.removesuffix(".collection").split("~", 1)[1]
            # The table's own columns as well: the rows may have waited for a newer version.
            staged = {
                file.stem: f"FROM read_parquet({literal(file)}) "
                f"UNION ALL BY NAME (FROM {file.stem} LIMIT 0)"
                for file in sorted(folder.glob("*.parquet"))
            }
            try:
                load(connection, collection_id, staged, from_spool=True)
            except duckdb.Error as problem:
                folder.replace(folder.with_suffix(".damaged"))
                raise Damaged(
                    f"a collection in the spool cannot be read: {first_line(str(problem))}. It "
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
                target = literal(unfinished / f"{table}.parquet")
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
        with self._writer_lock(), self.connect() as connection:
            here = layout(connection)
            cuts = {
                name: (at - age).replace(hour=0, minute=0, second=0, microsecond=0)
                for name, age in keep.items()
                if name in here
            }
            return upkeep.drop(connection, cuts, archive)

    def compact(self, *, at_least: int = upkeep.WORTH_BYTES) -> int:
        """Write the file anew when that is worth it; returns the bytes won, 0 when it was not.

        DuckDB reuses the room of deleted rows but does not give it back. Raises Locked.
        """
        self._must_exist()
        with self._writer_lock():
            with self.connect() as connection:
                worth = upkeep.worth_compacting(connection, self.path, at_least)
            return upkeep.replace_with_copy(self.path) if worth else 0
