"""Answers that lie: each sample and recording with one thing wrong, read by the real extraction.

A lie is caught when it costs the record, or no more than the columns it was told in. What is
counted as missed is a row that says something else than the honest one and looks as well.
"""

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from crypto_pipeline.collection.exchange import Answer
from crypto_pipeline.collection.extract import Extraction, extract
from crypto_pipeline.sources import ENDPOINTS
from crypto_pipeline.sources.spec import Ask, Endpoint
from crypto_pipeline.tables import Candle, NewsArticle
from crypto_pipeline.tables.outcomes import GOOD
from crypto_pipeline_tests.faults.bodies import dumped, each_value, everywhere, longest
from crypto_pipeline_tests.faults.report import Line
from crypto_pipeline_tests.fresh import SAMPLED_AT
from crypto_pipeline_tests.recorded import answered, clock_of
from crypto_pipeline_tests.upstream import sample_file

MOST_LEAVES = 60
"""Fields of one body that are lied in, one at a time."""

Place = tuple[str | int | None, ...]
"""Where a field lies: names on the way to it, None for every item of a list, and the number of a
value in a list that stands for a record."""

Edit = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Honest:
    """An endpoint's honest answer, and the rows that it becomes."""

    endpoint: Endpoint
    ask: Ask
    body: Any
    at: datetime
    rows: Sequence[Mapping[str, Any]]

    def told(self, body: Any) -> Extraction:
        answer = Answer(200, dumped(body), "application/json", self.at)
        return extract(self.endpoint, self.ask, answer, "lies")


def honest_answers() -> Iterator[Honest]:
    """Of every endpoint that answers in JSON: its sample, and the recordings that are read well."""
    for endpoint in ENDPOINTS.values():
        file = sample_file(endpoint)
        if file and file.suffix == ".json":
            yield from _honest(endpoint, endpoint.asks()[0], file.read_bytes(), SAMPLED_AT)
    for endpoint, ask, recording in answered():
        at = clock_of(endpoint, recording)
        yield from _honest(endpoint, ask, recording.file.read_bytes(), at)


def _honest(endpoint: Endpoint, ask: Ask, raw: bytes, at: datetime) -> Iterator[Honest]:
    with suppress(ValueError):
        answer = Answer(200, raw, "application/json", at)
        found = extract(endpoint, ask, answer, "lies")
        if found.outcome == "ok":
            rows = [row.model_dump() for row in found.rows]
            yield Honest(endpoint, ask, json.loads(raw), at, rows)


# What is told instead


def places(body: Any, at: Place = ()) -> Iterator[Place]:
    """Every field that holds a value, those of all items of a list as one."""
    if isinstance(body, dict):
        for name, inner in body.items():
            yield from places(inner, (*at, name))
    elif isinstance(body, list):
        record = not any(isinstance(inner, dict | list) for inner in body)
        for number, inner in enumerate(body):
            yield from places(inner, (*at, number if record else None))
    else:
        yield at


def edited(body: Any, place: Place, edit: Edit, depth: int = 0) -> Any:
    """The body with the values at one place edited; _GONE takes a field out of its object."""
    if depth == len(place):
        return body if isinstance(body, dict | list) else edit(body)
    name = place[depth]
    if name is None and isinstance(body, list):
        items = [edited(inner, place, edit, depth + 1) for inner in body]
        return [item for item in items if item is not _GONE]
    if isinstance(name, int) and isinstance(body, list) and name < len(body):
        inner = edited(body[name], place, edit, depth + 1)
        return [*body[:name], *([] if inner is _GONE else [inner]), *body[name + 1 :]]
    if isinstance(name, str) and isinstance(body, dict) and name in body:
        inner = edited(body[name], place, edit, depth + 1)
        return {k: v for k, v in (body | {name: inner}).items() if v is not _GONE}
    return body


_GONE = object()

_ISO = re.compile(r"\d{4}-\d{2}-\d{2}")
_SCALES = (1, 10**3, 10**6, 10**9)
_EARLY, _LATE = 1.45e9, 1.83e9
"""Seconds of the Unix clock that recordings and samples speak of."""


