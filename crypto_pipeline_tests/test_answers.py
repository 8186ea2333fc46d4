"""The ready answers: every number once more in plain Python, from the rows of the tables alone.

What is computed here follows docs/tables.md and shares nothing with the SQL.
"""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import permutations
from statistics import fmean, median, mode
from typing import Any

import duckdb
import numpy as np
import pytest

from crypto_pipeline.tables import MACROS, TABLES, VIEWS
from crypto_pipeline.tables.answers import ANSWERS
from crypto_pipeline.tables.views import AS_OF, View
from crypto_pipeline.warehouse import Warehouse
from crypto_pipeline.warehouse.layout import migrate
from crypto_pipeline_tests.answers_data import DAY, HOUR, Made, now

YEAR_HOURS = 8760
FEE = 0.1
UNIVERSE = 5

Row = dict[str, Any]
Key = tuple[Any, ...]


@dataclass
class Asked:
    """The rows of the tables, and what was answered of them in the same moment."""

    now: datetime
    moment: datetime
    tables: Mapping[str, list[Row]]
    answers: Mapping[str, list[Row]]
    elsewhere: Mapping[str, Mapping[str, list[Row]]]

    def lately(self, table: str, hours: float) -> Iterator[Row]:
        """Rows of the last hours."""
        for row in self.tables[table]:
            if self.now - hours * HOUR < row["timestamp"] <= self.now:
                yield row


def rows_of(connection: duckdb.DuckDBPyConnection, sql: str) -> list[Row]:
    """Rows with their times in UTC: Python holds two times of an hour that is there twice in a zone
    for unequal to any other zone's."""
    found = connection.execute(sql)
    names = [column[0] for column in found.description]
    return [dict(zip(names, map(in_utc, row), strict=True)) for row in found.fetchall()]


def in_utc(value: Any) -> Any:
    return value.astimezone(UTC) if isinstance(value, datetime) else value


def call(view: View, moment: datetime) -> str:
    """How a view or macro is asked here."""
    given = {
        "fee_pct": str(FEE),
        "coins": str(UNIVERSE),
        "coin": "'BTC'",
        "money": "'IRT'",
        "moment": f"TIMESTAMPTZ '{moment.astimezone(UTC).isoformat()}'",
    }
    arguments = ", ".join(given[name] for name in view.parameters)
    return f"{view.name}({arguments})" if view.parameters else view.name


ZONES = ("Asia/Kolkata", "America/New_York")


def ask(connection: duckdb.DuckDBPyConnection) -> Asked:
    """Everything in one transaction, in which now() stands still."""
    connection.execute("BEGIN TRANSACTION")
    ((moment,),) = connection.execute("SELECT now()").fetchall()
    at = moment - 5 * HOUR

    def answers() -> dict[str, list[Row]]:
        return {
            view.name: rows_of(connection, f"FROM {call(view, at)}") for view in (*ANSWERS, *AS_OF)
        }

    raw = {name: rows_of(connection, f"SELECT * FROM {name}") for name in TABLES}
    asked, elsewhere = answers(), {}
    for zone in ZONES:
        connection.execute(f"SET TimeZone = '{zone}'")
        elsewhere[zone] = answers()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("COMMIT")
    return Asked(moment, at, raw, asked, elsewhere)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    warehouse = Warehouse(tmp_path_factory.mktemp("answers") / "crypto.duckdb")
    with warehouse.connect() as connection:
        migrate(connection)
        Made(now()).fill(connection)
    return warehouse


@pytest.fixture(scope="module")
def asked(file: Warehouse) -> Asked:
    with file.reading() as connection:
        return ask(connection)


@pytest.fixture(scope="module")
def without_rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    warehouse = Warehouse(tmp_path_factory.mktemp("empty") / "crypto.duckdb")
    with warehouse.connect() as connection:
        migrate(connection)
        yield connection


