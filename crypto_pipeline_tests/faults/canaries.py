"""Keys of ten shapes, echoed by hosts in every way, and looked for in everything that is kept."""

import base64
import html
import json
import os
import re
import string
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus, unquote

import duckdb

from crypto_pipeline.collection.collect import collect
from crypto_pipeline.collection.kept_answers import KeptAnswers
from crypto_pipeline.settings import Keeping
from crypto_pipeline.sources import ENDPOINTS, SOURCES, Endpoint
from crypto_pipeline.tables import TABLES
from crypto_pipeline.warehouse import Warehouse
from crypto_pipeline_tests.faults import bodies, child, together
from crypto_pipeline_tests.faults.kinds import Kind
from crypto_pipeline_tests.faults.report import Line
from crypto_pipeline_tests.upstream import Received, Reply, Say

if TYPE_CHECKING:
    from crypto_pipeline_tests.faults.host import Host

EVER = datetime(1990, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)

MARK = "CANARY"
END = "zZ"
"""Every key begins with the one and ends with the other: so a host knows it when it sees it."""

SHAPES: Mapping[str, str] = {
    "plain": "0123456789abcdef",
    "base64_signs": "a+b/c+d/e==f",
    "spaces": "two words and more",
    "percent": "50%41%2Fb%zz",
    "quotes": 'a"b\'c\\d\\"e',
    "unicode": "schlüssel-ключ",
    "uuid": "-3f2b8c1e-7d4a-4f6b-9c0d-1e2f3a4b5c6d",
    "long": string.ascii_letters + string.digits + string.ascii_letters,
    "jwt": ".eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1",
    "shell": "$HOME&x=*?#frag;<b>",
}
"""What stands between the two, by name."""


def key(way: str, shape: str) -> str:
    """The key of one shape that is echoed in one way: another one for each, so that what is found
    tells how it came there."""
    return f"{MARK}{list(ECHOES).index(way):02}{SHAPES[shape]}{END}"


# How a key is written


def _every_letter_escaped(text: str) -> str:
    return "".join(f"\\u{ord(letter):04x}" for letter in text)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


WRITTEN: Mapping[str, Callable[[str], str]] = {
    "raw": lambda text: text,
    "json": lambda text: json.dumps(text)[1:-1],
    "u_escaped": _every_letter_escaped,
    "percent": lambda text: quote(text, safe=""),
    "percent_lower": lambda text: re.sub(r"%..", lambda m: m[0].lower(), quote(text, safe="")),
    "plus": quote_plus,
    "html": html.escape,
    "base64": _base64,
    "base64_1": lambda text: _base64("k" + text + "&x=1"),
    "base64_2": lambda text: _base64("k=" + text + "&x=1"),
    "base64_url": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
}


