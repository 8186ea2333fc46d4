"""What is kept of the agreed prices: the prices themselves, bars of them, what the dollar coins
were worth, and what was known when."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any

import pytest
from pydantic import ValidationError

from crypto_pipeline.sources.values import ticker, ticker_name
from crypto_pipeline.tables import MarketPrice, Row
from crypto_pipeline.tables.spec import LARGEST
from crypto_pipeline.warehouse import Warehouse
from crypto_pipeline_tests.test_agreement import provider
from crypto_pipeline_tests.test_warehouse import NOW, batch, candle, price


def at(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def said(minutes: float, *prices: float, symbol: str = "BTC", **about: Any) -> list[MarketPrice]:
    """What venues say of a coin so many minutes from now on, each one of these prices."""
    made = {"timestamp": at(minutes), **about}
    return [price(f"venue_{n}", symbol, usd, f"c{minutes}", **made) for n, usd in enumerate(prices)]


def collect(warehouse: Warehouse, minutes: float, *rows: Row) -> Any:
    receipt = warehouse.write(batch(f"c{minutes}", *rows, at=at(minutes)))
    assert receipt.problem is None
    return receipt


def pegged(*rates: float, symbol: str = "USDT", **about: Any) -> list[MarketPrice]:
    """What venues that trade a stablecoin for dollars say of it."""
    about = {"volume_24h": 1e6, **about}
    return [
        price(f"bank_{n}", symbol, usd, source_id=f"{symbol}-USD", **about)
        for n, usd in enumerate(rates)
    ]


def in_usdt(*prices: float) -> list[MarketPrice]:
    """What venues say of a coin in USDT."""
    return [
        price(f"offshore_{n}", "BTC", p, source_id="BTCUSDT", quote="USDT")
        for n, p in enumerate(prices)
    ]


PEG = "SELECT symbol, rate_usd, voices, len(rejected) FROM stablecoin_peg"
AGREED = "SELECT price_usd, len(rejected) FROM cached_market_data WHERE symbol = 'BTC'"


# The dollar is measured


def test_a_depeg_moves_no_coin_s_dollar_price(warehouse: Warehouse) -> None:
    """Three venues pay 100 dollars; five pay 111.11 of a coin that is worth 0.90."""
    said_in_usdt = [111.1, 111.11, 111.11, 111.11, 111.12]
    collect(
        warehouse, 0, *said(0, 100, 100, 100), *in_usdt(*said_in_usdt), *pegged(0.899, 0.9, 0.901)
    )
    assert warehouse.query(PEG) == [("USDT", 0.9, 3, 0)]
    ((usd, rejected),) = warehouse.query(AGREED)
    assert usd == pytest.approx(100, rel=1e-4)
    assert rejected == 0
    kept = warehouse.query(
        "SELECT quoted, quote_usd, price_usd / quote_usd - quoted FROM market_prices "
        "WHERE quote = 'USDT' ORDER BY source"
    )
    assert [(quoted, rate) for quoted, rate, _ in kept] == [(p, 0.9) for p in said_in_usdt]
    assert max(abs(off) for *_, off in kept) < 1e-7
    dollars = warehouse.query(
        "SELECT DISTINCT quoted, quote_usd FROM market_prices WHERE quote = 'USD'"
    )
    assert dollars == [(None, None)]


def test_volume_is_in_dollars_too(warehouse: Warehouse) -> None:
    rows = in_usdt(100)
    rows[0].volume_24h = 5_000_000
    collect(warehouse, 0, *rows, *pegged(0.9, 0.9))
    volume = warehouse.query("SELECT volume_24h FROM market_prices WHERE quote = 'USDT'")
    assert volume == [(4_500_000,)]


def test_without_a_measured_rate_a_quote_counts_at_par_and_says_so(warehouse: Warehouse) -> None:
    (row,) = in_usdt(100)
    row.volume_24h = 5_000_000
    collect(warehouse, 0, row)
    assert warehouse.query(PEG) == []
    columns = "price_usd, quoted, quote_usd, volume_24h"
    found = warehouse.query(f"SELECT {columns} FROM market_prices")
    assert found == [(100, 100, None, 5_000_000)]


@pytest.mark.parametrize("usd", [LARGEST, 5e-324])
@pytest.mark.parametrize("rates", [(0.3, 0.3), (LARGEST, LARGEST), (5e-324, 5e-324)])
def test_no_price_and_no_rate_is_too_odd_to_be_written(
    usd: float, rates: Sequence[float], warehouse: Warehouse
) -> None:
    """One that overflows, or has no logarithm, would keep the whole collection in the spool."""
    odd = [row.model_copy(update={"volume_24h": LARGEST}) for row in in_usdt(usd, usd, usd)]
    collect(warehouse, 0, *odd, *pegged(*rates, volume_24h=LARGEST))
    for table in ("market_prices", "cached_market_data", "agreed_prices"):
        ((most,),) = warehouse.query(f"SELECT max(greatest(price_usd, volume_24h)) FROM {table}")
        assert isfinite(most)
    assert warehouse.query("SELECT symbol FROM agreed_prices WHERE NOT isfinite(vwap_usd)") == []
    with pytest.raises(ValidationError, match="less than or equal"):
        price("venue", "BTC", 2 * LARGEST)


@pytest.mark.parametrize(
    ("rates", "listed", "measured"),
    [
        ((1.0, 0.999, 5.0), (), ("USDT", 0.9995, 2, 1)),  # one lies
        ((1.0, 0.9), (), None),  # nobody knows which
        ((1.0, 1.0, 0.9, 0.9), (), None),
        ((0.99,), (), None),  # one alone
        ((0.99,), (0.999,), ("USDT", 0.99, 1, 0)),  # and an aggregator stands by it
        ((0.5,), (0.999,), None),
        ((), (0.999, 0.999), None),  # aggregators are no venues
        ((1.0, 1.0, 0.981, 1.019), (), ("USDT", 1.0, 4, 0)),  # two per cent are near
        ((1.0, 1.0, 0.979, 1.021), (), None),  # and half is no majority
        ((1.0, 1.0, 1.0, 0.979, 1.021), (), ("USDT", 1.0, 3, 2)),
        ((0.9, 0.9, 0.93), (), ("USDT", 0.9, 2, 1)),
        ((0.981,), (1.0,), ("USDT", 0.981, 1, 0)),
        ((0.979,), (1.0,), None),
        ((1.021,), (1.0,), None),
        ((0.97,), (1.0,), None),
        ((0.9,), (0.9,), ("USDT", 0.9, 1, 0)),
        ((1.0,), (0.99, 1.0, 0.2), ("USDT", 1.0, 1, 0)),  # an aggregator lies
        ((1.0, 1.0), (0.5, 0.5, 0.5), ("USDT", 1.0, 2, 0)),  # two venues need none
        ((1.0, 1.0, 1.01), (), ("USDT", 1.0, 3, 0)),
        ((1.0, 1.0, 0.9, 0.8, 1.2), (), None),  # two of five
    ],
)
def test_who_says_what_a_stablecoin_is_worth(
    rates: Sequence[float],
    listed: Sequence[float],
    measured: tuple[Any, ...] | None,
    warehouse: Warehouse,
) -> None:
    lists = [price(f"list_{n}", "USDT", p, market_cap=1e11) for n, p in enumerate(listed)]
    collect(warehouse, 0, *in_usdt(100), *pegged(*rates), *lists)
    found = warehouse.query(PEG)
    assert found == ([pytest.approx(measured)] if measured else [])
    ((rate,),) = warehouse.query("SELECT quote_usd FROM market_prices WHERE quote = 'USDT'")
    assert rate == (pytest.approx(measured[1]) if measured else None)


def test_venues_of_one_owner_are_one_voice_of_a_stablecoin(warehouse: Warehouse) -> None:
    collect(warehouse, -9, provider("bank_0", None), provider("bank_1", "bank_0"))
    collect(warehouse, 0, *in_usdt(100), *pegged(0.9, 0.9))
    assert warehouse.query(PEG) == []


def test_venues_of_one_owner_are_one_voice_against_the_others(warehouse: Warehouse) -> None:
    owned = [provider(f"bank_{n}", None if n == 1 else "bank_1") for n in (1, 2, 3)]
    collect(warehouse, -9, *owned)
    collect(warehouse, 0, *in_usdt(100), *pegged(0.9, 0.9, 0.5, 1.5))
    assert warehouse.query(PEG) == [("USDT", 0.9, 2, 2)]


def test_untraded_and_stale_prices_of_a_stablecoin_measure_nothing(warehouse: Warehouse) -> None:
    old = pegged(0.5, 0.5, 0.5)
    for row in old:
        row.abstains = "stale"
    collect(warehouse, 0, *in_usdt(100), *old)
    assert warehouse.query(PEG) == []


def test_who_does_not_say_what_was_traded_measures_nothing(warehouse: Warehouse) -> None:
    collect(warehouse, 0, *in_usdt(100), *pegged(0.5, 0.5, 0.5, volume_24h=None))
    assert warehouse.query(PEG) == []


def test_what_the_venues_of_a_stablecoin_disagree_about_is_told(warehouse: Warehouse) -> None:
    rates = pegged(0.98, 0.99, 0.99, 1.0, 0.8911, 1.2)
    for row, minutes in zip(rates, (-4, -3, -1, -2, 0, -5), strict=True):
        row.timestamp = at(minutes)
    collect(warehouse, 0, *in_usdt(100), *rates)
    found = warehouse.query("SELECT spread_pct, rejected, timestamp FROM stablecoin_peg")
    ((spread, rejected, newest),) = found
    assert spread == pytest.approx((1.0 / 0.98 - 1) * 100, abs=1e-3)
    assert [(v["source"], v["off_pct"], v["why"]) for v in rejected] == [
        ("bank_4", -10.0, "outlier"),
        ("bank_5", 21.2, "outlier"),
    ]
    assert newest == at(-1)


def test_the_half_hour_is_that_before_the_newest_price_of_a_collection(
    warehouse: Warehouse,
) -> None:
    collect(warehouse, -29, *pegged(0.5, 0.5, timestamp=at(-29)))
    collect(warehouse, -1, *pegged(0.9, 0.9, timestamp=at(-1)))
    collect(warehouse, 0, *in_usdt(100), *said(-2, 100))
    assert warehouse.query(PEG) == [("USDT", 0.9, 2, 0)]


def test_a_venue_speaks_of_a_stablecoin_with_its_newest_price_of_its_busiest_pair(
    warehouse: Warehouse,
) -> None:
    collect(warehouse, -20, *pegged(0.5, 0.5, timestamp=at(-20), volume_24h=9e9))
    busy = pegged(0.9, 0.9, volume_24h=5e6)
    quiet = pegged(0.8, 0.8, volume_24h=1e3)
    unknown = pegged(0.7, 0.7, volume_24h=None)
    for rows, name in ((quiet, "A-USD"), (unknown, "B-USD")):
        for row in rows:
            row.source_id = name
    collect(warehouse, 0, *in_usdt(100), *quiet, *unknown, *busy)
    assert warehouse.query(PEG) == [("USDT", 0.9, 2, 0)]


def test_an_aggregator_speaks_of_a_stablecoin_with_the_biggest_of_that_name(
    warehouse: Warehouse,
) -> None:
    namesakes = [
        price("list", "USDT", usd, source_id=f"usdt-{n}", market_cap=cap)
        for n, (usd, cap) in enumerate([(0.2, 1e3), (0.9, 1e11), (0.3, None)])
    ]
    collect(warehouse, 0, *in_usdt(100), *pegged(0.9), *namesakes)
    assert warehouse.query(PEG) == [("USDT", 0.9, 1, 0)]


def test_only_what_was_said_until_now_measures_a_stablecoin(warehouse: Warehouse) -> None:
    collect(warehouse, 0, *pegged(0.9, 0.9))
    collect(warehouse, 5, *pegged(0.5, 0.5, timestamp=at(5)))
    collect(warehouse, 6, *in_usdt(100))  # of the moment of the first
    assert warehouse.query("SELECT quote_usd FROM market_prices WHERE quote = 'USDT'") == [(0.9,)]


def test_what_is_quoted_in_anything_but_dollars_measures_no_stablecoin(
    warehouse: Warehouse,
) -> None:
    collect(warehouse, 0, *in_usdt(100), *pegged(0.9, 0.9, quote="USDC"))
    assert warehouse.query(PEG) == []


def test_a_price_in_dollars_keeps_ten_digits(warehouse: Warehouse) -> None:
    rate = 0.99123456789
    said_in_usdt = {"BTC": 92_000.123456789, "DUST": 0.000123456789123, "ONE": 1.00123456789}
    rows = [price("offshore", coin, usdt, quote="USDT") for coin, usdt in said_in_usdt.items()]
    collect(warehouse, 0, *rows, *pegged(rate, rate))
    found = warehouse.query("SELECT symbol, price_usd FROM market_prices WHERE quote = 'USDT'")
    assert dict(found) == {c: float(f"{usdt * rate:.9e}") for c, usdt in said_in_usdt.items()}


def test_a_rate_holds_for_the_half_hour_until_its_venues_are_asked_again(
    warehouse: Warehouse,
) -> None:
    collect(warehouse, -29, *pegged(0.9, 0.9, timestamp=at(-29)), *said(-29, 100))
    collect(warehouse, 0, *in_usdt(100))
    assert warehouse.query("SELECT quote_usd FROM market_prices WHERE quote = 'USDT'") == [(0.9,)]
    collect(warehouse, 1, *[p.model_copy(update={"timestamp": at(1)}) for p in in_usdt(101)])
    last = warehouse.query(
        "SELECT arg_max(quote_usd, timestamp) FROM market_prices WHERE quoted = 101"
    )
    assert last == [(None,)]


def test_a_rate_that_nobody_measured_again_is_kept_once(warehouse: Warehouse) -> None:
    collect(warehouse, 0, *in_usdt(100), *pegged(0.9, 0.9))
    for minutes in (1, 2):
        again = {"timestamp": at(minutes), "collection_id": f"c{minutes}"}
        collect(warehouse, minutes, *[row.model_copy(update=again) for row in in_usdt(100)])
    assert warehouse.query("SELECT rate_usd, timestamp FROM stablecoin_peg") == [(0.9, at(0))]
    assert warehouse.query("SELECT count(*) FROM market_prices WHERE quote_usd = 0.9") == [(3,)]


def test_a_frozen_price_is_told_in_the_words_of_its_source(warehouse: Warehouse) -> None:
    """Its quote's rate moves its dollars; the source has said the same number for three hours."""
    for minutes, usd, rate in ((-180, 100, 0.99), (-90, 100.5, 0.995), (-45, 101, 1), (0, 101, 1)):
        moment: dict[str, Any] = {"timestamp": at(minutes)}
        ice = price("ice", "BTC", 100, quote="USDT", **moment)
        collect(
            warehouse, minutes, *said(minutes, usd, usd, usd), *pegged(rate, rate, **moment), ice
        )
    ((rejected,),) = warehouse.query("SELECT rejected FROM cached_market_data WHERE symbol = 'BTC'")
    assert [(voice["source"], voice["why"]) for voice in rejected] == [("ice", "frozen")]


