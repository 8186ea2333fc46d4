"""One record's row: which times are believed, what a lacking field costs, who abstains; and the
candles of one answer beside one another."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from crypto_pipeline.collection.exchange import Answer
from crypto_pipeline.collection.rows import RowMaker, Unwanted
from crypto_pipeline.sources.spec import Ask, Endpoint, minutes
from crypto_pipeline.sources.values import WrongShape
from crypto_pipeline.tables import Candle, FundingRate, GlobalMarket, MarketPrice, NewsArticle
from crypto_pipeline.tables.market import INTERVALS
from crypto_pipeline_tests.conftest import source

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)


def maker(endpoint: Endpoint) -> RowMaker:
    return RowMaker(endpoint, Ask(), Answer(200, b"", "", NOW), "c1")


def of_price(record: dict[str, Any]) -> dict[str, Any]:
    """A row function that asks for everything."""
    return {
        "source_id": record["id"],
        "symbol": record["id"],
        "quote": "USD",
        "price_usd": record["price"],
        "volume_24h": record["volume"],
        "source_at": record["at"],
    }


def price(at: datetime | None = None, volume: float | None = None, **about: Any) -> MarketPrice:
    """The row of a price, its own clock and its volume."""
    endpoint = source("alpha", row=of_price, **about)
    row = maker(endpoint).row({"id": "btc", "price": 1, "volume": volume, "at": at})
    assert isinstance(row, MarketPrice)
    return row


# Times


def funding(next_at: datetime, **about: datetime) -> FundingRate:
    """The row of a funding rate that is paid next then."""
    endpoint = source("alpha").source.endpoint(
        FundingRate, "/rates", row=lambda record: record, min_interval=minutes(5)
    )
    record = {"symbol": "BTC", "source_id": "x", "rate": 0.0001, "next_funding_at": next_at}
    row = maker(endpoint).row({**record, **about})
    assert isinstance(row, FundingRate)
    return row


@pytest.mark.parametrize("at", [NOW - DAY, NOW, NOW + 2 * DAY])
def test_a_time_within_its_window_is_believed(at: datetime) -> None:
    assert funding(at).next_funding_at == at


@pytest.mark.parametrize(
    ("at", "why"), [(NOW - DAY - SECOND, "too long ago"), (NOW + 2 * DAY + SECOND, "in the future")]
)
def test_a_time_out_of_its_window_is_refused(at: datetime, why: str) -> None:
    with pytest.raises(ValueError, match=f"next_funding_at: .* is {why}"):
        funding(at)


def test_each_time_of_a_record_is_looked_at() -> None:
    for name in ("next_funding_at", "timestamp"):
        with pytest.raises(ValueError, match=f"{name}: .* is too long ago"):
            funding(NOW, **{name: NOW - 2 * DAY})
    assert funding(NOW, timestamp=NOW - DAY).timestamp == NOW - DAY


@pytest.mark.parametrize(
    ("at", "why"),
    [(-DAY, ""), (DAY, ""), (-DAY - SECOND, "too long ago"), (DAY + SECOND, "in the future")],
)
def test_a_time_that_a_source_gives_lies_within_a_day_where_its_table_says_nothing(
    at: timedelta, why: str
) -> None:
    endpoint = source("alpha", row=lambda record: {**of_price(record), "timestamp": NOW + at})
    record = {"id": "btc", "price": 1, "volume": None, "at": None}
    if not why:
        row = maker(endpoint).row(record)
        assert isinstance(row, MarketPrice)
        assert row.timestamp == NOW + at
    else:
        with pytest.raises(ValueError, match=f"timestamp: .* is {why}"):
            maker(endpoint).row(record)


@pytest.mark.parametrize("at", [NOW - 9999 * DAY, NOW + timedelta(hours=1)])
def test_a_window_may_reach_back_for_ever(at: datetime) -> None:
    assert price(at).source_at == at


@pytest.mark.parametrize("ahead", [DAY, DAY + SECOND])
def test_where_a_table_says_so_a_time_out_of_its_window_costs_its_column_alone(
    ahead: timedelta,
) -> None:
    endpoint = source("alpha").source.endpoint(
        NewsArticle, "/news", row=lambda record: record, min_interval=minutes(5)
    )
    about = {"title": "News", "url": "https://paper.example/1"}
    record = {**about, "article_key": "paper.example/1", "published_at": NOW + ahead}
    row = maker(endpoint).row(record)
    assert isinstance(row, NewsArticle)
    assert row.published_at == (NOW + ahead if ahead == DAY else None)


@pytest.mark.parametrize("ahead", [timedelta(hours=1) + SECOND, DAY])
def test_a_price_from_more_than_an_hour_ahead_is_refused(ahead: timedelta) -> None:
    with pytest.raises(ValueError, match=r"source_at: .* is in the future"):
        price(NOW + ahead)


def test_the_clock_of_the_engine_itself_is_held_to_no_window() -> None:
    row = price()
    assert (row.timestamp, row.source_at) == (NOW, None)


# A field that is lacking


def test_a_lacking_field_costs_its_column_and_is_counted() -> None:
    made = maker(source("alpha", row=of_price))
    rows = [
        made.row({"id": "btc", "price": 1, "volume": 9000, "at": NOW}),
        made.row({"id": "eth", "price": 1, "at": NOW}),
        made.row({"id": "sol", "price": 1}),
    ]
    volumes = [row.volume_24h for row in rows if isinstance(row, MarketPrice)]
    assert volumes == [9000, None, None]
    assert made.lacking == {"volume": 2, "at": 1}


def test_a_field_that_no_row_can_be_without_refuses_the_row_and_is_named() -> None:
    made = maker(source("alpha", row=of_price))
    with pytest.raises(KeyError, match="price"):
        made.row({"id": "btc", "volume": 9000, "at": NOW})
    assert made.lacking == {}


def test_a_lacking_field_inside_a_record_costs_its_column_too() -> None:
    def row(record: dict[str, Any]) -> dict[str, Any]:
        return of_price({**record, "volume": record["day"][0]["volume"], "at": None})

    made = maker(source("alpha", row=row))
    found = made.row({"id": "btc", "price": 1, "day": [{}]})
    assert isinstance(found, MarketPrice)
    assert (found.price_usd, found.volume_24h) == (1, None)
    assert made.lacking == {"volume": 1}


def test_a_record_that_lacks_what_decides_whether_it_is_wanted_is_refused() -> None:
    def row(record: dict[str, Any]) -> dict[str, Any] | None:
        return of_price(record) if record["type"] == "spot" else None

    with pytest.raises(KeyError, match="type"):
        maker(source("alpha", row=row)).row({"id": "btc", "price": 1, "volume": 1, "at": None})


def test_a_lacking_field_decides_nothing_by_being_none() -> None:
    def row(record: dict[str, Any]) -> dict[str, Any] | None:
        return None if record["type"] == "future" else of_price(record)

    with pytest.raises(KeyError, match="type"):
        maker(source("alpha", row=row)).row({"id": "btc", "price": 1, "volume": 1, "at": None})


def test_a_record_of_another_shape_is_no_lacking_field() -> None:
    def row(record: dict[str, Any]) -> dict[str, Any]:
        raise WrongShape("a list where an object was declared")

    with pytest.raises(WrongShape):
        maker(source("alpha", row=row)).row({})


def test_a_record_that_is_left_out_on_purpose_is_no_row() -> None:
    assert maker(source("alpha", row=lambda record: None)).row({}) is None


# What is no value


@pytest.mark.parametrize("value", [True, False])
def test_a_boolean_is_refused_by_its_column(value: bool) -> None:
    with pytest.raises(TypeError, match=f"volume_24h: {value} is not a value"):
        maker(source("alpha", row=of_price)).row(
            {"id": "btc", "price": 1, "volume": value, "at": None}
        )


def test_a_ticker_is_written_one_way_and_the_engine_fills_in_the_rest() -> None:
    row = price()
    assert (row.symbol, row.quote, row.source, row.collection_id) == ("BTC", "USD", "alpha", "c1")
    assert row.timestamp == NOW


# Who abstains


@pytest.mark.parametrize(
    ("age", "abstains"),
    [(timedelta(minutes=30), None), (timedelta(minutes=30) + SECOND, "stale"), (None, None)],
)
def test_a_price_whose_own_clock_is_older_than_half_an_hour_is_stale(
    age: timedelta | None, abstains: str | None
) -> None:
    assert price(NOW - age if age else None).abstains == abstains


@pytest.mark.parametrize(("age", "abstains"), [(119, None), (121, "stale")])
def test_an_endpoint_may_declare_its_clock_slow(age: float, abstains: str | None) -> None:
    row = price(NOW - timedelta(minutes=age), stale_after=timedelta(hours=2))
    assert row.abstains == abstains


@pytest.mark.parametrize(
    ("volume", "abstains"), [(0, "untraded"), (999.99, "untraded"), (1000, None), (None, None)]
)
def test_a_price_that_less_than_a_thousand_dollars_were_traded_at_is_untraded(
    volume: float | None, abstains: str | None
) -> None:
    assert price(volume=volume).abstains == abstains


def test_a_price_that_is_stale_and_untraded_is_stale() -> None:
    assert price(NOW - DAY, volume=0).abstains == "stale"


# Candles, one by one


def candle(**about: Any) -> Candle:
    values = {
        "symbol": "BTC",
        "interval": "5m",
        "timestamp": NOW,
        "open": 2,
        "high": 4,
        "low": 1,
        "close": 3,
        "quote": "USD",
        "provider": "alpha",
        "fetched_at": NOW,
        "collection_id": "c1",
    }
    return Candle.model_validate({**values, **about})


@pytest.mark.parametrize(
    "about",
    [
        {"low": 1, "high": 1, "open": 1, "close": 1},
        {"low": 2, "high": 3},
        {"open": 4, "close": 1},
        {"interval": "1m", "timestamp": NOW + timedelta(minutes=1)},
        {"interval": "4h", "timestamp": NOW + timedelta(hours=1)},
        {"interval": "1d", "timestamp": NOW + timedelta(hours=1)},
    ],
)
def test_a_candle_that_can_be(about: dict[str, Any]) -> None:
    candle(**about)


@pytest.mark.parametrize(
    ("about", "why"),
    [
        ({"high": 2.9}, "contradict"),
        ({"low": 2.1}, "contradict"),
        ({"open": 4.1}, "contradict"),
        ({"close": 0.9}, "contradict"),
        ({"open": 0.9}, "contradict"),
        ({"interval": "7m"}, "not one of 1m, 5m, 15m, 1h, 4h, 1d"),
        ({"timestamp": NOW + timedelta(minutes=1)}, "not the open time of a 5m candle"),
        ({"interval": "1h", "timestamp": NOW + timedelta(minutes=30)}, "open time of a 1h"),
        ({"interval": "4h", "timestamp": NOW + timedelta(minutes=30)}, "open time of a 4h"),
        ({"interval": "1d", "timestamp": NOW + timedelta(minutes=30)}, "open time of a 1d"),
    ],
)
def test_a_candle_that_cannot_be(about: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        candle(**about)


@pytest.mark.parametrize(("interval", "seconds"), INTERVALS.items())
def test_a_candle_is_wanted_from_the_moment_when_it_is_finished(
    interval: str, seconds: int
) -> None:
    units = {"m": 60, "h": 3600, "d": 86400}
    assert seconds == int(interval[:-1]) * units[interval[-1]]
    begun = candle(interval=interval)
    assert begun.wanted(NOW + timedelta(seconds=seconds))
    assert not begun.wanted(NOW + timedelta(seconds=seconds) - SECOND)


def test_a_candle_that_goes_on_is_left_out_and_no_error() -> None:
    record = candle().model_dump(exclude={"provider", "fetched_at", "collection_id"})
    declared = source("alpha").source
    endpoint = declared.endpoint(Candle, "/candles", row=lambda r: r, min_interval=minutes(5))
    with pytest.raises(Unwanted):
        maker(endpoint).row({**record, "timestamp": NOW})
    assert maker(endpoint).row({**record, "timestamp": NOW - timedelta(minutes=5)})


@pytest.mark.parametrize(
    ("ahead", "raised"), [(DAY, Unwanted), (DAY + timedelta(minutes=5), ValueError)]
)
def test_a_candle_that_opens_within_a_day_goes_on_and_a_later_one_is_none(
    ahead: timedelta, raised: type[Exception]
) -> None:
    record = candle().model_dump(exclude={"provider", "fetched_at", "collection_id"})
    declared = source("alpha").source
    endpoint = declared.endpoint(Candle, "/candles", row=lambda r: r, min_interval=minutes(5))
    with pytest.raises(raised):
        maker(endpoint).row({**record, "timestamp": NOW + ahead})


@pytest.mark.parametrize(
    ("off", "why"),
    [
        (-7 * DAY, ""),
        (timedelta(hours=1), ""),
        (-7 * DAY - SECOND, "too long ago"),
        (timedelta(hours=1) + SECOND, "in the future"),
    ],
)
def test_the_clock_of_a_total_is_a_week_old_at_most(off: timedelta, why: str) -> None:
    endpoint = source("alpha").source.endpoint(
        GlobalMarket, "/total", row=lambda record: record, min_interval=minutes(5)
    )
    record = {"total_market_cap_usd": 3e12, "source_at": NOW + off}
    if not why:
        row = maker(endpoint).row(record)
        assert isinstance(row, GlobalMarket)
        assert row.source_at == NOW + off
    else:
        with pytest.raises(ValueError, match=f"source_at: .* is {why}"):
            maker(endpoint).row(record)


# Candles beside one another


def series(*gaps_s: int, interval: str = "5m", **about: Any) -> list[Candle]:
    """Candles that lie so far apart."""
    begin = NOW.replace(hour=0)
    moments = [begin + timedelta(seconds=sum(gaps_s[:n])) for n in range(len(gaps_s) + 1)]
    return [candle(interval=interval, timestamp=at, **about) for at in moments]


def apart(rows: Sequence[Candle]) -> list[str]:
    return [why for place, why in Candle.misfits(rows) if place is None]


@pytest.mark.parametrize(
    ("interval", "gaps", "found"),
    [
        ("5m", (300,) * 4, None),
        ("5m", (300, 900, 600, 300), None),
        ("5m", (300, 300, 1200, 300, 300), None),
        ("5m", (900, 1800, 900, 900), 900),
        ("5m", (600, 600, 600, 600), 600),
        ("5m", (900, 900, 900), None),
        ("15m", (900, 900, 3600, 900), None),
        ("1h", (3600,) * 4, None),
        ("4h", (3600,) * 4, 3600),
        ("4h", (14400, 14400, 3600, 14400), 3600),
        ("1d", (86400, 82800, 86400, 86400), None),
        ("1d", (86400, 90000, 86400, 86400), None),
        ("1d", (3600,) * 4, 3600),
        ("1d", (75600, 86400, 86400, 86400), 75600),
    ],
)
def test_candles_lie_as_far_apart_as_was_asked(
    interval: str, gaps: tuple[int, ...], found: int | None
) -> None:
    why = f"BTC: candles lie {found} s apart where {interval} was asked for"
    assert apart(series(*gaps, interval=interval)) == ([why] if found else [])


def test_the_order_of_candles_and_one_that_comes_twice_are_nothing_wrong() -> None:
    rows = series(300, 300, 300, 300)
    assert apart([*reversed(rows), rows[2]]) == []


def test_candles_of_two_coins_and_of_two_intervals_are_held_apart() -> None:
    wrong = series(900, 900, 900, 900)
    right = series(300, 300, 300, 300, symbol="ETH")
    longer = series(900, 900, 900, 900, interval="15m", symbol="ETH")
    assert len(apart([*wrong, *right, *longer])) == 1


def spikes(rows: Sequence[Candle]) -> list[int | None]:
    return [place for place, _ in Candle.misfits(rows) if place is not None]


def usual(closes: int) -> list[Candle]:
    """Candles that close at 10."""
    return series(*[300] * (closes - 1), open=10, close=10, low=10, high=10)


@pytest.mark.parametrize(
    ("about", "spike"),
    [
        ({"high": 100}, False),
        ({"high": 100.1}, True),
        ({"low": 1}, False),
        ({"low": 0.99}, True),
        ({"high": 1000, "open": 1000, "close": 1000, "low": 1000}, True),
    ],
)
def test_a_candle_ten_times_off_the_others_of_its_answer_is_none(
    about: dict[str, Any], spike: bool
) -> None:
    rows = usual(5)
    rows[3] = candle(**{"open": 10, "close": 10, "low": 10, "high": 10, **about})
    assert spikes(rows) == ([3] if spike else [])


def test_of_four_candles_nobody_knows_what_is_usual() -> None:
    odd = candle(open=1000, close=1000, low=1000, high=1000)
    assert spikes([odd, *usual(3)]) == []
    assert spikes([odd, *usual(4)]) == [0]
