"""One SELECT of somebody who is not trusted, over what is published: it reads tables, nothing else.

Owns: which SQL is let through, and what an answer may cost.
Must not know: who asks.

Three walls, each enough for most of what is tried. DuckDB's own parser says what the text is: one
SELECT, of our tables, views and macros alone, without functions that reach outside. DuckDB's
settings, which the query cannot change: no access but to the published folder, no extensions. And
a process of its own, because DuckDB can be brought to take all memory, not to listen to an
interrupt, or to crash: the system takes its right to write files, and bounds its memory and time.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Timer
from typing import Any

import duckdb

from crypto_pipeline.tables import MACROS, TABLES, VIEWS
from crypto_pipeline.warehouse import published
from crypto_pipeline.warehouse.answer import Answer, plain
from crypto_pipeline.warehouse.errors import Refused, WarehouseError
from crypto_pipeline.warehouse.sql import Connection, first_line, literal, open_duckdb

MAX_TEXT = 20_000
"""Characters of a query."""

MAX_BYTES = 1_000_000
"""Bytes of an answer's rows as JSON."""

ALLOWED = (
    "One SELECT (also FROM, WITH, VALUES, DESCRIBE, SUMMARIZE) over the tables, views and macros "
    "of the warehouse is allowed"
)

_MEMORY_MB, _PROCESS_MB, _THREADS = 1_000, 4_000, 2
_START_SECONDS = 10  # for the process to begin and to end, on a busy machine

_TABLE_FUNCTIONS = {"generate_series", "range", "unnest"}
_OUTSIDE = {"current_setting", "getenv", "getvariable", "json_serialize_plan"}
_HARMLESS = {"error", "gen_random_uuid", "random", "uuid", "uuidv4", "uuidv7"}  # and volatile
_WINDOW = {
    "cume_dist", "dense_rank", "fill", "first_value", "lag", "last_value", "lead", "nth_value",
    "ntile", "percent_rank", "rank", "rank_dense", "row_number",
}  # fmt: skip

_PARTS = {
    "SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE", "BASE_TABLE", "EMPTY",
    "EXPRESSION_LIST", "JOIN", "PIVOT", "SHOW_REF", "SUBQUERY", "TABLE_FUNCTION", "LIMIT_MODIFIER",
    "LIMIT_PERCENT_MODIFIER", "ORDER_MODIFIER", "DISTINCT_MODIFIER", "ORDER_DEFAULT", "ASCENDING",
    "DESCENDING",
}  # fmt: skip
"""What a query is made of, besides expressions and types. DuckDB 2 writes in a WITH too."""


def ask(root: Path | None, sql: str, *, rows: int = 1_000, seconds: float = 10) -> Answer:
    """The answer to one SELECT over what is published in the folder.

    root: None where nothing is to be published. rows: the most that are given; of their bytes
    MAX_BYTES are. Raises Refused for SQL that is not allowed, is wrong, or is over a limit, and
    WarehouseError where nothing is published.
    """
    published.require(root)
    if len(sql) > MAX_TEXT or "\0" in sql:
        raise Refused(f"A query has at most {MAX_TEXT} characters, and none of code 0. {ALLOWED}")
    question = json.dumps({"root": str(root), "sql": sql, "rows": rows, "seconds": seconds})
    with suppress(subprocess.TimeoutExpired):
        done = subprocess.run(  # noqa: S603  (our own interpreter, and nothing of the query)
            [sys.executable, "-P", "-B", "-c", f"from {__name__} import _serve; _serve()"],
            input=question.encode("utf-8", "replace"), capture_output=True, check=False,
            timeout=seconds + _START_SECONDS, env=_environment(),
        )  # fmt: skip
        with suppress(ValueError):
            answer = json.loads(done.stdout)
            if "refused" in answer:
                raise Refused(answer["refused"])
            return Answer(**answer)
        raise Refused("The query needed more memory or time than it may have: ask for less")
    raise Refused(_too_long(seconds))


def _environment() -> dict[str, str]:
    """What the process needs to begin, and no key."""
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    return kept | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def _too_long(seconds: float) -> str:
    return f"The query took longer than {seconds:g} s: ask for fewer rows, or a shorter time"


# In the process of its own


def _serve() -> None:
    """Answer the question of stdin on stdout, as JSON."""
    question = json.load(sys.stdin)
    _bound_process(question["seconds"])
    try:
        answer = _answer(**question)
    except WarehouseError as problem:
        answer = {"refused": str(problem)}
    except MemoryError:
        answer = {"refused": "The query needed more memory than it may have: ask for less"}
    except (duckdb.Error, ValueError, RecursionError) as problem:
        answer = {"refused": first_line(str(problem)) or type(problem).__name__}
    sys.stdout.write(json.dumps(answer))
    sys.stdout.flush()
    os._exit(0)  # threads of a query that was interrupted may not have noticed yet


def _bound_process(seconds: float) -> None:
    """No byte into any file, so much memory and so many seconds; where the system knows that."""
    try:
        import resource  # noqa: PLC0415  (Windows has none)
    except ImportError:
        return
    cpu = int(seconds * _THREADS) + _START_SECONDS
    bounds = (
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, _PROCESS_MB * 1_000_000),
        (resource.RLIMIT_CPU, cpu),
    )
    for bound, most in bounds:
        with suppress(ValueError, OSError):
            resource.setrlimit(bound, (most, most))


