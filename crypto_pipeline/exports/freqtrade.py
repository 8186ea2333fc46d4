"""freqtrade: a data directory, with candles as its parquet handler reads them.

    BTC_USD-1h.parquet                        date (open), open, high, low, close, volume
    futures/BTC_USD_USD-1h-funding_rate.parquet    date, funding_rate: for an hour, at full hours
    futures/BTC_USD_USD-1h-open_interest.parquet   date, open_interest_amount, open_interest_value
    point_in_time/BTC_USD-1h.parquet          date (open), and all that was known at the close

Dates of funding and open interest are the moments at which they were known.
"""

from pathlib import Path

from crypto_pipeline.exports.history import HISTORY, POINT_IN_TIME, Wanted
from crypto_pipeline.warehouse.sql import Connection, copy_to, literal, names

HOUR_S = 3600
"""freqtrade lets funding be paid at full hours."""

_INTEREST = (
    "close_at AS date, open_interest AS open_interest_amount, "
    "open_interest_usd AS open_interest_value"
)


def write(connection: Connection, wanted: Wanted, symbols: list[str], folder: Path) -> None:
    """The data directory; each file is left out that would have no row."""
    for name in ("futures", "point_in_time"):
        (folder / name).mkdir()
    query = f"SELECT DISTINCT symbol, quote FROM {HISTORY} ORDER BY ALL"
    for symbol, quote in connection.execute(query).fetchall():
        _write_coin(connection, wanted, symbol, quote, folder)


def _write_coin(
    connection: Connection, wanted: Wanted, symbol: str, quote: str, folder: Path
) -> None:
    pair, swap = f"{symbol}_{quote}", f"futures/{symbol}_{quote}_{quote}"
    known = names([c.name for c in POINT_IN_TIME])
    files = {
        f"{pair}-{wanted.interval}": (
            "timestamp AS date, open, high, low, close, coalesce(volume, 0) AS volume",
            "true",
        ),
        f"point_in_time/{pair}-{wanted.interval}": (f"timestamp AS date, {known}", "true"),
        f"{swap}-{wanted.interval}-open_interest": (
            _INTEREST,
            "open_interest IS NOT NULL OR open_interest_usd IS NOT NULL",
        ),
    }
    if wanted.seconds <= HOUR_S:
        files[f"{swap}-1h-funding_rate"] = (
            "close_at AS date, funding_daily / 24 AS funding_rate",
            f"funding_daily IS NOT NULL AND epoch(close_at) % {HOUR_S} = 0",
        )
    of = f"symbol = {literal(symbol)} AND quote = {literal(quote)}"
    for name, (columns, where) in files.items():
        rows = f"FROM {HISTORY} WHERE {of} AND ({where})"
        if not connection.execute(f"SELECT 1 {rows} LIMIT 1").fetchall():
            continue
        ordered = f"(SELECT {columns} {rows} ORDER BY date)"
        copy_to(connection, ordered, folder / f"{name}.parquet", "FORMAT parquet, COMPRESSION zstd")
