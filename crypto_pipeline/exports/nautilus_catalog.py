"""A script: bars from candles.parquet into nautilus_trader's catalog.

    python nautilus_catalog.py 1-HOUR VENUE candles.parquet catalog

Runs where nautilus_trader is installed, which may be another environment: it must import nothing of
this package. Exit code 3 where nautilus_trader is not installed.
"""

import sys
from math import floor, log10
from typing import Any

DIGITS = 8
"""Significant digits that the lowest price of a coin keeps, as far as nautilus_trader can."""

SIZE_DECIMALS = 8


def main(step: str, venue: str, source: str, target: str) -> int:
    """Write the catalog; the exit code."""
    try:
        import nautilus_trader  # noqa: F401, PLC0415
    except ImportError:
        return 3
    import pyarrow.parquet as parquet  # noqa: PLC0415
    from nautilus_trader.persistence.catalog import ParquetDataCatalog  # noqa: PLC0415

    catalog = ParquetDataCatalog(target)
    columns = ["symbol", "quote", "close_at", "open", "high", "low", "close", "volume"]
    table = parquet.read_table(source, columns=columns)
    coins = table.group_by(["symbol", "quote"], use_threads=False).aggregate([("low", "min")])
    for coin in coins.to_pylist():
        rows = table.filter(_is(coin)).to_pylist()
        pair = _instrument(coin["symbol"], coin["quote"], venue, coin["low_min"])
        catalog.write_data([pair])
        catalog.write_data(_bars(pair, step, rows))
    return 0


def _is(coin: dict[str, Any]) -> Any:
    import pyarrow.compute as compute  # noqa: PLC0415

    same = (compute.field(name) == coin[name] for name in ("symbol", "quote"))
    return next(same) & next(same)


def _instrument(symbol: str, quote: str, venue: str, low: float) -> Any:
    """A spot pair without fees: those of a venue are for the backtest to say."""
    from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue  # noqa: PLC0415
    from nautilus_trader.model.instruments import CurrencyPair  # noqa: PLC0415
    from nautilus_trader.model.objects import (  # noqa: PLC0415
        FIXED_PRECISION,
        Currency,
        Price,
        Quantity,
    )

    decimals = min(FIXED_PRECISION, max(0, DIGITS - 1 - floor(log10(low))))
    name = Symbol(f"{symbol}/{quote}")
    return CurrencyPair(
        instrument_id=InstrumentId(name, Venue(venue)),
        raw_symbol=name,
        base_currency=Currency.from_str(symbol),
        quote_currency=Currency.from_str(quote),
        price_precision=decimals,
        size_precision=SIZE_DECIMALS,
        price_increment=Price(10.0**-decimals, decimals),
        size_increment=Quantity(10.0**-SIZE_DECIMALS, SIZE_DECIMALS),
        ts_event=0,
        ts_init=0,
    )


def _bars(pair: Any, step: str, rows: list[dict[str, Any]]) -> list[Any]:
    """Bars at their close: that is when a strategy gets them. A volume that nobody said is 0."""
    from nautilus_trader.model.data import Bar, BarType  # noqa: PLC0415
    from nautilus_trader.model.objects import QUANTITY_MAX, Quantity  # noqa: PLC0415

    kind = BarType.from_str(f"{pair.id}-{step}-LAST-EXTERNAL")
    bars = []
    for row in rows:
        volume = min(row["volume"] or 0.0, QUANTITY_MAX)
        moment = int(row["close_at"].timestamp() * 1000) * 1_000_000
        prices = (pair.make_price(row[name]) for name in ("open", "high", "low", "close"))
        bars.append(Bar(kind, *prices, Quantity(volume, SIZE_DECIMALS), moment, moment))
    return bars


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
