"""What every test stands on: only loopback, settings of its own, sources of its own."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from crypto_pipeline.sources import SOURCES, Source
from crypto_pipeline.sources.spec import Endpoint, Key, minutes
from crypto_pipeline.tables import MarketPrice
from crypto_pipeline.warehouse import Warehouse
from crypto_pipeline_tests.upstream import Received, Reply

LOOPBACK = ("127.0.0.1", "::1", "localhost")


real = socket.socket.connect


@pytest.fixture(autouse=True, scope="session")
def only_loopback() -> Iterator[None]:
    """A connection to anything but this machine fails, and says so."""

    def connect(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in LOOPBACK:
            raise AssertionError(f"a test tried to reach {address}")
        real(self, address)

    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", connect)
    yield
    patch.undo()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests were skipped because material beside the checkout is not here."""
    skipped = [
        report
        for report in terminalreporter.stats.get("skipped", [])
        if "../shared" in str(report.longrepr)
    ]
    if skipped:
        terminalreporter.write_line(
            f"{len(skipped)} tests were skipped: ../shared, with recordings and the catalogue of "
            "sources, is not beside this checkout"
        )


@contextmanager
def the_internet() -> Iterator[None]:
    """For tests marked live: the real internet, without anybody's settings and keys."""
    with pytest.MonkeyPatch.context() as patch:
        forget_settings(patch)
        patch.setattr(socket.socket, "connect", real)
        yield


def forget_settings(patch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("CRYPTO_PIPELINE_")]:
        patch.delenv(name)
    for source in SOURCES.values():
        if source.key:
            patch.delenv(source.key.env, raising=False)


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings and keys of whoever runs the tests stay outside; nothing listens at port 9."""
    forget_settings(monkeypatch)
    home = tmp_path / "dagster"
    home.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv("CRYPTO_PIPELINE_DATABASE", str(tmp_path / "crypto.duckdb"))
    monkeypatch.setenv("CRYPTO_PIPELINE_PARQUET", "off")  # what is about it turns it on
    monkeypatch.setenv("CRYPTO_PIPELINE_ANSWERS_GB", "0")  # likewise
    monkeypatch.setenv("CRYPTO_PIPELINE_UPSTREAM", "http://127.0.0.1:9")
    monkeypatch.setenv("CRYPTO_PIPELINE_WEBSERVER", "http://127.0.0.1:9")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "crypto.duckdb", lock_wait_s=0.5)


@dataclass
class Canned:
    """Answers for sources of a test's own, by host and path."""

    bodies: dict[str, Any] = field(default_factory=dict)

    def reply(self, request: Received) -> Reply | None:
        body = self.bodies.get(request.host + request.path)
        if body is None:
            return None
        return Reply(200, body if isinstance(body, bytes) else json.dumps(body).encode())


def price(coin: dict[str, Any]) -> dict[str, Any]:
    """The row function of the sources below."""
    return {
        "source_id": coin["id"],
        "symbol": coin["symbol"],
        "quote": "USD",
        "price_usd": coin["price"],
        "market_cap": coin.get("cap"),
    }


def source(name: str, key: Key | None = None, **about: Any) -> Endpoint:
    """A source with one endpoint of prices at https://NAME.example/prices."""
    declared = Source(
        name, f"https://{name}.example", docs=f"https://{name}.example/docs", key=key, gap=0
    )
    about = {"row": price, "records": "data", "min_interval": minutes(5), **about}
    return declared.endpoint(MarketPrice, about.pop("path", "/prices"), **about)


def coins(*prices: float, start: int = 0) -> dict[str, Any]:
    """A body for `source`: coins C0, C1, … at these prices."""
    return {
        "data": [
            {"id": f"coin-{n}", "symbol": f"c{n}", "price": p, "cap": 1e9 / (n + 1)}
            for n, p in enumerate(prices, start)
        ]
    }
