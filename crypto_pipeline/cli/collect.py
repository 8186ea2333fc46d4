"""crypto-pipeline collect: run one of the jobs in this process, as Dagster would, and sum it up."""

import argparse
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from crypto_pipeline import settings
from crypto_pipeline.cli.console import coloured, err, out, plain_table, print_json, shown
from crypto_pipeline.cli.home import set_dagster_home
from crypto_pipeline.groups import COLLECTION_JOBS
from crypto_pipeline.warehouse import WarehouseError, configured

if TYPE_CHECKING:
    from crypto_pipeline.collection.results import Collection, Progress, Result


def run(chosen: argparse.Namespace) -> int:
    """Run the job, write its run into the warehouse, and print what came.

    Exit code 1 when the run failed or stepped aside for another, 128 and the signal's number when
    it was stopped.
    """
    set_dagster_home()
    collection, failure, stopped = _run_job(chosen.what, force=chosen.force, quiet=chosen.json)
    if collection:
        _sum_up(collection, chosen.json)
        if collection.unlogged:
            err.print(f"[yellow]{shown(collection.unlogged)}", soft_wrap=True)
        if collection.unkept:
            err.print(f"[yellow]{shown(collection.unkept)}", soft_wrap=True)
    if stopped:
        if collection is None:
            raise KeyboardInterrupt
        err.print(f"stopped; what was answered is in the {collection.kept}")
        return 128 + (collection.interrupted or signal.SIGINT)
    if collection and collection.stepped_aside:
        err.print(f"[yellow]nobody was asked: {shown(collection.stepped_aside)}")
        return 1
    if failure:
        err.print(f"[red]{shown(failure)}")
        return 1
    return 0


def _run_job(
    what: Any, *, force: bool, quiet: bool
) -> "tuple[Collection | None, str | None, bool]":
    """What the job collected, why it failed if it did, and whether a signal stopped it."""
    # Dagster takes two seconds to load: no other command pays for it.
    from crypto_pipeline.definitions import build_definitions  # noqa: PLC0415
    from crypto_pipeline.monitoring import dagster_instance, run_records  # noqa: PLC0415
    from crypto_pipeline.orchestration.assets import STEP  # noqa: PLC0415

    collected: list[Collection] = []
    with dagster_instance.open_instance() as instance, _progress(quiet) as progress:
        definitions = build_definitions(progress, collected.append)
        job = dagster_instance.job_of(definitions, COLLECTION_JOBS[what])
        run_id = job.execute_in_process(
            instance=instance,
            run_config={
                "ops": {STEP: {"config": {"force": force}}},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
            raise_on_error=False,
        ).run_id
        with suppress(WarehouseError):  # then the sensor writes them, when a daemon runs
            warehouse = configured(lock_wait_s=1)
            recent = run_records.cursor_for_last_hour()
            run_records.write_run_records(instance, warehouse, recent)
        failure = dagster_instance.failure_of(instance, run_id)
        stopped = dagster_instance.was_stopped(instance, run_id)
        return collected[0] if collected else None, failure, stopped


@contextmanager
def _progress(quiet: bool) -> "Iterator[Progress | None]":
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
    with Bar(*columns, console=err, transient=True) as bar:
        task = bar.add_task("collecting")

        def ended(result: "Result", count: int, total: int) -> None:
            words = f"{result.endpoint.id} {result.outcome}"
            bar.update(task, completed=count, total=total, description=words)

        yield ended


def _sum_up(collection: "Collection", as_json: bool) -> None:
    """The summary of a collection, endpoint by endpoint."""
    stored = {e: n for counts in collection.receipt.stored.values() for e, n in counts.items()}
    if as_json:
        print_json(
            {
                "collection_id": collection.id,
                "collection_type": collection.type,
                "spooled": collection.receipt.spooled,
                "endpoints": [_row(r, stored) for r in collection.results],
            }
        )
        return
    table = plain_table(("endpoint", "outcome"), ("rows", "new", "left out", "rejects", "ms"))
    table.add_column("reason", overflow="ellipsis", no_wrap=True)
    for result in collection.asked:
        row = _row(result, stored)
        numbers = (row[name] for name in ("rows", "stored", "left_out", "rejects", "ms"))
        table.add_row(
            row["endpoint"],
            coloured(row["outcome"]),
            *("" if number is None else f"{number:,}" for number in numbers),
            shown(row["reason"] or ""),
        )
    if collection.asked:
        out.print(table)
    _closing_lines(collection)


def _row(result: "Result", stored: dict[str, int]) -> dict[str, Any]:
    return {
        "endpoint": result.endpoint.id,
        "outcome": result.outcome,
        "skip": result.skip,
        "rows": len(result.rows),
        "stored": stored.get(result.endpoint.id, 0),
        "left_out": result.left_out,
        "rejects": len(result.rejects),
        "ms": round(result.latency_ms) if result.latency_ms is not None else None,
        "reason": result.reason,
    }


def _closing_lines(collection: "Collection") -> None:
    """How many answered, why the others were not asked, and where it all is."""
    from crypto_pipeline.collection.results import skip_counts  # noqa: PLC0415

    asked = len(collection.asked)
    skipped = len(collection.results) - asked
    rows = sum(len(r.rows) for r in collection.asked)
    out.print(
        f"{len(collection.answered)} of {asked} endpoints answered, {rows:,} rows"
        + (f"; {skipped} were not asked:" if skipped else "")
    )
    for words in skip_counts(collection.results):
        out.print(f"  {shown(words)}", style="dim")
    if collection.receipt.spooled and not collection.interrupted:
        out.print("the rows wait in the spool until the database can be written")
    problem = None if collection.interrupted else collection.receipt.problem
    if problem and not collection.receipt.failed:
        err.print(f"[yellow]{shown(str(problem))}", soft_wrap=True)
    out.print(f"database: {settings.database()}", style="dim", soft_wrap=True)
