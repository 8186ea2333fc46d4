"""The agreed view: who votes, who wins, and when nobody does; a table of scenarios, and a week."""

import argparse
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from crypto_pipeline.sources import SOURCES, SourceError, find
from crypto_pipeline.sources.spec import Source
from crypto_pipeline.tables import Candle, FundingRate, MarketPrice, Provider, Row
from crypto_pipeline.warehouse import Warehouse
from crypto_pipeline_tests.test_warehouse import NOW, batch, price

Said = tuple[str, float, Mapping[str, Any]]
"""What one source says: its name, the price, and other columns."""


def say(source: str, usd: float, **about: Any) -> Said:
    return source, usd, about


def venues(*prices: float) -> list[Said]:
    """Sources that know no market capitalisations, each saying one of these prices."""
    return [say(f"venue_{n}", usd) for n, usd in enumerate(prices, 1)]


def aggregators(*prices: float) -> list[Said]:
    """Sources that know market capitalisations."""
    return [say(f"aggregator_{n}", usd, market_cap=1e9) for n, usd in enumerate(prices, 1)]


def candle(usd: float, minutes: float = 60, **about: Any) -> dict[str, Any]:
    """A candle that opened so many minutes ago."""
    at = NOW - timedelta(minutes=minutes)
    prices = dict.fromkeys(("open", "high", "low", "close"), usd)
    made = {"interval": "1m", "timestamp": at, "quote": "USD", "provider": "venue", **prices}
    return {**made, "fetched_at": NOW, "collection_id": "c0", **about}


def mark(usd: float | None, minutes: float = 60, **about: Any) -> dict[str, Any]:
    """A swap's mark price of so many minutes ago."""
    at = NOW - timedelta(minutes=minutes)
    made = {"exchange": "venue", "rate": 0.0001, "mark_price": usd}
    return {**made, "timestamp": at, "collection_id": "c0", **about}


@dataclass(frozen=True)
class Scenario:
    """What sources say of one coin, now and so many minutes ago, and what must become of it.

    usd: the agreed price; None: there is none. out: who is rejected, and why.
    """

    name: str
    now: Sequence[Said]
    usd: float | None = None
    out: Mapping[str, str] = field(default_factory=dict)
    state: str = "agreed"
    before: Mapping[int, Sequence[Said]] = field(default_factory=dict)
    candles: Sequence[Mapping[str, Any]] = ()
    marks: Sequence[Mapping[str, Any]] = ()
    also: Mapping[str, Any] = field(default_factory=dict)

    def rows(self, symbol: str, minutes: int) -> Iterator[MarketPrice]:
        for source, usd, about in self.before.get(minutes, ()) if minutes else self.now:
            at = NOW - timedelta(minutes=minutes + about.get("minutes", 0))
            other = {k: v for k, v in about.items() if k != "minutes"}
            own_id = f"{symbol} {about.get('source_id')}"
            made = {**other, "timestamp": at, "source_id": own_id}
            yield price(source, symbol, usd, f"c-{minutes}", **made)

    def witnesses(self, symbol: str) -> Iterator[Row]:
        for about in self.candles:
            yield Candle.model_validate({"symbol": symbol, **about})
        for about in self.marks:
            yield FundingRate.model_validate({"symbol": symbol, "source_id": symbol, **about})


def disputed(said: Sequence[Said]) -> dict[str, Any]:
    """A scenario of voices between which nothing decides."""
    return {"now": said, "state": "disputed", "out": {source: "disputed" for source, *_ in said}}


def all_say(why: str, *numbers: int, who: str = "venue") -> dict[str, str]:
    return {f"{who}_{n}": why for n in numbers}


HONEST = venues(100, 101, 102)
HOUR = 60

