"""The command line as its users call it: a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from crypto_pipeline import budget, cli, docs, settings
from crypto_pipeline.settings import SettingError, Universe
from crypto_pipeline.sources import ENDPOINTS, SOURCES
from crypto_pipeline_tests.upstream import Rule, Samples, Upstream


@pytest.fixture(scope="module")
def server() -> Iterator[Upstream]:
    with Upstream(Samples()) as upstream:
        yield upstream


@pytest.fixture
def upstream(server: Upstream, monkeypatch: pytest.MonkeyPatch) -> Upstream:
    server.rules = []
    server.asked.clear()
    monkeypatch.setenv("CRYPTO_PIPELINE_UPSTREAM", server.url)
    return server


def call(*arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "crypto_pipeline.cli", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(docs.ROOT)},
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


def test_a_collection_is_run_recorded_and_summed_up(upstream: Upstream) -> None:
    import dagster as dg

    said = json.loads(call("collect", "ui", "--json"))
    assert said["collection_type"] == "ui"
    by_outcome = {e["endpoint"]: e["outcome"] for e in said["endpoints"]}
    assert set(by_outcome.values()) <= {"ok", "skipped"}, by_outcome
    with dg.DagsterInstance.get() as instance:
        run = instance.get_run_by_id(said["collection_id"])
        assert run
        assert (run.job_name, run.status.value) == ("ui_collection", "SUCCESS")
    again = json.loads(call("collect", "ui", "--json"))
    asked = {e["endpoint"] for e in again["endpoints"] if e["outcome"] != "skipped"}
    assert not asked & {name for name, outcome in by_outcome.items() if outcome != "skipped"}
    assert "not due yet" in call("collect", "ui")
    listed = {e["id"]: e for e in json.loads(call("sources", "--json"))}
    assert set(listed) == set(ENDPOINTS)
    for name, outcome in by_outcome.items():
        if outcome != "skipped":
            assert listed[name]["outcome"] == outcome
            assert listed[name]["next_allowed_call"]


def test_a_collection_that_gets_nothing_says_so_and_exits_1(upstream: Upstream) -> None:
    upstream.rules.append(Rule(".", status=500))
    assert "endpoints asked could be collected" in call("collect", "ui", code=1)


def test_try_shows_rows_and_writes_nothing(upstream: Upstream) -> None:
    said = call("try", "coinlore.market_prices")
    assert "coinlore.market_prices ok" in said
    assert "records =" in said
    assert not settings.database().exists()
    (tried,) = json.loads(call("try", "coinlore.market_prices", "--json"))
    assert tried["rows"][0]["source"] == "coinlore"


def test_try_names_what_is_near_a_wrong_name(upstream: Upstream) -> None:
    assert "kraken" in call("try", "krakn", code=2)


def test_a_wrong_setting_is_named(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYPTO_PIPELINE_UPSTREAM", "localhost:80")
    assert "CRYPTO_PIPELINE_UPSTREAM='localhost:80' is not a URL" in call("try", "coinlore", code=2)


def test_without_dagster_home_history_is_kept_somewhere_plain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DAGSTER_HOME")
    assert cli.instance_folder() == settings.database().parent
    monkeypatch.setenv("DAGSTER_HOME", "relative")
    with pytest.raises(SettingError, match="absolute path"):
        cli.instance_folder()


@pytest.mark.parametrize(
    ("text", "universe"),
    [
        ("", Universe(top=250)),
        ("top:10", Universe(top=10)),
        ("ALL", Universe()),
        ("btc, eth,BTC", Universe(symbols=("BTC", "ETH"))),
    ],
)
def test_the_universe_is_understood(
    text: str, universe: Universe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTO_PIPELINE_UNIVERSE", text)
    assert settings.universe() == universe


@pytest.mark.parametrize("text", ["top:", "top:0", "top:many", ",", "BTC ETH"])
def test_a_wrong_universe_is_named(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYPTO_PIPELINE_UNIVERSE", text)
    with pytest.raises(SettingError, match="CRYPTO_PIPELINE_UNIVERSE="):
        settings.universe()


def test_the_reference_is_what_the_declarations_say() -> None:
    for file, text in docs.generated():
        assert file.read_text(encoding="utf-8") == text, f"{file.name}: run `make docs`"


def test_the_budget_says_what_a_day_costs(upstream: Upstream) -> None:
    said = json.loads(call("sources", "--budget", "--json"))
    assert {line["source"] for line in said["sources"]} == set(SOURCES)
    assert said["bytes_per_day"] == sum(line["bytes_per_day"] for line in said["sources"])
    assert (said["bytes_per_day_allowed"], said["exceeded"]) == (1_000_000_000, [])
    shown = call("sources", "--budget")
    assert "of 1,000 MB" in shown
    assert not upstream.asked


def test_an_exceeded_budget_exits_1(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(budget, "BYTES_A_DAY", 1_000)
    with pytest.raises(SystemExit) as ended:
        cli.main(["sources", "--budget", "--json"])
    assert ended.value.code == 1
    (words,) = json.loads(capsys.readouterr().out)["exceeded"]
    assert words.endswith("bytes a day are more than 1,000")