@pytest.fixture
def empty(without_rows: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    """A file of the present layout without rows, in which now() stands still."""
    without_rows.execute("BEGIN TRANSACTION")
    yield without_rows
    without_rows.execute("ROLLBACK")


# Once more


Computed = dict[Key, Row]
COMPUTE: dict[str, tuple[tuple[str, ...], Callable[[Asked], Iterable[Row]]]] = {}


def computes(
    *key: str,
) -> Callable[[Callable[[Asked], Iterable[Row]]], Callable[[Asked], Iterable[Row]]]:
    """Of the answer that the function is named after; key: what tells its rows apart."""

    def keep(function: Callable[[Asked], Iterable[Row]]) -> Callable[[Asked], Iterable[Row]]:
        COMPUTE[function.__name__] = (key, function)
        return function

    return keep


def grouped(rows: Iterable[Row], *names: str) -> dict[Key, list[Row]]:
    groups = defaultdict(list)
    for row in rows:
        groups[tuple(row[name] for name in names)].append(row)
    return groups


def newest(rows: Iterable[Row]) -> Row:
    return max(rows, key=lambda row: row["timestamp"])


def least(values: Iterable[Any]) -> Any:
    return min((v for v in values if v is not None), default=None)


def pct(now: float | None, before: float | None) -> float | None:
    return (now / before - 1) * 100 if now is not None and before else None


def start(moment: datetime, length: timedelta) -> datetime:
    """When the day or hour of a moment began in UTC."""
    began = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return began.replace(hour=0) if length == DAY else began


def bars(asked: Asked, interval: str, length: timedelta) -> dict[Key, Row]:
    """Bars by coin and time, each with `ratio` to the close of the bar just before."""
    found = {
        (bar["symbol"], bar["timestamp"]): bar
        for bar in asked.tables["agreed_bars"]
        if bar["interval"] == interval
    }
    for (coin, at), bar in found.items():
        before = found.get((coin, at - length), {})
        both = bar["close"] is not None and before.get("close") is not None
        bar["ratio"] = bar["close"] / before["close"] if both else None
        bar["least_prices"] = min(bar["prices"], before.get("prices", bar["prices"]))
    return found


def hourly(asked: Asked, hours: int) -> dict[Key, list[Row]]:
    """The hourly bars of each coin that began in the last hours."""
    began = bars(asked, "1h", HOUR).values()
    return grouped(
        (b for b in began if asked.now - hours * HOUR < b["timestamp"] <= asked.now), "symbol"
    )


@computes("symbol", "day")
def daily_returns(asked: Asked) -> Iterator[Row]:
    for (coin, at), bar in bars(asked, "1d", DAY).items():
        ratio = bar["ratio"]
        yield {
            "symbol": coin,
            "day": at,
            "close_usd": bar["close"],
            "return_pct": None if ratio is None else (ratio - 1) * 100,
            "log_return": None if ratio is None else math.log(ratio),
            "voices": bar["voices"],
        }


@computes("symbol")
def volatility(asked: Asked) -> Iterator[Row]:
    candles = grouped(
        (c for c in asked.lately("cached_ohlc", 720) if c["interval"] == "1h"), "symbol"
    )

    def realised(of: list[Row], hours: int) -> float | None:
        squares = [
            math.log(b["ratio"]) ** 2
            for b in of
            if b["ratio"] is not None and b["timestamp"] > asked.now - hours * HOUR
        ]
        return 100 * math.sqrt(YEAR_HOURS * fmean(squares)) if squares else None

    for (coin,), of in hourly(asked, 720).items():
        ranges = [math.log(c["high"] / c["low"]) ** 2 for c in candles.get((coin,), ())]
        variance = fmean(ranges) / (4 * math.log(2)) if ranges else None
        yield {
            "symbol": coin,
            "realised_1d_pct": realised(of, 24),
            "realised_7d_pct": realised(of, 168),
            "realised_30d_pct": realised(of, 720),
            "parkinson_30d_pct": None
            if variance is None
            else 100 * math.sqrt(YEAR_HOURS * variance),
            "hours": sum(b["ratio"] is not None for b in of),
            "candles": len(ranges),
            "voices": least(b["voices"] for b in of),
        }


@computes("symbol")
def correlations(asked: Asked) -> Iterator[Row]:
    logs = {
        coin: {b["timestamp"]: math.log(b["ratio"]) for b in of if b["ratio"] is not None}
        for (coin,), of in hourly(asked, 720).items()
    }
    for (coin,), of in hourly(asked, 720).items():
        row = {"symbol": coin, "voices": least(b["voices"] for b in of)}
        for other in ("BTC", "ETH"):
            both = [(r, logs[other][at]) for at, r in logs[coin].items() if at in logs[other]]
            x, y = np.array(both).T
            apart = ((x - x.mean()) * (y - y.mean())).mean()
            moves = bool(x.std() and y.std())
            row |= {
                f"corr_{other.lower()}": apart / (x.std() * y.std()) if moves else None,
                f"beta_{other.lower()}": apart / y.var() if y.std() else None,
            }
            row.setdefault("hours", len(both))
        yield row


@computes("symbol")
def top_movers(asked: Asked) -> Iterator[Row]:
    prices = grouped(asked.tables["agreed_prices"], "symbol")
    for coin in asked.tables["cached_market_data"]:
        if coin["price_usd"] is None or coin["fetched_at"] <= asked.now - HOUR / 2:
            continue

        def change(hours: int, coin: Row = coin) -> float | None:
            end = asked.now - hours * HOUR
            then = [
                p for p in prices.get((coin["symbol"],), ()) if end - HOUR < p["timestamp"] <= end
            ]
            return pct(coin["price_usd"], newest(then)["price_usd"]) if then else None

        yield {
            **{c: coin[c] for c in ("symbol", "name", "price_usd", "volume_24h", "voices")},
            "change_1h_pct": change(1),
            "change_24h_pct": change(24),
            "change_7d_pct": change(168),
        }


def pairs(asked: Asked) -> list[Row]:
    """The last price of each pair of a venue, where it says what it traded and does not abstain."""
    recent = list(asked.lately("market_prices", 0.5))
    listing = {row["source"] for row in recent if row["market_cap"] is not None}
    last = [newest(of) for of in grouped(recent, "source", "source_id", "quote").values()]
    return [
        row
        for row in last
        if row["source"] not in listing and row["abstains"] is None and row["volume_24h"]
    ]


@computes("symbol")
def venue_spreads(asked: Asked) -> Iterator[Row]:
    agreed = {coin["symbol"]: coin for coin in asked.tables["cached_market_data"]}
    for (coin,), of in grouped(pairs(asked), "symbol").items():
        usd = agreed[coin]["price_usd"]
        out = {voice["source"] for voice in agreed[coin]["rejected"]}
        busiest = [
            max(rows, key=lambda r: r["volume_24h"]) for rows in grouped(of, "source").values()
        ]
        near = sorted(
            (r["price_usd"], r["source"])
            for r in busiest
            if usd and abs(r["price_usd"] / usd - 1) <= 0.05 and r["source"] not in out
        )
        if len(near) < 2:
            continue
        (buy, buy_at), (sell, sell_at) = near[0], near[-1]
        yield {
            "symbol": coin,
            "buy_at": buy_at,
            "buy_usd": buy,
            "sell_at": sell_at,
            "sell_usd": sell,
            "gap_pct": pct(sell, buy),
            "after_fees_pct": pct(sell * (1 - FEE / 100), buy * (1 + FEE / 100)),
            "venues": len(near),
        }


@computes("source")
def venue_shares(asked: Asked) -> Iterator[Row]:
    total = sum(row["volume_24h"] for row in pairs(asked))
    for (source,), of in grouped(pairs(asked), "source").items():
        volume = sum(row["volume_24h"] for row in of)
        yield {
            "source": source,
            "volume_24h": volume,
            "share_pct": 100 * volume / total,
            "coins": len({row["symbol"] for row in of}),
        }


def contracts(asked: Asked, table: str, hours: float) -> list[Row]:
    """The last word of each exchange about each contract."""
    return [
        newest(of) for of in grouped(asked.lately(table, hours), "source", "source_id").values()
    ]


@computes("source", "source_id")
def funding_annualised(asked: Asked) -> Iterator[Row]:
    kept = ("symbol", "source", "source_id", "rate", "interval_hours", "rate_kind", "timestamp")
    for row in contracts(asked, "funding_rates", 2):
        if row["interval_hours"] is not None:
            annual = row["rate"] / row["interval_hours"] * YEAR_HOURS * 100
            yield {**{name: row[name] for name in kept}, "annual_pct": annual}


@computes("symbol")
def funding_pairs(asked: Asked) -> Iterator[Row]:
    for (coin,), of in grouped(funding_annualised(asked), "symbol").items():
        ways = [
            (short["annual_pct"] - long["annual_pct"], long, short)
            for long, short in permutations(of, 2)
            if long["source"] != short["source"]
        ]
        if not ways:
            continue
        gain = max(way[0] for way in ways)
        _, long, short = min(
            (way for way in ways if way[0] == gain), key=lambda w: (w[1]["source"], w[2]["source"])
        )
        yield {
            "symbol": coin,
            "long_at": long["source"],
            "long_pct": long["annual_pct"],
            "short_at": short["source"],
            "short_pct": short["annual_pct"],
            "gain_pct": gain,
            "exchanges": len({row["source"] for row in of}),
        }


@computes("source", "source_id")
def basis(asked: Asked) -> Iterator[Row]:
    spot = {
        coin["symbol"]: coin
        for coin in asked.tables["cached_market_data"]
        if coin["price_usd"] and asked.now - HOUR / 2 < coin["fetched_at"] <= asked.now
    }
    for row in contracts(asked, "funding_rates", 0.5):
        if row["mark_price"] is not None and row["symbol"] in spot:
            agreed = spot[row["symbol"]]
            yield {
                **{name: row[name] for name in ("symbol", "source", "source_id", "mark_price")},
                "spot_usd": agreed["price_usd"],
                "basis_pct": pct(row["mark_price"], agreed["price_usd"]),
                "voices": agreed["voices"],
            }


@computes("symbol")
def open_interest_by_coin(asked: Asked) -> Iterator[Row]:
    usd = {coin["symbol"]: coin["price_usd"] for coin in asked.tables["cached_market_data"]}
    said = []
    for row in contracts(asked, "open_interest", 2):
        worth, price = row["open_interest_usd"], usd.get(row["symbol"])
        if worth is None and None not in (row["open_interest"], price):
            worth = row["open_interest"] * price
        if worth is not None:
            said.append({**row, "worth": worth})
    for (coin,), of in grouped(said, "symbol").items():
        each = {
            source: sum(row["worth"] for row in rows)
            for (source,), rows in grouped(of, "source").items()
        }
        largest = max(each, key=lambda source: (each[source], source))
        total = sum(each.values())
        yield {
            "symbol": coin,
            "open_interest_usd": total,
            "exchanges": len(each),
            "largest": largest,
            "largest_share_pct": 100 * each[largest] / total if total else None,
        }


@computes("day", "symbol")
def stablecoin_flows(asked: Asked) -> Iterator[Row]:
    said = [row for row in asked.tables["stablecoin_supply"] if row["circulating_usd"] is not None]
    for row in said:
        row["day"] = start(row["timestamp"], DAY)
    last = {
        key: newest(of)["circulating_usd"]
        for key, of in grouped(said, "day", "symbol", "source", "source_id").items()
    }
    biggest: dict[Key, Key] = {}
    for key, usd in last.items():
        before = biggest.get(key[:3])
        if before is None or usd > last[before]:
            biggest[key[:3]] = key
    days = defaultdict(list)
    for key in biggest.values():
        days[key[:2]].append(key)
    for (day, symbol), keys in days.items():
        flows = [last[k] - last[day - DAY, *k[1:]] for k in keys if (day - DAY, *k[1:]) in last]
        yield {
            "day": day,
            "symbol": symbol,
            "circulating_usd": median(last[key] for key in keys),
            "flow_usd": median(flows) if flows else None,
            "sources": len(flows),
        }


@computes("source", "scope", "name")
def tvl_changes(asked: Asked) -> Iterator[Row]:
    for (source, scope, _), of in grouped(
        asked.tables["defi_tvl"], "source", "scope", "source_id"
    ).items():

        def last(days: int, of: list[Row] = of) -> Row:
            end = asked.now - days * DAY
            then = [row for row in of if end - DAY < row["timestamp"] <= end]
            return newest(then) if then else {}

        present, usd = last(0), [last(days).get("tvl_usd") for days in (0, 1, 7)]
        if not present:
            continue
        yield {
            "source": source,
            "scope": scope,
            **{name: present[name] for name in ("name", "blockchain", "tvl_usd", "timestamp")},
            "change_1d_pct": pct(usd[0], usd[1]),
            "change_7d_pct": pct(usd[0], usd[2]),
        }


@computes("hour", "blockchain", "unit")
def gas_by_hour(asked: Asked) -> Iterator[Row]:
    said = []
    for row in asked.tables["gas_prices"]:
        standard = row["standard_gas_price"]
        price = row["gas_price_gwei"] if standard is None else standard
        if price is not None:
            said.append({**row, "price": price, "hour": start(row["timestamp"], HOUR)})
    for (hour, chain, unit), of in grouped(said, "hour", "blockchain", "unit").items():
        prices = [row["price"] for row in of]
        yield {
            "hour": hour,
            "blockchain": chain,
            "unit": unit,
            "standard": median(prices),
            "lowest": min(prices),
            "highest": max(prices),
            "sources": len({row["source"] for row in of}),
        }


@computes("day", "blockchain", "symbol")
def whale_flows(asked: Asked) -> Iterator[Row]:
    dated = [
        {**row, "day": start(row["timestamp"], DAY)} for row in asked.tables["whale_transactions"]
    ]
    for (day, chain, coin), of in grouped(dated, "day", "blockchain", "symbol").items():
        worth = [row["amount_usd"] for row in of if row["amount_usd"] is not None]
        yield {
            "day": day,
            "blockchain": chain,
            "symbol": coin,
            "transfers": len(of),
            "amount": math.fsum(row["amount"] for row in of),
            "amount_usd": math.fsum(worth) if worth else None,
            "largest_usd": max(worth, default=None),
        }


@computes("day", "symbol")
def news_by_coin(asked: Asked) -> Iterator[Row]:
    named = [
        {
            **article,
            "symbol": coin,
            "day": start(article["published_at"] or article["created_at"], DAY),
            "story": article["story"] or article["article_key"],
        }
        for article in asked.tables["news_articles"]
        for coin in article["symbols"] or ()
    ]
    for (day, coin), of in grouped(named, "day", "symbol").items():
        stories = grouped(of, "story").values()
        read = [[a for a in articles if a["sentiment_score"] is not None] for articles in stories]
        first = [min(articles, key=lambda a: a["created_at"]) for articles in read if articles]
        moods = [article["sentiment"] for article in first]
        yield {
            "day": day,
            "symbol": coin,
            "stories": len(stories),
            "articles": len(of),
            "score": fmean(a["sentiment_score"] for a in first) if first else None,
            "positive": moods.count("positive"),
            "negative": moods.count("negative"),
        }


def slug(coin: Row) -> str:
    return "-".join(re.findall("[a-z0-9]+", (coin["name"] or coin["source_id"]).lower()))


@computes("source", "source_id")
def coin_ids(asked: Asked) -> Iterator[Row]:
    for (symbol,), of in grouped(asked.tables["coins"], "symbol").items():
        biggest = [coin for coin in of if coin["rank_of_symbol"] == 1]
        usual = mode(sorted(slug(coin) for coin in biggest))
        cap = median(coin["market_cap"] for coin in biggest)
        by_name = {coin["source"] for coin in of if slug(coin) == usual}
        for coin in of:
            of_its_size = cap / 3 <= coin["market_cap"] <= cap * 3
            instead = coin["source"] not in by_name and coin["rank_of_symbol"] == 1 and of_its_size
            namesake = not (slug(coin) == usual or instead)
            yield {
                **{c: coin[c] for c in ("source", "source_id", "symbol", "name", "contract")},
                "market_cap": coin["market_cap"],
                "namesake": namesake,
                "coin_id": symbol.lower() + (f":{slug(coin)}" if namesake else ""),
            }


@computes("currency")
def latest_fiat_rates(asked: Asked) -> Iterator[Row]:
    known = [row for row in asked.tables["fiat_rates"] if row["timestamp"] <= asked.now]
    since = newest(known)["timestamp"] - DAY
    for of in grouped((r for r in known if r["timestamp"] > since), "currency").values():
        yield newest(of)


@computes("symbol", "currency")
def local_prices(asked: Asked) -> Iterator[Row]:
    for rate in latest_fiat_rates(asked):
        for coin in asked.tables["cached_market_data"]:
            if coin["price_usd"] is not None and rate["per_usd"] is not None:
                yield {
                    **{c: rate[c] for c in ("currency", "per_usd", "state", "voices")},
                    **{c: coin[c] for c in ("symbol", "price_usd")},
                    "price": coin["price_usd"] * rate["per_usd"],
                    "priced_at": coin["fetched_at"],
                    "rated_at": rate["timestamp"],
                }


@computes("symbol", "currency")
def price_in(asked: Asked) -> Iterator[Row]:
    for row in local_prices(asked):
        if (row["symbol"], row["currency"]) == ("BTC", "IRT"):
            yield row


@computes("day")
def fear_and_greed(asked: Asked) -> Iterator[Row]:
    index = [
        {**row, "day": start(row["timestamp"], DAY)}
        for row in asked.tables["sentiment_metrics"]
        if row["metric_name"] == "fear_greed_index" and row["symbol"] is None
    ]
    btc = {row["day"]: row["return_pct"] for row in daily_returns(asked) if row["symbol"] == "BTC"}
    for (day,), of in grouped(index, "day").items():
        values = [newest(rows)["value"] for rows in grouped(of, "source").values()]
        yield {
            "day": day,
            "fear_greed": median(values),
            "sources": len(values),
            "btc_return_pct": btc.get(day),
            "btc_next_return_pct": btc.get(day + DAY),
        }


def scores(of: list[Row]) -> dict[datetime, float]:
    """How far the return of each hour is from the usual one."""
    logs = {b["timestamp"]: math.log(b["ratio"]) for b in of if b["ratio"] is not None}
    if not logs:
        return {}
    middle = median(logs.values())
    deviation = 1.4826 * median(abs(r - middle) for r in logs.values())
    return {at: (r - middle) / deviation for at, r in logs.items()} if deviation else {}


@computes("symbol", "hour")
def anomalies(asked: Asked) -> Iterator[Row]:
    week = hourly(asked, 168)
    btc = {at for at, score in scores(week["BTC",]).items() if abs(score) >= 6}
    for (coin,), of in week.items():
        usual_voices = median([b["voices"] for b in of if b["voices"] is not None] or [0])
        usual_prices = median(b["prices"] for b in of)
        far = scores(of)
        for bar in of:
            at = bar["timestamp"]
            score = far.get(at, 0)
            if abs(score) < 6 or at <= asked.now - DAY:
                continue
            if bar["voices"] is not None and 2 * bar["voices"] < usual_voices:
                cause = "voices"
            elif 2 * bar["least_prices"] < usual_prices:
                cause = "gap"
            else:
                cause = "market" if coin != "BTC" and at in btc else "coin"
            yield {
                "symbol": coin,
                "hour": at,
                "return_pct": (bar["ratio"] - 1) * 100,
                "score": score,
                "cause": cause,
                "voices": bar["voices"],
            }


def seen(row: Row, else_at: str) -> datetime:
    moment = row[else_at] if row["first_seen_at"] is None else row["first_seen_at"]
    assert isinstance(moment, datetime)
    return moment


@computes("symbol")
def prices_as_of(asked: Asked) -> Iterator[Row]:
    known = [
        row
        for row in asked.tables["agreed_prices"]
        if seen(row, "timestamp") <= asked.moment
        and asked.moment - DAY < row["timestamp"] <= asked.moment
    ]
    return (newest(of) for of in grouped(known, "symbol").values())


@computes("symbol")
def universe_at(asked: Asked) -> Iterator[Row]:
    return (r for r in prices_as_of(asked) if r["rank"] is not None and r["rank"] <= UNIVERSE)


@computes("provider", "symbol", "interval", "timestamp", "close", "high", "low")
def candles_as_of(asked: Asked) -> Iterator[Row]:
    for row in asked.tables["cached_ohlc"]:
        if seen(row, "fetched_at") <= asked.moment:
            yield row
    for row in asked.tables["corrected_candles"]:
        if seen(row, "fetched_at") <= asked.moment < row["corrected_at"]:
            yield {name: value for name, value in row.items() if name != "corrected_at"}


def by_key(rows: Iterable[Row], key: tuple[str, ...]) -> Computed:
    found = list(rows)
    keyed = {tuple(row[name] for name in key): row for row in found}
    assert len(keyed) == len(found)
    return keyed


def must_be_same(found: Computed, wanted: Computed) -> None:
    assert found.keys() == wanted.keys()
    for key, row in wanted.items():
        assert found[key].keys() == row.keys()
        for name, value in row.items():
            assert same(found[key][name], value), (key, name, found[key][name], value)


def same(found: Any, wanted: Any) -> bool:
    if isinstance(found, float) and isinstance(wanted, int | float):
        return math.isclose(found, wanted, rel_tol=1e-9, abs_tol=1e-12)
    return bool(found == wanted)


@pytest.mark.parametrize("view", [*ANSWERS, *AS_OF], ids=lambda view: view.name)
def test_every_number_is_that_of_the_description(view: View, asked: Asked) -> None:
    key, compute = COMPUTE[view.name]
    found = by_key(asked.answers[view.name], key)
    assert found
    must_be_same(found, by_key(compute(asked), key))
    if view.columns:
        assert {column.name for column in view.columns} == set(next(iter(found.values())))


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("view", [*ANSWERS, *AS_OF], ids=lambda view: view.name)
def test_the_session_s_zone_changes_no_number(view: View, zone: str, asked: Asked) -> None:
    key, _ = COMPUTE[view.name]
    must_be_same(
        by_key(asked.elsewhere[zone][view.name], key), by_key(asked.answers[view.name], key)
    )


@pytest.mark.parametrize(
    ("answer", "column"),
    [
        ("top_movers", "change_24h_pct"),
        ("venue_spreads", "after_fees_pct"),
        ("venue_shares", "share_pct"),
        ("funding_pairs", "gain_pct"),
        ("open_interest_by_coin", "open_interest_usd"),
        ("tvl_changes", "tvl_usd"),
        ("anomalies", "score"),
        ("stablecoin_flows", "day"),
        ("gas_by_hour", "hour"),
        ("whale_flows", "day"),
        ("fear_and_greed", "day"),
    ],
)
def test_the_largest_or_newest_come_first(answer: str, column: str, asked: Asked) -> None:
    def size(value: Any) -> Any:
        moves = column in ("change_24h_pct", "score")
        return -math.inf if value is None else abs(value) if moves else value

    sizes = [size(row[column]) for row in asked.answers[answer]]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] != sizes[-1]


