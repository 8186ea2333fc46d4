"""The DuckDB file: opening it (late, briefly, never two writers), its locks and its spool."""

import logging
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
from filelock import FileLock, Timeout

from crypto_pipeline import files, settings
from crypto_pipeline.tables import Row
from crypto_pipeline.warehouse import owed, queries, upkeep
from crypto_pipeline.warehouse.errors import (
    OF_WHAT_IS_WRITTEN,
    Damaged,
    Hurried,
    Locked,
    Lost,
    Unavailable,
    Unfit,
    WarehouseError,
    named,
)
from crypto_pipeline.warehouse.layout import STORAGE, layout, version
from crypto_pipeline.warehouse.load import Batch, Receipt, load, load_rows
from crypto_pipeline.warehouse.memory import Memory, from_file, from_note, newest, to_note
from crypto_pipeline.warehouse.publish import Publication
from crypto_pipeline.warehouse.spool import Spool, collection_id
from crypto_pipeline.warehouse.sql import Connection, first_line, log_of, open_duckdb

if TYPE_CHECKING:
    import pandas as pd

    from crypto_pipeline.warehouse.rebuild import Read, Rebuilt

LOCK_WAIT_S = 15.0
"""How long a writer waits for the file before its collection goes to the spool."""

MEMORY_WAIT_S = 1.0
"""How long a reader waits for what is remembered: the note beside the file says it as well."""

ROOM_BYTES = 32 * 2**20
"""Less room than this beside the file may not keep a collection, not even in the spool."""

Hurry = Callable[[], bool]
"""Whether there is no time to wait any more: asked at least every tenth of a second."""

_TOLD = (duckdb.Error, OSError, MemoryError)
"""What is told as a WarehouseError; anything else is a fault of ours."""


def _no_hurry() -> bool:
    return False


log = logging.getLogger(__name__)


