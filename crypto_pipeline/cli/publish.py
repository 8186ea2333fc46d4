"""crypto-pipeline publish: what is in the file, published anew as Parquet."""

import argparse

from crypto_pipeline.cli.console import err, shown
from crypto_pipeline.warehouse import configured

ABOUT = "Publish every table anew, after changes of your own in the database."


def run(chosen: argparse.Namespace) -> int:
    """Publish every table; collections wait for it. Raises WarehouseError."""
    warehouse = configured()
    warehouse.publish()
    err.print(f"published in {shown(str(warehouse.parquet))}", soft_wrap=True)
    return 0