BASICS = [
    Scenario("a median, not a mean", venues(100, 101, 104), 101),
    Scenario("an even number", venues(100, 101), 100.5),
    Scenario("one voice", venues(100), 100, also={"sources": 1, "spread_pct": 0}),
    Scenario("outlier", [*HONEST, say("mad", 50)], 101, {"mad": "outlier"}),
    Scenario("x 1000", [*HONEST, say("mad", 101_000)], 101, {"mad": "outlier"}),
    Scenario("/ 1000", [*HONEST, say("mad", 0.101)], 101, {"mad": "outlier"}),
    Scenario(
        "4.9 % is near, 5.1 % is not",
        [*venues(100, 100, 100), say("near", 104.9), say("far", 94.9)],
        100,
        {"far": "outlier"},
        also={"provider": "near,venue_1,venue_2,venue_3", "sources": 4},
    ),
    Scenario(
        "near voices lead to far ones",
        [*venues(100, 100, 100), say("between", 104.9), say("far", 109.8)],
        100,
        {"far": "outlier"},
    ),
    Scenario(
        "a chain of voices leads nowhere",
        venues(100, 100, 100, 100, 105, 110.4, 116, 122),
        100,
        all_say("outlier", 6, 7, 8),
    ),
    Scenario("a chain without a crowd", **disputed(venues(100, 105.2, 110.7, 116.5, 122.6, 129))),
    Scenario("3 % apart is one camp", venues(100, 100, 103, 103), 101.5),
    Scenario("colluding two of five", venues(100, 101, 102, 7, 7), 101, all_say("outlier", 4, 5)),
    Scenario("three of four", venues(100, 100, 100, 7), 100, {"venue_4": "outlier"}),
    Scenario("three of five", venues(100, 100, 100, 7, 9), 100, all_say("outlier", 4, 5)),
    Scenario("two of three", **disputed(venues(100, 100, 7))),
    Scenario("one against one", **disputed(venues(100, 100_000_000))),
    Scenario(
        "one against one, one with a cap",
        **disputed([*venues(90_000), say("mad", 100_000_000, market_cap=2e15)]),
    ),
    Scenario("an even split", **disputed(venues(100, 100.2, 109.9, 110))),
    Scenario("three against three", **disputed(venues(100, 100, 100, 7, 7, 7))),
    Scenario("half is no majority", **disputed(venues(100, 100, 100, 7, 11, 30))),
    Scenario(
        "two, one and a mad one with the biggest cap",
        **disputed([*venues(100, 100.2, 200), say("mad", 100_000, market_cap=1e15)]),
    ),
    Scenario(
        "the same with a last price",
        [*venues(100, 100.2, 200), say("mad", 100_000, market_cap=1e15)],
        100.1,
        {"venue_3": "outlier", "mad": "outlier"},
        before={HOUR: venues(99)},
    ),
]

ABSTENTIONS = [
    Scenario(
        "stale",
        [say("old_1", 5, abstains="stale"), say("old_2", 5.1, abstains="stale"), *venues(9.9)],
        9.9,
        {"old_1": "stale", "old_2": "stale"},
    ),
    Scenario(
        "untraded",
        [*venues(200, 201), *(say(f"x_{n}", 0.03, abstains="untraded") for n in range(3))],
        200.5,
        {f"x_{n}": "untraded" for n in range(3)},
    ),
    Scenario(
        "near and stale",
        [*venues(100, 104), say("old", 100, abstains="stale")],
        102,
        {"old": "stale"},
        also={"provider": "venue_1,venue_2"},
    ),
    Scenario(
        "nobody votes",
        [say("old", 100, abstains="stale"), say("idle", 300, abstains="untraded")],
        None,
        {"old": "stale", "idle": "untraded"},
        state="silent",
    ),
    Scenario(
        "a pair that votes speaks before a busier one that does not",
        [
            *venues(100, 104),
            say("both", 103, quote="USDT", volume_24h=9e9, abstains="stale"),
            say("both", 101, quote="USDC", volume_24h=5),
        ],
        101,
    ),
    Scenario(
        "a stale big coin leaves no word to a small one",
        [
            *venues(459, 461),
            say("big", 460, source_id="big", market_cap=1e9, abstains="stale"),
            say("big", 7, source_id="small", market_cap=1e6),
        ],
        460,
        {"big": "stale"},
    ),
    Scenario(
        "a source speaks with its biggest coin",
        [
            say("a", 7, source_id="small", market_cap=1e6, volume_24h=9e9),
            say("a", 459, source_id="big", market_cap=1e9, volume_24h=1),
            say("a", 8, source_id="unknown", volume_24h=9e9),
            say("b", 461, market_cap=1e9),
        ],
        460,
    ),
    Scenario(
        "a source speaks on its busiest pair",
        [
            say("a", 90, quote="USDC", volume_24h=5e3),
            say("a", 101, quote="USDT", volume_24h=5e6),
            say("a", 80, quote="FDUSD"),
            say("b", 100),
        ],
        100.5,
    ),
    Scenario("stable quotes are dollars", [*venues(100), say("t", 101, quote="USDT")], 100.5),
    Scenario(
        "the newest price of a source speaks",
        venues(101),
        101,
        before={25: venues(99), 5: venues(100)},
    ),
    Scenario("29 minutes are recent", [*venues(100), say("slow", 102, minutes=29)], 101),
    Scenario("31 minutes are not", [*venues(100), say("slow", 102, minutes=31)], 100),
]

