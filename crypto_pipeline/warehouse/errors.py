"""What can be wrong with the file, and what helps; every message says what to do."""

import errno
import os
import re
from pathlib import Path
from typing import ClassVar

import duckdb

from crypto_pipeline.warehouse.sql import first_line, log_of


class WarehouseError(RuntimeError):
    """The database cannot be used. passes: whether that ends without anybody's doing."""

    passes: ClassVar[bool] = False


class Locked(WarehouseError):
    """Somebody else holds the file: another program, or another writer of our own."""

    passes = True


class Hurried(WarehouseError):
    """There was no time to write into the file: the program is being ended."""

    passes = True


class Outdated(WarehouseError):
    """The file has the layout of an older crypto_pipeline; the next write brings it up to date."""


class MigrationFailed(WarehouseError):
    """The file has the layout of an older crypto_pipeline, and something in it is in the way of
    today's."""


class TooNew(WarehouseError):
    """The file was written by a newer crypto_pipeline, or a newer DuckDB."""


class Damaged(WarehouseError):
    """DuckDB cannot read the file, or a collection in the spool."""


class Unfit(WarehouseError):
    """A collection in the spool does not fit the tables of this crypto_pipeline."""


class Unavailable(WarehouseError, OSError):
    """The system does not let us: no room, no permission, no file handle, no memory. The file
    itself may be whole."""


class Lost(WarehouseError):
    """A collection could be kept nowhere: neither in the file nor in the spool."""


class Unpublished(WarehouseError):
    """What is in the file could not be published as Parquet; the next write publishes it too."""


class Refused(WarehouseError):
    """A query of somebody who is not trusted is not allowed, is wrong, or is over a limit."""


OF_WHAT_IS_WRITTEN = (
    duckdb.ProgrammingError,
    duckdb.DataError,
    duckdb.IntegrityError,
    duckdb.NotSupportedError,
    duckdb.DependencyException,
    duckdb.SequenceException,
)
"""What DuckDB raises about statements and rows, and not about the file, the disk or memory."""

_LOCKED = ("could not set lock", "conflicting lock", "being used by another process")
_NEWER = ("newer version of duckdb", "database file with version number")
_FOREIGN = ("not a valid duckdb database", "download extension", "extension that is not")
_DAMAGED = ("corrupt", "checksum", "could not read enough bytes", "replaying wal")

_NO_ROOM = "There is no room: free some on that disk, or move the database to a bigger one"
_FORBIDDEN = (
    "The system does not allow it: the user that runs crypto_pipeline needs to write the database, "
    "the folder around it and what lies beside it"
)
_HANDLES = "Too many files are open: raise the limit (`ulimit -n`)"
_DISK = "The disk fails: look at its state and the system's log before anything else"
_FOLDER = "That is no file: give another CRYPTO_PIPELINE_DATABASE"
_MEMORY = "There is not enough memory: end other programs, or give this one more"

_ADVICE = {
    name: advice
    for names, advice in (
        (("ENOSPC", "EDQUOT", "EFBIG"), _NO_ROOM),
        (("EACCES", "EPERM", "EROFS"), _FORBIDDEN),
        (("EMFILE", "ENFILE"), _HANDLES),
        (("EIO",), _DISK),
        (("EISDIR", "ENOTDIR"), _FOLDER),
        (("ENOMEM",), _MEMORY),
    )
    for name in names
}
"""What helps, by the names of the system's errors."""


def named(problem: Exception, path: Path) -> WarehouseError:
    """An error as what is wrong with the file at `path`, with what helps."""
    if isinstance(problem, WarehouseError):
        return problem
    words = first_line(str(problem))
    lower = str(problem).lower()
    if any(sign in lower for sign in _LOCKED):
        return Locked(
            f"{path} is held by another program: {words}. Close it there, or read a copy of the "
            "file"
        )
    if advice := _advice(problem):
        return Unavailable(f"{path}: {words}. {advice}")
    if any(sign in lower for sign in _NEWER):
        return TooNew(
            f"{path}: {words} It was written by a newer DuckDB: update duckdb "
            "(pip install -U duckdb), or point CRYPTO_PIPELINE_DATABASE at another file"
        )
    if any(sign in lower for sign in _FOREIGN):
        return Damaged(
            f"{path} is not a DuckDB file: {words}. If it is another program's, point "
            f"CRYPTO_PIPELINE_DATABASE elsewhere. {_move_aside(path)}"
        )
    if _is_damage(problem, path):
        return Damaged(f"{path} cannot be read: {words}. {_move_aside(path)}")
    return WarehouseError(f"{path} cannot be used: {words}")


def of_the_system(problem: Exception) -> bool:
    """Whether an error is the system's, and not of what is read or written."""
    return _advice(problem) is not None


def _advice(problem: Exception) -> str | None:
    """What helps against an error of the system; DuckDB tells those by their words alone."""
    if isinstance(problem, duckdb.OutOfMemoryException | MemoryError):
        return _MEMORY
    if isinstance(problem, OSError):
        return _ADVICE.get(errno.errorcode.get(problem.errno or 0, ""), "")
    words = str(problem)
    for name, advice in _ADVICE.items():
        if hasattr(errno, name) and os.strerror(getattr(errno, name)) in words:
            return advice
    return None


def _is_damage(problem: Exception, path: Path) -> bool:
    """Whether DuckDB could not make sense of the file, or of none that it names."""
    words = str(problem)
    others = [name for name in re.findall(r'"(/[^"]+)"', words) if not name.startswith(str(path))]
    if others:
        return False
    broken = (duckdb.InternalError, duckdb.FatalException, duckdb.SerializationException)
    return isinstance(problem, broken) or any(sign in words.lower() for sign in _DAMAGED)


def _move_aside(path: Path) -> str:
    """What to do with a damaged file."""
    log, first = log_of(path), ""
    if log.exists() and log.stat().st_size:
        first = (
            f"First move {log.name} alone aside: it holds the last writes, and without it the file "
            "may be whole. "
        )
    return (
        f"{first}If the file is damaged, move it aside: the next collection makes a new one and "
        "adds what waits in the spool beside it"
    )
