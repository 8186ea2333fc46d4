"""`dg`, the newer command line of Dagster, understands the project as `dagster` does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from crypto_pipeline import docs
from crypto_pipeline.groups import SCHEDULED
from crypto_pipeline.sources import KINDS
from crypto_pipeline.tables import DATA
from crypto_pipeline.warehouse import Warehouse
from crypto_pipeline_tests.upstream import Samples, Upstream


def dg(*arguments: str) -> str:
    """What a command prints; it has to succeed."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("dg")), *arguments],
        cwd=docs.ROOT,
        env=os.environ | {"PYTHONPATH": str(docs.ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_dg_checks_and_lists_the_definitions() -> None:
    dg("check", "defs")
    listed = json.loads(dg("list", "defs", "--json"))
    sources = {f"sources/{kind.name}" for kind in KINDS}
    assert {asset["asset_key"] for asset in listed["assets"]} == sources | {
        m.table.name for m in DATA
    }
    assert {s["name"] for s in listed["schedules"]} == {*SCHEDULED, "every_day"}


def test_dg_launches_an_asset(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    with Upstream(Samples()) as upstream:
        monkeypatch.setenv("CRYPTO_PIPELINE_UPSTREAM", upstream.url)
        dg("launch", "--assets", "trending_coins")
    assert warehouse.query("SELECT count(*) > 0 FROM trending_coins") == [(True,)]
