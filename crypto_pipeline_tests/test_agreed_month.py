"""A month of collections in which one voice in twenty lies, a stablecoin loses its peg and a coin
is renamed: what is agreed, who is named, what the bars say, and what was known when.

make test runs some hours of it with few coins. The whole, with what it came to, is

    python -m crypto_pipeline_tests.test_agreed_month --days 30 --coins 250 --voices 90
"""

import argparse
import random
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from crypto_pipeline.sources.values import ticker_name
from crypto_pipeline.warehouse.file import Warehouse
from crypto_pipeline.warehouse.load import load
from crypto_pipeline.warehouse.sql import Connection

LIARS = 0.05
"""The part of the voices of a coin that lie in an hour."""

NEAR = 0.06
"""A false price this near the true one is none."""

NOISE = 0.0005
"""How far honest voices are from the true price, as a standard deviation."""


@dataclass(slots=True)
class Account:
    """What a month came to: agreed prices and their errors, lies and those that were not named,
    finished bars, those whose close is far from the true price, and those that are not what the
    agreed prices come to; moments that were asked for, and wrong answers."""

    agreed: int = 0
    without: int = 0
    worst: float = 0.0
    lies: int = 0
    unnamed: int = 0
    lowest_peg: float = 1.0
    bars: dict[str, int] = field(default_factory=dict)
    bars_off: dict[str, int] = field(default_factory=dict)
    bars_wrong: int = 0
    probes: int = 0
    probes_wrong: int = 0


