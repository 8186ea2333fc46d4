"""What text may be stored, and how any text is made so.

Half a character (a lone surrogate), NUL and the other control characters cannot be stored by one
reader or are obeyed by another: a terminal changes its colours, a log gets a line of its own.
"""

import re

LONGEST = 4_000
"""Characters of one stored text."""

_CONTROLS = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"

STORABLE = rf"^[^{_CONTROLS}]*$"
"""A pattern for text of a source's own that becomes a value: what does not match is damaged, and
its record is refused. Half a character never comes so far: pydantic refuses it."""

_UNSTORABLE = re.compile(rf"[{_CONTROLS}\ud800-\udfff]")


def storable(text: str, most: int = LONGEST) -> str:
    """The text with what cannot be stored written as its code, \\x1b or \\ud83d, and not longer."""
    text = text[:most]
    if text.isprintable():
        return text
    return _UNSTORABLE.sub(lambda found: ascii(found.group())[1:-1], text)[:most]


def without_controls(text: str) -> str:
    """The text with a blank for each control character: what prose loses nothing by."""
    return text if text.isprintable() else _UNSTORABLE.sub(" ", text)


def cell(text: str | None, most: int = 200) -> str:
    """Text of a source's as code in a cell of a Markdown table: shown as it is, obeyed by nobody.
    Nothing for none."""
    plain = " ".join((text or "").split()).replace("|", "\\|").replace("`", "'")
    return f"`{plain[:most]}`" if plain else ""
