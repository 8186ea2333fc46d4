"""Answers that come one after another: what a day of them takes when it is kept, and how long it
takes to read a thousand collections again."""

import gzip
import json
import os
import random
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from crypto_pipeline import settings
from crypto_pipeline.collection.collect import collect
from crypto_pipeline.collection.exchange import Answer
from crypto_pipeline.collection.keeper import Keeper
from crypto_pipeline.collection.kept_answers import Amount, Brought, KeptAnswers, beside
from crypto_pipeline.collection.rebuild import rebuild
from crypto_pipeline.sources import ENDPOINTS
from crypto_pipeline.sources.spec import GAP_S, Ask, Endpoint
from crypto_pipeline.tables import DATA, Row
from crypto_pipeline.warehouse import Warehouse
from crypto_pipeline_tests.upstream import RECORDINGS, Received, Reply, Samples, Upstream

MOVED = 0.6
"""The part of an answer's numbers that are another one in the next answer, five minutes later."""

BY = 0.001
"""By how much, of themselves: the deviation of the changes."""

A_TABLE = 3
"""Endpoints of each table in the collections that are rebuilt."""

COINS = ("BTC", "ETH")
"""The coins of these collections: few, so that they are asked for one by one too."""

_DECIMAL = re.compile(rb"(?<![\w.])(\d+\.\d+)(?![\w.])")
_MOMENT = re.compile(rb"(?<![\w.])(1[5-9]\d{8})(\d{3})?(?![\w.])")


def moved(body: bytes, chance: random.Random, moment: bool = True) -> bytes:
    """A body as it may be five minutes later: most of its decimal numbers a little different, its
    times later. Nobody has a day of real ones; the shapes and the first numbers are real."""

    def number(found: re.Match[bytes]) -> bytes:
        text = found[1]
        if chance.random() > MOVED:
            return text
        decimals = len(text.partition(b".")[2])
        return b"%.*f" % (decimals, float(text) * (1 + chance.gauss(0, BY)))

    def later(found: re.Match[bytes]) -> bytes:
        return b"%d%s" % (int(found[1]) + 300, found[2] or b"")

    body = _DECIMAL.sub(number, body)
    return _MOMENT.sub(later, body) if moment else body


def recorded() -> dict[str, bytes]:
    """The largest recorded body of each source and table."""
    found: dict[str, bytes] = {}
    for index in sorted(RECORDINGS.glob("index-*.jsonl")):
        for line in index.read_text(encoding="utf-8").splitlines():
            about = json.loads(line)
            file = RECORDINGS / about["file"]
            if about.get("status") == 200 and file.exists():
                name = f"{about['source']}.{about['table']}"
                body = file.read_bytes()
                if len(body) > len(found.get(name, b"")):
                    found[name] = body
    return found


@dataclass(frozen=True, slots=True)
class Day:
    """What a day of answers is on the wire, and kept."""

    endpoints: int
    kept: Amount
    on_the_wire: int
    file_bytes: int
    seconds: float


def day(folder: Path, answers: int = 288) -> Day:
    """A day of every recorded body: so many answers each, one after another, kept as collections
    keep them."""
    keeping = replace(_keeping(), most_bytes=2**40)
    kept = KeptAnswers(folder / "day.answers", keeping)
    chance = random.Random(1)  # the same day each time
    bodies = recorded()
    endpoint = next(iter(ENDPOINTS.values()))
    wire, spent = 0, 0.0
    start = datetime(2026, 11, 23, tzinfo=UTC)
    for n in range(answers):
        at = start + n * timedelta(days=1) / answers
        if n % 24 == 0:  # a twenty-fourth of the answers stands for all: gzip is slow
            wire += 24 * sum(len(gzip.compress(body, 6)) for body in bodies.values())
        began = time.perf_counter()
        with Keeper(kept) as keeper:
            brought = []
            for name, body in bodies.items():
                packed = keeper.pack(endpoint, Ask(name), Answer(200, body, "", at))
                brought.append(Brought([packed] if packed else [], troubled=False))
            keeper.keep(f"c{n}", at, None, brought)
            assert keeper.problem is None, keeper.problem
        spent += time.perf_counter() - began
        bodies = {name: moved(body, chance) for name, body in bodies.items()}
    summary = kept.summary()
    return Day(len(bodies), summary.whole, wire, summary.file_bytes, spent)