def test_every_cause_of_an_anomaly_is_found(asked: Asked) -> None:
    causes = {row["cause"] for row in asked.answers["anomalies"]}
    assert causes == {"voices", "gap", "market", "coin"}


# What is true of every row


@pytest.mark.parametrize("view", [*VIEWS, *MACROS], ids=lambda view: view.name)
def test_the_check_of_an_answer_holds(view: View, file: Warehouse) -> None:
    with file.reading() as connection:
        asked_as = call(view, now() - 5 * HOUR)
        assert rows_of(connection, f"FROM {asked_as} WHERE ({view.check}) IS NOT TRUE") == []


# Columns that may not be NULL, of each table that rows are planted in.
OF_COLLECTION: Row = {"collection_id": "c1"}
OF_EXCHANGE: Row = {"source": "x", "exchange": "x", "source_id": "BTC-PERP", **OF_COLLECTION}
FILLED: dict[str, Row] = {
    "agreed_bars": {"interval": "1h", "prices": 12, "voices": 5, "collected": True},
    "cached_market_data": {"state": "agreed", "sources": 3, "voices": 3, "rejected": []},
    "market_prices": {"quote": "USD", "source_id": "btc", "volume_24h": 9.0, **OF_COLLECTION},
    "funding_rates": {"rate": 0.0001, "interval_hours": 8, **OF_EXCHANGE},
    "open_interest": OF_EXCHANGE,
    "stablecoin_supply": {"source_id": "t", "peg": "USD", "source": "lama", **OF_COLLECTION},
    "defi_tvl": {"scope": "chain", "source_id": "e", "name": "E", "source": "l", **OF_COLLECTION},
    "gas_prices": {"unit": "gwei", "source": "node", **OF_COLLECTION},
    "whale_transactions": {"blockchain": "bitcoin", "source": "node", **OF_COLLECTION},
    "sentiment_metrics": {"source": "mood", **OF_COLLECTION},
}


