"""crypto-pipeline: the command line, for people.

Exit codes: 0 done; 1 nothing could be collected or kept, the budget is exceeded, or health found a
reason; 2 wrong usage or setting.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from crypto_pipeline import settings
from crypto_pipeline.cli import worker
from crypto_pipeline.cli.console import err, out
from crypto_pipeline.monitoring.snapshot import COLLECTIONS
from crypto_pipeline.warehouse import Memory, Warehouse, WarehouseError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crypto_pipeline.collection.collect import Collection, Result

COLOURS = {
    "ok": "green",
    "unchanged": "green",
    "empty": "yellow",
    "skipped": "dim",
    "throttled": "yellow",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its code."""
    chosen = _parser().parse_args(arguments)
    try:
        code = chosen.run(chosen)
    except settings.SettingError as problem:
        err.print(f"[red]{escape(str(problem))}")
        code = 2
    except WarehouseError as problem:
        err.print(f"[red]{escape(str(problem))}")
        code = 1
    except KeyboardInterrupt:
        err.print("stopped; what was collected before stays")
        code = 130
    sys.stdout.flush()
    sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="crypto-pipeline", description="A crypto data warehouse that fills itself."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, run: Callable[[argparse.Namespace], int], about: str
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=about, description=about)
        added.set_defaults(run=run)
        added.add_argument("--json", action="store_true", help="print JSON, for machines")
        return added

    added = command("collect", collect, "Run a collection now and record it in the run history.")
    added.add_argument("what", nargs="?", choices=list(COLLECTIONS), default="both")
    added.add_argument(
        "--force", action="store_true", help="ask what is not due too, never what told us to wait"
    )
    for name, (run, about) in worker.COMMANDS.items():
        command(name, partial(_of_the_instance, run), about)
    added = command("sources", sources, "List every endpoint with its state.")
    added.add_argument(
        "--budget", action="store_true",
        help="what the default schedule asks and downloads a day; exit code 1 when that is more "
        "than a source allows, or than a day may cost",
    )  # fmt: skip
    added = command("try", try_source, "Ask a source now and show what comes; nothing is written.")
    added.add_argument("source", help="a source (kraken) or an endpoint (kraken.market_prices)")
    added.add_argument("--rows", type=int, default=5, help="rows to show of each endpoint")
    return parser


def _of_the_instance(
    run: Callable[[argparse.Namespace, Path], int], chosen: argparse.Namespace
) -> int:
    return run(chosen, instance_folder())


# collect


def collect(chosen: argparse.Namespace) -> int:
    """Run one of the jobs in this process, as Dagster would, and sum it up."""
    instance_folder()
    from crypto_pipeline.definitions import build_definitions  # noqa: PLC0415
    from crypto_pipeline.monitoring.dagster_instance import open_instance  # noqa: PLC0415
    from crypto_pipeline.monitoring.run_records import keep_books, lately  # noqa: PLC0415
    from crypto_pipeline.orchestration.assets import STEP  # noqa: PLC0415  (Dagster: others need not pay for it)

    collected: list[Collection] = []
    with open_instance() as instance, _progress(quiet=chosen.json) as progress:
        definitions = build_definitions(progress, collected.append)
        run = definitions.resolve_job_def(COLLECTIONS[chosen.what]).execute_in_process(
            instance=instance,
            run_config={
                "ops": {STEP: {"config": {"force": chosen.force}}},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
            raise_on_error=False,
        )
        with suppress(WarehouseError):  # then the sensor keeps them, when a daemon runs
            keep_books(instance, Warehouse(settings.database(), lock_wait_s=1), lately())
    for collection in collected:
        _sum_up(collection, chosen.json)
        if collection.unlogged:
            err.print(f"[yellow]{escape(collection.unlogged)}", soft_wrap=True)
    if not run.success:
        err.print(f"[red]{escape(_failure(run))}")
        return 1
    return 0


def instance_folder() -> Path:
    """Where Dagster keeps its history: DAGSTER_HOME, else here (if dagster.yaml is), else beside
    the database."""
    home = os.environ.get("DAGSTER_HOME")
    if not home:
        here = Path.cwd()
        home = str(here if (here / "dagster.yaml").exists() else settings.database().parent)
        Path(home).mkdir(parents=True, exist_ok=True)
        os.environ["DAGSTER_HOME"] = home
    elif not Path(home).is_dir() or not Path(home).is_absolute():
        raise settings.SettingError(
            f"DAGSTER_HOME={home!r}: give an absolute path to a folder that exists"
        )
    return Path(home)


def _failure(run: Any) -> str:
    for event in run.filter_events(lambda e: e.is_failure):
        error = getattr(event.event_specific_data, "error", None)
        details = getattr(event.event_specific_data, "user_failure_data", None)
        words = getattr(details, "description", None) or getattr(error, "message", None)
        if words:
            return str(words).strip()
    return "the run failed: see it in the Dagster UI"


@contextmanager
def _progress(quiet: bool) -> "Iterator[Callable[[Result, int, int], None] | None]":
    """A bar on a terminal; nothing where a machine reads."""
    if quiet or not err.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description:<45.45}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("collecting")

        def ended(result: "Result", count: int, total: int) -> None:
            words = f"{result.endpoint.id} {result.outcome}"
            bar.update(task, completed=count, total=total, description=words)

        yield ended