IDENTITY = [
    Scenario(
        "three venues with another UNI",
        [*venues(0.01, 0.01, 0.01), *aggregators(8, 8.02)],
        8.01,
        all_say("other_coin", 1, 2, 3),
    ),
    Scenario(
        "four venues with another LUNA, and others with the right one",
        [*venues(0.4, 0.4, 0.41, 0.4), *aggregators(60, 60.2), say("right", 61)],
        60.2,
        all_say("other_coin", 1, 2, 3, 4),
    ),
    Scenario(
        "a single voice far off is not yet another coin",
        [*venues(0.01), *aggregators(8, 8)],
        8,
        {"venue_1": "outlier"},
    ),
    Scenario(
        "one capitalisation tells nothing",
        [*venues(0.01, 0.01, 0.01), *aggregators(8)],
        0.01,
        {"aggregator_1": "outlier"},
    ),
    Scenario(
        "two capitalisations against one tell nothing",
        [*venues(0.01, 0.01), *aggregators(8, 8, 0.01)],
        0.01,
        all_say("outlier", 1, 2, who="aggregator"),
    ),
    Scenario(
        "three against one tell",
        [*venues(0.01, 0.01, 0.01), *aggregators(8, 8, 8, 0.01)],
        8,
        {**all_say("other_coin", 1, 2, 3), "aggregator_4": "other_coin"},
    ),
    Scenario("two of three with capitalisations", **disputed(aggregators(100, 100, 7))),
    Scenario("capitalisations of both camps", **disputed(aggregators(8, 8, 100, 100))),
    Scenario(
        "aggregators lag behind by 20 %: the same coin, and most voices",
        [*venues(120, 120, 120, 120), *aggregators(100, 100)],
        120,
        all_say("outlier", 1, 2, who="aggregator"),
    ),
    Scenario(
        "a capitalisation far from its cluster is not one of it",
        [*venues(100, 100, 104.9, *[0.01] * 6), *aggregators(100, 109.9)],
        0.01,
        {**all_say("outlier", 1, 2, 3), **all_say("outlier", 1, 2, who="aggregator")},
    ),
    Scenario(
        "voices of another coin are not counted",
        [*venues(120, *[0.01] * 5), *aggregators(100, 100, 100)],
        100,
        {"venue_1": "outlier", **all_say("other_coin", 2, 3, 4, 5, 6)},
    ),
    Scenario(
        "two capitalisations against the last price",
        **disputed([*venues(0.01, 0.01), *aggregators(8, 8)]),
        before={HOUR: venues(0.01)},
    ),
    Scenario(
        "with a mark price they are more than the last price",
        [*venues(0.01, 0.01), *aggregators(8, 8)],
        8,
        all_say("other_coin", 1, 2),
        before={HOUR: venues(0.01)},
        marks=[mark(8)],
    ),
]

OF_TWO = venues(100, 7)
FIRST: Mapping[str, Any] = {"usd": 100, "out": {"venue_2": "outlier"}}

