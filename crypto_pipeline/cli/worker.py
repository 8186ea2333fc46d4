"""The commands that ask after the worker and turn it on and off: status, stats, schedules, health,
start, stop.

Dagster's webserver is asked where it runs; else the instance is opened, which costs the import of
Dagster.
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from crypto_pipeline.cli.console import err, out, plain_table, print_json, shown, when
from crypto_pipeline.groups import GROUPS, SCHEDULED
from crypto_pipeline.monitoring import status
from crypto_pipeline.monitoring.snapshot import NotSwitched, Snapshot
from crypto_pipeline.monitoring.webserver import Webserver
from crypto_pipeline.warehouse import Warehouse, configured

LOCK_WAIT_S = 0.3
"""A question is not worth more waiting: what the file would say is then left out, and that said."""


def take_snapshot(home: Path) -> Snapshot:
    """What is to be seen of Dagster now, the quickest way there is."""
    server = Webserver.find(home)
    if server:
        return server.snapshot
    from crypto_pipeline.monitoring import dagster_instance  # noqa: PLC0415  (takes two seconds)

    with dagster_instance.open_instance() as instance:
        return dagster_instance.take_snapshot(instance)


def _warehouse() -> Warehouse:
    return configured(LOCK_WAIT_S)


def show_status(chosen: argparse.Namespace, home: Path) -> int:
    """Say what the worker does and did."""
    facts = status.read_facts(_warehouse())
    answer = status.status(take_snapshot(home), facts)
    if chosen.json:
        print_json(answer)
        return 0
    out.print("[green]running" if answer["is_running"] else "[yellow]not running")
    for group in GROUPS:
        last = when(answer[f"last_{group.name}_collection"])
        out.print(
            f"{answer[f'{group.name}_collections']:,} {group.name} collections, the last {last}"
        )
    out.print(f"{answer['total_records_saved']:,} rows saved")
    for job in answer["running_now"]:
        out.print(f"[green]{job} is running now")
    for job in answer["scheduler_jobs"]:
        out.print(f"{job['id']}: next {when(job['next_run_time'])}")
    if answer["open_alerts"] or answer["collections_waiting"]:
        out.print(
            f"[yellow]{answer['open_alerts']} alerts open, "
            f"{answer['collections_waiting']} collections waiting in the spool"
        )
    if facts.trouble:
        out.print(f"[yellow]{shown(facts.trouble)}")
    for error in answer["recent_errors"]:
        out.print(f"[red]{when(error['timestamp'])} {shown(error['error'])}", soft_wrap=True)
    return 0


def show_stats(chosen: argparse.Namespace, home: Path) -> int:
    """Say all that the worker ever did."""
    answer = status.stats(take_snapshot(home), status.read_facts(_warehouse()))
    if chosen.json:
        print_json(answer)
        return 0
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in answer.items():
        shown = f"{value:,}" if isinstance(value, int | float) else value or "–"
        table.add_row(name.replace("_", " "), str(shown))
    out.print(table)
    return 0


def show_schedules(chosen: argparse.Namespace, home: Path) -> int:
    """List the schedules with their last and next ticks, and their punctuality."""
    rows = status.schedules(take_snapshot(home), status.read_facts(_warehouse()))
    if chosen.json:
        print_json(rows)
        return 0
    table = plain_table(("schedule", "job", "cron (UTC)", "", "last", "next", "in 24 h"))
    for row in rows:
        counts = ", ".join(f"{n} {what}" for what, n in row["last_24h"].items() if n)
        last = f"{when(row['last_tick'])} {(row['last_outcome'] or '').lower()}"
        table.add_row(
            row["id"],
            row["name"],
            row["cron"],
            "[green]on" if row["enabled"] else "[yellow]off",
            last,
            when(row["next_run_time"]),
            counts,
        )
    out.print(table)
    return 0


def show_health(chosen: argparse.Namespace, home: Path) -> int:
    """Say whether all is well; exit code 1 and the reasons when it is not."""
    warehouse = _warehouse()
    answer = status.health(take_snapshot(home), status.read_facts(warehouse), warehouse)
    if chosen.json:
        print_json(answer)
    else:
        out.print("[green]healthy" if answer["healthy"] else "[red]unhealthy")
        for reason in answer["reasons"]:
            out.print(f"  [red]{shown(reason)}", soft_wrap=True)
        for warning in answer["warnings"]:
            out.print(f"  [yellow]{shown(warning)}", soft_wrap=True)
    return 0 if answer["healthy"] else 1


def start(chosen: argparse.Namespace, home: Path) -> int:
    """Turn both schedules on."""
    return _set_enabled(chosen, home, on=True)


def stop(chosen: argparse.Namespace, home: Path) -> int:
    """Turn both schedules off; a collection that runs now ends, and `collect` still works."""
    return _set_enabled(chosen, home, on=False)


def _set_enabled(chosen: argparse.Namespace, home: Path, *, on: bool) -> int:
    server = Webserver.find(home)
    try:
        if server:
            server.set_enabled(SCHEDULED, on=on)
        else:
            from crypto_pipeline.monitoring import dagster_instance  # noqa: PLC0415

            dagster_instance.set_enabled(SCHEDULED, on=on)
    except NotSwitched as problem:
        err.print(f"[red]{shown(str(problem))}")
        return 1
    snapshot = take_snapshot(home)
    answer: dict[str, Any] = {
        "success": all(schedule.on == on for schedule in snapshot.collecting),
        "is_running": status.running(snapshot),
        "schedules": {schedule.name: schedule.on for schedule in snapshot.collecting},
    }
    if chosen.json:
        print_json(answer)
    else:
        for name, is_on in answer["schedules"].items():
            out.print(f"{name} is {'[green]on' if is_on else '[yellow]off'}")
        if on and not answer["is_running"]:
            out.print("[yellow]the daemon is not running: `make dev` starts it")
    return 0 if answer["success"] else 1


COMMANDS: Mapping[str, tuple[Callable[[argparse.Namespace, Path], int], str]] = {
    "status": (show_status, "What the worker does and did."),
    "stats": (show_stats, "All that the worker ever did, with averages."),
    "schedules": (show_schedules, "The schedules, their last and next ticks, their punctuality."),
    "health": (show_health, "Whether all is well; exit code 1 and the reasons when not."),
    "start": (start, "Turn both schedules on."),
    "stop": (stop, "Turn both schedules off; collect still works."),
}