def _sum_up(collection: "Collection", as_json: bool) -> None:
    """The summary of a collection: endpoint, outcome, rows, rejects, milliseconds."""
    stored = {e: n for counts in collection.receipt.stored.values() for e, n in counts.items()}
    rows = [
        {
            "endpoint": r.endpoint.id,
            "outcome": r.outcome,
            "rows": len(r.rows),
            "stored": stored.get(r.endpoint.id, 0),
            "left_out": r.left_out,
            "rejects": len(r.rejects),
            "ms": round(r.latency_ms) if r.latency_ms is not None else None,
            "reason": r.reason,
        }
        for r in collection.results
    ]
    if as_json:
        summary = {
            "collection_id": collection.id,
            "collection_type": collection.kind,
            "spooled": collection.receipt.spooled,
            "endpoints": rows,
        }
        print(json.dumps(summary, ensure_ascii=False))
        return
    asked = [row for row in rows if row["outcome"] != "skipped"]
    table = Table(box=None, pad_edge=False)
    for name in ("endpoint", "outcome"):
        table.add_column(name, no_wrap=True)
    for name in ("rows", "new", "left out", "rejects", "ms"):
        table.add_column(name, justify="right")
    table.add_column("reason", overflow="ellipsis", no_wrap=True)
    for row in asked:
        colour = COLOURS.get(str(row["outcome"]), "red")
        numbers = (row["rows"], row["stored"], row["left_out"], row["rejects"], row["ms"])
        table.add_row(
            str(row["endpoint"]),
            f"[{colour}]{row['outcome']}",
            *(f"{n:,}" if isinstance(n, int) else "" for n in numbers),
            escape(str(row["reason"] or "")),
        )
    if asked:
        out.print(table)
    _closing_lines(collection)


def _closing_lines(collection: "Collection") -> None:
    from crypto_pipeline.collection.backoff import passed_over  # noqa: PLC0415  (status needs none)

    asked = collection.asked
    skipped = len(collection.results) - len(asked)
    rows = sum(len(r.rows) for r in asked)
    out.print(
        f"{len(collection.answered)} of {len(asked)} endpoints answered, {rows:,} rows"
        + (f"; {skipped} were not asked:" if skipped else "")
    )
    for words in passed_over(r.reason for r in collection.results if not r.asked):
        out.print(f"  {escape(words)}", style="dim")
    if collection.receipt.spooled:
        out.print("the database is locked: the rows wait in the spool for the next collection")
    out.print(f"database: {settings.database()}", style="dim", soft_wrap=True)


# sources


def sources(chosen: argparse.Namespace) -> int:
    """Every endpoint with its state; from the database when there is one."""
    if chosen.budget:
        return show_budget(chosen)
    from crypto_pipeline.sources import ENDPOINTS, SOURCES  # noqa: PLC0415  (status needs none)

    memory = Warehouse(settings.database(), lock_wait_s=0.5).remember()
    listed = []
    for endpoint in ENDPOINTS.values():
        known = memory.health.get(endpoint.id)
        wait = None
        if known:
            wait = max(known.next_allowed_at, known.told_to_wait_until or known.asked_at)
        listed.append(
            {
                "id": endpoint.id,
                "source": endpoint.source.name,
                "table": endpoint.table.table.name,
                "key": endpoint.key.env if endpoint.key else None,
                "key_required": bool(endpoint.key and endpoint.key.required),
                "outcome": known.outcome if known else None,
                "reason": known.reason if known else None,
                "next_allowed_call": wait.isoformat() if wait else None,
            }
        )
    if chosen.json:
        print(json.dumps(listed, ensure_ascii=False))
        return 0
    table = Table(box=None, pad_edge=False)
    for name in ("endpoint", "key", "last outcome", "next allowed call (UTC)"):
        table.add_column(name, no_wrap=True)
    for row in listed:
        outcome, allowed = str(row["outcome"] or "never asked"), row["next_allowed_call"]
        colour = COLOURS.get(outcome, "dim" if row["outcome"] is None else "red")
        key = str(row["key"] or "")
        optional = key and not row["key_required"]
        table.add_row(
            str(row["id"]),
            key + (" (optional)" if optional else ""),
            f"[{colour}]{outcome}",
            datetime.fromisoformat(str(allowed)).astimezone(UTC).strftime("%d %b %H:%M:%S")
            if allowed
            else "",
        )
    out.print(table)
    keyless = sum(not (s.key and s.key.required) for s in SOURCES.values())
    out.print(
        f"{len(ENDPOINTS)} endpoints of {len(SOURCES)} sources, {keyless} of them without a key"
    )
    return 0


