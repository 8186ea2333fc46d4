"""The table of what was tried and what came of it."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

SHOWN = 3
"""Misses of a line that are shown."""


@dataclass(slots=True)
class Line:
    """What came of one kind.

    right: tries that ended as is right. raised: tries that ended in an exception, a hang or a dead
    process. spoilt: tries that cost a neighbour something. mb, seconds: the most of any try.
    missed: what was not right, in words.
    """

    part: str
    kind: str
    tries: int = 0
    right: int = 0
    raised: int = 0
    spoilt: int = 0
    mb: float = 0.0
    seconds: float = 0.0
    missed: list[str] = field(default_factory=list)

    def add(
        self,
        words: Sequence[str] = (),
        *,
        raised: bool = False,
        spoilt: bool = False,
        mb: float = 0.0,
        seconds: float = 0.0,
    ) -> None:
        """Count a try; `words` say what was not right of it."""
        self.tries += 1
        self.right += not words
        self.raised += raised
        self.spoilt += spoilt
        self.mb, self.seconds = max(self.mb, mb), max(self.seconds, seconds)
        self.missed += words

    def __str__(self) -> str:
        part = f"{100 * self.right / max(1, self.tries):.1f}"
        mb = f"{self.mb:.0f}" if self.mb else ""
        return (
            f"{self.part:9} {self.kind:32} {self.tries:7,} {part:>6} {self.raised:7,} "
            f"{self.spoilt:7,} {mb:>6} {self.seconds:7.1f}"
        )


HEAD = (
    f"{'part':9} {'kind':32} {'tries':>7} {'right%':>6} {'raised':>7} {'spoilt':>7} "
    f"{'max MB':>6} {'max s':>7}"
)


def text(lines: Iterable[Line]) -> str:
    """The table, with some of what was missed under each line."""
    shown = [HEAD]
    for line in lines:
        shown.append(str(line))
        shown += [f"{'':10}{word[:150]}" for word in dict.fromkeys(line.missed[:SHOWN])]
    return "\n".join(shown)


def total(lines: Sequence[Line]) -> str:
    tries = sum(line.tries for line in lines)
    right = sum(line.right for line in lines)
    missing = [f"{line.part}/{line.kind}" for line in lines if line.right < line.tries]
    words = f"{len(lines)} kinds, {tries:,} tries, {tries - right:,} not right"
    return words + (f"; kinds that miss: {', '.join(missing)}" if missing else "")


def save(lines: Iterable[Line], file: Path) -> None:
    about = [asdict(line) | {"missed": line.missed[:20]} for line in lines]
    file.write_text(json.dumps(about, indent=1, ensure_ascii=True), encoding="utf-8")
