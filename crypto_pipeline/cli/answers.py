"""crypto-pipeline answers and rebuild: what is kept of answers, and a table made of them anew."""

import argparse
import re
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from crypto_pipeline import clock, settings
from crypto_pipeline.cli.console import err, out, plain_table, print_json, shown
from crypto_pipeline.tables import DATA, TABLES
from crypto_pipeline.warehouse import configured

if TYPE_CHECKING:
    from crypto_pipeline.collection.kept_answers import Amount, KeptAnswers, Summary
    from crypto_pipeline.collection.rebuild import Report

HEAVIEST = 20
"""Endpoints that are shown of all."""

NAMED = 10
"""Collections that are named of those that could not be read again."""

REBUILT = tuple(model.table.name for model in DATA if not model.table.computed_from)
"""The tables that sources feed."""

_AGE = re.compile(r"(\d{1,5})([dh])")
_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1)}


def moment(text: str) -> datetime:
    """A moment as it is given: a date, a time of ISO 8601 (UTC unless it says otherwise), or an age
    such as 2d or 36h. Raises argparse.ArgumentTypeError."""
    if age := _AGE.fullmatch(text):
        return datetime.now(UTC) - int(age[1]) * _UNITS[age[2]]
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no moment: give one such as 2026-11-23, 2026-11-23T14:00 or 36h"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def add_arguments(rebuild: argparse.ArgumentParser) -> None:
    """The arguments of `rebuild`."""
    rebuild.add_argument("table", choices=REBUILT, metavar="TABLE", help=", ".join(REBUILT))
    rebuild.add_argument(
        "--since", type=moment, required=True, metavar="MOMENT",
        help="from the collections on that began then: 2026-11-23, 2026-11-23T14:00 or 36h",
    )  # fmt: skip
    rebuild.add_argument(
        "--until", type=moment, metavar="MOMENT", help="up to those that began then"
    )
    rebuild.add_argument(
        "--dry-run", action="store_true", help="say what would change, and change nothing"
    )


def run(chosen: argparse.Namespace) -> int:
    """What is kept: bytes a day, how much smaller, and of which endpoints."""
    kept = _kept()
    summary = kept.summary()
    if chosen.json:
        days, endpoints = ([_row(a) for a in some] for some in (summary.days, summary.endpoints))
        answer = {**asdict(summary), "file": str(kept.file), "why_not": kept.why_not}
        print_json(answer | {"all": _row(summary.whole), "days": days, "endpoints": endpoints})
        return 0
    _print_summary(summary)
    if not settings.keeping():
        out.print(f"no answers are kept: {settings.answers_bytes.name} is 0")
    if problem := kept.why_not:
        err.print(f"[yellow]{shown(problem)}", soft_wrap=True)
    out.print(f"answers: {kept.file}", style="dim", soft_wrap=True)
    return 0


def _kept() -> "KeptAnswers":
    from crypto_pipeline.collection.kept_answers import KeptAnswers, beside  # noqa: PLC0415

    keeping = settings.keeping() or settings.Keeping(timedelta(), timedelta(), 0)
    return KeptAnswers(beside(settings.database()), keeping)


def _row(amount: "Amount") -> dict[str, Any]:
    return {**asdict(amount), "ratio": round(amount.ratio, 2)}


def _print_summary(summary: "Summary") -> None:
    numbers = ("answers", "MB came", "MB kept", "came / kept")
    endpoints = plain_table(("endpoint",), numbers)
    for amount in summary.endpoints[:HEAVIEST]:
        endpoints.add_row(amount.name, *_numbers(amount))
    days = plain_table(("day",), numbers)
    for amount in (*summary.days, summary.whole):
        days.add_row(amount.name, *_numbers(amount))
    if summary.collections:
        out.print(endpoints)
        if more := len(summary.endpoints) - HEAVIEST:
            out.print(f"and {more} more" if more > 0 else "", style="dim")
        out.print(days)
    oldest = f", the oldest of {clock.said(summary.oldest)}" if summary.oldest else ""
    out.print(
        f"{summary.collections:,} collections{oldest}; {summary.bodies:,} different answers; "
        f"the file has {summary.file_bytes / 1e6:,.1f} MB"
    )


