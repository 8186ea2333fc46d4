"""crypto-pipeline try: ask a source's endpoints now, whatever is due, and show what comes."""

import argparse
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from rich.table import Table

from crypto_pipeline.cli.console import coloured, err, out, print_json, shown
from crypto_pipeline.warehouse import Memory, configured

if TYPE_CHECKING:
    from crypto_pipeline.collection.results import Result

NEAR_SHOWN = 5


def run(chosen: argparse.Namespace) -> int:
    """Show rows, rejects and timing; nothing is written. Exit code 1 when nobody answered."""
    from crypto_pipeline.collection.collect import crawl  # noqa: PLC0415  (status needs none)
    from crypto_pipeline.sources import ENDPOINTS, SOURCES  # noqa: PLC0415

    name = chosen.source
    wanted = [e for e in ENDPOINTS.values() if name in (e.source.name, e.id)]
    if not wanted:
        near = ", ".join(get_close_matches(name, (*SOURCES, *ENDPOINTS), NEAR_SHOWN))
        err.print(
            f"[red]no source or endpoint {shown(name)}" + (f"; near it: {near}" if near else "")
        )
        return 2
    alone = [replace(endpoint, pool=None) for endpoint in wanted]
    remembered = configured().remember()
    results = crawl(alone, Memory(usage=remembered.usage), "try", force=True)
    if chosen.json:
        print_json([_as_json(result) for result in results])
    else:
        for result in results:
            _show(result, chosen.rows)
    return 0 if any(result.good for result in results) else 1


def _as_json(result: "Result") -> dict[str, Any]:
    return {
        "endpoint": result.endpoint.id,
        "outcome": result.outcome,
        "reason": result.reason,
        "records": result.records,
        "left_out": result.left_out,
        "rows": [row.model_dump(mode="json") for row in result.rows],
        "rejects": [
            {"field": r.field, "reason": r.reason, "record": r.record} for r in result.rejects
        ],
        "attempts": [
            {"url": a.url, "status": a.status, "error": a.error, "ms": round(a.latency_ms)}
            for a in result.attempts
        ],
    }


def _show(result: "Result", most: int) -> None:
    out.print(
        f"[bold]{result.endpoint.id}[/] {coloured(result.outcome)} {shown(result.reason or '')}"
    )
    for attempt in result.attempts[:most]:
        came = attempt.error or f"HTTP {attempt.status}"
        out.print(
            f"  {attempt.method} {shown(attempt.url)} → {shown(came)}, "
            f"{attempt.latency_ms:.0f} ms, {attempt.bytes_received:,} bytes",
            style="dim", soft_wrap=True,
        )  # fmt: skip
    out.print(
        f"  {result.records} records = {len(result.rows)} rows + {result.left_out} left out "
        f"+ {len(result.rejects)} rejects"
    )
    if result.rows:
        out.print(_rows_table([row.model_dump() for row in result.rows[:most]]))
    for reject in result.rejects.kept[:most]:
        out.print(f"  [red]refused[/] {shown(reject.reason)}: {shown(reject.record[:300])}")
    out.print()


def _rows_table(rows: Iterable[dict[str, Any]]) -> Table:
    kept = [{k: v for k, v in row.items() if k != "collection_id"} for row in rows]
    names = [name for name in kept[0] if any(row[name] is not None for row in kept)]
    table = Table(box=None, padding=(0, 1))
    for name in names:
        table.add_column(name, overflow="ellipsis", max_width=28, no_wrap=True)
    for row in kept:
        table.add_row(*(shown(_cell(row[name])) for name in names))
    return table


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    return f"{value:,.10g}" if isinstance(value, float) else str(value)
