"""What was stored last is held against what is said now."""

from datetime import timedelta
from typing import Any

import pytest

from crypto_pipeline.tables import GasPrice, GlobalMarket, Row
from crypto_pipeline.warehouse import Receipt, Warehouse
from crypto_pipeline_tests.test_warehouse import NOW, batch

ENDPOINT = "alpha.x"


def gas(gwei: float | None, minute: float, chain: str = "ethereum", **about: Any) -> GasPrice:
    values = {
        "blockchain": chain,
        "unit": "gwei",
        "standard_gas_price": gwei,
        "timestamp": NOW + timedelta(minutes=minute),
        "source": "alpha",
        "collection_id": f"c{minute:g}",
    }
    return GasPrice.model_validate({**values, **about})


def write(warehouse: Warehouse, *rows: Row) -> Receipt:
    first: Any = rows[0]
    return warehouse.write(batch(first.collection_id, *rows, at=first.timestamp))


def stored(warehouse: Warehouse) -> list[float]:
    found = warehouse.query("SELECT standard_gas_price FROM gas_prices ORDER BY timestamp")
    return [value for (value,) in found]


def account(warehouse: Warehouse, collection: str) -> tuple[Any, ...]:
    found = warehouse.query(
        "SELECT rows, stored, rejects, records FROM data_collections "
        f"WHERE collection_id = '{collection}'"
    )
    return tuple(found[0])


@pytest.mark.parametrize("now", [20_001.0, 0.015])
def test_a_change_that_cannot_be_is_refused_with_both_values(
    warehouse: Warehouse, now: float
) -> None:
    write(warehouse, gas(20.0, 0, "polygon"))
    receipt = write(warehouse, gas(now, 5, "polygon"))
    assert receipt.refused == {"gas_prices": {ENDPOINT: 1}}
    assert stored(warehouse) == [20.0]
    columns = "endpoint, source, feeds, field, reason, collection_id"
    assert warehouse.query(f"SELECT {columns} FROM rejected_rows") == [
        (
            *(ENDPOINT, "alpha", "gas_prices", "standard_gas_price"),
            *(f"standard_gas_price: {now:g}, and 20 within the day before it", "c5"),
        )
    ]
    assert account(warehouse, "c5") == (0, 0, 1, 1)


def test_a_change_that_is_unusual_is_stored_and_told(warehouse: Warehouse) -> None:
    write(warehouse, gas(20.0, 0))
    receipt = write(warehouse, gas(900.0, 5))
    assert (receipt.refused, stored(warehouse)) == ({}, [20.0, 900.0])
    assert receipt.unusual == {"gas_prices": "standard_gas_price 900 after 20"}
    assert account(warehouse, "c5") == (1, 1, 0, 1)


def test_a_usual_change_is_not_spoken_of(warehouse: Warehouse) -> None:
    write(warehouse, gas(20.0, 0))
    receipt = write(warehouse, gas(500.0, 5))
    assert (receipt.refused, receipt.unusual) == ({}, {})


def test_the_newest_of_the_day_before_is_the_witness(warehouse: Warehouse) -> None:
    write(warehouse, gas(0.5, 0))
    write(warehouse, gas(15.0, 5))
    write(warehouse, gas(200.0, 10))
    assert write(warehouse, gas(900.0, 15)).unusual == {}


def test_a_day_later_no_witness_is_left(warehouse: Warehouse) -> None:
    write(warehouse, gas(20.0, 0, "polygon"))
    assert write(warehouse, gas(20_001.0, 23 * 60, "polygon")).refused
    assert not write(warehouse, gas(20_001.0, 24 * 60, "polygon")).refused
    assert stored(warehouse) == [20.0, 20_001.0]


def test_the_day_is_that_before_the_oldest_row_of_a_collection(warehouse: Warehouse) -> None:
    write(warehouse, gas(20.0, 0, "polygon"))
    later = 23 * 60
    rows = [gas(1.0, later + 120, "base"), gas(20_001.0, later, "polygon")]
    receipt = warehouse.write(batch("c5", *rows, at=rows[0].timestamp))
    assert receipt.refused == {"gas_prices": {ENDPOINT: 1}}


def test_the_largest_change_that_can_be_is_stored_beside_one_that_cannot(
    warehouse: Warehouse,
) -> None:
    write(warehouse, gas(20.0, 0, "polygon"), gas(20.0, 0, "base"))
    receipt = write(warehouse, gas(20_001.0, 5, "polygon"), gas(20_000.0, 5, "base"))
    assert receipt.refused == {"gas_prices": {ENDPOINT: 1}}
    assert receipt.unusual == {"gas_prices": "standard_gas_price 20000 after 20"}
    assert stored(warehouse)[2:] == [20_000.0]


