"""Answers as they came, kept: each once, small, bounded, whole or not at all, without keys."""

import json
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from crypto_pipeline.collection import kept_answers
from crypto_pipeline.collection.collect import collect
from crypto_pipeline.collection.exchange import Answer
from crypto_pipeline.collection.keeper import Keeper
from crypto_pipeline.collection.kept_answers import Brought, KeptAnswers, KeptCollection, beside
from crypto_pipeline.collection.results import Collection
from crypto_pipeline.monitoring import alerts
from crypto_pipeline.orchestration import maintenance
from crypto_pipeline.settings import Keeping
from crypto_pipeline.sources.spec import Ask, Endpoint, Key
from crypto_pipeline.warehouse import Damaged, TooNew, Warehouse
from crypto_pipeline_tests.conftest import Canned, coins, source
from crypto_pipeline_tests.test_nothing_lost import small_disk
from crypto_pipeline_tests.test_warehouse import count
from crypto_pipeline_tests.upstream import Rule, Upstream

__all__ = ["small_disk"]

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
EVER = (datetime(1990, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
KEEPING = Keeping(timedelta(days=2), timedelta(days=30), 2**30)
ENDPOINT = source("good")


@pytest.fixture
def kept(tmp_path: Path) -> KeptAnswers:
    return KeptAnswers(tmp_path / "x.answers", KEEPING)


def body(seed: int, size: int = 500) -> bytes:
    """Prices: of two seeds most say something else."""
    chance = random.Random(7)
    mine = random.Random(seed)
    rows = [
        {"id": f"coin-{n}-{chance.random()}", "price": round(mine.random(), 6)} for n in range(size)
    ]
    return json.dumps(rows).encode()


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def write(
    kept: KeptAnswers,
    name: str,
    *bodies: bytes,
    at: datetime = NOW,
    troubled: bool = False,
    each: str = "",
    universe: frozenset[str] | None = None,
) -> None:
    with Keeper(kept) as keeper:
        packed = [
            keeper.pack(ENDPOINT, Ask(each, {"symbol": "BTC"}), Answer(200, b, "text/x", at))
            for b in bodies
        ]
        brought = Brought([p for p in packed if p], troubled)
        keeper.keep(name, at, universe, [brought])
        assert keeper.problem is None


def read(kept: KeptAnswers) -> dict[str, KeptCollection]:
    return {c.id: c for c in kept.collections([ENDPOINT.id], *EVER)}


def bodies(kept: KeptAnswers) -> dict[str, list[bytes | None]]:
    return {name: [a.body for a in c.answers] for name, c in read(kept).items()}


def rows(kept: KeptAnswers, sql: str) -> list[Any]:
    with kept.open() as connection:
        return connection.execute(sql).fetchall()


# What is kept, and how


def test_what_was_used_comes_back_as_it_came(kept: KeptAnswers) -> None:
    at = NOW + timedelta(microseconds=1)
    write(kept, "c1", body(1), b"{}", at=at, each="BTC-USD", universe=frozenset({"ETH", "BTC"}))
    write(kept, "c2", body(2), at=at + timedelta(minutes=5))
    found = read(kept)
    assert list(found) == ["c1", "c2"]
    assert found["c1"].started_at == at
    assert found["c1"].universe == frozenset({"BTC", "ETH"})
    assert found["c2"].universe is None
    (first, second), (third,) = found["c1"].answers, found["c2"].answers
    assert (first.body, second.body, third.body) == (body(1), b"{}", body(2))
    assert first.content_type == "text/x"
    assert first.received_at == at
    assert first.question.endpoint == ENDPOINT.id
    assert first.question.each == "BTC-USD"
    assert json.loads(first.question.fixed) == {"symbol": "BTC"}
    assert list(kept.collections(["another"], *EVER)) == []
    assert [c.id for c in kept.collections([ENDPOINT.id], at, at + timedelta(seconds=1))] == ["c1"]


def test_an_unchanged_answer_is_stored_once_and_a_changed_one_as_its_changes(
    kept: KeptAnswers,
) -> None:
    for n in range(4):
        write(kept, f"c{n}", body(1), at=NOW + n * timedelta(minutes=5))
    assert rows(kept, "SELECT count(*) FROM bodies") == [(1,)]
    write(kept, "other", body(2), at=NOW + timedelta(hours=1))
    (alone, _), (changed, base) = rows(kept, "SELECT length(packed), base FROM bodies")
    assert base == 1
    assert changed < alone / 2.5
    assert set(map(tuple, bodies(kept).values())) == {(body(1),), (body(2),)}


def test_a_base_makes_room_for_another_when_it_has_had_its_day(kept: KeptAnswers) -> None:
    for n in range(2 * kept_answers.DELTAS + 3):
        write(kept, f"c{n:02}", body(n, 50), at=NOW + n * timedelta(minutes=5))
    bases = rows(kept, "SELECT number FROM bodies WHERE base IS NULL")
    assert bases == [(1,), (kept_answers.DELTAS + 2,), (2 * kept_answers.DELTAS + 3,)]
    write(kept, "noise", noise(1, 30_000), at=NOW + timedelta(days=1))  # nothing in common
    write(kept, "new", body(1000, 50), at=NOW + timedelta(days=1))
    assert rows(kept, "SELECT base FROM bodies ORDER BY number DESC LIMIT 2") == [
        (None,),
        (2 * kept_answers.DELTAS + 3,),
    ]
    found = bodies(kept)
    assert found["noise"] == [noise(1, 30_000)]
    assert all(found[f"c{n:02}"] == [body(n, 50)] for n in range(50))


def test_the_summary_says_what_came_and_what_it_takes(kept: KeptAnswers) -> None:
    assert kept.summary().whole.answers == 0
    write(kept, "c1", body(1))
    write(kept, "c2", body(1), at=NOW + timedelta(days=1))
    found = kept.summary()
    assert [(d.name, d.answers, d.bytes) for d in found.days] == [
        ("2026-11-24", 1, len(body(1))),
        ("2026-11-25", 1, len(body(1))),
    ]
    assert found.days[1].packed == 0  # it was there already
    assert found.whole.packed == found.days[0].packed > 0
    assert found.whole.ratio == 2 * len(body(1)) / found.days[0].packed
    assert [e.name for e in found.endpoints] == [ENDPOINT.id]
    assert (found.collections, found.bodies, found.oldest) == (2, 1, NOW)


# How much, and for how long


def test_what_is_old_goes_and_what_had_trouble_stays_with_its_base(kept: KeptAnswers) -> None:
    day = timedelta(days=1)
    write(kept, "plain", body(0), at=NOW - 20 * day)
    write(kept, "trouble", body(1), at=NOW - 19 * day, troubled=True)
    write(kept, "old", body(2), at=NOW - 32 * day, troubled=True)
    write(kept, "young", body(3), at=NOW - day)
    assert kept.drop(NOW) == 2
    assert bodies(kept) == {"trouble": [body(1)], "young": [body(3)]}
    assert rows(kept, "SELECT number, base FROM bodies") == [(1, None), (2, 1), (4, 1)]
    write(kept, "last", noise(1, 10), at=NOW + 40 * day, each="another")
    assert kept.drop(NOW + 40 * day) == 2
    assert rows(kept, "SELECT count(*) FROM bodies") == [(1,)]
    write(kept, "again", body(5), at=NOW + 40 * day)  # the base of its ask is gone
    assert bodies(kept)["again"] == [body(5)]


def test_a_clock_that_is_ahead_takes_nothing(kept: KeptAnswers) -> None:
    write(kept, "c1", body(1))
    assert kept.drop(NOW + timedelta(days=36_500)) == 0
    assert kept.drop(NOW - timedelta(days=36_500)) == 0
    assert bodies(kept) == {"c1": [body(1)]}


def test_the_bytes_are_bounded_and_the_oldest_goes_first(tmp_path: Path) -> None:
    most = 2_000_000
    kept = KeptAnswers(tmp_path / "x.answers", Keeping(timedelta(9), timedelta(9), most))
    write(kept, "trouble", noise(0, 100_000), troubled=True)
    for n in range(60):
        write(kept, f"c{n:02}", noise(n + 1, 100_000), at=NOW + (n + 1) * timedelta(minutes=5))
        assert kept.file.stat().st_size <= most + 200_000
    found = list(read(kept))
    assert found[0] == "trouble"  # older than all of them
    assert found[1:] == [f"c{n:02}" for n in range(61 - len(found), 60)]
    assert len(found) > 15
    for n in range(60, 100):
        at = NOW + (n + 1) * timedelta(minutes=5)
        write(kept, f"t{n}", noise(n + 1, 100_000), at=at, troubled=True)
    found = list(read(kept))
    assert found == [f"t{n}" for n in range(100 - len(found), 100)]
    with_less = KeptAnswers(kept.file, Keeping(timedelta(9), timedelta(9), 500_000))
    with_less.drop(NOW + timedelta(days=1))
    assert kept.file.stat().st_size <= 600_000  # the room is given back


# Whole or not at all


def test_a_collection_is_kept_once(kept: KeptAnswers) -> None:
    write(kept, "c1", body(1))
    write(kept, "c1", body(2))
    assert bodies(kept) == {"c1": [body(1)]}


def test_many_write_at_once(kept: KeptAnswers) -> None:
    def some(k: int) -> None:
        for n in range(5):
            write(kept, f"c{k}-{n}", body(10 * k + n, 50), body(10 * k + n + 5, 50))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(some, range(4)))
    found = bodies(kept)
    assert len(found) == 20
    assert all(
        found[f"c{k}-{n}"] == [body(10 * k + n, 50), body(10 * k + n + 5, 50)]
        for k in range(4)
        for n in range(5)
    )


def test_what_is_dropped_meanwhile_costs_only_what_was_packed_against_it(
    kept: KeptAnswers,
) -> None:
    write(kept, "c1", body(1))
    with Keeper(kept) as keeper:
        packed = keeper.pack(ENDPOINT, Ask("", {"symbol": "BTC"}), Answer(200, body(2), "", NOW))
        other = keeper.pack(ENDPOINT, Ask("other"), Answer(200, body(3), "", NOW))
        assert packed
        assert other
        assert packed.base
        with kept.open() as connection:
            connection.execute("DELETE FROM bodies")
            connection.execute("DELETE FROM answers")
        keeper.keep("c2", NOW, None, [Brought([packed], False), Brought([other], False)])
        assert keeper.problem is None
    (c2,) = kept.collections([ENDPOINT.id], NOW, EVER[1])
    assert [a.body for a in c2.answers] == [body(3)]


WRITES = """
    import sys
    from pathlib import Path
    from crypto_pipeline_tests.test_kept_answers import KEEPING, KeptAnswers, body, write
    kept = KeptAnswers(Path(sys.argv[1]), KEEPING)
    print("ready", flush=True)
    for n in range(1000):
        write(kept, f"c{n}", *(body(20 * n + k, 30) for k in range(20)))
"""


def test_a_kill_at_any_moment_leaves_collections_whole(tmp_path: Path) -> None:
    kept = KeptAnswers(tmp_path / "x.answers", KEEPING)
    for n in range(2):
        command = [sys.executable, "-c", textwrap.dedent(WRITES), str(kept.file)]
        place = Path(__file__).parents[1]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=place) as writer:
            assert writer.stdout
            assert writer.stdout.readline() == b"ready\n"
            time.sleep(0.05 + 0.1 * n)
            writer.send_signal(signal.SIGKILL)
        found = bodies(kept)
        assert all(found[c] == [body(20 * int(c[1:]) + k, 30) for k in range(20)] for c in found)
    assert len(found) > 1
    write(kept, "after", body(1))
    assert rows(kept, "PRAGMA integrity_check") == [("ok",)]