def plant(connection: duckdb.DuckDBPyConnection, table: str, **about: Any) -> None:
    """A row of a minute ago."""
    time = "fetched_at" if table == "cached_market_data" else "timestamp"
    row = {time: now() - HOUR / 60, **FILLED[table], **about}
    if "symbol" in TABLES[table].model_fields and "metric_name" not in row:
        row.setdefault("symbol", "BTC")
    names = ", ".join(f'"{name}"' for name in row)
    values = ", ".join("?" for _ in row)
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({values})", list(row.values()))


ANSWER = {view.name: view for view in ANSWERS}


def answer(connection: duckdb.DuckDBPyConnection, name: str) -> list[Row]:
    return rows_of(connection, f"FROM {call(ANSWER[name], now())}")


@pytest.mark.parametrize(
    ("name", "table", "rows"),
    [
        ("top_movers", "cached_market_data", [{"price_usd": -1.0}]),
        ("open_interest_by_coin", "open_interest", [{"open_interest_usd": v} for v in (9.0, -5.0)]),
        ("stablecoin_flows", "stablecoin_supply", [{"circulating": 1.0, "circulating_usd": -1.0}]),
        ("tvl_changes", "defi_tvl", [{"tvl_usd": -1.0}]),
        ("whale_flows", "whale_transactions", [{"amount_usd": v} for v in (9.0, -5.0)]),
        (
            "fear_and_greed",
            "sentiment_metrics",
            [{"metric_name": "fear_greed_index", "value": 101.0}],
        ),
    ],
)
def test_the_check_of_an_answer_finds_rows_that_cannot_be(
    name: str, table: str, rows: list[Row], empty: duckdb.DuckDBPyConnection
) -> None:
    """Of the answers whose rows can be wrong: the others' checks follow from how they are made."""
    for n, row in enumerate(rows):
        own: dict[str, Row] = {
            "open_interest": {"source": f"x{n}", "exchange": f"x{n}"},
            "whale_transactions": {"transaction_hash": f"{n}", "amount": 1.0},
        }
        plant(empty, table, **own.get(table, {}), **row)
    asked_as = call(ANSWER[name], now())
    assert rows_of(empty, f"FROM {asked_as} WHERE ({ANSWER[name].check}) IS NOT TRUE")


