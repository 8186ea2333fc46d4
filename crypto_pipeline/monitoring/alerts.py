"""Alerts: what is wrong now, opened once, closed when it is over, and sent to whom it concerns.

Owns: the conditions, and the life of an alert.
Must not know: Dagster.
"""

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter

from crypto_pipeline import clock, settings
from crypto_pipeline.collection.freshness import window
from crypto_pipeline.collection.kept_answers import KeptAnswers, beside
from crypto_pipeline.sources import ENDPOINTS
from crypto_pipeline.sources.spec import Endpoint
from crypto_pipeline.tables import Alert, Row, SourceHealth, SystemMetrics
from crypto_pipeline.tables.market import TOLERANCE
from crypto_pipeline.tables.outcomes import FAULT
from crypto_pipeline.tables.worker import AlertKind, Severity
from crypto_pipeline.warehouse import (
    Connection,
    Locked,
    Outdated,
    Warehouse,
    WarehouseError,
    queries,
)
from crypto_pipeline.warehouse.layout import require_current

METRICS_EVERY = timedelta(minutes=5)
SPOOL_PATIENCE = timedelta(minutes=2)
DRAIN_EVERY = timedelta(minutes=5)

MANY_REJECTS = 10
MANY_COINS = 5
MUCH_DISAGREEMENT = 0.25
"""A source disagrees when this part of its coins, and MANY_COINS of them, are off the median."""

OFF_ITS_PEG = 0.01
BACK_AT_ITS_PEG = 0.005
"""How far from a dollar a stablecoin has lost its peg, and how near it has found it again: between
the two an alert stays as it is."""

MEASURED_WITHIN = timedelta(hours=1)
"""How old the rate of a stablecoin may be that an alert is about."""

SILENCE = timedelta(hours=1)
"""With schedules on somebody is asked every five minutes."""

BIG_COINS = 20
"""Coins, by market capitalisation, whose price is looked at one by one."""

NEVER = datetime.min.replace(tzinfo=UTC)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wrong:
    """Something that is wrong now."""

    kind: AlertKind
    subject: str
    severity: Severity
    message: str


@dataclass(slots=True)
class Cursor:
    """What is known between two rounds: alerts that are open, those the file does not have yet,
    when it was looked, and when metrics were taken and a drain was asked for last.

    uptime_s: the system's own count of seconds then, which no change of the clock touches.
    took_over: whether the alerts that were open in the file before the first round are among them.

    Alerts live here and not in the file alone, so that a locked file is an alert too.
    """

    open: dict[str, Alert] = field(default_factory=dict)
    unwritten: list[Alert] = field(default_factory=list)
    measured_at: datetime = NEVER
    drained_at: datetime = NEVER
    looked_at: datetime | None = None
    uptime_s: float | None = None
    took_over: bool = True

    @classmethod
    def read(cls, text: str | None) -> Self:
        return TypeAdapter(cls).validate_json(text) if text else cls(took_over=False)

    def take_over(self, alerts: Iterable[Alert]) -> None:
        """Go on with the alerts that the file has open; the same one found since is no other."""
        for alert in alerts:
            since = self.open.pop(_name(alert), None)
            self.unwritten = [a for a in self.unwritten if a != since]
            if since and alert.notified_at is None:
                alert.notified_at = since.notified_at
            self.open[_name(alert)] = alert
        self.took_over = True

    def write(self) -> str:
        return TypeAdapter(type(self)).dump_json(self).decode()


@dataclass(slots=True)
class Round:
    """What one round found: what opened, what closed, whether the spool can be drained."""

    opened: list[Alert] = field(default_factory=list)
    closed: list[Alert] = field(default_factory=list)
    drain: bool = False
    cursor: str = ""


Overdue = Callable[[datetime, datetime], bool]
"""Whether a collection was due between two moments; asked of the time since anybody was asked."""


def check(
    warehouse: Warehouse,
    text: str | None,
    home: Path,
    *,
    collecting: bool,
    overdue: Overdue | None = None,
) -> Round:
    """Look once, from the cursor that `text` holds. Never raises for a file that cannot be read:
    that is one of the things to say.

    home: Dagster's folder. collecting: whether schedules are on; tables that nobody fills on
    purpose are not stale. overdue: with what a silence of everybody is judged.
    """
    now = datetime.now(UTC)
    cursor = Cursor.read(text)
    wrong = list(_of_the_clock(cursor, now))
    unknown: frozenset[AlertKind] = frozenset()
    trouble: WarehouseError | None = None
    metrics: list[SystemMetrics] = []
    try:
        if warehouse.exists:
            with warehouse.reading() as connection:
                require_current(connection)
                if not cursor.took_over:
                    cursor.take_over(queries.open_alerts(connection))
                wrong += _in_the_file(connection, now, collecting, overdue)
                wrong += _depegs(connection, now, cursor)
                if _since(cursor.measured_at, now) >= METRICS_EVERY:
                    metrics.append(_measure(connection, warehouse, home, now))
    except (Locked, Outdated) as problem:
        trouble = problem
        unknown = _IN_THE_FILE
    except WarehouseError as problem:
        trouble = problem
        wrong.append(Wrong("database", str(warehouse.path), "critical", str(problem)))
        unknown = _IN_THE_FILE - {"database"}
    wrong += _beside_the_file(warehouse, trouble)
    return _end(warehouse, cursor, wrong, unknown, metrics, now)