# What is wrong costs no row


@pytest.fixture
def canned() -> Canned:
    return Canned({"good.example/prices": coins(100, 200)})


@pytest.fixture
def upstream(canned: Canned, monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    monkeypatch.setenv("CRYPTO_PIPELINE_ANSWERS_GB", "1")
    with Upstream(canned) as server:
        monkeypatch.setenv("CRYPTO_PIPELINE_UPSTREAM", server.url)
        yield server


def run(warehouse: Warehouse, *among: Endpoint, name: str = "c1") -> Collection:
    tables = ["market_prices", "cached_market_data"]
    return collect(tables, name, warehouse=warehouse, among=among, force=True)


def of(warehouse: Warehouse) -> KeptAnswers:
    return KeptAnswers(beside(warehouse.path), KEEPING)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_collection_keeps_what_it_used_and_nothing_else(
    warehouse: Warehouse, upstream: Upstream
) -> None:
    upstream.rules.append(Rule("bad", status=500, body=b"an error"))
    done = run(warehouse, source("good"), source("bad"))
    assert done.unkept is None
    kept = of(warehouse)
    (found,) = kept.collections(["good.market_prices", "bad.market_prices"], *EVER)
    assert (found.id, found.started_at) == ("c1", done.started_at)
    assert [json.loads(a.body or b"") for a in found.answers] == [coins(100, 200)]
    (timestamp,) = warehouse.query("SELECT DISTINCT timestamp FROM market_prices")[0]
    assert found.answers[0].received_at == timestamp
    assert mode(kept.file) == 0o600
    with kept.open() as connection:
        connection.execute("BEGIN IMMEDIATE")
        assert {mode(f) for f in kept.file.parent.glob("*.answers*")} == {0o600}
    assert rows(kept, "SELECT DISTINCT troubled FROM answers") == [(0,)]


@pytest.mark.parametrize(
    "trouble",
    [
        {"data": [{"id": "x", "symbol": "X", "price": "free"}, *coins(1, 2, 3)["data"]]},
        {"something": "else"},
    ],
)
def test_what_had_trouble_is_marked(
    trouble: Any, warehouse: Warehouse, canned: Canned, upstream: Upstream
) -> None:
    canned.bodies["good.example/prices"] = trouble
    run(warehouse, source("good"))
    assert rows(of(warehouse), "SELECT troubled FROM answers") == [(1,)]


def test_nothing_is_kept_when_that_is_set(
    warehouse: Warehouse, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTO_PIPELINE_ANSWERS_GB", "0")
    assert run(warehouse, source("good")).unkept is None
    assert not of(warehouse).file.exists()
    assert maintenance.prune_answers(warehouse, NOW) == "no answers are kept"


@contextmanager
def damaged(kept: KeptAnswers) -> Iterator[None]:
    kept.file.write_bytes(b"this is no database" * 1000)
    yield


@contextmanager
def later(kept: KeptAnswers) -> Iterator[None]:
    with kept.open() as connection:
        connection.execute("PRAGMA user_version = 99")
    yield


@contextmanager
def folder(kept: KeptAnswers) -> Iterator[None]:
    kept.file.mkdir()
    yield
    kept.file.rmdir()


@contextmanager
def full(kept: KeptAnswers) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRYPTO_PIPELINE_LEAST_FREE_GB", "999999999")
        yield


@contextmanager
def held(kept: KeptAnswers) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch, kept.open() as connection:
        patch.setattr(kept_answers, "WAIT_S", 0.1)
        connection.execute("BEGIN IMMEDIATE")
        yield


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (damaged, "is damaged: file is not a database. Move it away"),
        (later, "has layout 99"),
        (folder, "unable to open database file"),
        (full, "are left for rows"),
        (held, "is held by another program"),
    ],
)
def test_what_is_wrong_is_named_and_costs_no_row(
    wrong: Callable[[KeptAnswers], AbstractContextManager[None]],
    words: str,
    warehouse: Warehouse,
    upstream: Upstream,
    tmp_path: Path,
) -> None:
    kept = of(warehouse)
    with wrong(kept):
        done = run(warehouse, source("good"))
    assert words in (done.unkept or "")
    assert str(kept.file.parent) in (done.unkept or "")
    assert count(warehouse, "market_prices") == 2
    found = alerts.check(warehouse, None, tmp_path, collecting=False)
    assert [(a.kind, a.message) for a in found.opened] == [("unkept_answers", done.unkept)]
    for file in kept.file.parent.glob("*.answers"):
        file.unlink()
    assert run(warehouse, source("good"), name="c2").unkept is None
    assert [c.id for c in kept.collections([ENDPOINT.id], *EVER)] == ["c2"]
    over = alerts.check(warehouse, found.cursor, tmp_path, collecting=False)
    assert [a.kind for a in over.closed] == ["unkept_answers"]


