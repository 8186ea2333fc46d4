"""A file as it is after 40 days, made by a fixed seed, with all that may stand in the way planted.

Times are relative to now, as the answers are. Numbers of bars, prices and candles need not fit one
another: each answer is computed from its own tables.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import numpy as np
import pandas as pd

COINS = ("BTC", "ETH", "SOL", "ADA", "DOT", "LTC", "UNI", "XLM", "NEW", "GONE", "STILL", "ALONE")
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
DAYS = 40

Rows = Iterator[dict[str, Any]]


def put(connection: duckdb.DuckDBPyConnection, table: str, rows: Rows) -> None:
    """Add rows to a table; columns that they lack are NULL."""
    connection.register("made", pd.DataFrame(list(rows)))
    connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM made")
    connection.unregister("made")


class Made:
    """Rows of one file. Every method makes those of one table."""

    def __init__(self, now: datetime, seed: int = 20261127) -> None:
        self.now = now
        self.hour = now.replace(minute=0, second=0, microsecond=0)
        self.day = self.hour.replace(hour=0)
        self.chance = np.random.default_rng(seed)
        self.usd = {coin: float(1000 / (n + 1)) for n, coin in enumerate(COINS)}

    def fill(self, connection: duckdb.DuckDBPyConnection) -> None:
        put(connection, "agreed_bars", self.bars("1h", self.hour, HOUR, 12))
        put(connection, "agreed_bars", self.bars("1d", self.day, DAY, 288))
        put(connection, "agreed_bars", self.bars_of_a_clock_ahead())
        for table, rows in (
            ("agreed_prices", self.agreed_prices()),
            ("cached_market_data", self.agreed_view()),
        ):
            connection.register("made", pd.DataFrame(list(rows)))
            connection.execute(f"INSERT INTO {table} BY NAME SELECT *, rejected: [] FROM made")
        connection.execute(
            "UPDATE cached_market_data SET rejected = [{'source': 'venue_2', 'price_usd': 1.0, "
            "'off_pct': 2.0, 'why': 'frozen'}] WHERE symbol IN ('SOL', 'ALONE')"
        )
        put(connection, "market_prices", self.market_prices())
        put(connection, "cached_ohlc", self.candles())
        put(connection, "corrected_candles", self.corrected())
        put(connection, "funding_rates", self.funding())
        put(connection, "open_interest", self.interest())
        put(connection, "stablecoin_supply", self.supply())
        put(connection, "defi_tvl", self.locked())
        put(connection, "gas_prices", self.gas())
        put(connection, "whale_transactions", self.whales())
        put(connection, "sentiment_metrics", self.moods())
        put(connection, "news_articles", self.articles())
        put(connection, "coins", self.listed())
        connection.register("made", pd.DataFrame(list(self.rates())))
        connection.execute("INSERT INTO fiat_rates BY NAME SELECT *, rejected: [] FROM made")

    def maybe(self, value: Any, part: float) -> Any:
        """NULL in that part of all cases."""
        return None if self.chance.random() < part else value

    def bars(self, interval: str, end: datetime, length: timedelta, prices: int) -> Rows:
        """Of each coin: bars without prices, an outage of all, rows that are not there, and unusual
        hours in the last day."""
        count = int(DAYS * DAY / length)
        market = self.chance.normal(0, 0.01, count + 1)
        for coin in COINS:
            close = self.usd[coin]
            for ago in range(count, 0, -1):
                own = 0.003 * self.chance.standard_t(2)  # now and then far from the usual
                close *= 1 if coin == "STILL" else float(np.exp(0.5 * market[ago] + own))
                bar = {
                    "symbol": coin,
                    "interval": interval,
                    "timestamp": end - ago * length,
                    "close": self.maybe(close, 0.03),
                    "voices": int(self.chance.integers(4, 8)),
                    "prices": prices,
                    "collected": True,
                }
                self.disturb(bar, coin, ago, count)
                if not self.missing(coin, ago, count):
                    yield {**bar, **dict.fromkeys(("open", "high", "low"), bar["close"])}

    def disturb(self, bar: dict[str, Any], coin: str, ago: int, count: int) -> None:
        close = bar["close"] or self.usd[coin]
        if ago in (count // 4, count // 4 + 1):
            bar |= {"close": None, "collected": False}
        elif coin in ("BTC", "SOL", "UNI") and ago == 5:
            bar["close"] = close * 1.4
        elif coin in ("BTC", "SOL", "UNI", "ETH", "ADA", "DOT") and ago in (6, 4):
            bar["close"] = close
        elif coin in ("ETH", "ADA", "DOT") and ago == 3:
            bar["close"] = close * 0.6
            bar |= {"ETH": {}, "ADA": {"voices": 2}, "DOT": {"voices": 3, "prices": 4}}[coin]
        elif coin == "UNI" and ago == 2:
            bar["voices"] = None
        if bar["close"] is None:
            bar |= {"prices": 0, "voices": None}

    @staticmethod
    def missing(coin: str, ago: int, count: int) -> bool:
        """Whether a bar is not there at all."""
        return (
            (coin == "NEW" and ago > count // 2)
            or (coin == "GONE" and ago < count // 8)
            or (coin == "LTC" and ago in (7, 8, 9, count // 3))
        )

    def bars_of_a_clock_ahead(self) -> Rows:
        for coin in ("BTC", "ADA"):
            for interval, length in (("1h", HOUR), ("1d", DAY)):
                moment = (self.hour if interval == "1h" else self.day) + 400 * length
                prices = dict.fromkeys(("open", "high", "low", "close"), 1e9)
                yield {
                    "symbol": coin,
                    "interval": interval,
                    "timestamp": moment,
                    "voices": 1,
                    "prices": 1,
                    "collected": True,
                    **prices,
                }

    def agreed_prices(self) -> Rows:
        for rank, coin in enumerate(COINS, 1):
            for ago in range(-2, 8 * 48):
                silent = coin in ("SOL", "BTC", "ETH") and 47 <= ago <= 50
                gone = coin == "ALONE" or (coin == "GONE" and ago < 60)
                if silent or gone or self.chance.random() < 0.4:
                    continue
                seen = self.now - ago * HOUR / 2 - float(self.chance.random()) * HOUR / 3
                yield {
                    "symbol": coin,
                    "price_usd": self.usd[coin] * float(self.chance.uniform(0.8, 1.2)),
                    "rank": self.maybe(rank, 0.05),
                    "voices": int(self.chance.integers(1, 8)),
                    "spread_pct": 0.1,
                    "timestamp": seen,
                    "first_seen_at": self.maybe(
                        seen + (3 * HOUR if ago % 5 == 0 else HOUR / 60), 0.05
                    ),
                }

    def agreed_view(self) -> Rows:
        for coin in COINS:
            disputed = coin == "XLM"
            yield {
                "symbol": coin,
                "state": "disputed" if disputed else "agreed",
                "name": self.maybe(coin.title(), 0.2),
                "price_usd": None if disputed else self.usd[coin],
                "volume_24h": self.maybe(float(self.chance.uniform(1e6, 1e9)), 0.2),
                "sources": 5,
                "voices": None if disputed else int(self.chance.integers(1, 8)),
                "fetched_at": self.now - (2 * HOUR if coin == "LTC" else HOUR / 30),
            }

    def market_prices(self) -> Rows:
        """Venues with two pairs of each coin, aggregators that know not every capitalisation, an
        oracle without volumes; one venue alone has a coin."""
        venues = [f"venue_{n}" for n in range(5)]
        for source in (*venues, "list_0", "list_1", "oracle"):
            for coin in COINS:
                if coin == "ALONE" and source not in ("venue_2", "venue_3"):
                    continue
                for quote in ("USD", "USDT") if source in venues else ("USD",):
                    for minutes in (-20, 2, 7, 12, 30.1, 41):
                        if self.chance.random() < 0.7:
                            yield self.market_price(source, coin, quote, minutes)

    def market_price(self, source: str, coin: str, quote: str, minutes: float) -> dict[str, Any]:
        far = self.chance.random() < 0.2
        off = self.chance.choice([1.3, 1.052, 1.048]) if far else self.chance.normal(1, 0.002)
        jitter = timedelta(seconds=float(self.chance.uniform(0, 40)))
        listed = source.startswith("list")
        abstains = "stale" if self.chance.random() < 0.1 else None
        return {
            "symbol": coin,
            "source_id": f"{coin}-{quote}",
            "quote": quote,
            "price_usd": self.usd[coin] * float(off),
            "market_cap": self.maybe(1e9, 0.3) if listed else None,
            "volume_24h": None if source == "oracle" else self.volume(),
            "timestamp": self.now - timedelta(minutes=minutes) - jitter,
            "abstains": abstains,
            "source": source,
            "collection_id": f"c{minutes}",
        }

    def volume(self) -> Any:
        some = float(self.chance.uniform(1e3, 1e7))
        return float(self.chance.choice([some, some, some, 0.0])) if some > 1e6 else None

    def candles(self) -> Rows:
        for provider in ("venue_0", "venue_1", "venue_2"):
            for coin in COINS[:6]:
                for ago in range(-1, 33 * 24):
                    if self.chance.random() < 0.05:
                        continue
                    yield self.candle(provider, coin, "1h", self.hour - ago * HOUR)
                yield self.candle(provider, coin, "5m", self.hour - HOUR)

    def candle(self, provider: str, coin: str, interval: str, at: datetime) -> dict[str, Any]:
        usd = self.usd[coin]
        fetched = at + HOUR + float(self.chance.random()) * HOUR
        return {
            "symbol": coin,
            "interval": interval,
            "timestamp": at,
            "open": usd,
            "high": usd * float(self.chance.uniform(1, 1.02)),
            "low": usd * float(self.chance.uniform(0.98, 1)),
            "close": usd,
            "volume": 1.0,
            "quote": "USDT",
            "source": provider,
            "provider": provider,
            "fetched_at": fetched,
            "collection_id": "c1",
            "first_seen_at": self.maybe(fetched + HOUR / 60, 0.1),
        }

    def corrected(self) -> Rows:
        for hours in range(5, 60):
            row = self.candle("venue_0", "BTC", "1h", self.hour - hours * HOUR)
            yield {**row, "corrected_at": self.now - float(self.chance.uniform(0, 40)) * HOUR}

    def contracts(self) -> Iterator[dict[str, Any]]:
        """Exchanges with one or two contracts of each coin, observed several times in hours."""
        for n in range(4):
            for coin in (*COINS, "UNLISTED"):
                if coin == "ALONE" and n:
                    continue
                for contract in ("PERP", "INVERSE") if n < 2 else ("PERP",):
                    for minutes in (-30, 5, 20, 30.5, 65, 119, 150):
                        old = {"UNI": 30, "NEW": 140}.get(coin, -60)
                        if minutes < old or self.chance.random() < 0.2:
                            continue
                        yield {
                            "symbol": coin,
                            "source_id": f"{coin}-{contract}",
                            "source": f"exchange_{n}",
                            "exchange": f"exchange_{n}",
                            "timestamp": self.now - timedelta(minutes=minutes),
                            "collection_id": f"c{minutes}",
                        }

    def funding(self) -> Rows:
        for contract in self.contracts():
            own = contract["symbol"] == "SOL" and contract["source"] == "exchange_0"
            perp = contract["source_id"].endswith("PERP")
            rate = (0.01 if perp else -0.01) if own else float(self.chance.normal(0, 0.0003))
            yield {
                **contract,
                "rate": 0.0 if contract["symbol"] == "STILL" else rate,
                "rate_kind": self.maybe("predicted", 0.5),
                "interval_hours": self.maybe(float(self.chance.choice([1, 4, 8])), 0.1),
                "mark_price": self.maybe(float(self.chance.uniform(90, 1100)), 0.1),
            }

    def interest(self) -> Rows:
        for contract in self.contracts():
            coin = contract["symbol"]
            amount = 0.0 if coin == "STILL" else float(self.chance.uniform(0, 1e4))
            yield {
                **contract,
                "open_interest": self.maybe(amount, 0.2),
                "open_interest_usd": self.maybe(amount * float(self.chance.uniform(1, 9)), 0.5),
            }

    def supply(self) -> Rows:
        """Two coins of one ticker at one source; one source that is silent for two days."""
        coins = (("USDT", "tether", 1e11), ("USDX", "big", 1e8), ("USDX", "small", 1e6))
        for source in ("lama", "gecko", "paprika"):
            for symbol, name, size in coins:
                if source == "gecko" and name == "small":
                    continue
                for hours in range(0, 12 * 24, 5):
                    if source == "lama" and 70 < hours < 130:
                        continue
                    usd = size * float(self.chance.uniform(0.9, 1.1))
                    yield {
                        "symbol": symbol,
                        "source_id": name,
                        "peg": "USD",
                        "circulating": usd,
                        "circulating_usd": self.maybe(usd, 0.1),
                        "timestamp": self.now - hours * HOUR,
                        "source": source,
                        "collection_id": f"c{hours}",
                    }

    def locked(self) -> Rows:
        for source in ("lama", "other"):
            for n in range(12):
                for hours in range(-3, 9 * 24, 7):
                    silent = (n == 3 and hours < 30) or (n == 2 and 20 < hours < 50)
                    if silent or self.chance.random() < 0.2:
                        continue
                    zero = n == 4 and hours > 20
                    yield {
                        "scope": "chain" if n < 4 else "protocol",
                        "source_id": f"id_{n % 4}",
                        "name": f"name {n}" + (" later" if hours < 24 and n == 5 else ""),
                        "blockchain": f"chain_{n}" if n < 4 else None,
                        "tvl_usd": 0.0 if zero else float(self.chance.uniform(1e6, 1e9)),
                        "timestamp": self.now - hours * HOUR - n * HOUR / 60,
                        "source": source,
                        "collection_id": f"c{hours}-{n}",
                    }

    def gas(self) -> Rows:
        for chain, unit in (("ethereum", "gwei"), ("bitcoin", "sat/vB"), ("bsc", "gwei")):
            for source in ("node_0", "node_1"):
                for n in range(3 * 24 * 4):
                    gwei = float(self.chance.uniform(1, 90))
                    yield {
                        "blockchain": chain,
                        "unit": unit,
                        "standard_gas_price": self.maybe(gwei, 0.3),
                        "gas_price_gwei": self.maybe(gwei, 0.3) if unit == "gwei" else None,
                        "timestamp": self.now - n * HOUR / 4,
                        "source": source,
                        "collection_id": f"c{n}",
                    }

    def whales(self) -> Rows:
        for n in range(900):
            usd = float(self.chance.lognormal(12, 2))
            chain, coin = (("bitcoin", "BTC"), ("ethereum", "ETH"), ("ethereum", "USDT"))[n % 3]
            yield {
                "blockchain": chain,
                "transaction_hash": f"{n:064x}",
                "amount": usd / 100,
                "symbol": coin,
                "amount_usd": None if coin == "ETH" and n < 300 else self.maybe(usd, 0.2),
                "timestamp": self.now - n * HOUR / 2,
                "source": "node",
                "collection_id": "c1",
            }

    def moods(self) -> Rows:
        for source in ("mood_0", "mood_1", "mood_2"):
            for hours in range(0, 35 * 24, 9):
                if self.chance.random() < 0.4:
                    continue
                for n, (metric, coin) in enumerate(
                    (
                        ("fear_greed_index", None),
                        ("fear_greed_index", "BTC"),
                        ("long_short_ratio", None),
                    )
                ):
                    yield {
                        "metric_name": metric,
                        "symbol": coin,
                        "value": float(self.chance.integers(0, 101)),
                        "timestamp": self.now - hours * HOUR + n * HOUR / 60,
                        "source": source,
                        "collection_id": f"c{hours}",
                    }

    def articles(self) -> Rows:
        """Some tell the story of another one; some name no coin, or are in a language not read."""
        for n in range(300):
            seen = self.now - timedelta(hours=float(self.chance.uniform(0, 400)))
            score = round(float(self.chance.uniform(-1, 1)), 4)
            read = n % 7 > 0
            yield {
                "title": f"News {n}",
                "url": f"https://paper.example/{n}",
                "article_key": f"paper.example/{n}",
                "published_at": self.maybe(seen - timedelta(hours=3), 0.8),
                "sentiment": ("positive" if score > 0.25 else "negative" if score < -0.25
                              else "neutral") if read else None,
                "sentiment_score": score if read else None,
                "symbols": [list(COINS[n % 3 : n % 3 + n % 4]), None][n % 11 == 0],
                "story": f"paper.example/{n - n % 3}" if n % 5 else None,
                "source": "paper",
                "created_at": seen,
                "collection_id": "c1",
            }  # fmt: skip

    def listed(self) -> Rows:
        """What lists call coins; of UNI one lists a namesake too, one has another name for it, and
        one knows the namesake alone."""
        for source in ("list_a", "list_b", "list_c"):
            for n, coin in enumerate(COINS):
                cap = round(1e12 / (n + 1) ** 2 * float(self.chance.uniform(0.9, 1.1)))
                name = "Uniswap Token" if (source, coin) == ("list_c", "UNI") else f"The {coin}"
                yield self.coin(source, f"{coin}-{source}", coin, name, cap, 1)
        yield self.coin("list_a", "unicorn", "UNI", "Unicorn!", 4_000_000, 2)
        yield self.coin("list_d", "unicorn", "UNI", "UNICORN", 4_100_000, 1)
        yield self.coin("list_d", "no-name", "SOL", None, 5_000, 1)

    def coin(
        self, source: str, own: str, symbol: str, name: str | None, cap: int, place: int
    ) -> dict[str, Any]:
        return {
            "source": source,
            "source_id": own,
            "symbol": symbol,
            "name": name,
            "market_cap": cap,
            "rank": 1,
            "rank_of_symbol": place,
            "updated_at": self.now,
        }

    def rates(self) -> Rows:
        """Of IRT and EUR every hour, of TRY none for two days, and of KRW a disputed one last."""
        for code, usd, last in (
            ("IRT", 118_000, 0),
            ("EUR", 0.9, 0),
            ("TRY", 42, 48),
            ("KRW", 1400, 0),
        ):
            for ago in range(last, 72):
                none = code == "KRW" and ago == 0
                yield {
                    "currency": code,
                    "state": "disputed" if none else "agreed",
                    "per_usd": None if none else usd * float(self.chance.uniform(0.99, 1.01)),
                    "voices": 0 if none else 3,
                    "at_par": False,
                    "provider": None if none else "a,b,c",
                    "timestamp": self.now - ago * HOUR - timedelta(minutes=2),
                    "collection_id": f"c{ago}",
                }


def now() -> datetime:
    return datetime.now(UTC)
