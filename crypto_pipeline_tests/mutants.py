"""Change one operator or constant at a time, and see whether the tests notice.

python -m crypto_pipeline_tests.mutants [MODULE …] [--sample N] [--seed N] [--list]

poodle makes the mutants of Python, `of_sql` those of the SQL in strings. They are tried one after
the other in a copy of the project, each in processes of its own: nothing here is ever changed.
"""

import argparse
import ast
import importlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import pytest
from poodle import mutators
from poodle.util import mutate_lines

ROOT = Path(__file__).parents[1]

TESTS: dict[str, tuple[str, ...]] = {
    "monitoring/alerts": ("alert_bounds", "alerts"),
    "warehouse/file": ("file", "warehouse", "nothing_lost"),
    "warehouse/spool": ("file", "warehouse", "nothing_lost"),
    "warehouse/upkeep": ("file", "maintenance"),
    "warehouse/load": ("warehouse", "witness", "tables", "migrations"),
    "warehouse/agreed_view": ("warehouse",),
    "collection/extract": ("extract", "rows"),
    "collection/rows": ("rows", "extract"),
    "collection/repeats": ("rows", "extract"),
    "tables/market": ("rows", "tables"),
}
"""The tests that are asked about each module: the quick ones, in the order that finds most."""

OF_PYTHON = (
    mutators.BinaryOperationMutator,
    mutators.AugAssignMutator,
    mutators.UnaryOperationMutator,
    mutators.ComparisonMutator,
    mutators.KeywordMutator,
    mutators.NumberMutator,
    mutators.ReturnMutator,
)

ARITHMETIC: dict[type[ast.AST], list[type[ast.AST]]] = {
    ast.Add: [ast.Sub],
    ast.Sub: [ast.Add],
    ast.Mult: [ast.Div],
    ast.Div: [ast.Mult],
    ast.FloorDiv: [ast.Mult],
}
"""Beside what poodle puts for the others: more would mostly be errors of type, which find
themselves."""

UNTOLD = re.compile(r"@dataclass\(|.* from None$")
"""Lines whose options no behaviour shows."""

SQL = re.compile(r"\b(SELECT|FROM|WHERE|DELETE|INSERT|UPDATE|JOIN|GROUP BY|ORDER BY|AND|OVER)\b")

IN_SQL = {
    r"<=": ["<"],
    r">=": [">"],
    r"<>": ["="],
    r"(?<= )<(?= )": ["<=", ">="],
    r"(?<= )>(?= )": [">=", "<="],
    r"(?<= )=(?= )": ["<>"],
    r"(?<= )\+(?= )": ["-"],
    r"(?<= )-(?= )": ["+"],
    r"(?<= )(?<!SELECT )\*(?= )": ["/"],
    r"(?<= )/(?= )": ["*"],
    r"(?<![\w.$])\d+(?![\w.])": ["+1"],
    r"(?<![\w.$])\d+\.\d+\b": ["*2"],
    r"\bAND\b": ["OR"],
    r"\bOR\b(?! REPLACE)": ["AND"],
    r"\bNOT ": [""],
    r"\bDISTINCT (?!FROM)": [""],
    r"\bLEFT JOIN\b": ["JOIN"],
    r"\bUNION ALL\b": ["UNION"],
    r"\bDESC\b": ["ASC"],
    r"\bmin\(": ["max("],
    r"\bmax\(": ["min("],
    r"\bsum\(": ["max("],
    r"\bmedian\(": ["avg("],
    r"\bavg\(": ["median("],
    r"\barg_max\(": ["arg_min("],
    r"\barg_min\(": ["arg_max("],
    r"\bgreatest\(": ["least("],
    r"\bleast\(": ["greatest("],
    r" FILTER \([^()]*\)": [""],
}
"""What stands in SQL, and what is put in its place."""

QUICK = "not (kill_at_any_moment or full_disk or flipped_byte or of_half_a_file or job)"
"""Which tests: those that take long are asked by nobody here."""

