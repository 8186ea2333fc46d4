"""Exports: what stands in them, that nothing in them is from the future, and whose folder it is.

That freqtrade, nautilus_trader and qlib load them is held in a lane of its own: make test-exports.
"""

import csv
import json
import re
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crypto_pipeline import docs
from crypto_pipeline.cli import export as command
from crypto_pipeline.cli.main import main
from crypto_pipeline.exports import flat, history
from crypto_pipeline.exports.errors import ExportError
from crypto_pipeline.exports.history import COLUMNS, HISTORY, POINT_IN_TIME, Wanted, prepare
from crypto_pipeline.exports.make import FORMATS, export
from crypto_pipeline.warehouse import configured
from crypto_pipeline_tests.exports_data import (
    AS_OF,
    HOUR,
    HOURS,
    START,
    agreed,
    candle,
    close_of,
    funding,
    interest,
    market,
    mood,
    put,
    traded,
    usual,
)
from crypto_pipeline_tests.test_cli import call
from crypto_pipeline_tests.test_warehouse import batch
from crypto_pipeline_tests.test_warehouse import candle as candle_of_alpha

WANTED = Wanted("1h", AS_OF, symbols=("BTC",))
MINUTE = timedelta(minutes=1)
Connection = duckdb.DuckDBPyConnection


