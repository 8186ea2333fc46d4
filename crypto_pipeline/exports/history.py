"""The history that is exported: candles, and beside each what was known when it closed.

Owns: what an export is asked for, the columns of every export, and the rule of time: a value stands
beside a candle when its row was in the file by the candle's close, and never earlier.
Must not know: any format.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from crypto_pipeline.exports.errors import ExportError, unknown
from crypto_pipeline.tables.analytics import BARS
from crypto_pipeline.tables.market import INTERVALS
from crypto_pipeline.warehouse.sql import Connection, literal, literals

AGREED = "agreed"
"""The name of the agreed bars, where else a source is named."""

HISTORY = "exported_history"
"""The temporary table of what is exported, in the order of the columns."""

_BARS = "exported_bars"

DAY_S = 86_400

AT_ONCE = 100_000
"""So many candles are laid beside what was known at once, or one coin's: at 20 contracts a coin
that is about 1 GB of memory, and all of a hundred coins were 11."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be exported.

    provider: None for the agreed bars. symbols: none for all coins. since: candles that open then
    or later. until: candles that are over by then. as_of: as it was known then.
    """

    interval: str
    as_of: datetime
    provider: str | None = None
    symbols: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None

    @property
    def seconds(self) -> int:
        """The length of a candle."""
        return INTERVALS[self.interval]


@dataclass(frozen=True, slots=True)
class ExportedColumn:
    """A column of every export: what it means, and in which unit."""

    name: str
    meaning: str
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What was known at a moment of something that voices say again and again.

    rows: SELECT of subject (a symbol, or '' for the whole market), voice, known, timestamp, value.
    hours: for how long what a voice said counts. columns: each with the SQL that makes it of the
    last values of all voices.
    """

    name: str
    rows: str
    hours: int
    columns: tuple[tuple[ExportedColumn, str], ...]
    of_market: bool = False


_KNOWN = "greatest(coalesce(first_seen_at, timestamp), timestamp)"
"""When a row was known: when it came into the file, and where that was not kept, its own time. One
that is about a time to come is not known before that."""


def _rows(table: str, value: str, where: str, subject: str = "symbol", voice: str = "''") -> str:
    return (
        f"SELECT {subject} AS subject, {voice} AS voice, {_KNOWN} AS known, timestamp, "
        f"{value} AS value FROM {table} WHERE {where}"
    )


_CONTRACT = "source || ' ' || source_id"

TRADED = Known(
    "traded",
    _rows("agreed_prices", "volume_24h", "volume_24h IS NOT NULL"),
    24,
    (
        (
            ExportedColumn("volume_24h_usd", "Traded in the day before, as agreed_prices", "USD"),
            "last(value)",
        ),
    ),
)

KNOWN = (
    TRADED,
    Known(
        "funding",
        _rows("funding_rates", "rate * 24 / interval_hours", "interval_hours > 0", voice=_CONTRACT),
        2,
        (
            (
                ExportedColumn(
                    "funding_daily",
                    "What the long side of a perpetual swap pays a day, as a fraction: the median "
                    "over the contracts of all exchanges, the last rate of each in two hours",
                    "fraction a day",
                ),
                "median(value)",
            ),
            (
                ExportedColumn("funding_contracts", "How many contracts that is the median of"),
                "count(value)",
            ),
        ),
    ),
    Known(
        "interest_usd",
        _rows(
            "open_interest",
            "open_interest_usd",
            "open_interest_usd IS NOT NULL",
            voice=_CONTRACT,
        ),
        2,
        (
            (
                ExportedColumn(
                    "open_interest_usd",
                    "Open positions of the contracts whose exchange says dollars: the sum of the "
                    "last of each in two hours. It jumps when an exchange is not heard",
                    "USD",
                ),
                "sum(value)",
            ),
            (
                ExportedColumn("open_interest_contracts", "How many contracts that is the sum of"),
                "count(value)",
            ),
        ),
    ),
    Known(
        "interest",
        _rows("open_interest", "open_interest", "open_interest IS NOT NULL", voice=_CONTRACT),
        2,
        (
            (
                ExportedColumn(
                    "open_interest", "The same of those whose exchange says coins", "coins"
                ),
                "sum(value)",
            ),
        ),
    ),
    Known(
        "mood",
        _rows(
            "sentiment_metrics",
            "value",
            "metric_name = 'fear_greed_index' AND symbol IS NULL",
            subject="''",
            voice="source",
        ),
        48,
        (
            (
                ExportedColumn(
                    "fear_greed",
                    "Fear and greed, 0 to 100: the median over sources, the last of each in two "
                    "days",
                ),
                "median(value)",
            ),
        ),
        of_market=True,
    ),
)
"""What stands beside each candle."""