def venues(connection: duckdb.DuckDBPyConnection, **prices: float) -> None:
    """Venues that say these prices of BTC, and an agreed price of 100."""
    plant(connection, "cached_market_data", price_usd=100.0)
    for source, usd in prices.items():
        plant(connection, "market_prices", source=source, price_usd=usd)


def test_a_fee_that_pays_contradicts_the_check(empty: duckdb.DuckDBPyConnection) -> None:
    venues(empty, a=100, b=101)
    check = ANSWER["venue_spreads"].check
    for fee, wrong in ((0.1, 0), (-0.1, 1)):
        found = rows_of(empty, f"FROM venue_spreads({fee}) WHERE ({check}) IS NOT TRUE")
        assert len(found) == wrong


# Edges


@pytest.mark.parametrize("view", [*ANSWERS, *AS_OF], ids=lambda view: view.name)
def test_nothing_is_answered_of_nothing(view: View, empty: duckdb.DuckDBPyConnection) -> None:
    assert rows_of(empty, f"FROM {call(view, now())}") == []


def hours(
    connection: duckdb.DuckDBPyConnection, symbol: str, *closes: float | None, **about: Any
) -> None:
    """Hourly bars up to the last whole hour."""
    last = start(now(), HOUR) - HOUR
    for ago, close in enumerate(reversed(closes)):
        plant(
            connection,
            "agreed_bars",
            symbol=symbol,
            timestamp=last - ago * HOUR,
            close=close,
            **about,
        )


