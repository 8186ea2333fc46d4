"""The log beside the database: what real collections write to it, and that it stays small."""

import json
import re
import subprocess
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from crypto_pipeline import settings
from crypto_pipeline.cli.main import main
from crypto_pipeline.collection import collect as module
from crypto_pipeline.collection import log_file
from crypto_pipeline.collection.collect import collect
from crypto_pipeline.collection.limits import Limits
from crypto_pipeline.collection.results import Collection, Result
from crypto_pipeline.definitions import build_definitions
from crypto_pipeline.orchestration import assets
from crypto_pipeline.settings import LogForm, SettingError
from crypto_pipeline.sources import SOURCES
from crypto_pipeline.sources.spec import Endpoint, Key
from crypto_pipeline.warehouse import Damaged, Warehouse
from crypto_pipeline_tests.conftest import Canned, coins, source
from crypto_pipeline_tests.test_collect import python
from crypto_pipeline_tests.test_warehouse import count
from crypto_pipeline_tests.upstream import Rule, Upstream

SHORT = Limits(deadline_s=1.5)
FORMS: tuple[LogForm, ...] = ("logfmt", "json")
PAIR = re.compile(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|[^\s"=\\]+)(?: |$)')


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    canned = Canned({f"{name}.example/prices": coins(100, 200) for name in ("good", "fine")})
    with Upstream(canned) as server:
        monkeypatch.setenv("CRYPTO_PIPELINE_UPSTREAM", server.url)
        yield server


@pytest.fixture
def file(warehouse: Warehouse) -> Path:
    return warehouse.path.with_name("crypto.log")


def run(warehouse: Warehouse, *among: Endpoint, name: str = "c1", **about: Any) -> Collection:
    return collect(["market_prices"], name, warehouse=warehouse, among=among, **about)


def parsed(line: str) -> dict[str, str]:
    """A line of logfmt; every character of it is part of a pair."""
    found = list(PAIR.finditer(line))
    assert "".join(pair.group() for pair in found) == line
    values = {pair[1]: pair[2] for pair in found}
    return {k: json.loads(v) if v.startswith('"') else v for k, v in values.items()}


def test_each_endpoint_of_a_collection_has_a_line(
    warehouse: Warehouse, upstream: Upstream, file: Path
) -> None:
    upstream.rules.append(Rule("bad", status=451, body=b'restricted "location"'))
    run(warehouse, source("good"), source("bad"), collection_type="ui")
    lines = {line["source"]: line for line in map(parsed, file.read_text().splitlines())}
    assert set(lines) == {"good", "bad"}
    good = lines["good"]
    ended = datetime.fromisoformat(good.pop("time"))
    assert abs((datetime.now(UTC) - ended).total_seconds()) < 60
    weight, latency = int(good.pop("bytes")), int(good.pop("latency_ms"))
    assert good == {
        "collection": "c1",
        "kind": "ui",
        "endpoint": "good.market_prices",
        "source": "good",
        "table": "market_prices",
        "outcome": "ok",
        "records": "2",
        "rows": "2",
        "kept": "database",
        "left_out": "0",
        "rejects": "0",
        "attempts": "1",
    }
    kept = "SELECT bytes_received, latency_ms, reason FROM data_collections WHERE source = ?"
    ((received, took, _),) = warehouse.query(kept, ["good"])
    assert weight == received
    assert abs(latency - took) <= 0.5
    ((_, _, reason),) = warehouse.query(kept, ["bad"])
    assert (lines["bad"]["outcome"], lines["bad"]["reason"]) == ("refused", reason)


def test_as_json_a_line_is_an_object(
    warehouse: Warehouse, upstream: Upstream, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTO_PIPELINE_LOG", "json")
    upstream.rules.append(Rule("bad", status=500, body=b""))
    run(warehouse, source("good"), source("bad"), source("nokey", key=Key(env="NO", query="k")))
    lines = {line["source"]: line for line in map(json.loads, file.read_text().splitlines())}
    assert list(lines["good"]) == [
        *("time", "collection", "kind", "endpoint", "source", "table", "outcome", "skip"),
        *(
            "reason",
            "records",
            "rows",
            "kept",
            "left_out",
            "rejects",
            "bytes",
            "latency_ms",
            "attempts",
        ),
    ]
    assert (lines["good"]["rows"], lines["good"]["reason"]) == (2, None)
    assert (lines["bad"]["outcome"], lines["bad"]["reason"]) == ("unreachable", "HTTP 500")
    assert (lines["nokey"]["outcome"], lines["nokey"]["skip"]) == ("skipped", "no_key")
    assert lines["nokey"]["latency_ms"] is None


def test_a_wrong_form_is_named_before_anybody_is_asked(
    warehouse: Warehouse, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTO_PIPELINE_LOG", "xml")
    with pytest.raises(SettingError, match="CRYPTO_PIPELINE_LOG='xml': give logfmt or json"):
        run(warehouse, source("good"))
    assert not upstream.received
    monkeypatch.setenv("CRYPTO_PIPELINE_LOG", "LOGFMT")
    assert settings.log_form() == "logfmt"


def test_what_is_not_due_has_no_line(warehouse: Warehouse, upstream: Upstream, file: Path) -> None:
    pool = [source(name, pool="p") for name in ("good", "fine")]
    run(warehouse, *pool)
    first = [parsed(line) for line in file.read_text().splitlines()]
    assert [line["outcome"] for line in first] == ["ok", "skipped"]
    assert first[1]["skip"] == "pool_answered"
    assert first[1]["reason"] == "the pool has its answer from good.market_prices"
    again = run(warehouse, *pool, name="c2")
    assert {r.outcome for r in again.results} == {"skipped"}
    assert len(file.read_text().splitlines()) == 2


@given(reason=st.text(), form=st.sampled_from(FORMS))
def test_no_reason_breaks_a_line(reason: str, form: LogForm) -> None:
    ended = Result(source("odd"), "changed", reason)
    line = log_file.line(ended, Collection("c1", "ui", datetime.now(UTC)), form)
    assert line.splitlines() == [line]
    assert line.isprintable()
    line.encode()
    read: Any = json.loads(line) if form == "json" else parsed(line)
    assert (read["reason"], read["endpoint"]) == (reason, "odd.market_prices")


@pytest.mark.parametrize("form", FORMS)
def test_no_key_is_in_it(
    warehouse: Warehouse,
    upstream: Upstream,
    file: Path,
    form: LogForm,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    canary = "CANARY-0123456789"
    monkeypatch.setenv("CRYPTO_PIPELINE_LOG", form)
    monkeypatch.setenv("KEYED_KEY", canary)
    keyed = source("keyed", key=Key(env="KEYED_KEY", query="apikey"))
    monkeypatch.setitem(SOURCES, "keyed", keyed.source)
    rules = (
        Rule("keyed", body=f'{{"error": "key {canary} is invalid"}}'.encode()),
        Rule("keyed", status=403, body=f"no access with\n{canary}".encode()),
        Rule("keyed", body=f'{{"data": [{{"id": 1, "symbol": "{canary}"}}]}}'.encode()),
        Rule("keyed", fault="reset"),
    )
    for number, rule in enumerate(rules):
        upstream.rules = [rule]
        run(warehouse, keyed, source("good"), name=f"c{number}", force=True, limits=SHORT)
    assert any(canary in repr(asked.query) for asked in upstream.received)
    said = file.read_text()
    assert sum("keyed.market_prices" in line for line in said.splitlines()) == len(rules)
    assert canary not in said


# Small for ever


def test_it_never_outgrows_its_bounds(
    warehouse: Warehouse, upstream: Upstream, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_file, "FILE_BYTES", 1_000)
    for number in range(20):
        run(warehouse, source("good"), source("fine"), name=f"c{number}", force=True)
    found = sorted(file.parent.glob("crypto.log*"))
    assert [f.name for f in found] == ["crypto.log", *(f"crypto.log.{n}" for n in range(1, 5))]
    assert all(f.stat().st_size <= log_file.FILE_BYTES for f in found)
    newest_first = [parsed(line)["collection"] for f in found for line in _backwards(f)]
    kept = list(dict.fromkeys(newest_first))
    assert kept == [f"c{n}" for n in range(19, 19 - len(kept), -1)]
    assert newest_first == [name for name in kept for _ in range(2)]


def _backwards(file: Path) -> list[str]:
    return file.read_text().splitlines()[::-1]


def test_two_that_write_and_rotate_at_once_lose_nothing(
    warehouse: Warehouse, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = textwrap.dedent(f"""
        import sys
        from datetime import UTC, datetime
        from crypto_pipeline.collection import log_file
        from crypto_pipeline.collection.results import Collection, Result
        from crypto_pipeline.warehouse import Warehouse
        from crypto_pipeline_tests.conftest import source
        log_file.FILE_BYTES, log_file.FILES = 2_000, 1_000
        ended = [Result(source(f"s{{n}}"), "ok") for n in range(3)]
        for number in range(60):
            done = Collection(f"{{sys.argv[1]}}-{{number}}", "ui", datetime.now(UTC), ended)
            assert log_file.write(done, Warehouse({str(warehouse.path)!r}), "json") is None
    """)
    both: list[subprocess.Popen[bytes]] = [python(code, name) for name in ("a", "b")]
    assert [process.wait(60) for process in both] == [0, 0]
    rotated = sorted(file.parent.glob("crypto.log.*"), key=lambda f: -int(f.suffix[1:]))
    lines = [json.loads(line) for f in (*rotated, file) for line in f.read_text().splitlines()]
    for name in ("a", "b"):
        said = [line["collection"] for line in lines if line["collection"].startswith(name)]
        assert said == [f"{name}-{number}" for number in range(60) for _ in range(3)]


# Never in the way


def no_file(file: Path) -> None:
    file.mkdir()


def full_disk(file: Path) -> None:
    file.symlink_to("/dev/full")


UNWRITABLE = [
    pytest.param(no_file, "Is a directory", id="no file"),
    pytest.param(
        full_disk,
        "No space left on device",
        id="full disk",
        marks=pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has it"),
    ),
]


@pytest.mark.parametrize(("spoil", "words"), UNWRITABLE)
def test_a_log_that_cannot_be_written_costs_a_warning(
    warehouse: Warehouse,
    upstream: Upstream,
    file: Path,
    spoil: Any,
    words: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    spoil(file)
    collection = run(warehouse, source("good"))
    assert count(warehouse, "market_prices") == 2
    said = collection.unlogged or ""
    assert said.startswith(f"{file} got no lines: ")
    assert words in said
    assert capfd.readouterr().err == ""


def test_a_log_that_another_keeps_is_not_waited_for_long(
    warehouse: Warehouse, upstream: Upstream, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_file, "WAIT_S", 0.1)
    with FileLock(warehouse.path.with_name("crypto.duckdb.log.lock")):
        collection = run(warehouse, source("good"))
    assert collection.unlogged == f"{file} got no lines: another collection was writing to it"
    assert count(warehouse, "market_prices") == 2


def test_a_collection_that_cannot_be_kept_has_its_lines(
    warehouse: Warehouse, upstream: Upstream, file: Path
) -> None:
    run(warehouse, source("good"))
    real = warehouse.write

    def damage(batch: Any, *about: Any) -> Any:
        warehouse.path.write_bytes(b"not a database at all" * 999)
        return real(batch, *about)

    warehouse.write = damage  # type: ignore[method-assign,assignment]
    assert isinstance(run(warehouse, source("fine"), name="c2").receipt.problem, Damaged)
    assert [parsed(line)["collection"] for line in file.read_text().splitlines()] == ["c1", "c2"]


# Whoever starts it


@pytest.fixture
def one_source(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SOURCES", {"good": source("good").source})


def test_a_run_writes_it_and_says_once_when_it_cannot(
    one_source: None, file: Path, tmp_path: Path
) -> None:
    job = build_definitions().resolve_job_def("ui_collection")

    def warnings(instance: dg.DagsterInstance) -> list[str]:
        run_config = {"ops": {assets.STEP: {"config": {"force": True}}}}
        done = job.execute_in_process(instance=instance, run_config=run_config)
        logged = instance.all_logs(done.run_id)
        return [entry.user_message for entry in logged if not entry.is_dagster_event]

    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        said = warnings(instance)
        assert len(file.read_text().splitlines()) == 1
        assert not any("good.market_prices" in words for words in said)
        file.unlink()
        file.mkdir()
        said = warnings(instance)
    assert sum(words.startswith(f"{file} got no lines") for words in said) == 1


def test_the_command_writes_it_and_says_once_when_it_cannot(
    one_source: None, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            main(["collect", "ui", "--json", "--force"])
        assert ended.value.code == 0
        said = capsys.readouterr()
        (collected,) = said.out.splitlines()
        if file.is_file():
            (line,) = file.read_text().splitlines()
            assert parsed(line)["collection"] == json.loads(collected)["collection_id"]
            assert str(file) not in said.err
            file.unlink()
            file.mkdir()
    assert said.err.count(f"{file} got no lines") == 1
