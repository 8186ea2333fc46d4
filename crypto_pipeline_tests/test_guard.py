"""The guard before Dagster's UI, and the command that starts both: real processes, real HTTP, and a
WebSocket's handshake by hand."""

import base64
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import pytest

from crypto_pipeline.docs import ROOT
from crypto_pipeline.monitoring.guard import origin_of
from crypto_pipeline_tests.stack import DEV, PATIENCE_S, Session, Stack

PROJECT = """
import dagster as dg

@dg.job
def nothing():
    pass

defs = dg.Definitions(
    schedules=[
        dg.ScheduleDefinition(
            name="yearly",
            job=nothing,
            cron_schedule="0 0 1 1 *",
            default_status=dg.DefaultScheduleStatus.RUNNING,
        )
    ]
)
"""

PROXY = "https://dagster.example.org"
EVIL = "http://evil.example"

SCHEDULE = """{ repositoriesOrError { ... on RepositoryConnection { nodes {
  schedules { name scheduleState { id status } }
} } } }"""
STOP = "mutation($id: String!) { stopRunningSchedule(id: $id) { __typename } }"

Headers = Sequence[tuple[str, str]]
JSON = ("Content-Type", "application/json")


class Guarded(Stack):
    """A project of one schedule behind the guard."""

    def __init__(self, folder: Path, *, sigint: str = "SIG_DFL", **environment: str) -> None:
        (folder / "project.py").write_text(PROJECT)
        (folder / "workspace.yaml").write_text("load_from: [python_file: project.py]")
        ours = {
            "DAGSTER_HOME": str(folder),
            "CRYPTO_PIPELINE_DATABASE": str(folder / "crypto.duckdb"),
            "CRYPTO_PIPELINE_PROXIED": PROXY,
            "PYTHONPATH": str(ROOT),
        }
        super().__init__(folder, folder, {**ours, **environment}, sigint=sigint)

    @property
    def own(self) -> str:
        return f"127.0.0.1:{self.port}"

    def schedule(self) -> dict[str, str]:
        """The state of the one schedule: its id and status."""
        (node,) = self.ask(SCHEDULE)["repositoriesOrError"]["nodes"]
        (schedule,) = node["schedules"]
        state: dict[str, str] = schedule["scheduleState"]
        return state

    def until_served(self) -> None:
        self.until("the schedule is served", self.schedule)

    def send(
        self, method: str, path: str, headers: Headers = (), body: bytes = b"", host: str = ""
    ) -> tuple[int, str]:
        """One request over a socket, headers as they are given: the status and all that came."""
        lines = [f"{method} {path} HTTP/1.1", "Connection: close"]
        if all(name.lower() != "host" for name, _ in headers):
            lines.append(f"Host: {host or self.own}")
        lines += [f"{name}: {value}" for name, value in headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as connection:
            connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
            came = b""
            while part := connection.recv(65536):
                came += part
                if b" 101 " in came[:20]:
                    break
        return int(came.split(b" ", 2)[1]), came.decode(errors="replace")

    def handshake(self, headers: Headers) -> tuple[int, str]:
        """Ask for a WebSocket, as the UI does for what changes."""
        asked = [
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", base64.b64encode(os.urandom(16)).decode()),
            ("Sec-WebSocket-Protocol", "graphql-ws"),
        ]
        return self.send("GET", "/graphql", [("Connection", "Upgrade"), *asked, *headers])


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with Guarded(tmp_path_factory.mktemp("guarded")).running() as guarded:
        guarded.until_served()
        yield guarded


Attack = Callable[[Guarded, str, dict[str, str]], tuple[int, str]]


def in_query(query: str, variables: dict[str, str]) -> str:
    return f"/graphql?query={quote(query)}&variables={quote(json.dumps(variables))}"


def in_body(query: str, variables: dict[str, str]) -> bytes:
    return json.dumps({"query": query, "variables": variables}).encode()


def by_get(path: str = "/graphql", *headers: tuple[str, str]) -> Attack:
    def send(stack: Guarded, query: str, variables: dict[str, str]) -> tuple[int, str]:
        where = in_query(query, variables).replace("/graphql", path)
        return stack.send("GET", where, headers)

    return send


def by_post(*headers: tuple[str, str], query_in_url: bool = False) -> Attack:
    def send(stack: Guarded, query: str, variables: dict[str, str]) -> tuple[int, str]:
        own = [(name, value.format(own=stack.own)) for name, value in headers]
        path = in_query(query, variables) if query_in_url else "/graphql"
        return stack.send("POST", path, own, in_body(query, variables))

    return send


ATTACKS: dict[str, tuple[Attack, int, str]] = {
    "an image": (by_get(), 405, "ask by POST"),
    "an image that asks for a page": (
        by_get("/graphql", ("Accept", "image/png"), ("Accept", "text/html")),
        405,
        "ask by POST",
    ),
    "a path with a line break, which is routed as the one without": (
        by_get("/graphql%0A"),
        405,
        "ask by POST",
    ),
    "a path in other letters": (by_get("/%67raphql"), 405, "ask by POST"),
    "a script's GET": (by_get("/graphql", ("Origin", EVIL)), 403, f"another origin: {EVIL}"),
    "a script's POST": (by_post(JSON, ("Origin", EVIL)), 403, f"another origin: {EVIL}"),
    "a sandboxed frame": (by_post(JSON, ("Origin", "null")), 403, "another origin: null"),
    "another page of this machine": (
        by_post(JSON, ("Origin", "http://127.0.0.1:8080")),
        403,
        "another origin",
    ),
    "a second origin": (
        by_post(JSON, ("Origin", "http://{own}"), ("Origin", EVIL)),
        403,
        "another origin",
    ),
    "a name that leads here": (by_post(JSON, ("Host", "evil.example:3000")), 403, "evil.example"),
    "a name that leads here, with its origin": (
        by_post(JSON, ("Host", "evil.example"), ("Origin", EVIL)),
        403,
        "not served under this name: evil.example",
    ),
    "a form": (by_post(("Content-Type", "application/x-www-form-urlencoded")), 415, "send JSON"),
    "a form's query": (
        by_post(("Content-Type", "application/x-www-form-urlencoded"), query_in_url=True),
        415,
        "send JSON",
    ),
    "a form with files": (
        by_post(("Content-Type", "multipart/form-data; boundary=x"), query_in_url=True),
        415,
        "send JSON",
    ),
    "plain text": (by_post(("Content-Type", "text/plain")), 415, "send JSON"),
    "plain text that names JSON": (
        by_post(("Content-Type", "text/plain; application/json")),
        415,
        "send JSON",
    ),
    "two kinds": (by_post(("Content-Type", "text/plain"), JSON), 415, "send JSON"),
    "no kind": (by_post(query_in_url=True), 415, "send JSON"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_no_page_of_another_turns_a_schedule_off(stack: Guarded, name: str) -> None:
    attack, status, words = ATTACKS[name]
    came, said = attack(stack, STOP, {"id": stack.schedule()["id"]})
    assert (came, words in said) == (status, True), said
    assert "content-type: text/plain" in said
    assert stack.schedule()["status"] == "RUNNING"


def test_what_the_attacks_send_stops_it_when_it_comes_from_here(stack: Guarded) -> None:
    sent = by_post(("Content-Type", "application/json; charset=utf-8"), ("Origin", "http://{own}"))
    try:
        assert sent(stack, STOP, {"id": stack.schedule()["id"]})[0] == 200
        assert stack.schedule()["status"] == "STOPPED"
    finally:
        (node,) = stack.ask(
            "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } "
            "} } } }"
        )["repositoriesOrError"]["nodes"]
        selector = {
            "repositoryName": node["name"],
            "repositoryLocationName": node["location"]["name"],
            "scheduleName": "yearly",
        }
        start = (
            "mutation($s: ScheduleSelector!) { startSchedule(scheduleSelector: $s) { __typename } }"
        )
        stack.ask(start, s=selector)
    assert stack.schedule()["status"] == "RUNNING"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:{port}", 200),
        ("localhost:{port}", 200),
        ("LocalHost:{port}", 200),
        ("[::1]:{port}", 200),
        ("dagster.example.org", 200),
        ("Dagster.Example.Org", 200),
        ("dagster.example.org:8443", 403),
        ("localhost.:{port}", 403),
        ("127.0.0.1", 403),
        ("localhost:1", 403),
        ("::1:{port}", 403),
        ("127.1:{port}", 403),
        ("127.0.0.1:{port}.evil.example", 403),
        ("evil.example:{port}", 403),
        ("x@127.0.0.1:{port}", 403),
        ("0.0.0.0:{port}", 403),
        ("", 403),
    ],
)
def test_the_ui_is_served_under_its_own_names_alone(stack: Guarded, host: str, status: int) -> None:
    named = [("Host", host.format(port=stack.port))]
    assert stack.send("GET", "/", named)[0] == status
    assert stack.send("POST", "/graphql", [*named, JSON], in_body("{ version }", {}))[0] == status


def test_a_host_that_is_missing_or_there_twice_is_refused(stack: Guarded) -> None:
    with socket.create_connection(("127.0.0.1", stack.port), PATIENCE_S) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert b"403" in connection.recv(65536).split(b"\r\n")[0]
    twice = [("Host", stack.own), ("Host", "evil.example")]
    assert stack.send("GET", "/", twice)[0] in (400, 403)


def test_what_the_ui_is_made_of_is_served_and_framed_by_nobody(stack: Guarded) -> None:
    status, page = stack.send("GET", "/")
    assert (status, "x-frame-options: SAMEORIGIN" in page) == (200, True)
    assert stack.send("GET", "/favicon.svg")[0] == 200
    assert stack.send("GET", "/server_info")[0] == 200
    assert stack.send("HEAD", "/")[0] == 200
    written = stack.send("GET", "/graphql", [("Accept", "text/html,application/xhtml+xml")])
    assert (written[0], "GraphiQL" in written[1] or "graphiql" in written[1]) == (200, True)


def test_a_proxy_s_page_may_ask_under_either_name(stack: Guarded) -> None:
    for host in (stack.own, "dagster.example.org"):
        headers = [("Host", host), ("Origin", PROXY), JSON]
        status, said = stack.send("POST", "/graphql", headers, in_body("{ version }", {}))
        assert (status, '"version":"1.' in said) == (200, True), said
    insecure = [("Origin", PROXY.replace("https", "http")), JSON]
    assert stack.send("POST", "/graphql", insecure, in_body("{ version }", {}))[0] == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("Origin", "http://127.0.0.1:{port}")], 101),
        ([("Origin", "http://localhost:{port}"), ("Host", "localhost:{port}")], 101),
        ([("Origin", PROXY)], 101),
        ([], 101),
        ([("Origin", EVIL)], 403),
        ([("Origin", "null")], 403),
        ([("Host", "evil.example:{port}")], 403),
        ([("Host", "evil.example:{port}"), ("Origin", "http://evil.example:{port}")], 403),
    ],
)
def test_live_updates_go_to_the_ui_alone(stack: Guarded, headers: Headers, status: int) -> None:
    own = [(name, value.format(port=stack.port)) for name, value in headers]
    came, said = stack.handshake(own)
    assert came == status, said
    assert ("not served under" in said or "not for a page" in said) == (status == 403)


