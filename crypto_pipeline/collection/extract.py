"""From an answer to rows, records left out, and rejects. Pure: bounds are asked for as it goes.

Owns: the account of every record.
Must not know: the clock, the network, the database.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pydantic import ValidationError

from crypto_pipeline.collection import failures
from crypto_pipeline.collection.bodies import READERS, Body
from crypto_pipeline.collection.exchange import Answer
from crypto_pipeline.collection.repeats import OtherAnswer, Repeats
from crypto_pipeline.collection.rows import WRONG, RowMaker, Unwanted
from crypto_pipeline.sources.spec import Ask, Codes, Endpoint
from crypto_pipeline.sources.values import SourceMessage, WrongShape, list_at
from crypto_pipeline.tables import Row
from crypto_pipeline.tables.outcomes import GOOD, Outcome
from crypto_pipeline.text import storable

SHOWN = 2000
"""Characters of a refused record that are kept."""

LONGEST_REASON = 500

KEPT = 50
"""Refused records of one endpoint that one collection keeps; the rest are counted."""

LOOKED_EVERY = 256
"""Records between two looks at the bounds."""

CHANGED_ABOVE = 0.5
"""When more than this part of what should be rows is refused, none of the answer is trusted."""


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that was refused: the column, the reason, the record as JSON."""

    field: str | None
    reason: str
    record: str

    @classmethod
    def of(cls, field: str | None, reason: str, record: Any) -> "Reject":
        """The reject of a record as the source wrote it."""
        shown = json.dumps(record, default=str, ensure_ascii=False)
        return cls(field, storable(reason, LONGEST_REASON), storable(shown, SHOWN))


@dataclass(slots=True)
class Rejects:
    """The records that were refused: how many, and the first KEPT of them."""

    kept: list[Reject] = field(default_factory=list)
    count: int = 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Reject]:
        return iter(self.kept)

    def __getitem__(self, place: int) -> Reject:
        return self.kept[place]

    def add(self, make: Callable[[], Reject]) -> None:
        """Count one more; it is made only when it is kept."""
        self.count += 1
        if len(self.kept) < KEPT:
            self.kept.append(make())

    def extend(self, others: "Rejects") -> None:
        """Count those of another answer as well."""
        self.count += others.count
        self.kept += others.kept[: KEPT - len(self.kept)]


@dataclass(slots=True)
class Extraction:
    """What one answer came to. len(rows) + left_out + len(rejects) == records, always.

    unwanted: of left_out, those that were whole rows, and not of the kind their table keeps.
    retry_after: seconds the source asked to be left alone.
    """

    outcome: Outcome
    reason: str | None = None
    records: int = 0
    rows: list[Row] = field(default_factory=list)
    left_out: int = 0
    unwanted: int = 0
    rejects: Rejects = field(default_factory=Rejects)
    retry_after: float | None = None

    @property
    def good(self) -> bool:
        return self.outcome in GOOD


Bounds = Callable[[int, int], str | None]
"""Asked with the records read and the rows made: why no more of this answer is read, or None."""


def extract(
    endpoint: Endpoint,
    ask: Ask,
    answer: Answer,
    collection_id: str,
    bounds: Bounds = lambda records, rows: None,
) -> Extraction:
    """Turn an answer into rows, or into the named reason why there are none.

    What an answer can be is handled here; anything raised is a fault of ours.
    """
    codes = endpoint.source.codes
    failure = failures.by_status(answer, codes)
    if failure:
        return failed(failure)
    try:
        body = READERS[endpoint.read](answer, endpoint.url)
    except (ValueError, RecursionError) as problem:
        return failed(failures.unreadable(answer, str(problem)))
    try:
        Repeats(endpoint, ask).of_body.require(body.value)
        records = _records(endpoint, body.value)
    except SourceMessage as message:
        about = body.value if message.code is None else message
        return failed(failures.by_message(str(message), about, answer, codes))
    except WRONG as problem:
        kind = "" if isinstance(problem, OtherAnswer) else "records: "
        why = storable(kind + _text(problem), LONGEST_REASON)
        return _without_records(body.value, answer, codes, Extraction("changed", why))
    if not records:
        nothing = (
            Extraction("changed", body.flaw) if body.flaw else Extraction("empty", "no records")
        )
        return _without_records(body.value, answer, codes, nothing)
    maker = RowMaker(endpoint, ask, answer, collection_id)
    done = _account(records, maker, bounds)
    _refuse_misfits(done, endpoint.model)
    merged = _merge(done, endpoint.model)
    return _noted(_judge(done, maker, body, answer), merged, body.mended)


def _records(endpoint: Endpoint, body: Any) -> list[Any]:
    where = endpoint.records
    return list(where(body) if callable(where) else list_at(body, where))


def _without_records(body: Any, answer: Answer, codes: Codes, otherwise: Extraction) -> Extraction:
    """What an answer without records is: the error it carries, or else this."""
    error = failures.error_in(body, answer, codes)
    return failed(error) if error else otherwise


def failed(failure: failures.Failure) -> Extraction:
    """What an answer that failed came to."""
    return Extraction(failure.outcome, failure.reason, retry_after=failure.retry_after)


# The account of the records