def show_budget(chosen: argparse.Namespace) -> int:
    """Calls and bytes a day of every source, against what it allows and what a day may cost."""
    from crypto_pipeline.collection import budget, universe  # noqa: PLC0415
    from crypto_pipeline.sources import SOURCES  # noqa: PLC0415
    from crypto_pipeline.sources.spec import MAJORS  # noqa: PLC0415

    planned = budget.plan(
        SOURCES.values(),
        os.environ,
        universe.asked(settings.universe(), MAJORS),
        Warehouse(settings.database(), lock_wait_s=0.5).bytes_per_answer(),
    )
    if chosen.json:
        said = {
            "bytes_per_day": planned.bytes_per_day,
            "bytes_per_day_allowed": budget.BYTES_A_DAY,
            "exceeded": planned.exceeded,
            "sources": [asdict(line) for line in planned.lines],
        }
        print(json.dumps(said, ensure_ascii=False))
        return 1 if planned.exceeded else 0
    table = Table(box=None, pad_edge=False)
    table.add_column("source", no_wrap=True)
    for name in ("calls a day", "allowed", "calls a month", "allowed", "fits", "kB a day"):
        table.add_column(name, justify="right")
    for line in sorted(planned.lines, key=lambda line: (line.fits, -line.bytes_per_day)):
        table.add_row(
            line.source,
            f"{line.calls_per_day:,}",
            "" if line.per_day is None else f"{line.per_day:,}",
            f"{line.calls_per_month:,}",
            "" if line.per_month is None else f"{line.per_month:,}",
            "" if line.per_day is line.per_month is None else "yes" if line.fits else "[red]no",
            f"{line.bytes_per_day / 1000:,.0f}",
        )
    out.print(table)
    share = planned.bytes_per_day / budget.BYTES_A_DAY
    out.print(
        f"{planned.bytes_per_day / 1e6:,.0f} MB a day, compressed: {share:.0%} of "
        f"{budget.BYTES_A_DAY / 1e6:,.0f} MB"
    )
    for words in planned.exceeded:
        out.print(f"[red]{escape(words)}")
    return 1 if planned.exceeded else 0


# try


def try_source(chosen: argparse.Namespace) -> int:
    """Ask a source's endpoints now, whatever is due, and show rows, rejects and timing."""
    from crypto_pipeline.collection.collect import gather  # noqa: PLC0415
    from crypto_pipeline.sources import ENDPOINTS, SOURCES  # noqa: PLC0415

    name = chosen.source
    wanted = [e for e in ENDPOINTS.values() if name in (e.source.name, e.id)]
    if not wanted:
        near = ", ".join(sorted(s for s in SOURCES if name[:3] in s)[:8])
        err.print(
            f"[red]no source or endpoint {escape(name)}" + (f"; near it: {near}" if near else "")
        )
        return 2
    alone = [replace(endpoint, pool=None) for endpoint in wanted]
    remembered = Warehouse(settings.database(), lock_wait_s=0.5).remember()
    results = gather(alone, Memory(usage=remembered.usage), "try", force=True)
    if chosen.json:
        print(json.dumps([_tried(r) for r in results], ensure_ascii=False, default=str))
    else:
        for result in results:
            _show(result, chosen.rows)
    return 0 if any(r.outcome in ("ok", "unchanged", "empty") for r in results) else 1


def _tried(result: "Result") -> dict[str, Any]:
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


def _show(result: "Result", limit: int) -> None:
    colour = COLOURS.get(result.outcome, "red")
    out.print(
        f"[bold]{result.endpoint.id}[/] [{colour}]{result.outcome}[/] {escape(result.reason or '')}"
    )
    for attempt in result.attempts[:limit]:
        said = attempt.error or f"HTTP {attempt.status}"
        out.print(
            f"  {attempt.method} {escape(attempt.url)} → {escape(said)}, "
            f"{attempt.latency_ms:.0f} ms, {attempt.bytes_received:,} bytes",
            style="dim", soft_wrap=True,
        )  # fmt: skip
    out.print(
        f"  {result.records} records = {len(result.rows)} rows + {result.left_out} left out "
        f"+ {len(result.rejects)} rejects"
    )
    if result.rows:
        out.print(_rows_table([row.model_dump() for row in result.rows[:limit]]))
    for reject in result.rejects[:limit]:
        out.print(f"  [red]refused[/] {escape(reject.reason)}: {escape(reject.record[:300])}")
    out.print()


def _rows_table(rows: Iterable[dict[str, Any]]) -> Table:
    shown = [{k: v for k, v in row.items() if k != "collection_id"} for row in rows]
    names = [name for name in shown[0] if any(row[name] is not None for row in shown)]
    table = Table(box=None, padding=(0, 1))
    for name in names:
        table.add_column(name, overflow="ellipsis", max_width=28, no_wrap=True)
    for row in shown:
        table.add_row(*(escape(_cell(row[name])) for name in names))
    return table


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    return f"{value:,.10g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
