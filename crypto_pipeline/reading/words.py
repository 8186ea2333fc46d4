"""Words of a text: which language it is in, and how its words are told.

Owns: that a text is bounded before anything looks at it. Must not know: what a word means.
"""

import re
from typing import Literal

from crypto_pipeline.reading.lexicon import words_that

Language = Literal["en", "fa"]

LONGEST = 600
"""Characters of a text that are read: a headline is shorter, and a summary has said it by then."""

_PERSIAN = re.compile(r"[\u0600-\u06ff]")
_LATIN = re.compile(r"[A-Za-z]")
_OTHER = re.compile(r"[^\W\d_A-Za-z\u0600-\u06ff\u00c0-\u024f]")

_HALF_SPACES = "\u200c\u200d\u200e\u200f"
_MARKS = "\u0640\u064b\u064c\u064d\u064e\u064f\u0650\u0651\u0652"
_FOLDED = str.maketrans(
    "يىئأإٱكةۀؤ۰۱۲۳۴۵۶۷۸۹٠١٢٣٤٥٦٧٨٩٫٬’‘–—",
    "یییاااکههو01234567890123456789.,''--",
    _HALF_SPACES + _MARKS,
)

_ENDINGS = ("هایشان", "هایش", "هایی", "های", "ها", "ترین", "شان", "اش", "ان", "ات", "ای", "ی")
"""Of Persian nouns and adjectives, the longest first."""

_TOKEN = re.compile(r"[^\W_]+(?:['.,][^\W_]+)*")


def bounded(text: str) -> str:
    """As much of a text as is read."""
    return text[:LONGEST]


def language(text: str) -> Language | None:
    """The language of a text that is read, told by its script, and Latin by its small words."""
    persian, latin = len(_PERSIAN.findall(text)), len(_LATIN.findall(text))
    if len(_OTHER.findall(text)) > max(persian, latin):
        return None
    if persian and 2 * persian >= latin:
        return "fa"
    if not latin:
        return None
    small = text.lower().split()
    foreign = sum(word in words_that("other") for word in small)
    return None if foreign > sum(word in words_that("english") for word in small) else "en"


def folded(text: str) -> str:
    """A text in one spelling: Persian letters for Arabic ones, no half-spaces, plain digits."""
    return text.translate(_FOLDED)


def persian(text: str) -> str:
    """A text in one spelling of Persian: folded, and alef alike with and without its madda."""
    return folded(text).replace("آ", "ا")


def tokens(text: str) -> list[str]:
    """The words and numbers of a folded text, in small letters."""
    return _TOKEN.findall(text.lower())


def stems(word: str) -> tuple[str, ...]:
    """A Persian word, and what it is without its endings; any other word as it is."""
    if not word.endswith(_ENDINGS):
        return (word,)
    found = [word.removesuffix(ending) for ending in _ENDINGS if word.endswith(ending)]
    return (word, *(stem for stem in found if len(stem) >= 2))