# Agreed prices


PRICES = "SELECT price_usd, voices, timestamp FROM agreed_prices WHERE symbol = 'BTC' ORDER BY 3"


def test_every_agreed_price_is_kept_once(warehouse: Warehouse) -> None:
    collect(warehouse, 0, *said(0, 100, 101, 102))
    collect(warehouse, 0.5, *said(0, 100, 101, 102))  # of the same moment
    collect(warehouse, 1, *said(1, 7, symbol="ETH"))  # nothing newer was said of BTC
    collect(warehouse, 5, *said(5, 103, 103, 103))
    assert warehouse.query(PRICES) == [(101, 3, at(0)), (103, 3, at(5))]


def test_a_disputed_coin_has_no_agreed_price(warehouse: Warehouse) -> None:
    collect(warehouse, 0, *said(0, 100, 900))
    assert warehouse.query(PRICES) == []


def test_an_agreed_price_says_who_was_off_and_not_who_had_no_vote(warehouse: Warehouse) -> None:
    quiet = price("quiet", "BTC", 100, abstains="untraded")
    collect(warehouse, 0, *said(0, 100, 100, 100, 7), quiet)
    ((rejected,),) = warehouse.query("SELECT rejected FROM agreed_prices")
    assert [(v["source"], v["why"]) for v in rejected] == [("venue_3", "outlier")]


