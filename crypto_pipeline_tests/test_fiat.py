"""Rates of other currencies: who is heard, who is left out and why, and when there is none."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from crypto_pipeline.collection.collect import collect as collect_tables
from crypto_pipeline.collection.collect import endpoints_of
from crypto_pipeline.collection.exchange import Answer
from crypto_pipeline.collection.extract import extract
from crypto_pipeline.sources import ENDPOINTS
from crypto_pipeline.sources.values import fiat_quote
from crypto_pipeline.tables import FiatQuote, FiatRate, MarketPrice, Provider, Row
from crypto_pipeline.tables.fiat import CURRENCIES, RIAL, TOMAN
from crypto_pipeline.warehouse import Receipt, Warehouse
from crypto_pipeline_tests.fresh import SAMPLED_AT
from crypto_pipeline_tests.test_warehouse import NOW, batch, price
from crypto_pipeline_tests.upstream import Samples, Upstream, sample_file

USDT, BTC = 1.0, 90_000.0
"""What the agreed view says of these coins in most of these tests."""


def quote(source: str, value: float, minute: float = 0, **about: Any) -> FiatQuote:
    """What a venue says a coin costs; of the base's columns only those that matter."""
    values = {
        "base": "USDT",
        "currency": TOMAN,
        "price": value,
        "timestamp": NOW + timedelta(minutes=minute),
        "source": source,
        "collection_id": f"c{minute:g}",
    }
    return FiatQuote.model_validate({**values, **about})


def agreed(minute: float = 0, usdt: float = USDT, btc: float = BTC) -> list[MarketPrice]:
    """Prices that three sources agree on."""
    at = NOW + timedelta(minutes=minute)
    return [
        price(f"aggregator_{n}", symbol, usd, f"c{minute:g}", timestamp=at)
        for symbol, usd in (("USDT", usdt), ("BTC", btc))
        for n in range(3)
    ]


def collect(warehouse: Warehouse, *rows: Row, minute: float = 0, **how: Any) -> Receipt:
    at = NOW + timedelta(minutes=minute)
    return warehouse.write(batch(f"c{minute:g}", *rows, at=at), **how)


def rate(warehouse: Warehouse, currency: str = TOMAN) -> dict[str, Any]:
    """The newest row of a currency."""
    names = FiatRate.table.column_names
    found = warehouse.query(
        f"SELECT {', '.join(names)} FROM fiat_rates WHERE currency = '{currency}' "
        "ORDER BY timestamp DESC LIMIT 1"
    )
    return dict(zip(names, found[0], strict=True))


@dataclass(frozen=True)
class Scenario:
    """What venues say, and what must become of it. out: who is left out, and why."""

    name: str
    said: Sequence[FiatQuote]
    per_usd: float | None
    state: str = "agreed"
    out: Mapping[str, str] = field(default_factory=dict)
    also: Mapping[str, Any] = field(default_factory=dict)


def venues(*prices: float, **about: Any) -> list[FiatQuote]:
    return [quote(f"venue_{n}", value, **about) for n, value in enumerate(prices, 1)]


LONG_AGO = {"minute": -31}
HONEST = venues(118_000, 118_500, 119_000)

