"""The mutants of a module: poodle makes those of Python, `of_sql` those of the SQL in strings."""

import ast
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from poodle import mutators
from poodle.util import mutate_lines

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