def test_a_disk_that_is_full_costs_the_answers_alone(
    small_disk: Path, upstream: Upstream, canned: Canned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTO_PIPELINE_LEAST_FREE_GB", "0")
    kept = KeptAnswers(small_disk / "x.answers", KEEPING)
    write(kept, "c1", body(1))
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * shutil.disk_usage(small_disk).free)
    with Keeper(kept) as keeper:
        packed = keeper.pack(ENDPOINT, Ask(), Answer(200, noise(1, 500_000), "", NOW))
        keeper.keep("c2", NOW, None, [Brought([packed] if packed else [], False)])
        assert "full" in (keeper.problem or "")
    filler.unlink()
    assert bodies(kept) == {"c1": [body(1)]}
    write(kept, "c3", noise(1, 500_000))
    assert bodies(kept)["c3"] == [noise(1, 500_000)]


def test_a_flipped_byte_is_found(kept: KeptAnswers) -> None:
    for n in range(3):
        write(kept, f"c{n}", noise(n, 1000), at=NOW + n * timedelta(minutes=5))
    with kept.open() as connection:
        (packed,) = connection.execute("SELECT packed FROM bodies WHERE number = 2").fetchone()
        broken = packed[:500] + bytes([packed[500] ^ 1]) + packed[501:]
        connection.execute("UPDATE bodies SET packed = ? WHERE number = 2", (broken,))
    assert bodies(kept) == {"c0": [noise(0, 1000)], "c1": [None], "c2": [noise(2, 1000)]}