WAVES = [100 + math.sin(n * n) for n in range(60)]


def test_a_coin_without_bitcoin(empty: duckdb.DuckDBPyConnection) -> None:
    hours(empty, "ADA", *WAVES, 900)
    plant(empty, "sentiment_metrics", metric_name="fear_greed_index", value=50.0)
    (found,) = answer(empty, "correlations")
    assert (found["corr_btc"], found["beta_eth"], found["hours"]) == (None, None, 0)
    (unusual,) = answer(empty, "anomalies")
    assert (unusual["symbol"], unusual["cause"]) == ("ADA", "coin")
    (mood,) = answer(empty, "fear_and_greed")
    assert (mood["btc_return_pct"], mood["btc_next_return_pct"]) == (None, None)


def test_a_coin_that_stands_still(empty: duckdb.DuckDBPyConnection) -> None:
    hours(empty, "BTC", *WAVES)
    hours(empty, "STILL", *[1.0] * 60)
    volatility = {row["symbol"]: row["realised_7d_pct"] for row in answer(empty, "volatility")}
    assert volatility["STILL"] == 0
    found = {row["symbol"]: row for row in answer(empty, "correlations")}
    assert (found["STILL"]["corr_btc"], found["STILL"]["beta_btc"]) == (None, 0)
    assert found["BTC"]["corr_btc"] == pytest.approx(1)
    hours(empty, "JUMP", *[1.0] * 59, 2.0)
    assert answer(empty, "anomalies") == []