WITNESSES = [
    # In a fast move the slow ones are late, and not another coin's: nothing is agreed, least of all
    # their price.
    Scenario("late capitalisations", **disputed([*venues(*[70] * 12), *aggregators(*[100] * 5)]),
             candles=[candle(100)], marks=[mark(100)]),
    Scenario("a few late ones", **disputed([*venues(*[70] * 12), *aggregators(100, 100)])),
    Scenario("a candle", OF_TWO, candles=[candle(100)], **FIRST),
    Scenario("a candle in a quote of prices", [*venues(7), say("t", 100, quote="USDT")], 100,
             {"venue_1": "outlier"}, candles=[candle(100, quote="USDT")]),
    Scenario("a mark price", OF_TWO, marks=[mark(100)], **FIRST),
    Scenario("the last price", OF_TWO, before={HOUR: venues(100)}, **FIRST),
    Scenario("a candle of 119 minutes", OF_TWO, candles=[candle(100, 119)], **FIRST),
    Scenario("a mark of 119 minutes", OF_TWO, marks=[mark(100, 119)], **FIRST),
    Scenario("the last price of 23 hours", OF_TWO, before={23 * HOUR: venues(100)}, **FIRST),
    Scenario("a candle of 121 minutes", **disputed(OF_TWO), candles=[candle(100, 121)]),
    Scenario("a mark of 121 minutes", **disputed(OF_TWO), marks=[mark(100, 121)]),
    Scenario("the last price of 25 hours", **disputed(OF_TWO), before={25 * HOUR: venues(100)}),
    Scenario("a candle to come", **disputed(OF_TWO), candles=[candle(100, -3)]),
    Scenario("a mark to come", **disputed(OF_TWO), marks=[mark(100, -3)]),
    Scenario("a candle in another money", **disputed(OF_TWO), candles=[candle(100, quote="EUR")]),
    Scenario("a swap without a mark", **disputed(OF_TWO), marks=[mark(None)]),
    Scenario("a swap without a mark is no witness", venues(100), 100, marks=[mark(None)]),
    Scenario("the newest candle", OF_TWO,
             candles=[candle(7, 90), candle(100, 30), candle(7, 60)], **FIRST),
    Scenario("the newest mark", OF_TWO,
             marks=[mark(7, 90, collection_id="c1"), mark(100, 30)], **FIRST),
    Scenario("the middle of candles", OF_TWO,
             candles=[candle(usd, provider=str(usd)) for usd in (100, 101, 7)], **FIRST),
    Scenario("the middle of marks", OF_TWO,
             marks=[mark(usd, exchange=str(usd)) for usd in (100, 101, 7)], **FIRST),
    Scenario("the newest last price", OF_TWO,
             before={5 * HOUR: venues(7), 2 * HOUR: aggregators(100, 100)}, **FIRST),
    Scenario("130 is not where 100 went", venues(100, 130), 100, {"venue_2": "outlier"},
             candles=[candle(100, 0)]),
    Scenario("76 neither", venues(100, 76), 100, {"venue_2": "outlier"}, candles=[candle(100, 0)]),
    Scenario("120 could be", **disputed(venues(100, 120)), candles=[candle(100, 0)]),
    Scenario("84 could be", **disputed(venues(100, 84)), candles=[candle(100, 0)]),
    Scenario("150 could be, in three hours", **disputed(venues(100, 150)),
             before={3 * HOUR: venues(100)}),
    Scenario("two say more than one", OF_TWO, candles=[candle(100)], marks=[mark(100)],
             before={HOUR: venues(7)}, **FIRST),
    Scenario("one against one witness", **disputed(OF_TWO), candles=[candle(100)], marks=[mark(7)]),
    Scenario("a majority against a witness", **disputed(venues(100, 100, 100, 7)),
             candles=[candle(7)]),
    Scenario("a majority and a witness against a witness", venues(100, 100, 100, 7), 100,
             {"venue_4": "outlier"}, candles=[candle(7)], marks=[mark(100)]),
    Scenario("a voice alone against a witness", **disputed(venues(7)), before={HOUR: venues(100)}),
    Scenario("two alone against a witness", **disputed(venues(7, 7)), before={HOUR: venues(100)}),
    Scenario("two with capitalisations", aggregators(7, 7), 7, before={HOUR: venues(100)}),
    Scenario("three alone against a witness", venues(7, 7, 7), 7, before={HOUR: venues(100)}),
    Scenario("two alone, and in their middle where the price may be", venues(122, 127), 124.5,
             candles=[candle(100, 0)]),
    Scenario("a voice alone moved", venues(120), 120, before={HOUR: venues(100)}),
]  # fmt: skip

TWINS = ("twin", "twin_b", "twin_c")
OWNERS = {"twin": None, "twin_b": "twin", "twin_c": "twin", "kin": None, "kin_b": "kin"}
"""Sources of one owner, beside those that are each their own, with the one whose voice they are."""