class Warehouse:
    """The DuckDB file at `path`, and the spool and the locks beside it.

    lock_wait_s: how long all but `remember` wait for the file. parquet: the folder into which what
    is written is published; None: it is not.
    """

    def __init__(
        self, path: Path, lock_wait_s: float = LOCK_WAIT_S, parquet: Path | None = None
    ) -> None:
        self.path = Path(path).absolute()
        self._spool = Spool(self.path.with_name(self.path.name + ".spool"))
        self.lock_wait_s = lock_wait_s
        self.parquet = parquet

    @property
    def spool(self) -> Path:
        """The folder of what waits."""
        return self._spool.folder

    @property
    def exists(self) -> bool:
        """Whether there is a file, as far as the system lets us look; opening it says the rest."""
        try:
            return self.path.exists()
        except OSError:
            return True

    # Opening

    @contextmanager
    def connect(
        self, *, read_only: bool = False, wait_s: float | None = None, hurry: Hurry = _no_hurry
    ) -> Iterator[Connection]:
        """A connection, closed in any case; waits for the file with jitter. A new file is its
        owner's alone.

        Raises Locked when another program keeps the file, Hurried, or another WarehouseError when
        it cannot be opened. What goes wrong in the block is raised as it is.
        """
        with self._telling():
            files.private_folder(self.path.parent)
            wait_s = self.lock_wait_s if wait_s is None else wait_s
            connection = self._open(read_only, wait_s, hurry)
        try:
            connection.execute("SET TimeZone = 'UTC'")
            yield connection
        finally:
            connection.close()

    @contextmanager
    def reading(self, wait_s: float | None = None) -> Iterator[Connection]:
        """A read-only connection of which all that goes wrong is told as a WarehouseError: damage
        may show only when the rows are read."""
        with self._telling(), self.connect(read_only=True, wait_s=wait_s) as connection:
            yield connection

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Tell errors of DuckDB and the system as what is wrong with the file."""
        try:
            yield
        except _TOLD as problem:
            raise named(problem, self.path) from None

    def _open(self, read_only: bool, wait_s: float, hurry: Hurry) -> Connection:
        until = time.monotonic() + wait_s
        new = not read_only and not self.exists
        while True:
            try:
                connection = open_duckdb(
                    str(self.path),
                    read_only=read_only,
                    config={"storage_compatibility_version": STORAGE},
                )
            except duckdb.Error as problem:
                trouble = named(problem, self.path)
                if not isinstance(trouble, Locked) or time.monotonic() >= until:
                    raise trouble from None
                self._must_have_time(hurry)
                time.sleep(random.uniform(0.03, 0.1))
                continue
            if new:
                with suppress(OSError):
                    self.path.chmod(files.OWNER)
            return connection

    def _must_have_time(self, hurry: Hurry) -> None:
        if hurry():
            raise Hurried(f"{self.path}: the program was being ended")

    @contextmanager
    def lock(self, name: str, wait_s: float, hurry: Hurry = _no_hurry) -> Iterator[bool]:
        """Hold the lock `name` among crypto_pipeline's own processes; False when it stays taken.

        Raises Hurried, or Unavailable where no lock can be made.
        """
        with self._telling():
            files.private_folder(self.path.parent)
            lock = FileLock(self.path.with_name(f"{self.path.name}.{name}.lock"))
            try:
                lock.acquire(timeout=wait_s, poll_interval=0.05, cancel_check=hurry)
            except Timeout:
                self._must_have_time(hurry)
        try:
            yield lock.is_locked
        finally:
            lock.release()

    # Runs that live

    def _run_lock_file(self, run_id: str) -> Path:
        return self.path.with_name(f"{self.path.name}.{run_id}.run")

    @contextmanager
    def run_lock(self, run_id: str) -> Iterator[None]:
        """Show that a run lives: a lock that the system takes from a process however it ends.

        Raises Unavailable where no lock can be made.
        """
        file = self._run_lock_file(run_id)
        with self._telling():
            files.private_folder(self.path.parent)
            lock = FileLock(file)
            lock.acquire(timeout=self.lock_wait_s)  # it would wait for ever where none can be made
        try:
            yield
        finally:
            with suppress(OSError):
                file.unlink(missing_ok=True)
            lock.release()

    def died(self, run_id: str) -> bool:
        """Whether a run had its lock and its process is gone; says so once."""
        file = self._run_lock_file(run_id)
        try:
            left = file.stat()
        except OSError:
            return False
        lock = FileLock(file)
        try:
            lock.acquire(timeout=0)
        except OSError:  # a living process has it, or we may not look
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
        if not self.exists:
            raise WarehouseError(f"there is no database at {self.path} yet: run a collection first")

    def remember(self) -> Memory:
        """What earlier collections left for this one. Never raises for what is wrong with the file.

        While the file cannot be read, or a collection waits in the spool, the note that the last
        collection left beside the file says what the file cannot; the write tells of the trouble.
        """
        now = datetime.now(UTC)
        noted = from_note(self._spool.note, now)
        if not self.exists:
            return noted if self.waiting() else Memory()
        try:
            with self.reading(MEMORY_WAIT_S) as connection:
                here = layout(connection)
                version(connection, here)
                memory = from_file(connection, here, now)
        except WarehouseError:
            return noted
        return newest(memory, noted) if self.waiting() else memory

    def bytes_per_answer(self) -> dict[str, float]:
        """What the answers of each endpoint weighed on average in the newest week on record.

        Empty when there is no file yet, or while it cannot be read.
        """
        if not self.exists:
            return {}
        try:
            with self.reading() as connection:
                return queries.bytes_per_answer(connection)
        except WarehouseError:
            return {}

    def note(self, memory: Memory) -> None:
        """Leave the memory beside the file, for the times when the file cannot be read. Where not
        even that can be written, a warning is logged."""
        try:
            to_note(memory, self._spool.note)
        except OSError as problem:
            log.warning("%s is not written: %s", self._spool.note, problem)

    # Writing

    def require_room(self) -> None:
        """Raises Unavailable when a collection could be kept nowhere, not even in the spool: who
        cannot keep the answers does not ask."""
        with self._telling():
            files.private_folder(self.spool)
            with tempfile.TemporaryFile(dir=self.spool):
                free = shutil.disk_usage(self.spool).free
        if free < ROOM_BYTES:
            raise Unavailable(
                f"{self.spool}: {free / 2**20:.0f} MiB are free on its disk, too few to keep what "
                "a collection brings: free some, or move the database to a bigger one"
            )

    @contextmanager
    def _writing(self, hurry: Hurry = _no_hurry) -> Iterator[Connection]:
        """A connection in the one writer's place among crypto_pipeline's processes. Raises Locked,
        Hurried or another WarehouseError."""
        with self._telling(), self._writer_lock(hurry), self.connect(hurry=hurry) as connection:
            files.make_beside(log_of(self.path), self.path)
            self._spool.clear()
            yield connection

    @contextmanager
    def _writer_lock(self, hurry: Hurry = _no_hurry) -> Iterator[None]:
        with self.lock("writer", self.lock_wait_s, hurry) as held:
            if not held:
                raise Locked(f"{self.path}: another collection is writing")
            yield

    def write(self, batch: Batch, hurry: Hurry = _no_hurry) -> Receipt:
        """Write a collection in one transaction, after those that wait in the spool.

        Written again under the same collection id it adds nothing. When the file cannot be written,
        whatever the reason, the batch goes to the spool, and the receipt says so and why; at once
        when there is a `hurry`. A fault of our own is raised when the batch is in the spool.
        Raises Lost when not even the spool can be written.
        """
        try:
            with self._spool.staged(batch) as staged:
                try:
                    return self._write(batch, staged, hurry)
                except BaseException as problem:
                    self._put(batch, staged, problem)
                    if not isinstance(problem, WarehouseError):
                        raise
                    return Receipt(spooled=True, problem=problem)
        except _TOLD as problem:
            raise _lost(batch, named(problem, self.path)) from None

    def _write(self, batch: Batch, staged: Mapping[str, str], hurry: Hurry) -> Receipt:
        self._must_have_time(hurry)
        with self._publishing(hurry) as (connection, publication):
            drained, problem = self._drain(connection, publication, hurry)
            self._must_have_time(hurry)
            agree_at = batch.collected_at if batch.agree else None
            receipt = load(connection, batch.collection_id, staged, agree_at, owe=publication.owe)
            receipt.drained, receipt.problem = drained, problem
        receipt.unpublished = publication.problem
        return receipt

    @contextmanager
    def _publishing(self, hurry: Hurry = _no_hurry) -> Iterator[tuple[Connection, Publication]]:
        """A connection as `_writing` gives it. What the block commits is published when it is done,
        unless there is no time: then the next writer does. Raises nothing of its own then: the
        publication says what was wrong."""
        with self._writing(hurry) as connection:
            publication = Publication(self.parquet, self._unpublished)
            yield connection, publication
            if not hurry():
                publication.publish(connection)

    @property
    def _unpublished(self) -> Path:
        """The note of what is not published yet."""
        return self.spool / "unpublished.json"

    @property
    def why_unpublished(self) -> str | None:
        """What kept commits from being published last."""
        return owed.owed_in(self._unpublished).why if self.parquet else None

    def _put(self, batch: Batch, staged: Mapping[str, str], problem: BaseException) -> None:
        """Into the spool, where the file cannot be written. Raises Lost."""
        try:
            self._spool.put(batch, staged)
        except _TOLD as another:
            raise _lost(batch, problem, named(another, self.spool)) from None
        if isinstance(problem, WarehouseError):
            self._spool.say_why(problem)

    def write_rows(self, rows: Sequence[Row]) -> None:
        """Write rows of the management tables in one short transaction.

        Runs are completed with what their collections left. Raises WarehouseError,
        and then nothing was written; unlike a collection it can be written again.
        """
        batch = Batch("", datetime.now(UTC))
        batch.add("", rows)
        with (
            self._telling(),
            self._spool.staged(batch) as staged,
            self._publishing() as (connection, publication),
        ):
            load_rows(connection, staged, publication.owe)

    def waiting(self) -> list[Path]:
        """Collections in the spool, oldest first."""
        return self._spool.waiting()

    def put_aside(self) -> list[Path]:
        """Collections in the spool that are damaged: none of their rows is in the file."""
        return self._spool.damaged()

    @property
    def why_waiting(self) -> str | None:
        """What kept collections from being written last, unless it passes by itself."""
        return self._spool.why

    def drain(self) -> int:
        """Write what waits in the spool; returns how many collections.

        Raises WarehouseError: for what is wrong with the file, when nothing further was written;
        for what is wrong with one collection, when the others were.
        """
        try:
            with self._publishing() as (connection, publication):
                drained, problem = self._drain(connection, publication)
        except WarehouseError as trouble:
            self._spool.say_why(trouble)
            raise
        if problem:
            raise problem
        return drained

    def _drain(
        self, connection: Connection, publication: Publication, hurry: Hurry = _no_hurry
    ) -> tuple[int, WarehouseError | None]:
        """Each waiting collection in a transaction of its own, and only then out of the spool.

        A crash between the two leaves it in the spool; its id is then found in the file, and it
        adds nothing. Gives how many were written, and what is wrong with one that was not.
        """
        drained, wrong = 0, None
        self._spool.take_back()
        for collection in self.waiting():
            if hurry():
                break
            try:
                relations = self._spool.relations(collection)
                owe = publication.owe_anew
                load(connection, collection_id(collection), relations, from_spool=True, owe=owe)
                drained += 1
                self._spool.remove(collection)
            except (duckdb.Error, OSError, Unfit) as problem:
                trouble = self._of_the_collection(collection, problem)
                if trouble is None:
                    raise
                wrong = wrong or trouble
        self._spool.say_why(wrong)
        return drained, wrong

    def _of_the_collection(self, collection: Path, problem: Exception) -> WarehouseError | None:
        """What is wrong with a collection in the spool; None for what is wrong with the file."""
        if isinstance(problem, OSError | Unfit):
            return named(problem, collection)
        if damage := self._spool.damage(collection):
            try:
                aside = self._spool.put_aside(collection, damage)
            except OSError as another:
                return named(another, collection)
            return Damaged(
                f"a collection in the spool cannot be read: {damage}. It was put aside as {aside}; "
                "run the collection again"
            )
        if isinstance(problem, OF_WHAT_IS_WRITTEN):
            return Unfit(f"{collection} waits on: {first_line(str(problem))}")
        return None

    # Reading answers again

    def brought_rows(self, table: str, since: datetime, until: datetime) -> list[tuple[str, str]]:
        """Collections and endpoints that brought rows for a table in that time, the oldest first.
        Raises WarehouseError."""
        self._must_exist()
        with self.reading() as connection:
            return queries.brought_rows(connection, table, since, until)

    def rebuild(
        self, model: type[Row], reads: "list[Read]", batch: Batch, *, dry_run: bool = False
    ) -> "Rebuilt":
        """Bring a table, in one transaction, to what the answers of these collections say when they
        are read again: the batch has their rows. Raises WarehouseError, and then nothing was
        written."""
        from crypto_pipeline.warehouse.rebuild import rebuild  # noqa: PLC0415

        self._must_exist()
        with (
            self._telling(),
            self._spool.staged(batch) as staged,
            self._publishing() as (connection, publication),
        ):
            return rebuild(connection, model, staged, reads, publication.owe, dry_run=dry_run)

    # Keeping it small

    def prune(
        self, keep: Mapping[str, timedelta], at: datetime, archive: Path | None = None
    ) -> dict[str, int]:
        """Drop the rows of whole days older than `keep` says, by table; returns how many.

        As many days that have rows stay as `keep` has days: a wrong clock, now or when rows were
        written, takes a day at most. With an archive they are first exported, a Parquet file a
        table and day. A crash between the two exports them again, to the same file. What is
        published of them goes too, and the days before today's become one file each. Raises
        WarehouseError, also for the archive, and then nothing was dropped.
        """
        self._must_exist()
        with self._publishing() as (connection, publication):
            here = layout(connection)
            cuts = {
                name: cut
                for name, age in keep.items()
                if name in here and (cut := upkeep.cut(connection, name, age, at))
            }
            publication.owe_upkeep(cuts, at)
            return upkeep.drop(connection, cuts, archive)

    def compact(self, *, at_least: int = upkeep.WORTH_BYTES) -> int:
        """Write the file anew when that is worth it; returns the bytes won, 0 when it was not.

        DuckDB reuses the room of deleted rows but does not give it back. Raises WarehouseError, and
        then the file is as it was.
        """
        self._must_exist()
        with self._telling(), self._writer_lock():
            upkeep.clear(self.path)
            with self.connect() as connection:
                worth = upkeep.worth_compacting(connection, self.path, at_least)
            return upkeep.replace_with_copy(self.path) if worth else 0


def configured(lock_wait_s: float = LOCK_WAIT_S) -> Warehouse:
    """The warehouse that the settings name. Raises SettingError."""
    return Warehouse(settings.database(), lock_wait_s, settings.published())


def _lost(batch: Batch, *problems: BaseException) -> Lost:
    """The error that says what is lost, and all that stood in the way."""
    rows = sum(len(rows) for by_endpoint in batch.rows.values() for rows in by_endpoint.values())
    return Lost(
        f"the {rows} rows of the collection {batch.collection_id} are lost, since nothing could be "
        f"written: {'; and '.join(map(str, problems))}"
    )
