"""Where alerts begin and end: each bound from both sides, and what they say."""

import json
import logging
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from crypto_pipeline.monitoring import alerts
from crypto_pipeline.sources import ENDPOINTS
from crypto_pipeline.sources.spec import Endpoint
from crypto_pipeline.tables import (
    Alert,
    ConnectionAttempt,
    MarketPrice,
    SourceHealth,
    StablecoinPeg,
)
from crypto_pipeline.warehouse import Warehouse
from crypto_pipeline_tests.test_alerts import (
    ENDPOINT,
    Listener,
    health,
    kinds,
    listener,
    look,
    remember,
)
from crypto_pipeline_tests.test_warehouse import batch, count, held, outcome, price

__all__ = ["listener"]


def ago(**span: float) -> datetime:
    return datetime.now(UTC) - timedelta(**span)


def state(endpoint: Endpoint, succeeded_at: datetime | None, **about: Any) -> SourceHealth:
    """What is remembered of an endpoint that was asked a moment ago."""
    row = health(0).model_copy(
        update={"endpoint": endpoint.id, "source": endpoint.source.name, **about}
    )
    return row.model_copy(update={"succeeded_at": succeeded_at})


def moved(text: str, **spans: timedelta) -> str:
    """A cursor with some of its times so much earlier."""
    cursor = json.loads(text)
    for name, span in spans.items():
        cursor[name] = (datetime.fromisoformat(cursor[name]) - span).isoformat()
    return json.dumps(cursor)


def of_kind(found: alerts.Round, kind: str) -> list[Alert]:
    return [alert for alert in found.opened if alert.kind == kind]


# In the file


def test_a_stablecoin_loses_its_peg_at_one_percent_and_finds_it_at_half(
    warehouse: Warehouse,
) -> None:
    """Between the two bounds an alert stays as it is, on either side of a dollar."""
    text, told = None, []
    for minutes, rate in enumerate((0.991, 0.989, 0.994, 0.996, 0.994, 1.009, 1.011, 1.006, 1.004)):
        moment = ago(minutes=59 - minutes)
        pegged = StablecoinPeg(
            symbol="USDT", rate_usd=rate, voices=3, spread_pct=0, rejected=[], timestamp=moment
        )
        warehouse.write(batch(f"c{minutes}", pegged, at=moment))
        found = look(warehouse, text)
        text = found.cursor
        told.append((len(of_kind(found, "depeg")), len(found.closed)))
    assert told == [(0, 0), (1, 0), (0, 0), (0, 1), (0, 0), (0, 0), (1, 0), (0, 0), (0, 1)]


def test_an_old_rate_is_no_depeg(warehouse: Warehouse) -> None:
    for hours, found in ((1.1, 0), (0.9, 1)):
        moment = ago(hours=hours)
        pegged = StablecoinPeg(
            symbol="USDT", rate_usd=0.5, voices=2, spread_pct=0, rejected=[], timestamp=moment
        )
        warehouse.write(batch(f"c{hours}", pegged, at=moment))
        alerts_found = of_kind(look(warehouse), "depeg")
        assert len(alerts_found) == found
    (alert,) = alerts_found
    assert (alert.subject, alert.severity) == ("USDT", "critical")
    assert alert.message == "2 independent venues pay 0.5000 USD for it"


@pytest.mark.parametrize(
    ("rejects", "rows", "minutes", "alert"),
    [
        (10, 9, 1, True),
        (9, 0, 1, False),
        (20, 20, 1, False),
        (20, 0, 59, True),
        (20, 0, 61, False),
    ],
)
def test_ten_refused_records_of_an_hour_and_more_than_were_accepted_are_many(
    warehouse: Warehouse, rejects: int, rows: int, minutes: float, alert: bool
) -> None:
    about = {"rejects": rejects, "rows": rows, "started_at": ago(minutes=minutes)}
    remember(warehouse, "c1", outcome("c1").model_copy(update=about))
    assert bool(of_kind(look(warehouse), "many_rejects")) == alert