def test_without_the_coins_that_were_kept_nothing_is_read_again(kept: KeptAnswers) -> None:
    write(kept, "c1", body(1), universe=frozenset({"BTC"}))
    with kept.open() as connection:
        connection.execute("UPDATE bodies SET packed = x'00' WHERE number = 2")
    assert bodies(kept) == {"c1": [None]}


def test_errors_are_told_as_what_is_wrong_with_the_file(kept: KeptAnswers) -> None:
    write(kept, "c1", body(1))
    with later(kept), pytest.raises(TooNew, match="update crypto_pipeline"):
        kept.summary()
    kept.file.write_bytes(b"nothing of it" * 1000)
    with pytest.raises(Damaged, match="Move it away"):
        kept.drop(NOW)


def test_the_daily_maintenance_drops_them_and_is_not_stopped_by_them(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTO_PIPELINE_ANSWERS_GB", "1")
    kept = of(warehouse)
    write(kept, "old", body(1), at=NOW - timedelta(days=3))
    write(kept, "new", body(2))
    assert maintenance.prune_answers(warehouse, NOW) == "1 kept answers were dropped"
    assert list(bodies(kept)) == ["new"]
    kept.file.write_bytes(b"nothing of it" * 1000)
    assert "is damaged" in maintenance.prune_answers(warehouse, NOW)


def test_no_key_is_in_it(
    warehouse: Warehouse, canned: Canned, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "canary-of-the-answers"
    monkeypatch.setenv("COINGECKO_API_KEY", secret)
    echo = coins(1, 2)
    echo["data"][0]["symbol"] = f"x{secret}"
    canned.bodies["keyed.example/prices"] = echo
    run(warehouse, source("keyed", key=Key(env="COINGECKO_API_KEY", query="key")))
    kept = of(warehouse)
    (found,) = kept.collections(["keyed.market_prices"], *EVER)
    assert b"***" in (found.answers[0].body or b"")
    assert secret.encode() not in (found.answers[0].body or b"")
    for file in kept.file.parent.glob("*.answers*"):
        assert secret.encode() not in file.read_bytes()
