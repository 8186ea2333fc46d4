"""Declaring sources: what is wrong is said at import, with the source and the field."""

from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import pytest

from crypto_pipeline.collection.exchange import request_for
from crypto_pipeline.sources import (
    ENDPOINTS,
    KINDS,
    SOURCES,
    Kind,
    Source,
    SourceError,
    find,
    kinds_of,
)
from crypto_pipeline.sources.spec import Ask, Key, Pairs, ago, day, minutes, now
from crypto_pipeline.tables import DATA, MarketPrice, origins

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DOCS = "https://alpha.example/docs"


def declared(**about: Any) -> Source:
    return Source(**{"name": "alpha", "base": "https://alpha.example", "docs": DOCS, **about})


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"name": "Alpha-1"}, "source 'Alpha-1': name"),
        ({"base": "http://alpha.example"}, "source 'alpha': base"),
        ({"base": "https://alpha.example/"}, "source 'alpha': base"),
        ({"docs": "see the web"}, "source 'alpha': docs"),
        ({"gap": -1}, "source 'alpha': gap"),
        ({"per_day": 0}, "source 'alpha': per_day: 0 requests"),
        ({"per_month": -5}, "source 'alpha': per_month"),
        ({"key": Key(env="ALPHA_KEY")}, "source 'alpha': key: give one of"),
        ({"key": Key(env="ALPHA_KEY", query="k", header="h")}, "source 'alpha': key: give one of"),
        ({"key": Key(env="sk-12345", query="k")}, "source 'alpha': key: 'sk-12345' is not a name"),
    ],
)
def test_a_wrong_source_is_named(about: dict[str, Any], words: str) -> None:
    with pytest.raises(SourceError, match=words):
        declared(**about)


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"path": "/x?y=1"}, "path: .*the query in params"),
        ({"path": "http://other.example/x"}, "path"),
        ({"row": None}, "row: is not a function"),
        ({"min_interval": minutes(0.5)}, "min_interval"),
        ({"variant": "a b"}, "variant"),
        ({"fixed": {"colour": "red"}}, "'colour' is no column of market_prices"),
        ({"path": "/{each}"}, "each: goes with"),
        ({"each": Pairs("{base}USD", "USD")}, "each: goes with"),
        ({"path": "/{each}", "each": {}}, "each: is empty"),
        ({"path": "/{key}/x"}, "path: a key in the path"),
        (
            {"path": "/{each}", "each": {"a": {"symbol": "BTC"}}, "conditional": True},
            "conditional: has one answer",
        ),
    ],
)
def test_a_wrong_endpoint_is_named(about: dict[str, Any], words: str) -> None:
    with pytest.raises(SourceError, match=f"endpoint alpha.market_prices.*{words}"):
        declared().endpoint(MarketPrice, **{"path": "/x", "row": dict, **about})


def test_an_endpoint_declared_twice_is_named() -> None:
    source = declared()
    source.endpoint(MarketPrice, "/a", row=dict)
    with pytest.raises(SourceError, match=r"endpoint alpha.market_prices: declared twice"):
        source.endpoint(MarketPrice, "/b", row=dict)
    assert source.endpoint(MarketPrice, "/b", row=dict, variant="b").id == "alpha.market_prices.b"


def test_pairs_are_named_as_the_exchange_names_them() -> None:
    pairs = Pairs("{base}-usd", "USD", {"BTC": "XBT", "BNB": None}, lower=True)
    assert pairs.asks(["BTC", "BNB", "ETH"]) == [
        Ask("xbt-usd", {"symbol": "BTC", "quote": "USD"}),
        Ask("eth-usd", {"symbol": "ETH", "quote": "USD"}),
    ]


def test_a_request_is_written_down() -> None:
    endpoint = declared().endpoint(
        MarketPrice,
        "/candles/{each}",
        row=dict,
        params={"from": ago("ms", hours=1), "to": now(), "day": day(), "ids": ["a", "{each}"]},
        each={"BTC/USD": {"symbol": "BTC"}},
    )
    request = request_for(endpoint, endpoint.asks()[0], NOW)
    assert request.url == "https://alpha.example/candles/BTC%2FUSD"
    assert request.params == (
        ("from", "1795431600000"),
        ("to", "1795435200"),
        ("day", "2026-11-23"),
        ("ids", "a"),
        ("ids", "BTC/USD"),
    )


