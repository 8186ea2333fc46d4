"""One endpoint under one kind: fetched over real HTTP, and extracted."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pydantic_core import to_json

from crypto_pipeline.collection.collect import key_names
from crypto_pipeline.collection.exchange import request_for
from crypto_pipeline.collection.extract import extract
from crypto_pipeline.collection.fetch import Fetcher
from crypto_pipeline.collection.limits import Limits
from crypto_pipeline.sources import ENDPOINTS
from crypto_pipeline_tests.faults.host import HEADER
from crypto_pipeline_tests.faults.kinds import HONEST, KINDS

LIMITS = Limits(connect_s=3.0, read_s=2.0, deadline_s=4.0)
THREADS = 64

Honest = Mapping[str, tuple[str, int]]
"""Outcome and rows of the honest answer, by endpoint."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What one endpoint's answer came to; problem: what was raised on the way."""

    endpoint: str
    kind: str | None
    outcome: str = ""
    rows: int = 0
    account: bool = True
    problem: str | None = None
    seconds: float = 0.0

    def missed(self, honest: Honest) -> str | None:
        """What is not right of it, or None."""
        about = KINDS[self.kind or ""]
        if self.problem:
            return f"raised {self.problem}"
        if not self.account:
            return "the records are not all accounted for"
        if about.right == HONEST:
            found, wanted = (self.outcome, self.rows), honest[self.endpoint]
            return None if found == wanted else f"{found} where {wanted} is right"
        if self.outcome not in about.right:
            return f"{self.outcome} where {', '.join(sorted(about.right))} is right"
        return "no rows kept" if about.kept and not self.rows else None


def ask(upstream: str, pairs: Sequence[tuple[str, str | None]]) -> list[Asked]:
    """Ask each endpoint, treated as the kind beside it says, or honestly."""
    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(lambda pair: _ask(upstream, *pair), pairs))


def _ask(upstream: str, name: str, kind: str | None) -> Asked:
    endpoint = ENDPOINTS[name]
    one = endpoint.asks()[0]
    began = time.monotonic()
    try:
        request = request_for(endpoint, one, datetime.now(UTC))
        headers = (*request.headers, *([(HEADER, kind)] if kind else []))
        request = replace(request, gap=0.0, headers=headers)
        with Fetcher(upstream, key_names(), LIMITS) as fetcher:
            answer = fetcher.fetch(request, retry=False)
        found = extract(endpoint, one, answer, "alone")
        to_json(found.rows)
        for text in (found.reason or "", *(f"{r.reason}{r.record}" for r in found.rejects)):
            text.encode()
    except Exception as raised:
        words = f"{type(raised).__name__}: {raised}"[:200].encode("utf-8", "replace").decode()
        return Asked(name, kind, problem=words, seconds=time.monotonic() - began)
    whole = len(found.rows) + found.left_out + len(found.rejects) == found.records
    return Asked(
        name, kind, found.outcome, len(found.rows), whole, seconds=time.monotonic() - began
    )