WARM = ("apprise", "dagster", "duckdb", "pandas", "requests", "rich")
"""Imported once, before the process of each mutant is forked from this one."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A module's text with one change: the line, and how that reads before and after."""

    line: int
    before: str
    after: str
    text: str


def of_python(text: str) -> Iterator[str]:
    """The text with each change that poodle knows, where its idea of the place is right: in an
    f-string of several lines Python 3.11 tells a wrong one."""
    lines = text.splitlines(keepends=True)
    for make in OF_PYTHON:
        maker = make(config=SimpleNamespace(mutator_opts={}), echo=print)
        maker.type_map = {**getattr(maker, "type_map", {}), **ARITHMETIC}
        for change in maker.create_mutations(parsed_ast=ast.parse(text), file_lines=lines):
            yield "".join(mutate_lines(change, lines))


def of_sql(text: str) -> Iterator[str]:
    """The text with one thing changed in the SQL of one string."""
    starts = [0]
    for line in text.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for begin, end in _strings(ast.parse(text), starts):
        whole = text.encode()
        before, sql, after = (part.decode() for part in _cut(whole, begin, end))
        if not SQL.search(sql):
            continue
        for pattern, instead in IN_SQL.items():
            for found in re.finditer(pattern, sql):
                for new in instead:
                    put = _computed(found[0], new)
                    yield before + sql[: found.start()] + put + sql[found.end() :] + after


def _cut(whole: bytes, begin: int, end: int) -> tuple[bytes, bytes, bytes]:
    return whole[:begin], whole[begin:end], whole[end:]


def _computed(old: str, new: str) -> str:
    """A number one more, or twice as much; else what stands there."""
    if new == "+1":
        return str(int(old) + 1)
    return str(float(old) * 2) if new == "*2" else new


def _strings(node: ast.AST, starts: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Where strings begin and end that are no docstrings, each with all that is joined in it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.JoinedStr) or (
            isinstance(child, ast.Constant) and isinstance(child.value, str)
        ):
            if not isinstance(node, ast.Expr):
                end = starts[(child.end_lineno or 1) - 1] + (child.end_col_offset or 0)
                yield starts[child.lineno - 1] + child.col_offset, end
        else:
            yield from _strings(child, starts)


def mutants_of(file: Path) -> list[Mutant]:
    """Every change of a module that is still Python, and another program than before."""
    text = file.read_text(encoding="utf-8")
    seen = {ast.dump(ast.parse(text))}
    senseless = _of_strings(ast.parse(text))
    found = []
    for changed in (*of_python(text), *of_sql(text)):
        try:
            with warnings.catch_warnings(action="error"):
                tree = ast.parse(changed)
                compile(tree, str(file), "exec")
        except (SyntaxError, SyntaxWarning, ValueError):
            continue
        program = ast.dump(tree)
        mutant = _mutant(text, changed)
        told = not UNTOLD.match(mutant.before) and _of_strings(tree) <= senseless
        if program not in seen and told:
            seen.add(program)
            found.append(mutant)
    return sorted(found, key=lambda m: (m.line, m.after))


def _of_strings(tree: ast.AST) -> int:
    """How often a string is subtracted or multiplied: errors that find themselves."""
    sums = [n for n in ast.walk(tree) if isinstance(n, ast.BinOp)]
    wrong = [n for n in sums if isinstance(n.op, ast.Sub | ast.Mult)]
    return sum(_is_text(n.left) or _is_text(n.right) for n in wrong)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def _mutant(text: str, changed: str) -> Mutant:
    old, new = text.splitlines(), changed.splitlines()
    same = next(n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b)
    tail = 0
    while tail < min(len(old), len(new)) - same - 1 and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    before, after = old[same : len(old) - tail], new[same : len(new) - tail]
    return Mutant(
        same + 1, " ".join(map(str.strip, before)), " ".join(map(str.strip, after)), changed
    )


