"""From an answer to rows, records left out, and rejects. Pure.

Owns: the account of every record.
Must not know: the clock, the network, the database.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from pydantic import ValidationError

from crypto_pipeline.collection import failures
from crypto_pipeline.collection.bodies import READERS
from crypto_pipeline.collection.exchange import Answer
from crypto_pipeline.sources.spec import Ask, Endpoint
from crypto_pipeline.sources.values import SourceMessage, WrongShape, list_at, ticker_name
from crypto_pipeline.tables import Row
from crypto_pipeline.tables.outcomes import GOOD, Outcome

AHEAD = timedelta(days=1)
"""How far in the future an observed time may lie before it is a unit mistaken."""

SHOWN = 2000
"""Characters of a refused record that are kept."""

CHANGED_ABOVE = 0.5
"""When more than this part of what should be rows is refused, none of the answer is trusted."""


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that was refused: the column, the reason, the record as JSON."""

    field: str | None
    reason: str
    record: str


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
    rejects: list[Reject] = field(default_factory=list)
    retry_after: float | None = None

    @property
    def good(self) -> bool:
        return self.outcome in GOOD


def extract(endpoint: Endpoint, ask: Ask, answer: Answer, collection_id: str) -> Extraction:
    """Turn an answer into rows, or into the named reason why there are none."""
    failure = failures.by_status(answer)
    if failure:
        return _failed(failure)
    try:
        body = READERS[endpoint.read](answer.body)
    except (ValueError, RecursionError) as problem:
        return _failed(failures.unreadable(answer, str(problem)))
    try:
        where = endpoint.records
        records = list(where(body) if callable(where) else list_at(body, where))
    except SourceMessage as message:
        return _failed(failures.by_message(str(message), answer))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as problem:
        return _without_records(body, answer, "changed", f"records: {_text(problem)}")
    if not records:
        return _without_records(body, answer, "empty", "no records")
    return _account(records, _RowMaker(endpoint, ask, answer, collection_id))


def _without_records(body: Any, answer: Answer, outcome: Outcome, reason: str) -> Extraction:
    """What an answer without records is: the error it carries, or else this."""
    message = failures.message_in(body)
    return _failed(failures.by_message(message, answer)) if message else Extraction(outcome, reason)


def _failed(failure: failures.Failure) -> Extraction:
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


def _account(records: Iterable[Any], maker: _RowMaker) -> Extraction:
    """Every record as a row, left out, or refused."""
    done = Extraction("ok")
    for record in records:
        done.records += 1
        try:
            row = maker.row(record)
        except ValidationError as problem:
            done.rejects.append(_refusal(problem, record))
        except (
            KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError
        ) as problem:  # fmt: skip
            done.rejects.append(Reject(None, _text(problem), _shown(record)))
        else:
            if row is None:
                done.left_out += 1
            else:
                done.rows.append(row)
    return _judge(done)


def _refusal(problem: ValidationError, record: Any) -> Reject:
    """A record whose row breaks its declaration: the first column that does."""
    first = problem.errors(include_url=False, include_context=False)[0]
    column = ".".join(map(str, first["loc"])) or None
    known = column is None or first["type"] == "missing"
    got = "" if known else f" (got {first['input']!r:.80})"
    return Reject(column, f"{column or 'row'}: {first['msg']}{got}", _shown(record))


def _judge(done: Extraction) -> Extraction:
    """Call the whole answer changed when most of what should be rows was refused."""
    wanted = len(done.rows) + len(done.rejects)
    if done.rejects and len(done.rejects) > wanted * CHANGED_ABOVE:
        done.outcome = "changed"
        done.reason = f"{len(done.rejects)} of {wanted} records refused: {done.rejects[0].reason}"
        doubt = "most records of this answer were refused, so this one is not trusted either"
        done.rejects += [
            Reject(None, doubt, _shown(row.model_dump(mode="json"))) for row in done.rows
        ]
        done.rows = []
    elif not done.rows:
        done.outcome, done.reason = "empty", f"all {done.left_out} records left out on purpose"
    return done


def _refuse_booleans(values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, bool):
            raise TypeError(f"{name}: {value!r} is not a value")


def _shown(record: Any) -> str:
    return json.dumps(record, default=str, ensure_ascii=False)[:SHOWN]


def _text(problem: Exception) -> str:
    """What went wrong; a bare KeyError says only which name was not there."""
    if isinstance(problem, KeyError) and not isinstance(problem, WrongShape):
        return f"no {problem.args[0] if problem.args else ''}"
    return str(problem)