class Month:
    """A market, and what its voices say of it, every `beat` minutes.

    A tenth of the voices are aggregators, two tenths venues that quote dollars; the others quote
    USDT. For two hours in the middle, or two days of a whole month, USDT is worth 0.90.
    """

    def __init__(self, seed: int, days: float, coins: int, voices: int, beat: int) -> None:
        self.chance = np.random.default_rng(seed)
        self.coins, self.voices = coins, voices
        self.steps = int(days * 1440 / beat)
        self.beat = timedelta(minutes=beat)
        self.begin = (datetime.now(UTC) - timedelta(days=days + 1)).replace(
            hour=0, minute=0, second=20, microsecond=0
        )
        steps = self.chance.normal(0, 0.0015, (self.steps, coins)).cumsum(axis=0)
        self.truth = 50_000 / np.arange(1, coins + 1) ** 1.7 * np.exp(steps)
        self.rate = 1 + self.chance.normal(0, 0.0002, self.steps)
        self.rate[self.steps // 3 : self.steps // 2] -= 0.1
        self.names = [f"C{n}" for n in range(coins)]

    def at(self, step: int) -> datetime:
        return self.begin + step * self.beat

    def symbol(self, coin: int, step: int) -> str:
        """The ticker that sources use; the coin at place 3 is renamed in the middle."""
        if coin == 3:
            return "MATIC" if 2 * step < self.steps else "POL"
        return self.names[coin]

    def lies(self, step: int) -> Iterator[tuple[int, int, float]]:
        """Who lies about which coin, and by what factor: other liars every hour."""
        hour = self.at(step).replace(minute=0, second=0)
        chance = random.Random(hour.timestamp())
        many = max(1, round(LIARS * self.voices))
        for coin in range(self.coins):
            liars = chance.sample(range(self.voices), many)
            kind = chance.choice(("ten", "thousandth", "other", "collude"))
            for voice in liars:
                if kind == "ten":
                    yield coin, voice, 10.0
                elif kind == "thousandth":
                    yield coin, voice, 0.001
                elif kind == "collude":
                    yield coin, voice, 1.3
                else:
                    other = self.truth[step, chance.randrange(self.coins)]
                    yield coin, voice, float(other / self.truth[step, coin])

    def said(self, step: int) -> pd.DataFrame:
        """Rows of market_prices of one collection, as sources gave them: in their quote."""
        usd = self.truth[step] * self.chance.normal(1, NOISE, (self.voices, self.coins))
        for coin, voice, factor in self.lies(step):
            usd[voice, coin] *= factor
        quoted = usd.copy()
        offshore = max(4, int(0.3 * self.voices))
        quoted[offshore:] /= self.rate[step]
        voice, coin = np.indices(usd.shape)
        voice, coin = voice.ravel(), coin.ravel()
        symbols = np.array([ticker_name(self.symbol(n, step)) for n in range(self.coins)])
        lists = voice < max(2, self.voices // 10)
        caps = 1e12 / (coin + 1) ** 1.5
        frame = pd.DataFrame(
            {
                "symbol": symbols[coin],
                "quote": np.where(voice < offshore, "USD", "USDT"),
                "price_usd": quoted.ravel(),
                "market_cap": np.where(lists, caps, np.nan),
                "source": np.char.add("v", voice.astype(str)),
            }
        )
        banks = pd.DataFrame(
            {
                "symbol": "USDT",
                "quote": "USD",
                "price_usd": self.rate[step] * self.chance.normal(1, 0.0001, offshore),
                "market_cap": np.nan,
                "source": [f"v{n}" for n in range(offshore)],
            }
        )
        return pd.concat([frame, banks], ignore_index=True)


def collect(connection: Connection, month: Month, step: int) -> None:
    """Write one collection."""
    said = month.said(step)
    connection.register("said", said)
    name, at = f"c{step}", month.at(step)
    prices = (
        "SELECT '' AS _endpoint, symbol, NULL::VARCHAR AS name, symbol || quote AS source_id, "
        "NULL::VARCHAR AS contract, quote, price_usd, "
        "NULL::DOUBLE AS quoted, NULL::DOUBLE AS quote_usd, "
        "CASE WHEN isnan(market_cap) THEN NULL ELSE market_cap END AS market_cap, "
        "1e6 AS volume_24h, NULL::DOUBLE AS price_change_24h, "
        f"TIMESTAMPTZ '{at.isoformat()}' AS timestamp, NULL::TIMESTAMPTZ AS source_at, "
        f"NULL::VARCHAR AS abstains, source, '{name}' AS collection_id, "
        "NULL::TIMESTAMPTZ AS first_seen_at FROM said"
    )
    load(connection, name, {"market_prices": prices})
    connection.unregister("said")


def look(connection: Connection, month: Month, step: int, account: Account) -> None:
    """Hold what is agreed now against the truth, and who was named against who lied."""
    found = connection.execute(
        "SELECT symbol, price_usd, [voice.source FOR voice IN rejected] FROM cached_market_data"
    ).fetchall()
    agreed = {symbol: (usd, set(out)) for symbol, usd, out in found}
    if peg := agreed["USDT"][0]:
        account.lowest_peg = min(account.lowest_peg, peg)
    for coin in range(month.coins):
        usd, _ = agreed[ticker_name(month.symbol(coin, step))]
        if usd is None:
            account.without += 1
            continue
        account.agreed += 1
        account.worst = max(account.worst, abs(usd / month.truth[step, coin] - 1))
    for coin, voice, factor in month.lies(step):
        if abs(factor - 1) > NEAR:
            account.lies += 1
            _, out = agreed[ticker_name(month.symbol(coin, step))]
            account.unnamed += f"v{voice}" not in out


def look_at_bars(connection: Connection, month: Month, account: Account) -> None:
    """Hold the close of every bar against the true price at its last collection."""
    places = {ticker_name(month.symbol(n, s)): n for n in range(month.coins) for s in (0, -1)}
    places |= {ticker_name(month.symbol(3, month.steps)): 3}
    lengths = {"5m": timedelta(minutes=5), "1h": timedelta(hours=1), "1d": timedelta(days=1)}
    for symbol, interval, start, close in connection.execute(
        "SELECT symbol, interval, timestamp, close FROM agreed_bars "
        "WHERE close IS NOT NULL AND symbol <> 'USDT'"
    ).fetchall():
        last = -(-(start + lengths[interval] - month.begin) // month.beat) - 1
        true = month.truth[last, places[symbol]]
        account.bars[interval] = account.bars.get(interval, 0) + 1
        if abs(close / true - 1) > 0.0005:
            account.bars_off[interval] = account.bars_off.get(interval, 0) + 1


def recompute_bars(connection: Connection, account: Account) -> None:
    """Make every bar anew from the agreed prices, in pandas, and hold it against the stored one."""
    columns = ["symbol", "timestamp", "price_usd", "voices"]
    stored = connection.execute(f"SELECT {', '.join(columns)} FROM agreed_prices").fetchall()
    prices = pd.DataFrame(stored, columns=columns).sort_values("timestamp")
    for interval, length in (("5m", "5min"), ("1h", "1h"), ("1d", "1D")):
        by_bar = prices.groupby(["symbol", prices.timestamp.dt.floor(length)])
        usd = by_bar.price_usd
        made = pd.DataFrame(
            {
                "open": usd.first(),
                "high": usd.max(),
                "low": usd.min(),
                "close": usd.last(),
                "prices": usd.size(),
                "voices": by_bar.voices.min(),
            }
        )
        for symbol, start, *found in connection.execute(
            "SELECT symbol, timestamp, open, high, low, close, prices, voices FROM agreed_bars "
            f"WHERE interval = '{interval}' AND prices > 0"
        ).fetchall():
            account.bars_wrong += list(made.loc[symbol, start]) != found


def probe(connection: Connection, month: Month, probes: int, account: Account) -> None:
    """Ask for moments by chance what was known, and hold it against all rows, in pandas.

    Before, rows are made to have come late, up to six hours, as out of the spool.
    """
    connection.execute(
        "UPDATE agreed_prices SET first_seen_at = timestamp + to_seconds(floor(random() * "
        "CASE WHEN hash(timestamp) % 7 = 0 THEN 21600 ELSE 60 END)::BIGINT)"
    )
    columns = ["symbol", "price_usd", "timestamp", "first_seen_at"]
    stored = connection.execute(f"SELECT {', '.join(columns)} FROM agreed_prices").fetchall()
    rows = pd.DataFrame(stored, columns=columns)
    chance = random.Random(7)
    span = (month.at(month.steps) - month.begin).total_seconds()
    for _ in range(probes):
        moment = month.begin + timedelta(seconds=chance.uniform(-600, span + 30_000))
        known = rows[
            (rows.first_seen_at <= moment)
            & (rows.timestamp <= moment)
            & (rows.timestamp > moment - timedelta(days=1))
        ]
        newest = known.loc[known.groupby("symbol").timestamp.idxmax()]
        wanted = dict(zip(newest.symbol, newest.price_usd, strict=True))
        found = connection.execute(
            "SELECT symbol, price_usd, first_seen_at FROM prices_as_of(?)", [moment]
        ).fetchall()
        account.probes += 1
        early = any(seen > moment for *_, seen in found)
        account.probes_wrong += early or {s: usd for s, usd, _ in found} != wanted


def run(month: Month, folder: Path, probes: int, say: bool = False) -> Account:
    account = Account()
    with Warehouse(folder / "crypto.duckdb").connect() as connection:
        for step in range(month.steps):
            collect(connection, month, step)
            look(connection, month, step, account)
            if say and step % 96 == 0:
                print(f"{month.at(step):%d %b %H:%M}", account, flush=True)
        look_at_bars(connection, month, account)
        recompute_bars(connection, account)
        probe(connection, month, probes, account)
    return account


def test_a_month_of_liars_in_short(tmp_path: Path) -> None:
    account = run(Month(1, days=0.25, coins=8, voices=30, beat=5), tmp_path, probes=50)
    assert account.without == 0
    assert account.worst < 0.002
    assert account.lies > 400
    assert account.unnamed == 0
    assert account.lowest_peg < 0.91
    assert account.bars["1h"] >= 5 * 8
    assert sum(account.bars_off.values()) <= 0.001 * sum(account.bars.values()) + 1
    assert account.bars_wrong == 0
    assert account.probes == 50
    assert account.probes_wrong == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--days", type=float, default=30)
    parser.add_argument("--coins", type=int, default=250)
    parser.add_argument("--voices", type=int, default=90)
    parser.add_argument("--beat", type=int, default=5, help="minutes between two collections")
    parser.add_argument("--probes", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    month = Month(chosen.seed, chosen.days, chosen.coins, chosen.voices, chosen.beat)
    with tempfile.TemporaryDirectory() as folder:
        print(run(month, Path(folder), chosen.probes, say=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
