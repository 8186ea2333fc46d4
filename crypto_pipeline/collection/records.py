"""The rows about a collection: who was asked, how each ended, what is remembered for the next.

Owns: which row each fact becomes.
Must not know: how rows are stored.
"""

from crypto_pipeline.collection import backoff, failures, pools, quotas
from crypto_pipeline.collection.exchange import Attempt
from crypto_pipeline.collection.extract import Reject
from crypto_pipeline.collection.results import Collection, Result
from crypto_pipeline.sources import ENDPOINTS, SOURCES
from crypto_pipeline.sources.spec import Source
from crypto_pipeline.tables import (
    ConnectionAttempt,
    DataCollection,
    Provider,
    RejectedRow,
    RotationState,
    Row,
)
from crypto_pipeline.warehouse import Batch, Memory


def batch(collection: Collection, memory: Memory, *, agree: bool) -> Batch:
    """Everything the collection writes: rows, and the rows about them.

    `memory` learns what the collection brought. agree: whether the agreed view is made anew.
    """
    made = Batch(collection.id, collection.started_at, agree=agree)
    made.add("", [_provider(source) for source in SOURCES.values()])
    made.add("", pools.declared(ENDPOINTS.values()))
    made.add("", _usage(collection, memory))
    made.add("", _rotation(collection, memory))
    for result in collection.results:
        try:
            about = _about(result, collection, memory)
        except Exception as problem:  # the wall: it costs this endpoint its rows, nobody else
            result.lose(failures.of_ours(problem))
            about = _about(result, collection, memory)
        made.add(result.endpoint.id, result.rows)
        made.add("", about)
    return made


def _about(result: Result, collection: Collection, memory: Memory) -> list[Row]:
    """The rows about one endpoint, those of one table together."""
    about: list[Row] = [_attempt(result, a, collection.id) for a in result.attempts]
    about.append(_outcome(result, collection))
    about += [_reject(result, reject, collection.id) for reject in result.rejects]
    if result.asked:
        about.append(_health(result, collection, memory))
    return about


# What the next collection has to know


def _usage(collection: Collection, memory: Memory) -> list[Row]:
    """What was used of each source's quota."""
    rows: list[Row] = []
    attempts = ((r.endpoint.source, r.attempts) for r in collection.results)
    for usage in quotas.usage_of(attempts):
        key = (usage.source, usage.period, usage.window_start)
        memory.usage[key] = quotas.added(memory.usage.get(key), usage)
        rows.append(usage)
    return rows


def _rotation(collection: Collection, memory: Memory) -> list[Row]:
    """Which member of each pool answers, and why that changed."""
    rows: list[Row] = []
    for row in pools.rotate(collection.results, memory.rotation, collection.id):
        if isinstance(row, RotationState):
            memory.rotation[row.pool] = row
        rows.append(row)
    return rows


def _health(result: Result, collection: Collection, memory: Memory) -> Row:
    """When the endpoint may be asked again, and how."""
    endpoint = result.endpoint
    health = backoff.after(
        endpoint,
        memory.health.get(endpoint.id),
        result.outcome,
        result.reason,
        result.asked_at or collection.started_at,
        retry_after=result.retry_after,
        etag=result.etag,
        last_modified=result.last_modified,
    )
    memory.health[endpoint.id] = health
    return health


# What happened


def _provider(source: Source) -> Provider:
    return Provider(
        source=source.name,
        base_url=source.base,
        documentation=source.docs,
        key_variable=source.key.env if source.key else None,
        key_required=not source.keyless,
        voice_of=source.voice_of,
        tables=sorted({e.model.table.name for e in source.endpoints}),
        endpoints=len(source.endpoints),
    )


def _attempt(result: Result, attempt: Attempt, collection_id: str) -> ConnectionAttempt:
    return ConnectionAttempt(
        endpoint=result.endpoint.id,
        source=result.endpoint.source.name,
        attempt=attempt.number,
        method=attempt.method,
        url=attempt.url,
        status=attempt.status,
        error=attempt.error,
        bytes_received=attempt.bytes_received,
        latency_ms=attempt.latency_ms,
        started_at=attempt.started_at,
        collection_id=collection_id,
    )


def _outcome(result: Result, collection: Collection) -> DataCollection:
    return DataCollection(
        endpoint=result.endpoint.id,
        source=result.endpoint.source.name,
        feeds=result.endpoint.model.table.name,
        collection_type=collection.type,
        outcome=result.outcome,
        skip=result.skip,
        reason=result.reason,
        records=result.records,
        rows=len(result.rows),
        left_out=result.left_out,
        rejects=len(result.rejects),
        stored=0,
        bytes_received=result.bytes_received,
        latency_ms=result.latency_ms,
        started_at=collection.started_at,
        finished_at=result.finished_at,
        collection_id=collection.id,
    )


def _reject(result: Result, reject: Reject, collection_id: str) -> RejectedRow:
    return RejectedRow(
        endpoint=result.endpoint.id,
        source=result.endpoint.source.name,
        feeds=result.endpoint.model.table.name,
        field=reject.field,
        reason=reject.reason,
        record=reject.record,
        rejected_at=result.finished_at,
        collection_id=collection_id,
    )