class Seen:
    """A plugin of pytest that writes down which lines of a file each test runs in its own process,
    and which test failed."""

    def __init__(self, file: Path, notes: Path) -> None:
        self._file = str(file)
        self._notes = notes
        self._lines: set[int] = set()
        self.tests: dict[str, list[int]] = {}
        self.failed: str | None = None

    def _trace(self, frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_filename != self._file:
            return None
        self._lines.add(frame.f_lineno)
        return self._trace

    def pytest_runtest_logstart(self) -> None:
        self._lines = set()
        threading.settrace(self._trace)
        sys.settrace(self._trace)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        sys.settrace(None)
        self.tests[nodeid] = sorted(self._lines)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.failed = report.nodeid

    def pytest_sessionfinish(self) -> None:
        self._notes.write_text(json.dumps([self.tests, self.failed]), encoding="utf-8")


class Quick(Seen):
    """Without looking at lines: that takes its time."""

    def pytest_runtest_logstart(self) -> None:
        """Nothing."""


class Copy:
    """A copy of the project in which the mutants of one module are tried."""

    def __init__(self, folder: Path, module: str) -> None:
        self.module = module
        self.root = folder / "project"
        self._file = self.root / f"crypto_pipeline/{module}.py"
        self._temporary = folder / "temporary"
        self._notes = folder / "notes.json"
        ignored = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build")
        shutil.copytree(ROOT, self.root, ignore=ignored)
        self._text = self._file.read_text(encoding="utf-8")
        self.tests: dict[str, list[int]] = {}

    def look(self) -> None:
        """Let every test pass once, and see what it runs. Raises SystemExit where one fails."""
        files = (f"crypto_pipeline_tests/test_{name}.py" for name in TESTS[self.module])
        asked = [*(f for f in files if (self.root / f).exists()), "-k", QUICK]
        code = self._pytest(Seen(self._file, self._notes), asked, 3600)
        if not self._notes.exists():
            raise SystemExit(f"{self.module}: its tests cannot be run: exit code {code}")
        self.tests, failed = json.loads(self._notes.read_text(encoding="utf-8"))
        if failed or code:
            raise SystemExit(f"{self.module}: {failed} fails without a change")

    def noticed(self, mutant: Mutant, seconds: float) -> bool:
        """Whether a test of those that run the line fails, or any hangs. Who noticed one mutant is
        asked first about the next."""
        lines = set(_touched(self._text, mutant.line))
        asked = [test for test, run in self.tests.items() if lines.intersection(run)]
        self._file.write_text(mutant.text, encoding="utf-8")
        try:
            code = self._pytest(Quick(self._file, self._notes), asked or list(self.tests), seconds)
        finally:
            shutil.copy2(ROOT / f"crypto_pipeline/{self.module}.py", self._file)
        if code and self._notes.exists():
            _, failed = json.loads(self._notes.read_text(encoding="utf-8"))
            if failed in self.tests:
                self.tests = {failed: self.tests[failed], **self.tests}
        return code != 0

    def _pytest(self, plugin: Seen, asked: Sequence[str], seconds: float) -> int | None:
        self._temporary.mkdir()
        self._notes.unlink(missing_ok=True)
        try:
            return _forked(lambda: self._ask(plugin, asked), seconds)
        finally:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _ask(self, plugin: Seen, asked: Sequence[str]) -> int:
        """In the process of one mutant, which the processes of its tests belong to."""
        os.chdir(self.root)
        os.environ.update(PYTHONPATH=str(self.root), PYTHONDONTWRITEBYTECODE="1")
        os.environ["TMPDIR"] = tempfile.tempdir = str(self._temporary)
        sys.dont_write_bytecode = True
        sys.path[:] = [str(self.root), *(p for p in sys.path if p and Path(p) != ROOT)]
        for name in [n for n in sys.modules if n.split(".")[0].startswith("crypto_pipeline")]:
            del sys.modules[name]
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        options = ["-x", "-q", "-p", "no:cacheprovider", "--tb=no"]
        return int(pytest.main([*options, *asked], plugins=[plugin]))


def _touched(text: str, line: int) -> Iterator[int]:
    """The lines of the statement at this line; of a name of the whole module those that use it."""
    tree = ast.parse(text)
    here = min(
        (n for n in ast.walk(tree) if isinstance(n, ast.stmt) and _first(n) <= line <= _last(n)),
        key=lambda n: _last(n) - _first(n),
    )
    yield from range(_first(here), _last(here) + 1)
    if here in tree.body and isinstance(here, ast.Assign | ast.AnnAssign):
        targets = here.targets if isinstance(here, ast.Assign) else [here.target]
        own = {target.id for target in targets if isinstance(target, ast.Name)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and node.id in own:
                yield node.lineno


def _first(node: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(d.lineno for d in decorators)])


def _last(node: ast.stmt) -> int:
    """The last line of a statement, or of what stands before the body it has."""
    body = getattr(node, "body", None)
    return max(node.lineno, _first(body[0]) - 1) if body else node.end_lineno or node.lineno


def _forked(work: Callable[[], int], seconds: float) -> int | None:
    """What the work gives in a process of its own; None when it is ended after these seconds."""
    child = os.fork()
    if not child:
        os.setsid()
        code = 70
        with suppress(BaseException):
            code = work()
        os._exit(code)
    until = time.monotonic() + seconds
    try:
        while time.monotonic() < until:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        return None
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)  # and what its tests have left
        with suppress(ChildProcessError):
            os.waitpid(child, 0)


