"""Publication: behind every commit, what it changed appears as Parquet that nobody waits for.

Owns: what is written when, that a crash leaves nothing unpublished, and what is removed.
Must not know: how the rows came into the file.

Before a transaction is committed, a note says what it changes. Behind it the changes are published,
and the note goes. A note that is there is of a writer that was killed, or could not publish: the
next one writes those days and tables anew from the file, whatever there is of them.
"""

import logging
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from crypto_pipeline import files
from crypto_pipeline.tables import TABLES, Row, Table
from crypto_pipeline.warehouse import owed, parquet
from crypto_pipeline.warehouse.changes import Changes, days_in
from crypto_pipeline.warehouse.errors import Unpublished, WarehouseError
from crypto_pipeline.warehouse.published import script
from crypto_pipeline.warehouse.sql import Connection, first_line, literal, names

SOON_MS = 500
"""A whole file counts from so long after its name was made: until then the name is there for
everybody who could find it to count."""

MOST_PARTS = 300
"""A day with more files than this is written whole, whichever day it is."""

VERSIONS_LEFT = timedelta(hours=1)
"""Former versions of a table without a time stay so long, for queries that run."""

DAYS_LEFT = timedelta(days=1)
"""Files of a day that do not count any more stay so long: a transaction may be open for hours, and
counts by the time at which it began."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _New:
    """A file that was written and has no name yet. count: its rows."""

    table: Table
    day: date | None
    kind: str
    file: Path
    count: int


class Publication:
    """What one writer publishes into a folder, while it has the file.

    note: the file that says what is owed.
    """

    def __init__(self, root: Path | None, note: Path) -> None:
        self.problem: WarehouseError | None = None
        self._folder = root
        self._note = note
        self._owed = owed.owed_in(note) if root else owed.Owed()
        self._changes = Changes()
        self._upkeep = False

    @property
    def root(self) -> Path:
        if self._folder is None:
            raise ValueError("nothing is published")
        return self._folder

    @property
    def _unfinished(self) -> Path:
        return self.root / parquet.HIDDEN / "unfinished"

    # What is owed

    def owe(self, changes: Changes) -> None:
        """Say what is going to be committed, and is published next. Raises OSError."""
        if self._folder:
            self._owed.also(changes).write(self._note)
            self._changes = changes
        elif not self._note.exists():  # for the day when it is to be published
            owed.Owed(everything=True).write(self._note)

    def owe_anew(self, changes: Changes) -> None:
        """The same of changes whose temporary tables will be gone when they are published: they are
        written out of the file."""
        if self._folder:
            self._owed = self._owed.also(changes)
            self._owed.write(self._note)
        else:
            self.owe(changes)

    def owe_upkeep(self, cuts: Mapping[str, datetime], at: datetime) -> None:
        """Say that the rows before each table's cut go, and that days before that of `at` are to
        become one file each. Raises OSError."""
        if not self._folder:
            return
        changes = Changes()
        for name, model in TABLES.items():
            days = parquet.days_under(parquet.folder_of(self.root, model))
            for day, folder in days.items():
                counting = parquet.counting(parquet.files_in(folder))
                goes = name in cuts and day < cuts[name].date()
                if (counting and goes) or (len(counting) > 1 and day < at.date()):
                    changes.touched(name, {day})
        self.owe_anew(changes)
        self._upkeep = True

    # Publishing

    def publish(self, connection: Connection) -> None:
        """Publish what is owed. What goes wrong is the `problem`, and in the note: all of it is
        owed still then."""
        if self._folder is None:
            return
        try:
            self._publish(connection)
            if self._upkeep:
                self._sweep()
        except Exception as problem:  # also a fault of ours: the rows are in the file
            words = f"{type(problem).__name__}: {first_line(str(problem))}"
            self.problem = Unpublished(f"what is in the file is not published: {words}")
            log.warning("%s", self.problem)
            with suppress(OSError):
                self._owed.also(self._changes, str(self.problem)).write(self._note)

    def _publish(self, connection: Connection) -> None:
        owner = _owner(connection)
        views = self._views() if self._is_own(owner) else ""
        for folder in (self.root, self._unfinished.parent, self._unfinished):
            files.private_folder(folder)
        for left in self._unfinished.iterdir():
            left.unlink()
        incomplete = [model for model in TABLES.values() if self._is_incomplete(model, views)]
        new = list(self._write(connection, incomplete))
        self._to_disk(new)
        moments = [self._name(file) for file in new]
        for model in incomplete:
            self._complete(connection, model)
        self._write_script(views)
        if not views:
            files.write_private(self._owner, owner)
        owed.forget(self._note)
        if over := max(moments, default=0):  # who asks next finds them to count
            time.sleep(max(0.0, over / 1000 - time.time()))

    def _is_incomplete(self, model: type[Row], views: str) -> bool:
        """Whether a table has to be published anew: also when another release was the last to
        publish, into folders of its own."""
        if self._owed.everything or self._changes.everything:
            return True
        folder = parquet.folder_of(self.root, model)
        return folder.name not in views or not parquet.is_complete(folder, model.table)

    @property
    def _owner(self) -> Path:
        """The note of whose rows are in the folder."""
        return self.root / parquet.HIDDEN / "of.txt"

    def _is_own(self, owner: str) -> bool:
        """Whether the folder holds what this very file published: not so where it is a new one
        under the former's name. Raises WarehouseError for one of another name."""
        found = self._owner.read_text(encoding="utf-8") if self._owner.exists() else owner
        theirs, ours = (text.splitlines()[0] for text in (found, owner))
        if theirs != ours:
            raise WarehouseError(
                f"{self.root} holds what {theirs}.duckdb published: give {ours}.duckdb a folder of "
                "its own with CRYPTO_PIPELINE_PARQUET, or remove this one"
            )
        return found == owner

    def _write(self, connection: Connection, incomplete: Collection[type[Row]]) -> Iterator[_New]:
        """Write every file that is to come, none of them with its name yet."""
        for model in TABLES.values():
            table = model.table
            if model in incomplete:
                yield from self._all(connection, model)
            elif table.time is None:
                if table.name in self._owed.wholes | self._changes.wholes:
                    yield self._copy(connection, table, "version", None, table.name)
            else:
                owing = (self._owed.days, self._changes.days)
                whole = set[date]().union(*(days.get(table.name, ()) for days in owing))
                if table.name in self._changes.parts:
                    yield from self._parts(connection, model, whole)
                for day in sorted(whole):
                    yield self._whole(connection, table, day)

    def _all(self, connection: Connection, model: type[Row]) -> Iterator[_New]:
        """Every row of a table; and that no row is left of the other days that are published."""
        table = model.table
        if table.time is None:
            yield self._copy(connection, table, "version", None, table.name)
            return
        folder = parquet.folder_of(self.root, model)
        there = parquet.days_under(folder).keys()
        for day in sorted(days_in(connection, table.name, table.time) | there):
            yield self._whole(connection, table, day)

    def _parts(self, connection: Connection, model: type[Row], whole: set[date]) -> Iterator[_New]:
        """The rows that came, by their day. Days that have to be written whole join `whole`."""
        table = model.table
        relation = self._changes.parts[table.name]
        days = self._changes.days_of_parts[table.name]
        for day in sorted(days - whole):
            if self._needs_whole(model, day):
                whole.add(day)
                continue
            where = _on(table, day) if len(days) > 1 else "true"
            yield self._copy(connection, table, "part", day, relation, where)

    def _needs_whole(self, model: type[Row], day: date) -> bool:
        """Whether a day's rows that came cannot be one more part: there are many already, or rows
        of a whole file may be replaced by them."""
        here = parquet.files_in(parquet.day_folder(parquet.folder_of(self.root, model), day))
        if model.table.write == "upsert" and any(file.kind == "whole" for file in here):
            return True
        return len(parquet.counting(here)) >= MOST_PARTS

    def _whole(self, connection: Connection, table: Table, day: date) -> _New:
        return self._copy(connection, table, "whole", day, table.name, _on(table, day))

    def _copy(
        self,
        connection: Connection,
        table: Table,
        kind: str,
        day: date | None,
        relation: str,
        where: str = "true",
    ) -> _New:
        file = self._unfinished / f"{table.name}.{day}.{kind}.parquet"
        ((count,),) = connection.execute(
            f"COPY (SELECT {names(table.column_names)} FROM {relation} WHERE {where} "
            f"ORDER BY {parquet.order(table)}) TO {literal(file)} (FORMAT parquet, "
            f"COMPRESSION zstd, KV_METADATA {{'table': {literal(table.name)}, "
            f"'units': {literal(parquet.units(table))}}})"
        ).fetchall()
        return _New(table, day, kind, file, count)

    def _to_disk(self, new: list[_New]) -> None:
        """Bring the files to the disk, many at once: one after another each would wait for it."""
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda new: files.sync(new.file), new))

    def _name(self, new: _New) -> int:
        """Give a file its names: from then on it is there. The moment from which it counts in the
        place of others, 0: at once."""
        folder = parquet.folder_of(self.root, TABLES[new.table.name])
        plain = self.root / new.table.name
        if new.day:
            folder, plain = (parquet.day_folder(f, new.day) for f in (folder, plain))
        before = parquet.files_in(folder)
        if new.kind == "whole" and not new.count and not before:
            new.file.unlink()
            return 0
        number = max((file.number for file in before), default=0) + 1
        over = new.kind == "whole" and bool(before)
        moment_ms = round(time.time() * 1000) + SOON_MS if over else 0
        moment = f"-{moment_ms}" if new.kind == "whole" else ""
        suffix = "parquet" if new.count or new.kind == "version" else "gone"
        hidden = folder / f"{number}-{new.kind}{moment}.{suffix}"
        folder.mkdir(parents=True, exist_ok=True)
        new.file.replace(hidden)
        former = list(plain.glob("*.parquet")) if new.kind != "part" else []
        if suffix == "parquet":
            plain.mkdir(parents=True, exist_ok=True)
            _link(hidden, plain / f"{number}.parquet")
        for file in former:
            if file.name != f"{number}.parquet":
                file.unlink(missing_ok=True)
        if new.kind == "version":
            _remove_old_versions(before)
        return moment_ms

    def _complete(self, connection: Connection, model: type[Row]) -> None:
        """All of the table is there now: the files that tell its columns say so."""
        table = model.table
        if table.time is None:
            return
        folder = parquet.folder_of(self.root, model) / parquet.NO_DAY
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("0-whole-0.parquet", "0-part.parquet"):
            if (folder / name).exists():
                continue
            empty = self._copy(connection, table, "part", None, table.name, "false")
            files.sync(empty.file)
            empty.file.replace(folder / name)

    def _views(self) -> str:
        """What views.sql says."""
        with suppress(OSError, ValueError):
            return (self.root / "views.sql").read_text(encoding="utf-8")
        return ""

    def _write_script(self, before: str) -> None:
        """Write views.sql where it said something else."""
        text = script(self.root)
        if text != before:
            files.write_private(self.root / "views.sql", text)

    # Keeping it small

    def _sweep(self) -> None:
        """Remove what has not counted for longer than any query lasts. Raises OSError."""
        now = datetime.now(UTC)
        current = {parquet.folder_of(self.root, model) for model in TABLES.values()}
        for folder in (self.root / parquet.HIDDEN).glob("*.*"):
            if folder in current:
                for day in parquet.days_under(folder).values():
                    _remove_over(day, now)
            elif folder.is_dir() and _succeeded(folder, current, now):
                shutil.rmtree(folder)


