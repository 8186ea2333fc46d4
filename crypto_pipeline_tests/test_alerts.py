"""Alerts: opened once, closed when over, sent; and the spool drained."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from crypto_pipeline.monitoring import alerts
from crypto_pipeline.monitoring.alerts import Round
from crypto_pipeline.sources import ENDPOINTS
from crypto_pipeline.tables import SourceHealth
from crypto_pipeline.warehouse import Batch, Warehouse
from crypto_pipeline_tests.test_warehouse import batch, count, held, outcome, price

ENDPOINT = next(e for e in ENDPOINTS.values() if e.model.table.name == "gas_prices")


def look(warehouse: Warehouse, cursor: str | None = None, collecting: bool = True) -> Round:
    return alerts.check(warehouse, cursor, warehouse.path.parent, collecting=collecting)


def kinds(found: Round) -> list[tuple[str, str]]:
    return [(alert.kind, alert.subject) for alert in found.opened]


def health(hours_ago: float, circuit: str = "closed") -> SourceHealth:
    at = datetime.now(UTC) - timedelta(hours=hours_ago)
    return SourceHealth(
        endpoint=ENDPOINT.id,
        source=ENDPOINT.source.name,
        outcome="ok" if circuit == "closed" else "unreachable",
        reason=None if circuit == "closed" else "HTTP 500",
        circuit=circuit,
        consecutive_failures=0 if circuit == "closed" else 5,
        asked_at=at,
        succeeded_at=at,
        next_allowed_at=at + timedelta(hours=3),
    )


def remember(warehouse: Warehouse, name: str, *rows: Any) -> None:
    made = Batch(name, datetime.now(UTC))
    made.add("", rows)
    warehouse.write(made)


def test_an_alert_is_opened_once_and_closed_when_it_is_over(warehouse: Warehouse) -> None:
    remember(warehouse, "c1", health(30))
    first = look(warehouse)
    assert kinds(first) == [("stale_table", "gas_prices")]
    assert first.opened[0].severity == "critical"
    again = look(warehouse, first.cursor)
    assert (again.opened, again.closed) == ([], [])
    assert warehouse.query("SELECT kind, closed_at FROM alerts") == [("stale_table", None)]
    remember(warehouse, "c2", health(0))
    over = look(warehouse, again.cursor)
    assert [alert.kind for alert in over.closed] == ["stale_table"]
    ((closed_at, lasted),) = warehouse.query("SELECT closed_at, closed_at > opened_at FROM alerts")
    assert closed_at
    assert lasted


def test_tables_that_nobody_fills_on_purpose_are_not_stale(warehouse: Warehouse) -> None:
    remember(warehouse, "c1", health(30))
    assert kinds(look(warehouse, collecting=False)) == []


def test_without_a_cursor_a_check_goes_on_with_what_the_file_has(warehouse: Warehouse) -> None:
    remember(warehouse, "c1", health(0, "open"))
    assert kinds(look(warehouse)) == [("open_circuit", ENDPOINT.id)]
    assert kinds(look(warehouse, None)) == []
    remember(warehouse, "c2", health(0))
    assert len(look(warehouse, None).closed) == 1
    assert count(warehouse, "alerts") == 1


def test_many_rejects_are_an_alert(warehouse: Warehouse) -> None:
    about = outcome("c1").model_copy(
        update={"records": 30, "rejects": 20, "rows": 10, "started_at": datetime.now(UTC)}
    )
    remember(warehouse, "c1", about)
    (alert,) = look(warehouse).opened
    assert (alert.kind, alert.subject) == ("many_rejects", "alpha.market_prices")
    assert alert.message.startswith("20 records were refused and 10 accepted")


def said(warehouse: Warehouse, *voices: tuple[str, str, float], **about: Any) -> None:
    """A collection of prices, as source, symbol and dollars."""
    now = datetime.now(UTC)
    rows = [
        price(source, symbol, usd, f"c-{now}", timestamp=now, source_id=symbol, **about)
        for source, symbol, usd in voices
    ]
    made = batch(f"c-{now}", *rows, at=now)
    assert warehouse.write(made).problem is None


def many(source: str, usd: float, of: range = range(6)) -> list[tuple[str, str, float]]:
    """A source's prices of several coins."""
    return [(source, f"C{n}", usd) for n in of]


