"""The command line as its users call it: a process of its own."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from crypto_pipeline import cli, docs, settings
from crypto_pipeline.cli.home import set_dagster_home
from crypto_pipeline.cli.main import main
from crypto_pipeline.collection import budget
from crypto_pipeline.monitoring import alerts
from crypto_pipeline.monitoring.webserver import Webserver
from crypto_pipeline.settings import SettingError, Universe
from crypto_pipeline.sources import ENDPOINTS, SOURCES
from crypto_pipeline.tables import TABLES, VIEWS
from crypto_pipeline.warehouse import Warehouse
from crypto_pipeline_tests.upstream import Rule, Samples, Upstream


@pytest.fixture(scope="module")
def server() -> Iterator[Upstream]:
    with Upstream(Samples()) as upstream:
        yield upstream


@pytest.fixture
def upstream(server: Upstream, monkeypatch: pytest.MonkeyPatch) -> Upstream:
    server.rules = []
    server.received.clear()
    monkeypatch.setenv("CRYPTO_PIPELINE_UPSTREAM", server.url)
    return server


def call(*arguments: str, code: int = 0, both: bool = False) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "crypto_pipeline.cli", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(docs.ROOT)},
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    if both:
        return done.stdout + done.stderr
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


NOTHING = {
    "alerts": "nothing is wrong",
    "failure_logs": "nothing failed",
    "rejected_rows": "the samples hold nothing to refuse",
    "schedule_compliance": "no schedule has ticked",
    "corrected_candles": "no source has corrected one",
    "stablecoin_peg": "no sample trades a stablecoin for dollars",
    **dict.fromkeys(
        ("agreed_bars", "daily_returns", "volatility", "correlations", "anomalies"),
        "no five minutes, hour or day is over",
    ),
}
"""Tables and views that a good collection by hand leaves empty, and why; other tests fill them."""


def test_every_table_and_view_is_filled(upstream: Upstream) -> None:
    call("collect", "both")
    warehouse = Warehouse(settings.database())
    alerts.check(warehouse, None, settings.database().parent, collecting=True)
    names = [*TABLES, *(view.name for view in VIEWS)]
    counts = {name: warehouse.query(f"SELECT count(*) FROM {name}")[0][0] for name in names}
    assert {name for name, count in counts.items() if not count} == set(NOTHING)
    (status,) = warehouse.query(
        "SELECT schedules_enabled, ui_collections, historical_collections, "
        "total_records_saved = (SELECT sum(stored) FROM data_collections) FROM worker_status"
    )
    assert status == (2, 1, 1, True)
    said = json.loads(call("status", "--json"))
    assert said["asked"] == "instance"
    assert not said["is_running"]
    assert said["ui_collections"] == said["historical_collections"] == 1
    assert "rows saved" in call("status")
    assert "the daemon is not running" in call("health", code=1, both=True)
    assert "average records per ui collection" in call("stats")
    assert "every_15_minutes" in call("schedules")


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_sources_are_asked_ends_with_its_number(number: signal.Signals) -> None:
    """And says where what was answered is, not that the database could not be written."""
    with Upstream(Samples(), delay=0.5) as upstream:
        process = subprocess.Popen(
            [sys.executable, "-c", HEARD, "collect", "ui", "--force"],
            env={**os.environ, "CRYPTO_PIPELINE_UPSTREAM": upstream.url},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        while not upstream.received and process.poll() is None:
            time.sleep(0.05)
        time.sleep(0.2)
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number, said
    assert "stopped; what was answered is in the spool" in said
    assert "until the database can be written" not in said


HEARD = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores Ctrl-C
from crypto_pipeline.cli.main import main
main(sys.argv[1:])
"""


def test_stop_and_start_work_without_a_webserver(upstream: Upstream) -> None:
    stopped = json.loads(call("stop", "--json"))
    assert stopped["schedules"] == {"every_15_minutes": False, "every_5_minutes": False}
    assert "every_5_minutes is on" in call("start")
    listed = {row["id"]: row["enabled"] for row in json.loads(call("schedules", "--json"))}
    assert listed == {"every_15_minutes": True, "every_5_minutes": True}


def test_a_webserver_of_another_instance_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Other(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            info = "local_artifact_storage:\n  config:\n    base_dir: /somewhere/else\n"
            data = {"data": {"instance": {"info": info}, "repositoriesOrError": {"nodes": []}}}
            self.wfile.write(json.dumps(data).encode())

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Other) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{other.server_port}"
        monkeypatch.setenv("CRYPTO_PIPELINE_WEBSERVER", url)
        assert Webserver.find(tmp_path) is None
        other.shutdown()


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
    assert "CRYPTO_PIPELINE_UPSTREAM='localhost:80': not a URL" in call("try", "coinlore", code=2)
    upstream.received.clear()
    monkeypatch.setenv("CRYPTO_PIPELINE_UPSTREAM", upstream.url)
    monkeypatch.setenv("CRYPTO_PIPELINE_LOG", "xml")
    for command in (["collect", "ui"], ["status"], ["sources"]):
        assert "CRYPTO_PIPELINE_LOG='xml'" in call(*command, code=2)
    assert upstream.received == []


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        (settings.upstream, "http://"),
        (settings.webserver, "localhost:3000"),
        (settings.keep_runs, "1e7"),
        (settings.least_free_bytes, "two"),
    ],
)
def test_what_cannot_be_read_is_refused(
    setting: settings.Setting[object], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(setting.name, text)
    with pytest.raises(SettingError, match=f"{setting.name}={text!r}: "):
        settings.check()


def test_the_script_of_the_former_release_still_finds_its_command() -> None:
    assert cli.main is main


def test_without_dagster_home_history_is_kept_somewhere_plain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DAGSTER_HOME")
    assert set_dagster_home() == settings.database().parent
    monkeypatch.setenv("DAGSTER_HOME", f" {docs.ROOT} ")
    assert set_dagster_home() == docs.ROOT
    assert os.environ["DAGSTER_HOME"] == str(docs.ROOT)
    monkeypatch.setenv("DAGSTER_HOME", "relative")
    with pytest.raises(SettingError, match="absolute path"):
        set_dagster_home()


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


@pytest.mark.parametrize("text", ["top:", "top:0", "top:²", "top:many", ",", "BTC ETH"])
def test_a_wrong_universe_is_named(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYPTO_PIPELINE_UNIVERSE", text)
    with pytest.raises(SettingError, match="CRYPTO_PIPELINE_UNIVERSE="):
        settings.universe()


def test_the_budget_says_what_a_day_costs(upstream: Upstream) -> None:
    said = json.loads(call("sources", "--budget", "--json"))
    assert {line["source"] for line in said["sources"]} == set(SOURCES)
    assert said["bytes_per_day"] == sum(line["bytes_per_day"] for line in said["sources"])
    assert (said["bytes_per_day_allowed"], said["exceeded"]) == (1_000_000_000, [])
    shown = call("sources", "--budget")
    assert "of 1,000 MB" in shown
    assert not upstream.received


def test_an_exceeded_budget_exits_1(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(budget, "BYTES_A_DAY", 1_000)
    with pytest.raises(SystemExit) as ended:
        main(["sources", "--budget", "--json"])
    assert ended.value.code == 1
    (words,) = json.loads(capsys.readouterr().out)["exceeded"]
    assert words.endswith("bytes a day are more than 1,000")