def _owner(connection: Connection) -> str:
    """What a file is known by: its name, and when its layout was made."""
    ((name, born),) = connection.execute(
        "SELECT current_database(), min(applied_at)::VARCHAR FROM schema_migrations"
    ).fetchall()
    return f"{name}\n{born}\n"


def _on(table: Table, day: date) -> str:
    """Whether a row is of a day, in UTC."""
    start, end = (
        literal(datetime(d.year, d.month, d.day, tzinfo=UTC)) for d in (day, day + timedelta(1))
    )
    return f'"{table.time}" >= {start} AND "{table.time}" < {end}'


def _link(file: Path, plain: Path) -> None:
    """Give a file its name among the plain ones; a copy where the disk knows no two names."""
    plain.unlink(missing_ok=True)
    try:
        plain.hardlink_to(file)
    except OSError:
        shutil.copyfile(file, plain)


def _remove_old_versions(versions: list[parquet.File]) -> None:
    """Of the versions of a table that do not count any more, those that nobody reads."""
    before = time.time() - VERSIONS_LEFT.total_seconds()
    for version in versions:
        if version.path.stat().st_mtime < before:
            version.path.unlink()


def _remove_over(day: Path, now: datetime) -> None:
    """Of the files of a day, those that have not counted for long."""
    here = parquet.files_in(day)
    until_ms = (now - DAYS_LEFT).timestamp() * 1000
    wholes = [f for f in here if f.kind == "whole" and f.moment_ms < until_ms]
    if not wholes:
        return
    newest = max(wholes)
    for file in here:
        if file.number < newest.number:
            file.path.unlink()
    if newest.gone and here[-1] == newest:
        newest.path.unlink()
        with suppress(OSError):
            day.rmdir()


def _succeeded(folder: Path, current: Collection[Path], now: datetime) -> bool:
    """Whether a table's files have been in another folder than this one for long."""
    table = folder.name.partition(".")[0]
    for other in current:
        if other.name.partition(".")[0] == table and other.exists():
            return other.stat().st_ctime < (now - DAYS_LEFT).timestamp()
    return False