def test_the_mean_price_is_weighted_by_what_venues_traded(warehouse: Warehouse) -> None:
    rows = said(0, 100, 102, 101)
    rows[0].volume_24h, rows[1].volume_24h = 3_000, 1_000
    listed = price("list", "BTC", 104, market_cap=1e12, volume_24h=9e9)
    collect(warehouse, 0, *rows, listed)
    assert warehouse.query("SELECT vwap_usd, price_usd FROM agreed_prices") == [(100.5, 101.5)]


def test_coins_are_ranked_by_market_capitalisation(warehouse: Warehouse) -> None:
    caps = {"BTC": 2e12, "ETH": 4e11, "NEW": None}
    rows = [price("list", coin, 5, market_cap=cap) for coin, cap in caps.items()]
    collect(warehouse, 0, *rows)
    found = warehouse.query("SELECT symbol, rank FROM agreed_prices ORDER BY symbol")
    assert found == [("BTC", 1), ("ETH", 2), ("NEW", None)]


# Bars

BAR = (
    "SELECT interval, timestamp, open, high, low, close, prices, voices, collected FROM agreed_bars"
)


def bars(warehouse: Warehouse, interval: str, symbol: str = "BTC") -> list[tuple[Any, ...]]:
    where = f"WHERE interval = '{interval}' AND symbol = '{symbol}' ORDER BY timestamp"
    return [row[1:] for row in warehouse.query(f"{BAR} {where}")]


