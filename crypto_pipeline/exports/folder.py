"""The folder of an export: written aside, and put in its place when it is whole.

Owns: export.json, which says what is in the folder; and that nothing but an export of ours is ever
replaced.
Must not know: any format.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crypto_pipeline.exports.errors import ExportError
from crypto_pipeline.files import private_folder, unfinished_name, write_private

ABOUT = "export.json"


@contextmanager
def written(folder: Path, about: Mapping[str, Any]) -> Iterator[Path]:
    """A folder to write into, which takes the place of `folder` when the block is done.

    about: what export.json says besides the names of the files. Raises ExportError where something
    else is in the way; what is in the folder stays as it is when the block fails.
    """
    folder = folder.absolute()
    check_free(folder)
    beside = folder.with_name(unfinished_name(f".{folder.name}."))
    try:
        private_folder(beside)
        yield beside
        files = sorted(_files_in(beside))
        write_private(
            beside / ABOUT,
            json.dumps({**about, "files": files}, indent=1, ensure_ascii=False) + "\n",
        )
        check_free(folder)
        _put(beside, folder)
    except OSError as problem:
        raise ExportError(f"{folder} cannot be written: {problem}") from problem
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def check_free(folder: Path) -> None:
    """Raises ExportError where something is in the folder that no export wrote."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ExportError(f"{folder} is a file: name a folder that is new, empty or an export")
    there = set(_files_in(folder))
    ours = _ours(folder) | {ABOUT} if ABOUT in there else set()
    if others := sorted(there - ours):
        more = f" and {len(others) - 1:,} more" if len(others) > 1 else ""
        raise ExportError(
            f"in {folder} is {others[0]}{more}, which no export wrote: "
            "move that away, or name another folder"
        )


def _ours(folder: Path) -> set[str]:
    try:
        return set(json.loads((folder / ABOUT).read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise ExportError(
            f"{folder / ABOUT} cannot be read, so that nobody knows what an export wrote there: "
            "name another folder"
        ) from problem


def _files_in(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_dir():
            yield path.relative_to(folder).as_posix()


def _put(beside: Path, folder: Path) -> None:
    """Two renames: who looks between them finds no folder, and never half of one."""
    if not folder.exists():
        beside.rename(folder)
        return
    before = folder.with_name(unfinished_name(f".{folder.name}."))
    folder.rename(before)
    try:
        beside.rename(folder)
    except OSError:
        before.rename(folder)
        raise
    shutil.rmtree(before, ignore_errors=True)