HONEST = [*many("a", 100), *many("b", 101), *many("c", 100.5)]


def messages(warehouse: Warehouse) -> dict[str, str]:
    opened = look(warehouse).opened
    assert {alert.kind for alert in opened} <= {"price_disagreement"}
    return {alert.subject: alert.message for alert in opened}


def test_a_source_that_is_often_off_is_an_alert(warehouse: Warehouse) -> None:
    said(warehouse, *HONEST, *many("mad", 50), market_cap=1e9)
    assert messages(warehouse) == {
        "mad": "6 of its 6 prices are more than 5% off the others'",
    }


def test_a_source_that_is_seldom_off_is_none(warehouse: Warehouse) -> None:
    wide = [*many("a", 100, range(20)), *many("b", 100, range(20)), *many("c", 100, range(20))]
    mad = [*many("mad", 100, range(15)), *many("mad", 50, range(15, 20))]
    said(warehouse, *wide, *mad, market_cap=1e9)
    assert messages(warehouse) == {}  # a quarter of 20, and not more


def test_five_coins_are_many(warehouse: Warehouse) -> None:
    said(warehouse, *HONEST, *many("mad", 50, range(4)), market_cap=1e9)
    assert messages(warehouse) == {}
    said(warehouse, *HONEST, *many("mad", 50, range(5)), market_cap=1e9)
    assert list(messages(warehouse)) == ["mad"]


def test_another_coin_is_off_too_and_no_vote_is_not(warehouse: Warehouse) -> None:
    said(warehouse, *HONEST, market_cap=1e9)
    said(warehouse, *many("other_1", 3), *many("other_2", 3))
    said(warehouse, *many("idle", 3), abstains="untraded")
    assert set(messages(warehouse)) == {"other_1", "other_2"}


def test_a_big_coin_without_a_price_is_an_alert(warehouse: Warehouse) -> None:
    said(warehouse, ("a", "XYZ", 10), ("b", "XYZ", 20), market_cap=2e9)
    said(warehouse, ("a", "NOBODY", 10), ("b", "NOBODY", 20))
    assert messages(warehouse) == {
        "XYZ": "no price: 2 sources disagree and nothing decides between them",
    }


def test_a_big_coin_of_which_as_many_are_off_is_an_alert(warehouse: Warehouse) -> None:
    said(warehouse, ("a", "XYZ", 10), ("b", "XYZ", 10), market_cap=2e9)
    said(warehouse, ("c", "XYZ", 20))
    assert messages(warehouse) == {}
    said(warehouse, ("d", "XYZ", 90))
    assert messages(warehouse) == {
        "XYZ": "2 sources are more than 5% off the 2 that agree",
    }


def test_coins_beyond_the_biggest_are_no_alerts(warehouse: Warehouse) -> None:
    for n in range(alerts.BIG_COINS):
        said(warehouse, ("a", f"B{n}", 1), market_cap=1e9 + n)
    said(warehouse, ("a", "XYZ", 10), ("b", "XYZ", 20), market_cap=1e8)
    assert messages(warehouse) == {}
    said(warehouse, ("a", "XYZ", 10), ("b", "XYZ", 20), market_cap=1e12)
    assert set(messages(warehouse)) == {"XYZ"}


