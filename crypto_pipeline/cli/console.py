"""Where the command line prints: answers to stdout, troubles and progress to stderr.

Owns: the consoles, and how tables, times and outcomes look on them.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from crypto_pipeline import clock
from crypto_pipeline.text import storable

WIDE = 170
"""Columns where nobody looks at a terminal: a log or a pipe."""

out = Console(width=None if sys.stdout.isatty() else WIDE)
err = Console(stderr=True)

COLOURS: Mapping[str, str] = {
    "ok": "green",
    "unchanged": "green",
    "empty": "yellow",
    "skipped": "dim",
    "throttled": "yellow",
}
"""The colour of each outcome that is not red."""


def coloured(outcome: str) -> str:
    """An outcome in its colour."""
    return f"[{COLOURS.get(outcome, 'red')}]{outcome}[/]"


def shown(text: str) -> str:
    """Text of anybody's for a terminal: it is printed as it is, and obeyed in nothing."""
    return escape(storable(text))


def print_json(answer: Any) -> None:
    """An answer for machines, on one line."""
    print(json.dumps(answer, ensure_ascii=False, default=str))


def plain_table(texts: Iterable[str] = (), numbers: Iterable[str] = ()) -> Table:
    """A table without lines: columns of text, then columns of numbers."""
    table = Table(box=None, pad_edge=False)
    for name in texts:
        table.add_column(name, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def when(text: str | None) -> str:
    """A time as it is read: "24 Nov 2026 02:26:05 UTC"."""
    return clock.said(datetime.fromisoformat(text)) if text else "never"