CANDLE = (
    ExportedColumn("symbol", "Canonical ticker"),
    ExportedColumn("quote", "Currency of the prices: USD of agreed bars"),
    ExportedColumn("timestamp", "When the candle opened, UTC"),
    ExportedColumn("close_at", "When it was over: what stands beside it was known by then"),
    ExportedColumn("open", "First price", "quote"),
    ExportedColumn("high", "Highest price", "quote"),
    ExportedColumn("low", "Lowest price", "quote"),
    ExportedColumn("close", "Last price", "quote"),
    ExportedColumn(
        "volume",
        "Traded volume as the source said it; of agreed bars an estimate, volume_24h_usd over the "
        "close, spread evenly over the day",
        "coins",
    ),
)
KNOWN_AT = ExportedColumn("known_at", "When the candle itself came into the file")

POINT_IN_TIME = tuple(column for known in KNOWN for column, _ in known.columns)
COLUMNS = (*CANDLE, *POINT_IN_TIME, KNOWN_AT)


def prepare(connection: Connection, wanted: Wanted) -> list[str]:
    """Make the temporary table HISTORY of what is wanted; the symbols in it, sorted.

    Raises ExportError for a provider, symbol or interval without candles.
    """
    _check(connection, wanted)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {_BARS} AS {_bars(wanted)}")
    found = connection.execute(f"SELECT symbol, count(*) FROM {_BARS} GROUP BY ALL ORDER BY ALL")
    candles = {str(symbol): int(count) for symbol, count in found.fetchall()}
    if missing := sorted(set(wanted.symbols) - candles.keys()):
        raise ExportError(
            f"no {_said(wanted)} of {', '.join(missing)}: leave out what is not there, or choose "
            "another provider, interval or time"
        )
    if not candles:
        raise ExportError(f"no {_said(wanted)} at all: collect first, or choose another time")
    make = f"CREATE OR REPLACE TEMP TABLE {HISTORY} AS"
    for part in _parts(candles):
        connection.execute(f"{make} {_select(wanted, part)}")
        make = f"INSERT INTO {HISTORY}"
    connection.execute(f"DROP TABLE {_BARS}")
    return list(candles)


def _parts(candles: dict[str, int]) -> Iterator[list[str]]:
    """The coins in parts that fit into memory, each with its number of candles; one at least."""
    part: list[str] = []
    for symbol in candles:
        if part and sum(candles[other] for other in (*part, symbol)) > AT_ONCE:
            yield part
            part = []
        part.append(symbol)
    yield part


def _said(wanted: Wanted) -> str:
    """What was looked for, in words."""
    of = f"candles of {wanted.provider}" if wanted.provider else "agreed bars"
    since = f" since {wanted.since:%Y-%m-%d %H:%M}" if wanted.since else ""
    until = min(wanted.until or wanted.as_of, wanted.as_of)
    return f"{wanted.interval} {of}{since} until {until:%Y-%m-%d %H:%M} UTC"


def _check(connection: Connection, wanted: Wanted) -> None:
    if wanted.since and wanted.until and wanted.since >= wanted.until:
        raise ExportError(f"since {wanted.since} is not before until {wanted.until}")
    if wanted.provider is None:
        if wanted.interval not in BARS:
            raise ExportError(
                f"agreed bars are of {', '.join(BARS)}, not of {wanted.interval}: "
                "choose one of these, or a provider"
            )
        return
    query = "SELECT DISTINCT provider, interval FROM cached_ohlc"
    intervals: dict[str, set[str]] = {}
    for provider, interval in connection.execute(query).fetchall():
        intervals.setdefault(provider, set()).add(interval)
    if wanted.provider not in intervals:
        raise unknown("provider", wanted.provider, intervals)
    here = intervals[wanted.provider]
    if wanted.interval not in here:
        there = ", ".join(i for i in INTERVALS if i in here)
        raise ExportError(f"{wanted.provider} has candles of {there}, not of {wanted.interval}")


