"""What one collection tells the next: in the file's tables, and in a note beside the file for the
times when the file cannot be read."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from crypto_pipeline import clock, files
from crypto_pipeline.tables import RateLimitUsage, RotationState, Row, SourceHealth
from crypto_pipeline.tables.pools import Period
from crypto_pipeline.warehouse.layout import Layout
from crypto_pipeline.warehouse.sql import Connection, literal, names

Usage = tuple[str, Period, datetime]
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

    newer: the column by which, of two rows of one key, the later is known. at: the time a row is
    of; one ahead of the clock is not remembered. newest: whether only those of the newest time of
    each period are.
    """

    model: type[Row]
    newer: str
    at: str
    newest: bool = False

    def select(self, columns: Sequence[str], latest: datetime) -> str:
        """The SQL of the rows that no later moment is written in."""
        newest = f"QUALIFY {self.at} = max({self.at}) OVER (PARTITION BY period)"
        return (
            f"SELECT {names(columns)} FROM {self.model.table.name} "
            f"WHERE {self.at} <= {literal(latest)} {newest if self.newest else ''}"
        )

    def key(self, row: Row) -> Any:
        values = tuple(getattr(row, name) for name in self.model.table.key)
        return values if len(values) > 1 else values[0]


_REMEMBERED = {
    "health": _Remembered(SourceHealth, "asked_at", "asked_at"),
    "rotation": _Remembered(RotationState, "asked_at", "asked_at"),
    "usage": _Remembered(RateLimitUsage, "calls", "window_start", newest=True),
}
"""The parts of a Memory that are rows of a table."""

_RANKS = TypeAdapter(dict[str, int])


def from_file(connection: Connection, here: Layout, now: datetime) -> Memory:
    """What the tables say by now; nothing of those that an older file does not have, and nothing of
    a row that this release does not understand, such as one with a newer one's word."""
    memory = Memory()
    latest = now + clock.AHEAD
    for part, about in _REMEMBERED.items():
        name = about.model.table.name
        columns = [c for c in about.model.table.column_names if c in here.get(name, ())]
        if columns:
            found = connection.execute(about.select(columns, latest))
            for values in found.fetchall():
                with suppress(ValidationError):
                    row = about.model.model_validate(dict(zip(columns, values, strict=True)))
                    getattr(memory, part)[about.key(row)] = row
    if "coins" in here:
        known = f"(FROM coins WHERE updated_at <= {literal(latest)})"
        ranks = connection.execute(
            f"SELECT symbol, min(rank) FROM {known} "
            f"WHERE updated_at > (SELECT max(updated_at) FROM {known}) - INTERVAL 2 DAY "
            "GROUP BY symbol"
        )
        memory.ranks = dict(ranks.fetchall())
    return memory


def to_note(memory: Memory, note: Path) -> None:
    """Write the memory down, in one step. Raises OSError."""
    files.private_folder(note.parent)
    text = json.dumps(
        {"ranks": memory.ranks}
        | {
            part: [row.model_dump(mode="json") for row in getattr(memory, part).values()]
            for part in _REMEMBERED
        }
    )
    files.write_private(note, text)


def from_note(note: Path, now: datetime) -> Memory:
    """What the note says by now, row by row; nothing when there is none that can be read."""
    memory = Memory()
    try:
        noted = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return memory
    if not isinstance(noted, dict):
        return memory
    for part, about in _REMEMBERED.items():
        for values in _list(noted.get(part)):
            with suppress(ValidationError):
                row = about.model.model_validate_json(json.dumps(values))
                if not clock.ahead(getattr(row, about.at), now):
                    getattr(memory, part)[about.key(row)] = row
    with suppress(ValidationError):
        memory.ranks = _RANKS.validate_python(noted.get("ranks", {}))
    return memory


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def newest(known: Memory, noted: Memory) -> Memory:
    """The memory with, of two rows of one key, the later."""
    for part, about in _REMEMBERED.items():
        rows = getattr(known, part)
        for key, row in getattr(noted, part).items():
            here = rows.get(key)
            if here is None or getattr(row, about.newer) > getattr(here, about.newer):
                rows[key] = row
    return known