def test_when_bitcoin_stands_still_nothing_moves_with_it(empty: duckdb.DuckDBPyConnection) -> None:
    hours(empty, "BTC", *[1.0] * 60)
    hours(empty, "ADA", *WAVES)
    found = {row["symbol"]: row for row in answer(empty, "correlations")}
    assert (found["ADA"]["corr_btc"], found["ADA"]["beta_btc"]) == (None, None)
    assert found["ADA"]["hours"] == 59


def test_voices_that_are_not_known(empty: duckdb.DuckDBPyConnection) -> None:
    hours(empty, "ADA", *WAVES, 900, voices=None)
    assert [row["voices"] for row in answer(empty, "volatility")] == [None]
    assert [row["cause"] for row in answer(empty, "anomalies")] == ["coin"]


@pytest.mark.parametrize("closes", [(100, None, 200), (None, 100, None)])
def test_there_is_no_return_over_a_bar_without_a_price(
    closes: tuple[float | None, ...], empty: duckdb.DuckDBPyConnection
) -> None:
    hours(empty, "BTC", *closes)
    (found,) = answer(empty, "volatility")
    assert (found["hours"], found["realised_30d_pct"]) == (0, None)


def test_there_is_no_return_over_days_that_are_not_there(empty: duckdb.DuckDBPyConnection) -> None:
    """As after a month without a collection, when bars begin anew."""
    today = start(now(), DAY)
    for ago, close in ((34, 100.0), (2, 300.0), (1, 330.0)):
        plant(empty, "agreed_bars", interval="1d", timestamp=today - ago * DAY, close=close)
    found = {row["day"]: row["return_pct"] for row in answer(empty, "daily_returns")}
    assert found == {
        today - 34 * DAY: None,
        today - 2 * DAY: None,
        today - DAY: pytest.approx(10),
    }