def test_a_bar_is_made_once_its_time_is_over(warehouse: Warehouse) -> None:
    for minutes, usd in ((0, 100), (2, 104), (3, 99), (4, 101)):
        collect(warehouse, minutes, *said(minutes, *([usd] * (3 if minutes else 2))))
    assert bars(warehouse, "5m") == []
    collect(warehouse, 5, *said(5, 105))
    assert bars(warehouse, "5m") == [(at(0), 100, 104, 99, 101, 4, 2, True)]
    assert bars(warehouse, "1h") == []


def test_bars_of_an_hour_and_a_day_are_made_of_all_its_prices(warehouse: Warehouse) -> None:
    for minutes in range(0, 26 * 60, 30):
        collect(warehouse, minutes, *said(minutes, 100 + minutes / 10))
    hours = bars(warehouse, "1h")
    assert len(hours) == 25
    assert hours[1] == (at(60), 106, 109, 106, 109, 2, 1, True)
    midnight = datetime(2026, 11, 23, tzinfo=UTC)
    assert bars(warehouse, "1d") == [(midnight, 100, 169, 100, 169, 24, 1, True)]


def test_a_bar_without_a_price_says_whether_anything_was_collected(warehouse: Warehouse) -> None:
    collect(warehouse, 0, *said(0, 100), *said(0, 7, symbol="ETH"))
    collect(warehouse, 6, *said(6, 8, symbol="ETH"))
    collect(warehouse, 16, *said(16, 101))
    nothing = (None, None, None, None, 0, None)
    assert bars(warehouse, "5m") == [
        (at(0), 100, 100, 100, 100, 1, 1, True),
        (at(5), *nothing, True),
        (at(10), *nothing, False),
    ]