def agreed(warehouse: Warehouse, coins: int, off: int) -> None:
    """So many coins of three sources that agree, the bigger one first; a fourth is off for some."""
    now = datetime.now(UTC)
    rows: list[MarketPrice] = []
    for n in range(coins):
        usd = {"a": 100, "b": 101, "c": 100.5, "mad": 50 if n < off else 100}
        rows += [
            price(source, f"C{n}", at, market_cap=1e9 * (coins - n), timestamp=now)
            for source, at in usd.items()
        ]
    warehouse.write(batch("c1", *rows, at=now))


@pytest.mark.parametrize(
    ("coins", "off", "alert"), [(5, 5, True), (4, 4, False), (19, 5, True), (20, 5, False)]
)
def test_a_source_that_is_off_for_five_coins_and_a_quarter_of_its_own_disagrees(
    warehouse: Warehouse, coins: int, off: int, alert: bool
) -> None:
    agreed(warehouse, coins, off)
    subjects = [a.subject for a in of_kind(look(warehouse), "price_disagreement")]
    assert subjects == (["mad"] if alert else [])


def test_of_the_twenty_biggest_coins_each_is_looked_at(warehouse: Warehouse) -> None:
    agreed(warehouse, 22, 22)
    with warehouse.connect() as connection:
        connection.execute("UPDATE cached_market_data SET sources = 1 WHERE symbol >= 'C18'")
    subjects = [a.subject for a in of_kind(look(warehouse), "price_disagreement")]
    assert {s for s in subjects if s in {"C17", "C18", "C19", "C20"}} == {"C18", "C19"}


@pytest.mark.parametrize(("minutes", "alert"), [(59, False), (61, True)])
def test_nobody_asked_for_an_hour_is_silence(
    warehouse: Warehouse, minutes: float, alert: bool
) -> None:
    remember(warehouse, "c1", health(minutes / 60))
    spans: list[tuple[datetime, datetime]] = []

    def due(since: datetime, now: datetime) -> bool:
        spans.append((since, now))
        return True

    found = alerts.check(warehouse, None, warehouse.path.parent, collecting=True, overdue=due)
    assert bool(of_kind(found, "not_asking")) == alert
    for since, now in spans:
        assert now - since == pytest.approx(timedelta(minutes=minutes), abs=timedelta(seconds=20))


def test_who_was_asked_at_a_time_to_come_breaks_no_silence(warehouse: Warehouse) -> None:
    other = next(e for e in ENDPOINTS.values() if e.id != ENDPOINT.id)
    remember(warehouse, "c1", health(2), state(other, None, asked_at=ago(hours=-2)))
    found = alerts.check(
        warehouse, None, warehouse.path.parent, collecting=True, overdue=lambda since, now: True
    )
    (alert,) = of_kind(found, "not_asking")
    assert alert.message.startswith("nothing was asked since")


def test_where_nobody_was_ever_asked_there_is_no_silence(warehouse: Warehouse) -> None:
    remember(warehouse, "c1", health(-2))
    found = alerts.check(
        warehouse, None, warehouse.path.parent, collecting=True, overdue=lambda since, now: True
    )
    assert of_kind(found, "not_asking") == []


class Patience(NamedTuple):
    """A table with one endpoint on record, and how long no good answer of it is explained."""

    endpoint: Endpoint
    lasts: timedelta


def patience(longest: Callable[[Endpoint], bool]) -> Patience:
    endpoint = next(e for e in ENDPOINTS.values() if longest(e))
    stale = endpoint.model.table.group.stale
    return Patience(endpoint, max(stale, 2 * endpoint.min_interval))


PATIENCE = [
    patience(lambda e: 2 * e.min_interval < e.model.table.group.stale),
    patience(lambda e: 2 * e.min_interval > 2 * e.model.table.group.stale),
]


