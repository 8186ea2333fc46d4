"""crypto-pipeline mcp: the Model Context Protocol on standard input and output."""

import argparse

from crypto_pipeline import settings
from crypto_pipeline.cli.console import err
from crypto_pipeline.warehouse import WarehouseError

ABOUT = "Serve questions and answers to an agent, over stdio (Model Context Protocol)."


def run(chosen: argparse.Namespace) -> int:
    """Serve until the input ends; exit code 2 without the extra."""
    try:
        from crypto_pipeline.agents import server  # noqa: PLC0415  (an optional extra)
    except ImportError as problem:
        if problem.name and problem.name.split(".")[0] != "mcp":
            raise
        err.print("[red]the extra is missing: pip install 'crypto-pipeline\\[mcp]'", soft_wrap=True)
        return 2
    root = settings.published()
    if root is None:
        raise WarehouseError(f"{settings.parquet.name}=off: an agent reads what is published")
    server.run(root.absolute())
    return 0