def test_a_coin_has_no_bars_before_its_first_price_nor_a_day_after_its_last(
    warehouse: Warehouse,
) -> None:
    collect(warehouse, 0, *said(0, 7, symbol="OLD"))
    collect(warehouse, 60, *said(60, 100))
    for hour in (24, 26):
        collect(warehouse, hour * 60, *said(hour * 60, 100))
    assert bars(warehouse, "1h")[0][0] == at(60)
    assert bars(warehouse, "1h", "OLD")[-1][0] == at(24 * 60)


def test_a_coin_that_comes_back_has_no_bars_of_the_time_it_was_gone(warehouse: Warehouse) -> None:
    for hour in (0, 30, 31):
        collect(warehouse, hour * 60, *said(hour * 60, 100))
    found = [row[0] for row in bars(warehouse, "1h")]
    assert found == [at(hour * 60) for hour in (*range(25), 30)]


@pytest.mark.parametrize(("after", "known"), [(-60, 1), (60, 26)])
def test_bars_begin_anew_after_a_month_without_a_collection(
    warehouse: Warehouse, after: float, known: int
) -> None:
    """A coin is known for a day after its last price, where nothing begins anew."""
    start = -31 * 1440 + after
    for minutes in (start, start + 60, 0, 60):
        collect(warehouse, minutes, *said(minutes, 100))
    found = [row[0] for row in bars(warehouse, "1h")]
    assert found == [*(at(start + 60 * n) for n in range(known)), at(0)]


