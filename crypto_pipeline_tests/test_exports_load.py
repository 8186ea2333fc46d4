"""freqtrade, nautilus_trader and qlib load what is exported and backtest on it: make test-exports.

The packages are in .venv-exports, apart from ours: they need other versions of the same. What they
must find is worked out here from the prices that were put in.
"""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from crypto_pipeline import docs
from crypto_pipeline.exports.history import Wanted
from crypto_pipeline.exports.make import export
from crypto_pipeline_tests.exports_data import (
    AS_OF,
    COINS,
    HOUR,
    HOURS,
    START,
    close_of,
    market,
    usual,
)

pytestmark = pytest.mark.exports

PYTHON = docs.ROOT / ".venv-exports/bin/python"
SCRIPTS = Path(__file__).parent / "loads"


def exported(tool: str, package: str, folder: Path) -> Path:
    """The export for a tool; skips the test where the tool is not installed."""
    here = (
        PYTHON.exists()
        and not subprocess.run(
            [PYTHON, "-I", "-c", f"import {package}"], check=False, capture_output=True
        ).returncode
    )
    if not here:
        pytest.skip(f"{package} is not installed in {PYTHON.parent.parent}: make test-exports")
    with market() as connection:
        usual(connection)
        export(connection, tool, folder / tool, Wanted("1h", AS_OF), str(PYTHON))
    return folder / tool


def loaded(script: str, *arguments: Path) -> Any:
    """What a script says of an export."""
    done = subprocess.run(
        [PYTHON, "-I", SCRIPTS / f"{script}.py", *arguments],
        capture_output=True,
        text=True,
        cwd=arguments[0].parent,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


CLOSES = [close_of("BTC", hour) for hour in range(HOURS)]


def ahead(closes: list[float], hour: int) -> float:
    """How far the mean of 6 closes is above that of 24 when the candle of an hour is over."""
    return sum(closes[hour - 5 : hour + 1]) / 6 / (sum(closes[hour - 23 : hour + 1]) / 24) - 1


def mood_at(hour: int) -> int:
    """Fear and greed as known at the close: a day's comes three hours into it."""
    return 40 + (hour + 1 - 3) // 24


@dataclass
class Trade:
    opened: datetime
    price: float
    closed: datetime
    sold: float


def trades() -> Iterator[Trade]:
    """Those that the rule makes, each at the close of the candle that decides it."""
    bought = None
    for hour in range(24, HOURS):
        if bought is None and ahead(CLOSES, hour) > 0 and mood_at(hour) >= 45:
            bought = hour
        elif bought is not None and ahead(CLOSES, hour) < 0:
            opened, closed = START + (bought + 1) * HOUR, START + (hour + 1) * HOUR
            yield Trade(opened, CLOSES[bought], closed, CLOSES[hour])
            bought = None


EXPECTED = list(trades())


def test_the_rule_trades_and_the_mood_keeps_it_from_some() -> None:
    assert len(EXPECTED) >= 3
    assert EXPECTED[0].opened > START + 5 * 24 * HOUR + 3 * HOUR
    assert sum(ahead(CLOSES, h) > 0 >= ahead(CLOSES, h - 1) for h in range(24, HOURS)) > len(
        EXPECTED
    )


def test_freqtrade_backtests_its_data_directory(tmp_path: Path) -> None:
    folder = exported("freqtrade", "freqtrade", tmp_path)
    said = loaded("freqtrade_backtest", folder, tmp_path / "work")
    assert [
        (datetime.fromisoformat(t["open_date"]), datetime.fromisoformat(t["close_date"]))
        for t in said["trades"]
    ] == [(t.opened, t.closed) for t in EXPECTED]
    assert [(t["open_rate"], t["close_rate"]) for t in said["trades"]] == [
        (pytest.approx(t.price), pytest.approx(t.sold)) for t in EXPECTED
    ]
    count, last = said["funding_rate"]
    assert count == HOURS
    assert last["funding_rate"] == pytest.approx(0.0001 * (HOURS - 1) % 0.0008 / 8)
    assert datetime.fromisoformat(last["date"]) == AS_OF
    count, last = said["open_interest"]
    assert count == HOURS
    assert (last["open_interest_amount"], last["open_interest_value"]) == (
        1e4 + HOURS - 1,
        9e8 + HOURS - 1,
    )


def test_nautilus_trader_backtests_its_catalog(tmp_path: Path) -> None:
    folder = exported("nautilus", "nautilus_trader", tmp_path)
    said = loaded("nautilus_backtest", folder)
    assert said["bars"] == HOURS
    assert said["decimals"] == {
        f"{symbol}/USD.AGREED": decimals
        for symbol, decimals in {"BTC": 3, "ETH": 4, "SHIB": 12}.items()
    }
    legs = [
        leg for t in EXPECTED for leg in (("BUY", t.opened, t.price), ("SELL", t.closed, t.sold))
    ]
    assert [(side, datetime.fromisoformat(at)) for side, at, _, _ in said["fills"]] == [
        (side, at) for side, at, _ in legs
    ]
    assert [price for _, _, price, _ in said["fills"]] == [
        pytest.approx(price, abs=1e-3) for _, _, price in legs
    ]
    gain = sum(0.1 * (t.sold - t.price) for t in EXPECTED)
    assert said["balance"] == pytest.approx(100_000 + gain, abs=0.1)


def worth_of_the_first() -> tuple[float, int]:
    """What qlib's strategy makes of 100,000: at each close all of 95 % of the cash in the coin that
    was ahead an hour before; and how often it trades."""
    closes = {symbol: [close_of(symbol, hour) for hour in range(HOURS)] for symbol in COINS}
    cash, held, amount, switches = 100_000.0, "", 0.0, 0
    for hour in range(24, HOURS - 1):
        first = max(COINS, key=lambda symbol: ahead(closes[symbol], hour - 1))
        if first != held:
            cash += amount * closes[held][hour] if held else 0.0
            amount = 0.95 * cash / closes[first][hour]
            cash, held, switches = 0.05 * cash, first, switches + 1
    return cash + amount * closes[held][HOURS - 2], switches


def test_qlib_reads_its_folder_and_backtests_on_it(tmp_path: Path) -> None:
    said = loaded("qlib_backtest", exported("qlib", "qlib", tmp_path))
    assert said["calendar"] == [HOURS, "2026-11-01 00:00:00", "2026-11-14 23:00:00"]
    assert said["coins"] == sorted(COINS)
    assert said["closes"] == [pytest.approx(close, rel=1e-6) for close in CLOSES]
    assert said["moods"] == [None if hour < 2 else mood_at(hour) for hour in range(HOURS)]
    assert said["rate"] == pytest.approx(0.0001 * (HOURS - 1) % 0.0008 * 3, rel=1e-6)
    worth, switches = worth_of_the_first()
    assert said["steps"] == HOURS - 25
    assert said["trades"] == switches > 10
    assert said["account"] == pytest.approx(worth, rel=1e-4)
