"""Files on disk: for their owner alone, brought to the disk, and gone when their writer died.

Owns: the modes of what is made here. Modes of what is there already are its owner's choice.
Must not know: what is in a file.
"""

import os
import re
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

OWNER = 0o600
OWNERS_FOLDER = 0o700

LEFT_AFTER_S = 3600.0
"""What is being written for longer has lost its writer: nothing here takes a minute."""


def private(path: str, flags: int) -> int:
    """The `opener` of open() for files that only their owner may read; a file that is there keeps
    its mode."""
    return os.open(path, flags, OWNER)


def private_folder(folder: Path) -> None:
    """Make the folder, for its owner alone, where there is none. Raises OSError."""
    folder.mkdir(OWNERS_FOLDER, parents=True, exist_ok=True)


def as_private_as(file: Path, other: Path) -> None:
    """Give a file the group and the mode of another, if there is one, as far as the system lets
    us."""
    with suppress(OSError):
        about = other.stat()
        if hasattr(os, "chown"):
            os.chown(file, -1, about.st_gid)
        file.chmod(about.st_mode & 0o777)


def make_beside(file: Path, other: Path) -> None:
    """Make the empty file with the mode of the other, where there is none and it can be made: who
    opens it next finds it so."""
    with suppress(OSError):
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, OWNER))
        as_private_as(file, other)


def write_private(file: Path, text: str) -> None:
    """Write a text file in one step, for its owner alone unless there is one with another mode.
    Raises OSError. What a killed writer leaves ends in ".unfinished"."""
    beside = file.with_name(f"{unfinished_name(f'{file.name}.')}.unfinished")
    try:
        with open(beside, "w", encoding="utf-8", opener=private) as out:
            out.write(text)
        as_private_as(beside, file)
        sync(beside)
        beside.replace(file)
    except BaseException:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
    sync_folder(file.parent)


def sync(file: Path) -> None:
    """Bring what was written to the disk."""
    with file.open("rb") as written:
        os.fsync(written.fileno())


def sync_folder(folder: Path) -> None:
    """Bring a rename to the disk, where folders can be opened for that."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def unfinished_name(begin: str = "") -> str:
    """A name of its own for what is being written, that says who writes it."""
    return f"{begin}{os.getpid()}-{uuid.uuid4().hex}"


_WRITER = re.compile(r"(?:^|[._])(\d+)-[0-9a-f]{32}(?:\.|$)")


def left_behind(found: Iterable[Path]) -> Iterator[Path]:
    """Of these, what no living process can be writing any more.

    By the clock in either direction: one that went back must not keep it for ever. But the clock
    may have been set while somebody writes, so a writer that lives keeps what bears its number.
    """
    for path in found:
        with suppress(OSError):
            old = abs(time.time() - path.lstat().st_mtime) > LEFT_AFTER_S
            if old and not _written_by_the_living(path.name):
                yield path


def _written_by_the_living(name: str) -> bool:
    writer = _WRITER.search(name)
    if not writer or os.name != "posix":  # elsewhere asking after a process may end it
        return False
    try:
        os.kill(int(writer[1]), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it lives, and is another user's
        pass
    return True