def test_a_live_connection_is_answered(stack: Guarded) -> None:
    """What is sent over it reaches Dagster, and comes back."""
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [
        "GET /graphql HTTP/1.1", f"Host: {stack.own}", f"Origin: http://{stack.own}",
        "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Protocol: graphql-ws", "", "",
    ]  # fmt: skip
    with socket.create_connection(("127.0.0.1", stack.port), PATIENCE_S) as connection:
        connection.sendall("\r\n".join(lines).encode())
        assert b" 101 " in connection.recv(65536)
        said = b'{"type": "connection_init"}'
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[n % 4] for n, byte in enumerate(said))
        connection.sendall(bytes([0x81, 0x80 | len(said)]) + mask + masked)
        came = b""
        while b"connection_ack" not in came:
            part = connection.recv(65536)
            assert part, came
            came += part


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://LOCALHOST:3000", "http://localhost:3000"),
        ("https://dagster.example.org:443", "https://dagster.example.org"),
        ("http://dagster.example.org:443", "http://dagster.example.org:443"),
        ("http://[::1]:80", "http://[::1]"),
    ],
)
def test_an_origin_is_written_as_browsers_write_it(url: str, origin: str) -> None:
    assert origin_of(url) == origin


# The command


def pids_of(stack: Stack, words: str) -> list[int]:
    """The processes whose command has these words."""
    return [int(pid) for pid, command in stack.processes("pid", "args") if words in command]