def forms(text: str) -> set[bytes]:
    """What must be found nowhere: the key as it is, and as anybody may write it."""
    plain = {
        text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1],
        _every_letter_escaped(text), quote(text), quote(text, safe=""), quote_plus(text),
        WRITTEN["percent_lower"](text), html.escape(text), repr(text)[1:-1],
        repr(json.dumps(text)[1:-1])[1:-1],
    }  # fmt: skip
    content = text.encode()
    for before in range(3):
        inside = base64.b64encode(b"\0" * before + content).rstrip(b"=")
        aligned = inside[(before * 8 + 5) // 6 : -1]  # letters that are of the key alone
        plain |= {aligned.decode(), aligned.decode().replace("+", "-").replace("/", "_")}
    return {form.encode() for form in plain}


# What a host echoes


def received(request: Received) -> str | None:
    """The key as it came: in a header, the query or the path."""
    values = (
        *(value.encode("latin-1", "replace").decode("utf-8", "replace")
          for value in request.headers.values()),
        *(value for _, value in request.query),
        unquote(request.path),
    )  # fmt: skip
    for value in values:
        if MARK in value and END in value:
            start = value.index(MARK)
            return value[start : value.index(END, start) + len(END)]
    return None


def _error(write: Callable[[str], str], status: int) -> Callable[[str, Reply], Reply]:
    """An error that tells the key; what is written is JSON already."""

    def say(found: str, _: Reply) -> Reply:
        inside = write(found)
        if write not in (WRITTEN["json"], WRITTEN["u_escaped"]):
            inside = json.dumps(inside)[1:-1]
        return Reply(status, b'{"error": "wrong key ' + inside.encode() + b' here"}')

    return say


def _in_record(found: str, honest: Reply) -> Reply:
    try:
        body = json.loads(honest.body)
    except ValueError:
        return honest
    edited = bodies.leaves(text=lambda text: f"{text} {found}")(body)
    return replace(honest, status=200, body=bodies.dumped(edited))


def _in_header(name: str) -> Callable[[str, Reply], Reply]:
    def say(found: str, honest: Reply) -> Reply:
        value = f'"{found.encode().decode("latin-1")}"'
        return replace(honest, headers=((name, value),))

    return say


def _redirect(found: str, _: Reply) -> Reply:
    target = f"http://elsewhere.example/?key={quote(found, safe='')}"
    return Reply(302, b"", headers=(("Location", target),))


def _redirect_private(found: str, _: Reply) -> Reply:
    return Reply(302, b"", headers=(("Location", f"https://{quote(found)}.local/"),))


_ECHOES: Mapping[str, Callable[[str, Reply], Reply]] = {
    **{f"error_{name}": _error(write, 401) for name, write in WRITTEN.items()},
    "error_200": _error(WRITTEN["json"], 200),
    "page": lambda found, _: Reply(403, f"<title>{html.escape(found)}</title>".encode()),
    "text": lambda found, _: Reply(500, found.encode(), "text/plain"),
    "unreadable": lambda found, _: Reply(200, f"{{'{found}".encode()),
    "record": _in_record,
    "etag": _in_header("ETag"),
    "last_modified": _in_header("Last-Modified"),
    "content_type": _in_header("Content-Type"),
    "retry_after": _in_header("Retry-After"),
    "redirect": _redirect,
    "redirect_private": _redirect_private,
    "status_line": lambda found, _: Reply(200, quote(found).encode()),
}

ECHOES = tuple(_ECHOES)
"""Every way in which a host can tell a key."""


def rule_of(way: str) -> Kind:
    """The kind that echoes the key it was asked with; a request without one is answered well."""

    def say(request: Received, honest: Reply) -> Reply:
        found = received(request)
        return _ECHOES[way](found, honest) if found else honest

    said: Say = say
    fault = "strange_status" if way == "status_line" else None
    return Kind(way, "message", frozenset(), said, fault)


# Where it is looked for


def keyed() -> list[Endpoint]:
    """Endpoints that take a key, of every way to send one: in the query, a header, the path."""
    found: dict[tuple[bool, bool, str], list[Endpoint]] = {}
    for endpoint in ENDPOINTS.values():
        if endpoint.key and not endpoint.each:
            how = (bool(endpoint.key.query), endpoint.key.path, endpoint.key.prefix)
            found.setdefault(how, []).append(endpoint)
    return [endpoint for endpoints in found.values() for endpoint in endpoints[:3]]


def collected(database: str, way: str, value: str) -> None:
    """Collect who takes a key; twice where what was remembered is sent again."""
    for source in SOURCES.values():
        if source.key:
            os.environ[source.key.env] = value
    warehouse = Warehouse(Path(database))
    among = keyed()
    for turn in ("first", "again") if way in ("etag", "last_modified") else ("first",):
        collect(
            together.COLLECTED,
            f"{way}-{turn}",
            warehouse=warehouse,
            among=among,
            limits=together.LIMITS,
            force=True,
        )


def kept(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Everything that is kept in a folder, by where: files as they are, and databases read."""
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            yield file.name, file.read_bytes()
        if file.suffix == ".parquet":
            rows = duckdb.sql(f"FROM read_parquet('{file}')").fetchall()
            yield file.name, _as_text(rows)
        if file.suffix == ".answers":
            yield file.name, _unpacked(file)
        if file.name == "crypto.duckdb":
            warehouse = Warehouse(file)
            for table in TABLES:
                yield table, _as_text(warehouse.query(f"FROM {table}"))


def _unpacked(file: Path) -> bytes:
    """Every body that is kept, as it is read again, and what is written beside them."""
    kept = KeptAnswers(file, Keeping(timedelta(), timedelta(), 0))
    collections = kept.collections(list(ENDPOINTS), *EVER)
    answers = [answer for collection in collections for answer in collection.answers]
    assert answers, f"nothing is kept in {file}"
    return b"\n".join(repr(a.question).encode() + (a.body or b"") for a in answers)


def _as_text(rows: Iterable[tuple[object, ...]]) -> bytes:
    return "\n".join(str(value) for row in rows for value in row).encode("utf-8", "replace")


def found(folder: Path, values: Iterable[str]) -> dict[str, list[str]]:
    """Where each key is, in any form; those that are nowhere are left away."""
    where: dict[str, list[str]] = {}
    places = list(kept(folder))
    for value in values:
        wanted = forms(value)
        places_of = [name for name, content in places if any(form in content for form in wanted)]
        if places_of:
            where[value] = places_of
    return where


def run(host: "Host") -> Iterator[Line]:
    """For each shape a database with a collection for each way, and one of the command line."""
    for shape in SHAPES:
        with tempfile.TemporaryDirectory(prefix="faults_") as folder:
            yield _shape(host, shape, Path(folder))


def _shape(host: "Host", shape: str, folder: Path) -> Line:
    line = Line("canaries", shape)
    file = folder / "crypto.duckdb"
    problems: dict[str, str] = {}
    for way in ECHOES:
        host.treat((".", way))
        done = child.run(
            collected,
            str(file),
            way,
            key(way, shape),
            environment=together.settings(host.url, file),
        )
        if done.problem and not _refused(done.problem, key(way, shape)):
            problems[way] = f"{way}: raised {done.problem}"
    said = _command_line(host, shape, folder)
    leaks = found(folder, [key(way, shape) for way in ECHOES])
    for way in ECHOES:
        words = [problems[way]] if way in problems else []
        if places := leaks.get(key(way, shape)):
            words.append(f"{way}: in {', '.join(dict.fromkeys(places))}")
        line.add(words, raised=way in problems)
    line.add(said)
    host.treat()
    return line


def _refused(problem: str, value: str) -> bool:
    """Whether a key that no header can hold was refused by its name, and not told."""
    told = any(form in problem.encode() for form in forms(value))
    return not value.isascii() and problem.startswith("SettingError: ") and not told


def _command_line(host: "Host", shape: str, folder: Path) -> list[str]:
    """`crypto-pipeline collect` with keys that are echoed as text; Dagster keeps its history."""
    host.treat((".", "text"))
    value = key("text", shape)
    keys = {source.key.env: value for source in SOURCES.values() if source.key}
    environment = together.settings(host.url, folder / "crypto.duckdb") | keys
    done = subprocess.run(
        [sys.executable, "-m", "crypto_pipeline.cli", "collect", "both", "--force"],
        env=os.environ | environment | {"DAGSTER_HOME": str(folder)},
        capture_output=True,
        timeout=180,
        check=False,
    )
    shown = done.stdout + done.stderr
    return ["printed"] if any(form in shown for form in forms(value)) else []