def _answer(root: str, sql: str, rows: int, seconds: float) -> dict[str, Any]:
    connection = published.connect(Path(root))
    _close(connection, Path(root).absolute())
    require_allowed(sql)
    statements = connection.extract_statements(sql)
    if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
        raise Refused(ALLOWED)
    timer = Timer(seconds, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        result = connection.execute(statements[0])
        columns = [(str(name), str(kind)) for name, kind, *_ in result.description or ()]
        found, truncated = _within(result, rows)
    except duckdb.InterruptException:
        raise Refused(_too_long(seconds)) from None
    finally:
        timer.cancel()
    names, types = [name for name, _ in columns], [kind for _, kind in columns]
    return {"columns": names, "types": types, "rows": found, "truncated": truncated}


def _close(connection: Connection, root: Path) -> None:
    """Nothing outside the folder from here on, and no way back."""
    for setting in (
        f"allowed_directories = [{literal(root)}]",
        "python_enable_replacements = false",
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        f"memory_limit = '{_MEMORY_MB}MB'",
        f"threads = {_THREADS}",
        "temp_directory = ''",
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        connection.execute(f"SET {setting}")


def _within(result: Connection, rows: int) -> tuple[list[list[Any]], bool]:
    """The first rows that may be given, and whether there are more."""
    found = list[list[Any]]()
    room = MAX_BYTES
    while row := result.fetchone():
        values = [plain(value) for value in row]
        room -= len(json.dumps(values))
        if room < 0 and not found:
            raise Refused(f"A row has more than {MAX_BYTES} bytes: choose fewer columns")
        if room < 0 or len(found) == rows:
            return found, True
        found.append(values)
    return found, False


# What is let through


def require_allowed(sql: str) -> None:
    """Raises Refused for what is not one SELECT of our tables, without reach to the outside."""
    connection = open_duckdb()
    ((text,),) = connection.execute(f"SELECT json_serialize_sql({literal(sql)})").fetchall()
    tree = json.loads(text)
    if tree["error"]:
        raise Refused(f"{first_line(str(tree.get('error_message')))} {ALLOWED}")
    if len(tree["statements"]) != 1:
        raise Refused(f"These are {len(tree['statements'])} statements. {ALLOWED}")
    nodes = list(_nodes(tree))
    tables = {*TABLES, *(view.name for view in VIEWS)}
    tables |= {name.casefold() for node in nodes for name in _own_names(node)}
    functions = _functions()
    for node in nodes:
        _require_node(node, tables, functions)


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every object of the tree; without recursion, which a deep query would exhaust."""
    left = [tree]
    while left:
        here = left.pop()
        if isinstance(here, dict):
            yield here
            left.extend(here.values())
        elif isinstance(here, list):
            left.extend(here)


def _own_names(node: dict[str, Any]) -> list[str]:
    """The names that a WITH gives. A file's has something in it that no identifier has, and is no
    name here: it would be read where the WITH does not reach."""
    entries = (node.get("cte_map") or {}).get("map", ())
    given = [str(entry["key"]) for entry in entries]
    for name in given:
        if not name.isidentifier():
            raise Refused(f"{name!r} is no name for a WITH: use letters, digits and _")
    return given


@cache
def _functions() -> set[str]:
    """The functions of values that compute, and reach nothing."""
    known = open_duckdb().execute(
        "SELECT function_name FROM duckdb_functions() "
        "WHERE function_type IN ('scalar', 'aggregate', 'macro') "
        "GROUP BY ALL HAVING bool_and(coalesce(stability, '') <> 'VOLATILE')"
    )
    return ({str(name) for (name,) in known.fetchall()} | _HARMLESS | _WINDOW) - _OUTSIDE


def _readable() -> set[str]:
    """What stands behind FROM with arguments."""
    return {macro.name for macro in MACROS} | _TABLE_FUNCTIONS


def _require_node(node: dict[str, Any], tables: set[str], functions: set[str]) -> None:
    kind = node.get("type")
    is_part = isinstance(kind, str) and "class" not in node and not kind.endswith("_TYPE_INFO")
    if is_part and kind not in _PARTS:
        raise Refused(f"{kind} is nothing that only reads. {ALLOWED}")
    if kind == "BASE_TABLE":
        name = str(node["table_name"])
        inside = node["schema_name"] in ("", "main") and node["catalog_name"] in ("", "memory")
        if not inside or name.casefold() not in tables:
            raise Refused(f"{name!r} is no table of the warehouse. {ALLOWED}")
    elif kind == "TABLE_FUNCTION":
        name = str(node["function"]["function_name"])
        if name.casefold() not in _readable():
            raise Refused(f"{name!r} may not be read from. {ALLOWED}")
    elif kind == "SHOW_REF":
        if node["query"] is None and node["table_name"].strip('"') != "tables":
            raise Refused(f"SHOW TABLES alone shows something here. {ALLOWED}")
    elif "function_name" in node:
        name = str(node["function_name"]).casefold()
        if name not in functions | _readable():
            raise Refused(f"The function {name!r} may not be used, or there is none. {ALLOWED}")