@pytest.mark.parametrize(
    ("number", "sigint"), [(signal.SIGINT, "SIG_IGN"), (signal.SIGTERM, "SIG_IGN")]
)
def test_a_background_job_ends_with_all_its_processes(
    tmp_path: Path, number: int, sigint: str
) -> None:
    with Guarded(tmp_path, sigint=sigint).running() as stack:
        stack.until_served()
        stack.until("the daemon runs", lambda: "following daemons" in stack.said())
        assert len(stack.left()) >= 5
        stack.end(number)
        assert stack.left() == []
        assert stack.process.returncode == 0, stack.said()


@pytest.mark.parametrize("part", ["guarded_webserver", "dagster._daemon"])
def test_when_a_part_dies_all_ends_with_its_exit_code(tmp_path: Path, part: str) -> None:
    with Guarded(tmp_path).running() as stack:
        stack.until_served()
        stack.until("the daemon runs", lambda: "following daemons" in stack.said())
        (pid,) = pids_of(stack, part)
        os.kill(pid, signal.SIGKILL)
        assert stack.process.wait(PATIENCE_S) == 128 + signal.SIGKILL
        assert stack.left() == []
        assert "ended by itself" in stack.said()


def test_a_code_server_that_dies_comes_back(stack: Guarded) -> None:
    (before,) = pids_of(stack, "code-server start")
    os.kill(before, signal.SIGKILL)

    stack.until("another one is there", lambda: set(pids_of(stack, "code-server start")) - {before})
    stack.until_served()


def test_a_port_that_is_taken_is_named(tmp_path: Path, stack: Guarded) -> None:
    command = (*DEV, "--port", str(stack.port))
    environment = {"DAGSTER_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    with Session(tmp_path, tmp_path, environment, "second", *command).running() as second:
        assert second.process.wait(PATIENCE_S) == 1
        assert f"{stack.url}: Address already in use" in second.said()
        assert "Traceback" not in second.said()
    assert stack.schedule()["status"] == "RUNNING"
