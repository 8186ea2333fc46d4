"""The spool: collections that wait on disk as Parquet until the file can be written.

Owns: the names in the folder, that a collection is in it whole or not at all, which one is damaged,
and what is cleared away.
Must not know: how rows get into the file.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb

from crypto_pipeline import files
from crypto_pipeline.tables import TABLES
from crypto_pipeline.warehouse.errors import Unfit, WarehouseError, of_the_system
from crypto_pipeline.warehouse.load import Batch, stage
from crypto_pipeline.warehouse.sql import first_line, literal, open_duckdb

_WAITING, _DAMAGED, _UNFINISHED = ".collection", ".damaged", ".unfinished"

_NAME = re.compile(r"[^~]+~(.+)\.[a-z]+")
"""Of a collection: when it was collected, its id, and what became of it."""

_FORMER_NOTE = re.compile(r"memory\.[0-9a-f]{32}")
"""A note that an earlier release had not finished."""

_STAGED = "crypto_pipeline_"
"""How the temporary folder of a batch begins."""


class Spool:
    """The folder of what waits. Made, with all that is put into it, for its owner alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.note = folder / "memory.json"
        self._why = folder / "why.txt"

    # What is in it

    def waiting(self) -> list[Path]:
        """Collections that wait, oldest first. Whatever else is in the folder is passed over."""
        return self._collections(_WAITING)

    def damaged(self) -> list[Path]:
        """Collections that were put aside since they cannot be read."""
        return self._collections(_DAMAGED)

    def _collections(self, what: str) -> list[Path]:
        try:
            with os.scandir(self.folder) as entries:
                names = [entry.name for entry in entries if entry.is_dir()]
        except OSError:
            return []
        return sorted(self.folder / n for n in names if n.endswith(what) and _NAME.fullmatch(n))

    @property
    def why(self) -> str | None:
        """What kept the collections from being written, unless it passes by itself."""
        try:
            return self._why.read_text(encoding="utf-8")
        except (OSError, ValueError):
            return None

    def say_why(self, problem: WarehouseError | None) -> None:
        """Leave word of what keeps the collections, for who asks `why`; None: of nothing."""
        with suppress(OSError):
            if problem is None:
                self._why.unlink(missing_ok=True)
            elif not problem.passes:
                files.write_private(self._why, str(problem))

    # Into it

    @contextmanager
    def staged(self, batch: Batch) -> Iterator[Mapping[str, str]]:
        """The batch staged in a temporary folder: the system's, or one in here when that is full.
        Raises OSError."""
        _clear_temporary()
        try:
            folder = Path(tempfile.gettempdir()) / files.unfinished_name(_STAGED)
            relations = _stage(batch, folder)
        except OSError:
            files.private_folder(self.folder)
            folder = self.folder / f"{files.unfinished_name()}{_UNFINISHED}"
            relations = _stage(batch, folder)
        try:
            yield relations
        finally:
            _remove(folder)

    def put(self, batch: Batch, staged: Mapping[str, str]) -> None:
        """Keep a staged batch; all of it or nothing. Raises OSError or duckdb.Error."""
        files.private_folder(self.folder)
        name = f"{batch.collected_at:%Y%m%dT%H%M%S%f}~{batch.collection_id}"
        target = self.folder / f"{name}{_WAITING}"
        unfinished = self.folder / f"{files.unfinished_name(f'{name}.')}{_UNFINISHED}"
        unfinished.mkdir(files.OWNERS_FOLDER)
        try:
            _write_parquet(staged, unfinished)
            if not target.exists():  # else it waits already
                unfinished.replace(target)
                files.sync_folder(self.folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    # Out of it

    def relations(self, collection: Path) -> dict[str, str]:
        """The SELECT that reads each table of a waiting collection. Raises OSError, or Unfit for a
        table of a later release."""
        found = _parquet(collection)
        if unknown := [file.stem for file in found if file.stem not in TABLES]:
            raise Unfit(f"{collection} waits on: there is no table {', '.join(unknown)} here")
        # The table's own columns as well: the rows may have waited for a newer version.
        return {
            file.stem: f"FROM read_parquet({literal(file)}) "
            f"UNION ALL BY NAME (FROM {file.stem} LIMIT 0)"
            for file in found
        }

    def damage(self, collection: Path) -> str | None:
        """Why a collection's own Parquet cannot be read; None when it can, or when it is the
        system that does not let us."""
        try:
            with open_duckdb() as memory:
                for file in _parquet(collection):
                    memory.execute(
                        f"CREATE OR REPLACE TEMP TABLE whole AS FROM read_parquet({literal(file)})"
                    )
        except duckdb.Error as problem:
            return None if of_the_system(problem) else first_line(str(problem))
        except OSError:
            return None
        return None

    def put_aside(self, collection: Path, damage: str) -> Path:
        """Take a damaged collection out of what waits; gives where it is now. Raises OSError."""
        files.write_private(collection / "why.txt", damage)
        aside = collection.with_suffix(_DAMAGED)
        collection.replace(aside)
        return aside

    def take_back(self) -> None:
        """Let those wait again that an earlier release put aside for another reason than their own:
        a full disk was one. What is damaged indeed says why from then on."""
        for aside in self.damaged():
            with suppress(OSError):  # it may not be ours to look at
                if (aside / "why.txt").exists():
                    continue
                if damage := self.damage(aside):
                    files.write_private(aside / "why.txt", damage)
                elif _parquet(aside):
                    aside.replace(aside.with_suffix(_WAITING))

    def remove(self, collection: Path) -> None:
        """Remove a collection that is in the database. Raises OSError."""
        shutil.rmtree(collection)

    def clear(self) -> None:
        """Remove what writers that were killed have left."""
        try:
            found = list(self.folder.iterdir())
        except OSError:
            return
        for left in files.left_behind(found):
            if left.name.endswith(_UNFINISHED) or _FORMER_NOTE.fullmatch(left.name):
                _remove(left)


def collection_id(collection: Path) -> str:
    """The id of a collection in the spool."""
    return collection.stem.split("~", 1)[1]


def _parquet(collection: Path) -> list[Path]:
    """The files of a collection; unlike glob this raises OSError where we may not look."""
    return sorted(file for file in collection.iterdir() if file.suffix == ".parquet")


def _stage(batch: Batch, folder: Path) -> Mapping[str, str]:
    """The batch staged in a new folder. Raises OSError, and leaves none then."""
    folder.mkdir(files.OWNERS_FOLDER)
    try:
        return stage(batch, folder)
    except BaseException:
        _remove(folder)
        raise


def _write_parquet(staged: Mapping[str, str], folder: Path) -> None:
    """Every relation to a file of its own, brought to the disk."""
    with open_duckdb() as memory:
        memory.execute("SET TimeZone = 'UTC'")
        for table, relation in staged.items():
            file = folder / f"{table}.parquet"
            memory.execute(f"COPY ({relation}) TO {literal(file)} (FORMAT parquet)")
            file.chmod(files.OWNER)
            files.sync(file)
    files.sync_folder(folder)


def _clear_temporary() -> None:
    """Remove the temporary folders of writers that were killed: nothing else, whatever its name."""
    try:
        found = list(Path(tempfile.gettempdir()).glob(f"{_STAGED}*"))
    except OSError:
        return
    for left in files.left_behind(found):
        with suppress(OSError):
            if all(f.suffix == ".json" and f.stem in TABLES for f in left.iterdir()):
                _remove(left)


def _remove(path: Path) -> None:
    """Remove a file or folder if it can be."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
