"""A hundred sources with 250 coins each, and the server that answers for them."""

import json
import random
from typing import Any

from crypto_pipeline.sources import Source
from crypto_pipeline.sources.spec import Endpoint
from crypto_pipeline.sources.values import millis
from crypto_pipeline.tables import MarketPrice
from crypto_pipeline_tests.upstream import Received, Reply, Upstream

SOURCES = 100
AGGREGATORS = 10
"""How many of them know market capitalisations; the others are exchanges."""

COINS = 250
LATENCY = 0.3


def endpoints() -> list[Endpoint]:
    return [
        Source(
            f"bench_{n}", f"https://bench-{n}.example", docs="https://bench.example/docs"
        ).endpoint(MarketPrice, "/tickers", records="data", row=row)
        for n in range(SOURCES)
    ]


def row(coin: dict[str, Any]) -> dict[str, Any]:
    return {
        "source_id": coin["id"],
        "symbol": coin["symbol"],
        "name": coin["name"],
        "quote": "USD",
        "price_usd": coin["price"],
        "market_cap": coin["cap"],
        "volume_24h": coin["volume"],
        "price_change_24h": coin["change"],
        "source_at": millis(coin["at"]),
    }


def body(seed: int) -> dict[str, Any]:
    """What an exchange or an aggregator answers: prices with the decimals they really have."""
    chance = random.Random(seed)  # the same coins for every source, prices a little apart
    coins = []
    for n in range(COINS):
        price = 90_000 / (n + 1) ** 1.7 * chance.uniform(0.999, 1.001)
        cap = round(1.8e12 / (n + 1) ** 1.5 * chance.uniform(0.999, 1.001))
        decimals = 2 if price > 1 else 6
        coins.append(
            {
                "id": f"coin-{n}",
                "symbol": f"C{n}",
                "name": f"Coin number {n}",
                "price": str(round(price, decimals)),
                "cap": cap if seed < AGGREGATORS else None,
                "volume": round(chance.uniform(1e4, 1e9), 2),
                "change": round(chance.uniform(-8, 8), 2),
                "at": 1795435200000 + chance.randrange(60_000),
            }
        )
    return {"data": coins}


class Answers:
    """One body a host."""

    def __init__(self) -> None:
        self._bodies = [json.dumps(body(n)).encode() for n in range(SOURCES)]

    def reply(self, request: Received) -> Reply:
        number = int(request.host.split("-")[1].split(".")[0])
        return Reply(200, self._bodies[number])


def serve() -> None:
    upstream = Upstream(Answers(), delay=LATENCY)
    print(upstream.url, flush=True)
    upstream.serve()


if __name__ == "__main__":
    serve()