def _numbers(amount: "Amount") -> tuple[str, ...]:
    return (
        f"{amount.answers:,}",
        f"{amount.bytes / 1e6:,.1f}",
        f"{amount.packed / 1e6:,.2f}",
        f"{amount.ratio:,.1f}",
    )


def run_rebuild(chosen: argparse.Namespace) -> int:
    """Bring a table to what the kept answers say now; exit code 1 when none of them was of a
    collection in the file."""
    from crypto_pipeline.collection.rebuild import rebuild  # noqa: PLC0415
    from crypto_pipeline.sources import ENDPOINTS  # noqa: PLC0415

    model = TABLES[chosen.table]
    report = rebuild(
        model,
        [endpoint for endpoint in ENDPOINTS.values() if endpoint.model is model],
        chosen.since,
        chosen.until or datetime.now(UTC) + clock.AHEAD,
        configured(),
        _kept(),
        dry_run=chosen.dry_run,
        told=_told(chosen.json),
    )
    if chosen.json:
        print_json(_as_json(report, dry_run=chosen.dry_run))
    else:
        _print_report(report, dry_run=chosen.dry_run)
    return 0 if report.rebuilt.reads else 1


def _told(as_json: bool) -> Callable[[int], None]:
    """Progress, for people."""

    def tell(collections: int) -> None:
        if err.is_terminal and not as_json:
            err.print(f"{collections:,} collections", style="dim")

    return tell


def _as_json(report: "Report", *, dry_run: bool) -> dict[str, Any]:
    done = report.rebuilt
    return {
        "table": report.table,
        "dry_run": dry_run,
        "collections": report.collections,
        "answers": report.answers,
        "rows": {
            name: getattr(done, name) for name in ("same", "changed", "added", "removed")
        },
        "rejects": {"gone": done.rejects_gone, "new": done.rejects_new},
        "not_kept": report.not_kept,
        "not_in_the_file": sorted(done.unknown),
        "damaged": report.damaged,
        "faults": report.faults,
    }  # fmt: skip


def _print_report(report: "Report", *, dry_run: bool) -> None:
    done = report.rebuilt
    out.print(
        f"{report.table}: {report.answers:,} answers of {report.collections:,} collections read "
        f"again{', and nothing changed: a dry run' if dry_run else ''}"
    )
    out.print(
        f"rows: {done.same:,} same, {done.changed:,} changed, {done.added:,} added, "
        f"{done.removed:,} removed"
    )
    out.print(f"rejects: {done.rejects_gone:,} came home, {done.rejects_new:,} new")
    followers = [m.table.name for m in DATA if report.table in _origins(m.table.computed_from)]
    if followers and done.changed + done.added + done.removed:
        out.print(f"made of it, and left as they are: {', '.join(followers)}")
    for count, words in (
        (len(report.not_kept), "collections brought rows whose answers could not be read again"),
        (len(done.unknown), "collections are kept, and not in the database"),
    ):
        if count:
            err.print(f"[yellow]{count:,} {words}", soft_wrap=True)
    for collection, endpoints in list(report.not_kept.items())[:NAMED]:
        err.print(shown(f"  {collection}: {', '.join(endpoints)}"), style="dim", soft_wrap=True)
    for endpoint, why in report.faults.items():
        err.print(f"[red]{shown(f'{endpoint}: {why}: its rows stay as they are')}", soft_wrap=True)
    for collection, endpoint in report.damaged[:NAMED]:
        words = f"{collection}: what is kept of {endpoint} is damaged"
        err.print(f"[red]{shown(words)}", soft_wrap=True)


def _origins(computed_from: tuple[str, ...]) -> set[str]:
    """The tables that one is made of, and those that they are made of."""
    found = set(computed_from)
    for name in computed_from:
        found |= _origins(TABLES[name].table.computed_from)
    return found