def _keeping() -> settings.Keeping:
    keeping = settings.keeping()
    assert keeping, f"{settings.answers_bytes.name} is 0"
    return keeping


class Moving:
    """The samples, with numbers of their own in every answer."""

    def __init__(self) -> None:
        self._samples = Samples()
        self._chance = random.Random(2)

    def reply(self, request: Received) -> Reply | None:
        reply = self._samples.reply(request)
        return reply and replace(reply, body=moved(reply.body, self._chance, moment=False))


def some_endpoints() -> dict[type[Row], list[Endpoint]]:
    """Some endpoints of every table: a request or two each, of hosts that want no long pauses."""
    found: dict[type[Row], list[Endpoint]] = defaultdict(list)
    hosts: set[str] = set()
    for endpoint in ENDPOINTS.values():
        host = endpoint.url.split("/")[2]
        some = found[endpoint.model]
        few = len(endpoint.asks(COINS)) <= len(COINS) and endpoint.source.gap <= GAP_S
        if few and not endpoint.key and host not in hosts and len(some) < A_TABLE:
            some.append(endpoint)
            hosts.add(host)
    return {model: endpoints for model, endpoints in found.items() if endpoints}


@dataclass(frozen=True, slots=True)
class Again:
    """A table rebuilt: seconds, what stayed, and what did not."""

    table: str
    seconds: float
    rows: int
    different: int
    identical: bool


def collected(folder: Path, collections: int, latency_s: float) -> tuple[Warehouse, float]:
    """So many collections, and the seconds they took."""
    warehouse = Warehouse(folder / "again.duckdb")
    among = [endpoint for endpoints in some_endpoints().values() for endpoint in endpoints]
    tables = [model.table.name for model in DATA]
    with Upstream(Moving(), delay=latency_s) as upstream:
        os.environ["CRYPTO_PIPELINE_UPSTREAM"] = upstream.url
        os.environ[settings.universe.name] = ",".join(COINS)
        began = time.perf_counter()
        for n in range(collections):
            done = collect(tables, f"c{n}", warehouse=warehouse, among=among, force=True)
            assert not done.failed, done.failed
            assert not done.unkept, done.unkept
        return warehouse, time.perf_counter() - began


def again(warehouse: Warehouse) -> Iterator[Again]:
    """Every table rebuilt from the beginning."""
    kept = KeptAnswers(beside(warehouse.path), _keeping())
    for model, endpoints in some_endpoints().items():
        before = _rows(warehouse, model)
        began = time.perf_counter()
        done = rebuild(
            model, endpoints, datetime(2020, 1, 1, tzinfo=UTC), datetime.now(UTC), warehouse, kept
        ).rebuilt
        seconds = time.perf_counter() - began
        different = done.changed + done.added + done.removed + done.rejects_gone + done.rejects_new
        same = before == _rows(warehouse, model)
        yield Again(model.table.name, seconds, done.same, different, same)


def _rows(warehouse: Warehouse, model: type[Row]) -> Mapping[str, object]:
    """What tells whether any bit of a table, or of its rejects, is another."""
    table = model.table.name
    hashed = "count(*), bit_xor(hash(x)), sum(hash(x)::HUGEINT)"
    (rows,) = warehouse.query(f"SELECT {hashed} FROM {table} x")
    (rejects,) = warehouse.query(f"SELECT {hashed} FROM rejected_rows x WHERE feeds = ?", [table])
    return {"rows": rows, "rejects": rejects}