def is_number(value: Any) -> bool:
    if isinstance(value, str):
        return bool(re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", value, re.I))
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_time(value: Any) -> bool:
    if isinstance(value, str) and _ISO.match(value):
        return True
    return is_number(value) and any(_EARLY <= abs(float(value)) / s < _LATE for s in _SCALES)


def moved(to: datetime) -> Edit:
    """A time, written as it is, somewhere else."""

    def edit(value: Any) -> Any:
        if isinstance(value, str) and _ISO.match(value):
            return f"{to:%Y-%m-%d}" + value[10:]
        scale = next(s for s in _SCALES if _EARLY <= abs(float(value)) / s < _LATE)
        return type(value)(int(to.timestamp()) * scale)

    return edit


def scaled(factor: float) -> Edit:
    """A Unix time in another unit."""

    def edit(value: Any) -> Any:
        if isinstance(value, str) and not is_number(value):
            return value
        return type(value)(int(float(value) * factor))

    return edit


def negative(value: Any) -> Any:
    return f"-{value}".replace("--", "") if isinstance(value, str) else -value


IN_A_FIELD: Mapping[str, tuple[Edit, Callable[[Any], bool]]] = {
    "gone": (lambda _: _GONE, lambda _: True),
    "null": (lambda _: None, lambda _: True),
    "blank": (lambda _: "", lambda _: True),
    "true": (lambda _: True, is_number),
    "object": (lambda _: {}, lambda _: True),
    "list": (lambda _: [], lambda _: True),
    "words": (lambda _: "unknown", is_number),
    "decimal_comma": (lambda _: "1,5", is_number),
    "infinite": (lambda _: float("inf"), is_number),
    "nan": (lambda _: "NaN", is_number),
    "negative": (negative, lambda v: is_number(v) and float(v) > 0 and not is_time(v)),
    "in_2100": (moved(datetime(2100, 1, 1, tzinfo=UTC)), is_time),
    "in_2005": (moved(datetime(2005, 1, 1, tzinfo=UTC)), is_time),
    "a_thousand_times_later": (scaled(1e3), is_time),
    "a_thousand_times_earlier": (scaled(1e-3), is_time),
}
"""What is said in one field of all records, and of which values it is a lie."""


def zero(value: Any) -> Any:
    """Zero in place of a number, written as that was."""
    if isinstance(value, str) and re.fullmatch(r"0x[0-9a-f]{1,32}", value, re.I):
        return "0x0"
    return type(value)(0) if is_number(value) and not is_time(value) else value


EVERYWHERE: Mapping[str, Edit] = {
    "null_everywhere": everywhere(None),
    "blank_everywhere": everywhere(""),
    "zero_everywhere": everywhere(0),
    "true_everywhere": everywhere(True),
    "numbers_zero": each_value(zero),
}
"""What is said in all fields: no answer at all."""


def stranger(what: Any) -> Edit:
    """One record more, that is none."""

    def edit(body: Any) -> Any:
        copy = json.loads(json.dumps(body))
        found = longest(copy)
        if found is None:
            return body
        found.append(what)
        return copy

    return edit


STRANGERS: Mapping[str, Edit] = {
    "a_word_among_records": stranger("error"),
    "null_among_records": stranger(None),
    "an_object_among_records": stranger({"error": "internal"}),
}


def other_quote(body: Any) -> Any:
    """Every dollar in a text or a name is a euro."""
    text = json.dumps(body)
    return json.loads(re.sub(r"(?i)\b(\w*?)(usdt|usdc|usd)\b", r"\1EUR", text))


def stretched(by: int) -> Callable[[Honest], Any]:
    """Candles that lie further apart than was asked for."""

    def edit(honest: Honest) -> Any:
        times = sorted({row["timestamp"] for row in honest.rows})
        far = {t: times[0] - (times[-1] - t) * by for t in times}
        return _retimed(honest.body, far)

    return edit


def _retimed(body: Any, to: Mapping[datetime, datetime]) -> Any:
    unix = {int(t.timestamp()) * s: int(n.timestamp()) * s for t, n in to.items() for s in _SCALES}

    def moved_there(value: Any) -> Any:
        there = is_number(value) and float(value) in unix
        return type(value)(unix[int(float(value))]) if there else value

    return each_value(moved_there)(body)


# What is wrong with what came of it


def costs_more(honest: Honest, found: Extraction, free: frozenset[str] = frozenset()) -> str | None:
    """A row that says something which no honest row says, in words."""
    for row in found.rows:
        said = row.model_dump()
        if not any(_within(said, other, free) for other in honest.rows):
            nearest = min(honest.rows, key=lambda other: sum(said[n] != other[n] for n in said))
            other = {n: (said[n], nearest[n]) for n in said if said[n] != nearest[n]}
            return f"says {other}"[:160]
    return None


_MARKS = frozenset({"abstains"})
_SECOND_READING = frozenset({"volume_24h"})
"""What is computed of other fields, a little off, where a source does not say it."""


def _within(said: Mapping[str, Any], other: Mapping[str, Any], free: frozenset[str]) -> bool:
    return all(
        value is None
        or value == other[name]
        or name in free
        or name in _MARKS
        or (name in _SECOND_READING and other[name] and abs(value / other[name] - 1) < 0.02)
        for name, value in said.items()
    )


def _free(kind: str, endpoint: Endpoint) -> frozenset[str]:
    """Columns that may say what they like under a kind: numbers that may well be negative, names
    that may be any word, and under a lie about times whatever is no time."""
    columns = endpoint.model.table.columns
    if endpoint.model is NewsArticle and kind in _NOTHING:
        return _SAID_TWICE
    if kind == "negative":
        bounded = {c.name for c in columns for op, bound in c.bounds if op[0] == ">" and bound >= 0}
        return frozenset(c.name for c in columns) - bounded
    if kind in _OF_TIMES:
        return frozenset(c.name for c in columns if c.type != "TIMESTAMPTZ")
    if kind in _ANY_WORD:
        return frozenset(c.name for c in columns if c.type == "VARCHAR")
    return frozenset()


_NOTHING = ("gone", "null", "blank", "object", "list")
_SAID_TWICE = frozenset(
    {"url", "article_key", "published_at", "tags", "author", "content", "title"}
)
"""What an article may say in a second field, or of many: without the first the other is right."""

_OF_TIMES = ("in_2100", "in_2005", "a_thousand_times_later", "a_thousand_times_earlier")
_ANY_WORD = ("words", "decimal_comma", "infinite", "nan")


def no_answer(found: Extraction) -> str | None:
    """An answer that says nothing, and was called a good one."""
    return f"is {found.outcome} with {len(found.rows)} rows" if found.outcome in GOOD else None


UNSAID: Mapping[tuple[str, str], str] = {
    ("field_gone", "hyperliquid.funding_rates"): "what is listed has no field isDelisted",
    ("field_gone", "hyperliquid.open_interest"): "what is listed has no field isDelisted",
    ("field_blank", "coinbase.market_prices"): "a product of its own has a blank alias",
    ("other_quote", "cryptobubbles.market_prices"): "its prices name no currency",
    ("other_quote", "diadata.market_prices"): "its prices name no currency",
    ("other_quote", "geckoterminal.cached_ohlc"): "the currency is asked for and not repeated",
    ("other_quote", "kraken.cached_ohlc"): "the pair is the name of a field, and one of two names",
    ("other_quote", "bitfinex.market_prices"): "UST is its name of a dollar coin, and stays",
    ("other_question", "owlracle.gas_prices"): "the chain is not repeated",
    ("numbers_zero", "blockscout_shibarium.blockchain_stats"): "a number that looks like a time",
    ("numbers_zero", "indodax.cached_ohlc"): "prices that look like times",
    ("numbers_zero", "indodax.fiat_quotes"): "a price that looks like a time",
}
"""What cannot be caught, by kind and endpoint, and why: these are not tried."""


# The campaign


@cache
def _answers() -> tuple[Honest, ...]:
    return tuple(honest_answers())


def run(chance: random.Random, kinds: str = "", most: int | None = None) -> Iterator[Line]:
    """Every lie over every honest answer, or over so many of them."""
    answers = list(_answers())
    if most is not None and most < len(answers):
        answers = chance.sample(answers, most)
    for name, tries in _kinds().items():
        if re.search(kinds, name):
            line = Line("lies", name)
            for honest in answers:
                if (name, honest.endpoint.id) in UNSAID:
                    continue
                for where, words in tries(honest):
                    line.add([f"{honest.endpoint.id}{where}: {words}"] if words else [])
            yield line


Tries = Callable[[Honest], Iterator[tuple[str, str | None]]]


def _kinds() -> Mapping[str, Tries]:
    kinds: dict[str, Tries] = {
        f"field_{n}": _in_fields(n, *about) for n, about in IN_A_FIELD.items()
    }
    kinds |= {name: _in_all(edit, "zero" in name) for name, edit in EVERYWHERE.items()}
    kinds |= {name: _among(edit) for name, edit in STRANGERS.items()}
    kinds["other_quote"] = _other_quote
    kinds["candles_stretched"] = _stretched
    kinds["other_question"] = _other_question
    return kinds


def _in_fields(name: str, edit: Edit, suits: Callable[[Any], bool]) -> Tries:
    def tries(honest: Honest) -> Iterator[tuple[str, str | None]]:
        free = _free(name, honest.endpoint)
        for place in list(dict.fromkeys(places(honest.body)))[:MOST_LEAVES]:
            seen: list[Any] = []
            edited(honest.body, place, seen.append)
            if seen and all(map(suits, seen)):
                found = honest.told(edited(honest.body, place, edit))
                where = ".".join("*" if part is None else str(part) for part in place)
                yield f" {where}", costs_more(honest, found, free)

    return tries


def _in_all(edit: Edit, zeros: bool = False) -> Tries:
    def tries(honest: Honest) -> Iterator[tuple[str, str | None]]:
        if not (zeros and honest.endpoint.model.table.zeros):
            yield "", no_answer(honest.told(edit(honest.body)))

    return tries


def _among(edit: Edit) -> Tries:
    def tries(honest: Honest) -> Iterator[tuple[str, str | None]]:
        found = honest.told(edit(honest.body))
        more = len(found.rows) > len(honest.rows)
        yield "", "has a row more" if more else costs_more(honest, found)

    return tries


def _other_quote(honest: Honest) -> Iterator[tuple[str, str | None]]:
    """Only where the answer itself names dollars for what is stored as such."""
    quoted = [row for row in honest.rows if row.get("quote")]
    body = other_quote(honest.body)
    if quoted and body != honest.body:
        found = honest.told(body)
        dollars = sum(1 for row in found.rows if getattr(row, "quote", "").startswith("USD"))
        yield "", f"{dollars} rows in dollars" if dollars else None


def _stretched(honest: Honest) -> Iterator[tuple[str, str | None]]:
    if honest.endpoint.model is Candle and len(honest.rows) >= 5:
        found = honest.told(stretched(12)(honest))
        yield "", no_answer(found) if found.rows else None


LEAST_NAME = 4
"""Letters of what was asked that are in an answer not only by chance."""


def _other_question(honest: Honest) -> Iterator[tuple[str, str | None]]:
    """The same answer to who asked for another coin of the same endpoint, where it says of which
    it is."""
    asked = _letters(honest.ask.each)
    if len(asked) < LEAST_NAME or asked not in _letters(json.dumps(honest.body)):
        return
    for ask in honest.endpoint.asks():
        if ask.fixed != honest.ask.fixed and honest.ask.fixed:
            found = replace(honest, ask=ask).told(honest.body)
            yield f" for {ask.each}", f"{len(found.rows)} rows" if found.rows else None
            return


def _letters(words: str) -> str:
    return re.sub(r"[^a-z0-9]", "", words.casefold())
