"""The watch: what is wrong now, opened once as an alert, closed when it is over, and told.

Owns: the conditions, and the life of an alert.
Must not know: Dagster.
"""

import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import TypeAdapter

from crypto_pipeline import settings
from crypto_pipeline.sources import SOURCES
from crypto_pipeline.tables import Alert, Row, SystemMetrics
from crypto_pipeline.warehouse import Damaged, Locked, Warehouse, WarehouseError
from crypto_pipeline.warehouse.agreed_view import TOLERANCE

METRICS_EVERY = timedelta(minutes=5)
SPOOL_PATIENCE = timedelta(minutes=2)
DRAIN_EVERY = timedelta(minutes=5)

STALE = {"ui": timedelta(minutes=20), "historical": timedelta(minutes=60)}
"""After how long without a good answer a table is stale, unless its sources are asked less often
than twice in that time."""

MANY_REJECTS = 10
MANY_COINS = 5
MUCH_DISAGREEMENT = 0.25
"""A source disagrees when this part of its coins, and MANY_COINS of them, are off the median."""

BIG_COINS = 20
"""Coins, by market capitalisation, whose price is watched one by one."""

Severity = Literal["critical", "warning"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wrong:
    """Something that is wrong now."""

    kind: str
    subject: str
    severity: Severity
    message: str


@dataclass(slots=True)
class Cursor:
    """The watch between two rounds: alerts that are open, those the file does not have yet, and
    when metrics were taken and a drain was asked for last.

    Alerts live here and not in the file alone, so that a locked file is told of too.
    """

    open: dict[str, Alert] = field(default_factory=dict)
    unwritten: list[Alert] = field(default_factory=list)
    measured_at: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    drained_at: datetime = datetime(1970, 1, 1, tzinfo=UTC)

    @classmethod
    def read(cls, text: str | None) -> Self | None:
        return TypeAdapter(cls).validate_json(text) if text else None

    def write(self) -> str:
        return TypeAdapter(type(self)).dump_json(self).decode()


@dataclass(slots=True)
class Round:
    """What one round of the watch found: what opened, what closed, whether the spool can go."""

    opened: list[Alert] = field(default_factory=list)
    closed: list[Alert] = field(default_factory=list)
    drain: bool = False
    cursor: str = ""


def watch(warehouse: Warehouse, text: str | None, home: Path, *, collecting: bool) -> Round:
    """Look once. Never raises for a file that cannot be read: that is one of the things to tell.

    `collecting` says whether schedules are on: tables that nobody fills on purpose are not stale.
    """
    now = datetime.now(UTC)
    cursor = Cursor.read(text)
    wrong = list(_around(warehouse))
    unknown: set[str] = set()
    metrics: list[SystemMetrics] = []
    try:
        if warehouse.path.exists():
            with warehouse.connect(read_only=True) as connection:
                if cursor is None:
                    cursor = Cursor(open=_still_open(connection))
                wrong += _inside(connection, now, collecting=collecting)
                if now - cursor.measured_at >= METRICS_EVERY:
                    metrics.append(_measure(connection, warehouse, home, now))
    except Locked:
        unknown |= _SEEN_INSIDE
    except Damaged as problem:
        wrong.append(Wrong("database", str(warehouse.path), "critical", str(problem)))
        unknown |= _SEEN_INSIDE - {"database"}
    cursor = cursor or Cursor()
    found = _compare(cursor, wrong, unknown, now)
    _tell(cursor, found, now)
    for row in metrics:
        row.open_alerts = len(cursor.open)
    _write(warehouse, cursor, metrics)
    locked = bool(unknown)
    if not locked and warehouse.waiting() and now - cursor.drained_at >= DRAIN_EVERY:
        cursor.drained_at = now
        found.drain = True
    found.cursor = cursor.write()
    return found


def _write(warehouse: Warehouse, cursor: Cursor, metrics: Sequence[SystemMetrics]) -> None:
    """Into the file what it does not have; while it cannot be written the cursor keeps it."""
    rows: list[Row] = [*cursor.unwritten, *metrics]
    if not rows or not warehouse.path.exists():
        return
    try:
        warehouse.record(rows)
    except WarehouseError:
        return
    cursor.unwritten = []
    if metrics:
        cursor.measured_at = metrics[0].measured_at


# The life of an alert


def _compare(cursor: Cursor, wrong: Sequence[Wrong], unknown: set[str], now: datetime) -> Round:
    """Open what is new, close what is over; what could not be looked at stays as it is."""
    found = Round()
    seen = {f"{w.kind} {w.subject}": w for w in wrong}
    for name, w in seen.items():
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
        if name not in seen and alert.kind not in unknown:
            alert.closed_at = now
            found.closed.append(cursor.open.pop(name))
    changed = {id(alert): alert for alert in (*cursor.unwritten, *found.opened, *found.closed)}
    cursor.unwritten = _latest(changed.values())
    return found


def _latest(alerts: Any) -> list[Alert]:
    """One row of each alert, the newest: opened and closed while the file was locked is one."""
    by_key = {(a.kind, a.subject, a.opened_at): a for a in alerts}
    return list(by_key.values())


def _tell(cursor: Cursor, found: Round, now: datetime) -> None:
    """Tell of what opened and has not been told, and of the end of what was told."""
    urls = settings.alert_urls()
    untold = [a for a in cursor.open.values() if a.notified_at is None]
    over = [a for a in found.closed if a.notified_at]
    if not urls or not (untold or over):
        return
    lines = [f"{a.severity}: {a.kind} {a.subject}: {a.message}" for a in untold]
    lines += [f"over: {a.kind} {a.subject}" for a in over]
    if notify(urls, lines):
        for alert in untold:
            alert.notified_at = now
        cursor.unwritten = _latest([*cursor.unwritten, *untold])


def notify(urls: Sequence[str], lines: Sequence[str]) -> bool:
    """Send one message to every URL; False when none took it. Never raises, never shows a URL."""
    try:
        import apprise  # noqa: PLC0415  (an optional extra)
    except ImportError:
        log.warning("CRYPTO_PIPELINE_ALERT_URL is set: pip install 'crypto-pipeline[alerts]'")
        return False
    sender = apprise.Apprise()
    for url in urls:
        if not sender.add(url):
            log.warning("CRYPTO_PIPELINE_ALERT_URL holds a URL that apprise does not know")
    critical = any(line.startswith("critical") for line in lines)
    kind = apprise.NotifyType.FAILURE if critical else apprise.NotifyType.WARNING
    title = f"crypto_pipeline: {len(lines)} {'change' if len(lines) == 1 else 'changes'}"
    return bool(sender.notify(body="\n".join(lines), title=title, notify_type=kind))


def _still_open(connection: Any) -> dict[str, Alert]:
    """Alerts the file has open, for a watch that remembers nothing."""
    if not _has(connection, Alert.table.name):
        return {}
    names = Alert.table.column_names
    listed = ", ".join(f'"{n}"' for n in names)
    rows = connection.execute(f"SELECT {listed} FROM alerts WHERE closed_at IS NULL").fetchall()
    alerts = [Alert.model_validate(dict(zip(names, row, strict=True))) for row in rows]
    return {f"{a.kind} {a.subject}": a for a in alerts}


def _has(connection: Any, table: str) -> bool:
    found = connection.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = ?", [table])
    return found.fetchone() is not None


# What can be wrong


def _around(warehouse: Warehouse) -> Iterator[Wrong]:
    """What is seen without opening the file: the spool and the disk."""
    waiting = warehouse.waiting()
    if waiting:
        since = datetime.fromtimestamp(waiting[0].stat().st_mtime, UTC)
        if datetime.now(UTC) - since > SPOOL_PATIENCE:
            yield Wrong(
                "waiting_spool",
                str(warehouse.spool),
                "warning",
                f"{len(waiting)} collections wait for the database since {since:%d %b %H:%M} UTC: "
                "another program may hold it",
            )
    if warehouse.path.parent.exists():
        free = shutil.disk_usage(warehouse.path.parent).free
        if free < settings.least_free_bytes():
            yield Wrong(
                "disk_full",
                str(warehouse.path.parent),
                "critical",
                f"{free / 2**30:.1f} GiB are free",
            )


_SEEN_INSIDE = {"stale_table", "open_circuit", "many_rejects", "price_disagreement", "database"}


def _inside(connection: Any, now: datetime, *, collecting: bool) -> Iterator[Wrong]:
    """What the file tells of tables, endpoints and prices."""
    if not _has(connection, "source_health"):
        return
    known = connection.execute(
        "SELECT endpoint, circuit, outcome, reason, succeeded_at, next_allowed_at "
        "FROM source_health"
    ).fetchall()
    if collecting:
        yield from _stale(known, now)
    declared = {e.id for s in SOURCES.values() for e in s.endpoints}
    for endpoint, circuit, outcome, reason, _, until in known:
        if circuit == "open" and endpoint in declared:
            yield Wrong(
                "open_circuit",
                endpoint,
                "warning",
                f"{outcome}: {reason}; resting until {until:%d %b %H:%M} UTC",
            )
    yield from _rejects(connection, now)
    yield from _disagreements(connection)


def _stale(known: Sequence[tuple[Any, ...]], now: datetime) -> Iterator[Wrong]:
    """Tables without a good answer for longer than their sources' own beat explains."""
    succeeded = {row[0]: row[4] for row in known}
    fed: dict[str, list[Any]] = {}
    for source in SOURCES.values():
        for endpoint in source.endpoints:
            if endpoint.id in succeeded:
                fed.setdefault(endpoint.table.table.name, []).append(endpoint)
    for table, endpoints in fed.items():
        beat = min(endpoint.min_interval for endpoint in endpoints)
        patience = max(STALE[endpoints[0].table.table.group], 2 * beat)
        last = max((succeeded[e.id] for e in endpoints if succeeded[e.id]), default=None)
        if last is None:
            yield Wrong("stale_table", table, "critical", "no source has ever answered well")
        elif now - last > patience:
            yield Wrong(
                "stale_table",
                table,
                "critical",
                f"no source has answered well since {last:%d %b %H:%M} UTC",
            )


def _rejects(connection: Any, now: datetime) -> Iterator[Wrong]:
    """Endpoints that sent more records to the quarantine than to their table, in an hour."""
    found = connection.execute(
        "SELECT endpoint, sum(rejects) AS rejects, sum(rows) FROM data_collections "
        "WHERE started_at > ? GROUP BY endpoint "
        f"HAVING sum(rejects) >= {MANY_REJECTS} AND sum(rejects) > sum(rows) ORDER BY endpoint",
        [now - timedelta(hours=1)],
    )
    for endpoint, rejects, rows in found.fetchall():
        yield Wrong(
            "many_rejects",
            endpoint,
            "warning",
            f"{rejects} records were refused and {rows} accepted in an hour: see rejected_rows",
        )


def _disagreements(connection: Any) -> Iterator[Wrong]:
    """Sources that are often off the agreed price, and big coins no two voices agree about."""
    off = f"{TOLERANCE:.0%}"
    found = connection.execute(
        """
        WITH off AS (
            SELECT split_part(unnest(rejected), ' ', 1) AS source FROM cached_market_data
        ), agreed AS (
            SELECT unnest(string_split(provider, ',')) AS source FROM cached_market_data
        ), counted AS (
            SELECT source, count(*) AS coins, 0 AS off FROM agreed GROUP BY source
            UNION ALL SELECT source, 0, count(*) FROM off GROUP BY source
        )
        SELECT source, sum(off), sum(coins) + sum(off) FROM counted GROUP BY source
        HAVING sum(off) >= ? AND sum(off) > ? * (sum(coins) + sum(off)) ORDER BY source
        """,
        [MANY_COINS, MUCH_DISAGREEMENT],
    )
    for source, count, coins in found.fetchall():
        words = f"{count} of its {coins} prices are more than {off} off the others'"
        yield Wrong("price_disagreement", source, "warning", words)
    found = connection.execute(
        "SELECT symbol, sources, len(rejected) FROM (SELECT * FROM cached_market_data "
        f"ORDER BY market_cap DESC NULLS LAST LIMIT {BIG_COINS}) WHERE len(rejected) >= sources"
    )
    for symbol, sources, rejected in found.fetchall():
        words = f"{rejected} sources are more than {off} off the {sources} that agree"
        yield Wrong("price_disagreement", symbol, "warning", words)


# Metrics


def _measure(connection: Any, warehouse: Warehouse, home: Path, now: datetime) -> SystemMetrics:
    endpoints = resting = failing = requests = failures = 0
    latency = None
    if _has(connection, "source_health"):
        endpoints, failing, resting = connection.execute(
            "SELECT count(*), count(*) FILTER (consecutive_failures > 0), "
            "count(*) FILTER (circuit = 'open') FROM source_health"
        ).fetchone()
        requests, failures, latency = connection.execute(
            "SELECT count(*), count(*) FILTER (status IS NULL OR status >= 400), "
            "round(median(latency_ms), 1) FROM connection_attempts WHERE started_at > ?",
            [now - timedelta(hours=1)],
        ).fetchone()
    disk = shutil.disk_usage(warehouse.path.parent)
    return SystemMetrics(
        measured_at=now,
        database_bytes=warehouse.path.stat().st_size,
        spool_collections=len(warehouse.waiting()),
        history_bytes=_size(home / "history") + _size(home / "schedules") + _size(home / "storage"),
        disk_free_bytes=disk.free,
        disk_total_bytes=disk.total,
        load_1m=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        endpoints_known=endpoints,
        endpoints_failing=failing,
        endpoints_resting=resting,
        requests_1h=requests,
        failures_1h=failures,
        latency_ms_1h=latency,
        open_alerts=0,
    )


def _size(folder: Path) -> int:
    """Bytes of the files below; one that goes away meanwhile counts for nothing."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(place) / name).stat().st_size
            except FileNotFoundError:
                continue
    return total
