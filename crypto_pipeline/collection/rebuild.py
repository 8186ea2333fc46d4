"""Kept answers read again: a mended parser reaches the past.

Owns: which answers are read again and in which order, and what is said of those that are not.
Must not know: how rows are compared and written, where answers lie.
"""

import gc
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from crypto_pipeline.collection import failures, universe
from crypto_pipeline.collection.exchange import Answer
from crypto_pipeline.collection.extract import Extraction, extract
from crypto_pipeline.collection.kept_answers import (
    KeptAnswer,
    KeptAnswers,
    KeptCollection,
    Question,
)
from crypto_pipeline.collection.results import Result
from crypto_pipeline.sources.spec import Ask, Endpoint
from crypto_pipeline.tables import RejectedRow, Row
from crypto_pipeline.warehouse import Batch, Warehouse
from crypto_pipeline.warehouse.rebuild import Read, Rebuilt

ROWS_AT_ONCE = 50_000
"""Rows of collections that are written in one transaction: more would cost memory, fewer time."""

COLLECTIONS_AT_ONCE = 250

Told = Callable[[int], None]
"""Called with how many collections were read again, as it goes."""


@dataclass(slots=True)
class Report:
    """What a rebuild came to.

    not_kept: endpoints by collection that brought rows and could not be read again: their answers
    are not kept, they are declared no more, or it is one of the others. damaged: whose answers are
    not what was written. faults: what went wrong where it is a fault of ours, by endpoint.
    """

    table: str
    collections: int = 0
    answers: int = 0
    bytes: int = 0
    rebuilt: Rebuilt = field(default_factory=Rebuilt)
    not_kept: dict[str, list[str]] = field(default_factory=dict)
    damaged: list[tuple[str, str]] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)


def rebuild(
    model: type[Row],
    endpoints: Sequence[Endpoint],
    since: datetime,
    until: datetime,
    warehouse: Warehouse,
    kept: KeptAnswers,
    *,
    dry_run: bool = False,
    told: Told = lambda collections: None,
) -> Report:
    """Bring a table to what the answers of the collections that began in that time say, read again
    by the endpoints of today.

    Some collections at a time, each time in one transaction: who ends it in between has the older
    ones done, and can begin again. dry_run: the file stays as it is; then each transaction sees of
    the ones before it what the file says. Raises WarehouseError.
    """
    report = Report(model.table.name)
    by_id = {endpoint.id: endpoint for endpoint in endpoints}
    was_on = gc.isenabled()
    gc.disable()  # rows are many, and no cycles
    try:
        some = _Some(model, endpoints)
        for collection in kept.collections(by_id, since, until):
            some.add(_read_again(collection, by_id, report))
            if some.rows >= ROWS_AT_ONCE or some.collections >= COLLECTIONS_AT_ONCE:
                report.rebuilt.add(some.write(warehouse, dry_run=dry_run))
                told(report.collections)
                some = _Some(model, endpoints)
        if some.collections:
            report.rebuilt.add(some.write(warehouse, dry_run=dry_run))
            told(report.collections)
    finally:
        if was_on:
            gc.enable()
    for collection_id, endpoint_id in warehouse.brought_rows(model.table.name, since, until):
        if (collection_id, endpoint_id) not in report.rebuilt.reads:
            report.not_kept.setdefault(collection_id, []).append(endpoint_id)
    return report


@dataclass(slots=True)
class _Again:
    """A collection whose answers were read again, by endpoint."""

    kept: KeptCollection
    results: list[Result]


class _Some:
    """Some collections, to be written at once."""

    def __init__(self, model: type[Row], endpoints: Sequence[Endpoint]) -> None:
        self.rows = self.collections = 0
        self._model = model
        self._reads: list[Read] = []
        # Every endpoint has its place whether it brings anything or not: of two rows of one key
        # the first stays.
        empty: dict[str, list[Row]] = {endpoint.id: [] for endpoint in endpoints}
        self._rows = empty
        self._rejects: list[Row] = []

    def add(self, again: _Again) -> None:
        self.collections += 1
        for result in again.results:
            endpoint = result.endpoint
            self.rows += len(result.rows)
            self._rows[endpoint.id] += result.rows
            self._rejects += _rejects(result, again.kept)
            self._reads.append(Read(again.kept.id, endpoint.id, endpoint.source.name))

    def write(self, warehouse: Warehouse, *, dry_run: bool) -> Rebuilt:
        batch = Batch("", datetime.now(UTC))
        batch.rows = {self._model: self._rows, RejectedRow: {"": self._rejects}}
        return warehouse.rebuild(self._model, self._reads, batch, dry_run=dry_run)


def _rejects(result: Result, collection: KeptCollection) -> Iterator[RejectedRow]:
    """The rejects; the account of the collection knows when they were rejected."""
    for reject in result.rejects:
        yield RejectedRow(
            endpoint=result.endpoint.id,
            source=result.endpoint.source.name,
            feeds=result.endpoint.model.table.name,
            field=reject.field,
            reason=reject.reason,
            record=reject.record,
            rejected_at=collection.started_at,
            collection_id=collection.id,
        )


def _read_again(
    collection: KeptCollection, endpoints: Mapping[str, Endpoint], report: Report
) -> _Again:
    """The results of a collection's endpoints, as they would be now. One of whose answers one
    cannot be read has none."""
    report.collections += 1
    answers: dict[str, list[KeptAnswer]] = {}
    for answer in collection.answers:
        answers.setdefault(answer.question.endpoint, []).append(answer)
        report.answers += 1
        report.bytes += len(answer.body or b"")
    results = []
    for endpoint_id, parts in answers.items():
        endpoint = endpoints[endpoint_id]
        if any(answer.body is None for answer in parts):
            report.damaged.append((collection.id, endpoint_id))
            continue
        result = Result(endpoint, "ok")
        try:
            for answer in parts:
                _add(result, _extracted(endpoint, answer, collection.id))
        except Exception as problem:  # the wall: what is a fault of ours costs no stored row
            report.faults[endpoint_id] = failures.of_ours(problem).reason
            continue
        results.append(result)
    universe.leave_out(results, collection.universe)
    return _Again(collection, results)


def _extracted(endpoint: Endpoint, kept: KeptAnswer, collection_id: str) -> Extraction:
    answer = Answer(200, kept.body or b"", kept.content_type, kept.received_at)
    return extract(endpoint, _ask(endpoint, kept.question), answer, collection_id)


def _add(result: Result, part: Extraction) -> None:
    result.rows += part.rows
    result.rejects.extend(part.rejects)


def _ask(endpoint: Endpoint, question: Question) -> Ask:
    """What was asked, with the columns known beforehand as they are declared now; where it depends
    on a setting of then, as they were."""
    if isinstance(endpoint.each, Mapping):
        fixed = endpoint.each.get(question.each)
        if fixed is not None:
            return Ask(question.each, fixed)
    return Ask(question.each, json.loads(question.fixed))
