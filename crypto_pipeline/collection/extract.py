"""From an answer to rows, records left out, and rejects. Pure: bounds are asked for as it goes.

Owns: the account of every record.
Must not know: the clock, the network, the database.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

from pydantic import ValidationError

from crypto_pipeline.collection import failures
from crypto_pipeline.collection.bodies import READERS, Body
from crypto_pipeline.collection.exchange import Answer
from crypto_pipeline.sources.spec import Ask, Codes, Endpoint
from crypto_pipeline.sources.values import SourceMessage, WrongShape, list_at, ticker_name
from crypto_pipeline.tables import Row
from crypto_pipeline.tables.outcomes import GOOD, Outcome
from crypto_pipeline.text import storable

AHEAD = timedelta(days=1)
"""How far in the future an observed time may lie before it is a unit mistaken."""

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

    retry_after: seconds the source asked to be left alone.
    """

    outcome: Outcome
    reason: str | None = None
    records: int = 0
    rows: list[Row] = field(default_factory=list)
    left_out: int = 0
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
        where = endpoint.records
        records = list(where(body.value) if callable(where) else list_at(body.value, where))
    except SourceMessage as message:
        about = body.value if message.code is None else message
        return failed(failures.by_message(str(message), about, answer, codes))
    except _WRONG as problem:
        why = storable(f"records: {_text(problem)}", LONGEST_REASON)
        return _without_records(body.value, answer, codes, Extraction("changed", why))
    if not records:
        nothing = (
            Extraction("changed", body.flaw) if body.flaw else Extraction("empty", "no records")
        )
        return _without_records(body.value, answer, codes, nothing)
    done = _account(records, _RowMaker(endpoint, ask, answer, collection_id), bounds)
    merged = _merge(done, endpoint.model)
    return _noted(_judge(done, body, answer, codes), merged, body.mended)


_WRONG = (KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError)
"""What code that reads a record raises of one that is not as declared."""


def _without_records(body: Any, answer: Answer, codes: Codes, otherwise: Extraction) -> Extraction:
    """What an answer without records is: the error it carries, or else this."""
    error = failures.error_in(body, answer, codes)
    return failed(error) if error else otherwise


def failed(failure: failures.Failure) -> Extraction:
    """What an answer that failed came to."""
    return Extraction(failure.outcome, failure.reason, retry_after=failure.retry_after)


# The account of the records


class _RowMaker:
    """Makes the row of one record of one answer."""

    def __init__(self, endpoint: Endpoint, ask: Ask, answer: Answer, collection_id: str) -> None:
        self._endpoint = endpoint
        self._model = model = endpoint.model
        table = model.table
        self._filled = {
            **dict.fromkeys(table.filled_by("source"), endpoint.source.name),
            **dict.fromkeys(table.filled_by("observed_at"), answer.received_at),
            **dict.fromkeys(table.filled_by("collection_id"), collection_id),
            **endpoint.fixed,
            **ask.fixed,
        }
        self._tickers = [name for name in ("symbol", "quote") if name in table.column_names]
        self._received_at = answer.received_at
        self._latest = answer.received_at + AHEAD
        self._ends = model.finished is not Row.finished

    def row(self, record: Any) -> Row | None:
        """The row, or None for a record that is left out on purpose.

        Raises what a row function or a row model may raise of a record that is not as declared.
        """
        made = self._endpoint.row(record)
        if made is None:
            return None
        values = {**self._filled, **made}
        for name in self._tickers:
            if values.get(name) is not None:
                values[name] = ticker_name(values[name], self._endpoint.source.aliases)
        if bool in map(type, values.values()):
            _refuse_booleans(values)
        row = self._model.model_validate(values)
        table = self._model.table
        if table.any_of and (lacking := row.missing()):
            raise ValueError(lacking)
        if table.time and table.time in made and getattr(row, table.time) > self._latest:
            raise ValueError(f"{table.time}: {getattr(row, table.time)} is in the future")
        return None if self._ends and not row.finished(self._received_at) else row


def _account(records: Sequence[Any], maker: _RowMaker, bounds: Bounds) -> Extraction:
    """Every record as a row, left out, or refused."""
    done = Extraction("ok")
    for record in records:
        if done.records % LOOKED_EVERY == 0 and (why := bounds(done.records, len(done.rows))):
            left = f"left at {done.records:,} of {len(records):,} records: {why}"
            return Extraction("changed", left)
        done.records += 1
        try:
            row = maker.row(record)
        except ValidationError as problem:
            done.rejects.add(partial(_refusal, problem, record))
        except _WRONG as problem:
            done.rejects.add(partial(Reject.of, None, _text(problem), record))
        else:
            if row is None:
                done.left_out += 1
            else:
                done.rows.append(row)
    return done


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


def _noted(done: Extraction, merged: int, mended: str | None) -> Extraction:
    """Say what else there is to know of an answer that brought rows."""
    notes = [done.reason, f"mended: {mended}" if mended else None]
    if merged:
        notes.append(f"{merged} records say what another one says")
    if done.rows:
        done.reason = storable("; ".join(filter(None, notes)), LONGEST_REASON) or None
    return done


def _judge(done: Extraction, body: Body, answer: Answer, codes: Codes) -> Extraction:
    """What the account of an answer says of the whole."""
    if done.rejects and not done.rows:
        error = failures.error_in(body.value, answer, codes, sure=True)
        if error:
            return failed(error)
    done = _trusted(done)
    if body.flaw and done.good:
        done.outcome, done.reason = "changed", f"{body.flaw}; {len(done.rows)} rows are whole"
    done.retry_after = answer.retry_after
    return done


def _refusal(problem: ValidationError, record: Any) -> Reject:
    """A record whose row breaks its declaration: the first column that does."""
    first = problem.errors(include_url=False, include_context=False)[0]
    column = ".".join(map(str, first["loc"])) or None
    known = column is None or first["type"] == "missing"
    got = "" if known else f" (got {_begin(first['input'])})"
    return Reject.of(column, f"{column or 'row'}: {first['msg']}{got}", record)


def _begin(value: Any) -> str:
    """How a value begins; a long text is cut before it is quoted."""
    return repr(value[:80] if isinstance(value, str) else value)[:80]


def _trusted(done: Extraction) -> Extraction:
    """Call the whole answer changed when most of what should be rows was refused."""
    if not done.good:
        return done  # it was not read to its end
    wanted = len(done.rows) + len(done.rejects)
    if len(done.rejects) > wanted * CHANGED_ABOVE:
        done.outcome = "changed"
        done.reason = f"{len(done.rejects)} of {wanted} records refused: {done.rejects[0].reason}"
        for row in done.rows:
            done.rejects.add(partial(_doubted, row))
        done.rows = []
    elif not done.rows:
        done.outcome, done.reason = "empty", f"all {done.left_out} records left out on purpose"
    return done


def _doubted(row: Row) -> Reject:
    why = "most records of this answer were refused, so this one is not trusted either"
    return Reject.of(None, why, row.model_dump(mode="json"))


def _refuse_booleans(values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, bool):
            raise TypeError(f"{name}: {value!r} is not a value")


def _text(problem: Exception) -> str:
    """What went wrong; a bare KeyError says only which name was not there."""
    if isinstance(problem, KeyError) and not isinstance(problem, WrongShape):
        return f"no {problem.args[0] if problem.args else ''}"
    return str(problem)