INDEPENDENCE = [
    Scenario("three of one owner are one voice",
             **disputed([*venues(100, 100), *(say(t, 7) for t in TWINS)])),
    Scenario("they are one where they agree, too",
             **disputed([*venues(100, 7), say("twin", 100), say("twin_b", 100)])),
    Scenario("and one price in the median",
             [*venues(100, 101), *(say(t, 104) for t in TWINS)], 101, also={"sources": 5}),
    Scenario("three of one owner alone against a witness",
             **disputed([say(t, 7) for t in TWINS]), before={HOUR: venues(100)}),
    Scenario("two owners are two",
             [say("twin", 100), say("twin_b", 100), say("kin", 104), say("kin_b", 104),
              *venues(104)], 104),
    Scenario("two capitalisations of one owner are one", [
        *venues(0.01, 0.01, 0.01), say("twin", 8, market_cap=1e9), say("twin_b", 8, market_cap=1e9),
    ], 0.01, {"twin": "outlier", "twin_b": "outlier"}),
    Scenario("volumes of one owner count once", [
        say("twin", 100, volume_24h=30), say("twin_b", 100, volume_24h=50), say("twin_c", 100),
        say("venue", 100, volume_24h=7),
    ], 100, also={"volume_24h": 47}),
    Scenario("an owner with one source that speaks",
             [*venues(100, 100), say("twin_b", 100), say("mad", 7)], 100, {"mad": "outlier"}),
]  # fmt: skip


def moved(*steady: Said, usd: float = 101.0) -> dict[int, Sequence[Said]]:
    """Three hours in which three venues went from 100 to another price, and what others said."""
    return {
        m: [*venues(*[100 + (usd - 100) * (180 - m) / 180] * 3), *steady] for m in (180, 90, 45)
    }


FROZEN = [
    Scenario("frozen", [*venues(101, 101, 101), say("ice", 100)], 101, {"ice": "frozen"},
             before=moved(say("ice", 100))),
    Scenario("frozen while the others fell", [*venues(99, 99, 99), say("ice", 100)], 99,
             {"ice": "frozen"}, before=moved(say("ice", 100), usd=99)),
    Scenario("stale and frozen", [*venues(101, 101, 101), say("ice", 100, abstains="stale")], 101,
             {"ice": "stale"}, before=moved(say("ice", 100))),
    Scenario("two of four frozen", [*venues(101, 101), say("ice", 100), say("snow", 100)], 101,
             {"ice": "frozen", "snow": "frozen"},
             before={m: [*venues(u, u), say("ice", 100), say("snow", 100)]
                     for m, u in ((180, 100), (90, 100), (45, 103))}),
    Scenario("steady while the others hardly moved", [*venues(*[100.4] * 3), say("calm", 100)],
             100.4, before=moved(say("calm", 100), usd=100.4), also={"sources": 4}),
    Scenario("moved and came back", [*venues(101, 101, 101), say("back", 100)], 101,
             before=moved() | {180: [*venues(100, 100, 100), say("back", 100)],
                               90: [*venues(100.5, 100.5, 100.5), say("back", 100.2)]},
             also={"sources": 4}),
    Scenario("steady for 90 minutes", [*venues(101, 101, 101), say("new", 100)], 101,
             before=moved() | {90: [*venues(100.5, 100.5, 100.5), say("new", 100)]},
             also={"sources": 4}),
    Scenario("all steady", [*venues(100, 100, 100)], 100,
             before=dict.fromkeys((180, 90), venues(100, 100, 100)), also={"sources": 3}),
    Scenario("others moved four hours ago", [*venues(101, 101, 101), say("calm", 101)], 101,
             before={240: venues(100, 100, 100),
                     **{m: [*venues(101, 101, 101), say("calm", 101)] for m in (180, 90)}},
             also={"sources": 4}),
]  # fmt: skip