def test_what_a_clock_ahead_has_left_holds_no_bar_back(warehouse: Warehouse) -> None:
    collect(warehouse, 0, *said(0, 100))
    future = f"TIMESTAMPTZ '{at(400 * 1440):%Y-%m-%d %H:%M:%S}+00' AS timestamp"
    with warehouse.connect() as connection:
        connection.execute(
            "INSERT INTO agreed_prices BY NAME SELECT 'BTC' AS symbol, 1 AS price_usd, "
            f"1 AS voices, 0 AS spread_pct, [] AS rejected, {future}"
        )
        connection.execute(
            "INSERT INTO agreed_bars BY NAME SELECT 'BTC' AS symbol, '5m' AS interval, "
            f"0 AS prices, true AS collected, {future}"
        )
    collect(warehouse, 6, *said(6, 101))
    assert (at(0), 100, 100, 100, 100, 1, 1, True) in bars(warehouse, "5m")
    assert (101, 1, at(6)) in warehouse.query(PRICES)


# What was known


def test_a_price_that_waited_in_the_spool_was_not_known_before(warehouse: Warehouse) -> None:
    collect(warehouse, 0, *said(0, 100))
    ((seen,),) = warehouse.query("SELECT first_seen_at FROM agreed_prices")
    moment = "TIMESTAMPTZ '{:%Y-%m-%d %H:%M:%S.%f}+00'"
    known = f"SELECT symbol FROM prices_as_of({moment.format(seen)})"
    with warehouse.connect() as connection:
        connection.execute("UPDATE agreed_prices SET first_seen_at = timestamp + INTERVAL 1 HOUR")
    for minutes, found in ((59, []), (61, [("BTC",)])):
        known = f"SELECT symbol FROM prices_as_of({moment.format(at(minutes))})"
        assert warehouse.query(known) == found


def test_the_universe_is_that_of_its_moment(warehouse: Warehouse) -> None:
    for minutes, caps in (
        (0, {"A": 3e9, "B": 2e9, "C": 1e9}),
        (60, {"A": 1e9, "B": 2e9, "C": 3e9}),
    ):
        rows = [
            price("list", coin, 5, f"c{minutes}", market_cap=cap, timestamp=at(minutes))
            for coin, cap in caps.items()
        ]
        collect(warehouse, minutes, *rows)
    with warehouse.connect() as connection:
        connection.execute("UPDATE agreed_prices SET first_seen_at = timestamp")
    for minutes, coins in ((30, ["A", "B"]), (60, ["C", "B"])):
        moment = f"TIMESTAMPTZ '{at(minutes):%Y-%m-%d %H:%M:%S}+00'"
        found = warehouse.query(f"SELECT symbol FROM universe_at({moment}, 2)")
        assert [coin for (coin,) in found] == coins


