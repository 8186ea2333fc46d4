"""Whether an answer is one to the question that was asked. Pure.

Owns: how what was asked and what an answer repeats of it are compared.
Must not know: rows.
"""

import re
from collections.abc import Mapping
from typing import Any

from crypto_pipeline.sources.spec import Ask, Endpoint
from crypto_pipeline.sources.values import WrongShape, at

OF_EACH_RECORD = "*."
"""Begins a path into each record instead of the body."""

_BETWEEN = re.compile(r"[\s\-_/:.,]")


class OtherAnswer(ValueError):
    """An answer, or a record of one, to another question; says which."""


class Repeats:
    """What an endpoint's answer has to repeat of one ask: of the body, and of each record."""

    def __init__(self, endpoint: Endpoint, ask: Ask) -> None:
        known = {**endpoint.fixed, **ask.fixed, "each": ask.each}
        asked = {path: words.format(**known) for path, words in endpoint.repeats.items()}
        begin = len(OF_EACH_RECORD)
        of_records = {p[begin:]: w for p, w in asked.items() if p.startswith(OF_EACH_RECORD)}
        of_body = {p: w for p, w in asked.items() if not p.startswith(OF_EACH_RECORD)}
        self.of_body = Required(of_body)
        self.of_records = Required(of_records)


class Required:
    """Words that must lie at dotted paths."""

    def __init__(self, asked: Mapping[str, str]) -> None:
        self._asked = [(path, words, _letters(words)) for path, words in asked.items()]

    def __bool__(self) -> bool:
        return bool(self._asked)

    def require(self, value: Any) -> None:
        """Raises OtherAnswer when the value is about something else, or does not say about what."""
        for path, words, letters in self._asked:
            try:
                found = at(value, path)
            except WrongShape as problem:
                said = f"asked for {words}, and the answer does not say of what it is: {problem}"
                raise OtherAnswer(said) from None
            if _letters(found) != letters:
                raise OtherAnswer(f"asked for {words}, and {path} is {found!r:.60}")


def _letters(value: Any) -> str:
    return _BETWEEN.sub("", str(value)).casefold()