def _end(
    warehouse: Warehouse,
    cursor: Cursor,
    wrong: Sequence[Wrong],
    unknown: frozenset[AlertKind],
    metrics: Sequence[SystemMetrics],
    now: datetime,
) -> Round:
    """Compare with what was wrong before, tell whom it concerns, and write it down."""
    found = _compare(cursor, wrong, unknown, now)
    _send(cursor, found, now)
    for row in metrics:
        row.open_alerts = len(cursor.open)
    _write(warehouse, cursor, metrics)
    cursor.looked_at, cursor.uptime_s = now, _uptime_s()
    if not unknown and warehouse.waiting() and _since(cursor.drained_at, now) >= DRAIN_EVERY:
        cursor.drained_at = now
        found.drain = True
    found.cursor = cursor.write()
    return found


def _since(moment: datetime, now: datetime) -> timedelta:
    """How long ago that was; for ever, when it is dated ahead."""
    return timedelta.max if clock.ahead(moment, now) else now - moment


def _name(about: "Alert | Wrong") -> str:
    """What an alert is told from others by, while it is open."""
    return f"{about.kind} {about.subject}"


def _write(warehouse: Warehouse, cursor: Cursor, metrics: Sequence[SystemMetrics]) -> None:
    """Into the file what it does not have; while it cannot be written the cursor keeps it."""
    rows: list[Row] = [*cursor.unwritten, *metrics]
    if not rows or not warehouse.exists:
        return
    try:
        warehouse.write_rows(rows)
    except WarehouseError:
        return
    cursor.unwritten = []
    if metrics:
        cursor.measured_at = metrics[0].measured_at


# The life of an alert


def _compare(
    cursor: Cursor, wrong: Sequence[Wrong], unknown: frozenset[AlertKind], now: datetime
) -> Round:
    """Open what is new, close what is over; what could not be looked at stays as it is."""
    found = Round()
    lasting = {_name(w): w for w in wrong}
    for name, w in lasting.items():
        if name not in cursor.open:
            alert = Alert(
                kind=w.kind,
                subject=w.subject,
                severity=w.severity,
                message=w.message,
                opened_at=now,
            )
            cursor.open[name] = alert
            found.opened.append(alert)
    for name, alert in list(cursor.open.items()):
        if name not in lasting and alert.kind not in unknown:
            alert.closed_at = now
            found.closed.append(cursor.open.pop(name))
    changed = {id(alert): alert for alert in (*cursor.unwritten, *found.opened, *found.closed)}
    cursor.unwritten = _latest(changed.values())
    return found


def _latest(alerts: Iterable[Alert]) -> list[Alert]:
    """One row of each alert, the newest: opened and closed while the file was locked is one."""
    by_key = {(a.kind, a.subject, a.opened_at): a for a in alerts}
    return list(by_key.values())


def _send(cursor: Cursor, found: Round, now: datetime) -> None:
    """Send what opened and has not been sent, and the end of what was sent."""
    urls = settings.alert_urls()
    unsent = [a for a in cursor.open.values() if a.notified_at is None]
    over = [a for a in found.closed if a.notified_at]
    if not urls or not (unsent or over):
        return
    lines = [f"{a.severity}: {_name(a)}: {a.message}" for a in unsent]
    lines += [f"over: {_name(a)}" for a in over]
    if notify(urls, lines, critical=any(a.severity == "critical" for a in unsent)):
        for alert in unsent:
            alert.notified_at = now
        cursor.unwritten = _latest([*cursor.unwritten, *unsent])