def _select(wanted: Wanted, coins: list[str]) -> str:
    """The SELECT of all columns of some coins, in the order of coin and time."""
    parts = [f"bars AS MATERIALIZED (FROM {_BARS} WHERE symbol IN {literals(coins)})"]
    for known in KNOWN:
        parts += _at_closes(known, coins)
    columns = [c.name for c in COLUMNS]
    if wanted.provider is None:
        columns[columns.index("volume")] = (
            f"volume_24h_usd / close * {wanted.seconds} / {DAY_S} AS volume"
        )
    joins = "".join(
        f" LEFT JOIN {k.name}_at ON {k.name}_at.close_at = bars.close_at"
        + ("" if k.of_market else f" AND {k.name}_at.subject = bars.symbol")
        for k in KNOWN
    )
    chosen = ", ".join("bars.close_at" if c == "close_at" else c for c in columns)
    return f"WITH {', '.join(parts)} SELECT {chosen} FROM bars{joins} ORDER BY symbol, timestamp"


def _bars(wanted: Wanted) -> str:
    """The finished candles with a price, as they were known."""
    length, as_of = f"INTERVAL {wanted.seconds} SECOND", literal(wanted.as_of)
    close_at = f"timestamp + {length}"
    seen = f"greatest(coalesce(first_seen_at, {close_at}), {close_at})"
    if wanted.provider is None:
        rows, quote, volume = "agreed_bars", "'USD'", "NULL::DOUBLE"
        where = "close IS NOT NULL"
    else:
        rows, quote, volume = f"candles_as_of({as_of})", "quote", "volume"
        where = f"provider = {literal(wanted.provider)}"
    where += f" AND interval = {literal(wanted.interval)} AND {seen} <= {as_of}"
    if wanted.symbols:
        where += f" AND symbol IN {literals(wanted.symbols)}"
    if wanted.since:
        where += f" AND timestamp >= {literal(wanted.since)}"
    if wanted.until:
        where += f" AND {close_at} <= {literal(wanted.until)}"
    return (
        f"SELECT symbol, {quote} AS quote, timestamp, {close_at} AS close_at, open, high, low, "
        f"close, {volume} AS volume, {seen} AS known_at FROM {rows} WHERE {where}"
    )


def _at_closes(known: Known, coins: list[str]) -> Sequence[str]:
    """What was known of it when the candles closed, as parts of a WITH.

    Of a voice the newest that was known counts, by its own time: one that came late, and is about a
    time before, takes nothing back.
    """
    name, lasts = known.name, f"INTERVAL {known.hours} HOUR"
    one = "PARTITION BY subject, voice"
    here, subjects = ("''", [""]) if known.of_market else ("symbol", coins)
    made = ", ".join(f"{sql} AS {column.name}" for column, sql in known.columns)
    rows = (
        f"SELECT *, max(timestamp) OVER ({one} ORDER BY known, timestamp "
        f"ROWS UNBOUNDED PRECEDING) AS newest FROM ({known.rows}) "
        f"WHERE subject IN {literals(subjects)} "
        f"AND timestamp > (SELECT min(close_at) FROM bars) - {lasts} "
        "AND known <= (SELECT max(close_at) FROM bars) "
        f"QUALIFY row_number() OVER ({one}, known ORDER BY timestamp DESC, value) = 1"
    )
    asked = (
        f"SELECT subject, voice, close_at FROM (SELECT DISTINCT subject, voice FROM {name}_said) "
        f"JOIN (SELECT DISTINCT {here} AS subject, close_at FROM bars) USING (subject)"
    )
    at = (
        f"SELECT asked.subject, asked.close_at, {made} "
        f"FROM {name}_asked AS asked ASOF JOIN {name}_said AS said "
        "ON asked.subject = said.subject AND asked.voice = said.voice "
        "AND asked.close_at >= said.known "
        f"WHERE said.timestamp > asked.close_at - {lasts} GROUP BY ALL"
    )
    return (
        f"{name}_rows AS ({rows})",
        f"{name}_said AS (SELECT * FROM {name}_rows WHERE timestamp >= newest)",
        f"{name}_asked AS ({asked})",
        f"{name}_at AS ({at})",
    )
