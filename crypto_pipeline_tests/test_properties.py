"""Any bytes, any JSON, any headers, for every endpoint: a name, a whole account, no exception."""

import json
import math
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic_core import to_json

from crypto_pipeline.collection.collect import collect
from crypto_pipeline.collection.exchange import Answer
from crypto_pipeline.collection.extract import Extraction, extract
from crypto_pipeline.sources import ENDPOINTS
from crypto_pipeline.sources.spec import Endpoint
from crypto_pipeline.warehouse import Warehouse
from crypto_pipeline_tests.conftest import Canned, coins, source
from crypto_pipeline_tests.faults.bodies import dumped, longest, nested
from crypto_pipeline_tests.upstream import Received, Reply, Rule, Samples, Upstream, sample_file

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
"""The clock of the samples."""

WITH_SAMPLE = [endpoint for endpoint in ENDPOINTS.values() if sample_file(endpoint)]
PARTS = 6
"""Endpoints are tried in so many tests: every one of a part with each example."""

EXAMPLES = settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
"""Nothing is made smaller: an example is a hundred endpoints, and a failure names one of them."""


def part(number: int) -> list[Endpoint]:
    return WITH_SAMPLE[number::PARTS]


@cache
def sample(endpoint_id: str) -> bytes:
    file = sample_file(ENDPOINTS[endpoint_id])
    assert file
    return file.read_bytes()


def honest(endpoint: Endpoint, body: bytes, status: int | None = 200) -> None:
    """What holds of every answer: each record accounted for, a name, and what can be stored."""
    try:
        found = read(endpoint, body, status)
        to_json(found.rows)
        to_json([found.reason, *((r.field, r.reason, r.record) for r in found.rejects)])
    except Exception as problem:
        raise AssertionError(
            f"{endpoint.id}: {type(problem).__name__} of {body[:500]!r}"
        ) from problem
    about = f"{endpoint.id}: {found.outcome} of {body[:500]!r}"
    assert len(found.rows) + found.left_out + len(found.rejects) == found.records, about
    assert found.outcome == "ok" or found.reason, about
    assert found.outcome != "ok" or found.rows, about


def read(endpoint: Endpoint, body: bytes, status: int | None = 200, **about: Any) -> Extraction:
    answer = Answer(status, body, "", NOW, **about)
    return extract(endpoint, endpoint.asks()[0], answer, "c")


# Any bytes


@pytest.mark.parametrize("number", range(PARTS))
@EXAMPLES
@given(st.binary(max_size=300), st.sampled_from([200, 204, 304, 403, 429, 500, None]))
def test_any_bytes_end_in_a_name(number: int, body: bytes, status: int | None) -> None:
    for endpoint in part(number):
        honest(endpoint, body, status)


@pytest.mark.parametrize("number", range(PARTS))
@EXAMPLES
@given(st.floats(0, 1), st.floats(0, 1), st.binary(max_size=6))
def test_a_sample_with_a_piece_gone_ends_in_a_name(
    number: int, start: float, end: float, piece: bytes
) -> None:
    for endpoint in part(number):
        body = sample(endpoint.id)
        first, last = sorted((round(start * len(body)), round(end * len(body))))
        honest(endpoint, body[:first] + piece + body[last:])


# Any JSON

HALF = st.characters(categories=["Cs"])
TEXT = st.text(max_size=8) | st.text(HALF, max_size=2) | st.sampled_from(
    ["\0", "\x1b[31mRED", "nan", "1e999", "9" * 400, "-1", "", " ", "null", "0x", "2100-01-01"]
)  # fmt: skip
NUMBERS = (
    st.integers(-(10**20), 10**20)
    | st.floats()
    | st.sampled_from([10**399, -(10**399), math.inf, -math.inf, math.nan, 1e308, -0.0, 2**63])
)
LEAVES = st.none() | st.booleans() | NUMBERS | TEXT
ANY = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
WRONG = ANY | st.just(nested(300))


