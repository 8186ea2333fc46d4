"""The tests of a module, asked about one mutant in a copy of the project."""

import ast
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from crypto_pipeline_tests.mutants.made import Mutant

ROOT = Path(__file__).parents[2]

TESTS: dict[str, tuple[str, ...]] = {
    "monitoring/alerts": ("alert_bounds", "alerts"),
    "warehouse/file": ("file", "warehouse", "nothing_lost"),
    "warehouse/spool": ("file", "warehouse", "nothing_lost"),
    "warehouse/guarded_sql": ("guarded_sql",),
    "warehouse/upkeep": ("file", "maintenance"),
    "exports/history": ("exports",),
    "exports/folder": ("exports",),
    "reading/coins": ("reading",),
    "reading/lexicon": ("reading",),
    "reading/sentiment": ("reading",),
    "reading/stories": ("reading", "articles"),
    "reading/words": ("reading",),
    "warehouse/articles": ("articles",),
    "warehouse/load": ("warehouse", "witness", "tables", "migrations"),
    "warehouse/witness": ("witness",),
    "warehouse/agreed_view": ("agreement", "warehouse"),
    "warehouse/agreed_past": ("agreed_past",),
    "warehouse/pegs": ("agreed_past",),
    "warehouse/fiat_view": ("fiat",),
    "warehouse/rebuild": ("rebuild",),
    "collection/deltas": ("kept_answers",),
    "collection/kept_answers": ("kept_answers",),
    "collection/keeper": ("kept_answers",),
    "collection/rebuild": ("rebuild",),
    "collection/freshness": ("freshness", "alert_bounds"),
    "collection/extract": ("extract", "rows", "sense"),
    "collection/rows": ("rows", "extract"),
    "collection/repeats": ("repeats", "extract"),
    "tables/market": ("rows", "sense", "tables", "witness"),
    "tables/fiat": ("fiat", "tables"),
    "tables/answers": ("answers",),
}
"""The tests that are asked about each module: the quick ones, in the order that finds most."""

QUICK = "not (kill_at_any_moment or full_disk or flipped_byte or of_half_a_file or job)"
"""Which tests: those that take long are asked by nobody here."""

WARM = ("apprise", "dagster", "duckdb", "pandas", "requests", "rich")
"""Imported once, before the process of each mutant is forked from this one."""

NOT_RUN = 70
"""The exit code of a process in which pytest itself could not be started."""


def warm_up() -> None:
    for name in WARM:
        importlib.import_module(name)


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
        folder.chmod(0o755)  # some tests look at it as another user
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
        if self._pytest(Quick(self._file, self._notes), ["--collect-only", *self.tests], 600):
            raise SystemExit(f"{self.module}: its tests cannot be asked one by one")

    def noticed(self, mutant: Mutant, seconds: float) -> bool:
        """Whether a test of those that run the line fails, or any hangs. Who noticed one mutant is
        asked first about the next."""
        lines = set(_touched(self._text, mutant.line))
        asked = [test for test, run in self.tests.items() if lines.intersection(run)]
        self._file.write_text(mutant.text, encoding="utf-8")
        try:
            code = self._pytest(Quick(self._file, self._notes), asked or list(self.tests), seconds)
        finally:
            self._file.write_text(self._text, encoding="utf-8")
        if code == NOT_RUN:
            raise SystemExit(f"{self.module}:{mutant.line}: nothing was asked")
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
        code = NOT_RUN
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
