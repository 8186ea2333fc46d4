"""Settings and keys as they are looked at before anything starts, and .env as every command reads
it."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from crypto_pipeline import cron, docs, env_file, settings
from crypto_pipeline.monitoring.dagster_instance import ticks_after
from crypto_pipeline.settings import SettingError
from crypto_pipeline.sources import SOURCES
from crypto_pipeline.warehouse import Warehouse
from crypto_pipeline_tests.stack import PATIENCE_S
from crypto_pipeline_tests.test_cli import call, server, upstream
from crypto_pipeline_tests.upstream import Upstream

__all__ = ["server", "upstream"]

COMMANDS = (
    ("collect", "ui"),
    ("dev", "--port", "1"),
    ("health",),
    ("schedules",),
    ("sources",),
    ("start",),
    ("stats",),
    ("status",),
    ("stop",),
    ("try", "coinlore"),
)


def dagster(*arguments: str, code: int = 0) -> str:
    """What a command of Dagster's prints."""
    done = subprocess.run(
        [sys.executable, "-m", "dagster", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONPATH": str(docs.ROOT)},
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def refused() -> str:
    with pytest.raises(SettingError) as found:
        settings.check()
    return str(found.value)


# Before anything starts


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_no_command_starts_with_a_wrong_setting(
    command: tuple[str, ...], upstream: Upstream, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CRYPTO_PIPELINE_UI_CRON", "61 * * * *")
    said = call(*command, code=2, both=True)
    assert said.startswith("CRYPTO_PIPELINE_UI_CRON='61 * * * *': 61 is not within 0-59")
    assert len(said.splitlines()) == 1
    assert upstream.received == []
    assert {file.name for file in tmp_path.iterdir()} == {"dagster"}


def test_dagster_s_own_commands_say_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYPTO_PIPELINE_LOG", "xml")
    said = dagster("definitions", "validate", "-m", "crypto_pipeline.definitions", code=1)
    assert "SettingError: CRYPTO_PIPELINE_LOG='xml': give logfmt or json" in said


def test_a_table_that_is_none_is_named_before_maintenance_finds_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CRYPTO_PIPELINE_KEEP_DAYS", "prices:3")
    assert "'prices' is not a table with a time" in call("status", code=2)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("CRYPTO_PIPELINE_UI_CRN", "CRYPTO_PIPELINE_UI_CRON"),
        ("CRYPTO_PIPELINE_DB", "CRYPTO_PIPELINE_"),
        ("crypto_pipeline_database", "CRYPTO_PIPELINE_DATABASE"),
        ("CRYPTO_PIPELINE_", "CRYPTO_PIPELINE_"),
    ],
)
def test_a_variable_that_is_no_setting_is_named_with_the_nearest(
    name: str, nearest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "anything")
    said = refused()
    assert said.startswith(f"{name}: there is no such setting; the nearest is {nearest}")
    assert "anything" not in said


@pytest.mark.parametrize("setting", settings.SETTINGS, ids=lambda setting: setting.name)
@pytest.mark.parametrize("text", ["", "  "])
def test_nothing_but_blanks_is_as_if_it_were_not_set(
    setting: settings.Setting[object], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(setting.name, raising=False)
    unset = setting()
    monkeypatch.setenv(setting.name, text)
    settings.check()
    assert setting() == unset


@pytest.mark.parametrize(
    ("setting", "text", "why"),
    [
        (settings.database, "{folder}", "a folder"),
        (settings.database, os.devnull, "a device"),
        (settings.database, "{file}/x.duckdb", "{file} is no folder"),
        (settings.database, "{file}/a/b/x.duckdb", "{file} is no folder"),
        (settings.database, "x\ny.duckdb", "no line break"),
        (settings.database, "x" * 300 + "/y.duckdb", "File name too long"),
        (settings.archive, "{file}", "{file} is no folder"),
        (settings.archive, "{file}/deep/er", "{file} is no folder"),
        (settings.archive, "{database}", "that is CRYPTO_PIPELINE_DATABASE already"),
        (settings.keep_days, "market_prices:3,market_prices:5", "market_prices is there twice"),
        (settings.proxied, "https://a.example/dagster", "up to the path"),
        (settings.proxied, "https://u:p@a.example", "up to the path"),
        (settings.proxied, "a.example", "not a URL"),
        (settings.webserver, "http://127.0.0.1:99999", "out of range"),
        (settings.webserver, "http://127.0.0.1:3000\n/x", "not a URL"),
        (settings.webserver, "http://[::1", "Invalid IPv6"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(
    setting: settings.Setting[object],
    text: str,
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "file"
    file.touch()
    places = {"folder": tmp_path, "file": file, "database": settings.database()}
    monkeypatch.setenv(setting.name, text.format(**places))
    said = refused()
    assert said.startswith(f"{setting.name}=")
    assert why.format(**places) in said


def test_a_database_in_folders_that_are_not_there_yet_is_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CRYPTO_PIPELINE_DATABASE", "a/b/c\u200cd/e f.duckdb")
    settings.check()


def test_a_password_in_a_wrong_url_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYPTO_PIPELINE_UPSTREAM", "ftp://me:secret@example.org/x")
    assert "secret" not in refused()


# Cron


@pytest.mark.parametrize(
    "text",
    [
        "61 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "*/0 * * * *",
        "* * * *", "* * * * * *", "* * * * * * *", "@reboot", "now and then", "5-x * * * *",
        ", * * * *", "-5 * * * *", "0 0 31 2 *", "0 0 30 2 *", "0 0 30,31 2 *", "0 0 31 4,6 *",
        "0 0 31 feb,APR *",
    ],
)  # fmt: skip
def test_a_cron_that_is_none_or_never_comes_is_refused(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTO_PIPELINE_HISTORICAL_CRON", text)
    said = refused()
    assert said.startswith(f"CRYPTO_PIPELINE_HISTORICAL_CRON={text!r}: ")
    assert any(why in said for why in ("give five fields", "it never comes", "is not within"))


@pytest.mark.parametrize(
    "text",
    ["*/5 * * * *", "0 0 29 2 *", "0 9-17 * * MON-FRI", "0 0 1 jan,JUL 7", "@daily", "0 0 L * *"],
)
def test_a_cron_that_dagster_takes_is_taken(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYPTO_PIPELINE_UI_CRON", text)
    settings.check()
    assert len(list(islice(ticks_after(text, datetime(2026, 11, 23, tzinfo=UTC)), 2))) == 2


def _field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(max(0, low - 1), high + 1)
    one = st.one_of(
        st.just("*"),
        number.map(str),
        st.tuples(number, number).map(lambda n: f"{n[0]}-{n[1]}"),
        st.tuples(st.just("*"), number).map(lambda n: f"*/{n[1]}"),
        st.tuples(number, number, number).map(lambda n: f"{n[0]}-{n[1]}/{n[2]}"),
        st.tuples(number, number).map(lambda n: f"{n[0]}/{n[1]}"),
    )
    return st.lists(one, min_size=1, max_size=2).map(",".join)


CRON = st.tuples(
    _field(0, 59), _field(0, 23), _field(1, 31), _field(1, 12), st.just("*") | _field(0, 7)
).map(" ".join)


@given(CRON)
@effort(max_examples=300, deadline=None)
@pytest.mark.filterwarnings("ignore:Found a cron schedule with an interval")
def test_what_is_let_through_is_what_dagster_takes_and_comes(text: str) -> None:
    try:
        cron.check(text)
    except ValueError:
        return
    dg.ScheduleDefinition(job_name="any", cron_schedule=text, execution_timezone="UTC")
    since = datetime(2026, 11, 23, tzinfo=UTC)
    assert next(ticks_after(text, since)) < since + timedelta(days=366 * 9)


PLAIN = st.tuples(
    *(
        st.lists(st.integers(low, high), min_size=1, max_size=3).map(
            lambda numbers: ",".join(map(str, numbers))
        )
        for low, high in ((0, 59), (0, 23), (1, 28), (1, 12), (0, 7))
    )
).map(" ".join)


@given(PLAIN)
@effort(max_examples=100, deadline=None)
def test_numbers_within_their_bounds_are_taken(text: str) -> None:
    cron.check(text)


# Keys


@pytest.mark.parametrize(
    "value", ["se\ncret", "se\r\ncret", "se\tcret", "se\x1bcret", "secr\u00e9t", "se\u200bcret"]
)
def test_a_key_that_no_header_can_hold_is_refused_by_name_alone(
    value: str, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [source.key.env for source in SOURCES.values() if source.key]
    settings.check_keys(names)
    monkeypatch.setenv(names[-1], value)
    with pytest.raises(SettingError, match=f"^{names[-1]}: the key holds") as found:
        settings.check_keys(names)
    assert "se" + value[2:] not in str(found.value)
    assert "cr" not in str(found.value).split(":", 1)[1].replace("character", "")
    said = call("try", "coinlore", code=2, both=True)
    assert said.startswith(f"{names[-1]}: ")
    assert upstream.received == []


def test_a_key_too_short_to_be_one_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "abc")
    with pytest.raises(SettingError, match=r"^SOME_KEY: too short for a key"):
        settings.check_keys(["SOME_KEY"])
    monkeypatch.setenv("SOME_KEY", "abcd")
    settings.check_keys(["SOME_KEY"])


def test_a_key_read_from_a_file_may_end_in_a_line_break(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", " secret-0.~+/=\n")
    settings.check_keys(["SOME_KEY", "ANOTHER_KEY"])


# .env


def test_every_command_uses_the_database_of_the_same_env_file(
    upstream: Upstream, tmp_path: Path
) -> None:
    """What the file says wins over the environment, as it does with Dagster's own commands."""
    elsewhere = tmp_path / "kept" / "in.duckdb"
    (tmp_path / ".env").write_text(
        "# ours\nexport CRYPTO_PIPELINE_DATABASE='kept/in.duckdb'\nCRYPTO_PIPELINE_ARCHIVE=\n"
    )
    select = ("-m", "crypto_pipeline.definitions", "--select", "key:sentiment_metrics")
    dagster("asset", "materialize", *select)
    warehouse = Warehouse(elsewhere)
    count = "SELECT count(DISTINCT collection_id) FROM data_collections"
    assert warehouse.query(count) == [(1,)]
    call("collect", "ui", "--json")
    assert warehouse.query(count) == [(2,)]
    assert "1 ui collections" in call("status")
    assert not (tmp_path / "crypto.duckdb").exists()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"CRYPTO_PIPELINE_LOG=json\nno equals sign, secret\n", "line 2 cannot be read"),
        (b"CRYPTO_PIPELINE_LOG='json\n", "line 1 cannot be read"),
        (b"A=1\nCRYPTO_PIPELINE_LOG\n", "line 2 cannot be read"),
        (b"A=1\nSECRET=\xff\xfe\n", "is not UTF-8"),
        (b"\xef\xbb\xbfCRYPTO_PIPELINE_LOG=json\n", "byte order mark"),
        (b"SECRET=secret\0secret\n", "'SECRET' cannot be set"),
        (
            b"CRYPTO_PIPELINE_LOG=json\nA=1\nA=2\nCRYPTO_PIPELINE_LOG=logfmt\n",
            "CRYPTO_PIPELINE_LOG is set twice: lines 1 and 4",
        ),
        (b"CRYPTO_PIPELINE_LOGS=json\n", "CRYPTO_PIPELINE_LOGS: there is no such setting"),
        (b"CRYPTO_PIPELINE_LOG=xml\n", "CRYPTO_PIPELINE_LOG='xml'"),
    ],
)
def test_an_env_file_that_cannot_be_used_is_a_message(
    content: bytes, why: str, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_bytes(content)
    for command in (["status"], ["dev"]):
        said = call(*command, code=2, both=True)
        assert why in said
        assert len(said.splitlines()) == 1
        assert "secret" not in said


@pytest.mark.parametrize("to", [".env", "nowhere"])
def test_an_env_file_that_links_to_nothing_is_a_message(to: str, tmp_path: Path) -> None:
    (tmp_path / ".env").symlink_to(to)
    assert ".env: cannot be read: " in call("status", code=2, both=True)


def test_an_env_file_that_is_an_environment_of_python_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    before = dict(os.environ)
    env_file.load(tmp_path)
    assert dict(os.environ) == before
