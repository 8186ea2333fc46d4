"""The converters: what they turn, and what they refuse."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_pipeline.sources import values as v

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize("blank", [None, "", "-", "null", "N/A"])
def test_blanks_are_no_numbers(blank: object) -> None:
    assert v.number(blank) is None


@pytest.mark.parametrize("bad", [True, "abc", [1], {}, "inf", float("nan")])
def test_what_is_no_number_raises(bad: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        v.number(bad)


@pytest.mark.parametrize(
    ("text", "value"), [("1,234.5", 1234.5), ("-12,345,678", -12345678), (" 1,000 ", 1000)]
)
def test_commas_group_digits_by_three(text: str, value: float) -> None:
    assert v.number(text) == value


@pytest.mark.parametrize("text", ["1,5", "1,23", "12,3456", "1,,000", ",500", "1_000", "1,234.5.6"])
def test_what_may_be_a_decimal_comma_is_no_number(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        v.number(text)


@pytest.mark.parametrize("bad", [True, None, "", "-", [1], {"a": 1}, "abc"])
def test_arithmetic_needs_a_number(bad: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        v.given(bad)


@pytest.mark.parametrize("bad", [True, None, 1.5, "1.5", "1e3", " 1", "1_0", "0x10", [1]])
def test_what_is_no_whole_number_raises(bad: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        v.whole_number(bad)


def test_small_units_become_coins_without_a_loss_of_digits() -> None:
    assert v.units(str(3 * 10**21), 18) == v.units(hex(3 * 10**21), 18) == 3000
    assert v.whole_number("123456789012345678901") == 123456789012345678901


def test_an_id_is_a_number_or_text() -> None:
    assert (v.label(7), v.label("btc")) == ("7", "btc")
    for bad in (True, None, {"id": 7}):
        with pytest.raises(TypeError):
            v.label(bad)


def test_hours_lie_between_two_times() -> None:
    assert v.hours_between(NOON, NOON.replace(hour=20)) == 8
    assert v.hours_between(None, NOON) is None


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_survives_its_text(x: float) -> None:
    assert v.number(repr(x)) == x


@given(st.integers(min_value=1_262_304_000, max_value=4_070_908_800))
def test_a_time_survives_every_unit(seconds: int) -> None:
    at = datetime.fromtimestamp(seconds, UTC)
    assert v.seconds(seconds) == v.millis(seconds * 1000) == v.micros(seconds * 10**6) == at
    assert v.nanos(seconds * 10**9) == v.iso(at.isoformat()) == at


@pytest.mark.parametrize(
    ("convert", "value"),
    [(v.seconds, 1795435200000), (v.millis, 1795435200), (v.seconds, 1e300), (v.iso, "1970-01-01")],
)
def test_a_unit_mistaken_raises(convert: object, value: object) -> None:
    with pytest.raises(ValueError, match=r"1970|not a time"):
        convert(value)  # type: ignore[operator]


def test_dates_with_other_zones_become_utc() -> None:
    assert v.iso("2026-11-23T15:30:00+03:30") == NOON


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        ("BTCUSDT", ("BTC", "USDT")),
        ("btc_usdt", ("BTC", "USDT")),
        ("BTC-USD", ("BTC", "USD")),
        ("ETH/BTC", ("ETH", "BTC")),
        ("USDCUSDT", ("USDC", "USDT")),
        ("ETHFDUSD", ("ETH", "FDUSD")),
        ("1INCHUSDC", ("1INCH", "USDC")),
        ("BTCIRT", ("BTC", "IRT")),
    ],
)
def test_pairs_split(pair: str, expected: tuple[str, str]) -> None:
    assert v.split_pair(pair) == expected


@given(st.sampled_from(v.QUOTES), st.from_regex(r"[A-Z0-9]{2,8}", fullmatch=True))
def test_a_joined_pair_never_loses_letters(quote: str, base: str) -> None:
    found = v.split_pair(base + quote)
    assert "".join(found) == base + quote
    assert found[1] in v.QUOTES


@pytest.mark.parametrize(
    ("pair", "quotes", "expected"),
    [
        ("DOTUSD", ("USD", "USDT"), ("DOT", "USD")),
        ("BNBUSD", ("USD",), ("BNB", "USD")),
        ("BTCUSDT", ("T", "USDT"), ("BTC", "USDT")),
        ("XRPRLUSD", ("USD", "RLUSD"), ("XRP", "RLUSD")),
        ("DOT-TUSD", ("USD",), ("DOT", "TUSD")),
    ],
)
def test_a_joined_pair_is_split_by_the_quotes_there_are(
    pair: str, quotes: tuple[str, ...], expected: tuple[str, str]
) -> None:
    assert v.split_pair(pair, quotes) == expected


def test_a_joined_pair_of_another_quote_is_left_out() -> None:
    assert v.ticker("XRPRLUSD", 2, quotes=v.STABLECOINS) is None
    with pytest.raises(ValueError, match="no known quote"):
        v.split_pair("BTCEUR", ("USD",))


def test_a_ticker_keeps_to_dollars() -> None:
    assert v.ticker("BTCEUR", 80000) is None
    assert v.ticker("ETHBTC", 0.03) is None
    assert v.ticker("BTCUSDT", 0) is None
    assert v.ticker("WHATEVER", 5) is None


def test_the_volume_of_a_ticker_is_in_dollars() -> None:
    by_base = v.ticker("BTCUSDT", "90000", base_volume="2", quote_volume=None)
    by_quote = v.ticker("BTCUSDT", "90000", base_volume="2", quote_volume="170000")
    assert by_base
    assert by_base["volume_24h"] == 180000
    assert by_quote
    assert by_quote["volume_24h"] == 170000


def test_the_volume_of_a_ticker_is_what_was_traded() -> None:
    def volume(**about: object) -> object:
        return (v.ticker("BTCUSDT", "90000", base_volume="2", **about) or {})["volume_24h"]  # type: ignore[arg-type]

    assert volume(vwap="88000") == 176000
    assert volume(vwap="88000", quote_volume="175000") == 175000
    assert volume(vwap="0") == volume(vwap=None) == 180000


def test_the_change_of_a_ticker_is_in_percent() -> None:
    found = v.ticker("BTC-USD", 110, opened=100)
    assert found
    assert found["price_change_24h"] == pytest.approx(10)


@pytest.mark.parametrize(
    ("written", "canonical"), [("xbt", "BTC"), ("XXBT", "BTC"), ("xdg", "DOGE"), ("eth", "ETH")]
)
def test_tickers_have_one_spelling(written: str, canonical: str) -> None:
    assert v.ticker_name(written) == canonical


def test_a_source_may_have_spellings_of_its_own() -> None:
    assert v.ticker_name("UST", {"UST": "USDT"}) == "USDT"


@pytest.mark.parametrize(
    ("contract", "coin", "many"),
    [
        ("1000PEPE", "PEPE", 1e3),
        ("kPEPE", "PEPE", 1e3),
        ("PEPE1000", "PEPE", 1e3),
        ("1000000MOG", "MOG", 1e6),
        ("1MBABYDOGE", "BABYDOGE", 1e6),
        ("1INCH", "1INCH", 1),
        ("BTC", "BTC", 1),
    ],
)
def test_contracts_on_thousands_are_of_the_coin(contract: str, coin: str, many: float) -> None:
    assert v.lot(contract) == (coin, many)


def test_a_coin_without_a_price_is_left_out() -> None:
    assert v.coin("x", "X", "X", 0) is None
    assert v.coin("x", "X", "X", None) is None


def test_a_coin_is_priced_in_dollars() -> None:
    found = v.coin("bitcoin", "btc", "", "92000.5", market_cap=0, volume="1,500", change_pct="-")
    assert found
    assert (found["quote"], found["price_usd"], found["volume_24h"]) == ("USD", 92000.5, 1500)
    assert (found["name"], found["market_cap"], found["price_change_24h"]) == (None, None, None)


def test_a_candle_by_names_is_the_candle_by_places() -> None:
    k = {"volume": 5, "low": 1, "high": 4, "close": 3, "open": 2}
    assert v.named_candle(NOON, k) == v.candle(NOON, 2, 4, 1, 3, 5)


def test_hex_and_gwei() -> None:
    assert v.from_hex("0x3b9aca00") == 10**9
    assert v.gwei("0x3b9aca00") == 1
    with pytest.raises(ValueError, match="0x"):
        v.from_hex("12")


def test_evm_fees_are_the_base_fee_and_the_median_tip() -> None:
    history = {
        "baseFeePerGas": ["0x1", hex(10 * 10**9)],
        "reward": [[hex(10**9), hex(2 * 10**9), hex(3 * 10**9)]] * 3,
    }
    found = v.evm_gas(hex(12 * 10**9), history)
    assert (found["slow_gas_price"], found["standard_gas_price"], found["fast_gas_price"]) == (
        11,
        12,
        13,
    )
    assert found["base_fee_gwei"] == 10


TIP = [hex(10**9)] * 3


@pytest.mark.parametrize(
    ("history", "base"),
    [
        ({"baseFeePerGas": ["0x1", hex(10 * 10**9)], "reward": None}, 10),
        ({"baseFeePerGas": ["0x1", hex(10 * 10**9)], "reward": []}, 10),
        ({"baseFeePerGas": ["0x1", "0x1", hex(10 * 10**9)], "reward": [None, []]}, 10),
        ({"baseFeePerGas": ["0x1", hex(10 * 10**9)], "reward": [None, []]}, None),
        ({"reward": [TIP]}, None),
        ({"baseFeePerGas": [], "reward": [TIP]}, None),
        ({"baseFeePerGas": None, "reward": None}, None),
    ],
)
def test_an_odd_fee_history_costs_the_fees_and_not_the_price(
    history: dict[str, object], base: float | None
) -> None:
    found = v.evm_gas(hex(12 * 10**9), history)
    levels = {found[f"{level}_gas_price"] for level in ("slow", "standard", "fast")}
    assert (found["gas_price_gwei"], found["base_fee_gwei"], levels) == (12, base, {None})


def test_a_block_without_tips_leaves_the_median_to_the_others() -> None:
    history = {"baseFeePerGas": [hex(10 * 10**9)], "reward": [None, TIP, []]}
    assert v.evm_gas(hex(12 * 10**9), history)["standard_gas_price"] == 11


def test_without_a_fee_market_the_price_is_all_three() -> None:
    found = v.evm_gas(hex(12 * 10**9))
    assert {found[f"{level}_gas_price"] for level in ("slow", "standard", "fast")} == {12}


@given(st.text())
def test_plain_text_has_no_markup(text: str) -> None:
    found = v.plain(f"<p>{text}</p>")
    assert found is None or (found == found.strip() and len(found) <= 2000)


def test_where_records_lie() -> None:
    body = {"data": {"list": [1, 2], "map": {"a": 3}}, "t": [1, 2], "o": [3, 4]}
    assert v.at(body, "data.list") == [1, 2]
    assert v.at([[1], [2, 5]], "1.1") == 5
    assert v.pairs("data.map")(body) == [("a", 3)]
    assert v.one("data")(body) == [body["data"]]
    assert v.parallel("", "t", "o")(body) == [(1, 3), (2, 4)]
    with pytest.raises(KeyError, match=r"no data\.rows, found keys list, map"):
        v.at(body, "data.rows")
    with pytest.raises(KeyError, match="different length"):
        v.parallel("", "t", "o")({"t": [1], "o": []})


def test_a_list_ranks_by_its_order() -> None:
    assert v.ranked("top")({"top": ["a", "b"]}) == [(1, "a"), (2, "b")]
    with pytest.raises(KeyError, match="the body is dict, not a list"):
        v.ranked()({})


def test_udf_candles_lie_side_by_side() -> None:
    body = {"s": "ok", "t": [60], "o": [1], "h": [4], "l": [0.5], "c": [2], "v": [9]}
    assert v.udf_candles(body) == [(60, 1, 4, 0.5, 2, 9)]
    assert v.udf_candles({"s": "no_data", "nextTime": 60}) == []
    with pytest.raises(KeyError, match=r"no t, found keys s, errmsg"):
        v.udf_candles({"s": "error", "errmsg": "Unknown symbol"})


def test_rpc_answers_come_in_any_order() -> None:
    read = v.rpc_results(["a", "b"])
    assert list(read([{"id": 2, "result": 5}, {"id": 1, "result": 4}])) == [{"a": 4, "b": 5}]
    with pytest.raises(v.SourceMessage, match="limit exceeded"):
        read([{"id": 1, "error": {"code": -32005, "message": "limit exceeded"}}])
    with pytest.raises(KeyError, match="no answer to b"):
        read([{"id": 1, "result": 4}])
