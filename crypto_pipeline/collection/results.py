"""How endpoints ended in one collection, and what the collection came to.

Owns: the account of an endpoint, and of the whole.
Must not know: how it came about, or what is written of it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, Self

from crypto_pipeline.collection.exchange import Attempt
from crypto_pipeline.collection.extract import Rejects
from crypto_pipeline.collection.failures import Failure
from crypto_pipeline.collection.kept_answers import Packed
from crypto_pipeline.groups import CollectionType
from crypto_pipeline.sources.spec import Endpoint
from crypto_pipeline.tables import Row, SourceHealth
from crypto_pipeline.tables.outcomes import GOOD, NOT_DUE, SKIPPED, SKIPS, Outcome, Skip, Skipped
from crypto_pipeline.warehouse import Receipt


@dataclass(slots=True)
class Result:
    """How one endpoint ended in one collection. len(rows) + left_out + len(rejects) == records.

    latency_ms: of the slowest attempt. retry_after: seconds the source asked to be left alone.
    bodies: those that were used, packed to be kept.
    """

    endpoint: Endpoint
    outcome: Outcome
    reason: str | None = None
    skip: Skip | None = None
    records: int = 0
    rows: list[Row] = field(default_factory=list)
    left_out: int = 0
    rejects: Rejects = field(default_factory=Rejects)
    bytes_received: int = 0
    latency_ms: float | None = None
    attempts: tuple[Attempt, ...] = ()
    bodies: list[Packed] = field(default_factory=list)
    retry_after: float | None = None
    etag: str | None = None
    last_modified: str | None = None
    asked_at: datetime | None = None
    finished_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @classmethod
    def of_skipped(cls, endpoint: Endpoint, skipped: Skipped) -> Self:
        """The result of an endpoint that is not asked."""
        return cls(endpoint, SKIPPED, skipped.reason, skipped.skip)

    def lose(self, failure: Failure) -> None:
        """Give up all that came: its account could not be made."""
        self.outcome, self.reason = failure.outcome, failure.reason
        self.records, self.rows, self.left_out, self.rejects = 0, [], 0, Rejects()
        self.etag = self.last_modified = self.retry_after = None

    @property
    def asked(self) -> bool:
        return self.outcome != SKIPPED

    @property
    def good(self) -> bool:
        return self.outcome in GOOD

    @property
    def not_due(self) -> bool:
        """Whether it was not asked because it, its pool or its host is asked later on."""
        return self.skip in NOT_DUE


Kept = Literal["database", "spool", "nowhere"]

Progress = Callable[[Result, int, int], None]
"""Called for every endpoint as it ends, with how many are done and how many there are."""


@dataclass(slots=True)
class Collection:
    """What one collection came to.

    health: what is remembered now of every endpoint that was ever asked, by its id; empty when
    nobody was asked since another collection was running: stepped_aside says so. interrupted: the
    signal that made it end early. unlogged: why the log has no lines of it. unkept: why its answers
    are not kept.
    """

    id: str
    type: CollectionType
    started_at: datetime
    results: list[Result] = field(default_factory=list)
    receipt: Receipt = field(default_factory=Receipt)
    health: Mapping[str, SourceHealth] = field(default_factory=dict)
    stepped_aside: str | None = None
    interrupted: int | None = None
    unlogged: str | None = None
    unkept: str | None = None

    def of(self, table: str) -> list[Result]:
        """The results of the endpoints that feed a table."""
        return [r for r in self.results if r.endpoint.model.table.name == table]

    @property
    def kept(self) -> Kept:
        """Where the rows are, known when the collection was written."""
        if self.receipt.spooled:
            return "spool"
        return "database" if self.receipt.committed_at or self.receipt.repeated else "nowhere"

    @property
    def asked(self) -> list[Result]:
        return [r for r in self.results if r.asked]

    @property
    def answered(self) -> list[Result]:
        return [r for r in self.results if r.good]

    @property
    def failed(self) -> str | None:
        """Why the collection as a whole failed: asked somebody, and nobody answered."""
        if self.asked and not self.answered:
            first = self.asked[0]
            return (
                f"none of the {len(self.asked)} endpoints asked could be collected; the first: "
                f"{first.endpoint.id}: {first.outcome}: {first.reason}"
            )
        return None


def skip_counts(results: Iterable[Result]) -> list[str]:
    """Why endpoints were not asked, in kinds with their number, the biggest first."""
    kinds = Counter(result.skip for result in results if result.skip)
    return [f"{number} {SKIPS[skip]}" for skip, number in kinds.most_common()]
