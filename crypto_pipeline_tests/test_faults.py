"""The short part of `make faults`: a few kinds, kills, interrupts, steps of the clock and keys."""

import random
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from crypto_pipeline.sources import ENDPOINTS
from crypto_pipeline_tests.faults import canaries, child, clocks, disks, kills, lies, together
from crypto_pipeline_tests.faults.campaign import Campaign
from crypto_pipeline_tests.faults.canaries import ECHOES
from crypto_pipeline_tests.faults.host import Host
from crypto_pipeline_tests.faults.kinds import HONEST, KINDS
from crypto_pipeline_tests.faults.report import Line, save, text, total
from crypto_pipeline_tests.upstream import FAULTS

CHANCE = random.Random(9)


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with Host() as host:
        yield host


@pytest.fixture
def environment(host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in together.settings(host.url, tmp_path / "crypto.duckdb").items():
        monkeypatch.setenv(name, value)


def right(*lines: Line) -> None:
    """Every try was right; else the table tells."""
    assert all(line.tries == line.right for line in lines), text(lines)
    assert all(line.tries for line in lines)


def test_there_are_kinds_for_every_fault_and_reader() -> None:
    assert len(KINDS) > 200
    used = {kind.fault for kind in KINDS.values()} | {"html", "bomb"}
    assert set(FAULTS) <= used
    for kind in KINDS.values():
        assert any(kind.suits(endpoint) for endpoint in ENDPOINTS.values()), kind.name


def test_a_name_asks_for_one_treatment() -> None:
    assert not set(ECHOES) & set(KINDS)


def test_no_lie_is_believed() -> None:
    lines = list(lies.run(CHANCE, most=60))
    assert len(lines) > 25
    right(*(line for line in lines if line.tries))


def test_every_kind_alone(host: Host) -> None:
    """Two endpoints of every kind that needs no megabytes and no patience."""
    slow = ("silent", "silent_in_body", "drip", "redirect_to_mute")
    kinds = [k for k in KINDS.values() if not (k.heavy or k.endless or k.name in slow)]
    right(*Campaign(host, CHANCE, endpoints=2).all_alone(kinds))


TOGETHER = ("text_half_emoji_once", "wait_twelve_digits", "numbers_infinite", "feed_without_end")


def test_one_hostile_host_costs_nobody_a_row(host: Host) -> None:
    right(*Campaign(host, CHANCE, seats=1).all_together([KINDS[name] for name in TOGETHER]))


@pytest.mark.usefixtures("environment")
def test_a_kill_loses_nothing_and_doubles_nothing(host: Host, tmp_path: Path) -> None:
    host.treat()
    whole = kills.template(tmp_path)
    for action in kills.ACTIONS:
        assert kills.kill(whole, action, CHANCE.uniform(0.0, 0.8)) == []
    assert kills.kill(whole, "collect", CHANCE.uniform(0.3, 1.2)) == []


@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_keeps_what_was_answered(host: Host, name: signal.Signals) -> None:
    words, _ = kills.interrupt(host, name, CHANCE.uniform(1.5, 2.5))
    assert [w for w in words if "s after the signal" not in w] == []  # a busy machine is slower


def test_a_clock_that_was_ahead_silences_nobody(host: Host) -> None:
    host.treat()
    assert clocks.stepped(host, 400 * clocks.DAY_S) == []


def test_a_zone_changes_no_row(host: Host) -> None:
    host.treat()
    by_zone = [clocks.rows(host, {"TZ": zone}, 0.0) for zone in ("UTC", "Australia/Lord_Howe")]
    assert clocks.compared(*by_zone) == []


def test_a_full_disk_loses_nothing_unsaid(host: Host) -> None:
    host.treat()
    assert disks.full(host, 300_000) == []


def test_a_reader_costs_nothing(host: Host, tmp_path: Path) -> None:
    host.treat()
    assert disks.reader(host, tmp_path / "crypto.duckdb") == []


@pytest.mark.parametrize("shape", ["quotes", "base64_signs"])
@pytest.mark.parametrize("way", ["error_u_escaped", "error_base64_1", "etag", "record"])
def test_a_key_is_found_nowhere(host: Host, tmp_path: Path, shape: str, way: str) -> None:
    value, file = canaries.key(way, shape), tmp_path / "crypto.duckdb"
    host.treat((".", way))
    settings = together.settings(host.url, file)
    done = child.run(canaries.collected, str(file), way, value, environment=settings)
    assert done.problem is None
    assert canaries.found(tmp_path, [value]) == {}


@pytest.mark.parametrize("shape", canaries.SHAPES)
@pytest.mark.parametrize("way", canaries.WRITTEN)
def test_a_key_would_be_found_however_it_is_written(tmp_path: Path, shape: str, way: str) -> None:
    value = canaries.key("text", shape)
    (tmp_path / "kept").write_text(f"before {canaries.WRITTEN[way](value)} after")
    assert list(canaries.found(tmp_path, [value])) == [value]


# The harness itself


def nothing() -> None:
    raise RuntimeError("half an emoji: \ud83d")


def hang() -> None:
    signal.pause()


def test_what_a_child_does_to_itself_is_an_observation() -> None:
    raised = child.run(nothing, environment={})
    assert (raised.problem or "").startswith("RuntimeError: half an emoji")
    hung = child.run(hang, environment={}, patience_s=0.5)
    assert hung.problem == "did not end within 0.5 s"
    ended = child.run(signal.raise_signal, signal.SIGKILL, environment={})
    assert ended.problem == f"its process ended with {-signal.SIGKILL}"


def test_a_collection_that_lost_something_is_told_from_one_that_did_not() -> None:
    kind = KINDS["reset"]
    seat, other = (
        e for e in ENDPOINTS.values() if e.id in ("kraken.market_prices", "okx.market_prices")
    )
    clean = together.Told({e.id: together.Ended("ok", 3, 2, 1, 0) for e in (seat, other)})
    failed = together.Ended("unreachable", 0, 0, 0, 0)
    told = together.Told({**clean.ended, seat.id: failed})
    assert together.judge(kind, seat, clean, told) == together.Verdict(True, True)
    assert not together.judge(kind, seat, clean, clean).right
    assert not together.judge(replace(kind, right=HONEST), seat, clean, told).right
    told.ended[other.id] = replace(clean.ended[other.id], rows=1)
    assert not together.judge(kind, seat, clean, told).others


def test_the_report_tells_what_was_missed(tmp_path: Path) -> None:
    line = Line("alone", "x")
    line.add(mb=7.0)
    line.add(["y: lost"], raised=True)
    assert "y: lost" in text([line])
    assert "kinds that miss: alone/x" in total([line])
    save([line], tmp_path / "figures.json")
    assert "y: lost" in (tmp_path / "figures.json").read_text()
