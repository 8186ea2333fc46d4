"""How good or bad news a headline is: VADER with a lexicon of our own for English, and a lexicon
and a few rules for Persian.

Owns: how the words of a text add up, and from which score on it is positive or negative.
Must not know: tables, sources, what the files say of each word.
"""

import math
import re
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from crypto_pipeline.reading.lexicon import Lexicon, words_that
from crypto_pipeline.reading.words import (
    Language,
    bounded,
    folded,
    language,
    persian,
    stems,
    tokens,
)

if TYPE_CHECKING:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

Sentiment = Literal["positive", "negative", "neutral"]

TOLD_FROM = 0.25
"""A score so far from zero is positive or negative: one word that weighs 1."""

OF_A_SUMMARY = 0.5
"""What a summary counts, where the headline itself says nothing."""

OF_A_QUESTION = 0.3
"""What the words of a question and of an explanation count: they tell of nothing that happened."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text says: the score, -1 to 1, and its word."""

    score: float

    @property
    def sentiment(self) -> Sentiment:
        if abs(self.score) < TOLD_FROM:
            return "neutral"
        return "positive" if self.score > 0 else "negative"


def read(headline: str, summary: str | None = None) -> Reading | None:
    """What a headline says, and its summary where the headline says nothing; None in a language
    that is not read."""
    headline, summary = bounded(headline), bounded(summary or "")
    told = language(headline) and language(f"{headline} {summary}")
    if told is None:
        return None
    score_of = _SCORES[told]
    score = score_of(headline) or OF_A_SUMMARY * score_of(summary)
    return Reading(round(score, 4))


# English


def _score_english(text: str) -> float:
    words = _HYPHEN.sub(" ", folded(text)).split()
    keys = [word.strip(string.punctuation).lower() for word in words]
    lexicon, said, place = _english(), list[str](), 0
    while place < len(words):
        found = lexicon.at(keys, place)
        length = found.length if found else 1
        said.append(_as_one(found.entry) if found and length > 1 else words[place])
        place += length
    score = float(_vader().polarity_scores(" ".join(said))["compound"])
    return score * (OF_A_QUESTION if keys and keys[0] in words_that("asks") else 1)


_HYPHEN = re.compile(r"(?<=\w)-(?=\w)")


@cache
def _english() -> Lexicon:
    return Lexicon(
        "english.tsv",
        lambda entry: (entry,),
        lambda word: (word, word[:-1]) if word.endswith("s") else (word,),
    )


@cache
def _vader() -> "SentimentIntensityAnalyzer":
    """VADER, with our words over its own. Imported only where something is read."""
    from vaderSentiment import vaderSentiment  # noqa: PLC0415  (only who reads one pays for it)

    analyzer = vaderSentiment.SentimentIntensityAnalyzer()
    ours = _english().weights
    analyzer.lexicon.update({_as_one(entry): weight for entry, weight in ours.items()})
    return analyzer


def _as_one(phrase: str) -> str:
    """A phrase as one word: VADER looks at words alone."""
    return phrase.replace(" ", "_")


# Persian


def _score_persian(text: str) -> float:
    clauses = [tokens(clause) for clause in _CLAUSE.split(persian(text) + " ")]
    total = sum(map(_clause_score, clauses))
    if any(not words_that("asked").isdisjoint(clause) for clause in clauses):
        total *= OF_A_QUESTION
    return total / math.sqrt(total * total + 15)


_CLAUSE = re.compile(r"[؛،.!؟?:;|]\s")
_WITHOUT = frozenset(("بدون", "عدم"))
_AFTER = frozenset(("پس", "بعد"))

DENIED = -0.74
"""What is left of a weight that is denied; VADER's own figure."""
AFTERWARDS = 0.3
"""What counts of a thing after which another one happened."""


def _clause_score(words: Sequence[str]) -> float:
    """The weights of a clause, denied when its verb is."""
    total, place, denied = 0.0, 0, False
    while place < len(words):
        found = _persian().at(words, place)
        before = words[max(0, place - 2) : place]
        weight = found.weight if found else 0.0
        if not _WITHOUT.isdisjoint(before):
            weight *= DENIED
        if before[1:] == ["از"] and before[0] in _AFTER:
            weight *= AFTERWARDS
        total += weight
        denied = denied or (found is None and words[place] in words_that("denies"))
        place += found.length if found else 1
    return total * DENIED if denied else total


@cache
def _persian() -> Lexicon:
    """What is written with a half-space may be written with a blank."""
    return Lexicon(
        "persian.tsv",
        lambda entry: {persian(entry), persian(entry.replace("\u200c", " "))},
        stems,
    )


_SCORES: Mapping[Language, Callable[[str], float]] = {"en": _score_english, "fa": _score_persian}
