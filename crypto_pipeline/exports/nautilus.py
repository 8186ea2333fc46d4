"""nautilus_trader: a ParquetDataCatalog, written by the package itself.

    catalog/           instruments and bars
    candles.parquet    the same bars as the parquet export has them, with what was known at each
                       close: nautilus_trader has no type for that

The catalog's files are of the package's own making and change with its versions, so the package
makes them, in the environment where it is installed; that need not be ours, which has another
version of pandas.
"""

import subprocess
import sys
from pathlib import Path

from crypto_pipeline.exports import flat
from crypto_pipeline.exports.errors import ExportError
from crypto_pipeline.exports.history import AGREED, Wanted
from crypto_pipeline.warehouse.sql import Connection

STEPS = {
    "1m": "1-MINUTE", "5m": "5-MINUTE", "15m": "15-MINUTE", "1h": "1-HOUR", "4h": "4-HOUR",
    "1d": "1-DAY",
}  # fmt: skip
"""nautilus_trader's names of our intervals."""

NOT_INSTALLED = 3
"""The exit code of the script where the package is not installed."""


def write(
    connection: Connection,
    wanted: Wanted,
    symbols: list[str],
    folder: Path,
    python: str | None = None,
) -> None:
    """The catalog, and the table it was made of.

    python: an interpreter that has nautilus_trader; without it the one that runs this. Raises
    ExportError where it has not.
    """
    flat.write_parquet(connection, wanted, symbols, folder)
    script = Path(__file__).with_name("nautilus_catalog.py")
    venue = (wanted.provider or AGREED).upper()
    command = [python or sys.executable, "-I", str(script), STEPS[wanted.interval], venue]
    command += [str(folder / "candles.parquet"), str(folder / "catalog")]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  (what the user names, without a shell)
    except OSError as problem:
        raise ExportError(f"--python {command[0]} cannot be run: {problem}") from problem
    if done.returncode == NOT_INSTALLED:
        raise ExportError(
            f"{command[0]} has no nautilus_trader: install it in an environment of its own "
            "(python -m venv nautilus; nautilus/bin/pip install nautilus_trader) and say "
            "--python nautilus/bin/python"
        )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ExportError(f"nautilus_trader made no catalog (exit {done.returncode}): {last[:300]}")