@pytest.mark.parametrize("case", PATIENCE, ids=["its group's", "its interval's"])
@pytest.mark.parametrize(("part", "alert"), [(0.97, False), (1.03, True)])
def test_a_table_is_stale_when_neither_group_nor_interval_explains_it(
    warehouse: Warehouse, case: Patience, part: float, alert: bool
) -> None:
    remember(warehouse, "c1", state(case.endpoint, datetime.now(UTC) - part * case.lasts))
    found = of_kind(look(warehouse), "stale_table")
    table = case.endpoint.model.table.name
    assert [a.subject for a in found] == ([table] if alert else [])


def test_one_good_answer_keeps_a_table_fresh_and_none_or_one_to_come_does_not(
    warehouse: Warehouse,
) -> None:
    one, two, three = [e for e in ENDPOINTS.values() if e.model is ENDPOINT.model][:3]
    remember(warehouse, "c1", state(one, ago(days=9)), state(two, ago(minutes=1)))
    assert of_kind(look(warehouse), "stale_table") == []
    old = state(one, None), state(two, None), state(three, ago(days=-1))
    remember(warehouse, "c2", *old)
    (alert,) = of_kind(look(warehouse), "stale_table")
    assert alert.message == "no source has ever answered well"


# Beside the file


@pytest.mark.parametrize(("seconds", "alert"), [(100, False), (140, True)])
def test_what_waits_for_two_minutes_is_an_alert_and_the_oldest_counts(
    warehouse: Warehouse, seconds: float, alert: bool
) -> None:
    for n in range(2):
        at = ago(seconds=seconds * (1 - n))
        warehouse.write(batch(f"c{n}", price("a", "BTC", 1, f"c{n}"), at=at), hurry=lambda: True)
    oldest, _ = warehouse.waiting()
    since = ago(seconds=seconds)
    os.utime(oldest, (since.timestamp(), since.timestamp()))
    found = of_kind(look(warehouse), "waiting_spool")
    assert bool(found) == alert
    for told in found:
        assert told.message.startswith(
            f"2 collections wait for the database since {since:%d %b %H:%M} UTC: "
        )


def test_less_room_than_is_set_is_told_in_gib(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTO_PIPELINE_LEAST_FREE_GB", "1.5")
    free = 3 * 2**29
    usage = shutil.disk_usage(warehouse.path.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=free))
    assert kinds(look(warehouse)) == []
    free -= 1
    (alert,) = look(warehouse).opened
    assert alert.message == "1.5 GiB are free"


def test_nothing_is_wrong_where_nothing_is_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = Warehouse(tmp_path / "not yet" / "crypto.duckdb")
    assert kinds(look(warehouse)) == []
    there = Warehouse(tmp_path / "crypto.duckdb")
    monkeypatch.setenv("CRYPTO_PIPELINE_LEAST_FREE_GB", "9999999")
    first = look(there)
    assert len(first.opened) == 1
    assert not there.exists
    remember(there, "c1", health(0))
    look(there, first.cursor)
    assert count(there, "alerts") == 1


def test_a_damaged_file_closes_no_alert_and_is_one_until_it_is_whole(
    warehouse: Warehouse,
) -> None:
    remember(warehouse, "c1", health(30))
    cursor = look(warehouse).cursor
    whole = warehouse.path.read_bytes()
    warehouse.path.write_bytes(b"rubbish" * 9999)
    damaged = look(warehouse, cursor)
    assert ([kind for kind, _ in kinds(damaged)], damaged.closed) == (["database"], [])
    warehouse.path.write_bytes(whole)
    mended = look(warehouse, damaged.cursor)
    assert [alert.kind for alert in mended.closed] == ["database"]


# The clock


def looked(text: str, span: timedelta, counted: timedelta) -> str:
    """A cursor of a look that long ago, since when the system counted so much."""
    cursor = json.loads(moved(text, looked_at=span))
    cursor["uptime_s"] -= counted.total_seconds()
    return json.dumps(cursor)


