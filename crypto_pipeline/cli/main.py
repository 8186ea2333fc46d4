"""crypto-pipeline: the command line, for people.

Owns: the commands, their arguments and their exit codes: 0 done; 1 nothing could be collected,
kept or exported, the budget is exceeded, or health found a reason; 2 wrong usage or setting; 130
and 143 stopped, by Ctrl-C or SIGTERM.
"""

import argparse
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from crypto_pipeline import env_file, settings
from crypto_pipeline.cli import (
    answers,
    collect,
    dev,
    export,
    mcp,
    publish,
    sources,
    sql,
    try_source,
    worker,
)
from crypto_pipeline.cli.console import err, shown
from crypto_pipeline.cli.home import set_dagster_home
from crypto_pipeline.groups import BOTH, COLLECTION_JOBS
from crypto_pipeline.tables import KEPT
from crypto_pipeline.warehouse import WarehouseError

Command = Callable[[argparse.Namespace], int]
Parser = argparse.ArgumentParser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its code."""
    chosen = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _end)
    try:
        env_file.load(Path.cwd())
        settings.check()
        settings.keep(KEPT)
        if chosen.asks:
            _check_keys()
        code = chosen.run(chosen)
    except settings.SettingError as problem:
        err.print(f"[red]{shown(str(problem))}", soft_wrap=True)
        code = 2
    except WarehouseError as problem:
        err.print(f"[red]{shown(str(problem))}", soft_wrap=True)
        code = 1
    except KeyboardInterrupt as interrupt:
        err.print("stopped; what was collected before stays")
        code = 143 if isinstance(interrupt, _Terminated) else 130
    sys.stdout.flush()
    sys.exit(code)


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does."""


def _end(*_: object) -> None:
    raise _Terminated


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="crypto-pipeline", description="A crypto data warehouse that fills itself."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Command, about: str, *, asks: bool = False) -> Parser:
        added = commands.add_parser(name, help=about, description=about)
        added.set_defaults(run=run, asks=asks)
        return added

    added = command("dev", partial(_of_the_instance, dev.run), dev.ABOUT, asks=True)
    added.add_argument(
        "--port", type=int, choices=range(1, 65_536), metavar="PORT",
        help=f"of the UI on 127.0.0.1; without it that of {settings.webserver.name}",
    )  # fmt: skip
    command("publish", publish.run, publish.ABOUT)
    command("mcp", mcp.run, mcp.ABOUT)
    command("shell", sql.shell, sql.ABOUT_SHELL)
    sql.add_arguments(command("sql", sql.run, sql.ABOUT))
    for added in _answering(command):
        added.add_argument("--json", action="store_true", help="print JSON, for machines")
    return parser


def _answering(command: Callable[..., Parser]) -> Iterator[Parser]:
    """The commands that end with an answer."""
    added = command(
        "collect", collect.run, "Run a collection now and record it in the run history.", asks=True
    )
    added.add_argument("what", nargs="?", choices=list(COLLECTION_JOBS), default=BOTH)
    added.add_argument(
        "--force", action="store_true", help="ask what is not due too, never what told us to wait"
    )
    yield added
    for name, (run, about) in worker.COMMANDS.items():
        yield command(name, partial(_of_the_instance, run), about)
    added = command("sources", sources.run, "List every endpoint with its state.")
    added.add_argument(
        "--budget", action="store_true",
        help="what the default schedule asks and downloads a day; exit code 1 when that is more "
        "than a source allows, or than a day may cost",
    )  # fmt: skip
    yield added
    yield command("answers", answers.run, "What is kept of the answers that came, and its size.")
    added = command(
        "rebuild",
        answers.run_rebuild,
        "Read kept answers again, and bring a table's rows to what they say now.",
    )
    answers.add_arguments(added)
    yield added
    added = command(
        "try",
        try_source.run,
        "Ask a source now and show what comes; nothing is written.",
        asks=True,
    )
    added.add_argument("source", help="a source, or one of its endpoints as `sources` lists them")
    added.add_argument("--rows", type=int, default=5, help="rows to show of each endpoint")
    yield added
    added = command("export", export.run, export.ABOUT)
    export.add_arguments(added)
    yield added


def _check_keys() -> None:
    """Before anybody is asked. Raises SettingError."""
    from crypto_pipeline.sources import SOURCES  # noqa: PLC0415  (status needs none)

    settings.check_keys(source.key.env for source in SOURCES.values() if source.key)


def _of_the_instance(
    run: Callable[[argparse.Namespace, Path], int], chosen: argparse.Namespace
) -> int:
    return run(chosen, set_dagster_home())