def tried(module: str, chosen: argparse.Namespace) -> tuple[int, int]:
    """How many mutants of a module were tried, and how many noticed; the others are printed."""
    found = mutants_of(ROOT / f"crypto_pipeline/{module}.py")
    picked = found
    if chosen.sample and chosen.sample < len(found):
        picked = random.Random(chosen.seed).sample(found, chosen.sample)
    began = time.monotonic()
    noticed = 0
    with tempfile.TemporaryDirectory(prefix="mutants_") as folder:
        copy = Copy(Path(folder), module)
        copy.look()
        patience = 60 + 3 * (time.monotonic() - began)
        for mutant in sorted(picked, key=lambda m: m.line):
            good = copy.noticed(mutant, patience)
            noticed += good
            if chosen.all or not good:
                word = "noticed" if good else "SURVIVED"
                place = f"{word} {module}.py:{mutant.line}"
                print(f"{place}\n  - {mutant.before}\n  + {mutant.after}", flush=True)
    total = f"{len(picked)} of {len(found)}" if len(picked) < len(found) else f"{len(picked)}"
    part = noticed / len(picked) if picked else 1
    took = time.monotonic() - began
    print(f"{module}: {total} mutants, {noticed} noticed, {part:.0%}, {took:.0f} s", flush=True)
    return len(picked), noticed


def main() -> int:
    chosen = _arguments()
    if chosen.list:
        for module in chosen.modules:
            print(f"{module}: {len(mutants_of(ROOT / f'crypto_pipeline/{module}.py'))} mutants")
        return 0
    for name in WARM:
        importlib.import_module(name)
    counts = [tried(module, chosen) for module in chosen.modules]
    print(f"together: {sum(t for t, _ in counts)} mutants, {sum(n for _, n in counts)} noticed")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("modules", nargs="*", default=list(TESTS), metavar="MODULE")
    parser.add_argument("--sample", type=int, default=0, help="so many of a module, by chance")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--all", action="store_true", help="print what was noticed as well")
    parser.add_argument("--list", action="store_true", help="count mutants, and try none")
    chosen = parser.parse_args()
    for name in chosen.modules:
        if name not in TESTS:
            parser.error(f"{name} is none of {', '.join(TESTS)}")
    return chosen


if __name__ == "__main__":
    sys.exit(main())
