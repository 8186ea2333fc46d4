"""Which recordings answer which endpoints, and at which clock they are read."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from crypto_pipeline.collection.bodies import READERS
from crypto_pipeline.collection.exchange import Answer
from crypto_pipeline.sources import ENDPOINTS
from crypto_pipeline.sources.spec import Ask, Endpoint
from crypto_pipeline.sources.values import list_at
from crypto_pipeline_tests.fresh import SAMPLED_AT
from crypto_pipeline_tests.upstream import RECORDINGS, Recording, Recordings, requests_of


@cache
def answered() -> tuple[tuple[Endpoint, Ask, Recording], ...]:
    """Every endpoint with each recording that answers one of its requests; none without them."""
    known = Recordings().all if RECORDINGS.exists() else []
    return tuple(
        (endpoint, ask, recording)
        for endpoint in (ENDPOINTS.values() if known else ())
        for ask, asked in zip(endpoint.asks(), requests_of(endpoint.id), strict=True)
        for recording in known
        if recording.request.place == asked.place and recording.request.agreement(asked) is not None
    )


def clock_of(endpoint: Endpoint, recording: Recording) -> datetime:
    """When a recording is read: at its capture, and where that is not known to the second and the
    table holds ages against it, an hour after the newest time that it speaks of."""
    aged = [c.name for c in endpoint.model.table.columns if c.within and c.within.behind]
    if aged and not recording.exact and recording.status == 200:
        made = list(_rows_made(endpoint, recording))
        moments: list[datetime] = [m for row in made for n in aged if (m := row.get(n))]
        if moments:
            return max(moments) + timedelta(hours=1)
    return recording.captured or SAMPLED_AT


def _rows_made(endpoint: Endpoint, recording: Recording) -> Iterator[Mapping[str, Any]]:
    """What the row function makes of the records of a recording that it can read."""
    with suppress(Exception):
        came = Answer(200, recording.file.read_bytes(), "", SAMPLED_AT)
        body = READERS[endpoint.read](came, endpoint.url).value
        where = endpoint.records
        for record in where(body) if callable(where) else list_at(body, where):
            with suppress(Exception):
                yield endpoint.row(record) or {}
