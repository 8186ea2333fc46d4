"""Which articles tell the same story.

Owns: when two headlines are of one story. Must not know: where articles are kept.
A story is held against by its first headline alone, so that it cannot drift from one event to the
next, and its name never changes.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, cached_property

from crypto_pipeline.reading.coins import canonical
from crypto_pipeline.reading.lexicon import words_that
from crypto_pipeline.reading.sentiment import read
from crypto_pipeline.reading.words import bounded, persian, stems

WITHIN = timedelta(hours=48)
"""How far apart two articles of one story are at most."""

ALIKE_FROM = 0.55
"""The part of the words of two headlines that both have, by weight, from which they are alike."""

MOST_OF_A_WORD = 1_000
"""Stories that share a word with a headline and are looked at, the newest of them: two days bring
fewer, and without an end a flood of headlines that differ in a figure would hold up the file."""

OF_A_COIN = OF_A_COMMON_WORD = 0.5
OF_A_FIGURE = 1.5

_FIGURE = re.compile(
    r"(?<![^\W_])(\d+(?:,\d{3})*(?:\.\d+)*)\s?-?"
    r"(%|percent|درصد|k|m|bn|b|t|thousand|million|billion|trillion|هزار|میلیون|میلیارد|تریلیون)?"
    r"(?![^\W_])",
    re.IGNORECASE,
)
_TIMES: Mapping[str, float] = {
    **dict.fromkeys(("k", "thousand", "هزار"), 1e3),
    **dict.fromkeys(("m", "million", "میلیون"), 1e6),
    **dict.fromkeys(("bn", "b", "billion", "میلیارد"), 1e9),
    **dict.fromkeys(("t", "trillion", "تریلیون"), 1e12),
}
_SUFFIXES = ("ing", "ed", "es", "s", "e")


@dataclass(frozen=True, slots=True)
class Article:
    """What is known of an article here: its key, its headline, and when it was published."""

    key: str
    headline: str
    at: datetime


class Headline:
    """A headline as it is compared."""

    def __init__(self, article: Article) -> None:
        self.key, self.at = article.key, article.at
        text = persian(bounded(article.headline))
        self._text = article.headline
        self.figures = frozenset(_figures(text))
        words = {
            _stem(w) for w in canonical(_FIGURE.sub(" ", text)) if w not in words_that("small")
        }
        self.coins = frozenset(word for word in words if word.isupper())
        self.weights = {word: _weight(word) for word in words}
        self.weights |= dict.fromkeys(self.figures, OF_A_FIGURE)
        self.total = sum(self.weights.values())

    @cached_property
    def score(self) -> float:
        """How good or bad its news are: only where the words are alike this is looked at."""
        reading = read(self._text)
        return 0.0 if reading is None or reading.sentiment == "neutral" else reading.score

    def same_story(self, other: "Headline", shared: float) -> bool:
        """Whether two headlines with so much weight in common are of one story: they are not when
        their figures or their coins differ, or when one tells good news and the other bad."""
        if shared < ALIKE_FROM * (self.total + other.total - shared):
            return False
        if abs(self.at - other.at) > WITHIN:
            return False
        if self.figures and other.figures and self.figures != other.figures:
            return False
        if self.coins - other.coins and other.coins - self.coins:
            return False
        return self.score * other.score >= 0


class Stories:
    """The stories of a time, each by its first headline."""

    def __init__(self) -> None:
        self._by_word: dict[str, list[Headline]] = defaultdict(list)

    def of(self, article: Article) -> str:
        """The key of the first article of the story that this one tells; its own when it is the
        first."""
        headline = Headline(article)
        shared: dict[Headline, float] = defaultdict(float)
        for word, weight in headline.weights.items():
            for first in self._by_word.get(word, [])[-MOST_OF_A_WORD:]:
                shared[first] += weight
        alike = [first for first, weight in shared.items() if headline.same_story(first, weight)]
        if alike:
            return min(alike, key=lambda first: (-shared[first], first.at, first.key)).key
        self._keep(headline)
        return headline.key

    def begin(self, article: Article) -> None:
        """Know the first article of a story."""
        self._keep(Headline(article))

    def _keep(self, headline: Headline) -> None:
        for word in headline.weights:
            self._by_word[word].append(headline)


def _figures(text: str) -> Iterator[str]:
    """The figures of a text, each in one form: 91K, 91,000 and 91 thousand are one."""
    for digits, unit in _FIGURE.findall(text):
        plain = digits.replace(",", "")
        if unit.lower() in _TIMES:
            plain = f"{float(plain) * _TIMES[unit.lower()]:.0f}" if plain.count(".") < 2 else plain
        yield f"{plain}%" if unit.lower() in ("%", "percent", "درصد") else plain


def _stem(word: str) -> str:
    """A word without its endings, the same for all its forms more often than not."""
    if word.isupper():
        return word
    word = stems(word)[-1]
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 4:
            return word.removesuffix(suffix).removesuffix("e")
    return word


def _weight(word: str) -> float:
    if word.isupper():
        return OF_A_COIN
    return OF_A_COMMON_WORD if word in _common() else 1.0


@cache
def _common() -> frozenset[str]:
    return frozenset(_stem(persian(word)) for word in words_that("common"))