HOUR = timedelta(hours=1)


@pytest.mark.skipif(not hasattr(__import__("time"), "CLOCK_BOOTTIME"), reason="nothing counts here")
@pytest.mark.parametrize(
    ("span", "counted", "passed"),
    [(HOUR, HOUR, None), (2 * HOUR, HOUR, "3,600"), (-HOUR, HOUR, "3,600"), (HOUR, 0 * HOUR, "0")],
)
def test_a_clock_is_held_against_the_seconds_that_the_system_counts(
    warehouse: Warehouse, span: timedelta, counted: timedelta, passed: str | None
) -> None:
    found = look(warehouse, looked(look(warehouse).cursor, span, counted))
    assert bool(found.opened) == bool(passed)
    for alert in found.opened:
        assert alert.message.endswith(f"while {passed} s passed")


@pytest.mark.skipif(not hasattr(__import__("time"), "CLOCK_BOOTTIME"), reason="nothing counts here")
@pytest.mark.parametrize(("span", "alert"), [(HOUR, False), (-HOUR, True), (-HOUR / 60, False)])
def test_after_a_start_of_the_machine_only_a_clock_that_went_back_was_set(
    warehouse: Warehouse, span: timedelta, alert: bool
) -> None:
    rebooted = looked(look(warehouse).cursor, span, -24 * 999 * HOUR)
    assert bool(look(warehouse, rebooted).opened) == alert


def test_where_no_system_counts_only_a_clock_that_went_back_was_set(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("time.CLOCK_BOOTTIME", raising=False)
    cursor = look(warehouse).cursor
    assert kinds(look(warehouse, moved(cursor, looked_at=HOUR))) == []
    assert kinds(look(warehouse, moved(cursor, looked_at=-HOUR))) == [("clock", "set")]


# On their beat


def test_a_drain_is_asked_for_every_five_minutes(warehouse: Warehouse) -> None:
    warehouse.write(batch("c1", price("a", "BTC", 1)), hurry=lambda: True)
    first = look(warehouse)
    assert first.drain
    for minutes, drain in ((4.9, False), (5.1, True), (-60, True)):
        cursor = moved(first.cursor, drained_at=timedelta(minutes=minutes))
        assert look(warehouse, cursor).drain == drain


def test_no_drain_is_asked_for_where_nothing_waits(warehouse: Warehouse) -> None:
    remember(warehouse, "c1", health(0))
    assert not look(warehouse).drain


def test_metrics_are_taken_every_five_minutes(warehouse: Warehouse) -> None:
    remember(warehouse, "c1", health(0))
    cursor = look(warehouse).cursor
    for minutes, rows in ((0, 1), (4.9, 1), (5.1, 2), (-60, 3)):
        look(warehouse, moved(cursor, measured_at=timedelta(minutes=minutes)))
        assert count(warehouse, "system_metrics") == rows


def attempt(minutes: float, status: int | None, latency_ms: float) -> ConnectionAttempt:
    return ConnectionAttempt(
        endpoint=ENDPOINT.id,
        source=ENDPOINT.source.name,
        attempt=1,
        method="GET",
        url="https://alpha.example",
        status=status,
        bytes_received=10,
        latency_ms=latency_ms,
        started_at=ago(minutes=minutes),
        collection_id="c1",
    )


def test_metrics_are_of_the_last_hour_and_of_this_machine(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (1.2345, 5.0, 9.0), raising=False)
    attempts = [attempt(1, 200, 100), attempt(59, 400, 200), attempt(5, None, 600)]
    remember(warehouse, "c1", health(0), *attempts, attempt(61, 200, 9000))
    for name, size in (("history/runs/1.db", 7), ("storage/x", 5), ("elsewhere", 100)):
        file = warehouse.path.parent / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * size)
    look(warehouse)
    columns = "requests_1h, failures_1h, latency_ms_1h, load_1m, history_bytes, open_alerts"
    assert warehouse.query(f"SELECT {columns} FROM system_metrics") == [(3, 2, 200, 1.23, 12, 0)]