AMOUNTS = [
    Scenario("the middle of the aggregators' volumes",
             [say(f"aggregator_{n}", 100, market_cap=cap, volume_24h=v)
              for n, (cap, v) in enumerate(((10, 20), (20, 30), (90, 9e15)))]
             + [say("venue", 100, volume_24h=5e6)],
             100, also={"volume_24h": 30, "market_cap": 20}),
    Scenario("the sum of venues, with all pairs that vote", [
        say("a", 100, volume_24h=10, quote="USDT"), say("a", 100, volume_24h=7, quote="USDC"),
        say("a", 100, volume_24h=500, quote="USD", abstains="stale"),
        say("b", 100, volume_24h=3), say("c", 100), say("mad", 7, volume_24h=9e9),
    ], 100, {"mad": "outlier"}, also={"volume_24h": 20, "market_cap": None}),
    Scenario("no aggregator's coins are added up", [
        say("a", 100, source_id="big", market_cap=1e9, volume_24h=10),
        say("a", 3, source_id="small", market_cap=1e3, volume_24h=99), say("b", 100),
    ], 100, also={"volume_24h": 10}),
    Scenario("an aggregator without a volume",
             [*aggregators(100), say("venue", 100, volume_24h=8)], 100, also={"volume_24h": 8}),
    Scenario("nobody knows volumes", venues(100, 100), 100, also={"volume_24h": None}),
    Scenario("the middle of changes",
             [say(s, 100, price_change_24h=c) for s, c in (("a", 1), ("b", 2), ("c", 60))],
             100, also={"change_24h": 2}),
    Scenario("the name that the biggest capitalisation goes with",
             [say("a", 100, name="Small", market_cap=5), say("b", 100, name="Big", market_cap=9),
              say("c", 100, market_cap=99), say("mad", 7, name="Mad", market_cap=1e9)],
             100, {"mad": "outlier"}, also={"name": "Big"}),
    Scenario("a constant price among a spread", venues(95, 100, 105), 100,
             before={m: venues(95.2, 100, 104.8) for m in (2 * HOUR, HOUR)},
             also={"high_24h": 100, "low_24h": 100}),
    Scenario("high and low are of agreed prices", [*venues(100, 101, 102), say("mad", 900)], 101,
             {"mad": "outlier"},
             before={23 * HOUR: venues(95), 4 * HOUR: venues(105), 25 * HOUR: venues(90)},
             also={"high_24h": 105, "low_24h": 95}),
    Scenario("high and low within the hour", venues(100), 100,
             before={45: venues(97), 25: venues(104), 5: venues(103)},
             also={"high_24h": 104, "low_24h": 97}),
    Scenario("a disputed coin keeps the day's range", **disputed(venues(7, 300)),
             before={HOUR: venues(60)}, also={"high_24h": 60, "low_24h": 60, "market_cap": None,
                                              "sources": 0, "provider": None, "spread_pct": None}),
    Scenario("the spread of those that agree", [*venues(100, 101, 104), say("mad", 300)], 101,
             {"mad": "outlier"}, also={"spread_pct": pytest.approx(4)}),
    Scenario("the newest of those that agree", [
        say("a", 100, minutes=9), say("b", 100, minutes=7), say("c", 100, minutes=8),
        say("mad", 7, minutes=2),
    ], 100, {"mad": "outlier"}, also={"fetched_at": NOW - timedelta(minutes=7)}),
]  # fmt: skip

SCENARIOS = {
    f"S{n}": scenario
    for n, scenario in enumerate(
        (*BASICS, *ABSTENTIONS, *IDENTITY, *WITNESSES, *INDEPENDENCE, *FROZEN, *AMOUNTS)
    )
}


def provider(source: str, voice_of: str | None) -> Provider:
    return Provider(
        source=source,
        base_url=f"https://{source}.example",
        documentation=f"https://{source}.example",
        key_required=False,
        voice_of=voice_of,
        tables=["market_prices"],
        endpoints=1,
    )


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Mapping[str, Any]]:
    """What becomes of every scenario: each is a coin of its own, in one file."""
    warehouse = Warehouse(tmp_path_factory.mktemp("agreed") / "crypto.duckdb")
    moments = {m for scenario in SCENARIOS.values() for m in scenario.before}
    for minutes in sorted({*moments, 0}, reverse=True):
        rows: list[Row] = [
            row for symbol, s in SCENARIOS.items() for row in s.rows(symbol, minutes)
        ]
        made = batch(f"c-{minutes}", *rows)
        if not minutes:
            made.add("", [provider(source, of) for source, of in OWNERS.items()])
            made.add("", [w for symbol, s in SCENARIOS.items() for w in s.witnesses(symbol)])
        receipt = warehouse.write(made)
        assert receipt.problem is None
    with warehouse.connect(read_only=True) as connection:
        found = connection.execute("SELECT * FROM cached_market_data")
        columns = [about[0] for about in found.description]
        return {row[0]: dict(zip(columns, row, strict=True)) for row in found.fetchall()}


