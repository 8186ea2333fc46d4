"""The notebook of the examples, run over what a collection has published."""

import os
import subprocess
import sys
from pathlib import Path

from crypto_pipeline.warehouse import Warehouse
from crypto_pipeline_tests.test_warehouse import NOW, article, batch, price

NOTEBOOK = Path(__file__).parent.parent / "examples" / "notebook.py"


def test_the_notebook_shows_what_was_collected(tmp_path: Path) -> None:
    said = [price(f"s{n}", "BTC", 92_000 + n) for n in range(4)]
    rows = [*said, price("wrong", "BTC", 10), article("https://n.example/1")]
    collection = batch("c1", *rows)
    collection.agree = True
    Warehouse(tmp_path / "crypto.duckdb", parquet=tmp_path / "parquet").write(collection)
    done = subprocess.run(
        [sys.executable, str(NOTEBOOK)],
        env={**os.environ, "CRYPTO_PIPELINE_PARQUET": str(tmp_path / "parquet")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shown = dict(part.split("\n", 1) for part in done.stdout.strip().split("\n\n") if "\n" in part)
    assert "92001.5" in shown["agreed"]
    assert "wrong" in shown["off"]
    assert shown["by_source"].splitlines()[1].split() == ["wrong", "10.0"]
    assert "Empty DataFrame" in shown["funding"]
    assert str(NOW.year) in shown["news"]