@pytest.mark.parametrize(("changes", "more"), [(1, ""), (5, ""), (6, " and 1 more")])
def test_the_largest_of_many_unusual_changes_are_told_first_and_five_of_them(
    warehouse: Warehouse, changes: int, more: str
) -> None:
    write(warehouse, *(gas(1.0, 0, f"chain_{n}") for n in range(changes)))
    now = [gas(100.0 + n, 5, f"chain_{n}") for n in range(changes)]
    told = [f"standard_gas_price {100 + n} after 1" for n in reversed(range(changes))]
    assert write(warehouse, *now).unusual == {"gas_prices": ", ".join(told[:5]) + more}


def test_one_row_with_two_changes_that_cannot_be_is_one_refused(warehouse: Warehouse) -> None:
    both = {"gas_price_gwei": 1.0}
    write(warehouse, gas(20.0, 0, "polygon", **both))
    receipt = write(warehouse, gas(20_001.0, 5, "polygon", gas_price_gwei=1_001.0))
    assert receipt.refused == {"gas_prices": {ENDPOINT: 1}}
    fields = warehouse.query("SELECT field FROM rejected_rows ORDER BY 1")
    assert fields == [("gas_price_gwei",), ("standard_gas_price",)]


def total(minute: float, **about: float) -> GlobalMarket:
    at = NOW + timedelta(minutes=minute)
    seen = {"timestamp": at, "source": "alpha", "collection_id": f"c{minute:g}"}
    return GlobalMarket.model_validate({**seen, **about})


@pytest.mark.parametrize(
    ("column", "most"), [("total_market_cap_usd", 10), ("total_volume_24h_usd", 100)]
)
def test_how_much_the_whole_market_can_change_within_a_day(
    warehouse: Warehouse, column: str, most: float
) -> None:
    write(warehouse, total(0, **{column: 1e9}))
    assert not write(warehouse, total(5, **{column: 1e9 * most})).refused
    assert write(warehouse, total(10, **{column: 1e9 * most * most + 1})).refused


def test_a_change_is_unusual_beyond_the_root_of_what_can_be(warehouse: Warehouse) -> None:
    write(warehouse, total(0, total_volume_24h_usd=1e9))
    assert write(warehouse, total(5, total_volume_24h_usd=1e10)).unusual == {}
    told = write(warehouse, total(10, total_volume_24h_usd=1.1e11)).unusual
    assert told == {"global_market": "total_volume_24h_usd 1.1e+11 after 1e+10"}


def test_the_whole_market_is_kept_in_dollars_without_cents(warehouse: Warehouse) -> None:
    values = {"total_market_cap_usd": 3_456_789_012_345.6, "total_volume_24h_usd": 98_765_432.1}
    write(warehouse, total(0, market_cap_change_24h_pct=1.23456, **values))
    columns = "total_market_cap_usd, total_volume_24h_usd, market_cap_change_24h_pct"
    found = warehouse.query(f"SELECT {columns} FROM global_market")
    assert found == [(3_456_789_012_346, 98_765_432, 1.2346)]


def test_only_the_same_chain_of_the_same_source_is_a_witness(warehouse: Warehouse) -> None:
    write(warehouse, gas(0.01, 0, "base"), gas(0.01, 0, source="beta"))
    assert not write(warehouse, gas(100.0, 5)).refused


def test_zero_and_nothing_say_nothing(warehouse: Warehouse) -> None:
    solana = {"chain": "solana", "unit": "micro-lamports/CU"}
    write(warehouse, gas(0.0, 0, **solana), gas(None, 0, "celo", gas_price_gwei=1.0))
    receipt = write(warehouse, gas(1e6, 5, **solana), gas(100.0, 5, "celo"))
    assert (receipt.refused, receipt.unusual) == ({}, {})
    assert (write(warehouse, gas(0.0, 10, **solana)).refused) == {}


def test_neighbours_of_a_refused_row_are_stored(warehouse: Warehouse) -> None:
    write(warehouse, gas(20.0, 0, "polygon"), gas(1.0, 0, "base"))
    receipt = write(warehouse, gas(1e5, 5, "polygon"), gas(1.1, 5, "base"))
    assert receipt.refused == {"gas_prices": {ENDPOINT: 1}}
    assert receipt.stored["gas_prices"] == {ENDPOINT: 1}


def test_a_waiting_collection_is_held_to_the_same(warehouse: Warehouse) -> None:
    write(warehouse, gas(20.0, 0, "polygon"))
    later = gas(1e5, 5, "polygon")
    warehouse.write(batch("c5", later, at=later.timestamp), hurry=lambda: True)
    assert warehouse.drain() == 1
    assert stored(warehouse) == [20.0]
    assert account(warehouse, "c5") == (0, 0, 1, 1)


def test_what_rounds_to_nothing_is_null_where_zero_is_no_value(warehouse: Warehouse) -> None:
    row = GlobalMarket(
        total_market_cap_usd=0.3,
        total_volume_24h_usd=0.3,
        timestamp=NOW,
        source="alpha",
        collection_id="c0",
    )
    receipt = warehouse.write(batch("c0", row))
    assert receipt.violations == {}
    found = warehouse.query("SELECT total_market_cap_usd, total_volume_24h_usd FROM global_market")
    assert found == [(None, 0.0)]
