"""The lists of words in the files beside this module, and the words and phrases that weigh.

Owns: the form of these files, and how a phrase is found in a text. Must not know: how the weights
of a text add up.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

GAP = "..."
"""Stands in a phrase for words that do not matter."""
LONGEST_GAP = 5


def lines(name: str) -> Iterator[list[str]]:
    """The fields of each line of a file of this package, without comments."""
    text = Path(__file__).with_name(name).read_text(encoding="utf-8")
    for line in text.splitlines():
        if line and not line.startswith("#"):
            yield line.split("\t")


@cache
def words_that(use: str) -> frozenset[str]:
    """The words of words.tsv that are good for this."""
    return frozenset(dict(lines("words.tsv"))[use].split())


class Found(NamedTuple):
    """What stands at a place of a text: an entry, what it weighs, and how many words it takes."""

    entry: str
    weight: float
    length: int


class Lexicon:
    """What words and phrases weigh, from -4 to 4.

    spellings: all the ways in which an entry may be written. stems: a word of a text, and what it
    is without its endings.
    """

    def __init__(
        self,
        name: str,
        spellings: Callable[[str], Iterable[str]],
        stems: Callable[[str], Iterable[str]],
    ) -> None:
        self._stems = stems
        self.weights = {
            spelled: float(weight)
            for weight, listed in lines(name)
            for entry in listed.split(",")
            for spelled in spellings(entry.strip())
        }
        self._phrases: dict[str, list[tuple[str, ...]]] = {}
        for entry in self.weights:
            first, *rest = entry.split()
            self._phrases.setdefault(first, []).append((first, *rest))

    def at(self, words: Sequence[str], place: int) -> Found | None:
        """The longest entry that begins at a place of a text."""
        longest: Found | None = None
        for stem in self._stems(words[place]):
            for phrase in self._phrases.get(stem, ()):
                rest = self._length(phrase[1:], words, place + 1)
                if rest is not None and (longest is None or rest + 1 > longest.length):
                    entry = " ".join(phrase)
                    longest = Found(entry, self.weights[entry], rest + 1)
        return longest

    def _length(self, phrase: Sequence[str], words: Sequence[str], place: int) -> int | None:
        """How many words from a place on are a phrase, None when they are not."""
        if not phrase:
            return 0
        if phrase[0] == GAP:
            for skipped in range(min(LONGEST_GAP, len(words) - place) + 1):
                length = self._length(phrase[1:], words, place + skipped)
                if length is not None:
                    return skipped + length
            return None
        if place >= len(words) or phrase[0] not in self._stems(words[place]):
            return None
        length = self._length(phrase[1:], words, place + 1)
        return None if length is None else length + 1
