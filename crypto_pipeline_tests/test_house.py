"""The house as its map says: every module on it, and no import from a room above."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import crypto_pipeline
from crypto_pipeline.sources import SOURCES

PACKAGE = Path(crypto_pipeline.__file__).parent
MAP = (crypto_pipeline.__doc__ or "").split("The map, ")[1]
LONGEST = 40
"""Lines of a function, its signature and docstring included."""

ENTRY = re.compile(r"^(  )?([a-z_]+)  ", re.MULTILINE)


def rooms() -> list[str]:
    """Every room and module of the map in its order: "tables", "tables.spec", …"""
    found: list[str] = []
    for indent, name in ENTRY.findall(MAP):
        room = next((r for r in reversed(found) if "." not in r), "")
        found.append(f"{room}.{name}" if indent else name)
    return found


def modules() -> dict[str, Path]:
    """Every module below the package by its dotted name; __init__ and __main__ are no rooms."""
    files = {f.relative_to(PACKAGE).with_suffix(""): f for f in PACKAGE.rglob("*.py")}
    return {
        ".".join(name.parts): file for name, file in files.items() if not name.name.startswith("__")
    }


def imported(file: Path) -> Iterator[str]:
    """What a file imports of the package, "tables.spec" or "tables": also inside a function, and
    for typing alone."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("crypto_pipeline"):
            module = (node.module or "").removeprefix("crypto_pipeline").lstrip(".")
            for alias in node.names:
                whole = f"{module}.{alias.name}".lstrip(".")
                yield whole if whole in modules() or not module else module


def test_every_module_is_on_the_map_and_the_map_shows_no_other() -> None:
    shown = rooms()
    assert len(shown) == len(set(shown))
    folders = {name.split(".")[0] for name in modules() if "." in name}
    assert set(shown) == set(modules()) | folders


def test_the_words_come_first() -> None:
    words = (crypto_pipeline.__doc__ or "").split("The map, ")[0]
    meanings = re.findall(r"^([a-z][a-z ]*?)  +\S", words, re.MULTILINE)
    assert len(meanings) == len(set(meanings)) > 20
    assert meanings[0] == "word"


@pytest.mark.parametrize("name", sorted(modules()))
def test_no_module_imports_from_a_room_above_its_own(name: str) -> None:
    order = [room for room in rooms() if "." not in room]
    room = name.split(".", maxsplit=1)[0]
    for target in imported(modules()[name]):
        below = target.split(".")[0]
        assert order.index(below) <= order.index(room), f"{name} imports {target}"


def test_no_modules_import_one_another_in_a_circle() -> None:
    arrows = {
        name: {t for t in imported(file) if t in modules() and t != name}
        for name, file in modules().items()
    }
    while arrows:
        leaves = {name for name, targets in arrows.items() if not targets & arrows.keys()}
        assert leaves, f"a circle among {sorted(arrows)}"
        arrows = {name: targets for name, targets in arrows.items() if name not in leaves}


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{name}.{node.name}"
        for name, file in modules().items()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= LONGEST
    ]
    assert long == []


def test_no_module_outside_the_sources_contains_a_source_s_name() -> None:
    words_of_english = {"index", "extended", "delta", "paper"}
    for name, file in modules().items():
        if name.split(".")[0] == "sources":
            continue
        words = set(re.findall(r"[a-z0-9_]+", file.read_text(encoding="utf-8")))
        named = words & (set(SOURCES) - words_of_english)
        assert not named, f"{name}: {named}"