def test_a_full_disk_is_an_alert(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYPTO_PIPELINE_LEAST_FREE_GB", "9999999")
    assert kinds(look(warehouse)) == [("disk_full", str(warehouse.path.parent))]


def test_a_damaged_file_is_an_alert(warehouse: Warehouse) -> None:
    warehouse.path.write_bytes(b"rubbish" * 9999)
    (alert,) = look(warehouse).opened
    assert (alert.kind, alert.severity) == ("database", "critical")


def test_a_file_of_a_newer_release_is_an_alert(warehouse: Warehouse) -> None:
    remember(warehouse, "c1", health(0))
    with warehouse.connect() as connection:
        connection.execute("INSERT INTO schema_migrations VALUES (99, 'the future', now(), NULL)")
    (alert,) = look(warehouse).opened
    assert (alert.kind, alert.severity) == ("database", "critical")
    assert "update crypto_pipeline" in alert.message


def test_metrics_are_taken(warehouse: Warehouse) -> None:
    remember(warehouse, "c1", health(0, "open"))
    cursor = look(warehouse).cursor
    look(warehouse, cursor)
    (row,) = warehouse.query(
        "SELECT endpoints_known, endpoints_failing, endpoints_resting, open_alerts, "
        "database_bytes > 0, disk_free_bytes > 0 FROM system_metrics"
    )
    assert row == (1, 1, 1, 1, True, True)


# Told


class Listener:
    """What an alert URL was told."""

    def __init__(self) -> None:
        told: list[dict[str, Any]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                told.append(json.loads(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.told = told
        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.server.server_port}/hook"


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_alerts_are_told_once_and_their_end_too(
    warehouse: Warehouse, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember(warehouse, "c1", health(30))
    cursor = look(warehouse).cursor
    monkeypatch.setenv("CRYPTO_PIPELINE_ALERT_URL", "json://127.0.0.1:9/nobody")
    cursor = look(warehouse, cursor).cursor
    monkeypatch.setenv("CRYPTO_PIPELINE_ALERT_URL", listener.url)
    for _ in range(2):
        cursor = look(warehouse, cursor).cursor
    assert len(listener.told) == 1
    assert listener.told[0]["message"].startswith("critical: stale_table gas_prices: no source")
    assert warehouse.query("SELECT notified_at IS NOT NULL FROM alerts") == [(True,)]
    remember(warehouse, "c2", health(0))
    look(warehouse, cursor)
    assert listener.told[1]["message"] == "over: stale_table gas_prices"


def test_while_the_file_is_locked_alerts_go_on(
    warehouse: Warehouse, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTO_PIPELINE_ALERT_URL", listener.url)
    monkeypatch.setattr("crypto_pipeline.monitoring.alerts.SPOOL_PATIENCE", timedelta(0))
    remember(warehouse, "c1", health(30))
    cursor = look(warehouse).cursor
    with held(warehouse.path):
        assert warehouse.write(batch("c2", price("alpha", "BTC", 1, "c2"))).spooled
        locked = look(warehouse, cursor)
    assert kinds(locked) == [("waiting_spool", str(warehouse.spool))]
    assert locked.closed == []
    assert not locked.drain
    assert len(listener.told) == 2
    free = look(warehouse, locked.cursor)
    assert free.drain
    assert count(warehouse, "alerts") == 2
    assert not look(warehouse, free.cursor).drain


def test_what_waits_is_told_with_what_keeps_it(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crypto_pipeline.monitoring.alerts.SPOOL_PATIENCE", timedelta(0))
    remember(warehouse, "c1", health(0))

    def said() -> str:
        found = look(warehouse).opened
        (alert,) = [a for a in found if a.kind == "waiting_spool"]
        return alert.message

    warehouse.write(batch("c2", price("alpha", "BTC", 1, "c2")), hurry=lambda: True)
    with held(warehouse.path):
        assert "is held by another program" in said()
    assert said().endswith("it can be written now, and they will be")
    with warehouse.connect() as connection:
        connection.execute("UPDATE schema_migrations SET version = 1")
        connection.execute("DROP TABLE data_collections")
        connection.execute("CREATE VIEW data_collections AS SELECT 1 AS mine")
    warehouse.write(batch("c3", price("alpha", "BTC", 1, "c3")))
    assert "Something of your own is in the way" in said()
    warehouse.path.write_bytes(b"rubbish" * 9999)
    assert "is not a DuckDB file" in said()


def test_a_first_look_at_a_locked_file_forgets_no_alert(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crypto_pipeline.monitoring.alerts.SPOOL_PATIENCE", timedelta(0))
    remember(warehouse, "c1", health(0, "open"))
    assert kinds(look(warehouse)) == [("open_circuit", ENDPOINT.id)]
    with held(warehouse.path):
        warehouse.write(batch("c2", price("alpha", "BTC", 1, "c2")))
        locked = look(warehouse, None)
    assert kinds(locked) == [("waiting_spool", str(warehouse.spool))]
    free = look(warehouse, locked.cursor)
    assert kinds(free) == []
    remember(warehouse, "c3", health(0))
    over = look(warehouse, free.cursor)
    assert sorted(alert.kind for alert in over.closed) == ["open_circuit", "waiting_spool"]
    assert warehouse.query("SELECT count(*), count(closed_at) FROM alerts") == [(2, 2)]


def test_a_file_that_cannot_be_read_through_is_an_alert(warehouse: Warehouse) -> None:
    for n in range(3):
        remember(warehouse, f"c{n}", *(health(n) for n in range(3)))
    size = warehouse.path.stat().st_size
    with warehouse.path.open("r+b") as file:
        for at in range(20_000, size, 500):
            file.seek(at)
            file.write(b"rubbish")
    assert [kind for kind, _ in kinds(look(warehouse))] == ["database"]


def test_no_url_is_ever_shown(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CRYPTO_PIPELINE_ALERT_URL", "nonsense://s3cr3t@nowhere")
    remember(warehouse, "c1", health(30))
    look(warehouse)
    said = [r.getMessage() for r in caplog.records if r.name.startswith("crypto_pipeline")]
    assert said
    assert not any("s3cr3t" in words for words in said)


def test_the_optional_extra_is_named_when_it_is_missing(
    warehouse: Warehouse,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "apprise", None)
    monkeypatch.setenv("CRYPTO_PIPELINE_ALERT_URL", "json://127.0.0.1:9")
    remember(warehouse, "c1", health(30))
    assert look(warehouse).opened
    assert "pip install --require-hashes -r locked/alerts.txt" in caplog.text


# The clock, silence, faults


def set_back(text: str, **span: float) -> str:
    """A cursor whose last look is that much later."""
    cursor = alerts.Cursor.read(text)
    assert cursor.looked_at
    cursor.looked_at += timedelta(**span)
    return cursor.write()


@pytest.mark.parametrize("span", [{"days": 1}, {"days": -1}, {"days": 366}, {"minutes": 6}])
def test_a_clock_that_was_set_is_an_alert(warehouse: Warehouse, span: dict[str, float]) -> None:
    remember(warehouse, "c1", health(0))
    first = look(warehouse)
    assert kinds(first) == []
    later = look(warehouse, set_back(first.cursor, **span))
    assert kinds(later) == [("clock", "set")]
    assert [alert.kind for alert in look(warehouse, later.cursor).closed] == ["clock"]


def test_a_clock_that_goes_on_is_none(warehouse: Warehouse) -> None:
    remember(warehouse, "c1", health(0))
    cursor = look(warehouse).cursor
    for minutes in (1, -1, 3):
        assert kinds(look(warehouse, set_back(cursor, minutes=minutes))) == []


def test_endpoints_asked_in_the_future_are_an_alert_until_they_are_asked_again(
    warehouse: Warehouse,
) -> None:
    remember(warehouse, "c1", health(-400 * 24))
    first = look(warehouse)
    assert ("clock", "ahead") in kinds(first)
    remember(warehouse, "c2", health(0))
    assert "clock" in {alert.kind for alert in look(warehouse, first.cursor).closed}


@pytest.mark.parametrize(("due", "expected"), [(True, 1), (False, 0)])
def test_when_nobody_was_asked_for_an_hour_that_is_an_alert(
    warehouse: Warehouse, due: bool, expected: int
) -> None:
    remember(warehouse, "c1", health(61))
    silent = ("not_asking", "schedules")
    found = alerts.check(
        warehouse, None, warehouse.path.parent, collecting=True, overdue=lambda since, now: due
    )
    assert kinds(found).count(silent) == expected
    off = alerts.check(
        warehouse, None, warehouse.path.parent, collecting=False, overdue=lambda since, now: due
    )
    assert silent not in kinds(off)


def test_a_fault_of_ours_is_an_alert(warehouse: Warehouse) -> None:
    row = health(0).model_copy(update={"outcome": "fault", "reason": "a fault of ours: here"})
    remember(warehouse, "c1", row)
    (alert,) = look(warehouse).opened
    assert (alert.kind, alert.subject, alert.severity) == ("fault", ENDPOINT.id, "critical")
