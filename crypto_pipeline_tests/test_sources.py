"""Conformance: every endpoint, through the real extraction, over its sample and its recordings."""

import json
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest

from crypto_pipeline.extract import Extraction, extract
from crypto_pipeline.fetch import Answer
from crypto_pipeline.sources import ENDPOINTS, SOURCES, Endpoint
from crypto_pipeline.sources.spec import Ask
from crypto_pipeline_tests.upstream import (
    RECORDINGS,
    SAMPLES,
    Recording,
    Recordings,
    _asked,
    sample_file,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
IDS = sorted(ENDPOINTS)

pairs_of_recordings: list[tuple[Endpoint, Ask, Recording]] = []
if RECORDINGS.exists():
    known = Recordings().all
    for endpoint in ENDPOINTS.values():
        for ask, asked in zip(endpoint.asks(), _asked(endpoint.id), strict=True):
            pairs_of_recordings += [
                (endpoint, ask, recording)
                for recording in known
                if recording.asked.place == asked.place
                and recording.asked.agreement(asked) is not None
            ]


def answer(body: bytes, status: int = 200, kind: str = "application/json") -> Answer:
    return Answer(status, body, kind, NOW)


@cache
def sample_extraction(endpoint_id: str) -> Extraction:
    endpoint = ENDPOINTS[endpoint_id]
    file = sample_file(endpoint)
    assert file, f"{endpoint_id}: add crypto_pipeline_tests/samples/{endpoint_id}.json (or .xml)"
    return extract(endpoint, endpoint.asks()[0], answer(file.read_bytes()), "test")


@pytest.mark.parametrize("endpoint_id", IDS)
def test_the_sample_becomes_rows(endpoint_id: str) -> None:
    found = sample_extraction(endpoint_id)
    assert found.outcome == "ok", found.reason
    assert found.rows
    assert not found.rejects, found.rejects[0]
    assert len(found.rows) + found.left_out == found.records


@pytest.mark.parametrize("endpoint_id", IDS)
def test_the_sample_becomes_the_rows_a_person_expects(endpoint_id: str) -> None:
    file = SAMPLES / f"{endpoint_id}.expected.json"
    assert file.exists(), f"{endpoint_id}: write the rows of its sample by hand into {file.name}"
    expected = json.loads(file.read_text(encoding="utf-8"))
    assert expected
    found = [row.model_dump(mode="json") for row in sample_extraction(endpoint_id).rows]
    for place, row in enumerate(expected):
        for name, value in row.items():
            got = found[place][name]
            assert got == (pytest.approx(value) if isinstance(value, float) else value), name


@pytest.mark.parametrize("endpoint_id", IDS)
def test_the_keys_of_the_sample_are_unique(endpoint_id: str) -> None:
    key = ENDPOINTS[endpoint_id].table.table.key
    keys = [
        tuple(getattr(row, name) for name in key) for row in sample_extraction(endpoint_id).rows
    ]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("endpoint_id", IDS)
def test_times_of_the_sample_are_plausible(endpoint_id: str) -> None:
    for row in sample_extraction(endpoint_id).rows:
        for name, value in row:
            if isinstance(value, datetime):
                assert datetime(2009, 1, 1, tzinfo=UTC) < value < NOW + timedelta(days=2), name


@pytest.mark.skipif(not RECORDINGS.exists(), reason="../shared/recordings is not here")
@pytest.mark.parametrize(
    ("endpoint", "ask", "recording"),
    [
        pytest.param(e, a, r, id=f"{e.id}-{a.each}-{r.file.parent.name}/{r.file.name}")
        for e, a, r in pairs_of_recordings
    ],
)
def test_a_recording_becomes_rows_or_what_its_error_deserves(
    endpoint: Endpoint, ask: Ask, recording: Recording
) -> None:
    reply = recording.reply()
    found = extract(endpoint, ask, answer(reply.body, reply.status, reply.content_type), "test")
    assert len(found.rows) + found.left_out + len(found.rejects) == found.records
    if recording.status == 200:
        assert found.outcome == "ok", f"{found.outcome}: {found.reason}"
    else:
        assert found.outcome in ("throttled", "refused", "unreachable"), found.outcome


def test_a_source_has_one_entry_in_one_file() -> None:
    assert len(SOURCES) == len({source.name for source in SOURCES.values()})
