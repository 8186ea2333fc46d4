"""What is in the file and may not be published yet, in a note beside it.

Owns: the note.
Must not know: how anything is published.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from crypto_pipeline import files
from crypto_pipeline.tables import TABLES
from crypto_pipeline.warehouse.changes import Changes, Days


@dataclass(frozen=True, slots=True)
class Owed:
    """Days of tables, and tables without a time, that are to be published anew from the file.
    why: why they were not, unless their writer was ended."""

    days: Days = field(default_factory=dict)
    wholes: frozenset[str] = frozenset()
    everything: bool = False
    why: str | None = None

    def also(self, changes: Changes, why: str | None = None) -> "Owed":
        """With all that is changed."""
        days = {table: set(found) for table, found in self.days.items()}
        for table, found in changes.all_days().items():
            days.setdefault(table, set()).update(found)
        everything = self.everything or changes.everything
        return Owed(days, self.wholes | changes.wholes, everything, why)

    def write(self, note: Path) -> None:
        """Write the note, and bring it to the disk. Raises OSError."""
        days = {table: sorted(map(str, found)) for table, found in self.days.items()}
        owed = {"days": days, "wholes": sorted(self.wholes), "everything": self.everything}
        files.private_folder(note.parent)
        files.write_private(note, json.dumps({**owed, "why": self.why}))


def owed_in(note: Path) -> Owed:
    """What the note says: nothing where there is none, and everything where it cannot be read."""
    try:
        return _read(json.loads(note.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Owed()
    except (OSError, ValueError, RecursionError, AttributeError, TypeError):
        return Owed(everything=True)


def _read(noted: Mapping[str, Any]) -> Owed:
    days: Days = {
        table: {date.fromisoformat(day) for day in found}
        for table, found in noted["days"].items()
        if table in TABLES and TABLES[table].table.time
    }
    wholes = frozenset(str(table) for table in noted["wholes"])
    return Owed(days, wholes, bool(noted["everything"]), noted["why"])


def forget(note: Path) -> None:
    """Nothing is owed any more. Raises OSError."""
    with suppress(FileNotFoundError):
        note.unlink()
