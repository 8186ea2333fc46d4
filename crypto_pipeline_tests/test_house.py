"""The rooms as the map says: every module on it, no import from a room above, no circle."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import crypto_pipeline
from crypto_pipeline.sources import SOURCES

PACKAGE = Path(crypto_pipeline.__file__).parent
MAP = (crypto_pipeline.__doc__ or "").split("The map: ")[1]
LONGEST = 40
"""Lines of a function, its signature and docstring included."""

ENTRY = re.compile(r"^(  )?([a-z_]+)  ", re.MULTILINE)


@cache
def files() -> dict[str, Path]:
    """Every file of the package by its dotted name; a folder's __init__ is the folder."""
    found = {}
    for file in PACKAGE.rglob("*.py"):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name:  # the package itself is the map
            found[name] = file
    return found


def modules() -> dict[str, Path]:
    """The files that a map shows: not what makes a folder a program."""
    return {name: file for name, file in files().items() if not name.endswith("__main__")}


def rooms() -> list[str]:
    """Every room and module of the map in its order: "tables", "tables.spec", …"""
    found: list[str] = []
    for indent, name in ENTRY.findall(MAP):
        room = next((r for r in reversed(found) if "." not in r), "")
        found.append(f"{room}.{name}" if indent else name)
    return found


def imported(name: str, code: str) -> Iterator[str]:
    """What the file of this name imports of the package, as dotted names of files: also inside a
    function, for typing alone, by a relative import, or as a whole."""
    known = files()
    package = name if known.get(name, PACKAGE).name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = ["crypto_pipeline", *filter(None, package.split("."))]
                base = ".".join([*up[: len(up) - node.level + 1], *filter(None, [base])])
            targets = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for target in targets:
            root, _, rest = target.partition(".")
            while rest and rest not in known:
                rest = rest.rpartition(".")[0]
            if root == "crypto_pipeline" and rest:
                yield rest


@cache
def arrows() -> dict[str, set[str]]:
    return {
        name: set(imported(name, file.read_text(encoding="utf-8"))) - {name}
        for name, file in files().items()
    }


@pytest.mark.parametrize(
    ("name", "code", "found"),
    [
        ("tables.spec", "from crypto_pipeline.groups import Group", ["groups"]),
        ("tables.spec", "from crypto_pipeline import settings", ["settings"]),
        ("tables.spec", "import crypto_pipeline.cli.console", ["cli.console"]),
        ("tables.spec", "from ..cli import console, home", ["cli.console", "cli.home"]),
        ("tables.spec", "from . import market", ["tables.market"]),
        ("tables", "from .market import Candle", ["tables.market"]),
        ("warehouse.load", "from crypto_pipeline.warehouse import Warehouse", ["warehouse"]),
        ("cli.main", "def f():\n    from crypto_pipeline.definitions import x", ["definitions"]),
        ("cli.main", "import json\nfrom rich import table", []),
    ],
)
def test_an_import_is_found_however_it_is_written(name: str, code: str, found: list[str]) -> None:
    assert list(imported(name, code)) == found


def test_every_module_is_on_the_map_and_the_map_shows_no_other() -> None:
    shown = rooms()
    assert len(shown) == len(set(shown))
    assert set(shown) == set(modules())


def test_the_words_come_first() -> None:
    words = (crypto_pipeline.__doc__ or "").split("The map: ")[0]
    meanings = re.findall(r"^([a-z][a-z ]*?)  +\S", words, re.MULTILINE)
    assert len(meanings) == len(set(meanings)) > 20
    assert meanings[0] == "word"


@pytest.mark.parametrize("name", sorted(files()))
def test_no_module_imports_from_a_room_above_its_own(name: str) -> None:
    order = [room for room in rooms() if "." not in room]
    own = order.index(name.split(".", maxsplit=1)[0])
    for target in arrows()[name]:
        assert order.index(target.split(".")[0]) <= own, f"{name} imports {target}"


def test_no_modules_import_one_another_in_a_circle() -> None:
    left = arrows()
    while left:
        leaves = {name for name, targets in left.items() if not targets & left.keys()}
        assert leaves, f"a circle among {sorted(left)}"
        left = {name: targets for name, targets in left.items() if name not in leaves}


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{name}.{node.name}"
        for name, file in files().items()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= LONGEST
    ]
    assert long == []


def test_no_module_outside_the_sources_contains_a_source_s_name() -> None:
    words_of_english = {"index", "extended", "delta", "paper"}
    for file in PACKAGE.rglob("*.py"):
        if file.relative_to(PACKAGE).parts[0] == "sources":
            continue
        words = set(re.findall(r"[a-z0-9_]+", file.read_text(encoding="utf-8").lower()))
        named = words & (set(SOURCES) - words_of_english)
        assert not named, f"{file}: {named}"