def test_a_universe_has_as_many_coins_as_asked_for_whoever_is_silent(warehouse: Warehouse) -> None:
    """First BTC has no capitalisation any more, then no coin has: the others may move up, and none
    falls out."""
    for minutes, caps in (
        (0, {"BTC": 3e9, "ETH": 2e9, "SOL": 1e9}),
        (60, {"ETH": 2e9, "SOL": 1e9}),
        (120, {"BTC": None, "ETH": None, "SOL": None}),
    ):
        about = {"timestamp": at(minutes), "volume_24h": 1e6}
        collect(
            warehouse,
            minutes,
            *[
                price("list", coin, 5, f"c{minutes}", market_cap=cap, **about)
                for coin, cap in caps.items()
            ],
        )
    with warehouse.connect() as connection:
        connection.execute("UPDATE agreed_prices SET first_seen_at = timestamp")
    for minutes, coins in ((30, ["BTC", "ETH"]), (90, ["ETH", "BTC"]), (120, ["BTC", "ETH"])):
        moment = f"TIMESTAMPTZ '{at(minutes):%Y-%m-%d %H:%M:%S}+00'"
        found = warehouse.query(f"SELECT symbol FROM universe_at({moment}, 2)")
        assert [coin for (coin,) in found] == coins


def test_a_candle_that_its_source_corrects_is_kept_as_it_was(warehouse: Warehouse) -> None:
    closes = "SELECT close FROM candles_as_of({}) ORDER BY timestamp"
    collect(warehouse, 0, candle(0, close=2), candle(5, close=3))
    (between,) = warehouse.query("SELECT max(first_seen_at) FROM cached_ohlc")[0]
    collect(warehouse, 5, candle(0, close=4, collection="c2"), candle(5, close=3, collection="c2"))
    collect(warehouse, 9, candle(0, close=5, collection="c3"))
    assert warehouse.query(closes.format("now()")) == [(5,), (3,)]
    assert warehouse.query(closes.format(f"TIMESTAMPTZ '{between}'")) == [(2,), (3,)]
    past = warehouse.query(
        "SELECT close, collection_id FROM corrected_candles ORDER BY corrected_at"
    )
    assert past == [(2, "c1"), (4, "c2")]


# Which coin


def test_each_source_s_id_is_of_one_coin_and_namesakes_are_others(warehouse: Warehouse) -> None:
    """Three lists know Uniswap; one of them also another UNI, and a fourth that one alone."""
    listed = [
        ("a", "uniswap", "Uniswap", 6e9),
        ("b", "7083", "Uniswap", 6.2e9),
        ("c", "uni", "Uniswap Protocol Token", 5.8e9),  # another name, and of its size
        ("a", "unicorn", "Unicorn Token", 4e6),
        ("d", "unicorn-2", "UNICORN Token", 3.9e6),
    ]
    collect(
        warehouse,
        0,
        *(
            price(source, "UNI", 8 if cap > 1e9 else 0.01, source_id=own, name=name, market_cap=cap)
            for source, own, name, cap in listed
        ),
    )
    found = warehouse.query(
        "SELECT source, source_id, coin_id, namesake FROM coin_ids ORDER BY ALL"
    )
    assert found == [
        ("a", "unicorn", "uni:unicorn-token", True),
        ("a", "uniswap", "uni", False),
        ("b", "7083", "uni", False),
        ("c", "uni", "uni", False),
        ("d", "unicorn-2", "uni:unicorn-token", True),
    ]


def test_a_namesake_whose_name_is_in_another_script_is_another_coin(warehouse: Warehouse) -> None:
    names = {"a": ("币安人生", 1e9), "b": ("تومان", 1e6), "c": ("🚀", 1e5), "d": ("🐸", 1e4)}
    rows = [
        price("list", "LIFE", 5, source_id=key, name=name, market_cap=cap)
        for key, (name, cap) in names.items()
    ]
    collect(warehouse, 0, *rows)
    found = warehouse.query("SELECT source_id, coin_id FROM coin_ids ORDER BY source_id")
    assert found == [("a", "life"), ("b", "life:تومان"), ("c", "life:c"), ("d", "life:d")]


def test_a_renamed_coin_goes_on_under_its_new_ticker() -> None:
    assert (ticker_name("MATIC"), ticker_name("rndr")) == ("POL", "RENDER")
    assert (ticker_name("LUNA"), ticker_name("FTM")) == ("LUNA", "FTM")


