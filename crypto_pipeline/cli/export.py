"""crypto-pipeline export: candles, and what was known when they closed, as other tools load them.

Owns: how an export is asked for in words.
"""

import argparse
from datetime import UTC, datetime
from pathlib import Path

from crypto_pipeline import clock, settings
from crypto_pipeline.cli.console import err, out, print_json, shown
from crypto_pipeline.tables.market import INTERVALS

ABOUT = "Write candles, with what was known when they closed, as other tools load them."
FORMATS = ("freqtrade", "nautilus", "qlib", "parquet", "csv")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("format", choices=FORMATS)
    parser.add_argument(
        "folder", type=Path, help="where to; a new one, an empty one, or an export to be replaced"
    )
    parser.add_argument("--provider", help="this source's candles; without it the agreed bars")
    parser.add_argument(
        "--symbols", type=_symbols, default=(), help="such as BTC,ETH; without it all coins"
    )
    parser.add_argument("--interval", choices=list(INTERVALS), default="1h")
    parser.add_argument(
        "--since", type=_moment, help="candles that open at this time or later, UTC"
    )
    parser.add_argument("--until", type=_moment, help="candles that are over by this time, UTC")
    parser.add_argument(
        "--as-of", type=_moment, help="leave out what came into the file after this time, UTC"
    )
    parser.add_argument(
        "--python", help="of nautilus: an interpreter that has nautilus_trader, if this has not"
    )


def run(chosen: argparse.Namespace) -> int:
    """Export; exit code 1 where nothing could be."""
    from crypto_pipeline.exports.errors import ExportError  # noqa: PLC0415  (other commands: none)
    from crypto_pipeline.exports.history import Wanted  # noqa: PLC0415
    from crypto_pipeline.exports.make import export  # noqa: PLC0415
    from crypto_pipeline.warehouse.published import connect  # noqa: PLC0415

    now = datetime.now(UTC)
    wanted = Wanted(
        interval=chosen.interval,
        as_of=min(chosen.as_of or now, now),
        provider=chosen.provider,
        symbols=chosen.symbols,
        since=chosen.since,
        until=chosen.until,
    )
    try:
        done = export(
            connect(settings.published()), chosen.format, chosen.folder, wanted, chosen.python
        )
    except ExportError as problem:
        err.print(f"[red]{shown(str(problem))}", soft_wrap=True)
        return 1
    if chosen.json:
        print_json({field: getattr(done, field) for field in done.__slots__})
        return 0
    coins = f"{len(done.symbols):,} coins" if len(done.symbols) != 1 else done.symbols[0]
    out.print(
        shown(
            f"{done.candles:,} candles of {coins}, opened from {clock.said(done.first)} "
            f"to {clock.said(done.last)}: {done.folder}"
        ),
        soft_wrap=True,
    )
    if done.left_out:
        err.print(
            shown(f"left out, as {chosen.format} cannot name them: {', '.join(done.left_out)}"),
            soft_wrap=True,
        )
    return 0


def _symbols(text: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(part.strip().upper() for part in text.split(",") if part.strip()))
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} names no coin; write BTC,ETH")
    return found


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time; write 2026-11-23 or 2026-11-23T12:00"
        ) from None
