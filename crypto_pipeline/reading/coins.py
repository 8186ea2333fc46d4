"""Which coins a text names.

Owns: when a word is a coin: by its name, by a ticker that means nothing else, after $ or in
brackets. Must not know: prices, tables, which coins are kept.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from crypto_pipeline.reading.lexicon import lines
from crypto_pipeline.reading.words import bounded, persian, stems

NO_COIN = "-"

_WORD = re.compile(r"\$?[^\W_]+(?:\.[^\W_]+)*")
_CASHTAG = re.compile(r"\$[A-Za-z][A-Za-z0-9]{0,9}")
_PAIR = re.compile(r"([A-Z0-9]{2,10})(?:USDT|USDC|USD)")


class _Name(NamedTuple):
    words: tuple[str, ...]
    symbol: str
    as_written: bool


class _Coins(NamedTuple):
    """What the file says: names by their first word, the longest first; tickers that mean nothing
    else; and all tickers."""

    names: Mapping[str, Sequence[_Name]]
    plain: frozenset[str]
    known: frozenset[str]


@cache
def _coins() -> _Coins:
    names: dict[str, list[_Name]] = {}
    plain, known = set(), set()
    for symbol, kind, *listed in lines("coins.tsv"):
        if symbol != NO_COIN:
            known.add(symbol)
            if kind == "ticker":
                plain.add(symbol)
        for name in (n.strip() for field in listed for n in field.split(",")):
            for spelled in {name, name.replace("\u200c", " ")}:
                words = tuple(_WORD.findall(persian(spelled)))
                as_written = name != name.lower()
                names.setdefault(words[0].lower(), []).append(_Name(words, symbol, as_written))
    by_length = {
        first: sorted(named, key=lambda n: len(n.words), reverse=True)
        for first, named in names.items()
    }
    return _Coins(by_length, frozenset(plain), frozenset(known))


def symbols(
    headline: str,
    summary: str | None = None,
    tags: Sequence[str] = (),
    known: Mapping[str, str] | None = None,
) -> list[str]:
    """The coins an article is about, in the order they are named: those of its headline, or else
    of its tags and its summary.

    known: tickers of more coins, and their names. A ticker means one of them only after $, or in
    brackets behind the name.
    """
    more = known or {}
    named = _named(headline, more)
    return named or _named(" | ".join([*tags, summary or ""]), more)


def _named(text: str, more: Mapping[str, str]) -> list[str]:
    text = persian(bounded(text))
    found = list(_WORD.finditer(text))
    words = [word.group() for word in found]
    coins, symbols, place = _coins(), list[str](), 0
    shouted = text.isupper()
    while place < len(words):
        name = _name_at(coins, words, place)
        if name:
            symbols.append(name.symbol)
        elif ticker := _ticker(coins, text, found[place], more, shouted):
            symbols.append(ticker)
        place += len(name.words) if name else 1
    return [symbol for symbol in dict.fromkeys(symbols) if symbol != NO_COIN]


def _name_at(coins: _Coins, words: Sequence[str], place: int) -> _Name | None:
    """The longest name that begins at this word."""
    for first in stems(words[place].lower()):
        for name in coins.names.get(first, ()):
            there = words[place : place + len(name.words)]
            if len(there) == len(name.words) and _alike(name, there):
                return name
    return None


def _alike(name: _Name, there: Sequence[str]) -> bool:
    if name.as_written:
        return tuple(there) == name.words
    *first, last = map(str.lower, there)
    return tuple(first) == name.words[:-1] and name.words[-1] in stems(last)


def _ticker(
    coins: _Coins, text: str, found: re.Match[str], more: Mapping[str, str], shouted: bool
) -> str | None:
    """The coin whose ticker stands here."""
    word, before = found.group(), text[: found.start()]
    if _CASHTAG.fullmatch(word):
        symbol = word[1:].upper()
        return symbol if symbol in coins.known or symbol in more else None
    if before.endswith("/") and before[-2:-1].isalnum():
        return None  # what a pair is counted in
    if word in coins.plain and not shouted:
        return word
    if before.endswith("(") and text[found.end() :].startswith(")"):
        if word in coins.known and before[-3:-2].isalnum():
            return word
        name = more.get(word)
        return word if name and before[:-1].rstrip().lower().endswith(name.lower()) else None
    pair = _PAIR.fullmatch(word)
    return pair[1] if pair and pair[1] in coins.plain else None


def canonical(text: str) -> Iterator[str]:
    """The words of a text in small letters, with a coin's ticker in the place of its name."""
    words = [found.group() for found in _WORD.finditer(persian(bounded(text)))]
    coins, place = _coins(), 0
    while place < len(words):
        name = _name_at(coins, words, place)
        if name and name.symbol != NO_COIN:
            yield name.symbol
        elif words[place].lstrip("$") in coins.plain:
            yield words[place].lstrip("$")
        else:
            yield words[place].lower()
        place += len(name.words) if name else 1