@pytest.mark.parametrize(
    ("symbol", "scenario"),
    [pytest.param(symbol, s, id=s.name.replace(" ", "_")) for symbol, s in SCENARIOS.items()],
)
def test_what_is_agreed(
    view: Mapping[str, Mapping[str, Any]], symbol: str, scenario: Scenario
) -> None:
    found = view[symbol]
    out = {voice["source"]: voice["why"] for voice in found["rejected"]}
    usd = pytest.approx(scenario.usd) if scenario.usd is not None else None
    assert (found["state"], found["price_usd"], out) == (scenario.state, usd, dict(scenario.out))
    for column, value in scenario.also.items():
        assert found[column] == value, column


def rejected(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    return warehouse.query(
        "SELECT r.source, r.price_usd, r.off_pct FROM "
        "(SELECT unnest(rejected) AS r FROM cached_market_data) ORDER BY 1"
    )


def test_how_far_a_voice_is_off_is_told(warehouse: Warehouse) -> None:
    said = [*HONEST, say("a_mad", 50.5), say("b_mad", 404)]
    warehouse.write(batch("c1", *Scenario("", said).rows("BTC", 0)))
    assert rejected(warehouse) == [("a_mad", 50.5, -50.0), ("b_mad", 404.0, 300.0)]


def test_disputed_voices_are_off_their_middle(warehouse: Warehouse) -> None:
    warehouse.write(batch("c1", *Scenario("", venues(50, 100, 150)).rows("BTC", 0)))
    assert rejected(warehouse) == [
        ("venue_1", 50.0, -50.0),
        ("venue_2", 100.0, 0.0),
        ("venue_3", 150.0, 50.0),
    ]


def test_only_coins_with_a_price_are_counted_as_agreed(warehouse: Warehouse) -> None:
    rows = [*Scenario("", venues(1, 9)).rows("ABC", 0), *Scenario("", HONEST).rows("BTC", 0)]
    receipt = warehouse.write(batch("c1", *rows))
    assert receipt.of("cached_market_data") == 1
    assert warehouse.query("SELECT symbol, price_usd FROM cached_market_data ORDER BY 1") == [
        ("ABC", None),
        ("BTC", 101.0),
    ]


def test_ranges_are_forgotten_after_a_day(warehouse: Warehouse) -> None:
    for minutes in (25 * HOUR + 1, 24 * HOUR, 0):
        rows = Scenario("", HONEST, before={minutes: HONEST}).rows("BTC", minutes)
        warehouse.write(batch(f"c{minutes}", *rows))
    kept = warehouse.query("SELECT hour FROM agreed_ranges ORDER BY 1")
    assert kept == [(NOW - timedelta(hours=24),), (NOW,)]


# A simulated week

STEP = timedelta(minutes=30)
WEEK = timedelta(days=7) // STEP

LIES: tuple[Callable[[float, int], float], ...] = (
    lambda truth, coin: truth * 1000,
    lambda truth, coin: truth / 1000,
    lambda truth, coin: 0.03,
    lambda truth, coin: 17.0 * (coin + 1),  # another coin of that ticker
)


@dataclass
class Market:
    """Coins whose prices walk at random, and sources that tell of them: most honestly.

    Coin n is told of by n + 2 venues, and by three aggregators when n is even. Liars are fewer than
    half of a coin's sources and come and go, often most of them with one lie. In the first step
    nobody lies: nothing would tell most aggregators of a coin that lie from venues that do.
    """

    seed: int
    coins: int = 8

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.truth: list[list[float]] = [
            [10.0 ** self.chance.uniform(0, 4)] for _ in range(self.coins)
        ]
        self.lying: dict[tuple[int, str], tuple[int, Callable[[float, int], float] | None]] = {}
        self.frozen: dict[tuple[int, str], float] = {}

    def sources(self, coin: int) -> list[str]:
        aggregating = [f"aggregator_{n}" for n in range(3)] if coin % 2 == 0 else []
        return [f"venue_{n}" for n in range(coin + 2)] + aggregating

    def walk(self) -> None:
        for past in self.truth:
            past.append(past[-1] * (1 + self.chance.gauss(0, 0.004)))

    def plan(self, step: int) -> None:
        """Let liars come, most of a coin's with one lie, and go after a while."""
        self.lying = {who: lie for who, lie in self.lying.items() if lie[0] > step}
        for coin in range(self.coins):
            known = self.sources(coin)
            now = sum(c == coin for c, _ in self.lying)
            most = (len(known) - 1) // 2
            if not step or now or not most or self.chance.random() > 0.2:
                continue
            shared = self.chance.choice([*LIES, None])
            until = step + self.chance.randrange(1, 24)
            for source in self.chance.sample(known, self.chance.randint(1, most)):
                kind = shared if self.chance.random() < 0.6 else self.chance.choice([*LIES, None])
                self.lying[coin, source] = (until, kind)
                self.frozen[coin, source] = self.truth[coin][-1]

    def say(self, coin: int, source: str) -> float:
        past = self.truth[coin]
        if (coin, source) in self.lying:
            lie = self.lying[coin, source][1]
            return self.frozen[coin, source] if lie is None else lie(past[-1], coin)
        late = self.chance.choice((1, 1, 1, 2))
        return past[-min(late, len(past))] * (1 + self.chance.gauss(0, 0.001))

    def collection(self, step: int) -> list[Row]:
        """What is told in one step: a source is silent one time in ten, but liars stay few."""
        self.walk()
        self.plan(step)
        at, name = NOW - (WEEK - step) * STEP, f"step-{step}"
        rows: list[Row] = []
        for coin in range(self.coins):
            known = self.sources(coin)
            heard = [source for source in known if self.chance.random() > 0.1]
            liars = sum((coin, source) in self.lying for source in heard)
            for source in heard if 2 * liars < len(heard) else known:
                about: dict[str, Any] = {"timestamp": at, "source_id": f"{coin}"}
                if source.startswith("aggregator"):
                    about["market_cap"] = self.truth[coin][-1] * 1e6
                rows.append(price(source, f"C{coin}", self.say(coin, source), name, **about))
        return rows


@dataclass
class Account:
    """How a simulation went: rows with an agreed price, without one, and the worst error."""

    agreed: int = 0
    without: int = 0
    worst: float = 0.0
    where: str = ""


def simulate(folder: Path, steps: int, seed: int) -> Account:
    market, account = Market(seed), Account()
    warehouse = Warehouse(folder / "crypto.duckdb")
    for step in range(steps):
        receipt = warehouse.write(batch(f"step-{step}", *market.collection(step)))
        assert receipt.problem is None
        for symbol, usd in warehouse.query("SELECT symbol, price_usd FROM cached_market_data"):
            if usd is None:
                account.without += 1
                continue
            account.agreed += 1
            error = abs(usd / market.truth[int(symbol[1:])][-1] - 1)
            if error > account.worst:
                account.worst, account.where = error, f"{symbol} in step {step}"
    return account


@pytest.mark.parametrize("seed", [1])
def test_planted_liars_do_not_win(tmp_path: Path, seed: int) -> None:
    """A part of the week; `python -m crypto_pipeline_tests.test_agreement` simulates all of it."""
    account = simulate(tmp_path, 24, seed)
    assert account.worst < 0.01, account.where
    assert account.without < 0.1 * account.agreed


# Sources of one owner


def test_sources_of_one_owner_are_declared() -> None:
    """A source that another speaks for must have a voice of its own."""
    kin = {name: source.voice_of for name, source in SOURCES.items() if source.voice_of}
    assert kin
    assert not kin.keys() & set(kin.values())


@pytest.mark.parametrize("of", ["nobody", "b", "a"])
def test_a_voice_of_no_source_is_refused(of: str) -> None:
    def made(name: str, voice_of: str) -> Source:
        source = Source(
            name, f"https://{name}.example", docs="https://x.example", voice_of=voice_of
        )
        source.endpoint(MarketPrice, "/x", row=dict)
        return source

    class Module:
        sources = (made("a", of), made("b", "a"))

    with pytest.raises(SourceError, match=f"source 'a': voice_of: '{of}' has no voice"):
        find([Module])  # type: ignore[list-item]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A simulated market with planted liars.")
    parser.add_argument("--steps", type=int, default=WEEK, help="of half an hour")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        print(simulate(Path(temporary), chosen.steps, chosen.seed))