def notify(urls: Sequence[str], lines: Sequence[str], *, critical: bool) -> bool:
    """Send one message to every URL; False when none took it. Never raises, never shows a URL."""
    try:
        import apprise  # noqa: PLC0415  (an optional extra)
    except ImportError:
        log.warning(
            "%s is set without apprise: pip install --require-hashes -r locked/alerts.txt",
            settings.alert_urls.name,
        )
        return False
    sender = apprise.Apprise()
    for url in urls:
        if not sender.add(url):
            log.warning("%s holds a URL that apprise does not know", settings.alert_urls.name)
    kind = apprise.NotifyType.FAILURE if critical else apprise.NotifyType.WARNING
    title = f"crypto_pipeline: {len(lines)} {'change' if len(lines) == 1 else 'changes'}"
    return bool(sender.notify(body="\n".join(lines), title=title, notify_type=kind))


# What can be wrong


def _beside_the_file(warehouse: Warehouse, trouble: WarehouseError | None) -> Iterator[Wrong]:
    """What can be said beside the file, whatever trouble that gave: of the spool,
    the kept answers and the disk."""
    waiting = warehouse.waiting()
    since = _written_at(waiting[0]) if waiting else None
    if since and datetime.now(UTC) - since > SPOOL_PATIENCE:
        why = (None if isinstance(trouble, Outdated) else trouble) or warehouse.why_waiting
        yield Wrong(
            "waiting_spool",
            str(warehouse.spool),
            "warning",
            f"{len(waiting)} collections wait for the database since {since:%d %b %H:%M} UTC: "
            f"{why or trouble or 'it can be written now, and they will be'}",
        )
    for collection in warehouse.put_aside():
        message = "it cannot be read and is not in the database: remove it when nobody needs it"
        yield Wrong("waiting_spool", str(collection), "warning", message)
    if (keeping := settings.keeping()) and (
        why := (kept := KeptAnswers(beside(warehouse.path), keeping)).why_not
    ):
        yield Wrong("unkept_answers", str(kept.file), "warning", why)
    if _written_at(warehouse.path.parent):
        free = shutil.disk_usage(warehouse.path.parent).free
        if free < settings.least_free_bytes():
            yield Wrong(
                "disk_full",
                str(warehouse.path.parent),
                "critical",
                f"{free / 2**30:.1f} GiB are free",
            )


def _of_the_clock(cursor: Cursor, now: datetime) -> Iterator[Wrong]:
    """A clock that was set: against the last look, and against the system's count of seconds."""
    if cursor.looked_at is None:
        return
    went = now - cursor.looked_at
    uptime_s = _uptime_s()
    expected = timedelta()
    if uptime_s is not None and cursor.uptime_s is not None and uptime_s >= cursor.uptime_s:
        expected = timedelta(seconds=uptime_s - cursor.uptime_s)
    elif went >= -clock.AHEAD:
        return  # nobody counted meanwhile: the machine may have been off
    if abs(went - expected) > clock.AHEAD:
        yield Wrong(
            "clock",
            "set",
            "warning",
            f"it went from {clock.said(cursor.looked_at)} to {clock.said(now)} while "
            f"{expected.total_seconds():,.0f} s passed",
        )


