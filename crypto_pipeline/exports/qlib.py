"""qlib: its folder of binary features.

calendars/60min.txt             every moment a candle could open, from the first to the last
instruments/all.txt             each coin, its first candle and its last
features/btc/close.60min.bin    float32, little-endian: the place of the first value in the
                                calendar, then a value for each moment, NaN where there is none
"""

from pathlib import Path

from crypto_pipeline.exports.history import HISTORY, POINT_IN_TIME, Wanted
from crypto_pipeline.warehouse.sql import Connection, literal, names

FREQUENCIES = {
    "1m": "1min", "5m": "5min", "15m": "15min", "1h": "60min", "4h": "240min", "1d": "day"
}  # fmt: skip
"""qlib's names of our intervals."""

RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{of}{n}" for of in ("COM", "LPT") for n in range(10))}
"""No system's file may be called so everywhere: qlib writes a prefix before them."""

FEATURES = ("open", "high", "low", "close", "volume", *(c.name for c in POINT_IN_TIME))


def write(connection: Connection, wanted: Wanted, symbols: list[str], folder: Path) -> None:
    """The folder that qlib.init takes as provider_uri."""
    frequency, length = FREQUENCIES[wanted.interval], f"INTERVAL {wanted.seconds} SECOND"
    form = "%Y-%m-%d" if frequency == "day" else "%Y-%m-%d %H:%M:%S"
    first, last = f"(SELECT min(timestamp) FROM {HISTORY})", f"max(timestamp) + {length}"
    calendar = connection.execute(
        f"SELECT strftime(moment, '{form}') FROM (SELECT unnest(range(min(timestamp), {last}, "
        f"{length})) AS moment FROM {HISTORY}) ORDER BY moment"
    ).fetchall()
    _write_lines(folder / f"calendars/{frequency}.txt", [str(row[0]) for row in calendar])
    spans = connection.execute(
        f"SELECT symbol, min(timestamp), max(timestamp), "
        f"((epoch(min(timestamp)) - epoch({first})) / {wanted.seconds})::INTEGER "
        f"FROM {HISTORY} GROUP BY symbol ORDER BY symbol"
    ).fetchall()
    lines = [f"{symbol}\t{start:{form}}\t{end:{form}}" for symbol, start, end, _ in spans]
    _write_lines(folder / "instruments/all.txt", lines)
    for symbol, _, _, place in spans:
        _write_features(connection, wanted, symbol, place, folder)


def _write_lines(file: Path, lines: list[str]) -> None:
    file.parent.mkdir()
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _write_features(
    connection: Connection, wanted: Wanted, symbol: str, place: int, folder: Path
) -> None:
    import numpy as np  # noqa: PLC0415  (an export needs it, and nothing else here)

    columns = connection.execute(
        f"SELECT {names(FEATURES)}, "
        f"((epoch(timestamp) - min(epoch(timestamp)) OVER ()) / {wanted.seconds})::BIGINT AS slot "
        f"FROM {HISTORY} WHERE symbol = {literal(symbol)}"
    ).fetchnumpy()
    slots = np.asarray(columns.pop("slot"))
    length = int(slots.max()) + 1
    name = f"_qlib_{symbol}" if symbol in RESERVED else symbol
    here = folder / "features" / name.lower()
    here.mkdir(parents=True)
    columns["factor"] = np.ones(len(slots))
    for feature, values in columns.items():
        series = np.full(length + 1, np.nan, "<f4")
        series[0] = place
        series[1 + slots] = np.ma.filled(np.ma.asarray(values, "f8"), np.nan)
        series.tofile(here / f"{feature}.{FREQUENCIES[wanted.interval]}.bin")
