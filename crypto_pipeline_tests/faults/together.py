"""One host under one kind while all the others are well: whole collections into a real file."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from crypto_pipeline.collection.collect import collect
from crypto_pipeline.collection.limits import Limits
from crypto_pipeline.collection.log_file import log_of
from crypto_pipeline.sources import ENDPOINTS, SOURCES, Endpoint
from crypto_pipeline.tables import TABLES
from crypto_pipeline.warehouse import Warehouse
from crypto_pipeline_tests.faults.kinds import HONEST, Kind, reads

LIMITS = Limits(connect_s=4.0, read_s=4.0, deadline_s=8.0, grace_s=2.0)
COLLECTED = sorted({e.model.table.name for e in ENDPOINTS.values()} | {"cached_market_data"})

DAY_S = 86_400.0
MOST_MB = 600.0
MOST_S = 90.0
"""A collection takes no more, whatever hosts send."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How one endpoint ended, as the file tells it. wait_s: until when it is left alone."""

    outcome: str
    records: int
    rows: int
    left_out: int
    rejects: int
    wait_s: float | None = None


@dataclass(slots=True)
class Told:
    """What a file tells of one collection. landed: rows by table and source. logged: outcome and
    rows by endpoint, from the log."""

    ended: dict[str, Ended] = field(default_factory=dict)
    landed: dict[tuple[str, str], int] = field(default_factory=dict)
    logged: dict[str, tuple[str, int]] = field(default_factory=dict)
    failed: str | None = None


def settings(upstream: str, database: Path) -> dict[str, str]:
    """The variables under which a collection asks everybody at the upstream, with keys."""
    keys = {s.key.env: "KEY-OF-THE-CAMPAIGN" for s in SOURCES.values() if s.key}
    return keys | {
        "CRYPTO_PIPELINE_UPSTREAM": upstream,
        "CRYPTO_PIPELINE_DATABASE": str(database),
        "CRYPTO_PIPELINE_UNIVERSE": "all",
        "CRYPTO_PIPELINE_LOG": "json",
        "CRYPTO_PIPELINE_ANSWERS_GB": "1",
    }


def collection(database: str, name: str, limits: Limits = LIMITS) -> Told:
    """Collect everything, and read what the file and the log tell of it."""
    warehouse = Warehouse(Path(database))
    failed = collect(COLLECTED, name, warehouse=warehouse, limits=limits, force=True).failed
    told = read(warehouse, name)
    told.failed = failed
    return told


def read(warehouse: Warehouse, name: str) -> Told:
    told = Told()
    sql = """
        SELECT d.endpoint, d.outcome, d.records, d.rows, d.left_out, d.rejects,
            epoch(h.next_allowed_at) - epoch(h.asked_at)
        FROM data_collections d LEFT JOIN source_health h USING (endpoint)
        WHERE d.collection_id = ?
    """
    told.ended = {row[0]: Ended(*row[1:]) for row in warehouse.query(sql, [name])}
    for model in TABLES.values():
        table = model.table
        if {"source", "collection_id"} <= set(table.column_names):
            counts = f"SELECT source, count(*) FROM {table.name} WHERE collection_id = ? GROUP BY 1"
            for source, count in warehouse.query(counts, [name]):
                told.landed[table.name, source] = count
    for line in log_of(warehouse.path).read_text(encoding="utf-8").splitlines():
        about = json.loads(line)
        if about["collection"] == name:
            told.logged[about["endpoint"]] = about["outcome"], about["rows"]
    return told


# Who misbehaves


def host_of(endpoint: Endpoint) -> str:
    return urlsplit(endpoint.url).netloc


Seats = Mapping[str, list[Endpoint]]


def seats(clean: Told) -> Seats:
    """Those that answered well in a clean collection."""
    found: dict[str, list[Endpoint]] = {"json": [], "feed": [], "rpc": [], "each": [], "pool": []}
    for name, ended in clean.ended.items():
        endpoint = ENDPOINTS[name]
        if ended.outcome == "ok" and ended.rows and not (endpoint.key and endpoint.key.path):
            kind: str = reads(endpoint)
            if kind == "json":
                kind = "each" if endpoint.each else "pool" if endpoint.pool else "json"
            found[kind].append(endpoint)
    return found


# What is right


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was not right of one collection, by what it concerns."""

    right: bool
    others: bool
    words: tuple[str, ...] = ()


def judge(kind: Kind, seat: Endpoint, clean: Told, told: Told) -> Verdict:
    """Compare a collection with a clean one."""
    own = tuple(_of_the_hostile(kind, seat, clean, told))
    others = tuple(_of_the_others(seat, clean, told))
    return Verdict(not own, not others, own + others)


def _of_the_hostile(kind: Kind, seat: Endpoint, clean: Told, told: Told) -> Iterator[str]:
    ended, honest = told.ended.get(seat.id), clean.ended[seat.id]
    if ended is None:
        yield f"{seat.id}: nothing is told of it"
        return
    if kind.right == HONEST:
        if (ended.outcome, ended.rows) != (honest.outcome, honest.rows):
            yield f"{seat.id}: {ended.outcome} with {ended.rows} of {honest.rows} rows"
    elif ended.outcome not in kind.right:
        yield f"{seat.id}: {ended.outcome} where {', '.join(sorted(kind.right))} is right"
    if kind.kept and not ended.rows:
        yield f"{seat.id}: no rows kept"
    if kind.wait_s is not None:
        waited = ended.wait_s or 0.0
        longest = max(DAY_S, seat.min_interval.total_seconds()) + 3600
        if not kind.wait_s <= waited <= longest:
            yield f"{seat.id}: left alone for {waited:,.0f} s"


def _of_the_others(seat: Endpoint, clean: Told, told: Told) -> Iterator[str]:
    hostile = host_of(seat)
    touched = [e for e in ENDPOINTS.values() if host_of(e) == hostile]
    pools = {e.pool for e in touched if e.pool}
    with_it = {e.id for e in ENDPOINTS.values() if host_of(e) == hostile or e.pool in pools}
    sources = {ENDPOINTS[name].source.name for name in with_it}
    for name, wanted in clean.ended.items():
        found = told.ended.get(name)
        if found is None:
            yield f"{name}: nothing is told of it"
        elif name not in with_it and found.rows < wanted.rows:
            yield f"{name}: {found.rows} of {wanted.rows} rows, {found.outcome}"
    for (table, source), count in clean.landed.items():
        if source not in sources and told.landed.get((table, source), 0) < count:
            yield f"{table}: {told.landed.get((table, source), 0)} of {count} rows of {source}"
    yield from account(told)


def account(told: Told) -> Iterator[str]:
    """Every record is a row, left out or refused, and the log says what the file says."""
    for name, ended in told.ended.items():
        if ended.rows + ended.left_out + ended.rejects != ended.records:
            yield f"{name}: {ended.records} records are not all accounted for"
    for name, said in told.logged.items():
        kept = told.ended.get(name)
        if kept and said != (kept.outcome, kept.rows):
            yield f"{name}: the log says {said}, the file {(kept.outcome, kept.rows)}"
