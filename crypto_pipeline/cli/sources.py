"""crypto-pipeline sources: every endpoint with its state, or what all of them cost a day."""

import argparse
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from crypto_pipeline import settings
from crypto_pipeline.cli.console import COLOURS, out, plain_table, print_json, shown, when
from crypto_pipeline.warehouse import configured

if TYPE_CHECKING:
    from crypto_pipeline.collection.budget import Budget
    from crypto_pipeline.sources import Endpoint
    from crypto_pipeline.tables import SourceHealth

LOCK_WAIT_S = 0.5
"""A question is not worth more waiting: what the file would say is then left out."""


def run(chosen: argparse.Namespace) -> int:
    """List the endpoints, or the budget; exit code 1 when that is exceeded."""
    return _show_budget(chosen.json) if chosen.budget else _show_endpoints(chosen.json)


def _show_endpoints(as_json: bool) -> int:
    from crypto_pipeline.sources import ENDPOINTS, SOURCES  # noqa: PLC0415  (status needs none)

    memory = configured().remember()
    rows = [_row(endpoint, memory.health.get(endpoint.id)) for endpoint in ENDPOINTS.values()]
    if as_json:
        print_json(rows)
        return 0
    table = plain_table(("endpoint", "key", "last outcome", "next allowed call"))
    for row in rows:
        outcome = row["outcome"] or "never asked"
        colour = COLOURS.get(outcome, "red" if row["outcome"] else "dim")
        key = row["key"] or ""
        optional = " (optional)" if key and not row["key_required"] else ""
        due = when(row["next_allowed_call"]) if row["next_allowed_call"] else ""
        table.add_row(row["id"], key + optional, f"[{colour}]{outcome}", due)
    out.print(table)
    keyless = sum(source.keyless for source in SOURCES.values())
    out.print(
        f"{len(ENDPOINTS)} endpoints of {len(SOURCES)} sources, {keyless} of them without a key"
    )
    return 0


def _row(endpoint: "Endpoint", known: "SourceHealth | None") -> dict[str, Any]:
    due = None
    if known:
        due = max(known.next_allowed_at, known.told_to_wait_until or known.asked_at)
    return {
        "id": endpoint.id,
        "source": endpoint.source.name,
        "table": endpoint.model.table.name,
        "key": endpoint.key.env if endpoint.key else None,
        "key_required": not endpoint.source.keyless,
        "outcome": known.outcome if known else None,
        "reason": known.reason if known else None,
        "next_allowed_call": due.isoformat() if due else None,
    }


def _show_budget(as_json: bool) -> int:
    """Calls and bytes a day of every source, against what it allows and what a day may cost."""
    from crypto_pipeline.collection import budget, universe  # noqa: PLC0415
    from crypto_pipeline.sources import SOURCES  # noqa: PLC0415
    from crypto_pipeline.sources.spec import MAJORS  # noqa: PLC0415

    planned = budget.estimate(
        SOURCES.values(),
        os.environ,
        universe.one_by_one(settings.universe(), MAJORS),
        configured(LOCK_WAIT_S).bytes_per_answer(),
    )
    if as_json:
        print_json(
            {
                "bytes_per_day": planned.bytes_per_day,
                "bytes_per_day_allowed": budget.BYTES_A_DAY,
                "exceeded": planned.exceeded,
                "sources": [asdict(source) for source in planned.sources],
            }
        )
    else:
        _print_budget(planned, budget.BYTES_A_DAY)
    return 1 if planned.exceeded else 0


def _print_budget(planned: "Budget", allowed: int) -> None:
    numbers = ("calls a day", "allowed", "calls a month", "allowed", "fits", "kB a day")
    table = plain_table(("source",), numbers)
    for source in sorted(planned.sources, key=lambda s: (s.fits, -s.bytes_per_day)):
        limited = source.per_day is not None or source.per_month is not None
        fits = "yes" if source.fits else "[red]no"
        table.add_row(
            source.source,
            f"{source.calls_per_day:,}",
            "" if source.per_day is None else f"{source.per_day:,}",
            f"{source.calls_per_month:,}",
            "" if source.per_month is None else f"{source.per_month:,}",
            fits if limited else "",
            f"{source.bytes_per_day / 1000:,.0f}",
        )
    out.print(table)
    share = planned.bytes_per_day / allowed
    out.print(
        f"{planned.bytes_per_day / 1e6:,.0f} MB a day, compressed: {share:.0%} of "
        f"{allowed / 1e6:,.0f} MB"
    )
    for reason in planned.exceeded:
        out.print(f"[red]{shown(reason)}")
