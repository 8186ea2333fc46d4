"""Questions of agents, by fixed calls of tools, and the protocol they come by."""

import asyncio
import csv
import json
import re
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from crypto_pipeline.agents import questions, server
from crypto_pipeline.cli import main
from crypto_pipeline.warehouse import published
from crypto_pipeline_tests import agents_data

HERE = Path(__file__).parent

with (HERE / "asked_by_agents.tsv").open(encoding="utf-8") as lines:
    ASKED = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return agents_data.publish(tmp_path_factory.mktemp("agents"))


@pytest.fixture(scope="module")
def tools(root: Path) -> dict[str, Callable[..., Any]]:
    desk = server.Desk(root)
    both = (*server._of_prices(desk), *server._of_the_rest(desk))
    return {function.__name__: function for function in both}


def _arguments(text: str) -> dict[str, Any]:
    """A moment is written as hours from now."""
    arguments = json.loads(text)
    if "moment" in arguments:
        now = datetime.now(UTC)
        arguments["moment"] = now + timedelta(hours=int(arguments["moment"]))
    return dict(arguments)


def _at(answer: Any, where: str) -> Any:
    """What stands at a place of an answer; after it #: how many, // n: a part, ^ and $: text."""
    place, _, what = where.partition(" ")
    for part in place.split("."):
        answer = answer[int(part)] if part.isdecimal() else answer[part]
    if what == "#":
        return len(answer)
    if what.startswith("//"):
        return answer // int(what[2:])
    return answer


def test_enough_is_asked() -> None:
    assert len({row["question"] for row in ASKED}) >= 60
    assert {row["tool"] for row in ASKED} == {
        "price_now", "price_at", "compare", "movers", "funding_map", "gas", "news", "whales",
        "source_health", "explain", "query",
    }  # fmt: skip


@pytest.mark.parametrize("row", ASKED, ids=lambda row: row["question"])
def test_a_question_is_answered(row: dict[str, str], tools: dict[str, Callable[..., Any]]) -> None:
    answer = tools[row["tool"]](**_arguments(row["arguments"]))
    found, expected = _at(answer, row["where"]), json.loads(row["answer"])
    if row["where"].endswith("^"):
        assert found.startswith(expected)
    elif row["where"].endswith("$"):
        assert found.endswith(expected)
    else:
        assert found == expected


def test_every_answer_of_now_says_how_old_it_is(tools: dict[str, Callable[..., Any]]) -> None:
    for name, where in (
        ("price_now", "prices.0"), ("compare", "coins.0"), ("movers", "unit"), ("gas", "chains.0"),
        ("funding_map", "swaps.0"), ("news", "articles.0"), ("whales", "transfers.0"),
        ("source_health", "outcomes"),
    ):  # fmt: skip
        arguments = {"symbols": ["BTC"]} if name in ("price_now", "compare") else {}
        answer = tools[name](**arguments)
        row = _at(answer, where)
        aged = row if isinstance(row, dict) else answer
        assert aged["age_s"] >= 0
        assert datetime.fromisoformat(aged["as_of"]) < datetime.now(UTC)


def test_words_of_others_are_bounded_and_plain() -> None:
    assert questions._short("a\x1b[31m\u202eb\n") == "a [31m b "
    assert len(questions._short("x" * 5_000)) == questions.LONGEST


def test_numbers_of_rows_are_bounded(root: Path) -> None:
    with published.connect(root) as connection:
        assert len(questions.news(connection, count=-5)["articles"]) == 1
        assert len(questions.whales(connection, hours=-5).get("transfers", [])) <= 1


def test_times_are_bounded_and_said_as_they_were_asked_of_the_tables(root: Path) -> None:
    with published.connect(root) as connection:
        assert len(questions.news(connection, hours=10**12)["articles"]) == 3
        assert questions.compare(connection, ["BTC"], 10**30)["days"] == 3660
        assert questions.compare(connection, ["BTC"], 0)["days"] == 1


def test_what_was_asked_comes_back_plain_and_bounded(root: Path) -> None:
    with published.connect(root) as connection:
        (unknown,) = questions.price_now(connection, ["a\x1b[31m\n" + "x" * 5_000])["prices"]
    assert len(unknown["symbol"]) == questions.LONGEST
    assert unknown["symbol"].isprintable()
    assert unknown["unknown"].isprintable()
    assert len(questions.explain("z" * 100_000)["unknown"]) < 2 * questions.LONGEST


def test_an_agent_speaks_to_it_over_stdio(root: Path) -> None:
    plain = [r for r in ASKED if r["where"][-1] not in "^$" and "moment" not in r["arguments"]]
    chosen = list({row["tool"]: row for row in plain}.values())
    assert len(chosen) >= 5

    async def speak() -> Iterator[Any]:
        command = StdioServerParameters(
            command=sys.executable,
            args=["-m", "crypto_pipeline.cli", "mcp"],
            env={"CRYPTO_PIPELINE_PARQUET": str(root), "PYTHONPATH": str(HERE.parent)},
        )
        async with stdio_client(command) as (reads, writes), ClientSession(reads, writes) as client:
            await client.initialize()
            listed = (await client.list_tools()).tools
            yes = await client.call_tool("price_now", {"symbols": ["BTC"]})
            no = await client.call_tool("query", {"sql": "COPY (SELECT 1) TO 'x.csv'"})
            wrong = await client.call_tool("price_at", {"symbol": "BTC", "moment": "soon"})
            asked = [await client.call_tool(r["tool"], json.loads(r["arguments"])) for r in chosen]
            return iter((listed, yes, no, wrong, asked))

    listed, yes, no, wrong, asked = asyncio.run(speak())
    for row, told in zip(chosen, asked, strict=True):
        assert _at(json.loads(told.content[0].text), row["where"]) == json.loads(row["answer"])
    assert len(listed) == 11
    assert all(tool.annotations.read_only_hint and tool.description for tool in listed)
    assert json.loads(yes.content[0].text)["prices"][0]["price_usd"] == 92184.0
    assert "refused" in json.loads(no.content[0].text)
    assert wrong.is_error
    assert not list(root.parent.rglob("x.csv"))


def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [n for n in sys.modules if re.match(r"mcp\b|crypto_pipeline\.agents\.server", n)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("crypto_pipeline.agents.server")
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(SystemExit) as ended:
        main(["mcp"])
    assert ended.value.code == 2
    assert "pip install 'crypto-pipeline[mcp]'" in capsys.readouterr().err
