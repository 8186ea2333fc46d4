"""Every kind, alone and together: who is asked, in which order, and what is counted."""

import random
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crypto_pipeline.sources import ENDPOINTS, Endpoint
from crypto_pipeline_tests.faults import alone, child, together
from crypto_pipeline_tests.faults.host import Host
from crypto_pipeline_tests.faults.kinds import ASKED_S, Kind
from crypto_pipeline_tests.faults.report import Line

HEAVY = 6
"""Endpoints that are asked alone for a kind of megabytes."""

PATIENCE_S = 100.0
"""For one child: who takes longer hangs."""


@dataclass
class Campaign:
    """Kinds tried against endpoints that answer well when they are let.

    endpoints: how many each kind is tried on alone. seats: how many collections each kind has.
    """

    host: Host
    chance: random.Random
    endpoints: int = len(ENDPOINTS)
    seats: int = 3
    _honest: alone.Honest = field(default_factory=dict)
    _clean: together.Told = field(default_factory=together.Told)

    # Alone

    def each_alone(self, kinds: Sequence[Kind]) -> Iterator[Line]:
        """Ask endpoint after endpoint, each by itself; a process for each kind."""
        self._learn_honest()
        for kind in kinds:
            if not kind.endless:
                yield from self._alone([kind])

    def all_alone(self, kinds: Sequence[Kind]) -> list[Line]:
        """The same in one process for all the kinds."""
        self._learn_honest()
        return self._alone(kinds)

    def _learn_honest(self) -> None:
        self.host.treat()
        honest = self._asked([(name, None) for name in ENDPOINTS])
        assert honest.value is not None, honest.problem
        self._honest = {
            asked.endpoint: (asked.outcome, asked.rows)
            for asked in honest.value
            if asked.outcome == "ok"
        }

    def _asked(self, pairs: Sequence[tuple[str, str | None]]) -> child.Done:
        environment = together.settings(self.host.url, Path("no.duckdb"))
        about: Any = {"environment": environment, "patience_s": PATIENCE_S}
        return child.run(alone.ask, self.host.url, pairs, **about)

    def _alone(self, kinds: Sequence[Kind]) -> list[Line]:
        lines = {kind.name: Line("alone", kind.name) for kind in kinds}
        pairs = [(name, kind.name) for kind in kinds for name in self._chosen(kind)]
        done = self._asked(pairs)
        if done.value is None:
            for _, kind_name in pairs:
                lines[kind_name].add([f"raised {done.problem}"], raised=True, seconds=done.seconds)
            return list(lines.values())
        for asked in done.value:
            words = asked.missed(self._honest)
            line = lines[asked.kind]
            line.add(
                [f"{asked.endpoint}: {words}"] if words else [],
                raised=asked.problem is not None,
                seconds=asked.seconds,
                mb=done.mb,
            )
        return list(lines.values())

    def _chosen(self, kind: Kind) -> list[str]:
        able = [name for name in self._honest if kind.suits(ENDPOINTS[name])]
        most = HEAVY if kind.heavy else self.endpoints
        return self.chance.sample(able, min(most, len(able)))

    # Together

    def all_together(self, kinds: Sequence[Kind]) -> Iterator[Line]:
        """One hostile host in a collection of everybody."""
        self.host.treat()
        clean = self._collected()
        assert clean.value is not None, clean.problem
        self._clean = clean.value
        by_seat = together.seats(self._clean)
        for kind in kinds:
            line = Line("together", kind.name)
            for seat in self._seats(kind, by_seat):
                self._one_hostile(line, kind, seat)
            yield line

    def _seats(self, kind: Kind, by_seat: together.Seats) -> list[Endpoint]:
        """Endpoints of different readers for a kind, as many as there are seats."""
        able = [
            [e for e in endpoints if kind.suits(e) and (kind.wait_s is None or _impatient(e))]
            for endpoints in by_seat.values()
        ]
        rows = [endpoints for endpoints in able if endpoints]
        self.chance.shuffle(rows)
        return [self.chance.choice(rows[n % len(rows)]) for n in range(self.seats)]

    def _one_hostile(self, line: Line, kind: Kind, seat: Endpoint) -> None:
        self.host.treat((f"^{re.escape(together.host_of(seat))}(/|$)", kind.name))
        done = self._collected()
        if done.value is None:
            words = [f"{seat.id}: raised {done.problem}"]
            line.add(words, raised=True, spoilt=True, mb=done.mb, seconds=done.seconds)
            return
        verdict = together.judge(kind, seat, self._clean, done.value)
        words = [*verdict.words]
        if done.mb > together.MOST_MB:
            words.append(f"{seat.id}: {done.mb:.0f} MB")
        if done.seconds > together.MOST_S:
            words.append(f"{seat.id}: {done.seconds:.0f} s")
        line.add(words, spoilt=not verdict.others, mb=done.mb, seconds=done.seconds)

    def _collected(self) -> child.Done:
        with tempfile.TemporaryDirectory(prefix="faults_") as folder:
            file = Path(folder) / "crypto.duckdb"
            return child.run(
                together.collection,
                str(file),
                "c1",
                environment=together.settings(self.host.url, file),
                patience_s=PATIENCE_S,
            )


def _impatient(endpoint: Endpoint) -> bool:
    """Whether it would be asked again soon, so that a wait is seen."""
    return endpoint.each is None and endpoint.min_interval.total_seconds() < ASKED_S / 2
