"""What keeps an export from being made; the words say what helps."""

from collections.abc import Collection
from difflib import get_close_matches


class ExportError(ValueError):
    """Nothing was exported, and nothing that was there is changed."""


def unknown(what: str, word: str, known: Collection[str]) -> ExportError:
    """The error for a word that names nothing here; says what is near, or what there is."""
    near = get_close_matches(word, known, 3) or sorted(known)[:10]
    there = f"there is {', '.join(near)}" if near else "there is none yet: collect first"
    return ExportError(f"{what} {word!r} has no candles; {there}")
