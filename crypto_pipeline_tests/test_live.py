"""Who moved: every endpoint that needs no key, asked once on the real internet.

Never part of `make test`: run `python -m pytest -m live`, with -k for some of them, without -n.
What a failure says is what a collection would have on record: the outcome and its reason.
"""

from dataclasses import replace

import pytest

from crypto_pipeline.collection.collect import crawl
from crypto_pipeline.collection.results import Result
from crypto_pipeline.sources import ENDPOINTS
from crypto_pipeline.warehouse import Memory
from crypto_pipeline_tests.conftest import the_internet

pytestmark = pytest.mark.live

KEYLESS = [e.id for e in ENDPOINTS.values() if e.source.keyless]


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest) -> dict[str, Result]:
    """The results of all endpoints that were selected, asked together: so the gaps that hosts are
    owed are kept, and a request that several share is made once."""
    selected = [
        str(item.callspec.params["endpoint_id"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.module is request.module
    ]
    alone = [replace(ENDPOINTS[endpoint_id], pool=None) for endpoint_id in selected]
    with the_internet():
        found = crawl(alone, Memory(), "live", force=True)
    return {result.endpoint.id: result for result in found}


@pytest.mark.parametrize("endpoint_id", KEYLESS)
def test_a_keyless_endpoint_answers(endpoint_id: str, results: dict[str, Result]) -> None:
    result = results[endpoint_id]
    if not result.good:
        pytest.fail(f"{endpoint_id} is {result.outcome}: {result.reason}", pytrace=False)