def _account(records: Sequence[Any], maker: RowMaker, bounds: Bounds) -> Extraction:
    """Every record as a row, left out, or refused."""
    done = Extraction("ok")
    for record in records:
        if done.records % LOOKED_EVERY == 0 and (why := bounds(done.records, len(done.rows))):
            left = f"left at {done.records:,} of {len(records):,} records: {why}"
            return Extraction("changed", left)
        done.records += 1
        try:
            row = maker.row(record)
        except Unwanted:
            done.left_out += 1
            done.unwanted += 1
        except ValidationError as problem:
            done.rejects.add(partial(_refusal, problem, record))
        except WRONG as problem:
            done.rejects.add(partial(Reject.of, None, _text(problem), record))
        else:
            if row is None:
                done.left_out += 1
            else:
                done.rows.append(row)
    return done


def _refuse_misfits(done: Extraction, model: type[Row]) -> None:
    """Refuse the rows, or all of them, that cannot be beside one another."""
    places: dict[int, str] = {}
    for place, why in model.misfits(done.rows):
        places |= dict.fromkeys(range(len(done.rows)), why) if place is None else {place: why}
    if places:
        _refuse(done, places)


def _refuse(done: Extraction, places: Mapping[int, str]) -> None:
    """Make rejects of the rows at these places, each with why."""
    for place, why in sorted(places.items()):
        done.rejects.add(partial(_doubted, done.rows[place], why))
    done.rows = [row for place, row in enumerate(done.rows) if place not in places]


def _merge(done: Extraction, model: type[Row]) -> int:
    """Leave out rows of a table that keeps each once when another of this answer has their key:
    the first stays. Gives how many those were."""
    if model.table.write != "insert":
        return 0
    rows = {tuple(getattr(row, k) for k in model.table.key): row for row in reversed(done.rows)}
    merged = len(done.rows) - len(rows)
    if merged:
        done.rows = list(reversed(rows.values()))
        done.left_out += merged
    return merged


def _lacking(lacking: Mapping[str, int], rows: int) -> str:
    """Which fields were not there, of how many rows."""
    said = ", ".join(f"{name} in {count}" for name, count in sorted(lacking.items()))
    return storable(f"of {rows} rows, not there: {said}", LONGEST_REASON)


def _judge(done: Extraction, maker: RowMaker, body: Body, answer: Answer) -> Extraction:
    """What the account of an answer says of the whole."""
    if not done.rows and len(done.rejects) + done.left_out > done.unwanted:
        error = failures.error_in(body.value, answer, maker.endpoint.source.codes, sure=True)
        if error:
            return failed(error)
    done = _trusted(done, maker.endpoint)
    if maker.lacking and done.good:
        done.reason = done.reason or _lacking(maker.lacking, len(done.rows))
    if body.flaw and done.good:
        done.outcome, done.reason = "changed", f"{body.flaw}; {len(done.rows)} rows are whole"
    done.retry_after = answer.retry_after
    return done


def _noted(done: Extraction, merged: int, mended: str | None) -> Extraction:
    """Say what else there is to know of an answer that brought rows."""
    notes = [done.reason, f"mended: {mended}" if mended else None]
    if merged:
        notes.append(f"{merged} records say what another one says")
    if done.rows:
        done.reason = storable("; ".join(filter(None, notes)), LONGEST_REASON) or None
    return done


def _refusal(problem: ValidationError, record: Any) -> Reject:
    """A record whose row breaks its declaration: the first column that does."""
    first = problem.errors(include_url=False, include_context=False)[0]
    column = ".".join(map(str, first["loc"])) or None
    if column is None:
        return Reject.of(None, first["msg"].removeprefix("Value error, "), record)
    got = "" if first["type"] == "missing" else f" (got {_begin(first['input'])})"
    return Reject.of(column, f"{column}: {first['msg']}{got}", record)


def _begin(value: Any) -> str:
    """How a value begins; a long text is cut before it is quoted."""
    return repr(value[:80] if isinstance(value, str) else value)[:80]


def _trusted(done: Extraction, endpoint: Endpoint) -> Extraction:
    """Call the whole answer changed when most of what should be rows was refused, or left out of an
    answer that always has some."""
    if not done.good:
        return done  # it was not read to its end
    wanted = len(done.rows) + len(done.rejects)
    if len(done.rejects) > wanted * CHANGED_ABOVE:
        done.outcome = "changed"
        done.reason = f"{len(done.rejects)} of {wanted} records refused: {done.rejects[0].reason}"
        _refuse(done, dict.fromkeys(range(len(done.rows)), _OTHERS_REFUSED))
    elif done.rows and not endpoint.model.table.zeros and all(r.says_nothing() for r in done.rows):
        done.outcome, done.reason = "changed", "nothing but zeros in all records"
        _refuse(done, dict.fromkeys(range(len(done.rows)), "nothing but zeros"))
    elif not done.rows and (endpoint.sparse or done.unwanted):
        done.outcome, done.reason = "empty", f"all {done.left_out} records left out on purpose"
    elif not done.rows:
        done.outcome = "changed"
        done.reason = f"none of {done.left_out} records has what makes a row"
    return done


_OTHERS_REFUSED = "most records of this answer were refused, so this one is not trusted either"


def _doubted(row: Row, why: str) -> Reject:
    return Reject.of(None, why, row.model_dump(mode="json"))


def _text(problem: Exception) -> str:
    """What went wrong; a bare KeyError says only which name was not there."""
    if isinstance(problem, KeyError) and not isinstance(problem, WrongShape):
        return f"no {problem.args[0] if problem.args else ''}"
    return str(problem)