@pytest.fixture
def connection() -> Iterator[Connection]:
    with market() as made:
        yield made


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder in which nothing is."""
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def rows(connection: Connection, wanted: Wanted = WANTED) -> list[dict[str, Any]]:
    prepare(connection, wanted)
    found = connection.execute(f"FROM {HISTORY}")
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def column(connection: Connection, name: str, hours: int = 6) -> list[Any]:
    """What stands beside the first candles of BTC."""
    return [row[name] for row in rows(connection)[:hours]]


# Candles


def test_an_export_has_the_columns_that_are_declared(connection: Connection) -> None:
    usual(connection)
    found = rows(connection)
    assert list(found[0]) == [c.name for c in COLUMNS]
    assert len(found) == HOURS
    last = found[-1]
    assert last["timestamp"] == AS_OF - HOUR
    assert last["close_at"] == last["known_at"] == AS_OF
    assert last["close"] == close_of("BTC", HOURS - 1)
    assert all(last[c.name] is not None for c in POINT_IN_TIME)
    assert last["volume"] == pytest.approx(last["volume_24h_usd"] / last["close"] / 24)


def test_a_bar_without_a_price_and_one_of_another_length_are_left_out(
    connection: Connection,
) -> None:
    nothing = {"open": None, "high": None, "low": None, "close": None, "voices": None}
    put(connection, "agreed_bars", [
        agreed("BTC", -1, **nothing), agreed("BTC", -2, interval="1d")
    ])  # fmt: skip
    assert len(rows(connection)) == HOURS


def test_no_candle_that_is_not_over_or_came_later(connection: Connection) -> None:
    early = replace(WANTED, as_of=START + 2.5 * HOUR)
    assert [row["timestamp"] for row in rows(connection, early)] == [START, START + HOUR]
    put(connection, "agreed_bars", [agreed("BTC", -1, first_seen_at=START + 3 * HOUR)])
    assert len(rows(connection, early)) == 2
    assert len(rows(connection, replace(early, as_of=START + 3 * HOUR))) == 4


def test_a_candle_that_was_corrected_later_is_as_it_was(connection: Connection) -> None:
    wanted = replace(WANTED, provider="alpha", as_of=START + 5 * HOUR)
    before = candle("BTC", 2, close=close_of("BTC", 2) * 1.0001)
    put(connection, "corrected_candles", [before | {"corrected_at": START + 6 * HOUR}])
    connection.execute(
        "UPDATE cached_ohlc SET first_seen_at = ? WHERE symbol = 'BTC' AND timestamp = ?",
        [START + 6 * HOUR, START + 2 * HOUR],
    )
    assert [row["close"] for row in rows(connection, wanted)][2] == before["close"]
    now = rows(connection, replace(wanted, as_of=AS_OF))
    assert now[2]["close"] == close_of("BTC", 2)
    assert (now[2]["quote"], now[2]["volume"]) == ("USDT", 12.0)


def test_since_and_until_are_of_whole_candles(connection: Connection) -> None:
    between = replace(WANTED, since=START + 2 * HOUR, until=START + 4.5 * HOUR)
    assert [r["timestamp"] for r in rows(connection, between)] == [
        START + 2 * HOUR,
        START + 3 * HOUR,
    ]


def test_coins_are_made_in_parts_that_come_to_the_same(
    full: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = replace(WANTED, symbols=())
    at_once = rows(full, everything)
    monkeypatch.setattr(history, "AT_ONCE", HOURS * 2)
    assert rows(full, everything) == at_once
    assert [row["symbol"] for row in at_once[::HOURS]] == ["BTC", "ETH", "SHIB"]


# What was known


def test_a_rate_stands_beside_the_candles_that_closed_when_it_was_known(
    connection: Connection,
) -> None:
    put(connection, "funding_rates", [
        funding(START + 30 * MINUTE, 0.0001, START + 61 * MINUTE),
        funding(START + 90 * MINUTE, 0.0002),  # by its own time, where no other was kept
    ])  # fmt: skip
    assert column(connection, "funding_daily") == [
        None,
        pytest.approx(0.0006),
        pytest.approx(0.0006),
        None,  # said more than two hours ago
        None,
        None,
    ]


def test_what_comes_at_the_close_is_known_and_a_moment_later_not(connection: Connection) -> None:
    close = START + HOUR
    put(connection, "sentiment_metrics", [mood(START, 10, close)])
    assert column(connection, "fear_greed", 1) == [10]
    put(connection, "sentiment_metrics", [
        mood(START + MINUTE, 90, close + timedelta(microseconds=1))
    ])  # fmt: skip
    assert column(connection, "fear_greed", 2) == [10, 90]


def test_what_came_late_and_is_about_before_takes_nothing_back(connection: Connection) -> None:
    put(connection, "sentiment_metrics", [
        mood(START, 50, START + MINUTE),
        mood(START - HOUR, 20, START + 70 * MINUTE),
        mood(START - 2 * HOUR, 30, START + MINUTE),  # came with the first, as a list of days does
        mood(START, 55, START + 130 * MINUTE),  # corrected
    ])  # fmt: skip
    assert column(connection, "fear_greed", 3) == [50, 50, 55]


def test_what_is_about_a_time_to_come_is_not_known_before_it(connection: Connection) -> None:
    put(connection, "sentiment_metrics", [mood(START + 90 * MINUTE, 70, START)])
    assert column(connection, "fear_greed", 2) == [None, 70]


def test_rates_are_of_a_day_and_the_median_over_contracts(connection: Connection) -> None:
    at = START + 30 * MINUTE
    put(connection, "funding_rates", [
        funding(at, 0.0001),
        funding(at, 0.0001, interval_hours=1.0, source="b", exchange="b"),
        funding(at, 0.0009, source_id="other"),
        funding(at, 0.5, interval_hours=None, source="c", exchange="c"),
        funding(at, 0.5, symbol="ETH"),
    ])  # fmt: skip
    assert column(connection, "funding_daily", 1) == [pytest.approx(0.0024)]
    assert column(connection, "funding_contracts", 1) == [3]


def test_open_interest_is_the_sum_in_each_unit(connection: Connection) -> None:
    at = START + 30 * MINUTE
    put(connection, "open_interest", [
        interest(at, open_interest=2.0, open_interest_usd=None),
        interest(at, open_interest=3.0, open_interest_usd=5e5, source="b", exchange="b"),
        interest(at, open_interest=None, open_interest_usd=7e5, source="c", exchange="c"),
        interest(at - 10 * MINUTE, open_interest=9.0, open_interest_usd=None),  # said before
    ])  # fmt: skip
    assert column(connection, "open_interest", 1) == [5.0]
    assert column(connection, "open_interest_usd", 1) == [1.2e6]
    assert column(connection, "open_interest_contracts", 1) == [2]


def test_other_measures_and_those_of_one_coin_are_not_the_market_s_mood(
    connection: Connection,
) -> None:
    at = START + 30 * MINUTE
    put(connection, "sentiment_metrics", [
        mood(at, 1) | {"metric_name": "votes_up_pct"}, mood(at, 2) | {"symbol": "BTC"},
        mood(at, 30), mood(at, 40, source="other")
    ])  # fmt: skip
    assert column(connection, "fear_greed", 1) == [35]


_LATER: dict[str, Callable[[datetime, datetime], Any]] = {
    "funding_rates": lambda at, seen: funding(at, 0.01, seen),
    "open_interest": lambda at, seen: interest(at, seen, open_interest=9e9, open_interest_usd=9e9),
    "sentiment_metrics": lambda at, seen: mood(at, 99, seen),
    "agreed_prices": lambda at, seen: traded(at, 9e12, seen),
}
_MINUTES = st.integers(0, HOURS * 60)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    moment=_MINUTES,
    later=st.lists(
        st.tuples(st.sampled_from(sorted(_LATER)), _MINUTES, st.integers(1, 3000)),
        min_size=1,
        max_size=8,
    ),
)
def test_nothing_that_comes_later_changes_a_row_that_was_over(
    moment: int, later: list[tuple[str, int, int]], full: Connection
) -> None:
    """Whatever is first seen after a moment, about whatever time: the rows that closed by then stay
    as they are, and so does the whole export as of then."""
    wanted = replace(WANTED, since=START + 100 * HOUR)
    then = START + moment * MINUTE
    prior = [row for row in rows(full, wanted) if row["close_at"] <= then]
    full.execute("BEGIN")
    try:
        for table, about, after in later:
            put(full, table, [_LATER[table](START + about * MINUTE, then + after * MINUTE)])
        assert [row for row in rows(full, wanted) if row["close_at"] <= then] == prior
        if prior:
            assert rows(full, replace(wanted, as_of=then)) == [
                row for row in prior if row["known_at"] <= then
            ]
    finally:
        full.execute("ROLLBACK")


@pytest.fixture(scope="module")
def full() -> Iterator[Connection]:
    with market() as made:
        usual(made)
        yield made


def test_a_row_that_comes_in_time_does_change_it(full: Connection) -> None:
    """The property above would hold of an export of nothing."""
    for table, made in _LATER.items():
        prior = rows(full)
        full.execute("BEGIN")
        put(full, table, [made(START + 200 * HOUR + MINUTE, START + 200 * HOUR + 2 * MINUTE)])
        changed = [a["timestamp"] for a, b in zip(prior, rows(full), strict=True) if a != b]
        full.execute("ROLLBACK")
        assert changed[0] == START + 200 * HOUR, table


# What cannot be exported


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"provider": "alpah"}, "provider 'alpah' has no candles; there is alpha"),
        ({"provider": "alpha", "interval": "1d"}, "alpha has candles of 1h, not of 1d"),
        ({"interval": "4h"}, "agreed bars are of 5m, 1h, 1d, not of 4h"),
        ({"symbols": ("BTC", "NOPE")}, "no 1h agreed bars until 2026-11-15 00:00 UTC of NOPE"),
        ({"symbols": (), "until": START}, "at all: collect first"),
        ({"since": AS_OF, "until": START}, "is not before until"),
    ],
)
def test_what_is_not_there_is_named(
    connection: Connection, place: Path, about: dict[str, Any], words: str
) -> None:
    with pytest.raises(ExportError) as problem:
        export(connection, "csv", place / "out", replace(WANTED, **about))
    assert words in str(problem.value)
    assert not list(place.iterdir())


# Formats


def test_csv(full: Connection, place: Path) -> None:
    done = export(full, "csv", place / "out", replace(WANTED, symbols=("ETH", "BTC")))
    with (place / "out/candles.csv").open() as file:
        read = list(csv.DictReader(file))
    assert list(read[0]) == [c.name for c in COLUMNS]
    assert (len(read), done.candles, done.symbols) == (2 * HOURS, 2 * HOURS, ["BTC", "ETH"])
    assert read[0]["timestamp"] == "2026-11-01 00:00:00+00"
    assert float(read[HOURS]["close"]) == close_of("ETH", 0)
    assert read[HOURS]["funding_daily"] == ""


def test_parquet_and_what_the_export_says_of_itself(full: Connection, place: Path) -> None:
    export(full, "parquet", place / "out", WANTED)
    file = str(place / "out/candles.parquet")
    assert full.execute(f"FROM '{file}'").fetchall() == full.execute(f"FROM {HISTORY}").fetchall()
    ((units,),) = full.execute(f"SELECT value FROM parquet_kv_metadata('{file}')").fetchall()
    assert json.loads(units)["funding_daily"] == "fraction a day"
    about = json.loads((place / "out/export.json").read_text())
    assert about["files"] == ["candles.parquet"]
    assert (about["provider"], about["candles"], about["symbols"]) == ("agreed", HOURS, ["BTC"])
    assert list(about["columns"]) == [c.name for c in COLUMNS]


def test_freqtrade(full: Connection, place: Path) -> None:
    export(full, "freqtrade", place / "data", replace(WANTED, symbols=("BTC", "ETH")))
    about = json.loads((place / "data/export.json").read_text())
    assert about["files"] == [
        "BTC_USD-1h.parquet",
        "ETH_USD-1h.parquet",
        "futures/BTC_USD_USD-1h-funding_rate.parquet",
        "futures/BTC_USD_USD-1h-open_interest.parquet",
        "point_in_time/BTC_USD-1h.parquet",
        "point_in_time/ETH_USD-1h.parquet",
    ]

    def read(name: str) -> list[Any]:
        return full.execute(f"FROM '{place}/data/{name}.parquet' ORDER BY date").fetchall()

    said = rows(full)
    assert read("BTC_USD-1h") == [
        tuple(r[n] for n in ("timestamp", "open", "high", "low", "close", "volume")) for r in said
    ]
    assert {row[-1] for row in read("ETH_USD-1h")} == {0.0}  # a volume that nobody said
    assert read("futures/BTC_USD_USD-1h-funding_rate") == [
        (r["close_at"], r["funding_daily"] / 24) for r in said
    ]
    assert read("futures/BTC_USD_USD-1h-open_interest")[0][1:] == (1e4, 9e8)
    assert read("point_in_time/BTC_USD-1h")[5] == (
        said[5]["timestamp"],
        *(said[5][c.name] for c in POINT_IN_TIME),
    )


def floats(file: Path) -> list[float]:
    raw = file.read_bytes()
    return list(struct.unpack(f"<{len(raw) // 4}f", raw))


def test_qlib(connection: Connection, place: Path) -> None:
    connection.execute(
        "DELETE FROM agreed_bars WHERE symbol = 'ETH' AND (timestamp < ? OR timestamp = ?)",
        [START + 3 * HOUR, START + 5 * HOUR],
    )
    put(connection, "agreed_bars", [agreed("BTC", 4) | {"symbol": "COM1"}])
    wanted = replace(WANTED, symbols=("BTC", "ETH", "COM1"), until=START + 8 * HOUR)
    export(connection, "qlib", place / "out", wanted)
    calendar = (place / "out/calendars/60min.txt").read_text().splitlines()
    assert calendar == [f"2026-11-01 0{n}:00:00" for n in range(8)]
    assert (place / "out/instruments/all.txt").read_text().splitlines() == [
        "BTC\t2026-11-01 00:00:00\t2026-11-01 07:00:00",
        "COM1\t2026-11-01 04:00:00\t2026-11-01 04:00:00",
        "ETH\t2026-11-01 03:00:00\t2026-11-01 07:00:00",
    ]
    start, *closes = floats(place / "out/features/eth/close.60min.bin")
    assert start == 3
    assert closes[2] != closes[2]  # NaN: there is no candle
    assert [closes[n] for n in (0, 1, 3, 4)] == [
        pytest.approx(close_of("ETH", n), rel=1e-6) for n in (3, 4, 6, 7)
    ]
    assert floats(place / "out/features/_qlib_com1/factor.60min.bin") == [4.0, 1.0]
    mood_of_btc = floats(place / "out/features/btc/fear_greed.60min.bin")
    assert mood_of_btc[0] == 0
    assert all(value != value for value in mood_of_btc[1:])


def test_a_calendar_of_days_has_no_hours(connection: Connection, place: Path) -> None:
    put(connection, "agreed_bars", [agreed("BTC", n, interval="1d") for n in (0, 24, 72)])
    export(connection, "qlib", place / "out", replace(WANTED, interval="1d"))
    calendar = (place / "out/calendars/day.txt").read_text().splitlines()
    assert calendar == ["2026-11-01", "2026-11-02", "2026-11-03", "2026-11-04"]
    assert (place / "out/features/btc/close.day.bin").stat().st_size == 4 * 5


def test_coins_that_the_tools_cannot_name_are_left_out_and_named(
    connection: Connection, place: Path
) -> None:
    put(connection, "agreed_bars", [agreed("BTC", 3) | {"symbol": "$W/F"}])
    everything = replace(WANTED, symbols=())
    done = export(connection, "qlib", place / "q", everything)
    assert done.left_out == ["$W/F"]
    assert done.candles == 3 * HOURS
    assert not list((place / "q/features").glob("*w*"))
    assert export(connection, "csv", place / "c", everything).left_out == []
    with pytest.raises(ExportError, match="cannot be named there"):
        export(connection, "freqtrade", place / "f", replace(WANTED, symbols=("$W/F",)))


def test_nautilus_needs_its_package_and_says_what_to_do(
    connection: Connection, place: Path
) -> None:
    with pytest.raises(ExportError, match=r"has no nautilus_trader: install it .* --python "):
        export(connection, "nautilus", place / "out", WANTED, sys.executable)
    with pytest.raises(ExportError, match=r"--python /no/such cannot be run"):
        export(connection, "nautilus", place / "out", WANTED, "/no/such")
    assert not list(place.iterdir())


# The folder


def test_an_export_takes_the_place_of_one_that_is_there(
    connection: Connection, place: Path
) -> None:
    (place / "out").mkdir()
    export(connection, "csv", place / "out", WANTED)
    export(connection, "qlib", place / "out", WANTED)
    export(connection, "parquet", place / "out", WANTED)
    assert {p.name for p in (place / "out").iterdir()} == {"candles.parquet", "export.json"}
    assert [p.name for p in place.iterdir()] == ["out"]


def test_what_no_export_wrote_is_never_replaced(connection: Connection, place: Path) -> None:
    mine = place / "out"
    mine.mkdir()
    (mine / "thesis.txt").write_text("mine")
    with pytest.raises(ExportError, match=r"thesis\.txt, which no export wrote"):
        export(connection, "csv", mine, WANTED)
    assert (mine / "thesis.txt").read_text() == "mine"
    (mine / "export.json").write_text("{}")
    with pytest.raises(ExportError, match="cannot be read"):
        export(connection, "csv", mine, WANTED)
    (mine / "export.json").unlink()
    (mine / "thesis.txt").rename(place / "thesis.txt")
    export(connection, "csv", mine, WANTED)
    (mine / "models").mkdir()
    (mine / "models/best.bin").write_text("mine")
    with pytest.raises(ExportError, match=r"models/best\.bin"):
        export(connection, "csv", mine, WANTED)
    with pytest.raises(ExportError, match="is a file"):
        export(connection, "csv", place / "thesis.txt", WANTED)


def test_an_export_that_fails_leaves_the_one_before(
    connection: Connection, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(connection, "csv", place / "out", WANTED)
    before = (place / "out/candles.csv").read_bytes()

    def fails(connection: Connection, wanted: Wanted, symbols: list[str], folder: Path) -> None:
        (folder / "half").write_text("of it")
        flat.write_csv(connection, wanted, symbols, folder / "gone")

    monkeypatch.setitem(FORMATS, "csv", replace(FORMATS["csv"], write=fails))
    with pytest.raises(ExportError, match=r"cannot be written: .*No such file"):
        export(connection, "csv", place / "out", WANTED)
    assert (place / "out/candles.csv").read_bytes() == before
    assert [p.name for p in place.iterdir()] == ["out"]


# The command


def test_the_command_and_its_page_know_the_formats_and_columns() -> None:
    assert tuple(FORMATS) == command.FORMATS
    page = (docs.ROOT / "docs/exports.md").read_text(encoding="utf-8")
    assert {c.name for c in COLUMNS} <= set(re.findall(r"\b[a-z0-9_]+\b", page))


def test_the_command_exports_what_is_published(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTO_PIPELINE_PARQUET", str(place / "parquet"))
    warehouse = configured()
    assert call("export", "csv", str(place / "none"), code=1).startswith("nothing is published")
    opened = [candle_of_alpha(minute) for minute in range(0, 60, 5)]
    assert warehouse.write(batch("c1", *opened)).problem is None
    asked = ["export", "parquet", str(place / "out"), "--provider", "alpha", "--interval", "5m"]
    said = json.loads(call(*asked, "--symbols", "btc", "--until", "2026-11-23T12:30", "--json"))
    assert (said["candles"], said["symbols"]) == (6, ["BTC"])
    assert said["last"] == "2026-11-23 12:25:00+00:00"
    assert "12 candles of BTC, opened from 23 Nov 2026 12:00:00 UTC" in call(*asked)
    with duckdb.connect() as connection:
        file = f"'{place / 'out/candles.parquet'}'"
        query = f"SELECT count(*), min(quote), max(close_at)::VARCHAR FROM {file}"
        connection.execute("SET TimeZone = 'UTC'")
        assert connection.execute(query).fetchall() == [(12, "USD", "2026-11-23 13:00:00+00")]
    assert "provider 'beta' has no candles" in call(*asked[:4], "beta", code=1)
    assert "no 5m candles of alpha" in call(*asked, "--as-of", "2026-11-23", code=1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["xml", "out"], "invalid choice: 'xml'"),
        (["csv", "out", "--since", "yesterday"], "'yesterday' is no time; write 2026-11-23"),
        (["csv", "out", "--symbols", ","], "',' names no coin; write BTC,ETH"),
        (["csv", "out", "--interval", "2h"], "invalid choice: '2h'"),
    ],
)
def test_wrong_words_are_said_so(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["export", *arguments])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err
