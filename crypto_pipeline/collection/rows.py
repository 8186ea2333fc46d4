"""From one record to its row. Pure.

Owns: what the engine fills in, which times are believed, and what a lacking field costs.
Must not know: the other records of an answer, rejects, outcomes.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from crypto_pipeline.collection.exchange import Answer
from crypto_pipeline.collection.repeats import Repeats
from crypto_pipeline.sources.spec import Ask, Endpoint
from crypto_pipeline.sources.values import Missing, WrongShape, ticker_name
from crypto_pipeline.tables import Row
from crypto_pipeline.tables.spec import Window

TODAY = Window(timedelta(days=1), timedelta(days=1))
"""Where a time lies that its column says nothing of."""


WRONG = (KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError)
"""What code that reads a record raises of one that is not as declared."""


class Unwanted(Exception):
    """A row that is whole, and not of the kind its table keeps."""


class RowMaker:
    """Makes the rows of one answer.

    lacking: the fields that records lacked which became rows all the same, and how many did.
    """

    def __init__(self, endpoint: Endpoint, ask: Ask, answer: Answer, collection_id: str) -> None:
        self.endpoint = endpoint
        self._model = model = endpoint.model
        table = model.table
        at = answer.received_at
        self._filled = {
            **dict.fromkeys(table.filled_by("source"), endpoint.source.name),
            **dict.fromkeys(table.filled_by("observed_at"), at),
            **dict.fromkeys(table.filled_by("collection_id"), collection_id),
            **endpoint.fixed,
            **ask.fixed,
        }
        self._tickers = [name for name in ("symbol", "quote") if name in table.column_names]
        self._received_at = at
        self._windows = [
            (c.name, at - w.behind if w.behind else None, at + w.ahead, w.or_null)
            for c in table.columns
            if (w := c.within or (TODAY if c.type == "TIMESTAMPTZ" else None))
        ]
        self._chooses = model.wanted is not Row.wanted
        self._marks = model.mark is not Row.mark
        self._repeats = Repeats(endpoint, ask).of_records
        self.lacking: Counter[str] = Counter()

    def row(self, record: Any) -> Row | None:
        """The row, or None for a record that is left out on purpose.

        A field that a record lacks costs the columns it would have filled; the row is refused when
        it cannot be without one of them. Raises Unwanted, and what a row function or a row model
        may raise of a record that is not as declared.
        """
        try:
            return self._row(record)
        except WrongShape:
            raise
        except KeyError as problem:
            lacking: set[str] = set()
            try:
                row = self._row(_lenient(record, lacking), lenient=True)
            except (Unwanted, *WRONG):
                raise problem from None
            if row is None:
                raise
            self.lacking.update(lacking)
            return row

    def _row(self, record: Any, *, lenient: bool = False) -> Row | None:
        if self._repeats:
            self._repeats.require(record)
        if self.endpoint.width and len(record) < self.endpoint.width:
            raise ValueError(f"a list of {len(record)} values, where {self.endpoint.width} are due")
        made = self.endpoint.row(record)
        if made is None:
            return None
        if lenient:
            made = {k: None if isinstance(v, Missing) else v for k, v in made.items()}
        values = {**self._filled, **made}
        for name in self._tickers:
            if values.get(name) is not None:
                values[name] = ticker_name(values[name], self.endpoint.source.aliases)
        if bool in map(type, values.values()):
            _refuse_booleans(values)
        row = self._model.model_validate(values)
        if self._model.table.any_of and (missing := row.missing()):
            raise ValueError(missing)
        self._look_at_times(row, made)
        if self._chooses and not row.wanted(self._received_at):
            raise Unwanted
        if self._marks:
            row.mark(self._received_at, self.endpoint.stale_after)
        return row

    def _look_at_times(self, row: Row, made: Mapping[str, Any]) -> None:
        """Take away, or refuse, a time outside of its window."""
        for name, earliest, latest, or_null in self._windows:
            if made.get(name) is None:
                continue
            moment = getattr(row, name)
            early = earliest is not None and moment < earliest
            if not early and moment <= latest:
                continue
            if not or_null:
                when = "too long ago" if early else "in the future"
                raise ValueError(f"{name}: {moment} is {when}")
            setattr(row, name, None)


def _lenient(record: Any, lacking: set[str]) -> Any:
    """A copy of a record in which a field that is not there is Missing, and is noted."""
    if isinstance(record, Mapping):
        return _Fields({k: _lenient(v, lacking) for k, v in record.items()}, lacking)
    if isinstance(record, list | tuple):
        return type(record)(_lenient(item, lacking) for item in record)
    return record


class _Fields(dict[str, Any]):
    def __init__(self, fields: Mapping[str, Any], lacking: set[str]) -> None:
        super().__init__(fields)
        self._lacking = lacking

    def __missing__(self, name: str) -> Missing:
        self._lacking.add(str(name))
        return Missing(str(name))


def _refuse_booleans(values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, bool):
            raise TypeError(f"{name}: {value!r} is not a value")
