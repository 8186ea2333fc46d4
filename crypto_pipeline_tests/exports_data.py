"""A market for the exports: a fortnight of candles, and what was known beside them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from math import sin
from typing import Any

import duckdb
import pandas as pd

from crypto_pipeline.warehouse.layout import migrate

START = datetime(2026, 11, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
HOURS = 24 * 14
AS_OF = START + HOURS * HOUR
COINS = {"BTC": 90_000.0, "ETH": 3_000.0, "SHIB": 0.00002}


@contextmanager
def market() -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with every table, view and macro, and hourly candles in it."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        migrate(connection)
        for symbol in COINS:
            put(connection, "agreed_bars", [agreed(symbol, hour) for hour in range(HOURS)])
            put(connection, "cached_ohlc", [candle(symbol, hour) for hour in range(HOURS)])
        yield connection


def close_of(symbol: str, hour: int) -> float:
    """Prices that rise and fall, each coin's on a beat of its own."""
    beat = 7.0 + list(COINS).index(symbol)
    return COINS[symbol] * (1 + 0.05 * sin(hour / beat) + 0.0005 * hour)


def agreed(symbol: str, hour: int, **about: Any) -> dict[str, Any]:
    """A row of agreed_bars; it came a minute after its close."""
    opened, closed = close_of(symbol, hour - 1), close_of(symbol, hour)
    row = {
        "symbol": symbol,
        "interval": "1h",
        "timestamp": START + hour * HOUR,
        "open": opened,
        "high": max(opened, closed) * 1.001,
        "low": min(opened, closed) * 0.999,
        "close": closed,
        "prices": 12,
        "voices": 3,
        "collected": True,
        "first_seen_at": START + (hour + 1) * HOUR,
    }
    return {**row, **about}


def candle(symbol: str, hour: int, **about: Any) -> dict[str, Any]:
    """A row of cached_ohlc."""
    row = agreed(symbol, hour)
    for name in ("prices", "voices", "collected"):
        del row[name]
    row |= {"volume": 10.0 + hour, "quote": "USDT", "source": "alpha", "provider": "alpha"}
    row |= {"fetched_at": row["first_seen_at"], "collection_id": "c"}
    return {**row, **about}


def _of_contract() -> dict[str, Any]:
    names = {"symbol": "BTC", "source_id": "BTC-PERP", "source": "venue", "exchange": "venue"}
    return {**names, "collection_id": "c"}


def funding(at: datetime, rate: float, seen: datetime | None = None, **about: Any) -> Any:
    """A row of funding_rates, paid every eight hours."""
    row: dict[str, Any] = _of_contract()
    row |= {"rate": rate, "interval_hours": 8.0, "timestamp": at}
    return {**row, "first_seen_at": seen, **about}


def interest(at: datetime, seen: datetime | None = None, **about: Any) -> Any:
    """A row of open_interest."""
    return {**_of_contract(), "timestamp": at, "first_seen_at": seen, **about}


def mood(at: datetime, value: float, seen: datetime | None = None, source: str = "index") -> Any:
    """A row of sentiment_metrics: fear and greed."""
    row = {"metric_name": "fear_greed_index", "symbol": None, "value": value, "timestamp": at}
    return {**row, "source": source, "collection_id": "c", "first_seen_at": seen}


def traded(at: datetime, volume: float, seen: datetime | None = None) -> Any:
    """A row of agreed_prices, with what was traded in a day."""
    row = {"symbol": "BTC", "price_usd": 1.0, "volume_24h": volume, "voices": 3}
    return {**row, "spread_pct": 0.0, "rejected": [], "timestamp": at, "first_seen_at": seen}


def put(connection: duckdb.DuckDBPyConnection, table: str, rows: list[dict[str, Any]]) -> None:
    """Write the rows as they are, past every rule of the warehouse."""
    frame = pd.DataFrame(rows)
    connection.register("rows_to_put", frame)
    connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM rows_to_put")
    connection.unregister("rows_to_put")


def usual(connection: duckdb.DuckDBPyConnection) -> None:
    """What two exchanges and an index say in that time, seen a minute later each time."""
    late = timedelta(minutes=1)
    every = [START + n * HOUR for n in range(HOURS)]
    put(connection, "funding_rates", [
        funding(at, 0.0001 * n % 0.0008, at + late, source=source, exchange=source)
        for n, at in enumerate(every) for source in ("venue", "other")
    ])  # fmt: skip
    put(connection, "open_interest", [
        interest(at, at + late, open_interest=1e4 + n, open_interest_usd=9e8 + n)
        for n, at in enumerate(every)
    ])  # fmt: skip
    put(connection, "sentiment_metrics", [
        mood(at, 40.0 + n % 20, at + 3 * HOUR) for n, at in enumerate(every[::24])
    ])  # fmt: skip
    put(
        connection,
        "agreed_prices",
        [traded(at, 2.4e9 + n, at + late) for n, at in enumerate(every)],
    )