SCENARIOS = [
    Scenario(
        "the median",
        HONEST,
        118_500,
        also={"voices": 3, "provider": "venue_1,venue_2,venue_3", "rejected": []},
    ),
    Scenario(
        "rials sold for tomans",
        [*HONEST, quote("liar", 1_185_000)],
        118_500,
        out={"liar": "tenfold"},
    ),
    Scenario("a tenth", [*HONEST, quote("liar", 45_000)], 118_500, out={"liar": "outlier"}),
    Scenario(
        "a tenth, against bitcoin",
        [*HONEST, quote("liar", 11_800 * BTC, base="BTC")],
        118_500,
        out={"liar": "implausible"},
    ),
    Scenario(
        "a tenth of what is high",
        [*venues(1_180_000, 1_185_000, 1_190_000), quote("liar", 118_500)],
        1_185_000,
        out={"liar": "tenfold"},
    ),
    Scenario(
        "5.1 % off",
        [*venues(100_000, 100_000), quote("far", 94_900)],
        100_000,
        out={"far": "outlier"},
    ),
    Scenario("4.9 % off", [*venues(100_000, 100_000), quote("near", 95_100)], 100_000),
    Scenario(
        "an old clock",
        [*HONEST, quote("old", 60_000, abstains="stale")],
        118_500,
        out={"old": "stale"},
    ),
    Scenario("said long ago", [*HONEST, quote("gone", 60_000, **LONG_AGO)], 118_500),
    Scenario(
        "hardly traded",
        [*HONEST, quote("quiet", 60_000, volume_24h=999)],
        118_500,
        out={"quiet": "untraded"},
    ),
    Scenario("one voice", venues(118_000), 118_000, "single", also={"voices": 1, "spread_pct": 0}),
    Scenario(
        "two that agree",
        venues(118_000, 120_000),
        119_000,
        also={"voices": 2, "spread_pct": pytest.approx(1.695, abs=1e-3)},
    ),
    Scenario(
        "two far apart",
        venues(118_000, 1_180_000),
        None,
        "disputed",
        {"venue_1": "disputed", "venue_2": "disputed"},
        {"voices": 0, "spread_pct": None, "provider": None},
    ),
    Scenario(
        "two against two",
        venues(118_000, 118_500, 150_000, 151_000),
        None,
        "disputed",
        {f"venue_{n}": "disputed" for n in (1, 2, 3, 4)},
    ),
    Scenario(
        "nobody has a vote",
        [quote("old", 118_000, abstains="stale")],
        None,
        "silent",
        {"old": "stale"},
    ),
    Scenario(
        "bitcoin at its agreed price",
        [quote("coin", 118_000 * BTC, base="BTC"), quote("dollar", 118_200)],
        118_100,
        also={"at_par": False},
    ),
    Scenario(
        "a venue speaks once, with what it trades most",
        [
            quote("a", 118_000, volume_24h=1e6),
            quote("a", 150_000 * BTC, base="BTC", volume_24h=1),
            quote("b", 118_400),
        ],
        118_200,
        also={"voices": 2},
    ),
    Scenario(
        "half of the voices are no majority",
        venues(60_000, 118_000, 119_000, 300_000),
        None,
        "disputed",
        {f"venue_{n}": "disputed" for n in (1, 2, 3, 4)},
    ),
    Scenario(
        "without volumes a venue speaks with its dollar coin",
        [quote("a", 118_000), quote("a", 150_000 * BTC, base="BTC")],
        118_000,
        "single",
    ),
    Scenario(
        "what a venue trades most has no vote",
        [
            quote("a", 60_000, volume_24h=1e6, abstains="stale"),
            quote("a", 118_000 * BTC, base="BTC", volume_24h=1),
        ],
        118_000,
        "single",
    ),
    Scenario(
        "the time and the par of those who agree",
        [*venues(118_000, 118_200, minute=-29), quote("liar", 1_185_000, base="USDC")],
        118_100,
        out={"liar": "tenfold"},
        also={"at_par": False, "timestamp": NOW - timedelta(minutes=29)},
    ),
    Scenario(
        "bitcoin that is traded more",
        [
            quote("a", 150_000, volume_24h=2_000),
            quote("a", 118_000 * BTC, base="BTC", volume_24h=1),
        ],
        118_000,
        "single",
    ),
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
def test_what_becomes_of_what_venues_say(warehouse: Warehouse, scenario: Scenario) -> None:
    collect(warehouse, *agreed(), *scenario.said)
    found = rate(warehouse)
    assert found["state"] == scenario.state
    assert found["per_usd"] == (scenario.per_usd and pytest.approx(scenario.per_usd))
    assert {r["source"]: r["why"] for r in found["rejected"]} == scenario.out
    assert {name: found[name] for name in scenario.also} == scenario.also


def test_a_rejected_voice_has_its_rate_and_how_far_it_is_off(warehouse: Warehouse) -> None:
    collect(warehouse, *agreed(), *HONEST, quote("liar", 1_185_000))
    assert rate(warehouse)["rejected"] == [
        {"source": "liar", "per_usd": 1_185_000.0, "off_pct": 900.0, "why": "tenfold"}
    ]


def test_sources_of_one_owner_are_one_voice(warehouse: Warehouse) -> None:
    families = [
        Provider(
            source=name, base_url="https://x.example", documentation="https://x.example",
            key_required=False, voice_of=of, tables=["fiat_quotes"], endpoints=1,
        )
        for name, of in (("venue_1", None), ("venue_2", "venue_1"), ("venue_3", None))
    ]  # fmt: skip
    collect(warehouse, *agreed(), *families, *venues(150_000, 150_000, 118_000))
    assert rate(warehouse)["state"] == "disputed"
    assert {r["source"] for r in rate(warehouse)["rejected"]} == {"venue_1", "venue_3"}


def test_the_dollar_price_of_the_coin_counts(warehouse: Warehouse) -> None:
    collect(warehouse, *agreed(usdt=0.98), *venues(117_600, 117_600))
    found = rate(warehouse)
    assert found["per_usd"] == pytest.approx(120_000)
    assert found["at_par"] is False


def test_without_an_agreed_price_a_stablecoin_is_a_dollar_and_bitcoin_says_nothing(
    warehouse: Warehouse,
) -> None:
    collect(warehouse, quote("a", 118_000), quote("b", 118_200, base="USDC"))
    collect(warehouse, quote("c", 1e9, 5, base="BTC", currency="EUR"), minute=5)
    found = rate(warehouse)
    assert (found["per_usd"], found["at_par"]) == (118_100, True)
    assert warehouse.query("SELECT count(*) FROM fiat_rates WHERE currency = 'EUR'") == [(0,)]


def test_an_agreed_price_of_another_hour_does_not_count(warehouse: Warehouse) -> None:
    collect(warehouse, *agreed(usdt=0.5))
    collect(warehouse, *(quote(v, 118_000, 31) for v in "ab"), minute=31)
    assert rate(warehouse)["per_usd"] == 118_000
    assert rate(warehouse)["at_par"] is True


def test_every_collection_with_quotes_adds_a_row_and_others_add_none(warehouse: Warehouse) -> None:
    collect(warehouse, *agreed(), *HONEST)
    assert collect(warehouse, *agreed(5), minute=5).of("fiat_rates") == 0
    split = [quote(v, value, 15, currency="TRY") for v, value in (("a", 40), ("b", 60))]
    receipt = collect(warehouse, *agreed(15), quote("venue_1", 119_000, 15), *split, minute=15)
    assert receipt.of("fiat_rates") == 2  # the lira, about which its two venues differ, has none
    toman = f"FROM fiat_rates WHERE currency = '{TOMAN}' ORDER BY ALL"
    found = warehouse.query(f"SELECT collection_id, per_usd, voices {toman}")
    assert found == [("c0", 118_500.0, 3), ("c15", 119_000.0, 3)]


def test_a_collection_that_waited_says_what_a_dollar_cost_then(warehouse: Warehouse) -> None:
    collect(warehouse, *agreed(), *HONEST, hurry=lambda: True)
    collect(warehouse, *(quote(v, 125_000, 60) for v in "ab"), minute=60)
    found = warehouse.query("SELECT collection_id, per_usd, timestamp FROM fiat_rates ORDER BY 1")
    assert found == [("c0", 118_500.0, NOW), ("c60", 125_000.0, NOW + timedelta(minutes=60))]


def test_what_a_clock_ahead_of_its_time_wrote_is_not_heard(warehouse: Warehouse) -> None:
    collect(warehouse, quote("ahead", 60_000, 600), minute=600)
    collect(warehouse, *agreed(), *HONEST)
    found = warehouse.query("SELECT per_usd, rejected FROM fiat_rates WHERE collection_id = 'c0'")
    assert found == [(118_500.0, [])]


def test_a_venue_that_goes_over_to_rials_is_refused_by_name(warehouse: Warehouse) -> None:
    collect(warehouse, *agreed(), *HONEST)
    turned = [quote("venue_1", 1_180_000, 15), quote("venue_2", 118_600, 15)]
    receipt = collect(warehouse, *agreed(15), *turned, minute=15)
    assert receipt.refused == {"fiat_quotes": {"alpha.x": 1}}
    refused = warehouse.query("SELECT source, feeds, field, reason FROM rejected_rows")
    assert refused == [
        (
            *("venue_1", "fiat_quotes", "price"),
            "price: 1.18e+06, and 118000 within the day before it",
        )
    ]
    assert rate(warehouse)["per_usd"] == 118_600
    assert rate(warehouse)["rejected"] == []


def test_a_collection_of_refused_quotes_alone_makes_no_rate(warehouse: Warehouse) -> None:
    collect(warehouse, *agreed(), *HONEST)
    receipt = collect(warehouse, quote("venue_1", 1_180_000, 15), minute=15)
    assert receipt.of("fiat_rates") == 0
    assert warehouse.query("SELECT count(*) FROM fiat_rates") == [(1,)]


@pytest.mark.parametrize("code", sorted(CURRENCIES))
def test_a_band_refuses_a_tenth_of_what_is_usual_and_of_a_steady_currency_tenfold(
    code: str,
) -> None:
    band = CURRENCIES[code]
    assert quote("a", band.low * 3, currency=code).price < band.high
    with pytest.raises(ValidationError, match=f"{code} for a dollar, which costs"):
        quote("a", band.low * 0.99, currency=code)
    with pytest.raises(ValidationError, match="another unit, or another currency"):
        quote("a", band.high * 1.01, currency=code)
    steady = band.high <= band.low * 10.001
    assert steady or band.high / band.low > 1_000


@pytest.mark.parametrize(
    ("about", "words"),
    [({"base": "ETH"}, "base 'ETH' is not one of"), ({"currency": "XYZ"}, "'XYZ' is not one that")],
)
def test_another_coin_or_currency_is_refused(about: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        quote("a", 118_000, **about)


def test_rials_become_tomans_and_tomans_stay() -> None:
    assert fiat_quote("usdt-rls", "1184000", quote_volume="11840000", names={"RLS": RIAL}) == {
        "base": "USDT",
        "currency": TOMAN,
        "price": 118_400.0,
        "volume_24h": 10.0,
        "source_at": None,
    }
    toman = fiat_quote("USDTTMN", 118_400, names={"TMN": TOMAN})
    assert toman
    assert (toman["price"], toman["currency"]) == (118_400.0, TOMAN)


@pytest.mark.parametrize("pair", ["USDTIRT", "BTC-IRR", "btc_tmn", "USDT-RLS"])
def test_no_iranian_name_means_anything_that_is_not_declared(pair: str) -> None:
    assert fiat_quote(pair, 118_400) is None


@pytest.mark.parametrize("pair", ["ETHEUR", "EURUSDT", "BTCUSDT", "BTCEUR_INSTA", "1000BTCEUR"])
def test_what_is_of_another_coin_or_currency_is_left_out(pair: str) -> None:
    assert fiat_quote(pair, 1.0) is None


def in_tomans() -> dict[str, dict[str, float]]:
    """What the samples of each Iranian venue say in tomans, by base."""
    said: dict[str, dict[str, float]] = {}
    for endpoint in ENDPOINTS.values():
        if endpoint.model is FiatQuote:
            file = sample_file(endpoint)
            assert file
            answer = Answer(200, file.read_bytes(), "application/json", SAMPLED_AT)
            for row in extract(endpoint, endpoint.asks()[0], answer, "c").rows:
                assert isinstance(row, FiatQuote)
                if row.currency == TOMAN:
                    said.setdefault(row.base, {})[endpoint.source.name] = row.price
    return said


def test_all_iranian_samples_say_the_same_whether_they_are_in_rials_or_in_tomans() -> None:
    said = in_tomans()
    assert len(said["BTC"]) >= 7
    assert len(said["USDT"]) >= 3
    for prices in said.values():
        assert max(prices.values()) < 1.05 * min(prices.values()), prices


def test_every_currency_is_named_once_and_its_code_is_one() -> None:
    assert all(len(code) == 3 and code.isupper() for code in CURRENCIES)
    assert len({currency.name for currency in CURRENCIES.values()}) == len(CURRENCIES)
    assert RIAL not in CURRENCIES  # or rials and tomans would stand side by side


STRANGE = st.floats(min_value=1e-12, max_value=1e15)
PLAUSIBLE = st.floats(min_value=40_000, max_value=1e8)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    dollars=st.lists(PLAUSIBLE, max_size=7),
    coins=st.lists(STRANGE, max_size=4),
    btc=st.floats(min_value=1e-6, max_value=1e9),
)
def test_whatever_is_said_the_rate_lies_among_the_voices(
    tmp_path_factory: pytest.TempPathFactory, dollars: list[float], coins: list[float], btc: float
) -> None:
    warehouse = Warehouse(tmp_path_factory.mktemp("rates") / "x.duckdb")
    said = [
        *(quote(f"usdt_{n}", value) for n, value in enumerate(dollars)),
        *(quote(f"btc_{n}", value, base="BTC") for n, value in enumerate(coins)),
    ]
    collect(warehouse, *agreed(btc=btc), *said)
    band = CURRENCIES[TOMAN]
    voting = [v for v in (*dollars, *(c / btc for c in coins)) if band.low <= v <= band.high]
    if not said:
        assert warehouse.query("SELECT count(*) FROM fiat_rates") == [(0,)]
        return
    found = rate(warehouse)
    assert found["voices"] + len(found["rejected"]) == len(said)
    if found["per_usd"] is None:
        assert found["state"] == ("disputed" if voting else "silent")
        assert found["voices"] == 0
    else:
        assert min(voting) <= found["per_usd"] * (1 + 1e-9)
        assert found["per_usd"] <= max(voting) * (1 + 1e-9)
        assert 2 * found["voices"] > len(voting)
        assert found["state"] == ("single" if len(voting) == 1 else "agreed")


def test_the_views_give_the_newest_rate_and_every_price_in_every_currency(
    warehouse: Warehouse,
) -> None:
    minutes = (datetime.now(UTC) - NOW).total_seconds() // 60
    for minute, value in ((minutes - 15, 118_000), (minutes, 120_000)):
        said = [quote(v, value, minute) for v in "ab"]
        euro = [quote(v, 0.9, minute, currency="EUR") for v in "ab"]
        split = [quote(v, value, minute, currency="TRY") for v, value in (("a", 40), ("b", 60))]
        collect(warehouse, *agreed(minute), *said, *euro, *split, minute=minute)
    latest = "SELECT currency, per_usd, state FROM latest_fiat_rates ORDER BY currency"
    assert warehouse.query(latest) == [
        ("EUR", 0.9, "agreed"),
        (TOMAN, 120_000.0, "agreed"),
        ("TRY", None, "disputed"),
    ]
    prices = "SELECT symbol, currency, price FROM local_prices ORDER BY symbol, currency"
    assert warehouse.query(prices) == [
        ("BTC", "EUR", 0.9 * BTC),
        ("BTC", TOMAN, 120_000 * BTC),
        ("USDT", "EUR", 0.9),
        ("USDT", TOMAN, 120_000.0),
    ]


def test_a_real_collection_ends_with_a_toman_per_dollar(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = ["market_prices", "cached_market_data", "fiat_quotes", "fiat_rates"]
    among = [e for e in endpoints_of(tables) if e.source.keyless]
    with Upstream(Samples()) as upstream:
        monkeypatch.setenv("CRYPTO_PIPELINE_UPSTREAM", upstream.url)
        collection = collect_tables(tables, "c1", warehouse=warehouse, among=among)
    assert {r.outcome for r in collection.of("fiat_quotes")} == {"ok"}
    asked = Counter((r.place, r.query, str(r.body)) for r in upstream.received)
    assert set(asked.values()) == {1}  # what feeds two tables is asked for once
    assert collection.receipt.of("fiat_rates") >= 15
    found = rate(warehouse)
    assert found["state"] == "agreed"
    assert found["voices"] >= 7
    assert found["rejected"] == []
    assert 115_000 < found["per_usd"] < 122_000