@pytest.mark.parametrize("number", range(PARTS))
@EXAMPLES
@given(ANY)
def test_any_json_ends_in_a_name(number: int, body: Any) -> None:
    for endpoint in part(number):
        honest(endpoint, dumped(body))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to everything inside a value, and to the value itself."""
    yield path
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from places(inner, (*path, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value[:5]):
            yield from places(inner, (*path, number))


def put(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    if not path:
        return other
    parent = value
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = other
    return value


def drop(value: Any, path: tuple[Any, ...]) -> Any:
    if not path:
        return None
    parent = value
    for step in path[:-1]:
        parent = parent[step]
    del parent[path[-1]]
    return value


Wrong = list[tuple[float, str, Any, str]]
"""Things to do wrong: where in the value, what, with what, under which name."""

WRONGS = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.sampled_from(["put", "put", "put", "drop", "empty", "double", "name"]),
        WRONG,
        TEXT,
    ),
    min_size=1,
    max_size=3,
)


def mutated(value: Any, wrongs: Wrong) -> Any:
    """The value with one to three things wrong."""
    for where, how, given_other, name in wrongs:
        other = json.loads(json.dumps(given_other))  # of its own: it may be changed further
        found = list(places(value))
        path = found[int(where * len(found))]
        if how == "put":
            value = put(value, path, other)
        elif how == "drop":
            value = drop(value, path)
        elif how == "name" and path and isinstance(path[-1], str):
            value = put(value, (*path[:-1], name), other)
        elif records := longest(value):
            records[:] = [] if how == "empty" else records * 2
    return value


@pytest.mark.parametrize("number", range(PARTS))
@settings(EXAMPLES, max_examples=40)
@given(WRONGS)
def test_a_mutated_sample_ends_in_a_name(number: int, wrongs: Wrong) -> None:
    for endpoint in part(number):
        if endpoint.read == "json":
            honest(endpoint, dumped(mutated(json.loads(sample(endpoint.id)), wrongs)))


# Whole collections: the neighbour lands

FEW = settings(EXAMPLES, max_examples=12)
LETTERS = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=30)
VALUES = LETTERS | st.integers(-(10**15), 10**15).map(str)
NAMES = (
    "Retry-After", "ETag", "Last-Modified", "Content-Type", "Location", "Date", "Content-Encoding",
    "RateLimit-Reset", "X-RateLimit-Reset",
)  # fmt: skip


@FEW
@given(
    st.sampled_from([200, 200, 200, 201, 302, 403, 418, 429, 500, 503]),
    st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4),
    st.binary(max_size=100)
    | ANY.map(dumped)
    | WRONGS.map(lambda wrongs: dumped(mutated(coins(1, 2, 3), wrongs))),
)
def test_whatever_one_host_says_the_neighbour_s_row_lands(
    status: int, headers: dict[str, str], body: bytes
) -> None:
    lands(Rule("bad", status, body, headers))


@FEW
@given(st.integers(0, len(WITH_SAMPLE)), WRONGS)
def test_mutated_samples_cost_the_neighbour_nothing(first: int, wrongs: Wrong) -> None:
    def say(_: Received, reply: Reply) -> Reply:
        try:
            value = json.loads(reply.body)
        except ValueError:
            return reply
        return Reply(reply.status, dumped(mutated(value, wrongs)))

    among = WITH_SAMPLE[first : first + 20]
    asked = [e for e in among if e.source.keyless and e.read == "json" and not e.each]
    lands(Rule("^(?!good)", say=say), *asked)


def lands(rule: Rule, *others: Endpoint) -> None:
    """Collect a good source beside a bad one, and whoever else; the good one's rows are there."""
    with tempfile.TemporaryDirectory(prefix="lands_") as folder:
        _lands(Warehouse(Path(folder) / "crypto.duckdb"), rule, others)


def _lands(warehouse: Warehouse, rule: Rule, others: Sequence[Endpoint]) -> None:
    canned = Canned({f"{name}.example/prices": coins(1, 2, 3) for name in ("good", "bad")})
    among = [source("good"), source("bad", conditional=True), *others]
    with (
        Upstream(canned, Samples(), rules=[rule]) as upstream,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("CRYPTO_PIPELINE_UPSTREAM", upstream.url)
        for name in ("first", "again"):
            collection = collect(
                ["market_prices", "cached_market_data"],
                name,
                warehouse=warehouse,
                among=among,
                force=True,
            )
            assert [r.outcome for r in collection.results if r.endpoint is among[0]] == ["ok"]
    prices = "SELECT collection_id, count(*) FROM market_prices WHERE source = 'good' GROUP BY 1"
    assert dict(warehouse.query(prices)) == {"first": 3, "again": 3}
    for records, rows, left_out, rejects in warehouse.query(
        "SELECT records, rows, left_out, rejects FROM data_collections"
    ):
        assert rows + left_out + rejects == records