def test_where_no_system_tells_its_load_none_is_kept(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "getloadavg", raising=False)
    remember(warehouse, "c1", health(0))
    look(warehouse)
    assert warehouse.query("SELECT load_1m FROM system_metrics") == [(None,)]


def test_a_file_of_the_history_that_goes_away_meanwhile_hides_no_other(tmp_path: Path) -> None:
    folder = tmp_path / "history"
    folder.mkdir()
    for n in range(20):
        (folder / f"gone{n}").symlink_to(tmp_path / "nowhere")
        (folder / f"here{n}").write_bytes(b"xx")
    assert alerts.history_bytes(tmp_path) == 40


# Told


def test_a_message_says_how_much_is_how_bad(
    warehouse: Warehouse, listener: Listener, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setenv("CRYPTO_PIPELINE_ALERT_URL", listener.url)
    remember(warehouse, "c1", health(0, "open"))
    first = look(warehouse)
    remember(warehouse, "c2", health(30))
    look(warehouse, first.cursor)
    warning, both = listener.told
    assert (warning["title"], warning["type"]) == ("crypto_pipeline: 1 change", "warning")
    assert (both["title"], both["type"]) == ("crypto_pipeline: 2 changes", "failure")
    stale, over = both["message"].splitlines()
    assert stale.startswith("critical: stale_table gas_prices: no source")
    assert over == f"over: open_circuit {ENDPOINT.id}"
    assert [r for r in caplog.records if r.name == alerts.__name__] == []


def test_who_wants_no_messages_hears_nothing_of_how_they_are_sent(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "apprise", None)
    remember(warehouse, "c1", health(30))
    assert look(warehouse).opened
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


def test_what_could_not_be_sent_is_not_marked_as_sent(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "apprise", None)
    monkeypatch.setenv("CRYPTO_PIPELINE_ALERT_URL", "json://127.0.0.1:9")
    remember(warehouse, "c1", health(30))
    look(warehouse)
    assert warehouse.query("SELECT notified_at FROM alerts") == [(None,)]


def test_an_alert_found_anew_while_the_file_was_held_is_the_one_in_the_file(
    warehouse: Warehouse, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTO_PIPELINE_LEAST_FREE_GB", "9999999")
    remember(warehouse, "c1", health(0))
    look(warehouse)
    ((opened_at, notified_at),) = warehouse.query("SELECT opened_at, notified_at FROM alerts")
    assert notified_at is None
    monkeypatch.setenv("CRYPTO_PIPELINE_ALERT_URL", listener.url)
    with held(warehouse.path):
        anew = look(warehouse, None)
    assert len(anew.opened) == len(listener.told) == 1
    taken = look(warehouse, anew.cursor)
    again = look(warehouse, taken.cursor)
    assert (taken.opened, again.opened, len(listener.told)) == ([], [], 1)
    monkeypatch.setenv("CRYPTO_PIPELINE_LEAST_FREE_GB", "0")
    look(warehouse, again.cursor)
    ((kept, told),) = warehouse.query("SELECT opened_at, notified_at IS NOT NULL FROM alerts")
    assert (kept, told) == (opened_at, True)


def test_an_alert_is_over_once_while_a_reader_keeps_its_end_from_being_written(
    warehouse: Warehouse, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTO_PIPELINE_ALERT_URL", listener.url)
    remember(warehouse, "c1", health(0, "open"))
    look(warehouse)
    remember(warehouse, "c2", health(0))
    with held(warehouse.path, read_only=True):
        over = look(warehouse, None)
        again = look(warehouse, over.cursor)
    assert [told["message"].split(":")[0] for told in listener.told] == ["warning", "over"]
    assert (len(over.closed), again.closed) == (1, [])
    look(warehouse, again.cursor)
    assert warehouse.query("SELECT closed_at IS NOT NULL FROM alerts") == [(True,)]