def test_a_coin_sold_by_the_thousand_has_the_price_of_one() -> None:
    row = ticker("1000SATSUSDT", "0.25", base_volume=8_000, opened="0.2")
    assert row
    assert (row["symbol"], row["source_id"]) == ("SATS", "1000SATSUSDT")
    assert (row["price_usd"], row["volume_24h"]) == (0.00025, 2_000)
    assert row["price_change_24h"] == pytest.approx(25)
    leveraged = [ticker(f"{name}_USDT", 5) for name in ("BTC3L", "BTCUP", "ETHBULL", "BTC3S")]
    assert [row and row["symbol"] for row in leveraged] == ["BTC3L", "BTCUP", "ETHBULL", "BTC3S"]


def test_at_the_moment_of_a_correction_the_candle_is_there_once(warehouse: Warehouse) -> None:
    for minutes, close in ((0, 2), (5, 4)):
        collect(warehouse, minutes, candle(0, close=close, collection=f"c{minutes}"))
    ((moment,),) = warehouse.query("SELECT first_seen_at FROM cached_ohlc")
    assert warehouse.query("SELECT close FROM candles_as_of(?)", [moment]) == [(4,)]


def test_a_user_s_own_column_of_candles_holds_no_correction_back(warehouse: Warehouse) -> None:
    collect(warehouse, 0, candle(0, close=2))
    with warehouse.connect() as connection:
        connection.execute("ALTER TABLE cached_ohlc ADD COLUMN mine VARCHAR")
    collect(warehouse, 5, candle(0, close=4, collection="c2"))
    assert warehouse.query("SELECT close, mine FROM cached_ohlc") == [(4, None)]
    assert warehouse.query("SELECT close FROM corrected_candles") == [(2,)]


# Who asks


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tehran", "America/New_York"])
def test_a_day_is_one_of_utc_wherever_it_is_asked_for(zone: str, warehouse: Warehouse) -> None:
    collect(warehouse, 0, *said(0, 100))
    midnight = datetime(2026, 11, 23, tzinfo=UTC)
    with warehouse.connect() as connection:
        connection.execute(f"SET TimeZone = '{zone}'")
        for day, usd in ((-1, 100), (0, 105)):
            start = f"TIMESTAMPTZ '{midnight + timedelta(days=day):%Y-%m-%d} 00:00:00+00'"
            connection.execute(
                "INSERT INTO agreed_bars BY NAME SELECT 'BTC' AS symbol, '1d' AS interval, "
                f"{usd} AS close, 1 AS prices, true AS collected, {start} AS timestamp"
            )
            connection.execute(
                "INSERT INTO sentiment_metrics BY NAME SELECT 'fear_greed_index' AS metric_name, "
                f"50 AS value, 'mood' AS source, 'c' AS collection_id, {start} AS timestamp"
            )
        moods = connection.execute("SELECT epoch(day), btc_return_pct FROM fear_and_greed")
        today, before = moods.fetchall()
    assert today == (midnight.timestamp(), pytest.approx(5))
    assert before == ((midnight - timedelta(days=1)).timestamp(), None)


def test_a_price_of_hours_ago_is_not_compared_as_if_it_were_now(warehouse: Warehouse) -> None:
    """When nobody collects, what is agreed stays as it was."""
    now = datetime.now(UTC)
    collect(warehouse, 0, *said(0, 100, timestamp=now - timedelta(hours=5)))
    funding = (
        "INSERT INTO funding_rates BY NAME SELECT 'BTC' AS symbol, 'swaps' AS exchange, "
        "'swaps' AS source, 'BTC-PERP' AS source_id, 0 AS rate, 101 AS mark_price, "
        "now() AS timestamp, 'c' AS collection_id"
    )
    with warehouse.connect() as connection:
        connection.execute(funding)
    answers = "SELECT (SELECT count(*) FROM top_movers), (SELECT count(*) FROM basis)"
    assert warehouse.query(answers) == [(0, 0)]
    collect(warehouse, 1, *said(1, 100, timestamp=now))
    assert warehouse.query(answers) == [(1, 1)]
