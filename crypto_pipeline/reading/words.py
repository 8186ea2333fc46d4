"""Words of a text: which language it is in, and how its words are told.

Owns: that a text is bounded before anything looks at it. Must not know: what a word means.
"""

import re
from collections.abc import Iterator
from typing import Literal

Language = Literal["en", "fa"]

LONGEST = 600
"""Characters of a text that are read: a headline is shorter, and a summary has said it by then."""

_PERSIAN = re.compile(r"[\u0600-\u06ff]")
_LATIN = re.compile(r"[A-Za-z]")
_OTHER = re.compile(r"[^\W\d_A-Za-z\u0600-\u06ff\u00c0-\u024f]")

_ENGLISH = frozenset(
    "a after ahead all amid an and are as at be but by can could do does for from has have how if "
    "in into is it its may more new not of off on or out over says than that the their this to up "
    "what when who why will with would you your".split()
)
_NOT_ENGLISH = frozenset(
    "al aus auf bei com como con da das dans de dei del dem den der des di die du e ein eine el "
    "em en es est et fällt für gli ile il im ist la las le les los mit nach nicht não não non para "
    "pas pour por que qui se sich sind steigt su sur um una und une unter uma ve vom von vor wird "
    "zu zum zur über y".split()
)

_FOLDED = str.maketrans(
    {
        **dict.fromkeys("يىئ", "ی"),
        **dict.fromkeys("أإٱ", "ا"),
        "ك": "ک",
        "ة": "ه",
        "ۀ": "ه",
        "ؤ": "و",
        **{chr(code): None for code in (0x200C, 0x200D, 0x200E, 0x200F, 0x0640)},
        **{chr(code): None for code in range(0x064B, 0x0653)},
        **{ord("۰") + n: str(n) for n in range(10)},
        **{ord("٠") + n: str(n) for n in range(10)},
        "٫": ".",
        "٬": ",",
        "’": "'",
        "‘": "'",
        "–": "-",
        "—": "-",
    }
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
    foreign = sum(word in _NOT_ENGLISH for word in small)
    return None if foreign > sum(word in _ENGLISH for word in small) else "en"


def folded(text: str) -> str:
    """A text in one spelling: Persian letters for Arabic ones, no half-spaces, plain digits."""
    return text.translate(_FOLDED)


def persian(text: str) -> str:
    """A text in one spelling of Persian: folded, and alef alike with and without its madda."""
    return folded(text).replace("آ", "ا")


def tokens(text: str) -> list[str]:
    """The words and numbers of a folded text, in small letters."""
    return _TOKEN.findall(text.lower())


def stems(word: str) -> Iterator[str]:
    """A Persian word, and what it is without its endings."""
    yield word
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 2:
            yield word[: -len(ending)]