def test_rpc_calls_are_one_request() -> None:
    endpoint = declared().rpc(MarketPrice, {"a": ["m_a", 1], "b": ["m_b"]}, row=dict)
    request = request_for(endpoint, Ask(), NOW)
    assert (request.method, request.url) == ("POST", "https://alpha.example")
    assert request.body == (
        '[{"jsonrpc":"2.0","id":1,"method":"m_a","params":[1]},'
        '{"jsonrpc":"2.0","id":2,"method":"m_b","params":[]}]'
    )


def module(name: str, *sources: Source) -> ModuleType:
    """A module that declares these sources, as one of the folder's does."""
    made = ModuleType(name)
    for place, source in enumerate(sources):
        setattr(made, f"SOURCE_{place}", source)
    return made


def with_prices(name: str, url: str = "", **about: Any) -> Source:
    made = declared(name=name, base=f"https://{name}.example")
    made.endpoint(MarketPrice, url or "/prices", row=dict, **about)
    return made


def test_sources_are_found_in_the_order_they_are_declared_in() -> None:
    alpha, beta, gamma = with_prices("alpha"), with_prices("beta"), with_prices("gamma")
    listed = module("listed", gamma)
    listed.MORE = [alpha, gamma]  # type: ignore[attr-defined]
    assert list(find([listed, module("last", beta)])) == ["gamma", "alpha", "beta"]


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (with_prices("alpha", "/else"), "source 'alpha': declared twice"),
        (
            with_prices("beta", "https://alpha.example/prices"),
            "endpoint beta.market_prices: path: asks what alpha.market_prices asks",
        ),
        (
            with_prices("beta", "https://ALPHA.example/prices/"),
            "endpoint beta.market_prices: path: asks what alpha.market_prices asks",
        ),
        (declared(name="beta"), "source 'beta': endpoints: has none"),
    ],
    ids=["one name", "one address", "one address otherwise written", "no endpoint"],
)
def test_a_source_declared_twice_is_named(second: Source, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        find([module("one", with_prices("alpha")), module("two", second)])


def test_a_source_that_another_module_imports_is_one_source() -> None:
    alpha = with_prices("alpha")
    assert list(find([module("one", alpha), module("two", alpha, alpha)])) == ["alpha"]


def test_a_source_is_of_the_kind_of_the_first_module_that_has_it() -> None:
    alpha, beta = with_prices("alpha"), with_prices("beta")
    first, second, none = module("first", alpha), module("second", alpha, beta), module("none")
    first.__doc__ = "What they are.\n\nAnd more."
    assert kinds_of([first, second, none]) == (
        Kind("first", "What they are.", (alpha,)),
        Kind("second", "second", (beta,)),
    )


def test_every_source_is_of_one_kind() -> None:
    assert sorted(s.name for kind in KINDS for s in kind.sources) == sorted(SOURCES)


def test_one_address_may_be_asked_for_two_things() -> None:
    spot = with_prices("spot", "https://alpha.example/tickers", params={"kind": "spot"})
    swaps = with_prices("swaps", "https://alpha.example/tickers", params={"kind": "swap"})
    assert set(find([module("both", spot, swaps)])) == {"spot", "swaps"}


@pytest.mark.parametrize("model", DATA, ids=lambda m: m.table.name)
def test_every_data_table_has_two_keyless_sources(model: Any) -> None:
    feeding = [e for e in ENDPOINTS.values() if e.model in origins(model)]
    keyless = {e.source.name for e in feeding if e.source.keyless}
    assert len(keyless) >= 2


def test_a_source_that_needs_a_key_names_the_variable() -> None:
    variables = [s.key.env for s in SOURCES.values() if s.key]
    assert all(v.isupper() for v in variables)