def test_nothing_is_divided_by_zero(empty: duckdb.DuckDBPyConnection) -> None:
    for days, usd in ((0, 5.0), (1, 0.0), (7, 0.0)):
        plant(empty, "defi_tvl", tvl_usd=usd, timestamp=now() - days * DAY - HOUR)
    (locked,) = answer(empty, "tvl_changes")
    assert (locked["tvl_usd"], locked["change_1d_pct"], locked["change_7d_pct"]) == (5, None, None)
    plant(empty, "open_interest", open_interest_usd=0.0)
    (interest,) = answer(empty, "open_interest_by_coin")
    assert (interest["open_interest_usd"], interest["largest_share_pct"]) == (0, None)


def test_a_venue_alone_has_no_spread_and_all_of_the_volume(
    empty: duckdb.DuckDBPyConnection,
) -> None:
    venues(empty, alone=100)
    assert answer(empty, "venue_spreads") == []
    assert [(row["source"], row["share_pct"]) for row in answer(empty, "venue_shares")] == [
        ("alone", 100)
    ]


def test_venues_of_one_price_are_told_apart_by_name(empty: duckdb.DuckDBPyConnection) -> None:
    venues(empty, b=100, a=100, c=100)
    (found,) = answer(empty, "venue_spreads")
    assert (found["buy_at"], found["sell_at"], found["gap_pct"]) == ("a", "c", 0)
    assert found["after_fees_pct"] < 0


def test_a_disputed_coin_has_no_spread(empty: duckdb.DuckDBPyConnection) -> None:
    plant(empty, "cached_market_data", state="disputed", price_usd=None)
    for source, usd in (("a", 100), ("b", 101)):
        plant(empty, "market_prices", source=source, price_usd=usd)
    assert answer(empty, "venue_spreads") == []
    assert answer(empty, "top_movers") == []


def test_an_exchange_alone_is_no_pair(empty: duckdb.DuckDBPyConnection) -> None:
    """Its two contracts may pay more to one another than any two exchanges do."""
    for contract, rate in (("PERP", 0.01), ("INVERSE", -0.01)):
        plant(empty, "funding_rates", source_id=contract, rate=rate)
    assert answer(empty, "funding_pairs") == []
    plant(empty, "funding_rates", source="y", exchange="y", rate=0.002)
    (found,) = answer(empty, "funding_pairs")
    assert (found["long_at"], found["short_at"], found["exchanges"]) == ("x", "y", 2)


def test_a_pair_that_trades_no_more_is_no_venue_s_volume(empty: duckdb.DuckDBPyConnection) -> None:
    """Its last price abstains; the one before did not."""
    venues(empty, a=100, b=100)
    plant(
        empty,
        "market_prices",
        source="b",
        price_usd=100.0,
        abstains="untraded",
        timestamp=now() - HOUR / 120,
    )
    assert [row["source"] for row in answer(empty, "venue_shares")] == ["a"]
