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
    assert not write(warehouse, gas(20_001.0, 24 * 60 + 1, "polygon")).refused
    assert stored(warehouse) == [20.0, 20_001.0]


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