def _uptime_s() -> float | None:
    """Seconds since the machine started, its sleep included; None where no system call tells."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else None


def _written_at(path: Path) -> datetime | None:
    """When a file or folder was written; None for one that is gone, or that we may not look at."""
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return None


_IN_THE_FILE: frozenset[AlertKind] = frozenset(
    {
        *("stale_table", "open_circuit", "many_rejects", "price_disagreement", "database"),
        *("depeg", "fault", "not_asking", "clock"),
    }
)
"""The kinds of which nothing is known while the file cannot be read."""


def _in_the_file(
    connection: Connection, now: datetime, collecting: bool, overdue: Overdue | None
) -> Iterator[Wrong]:
    """What the file says of tables, endpoints and prices."""
    if not queries.has(connection, SourceHealth.table.name):
        return
    states = [s for s in queries.endpoint_states(connection) if s.endpoint in ENDPOINTS]
    yield from _ahead(states, now)
    if collecting:
        yield from _stale(states, now)
    if collecting and overdue:
        yield from _silent(states, now, overdue)
    for state in states:
        if state.outcome == FAULT:
            yield Wrong("fault", state.endpoint, "critical", f"{state.reason}")
        if state.circuit == "open":
            yield Wrong(
                "open_circuit",
                state.endpoint,
                "warning",
                f"{state.outcome}: {state.reason}; "
                f"resting until {clock.said(state.next_allowed_at)}",
            )
    yield from _rejects(connection, now)
    yield from _disagreements(connection)


def _ahead(states: Sequence[queries.EndpointState], now: datetime) -> Iterator[Wrong]:
    """Endpoints that were asked at a time that is still to come."""
    ahead = [state.asked_at for state in states if clock.ahead(state.asked_at, now)]
    if ahead:
        yield Wrong(
            "clock",
            "ahead",
            "warning",
            f"{len(ahead)} endpoints were asked later than now, the last at "
            f"{clock.said(max(ahead))}: this clock is wrong or was; they count as never asked",
        )


def _silent(
    states: Sequence[queries.EndpointState], now: datetime, overdue: Overdue
) -> Iterator[Wrong]:
    """Nobody asked anybody, though schedules are on."""
    last = max((s.asked_at for s in states if not clock.ahead(s.asked_at, now)), default=None)
    if last and now - last > SILENCE and overdue(last, now):
        message = f"nothing was asked since {clock.said(last)}"
        yield Wrong("not_asking", "schedules", "critical", message)


def _stale(states: Sequence[queries.EndpointState], now: datetime) -> Iterator[Wrong]:
    """Tables without a good answer for longer than the intervals of those that were asked for them
    explain."""
    fed: dict[type[Row], list[tuple[Endpoint, datetime | None]]] = {}
    for state in states:
        endpoint = ENDPOINTS[state.endpoint]
        fed.setdefault(endpoint.model, []).append((endpoint, state.succeeded_at))
    for model, feeding in fed.items():
        table = model.table.name
        patience = window(model, (endpoint for endpoint, _ in feeding)).stale
        last = max((at for _, at in feeding if at and not clock.ahead(at, now)), default=None)
        if last is None:
            yield Wrong("stale_table", table, "critical", "no source has ever answered well")
        elif now - last > patience:
            message = f"no source has answered well since {clock.said(last)}"
            yield Wrong("stale_table", table, "critical", message)


def _rejects(connection: Connection, now: datetime) -> Iterator[Wrong]:
    """Endpoints that sent more records to the quarantine than to their table, in an hour."""
    hour_ago = now - timedelta(hours=1)
    for endpoint, rejects, rows in queries.mostly_rejected(connection, hour_ago, MANY_REJECTS):
        message = f"{rejects} records were refused and {rows} accepted in an hour"
        yield Wrong("many_rejects", endpoint, "warning", f"{message}: see rejected_rows")


def _disagreements(connection: Connection) -> Iterator[Wrong]:
    """Sources that are often off the agreed price, and big coins no two voices agree about."""
    off = f"{TOLERANCE:.0%}"
    sources = queries.disagreeing_sources(connection, MANY_COINS, MUCH_DISAGREEMENT)
    for source, count, coins in sources:
        message = f"{count} of its {coins} prices are more than {off} off the others'"
        yield Wrong("price_disagreement", source, "warning", message)
    for symbol, agreeing, others in queries.disputed_coins(connection, BIG_COINS):
        message = f"{others} sources are more than {off} off the {agreeing} that agree"
        if not agreeing:
            message = f"no price: {others} sources disagree and nothing decides between them"
        yield Wrong("price_disagreement", symbol, "warning", message)


def _depegs(connection: Connection, now: datetime, cursor: Cursor) -> Iterator[Wrong]:
    """Stablecoins that venues pay much less or more than a dollar for."""
    for peg in queries.pegs(connection, now - MEASURED_WITHIN, now):
        wrong = Wrong(
            "depeg",
            peg.symbol,
            "critical",
            f"{peg.voices} independent venues pay {peg.rate_usd:.4f} USD for it",
        )
        bound = BACK_AT_ITS_PEG if _name(wrong) in cursor.open else OFF_ITS_PEG
        if abs(peg.rate_usd - 1) > bound:
            yield wrong


# Metrics


def _measure(
    connection: Connection, warehouse: Warehouse, home: Path, now: datetime
) -> SystemMetrics:
    measured = queries.measures(connection, now - timedelta(hours=1))
    disk = shutil.disk_usage(warehouse.path.parent)
    return SystemMetrics(
        measured_at=now,
        database_bytes=warehouse.path.stat().st_size,
        spool_collections=len(warehouse.waiting()),
        history_bytes=history_bytes(home),
        disk_free_bytes=disk.free,
        disk_total_bytes=disk.total,
        load_1m=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        endpoints_known=measured.endpoints_known,
        endpoints_failing=measured.endpoints_failing,
        endpoints_resting=measured.endpoints_resting,
        requests_1h=measured.requests,
        failures_1h=measured.failures,
        latency_ms_1h=measured.latency_ms,
        open_alerts=0,
    )


def history_bytes(home: Path) -> int:
    """What Dagster keeps in its folder; a file that goes away meanwhile counts for nothing."""
    total = 0
    for name in ("history", "schedules", "storage"):
        for place, _, files in os.walk(home / name):
            for file in files:
                try:
                    total += (Path(place) / file).stat().st_size
                except FileNotFoundError:
                    continue
    return total
