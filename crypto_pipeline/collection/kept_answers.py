"""The file of kept answers: the bodies that collections used, each once, to be read again.

Owns: the SQLite file beside the database, what is in it, for how long and how much.
Must not know: what an answer means. Keys were taken out of bodies before they come here.

A body is known by its address, the hash of what it says; one that comes again is not stored again.
It is packed against its base: an earlier body of the same ask that is packed by itself. So reading
one takes two steps at most, and a base stays while anything is packed against it.
"""

import json
import os
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from crypto_pipeline import files
from crypto_pipeline.settings import Keeping
from crypto_pipeline.warehouse import Damaged, Locked, TooNew, Unavailable, WarehouseError

LAYOUT = 1

WAIT_S = 5.0
"""How long one writer waits for another."""

DELTAS = 24
"""Bodies that are packed against one base; the next one is a base itself. More would differ more
from it, and fewer would be bases too often."""

POOR = 0.5
"""A body that still takes this part of its base's room shows that the base has had its day."""

ROOM_MADE = 0.05
"""When the file is full this part of it is given up at once, so that it is seldom looked for."""

_DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_TABLES = """
CREATE TABLE collections (
    number INTEGER PRIMARY KEY, collection_id TEXT NOT NULL UNIQUE, started_at INTEGER NOT NULL,
    universe INTEGER);
CREATE TABLE asks (
    number INTEGER PRIMARY KEY, endpoint TEXT NOT NULL, each TEXT NOT NULL, fixed TEXT NOT NULL,
    base INTEGER, deltas INTEGER NOT NULL DEFAULT 0, UNIQUE (endpoint, each, fixed));
CREATE TABLE bodies (
    number INTEGER PRIMARY KEY AUTOINCREMENT, address BLOB NOT NULL UNIQUE,
    content_type TEXT NOT NULL, size INTEGER NOT NULL, base INTEGER, packed BLOB NOT NULL);
CREATE TABLE answers (
    collection INTEGER NOT NULL, place INTEGER NOT NULL, ask INTEGER NOT NULL,
    body INTEGER NOT NULL, received_at INTEGER NOT NULL, troubled INTEGER NOT NULL,
    PRIMARY KEY (collection, place)) WITHOUT ROWID;
"""
"""Times are microseconds since 1970. place: the order in which the answers were read. The number of
a body is never used again: somebody may be packing another against it."""

_UNUSED = (
    "DELETE FROM collections WHERE number NOT IN (SELECT collection FROM answers)",
    """CREATE TEMP TABLE used AS SELECT body FROM answers
    UNION SELECT universe FROM collections WHERE universe IS NOT NULL""",
    "DELETE FROM bodies WHERE base IS NOT NULL AND number NOT IN (SELECT body FROM used)",
    "INSERT INTO used SELECT DISTINCT base FROM bodies WHERE base IS NOT NULL",
    "DELETE FROM bodies WHERE number NOT IN (SELECT body FROM used)",
    "UPDATE asks SET base = NULL, deltas = 0 WHERE base NOT IN (SELECT number FROM bodies)",
    "DROP TABLE used",
)
"""What nothing refers to any more goes; at last the bases that have no delta left."""


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked: an endpoint, what stood for {each}, and the columns known beforehand, as
    JSON."""

    endpoint: str
    each: str = ""
    fixed: str = "{}"


UNIVERSE = Question("", "universe")
"""Whose body is the coins that a collection kept."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A body ready to be written. packed: None when the file has it already. base: the number of
    the body that it is packed against."""

    question: Question
    received_at: datetime
    address: bytes
    content_type: str
    size: int
    packed: bytes | None = None
    base: int | None = None
    poor: bool = False


@dataclass(slots=True)
class Brought:
    """What one endpoint brought. troubled: its answers are of use for longer."""

    bodies: list[Packed]
    troubled: bool


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """One answer as it was used; body None when what is in the file is not what was written."""

    question: Question
    body: bytes | None
    content_type: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class KeptCollection:
    """What is kept of a collection. universe: the coins that it kept, None for all."""

    id: str
    started_at: datetime
    universe: frozenset[str] | None
    answers: list[KeptAnswer]


@dataclass(frozen=True, slots=True)
class Amount:
    """Answers, the bytes that came, and what they take here."""

    name: str
    answers: int
    bytes: int
    packed: int

    @property
    def ratio(self) -> float:
        return self.bytes / self.packed if self.packed else 0.0


@dataclass(slots=True)
class Summary:
    """What is in the file: by day, by endpoint, the heaviest first, and as a whole."""

    file_bytes: int = 0
    collections: int = 0
    bodies: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None
    days: list[Amount] = field(default_factory=list)
    endpoints: list[Amount] = field(default_factory=list)

    @property
    def whole(self) -> Amount:
        days = self.days
        return Amount(
            "all", sum(d.answers for d in days), sum(d.bytes for d in days),
            sum(d.packed for d in days),
        )  # fmt: skip


def beside(database: Path) -> Path:
    """The file of the kept answers of a database."""
    return database.with_name(database.name + ".answers")


class KeptAnswers:
    """The file of kept answers; made by who writes first, for its owner alone.

    All that goes wrong is raised as a WarehouseError that names the file.
    """

    def __init__(self, file: Path, keeping: Keeping) -> None:
        self.file = file
        self._keeping = keeping
        self._note = file.with_name(file.name + ".why.txt")

    @property
    def why_not(self) -> str | None:
        """What kept the newest answers from being kept."""
        try:
            return self._note.read_text(encoding="utf-8")
        except (OSError, ValueError):
            return None

    def say_why_not(self, problem: str | None) -> None:
        """Leave word of it, for who asks `why_not`; None: they were kept."""
        with suppress(OSError):
            if problem is not None:
                files.write_private(self._note, problem)
            elif self._note.exists():
                self._note.unlink()

    # Opening

    @contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        """A connection, closed in any case; the file is made where there is none."""
        with self._telling():
            files.private_folder(self.file.parent)
            with suppress(FileExistsError):
                os.close(os.open(self.file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, files.OWNER))
            with closing(sqlite3.connect(self.file, WAIT_S, isolation_level=None)) as connection:
                _prepare(connection, self.file)
                yield connection

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Tell errors of SQLite and the system as what is wrong with the file."""
        try:
            yield
        except sqlite3.Error as problem:
            raise _named(problem, self.file) from None
        except OSError as problem:
            if isinstance(problem, WarehouseError):
                raise
            raise Unavailable(f"{self.file}: {problem.strerror or problem}") from None

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self.open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    # Writing

    def write(
        self,
        collection_id: str,
        started_at: datetime,
        universe: Packed | None,
        brought: Sequence[Brought],
    ) -> None:
        """Keep what a collection used, all of it or nothing; the oldest goes when there is no room.

        Written again under the same id it adds nothing.
        """
        with self._writing() as connection:
            if connection.execute(
                "SELECT 1 FROM collections WHERE collection_id = ?", (collection_id,)
            ).fetchone():
                return
            used = [body for endpoint in brought for body in endpoint.bodies]
            for packed in (*used, *([universe] if universe else [])):
                if packed.packed is not None:
                    _add(connection, packed)
            coins = _body(connection, universe) if universe else None
            if universe and coins is None:
                return  # what it was packed against has gone meanwhile
            (number,) = connection.execute(
                "INSERT INTO collections (collection_id, started_at, universe) VALUES (?, ?, ?) "
                "RETURNING number",
                (collection_id, _micros(started_at), coins),
            ).fetchone()
            _write_answers(connection, number, brought)
            if _used_bytes(connection) > self._keeping.most_bytes:
                self._make_room(connection)

    def _make_room(self, connection: sqlite3.Connection) -> int:
        """Give up the oldest answers, those without trouble first, until there is some room;
        returns how many."""
        dropped = 0
        enough = self._keeping.most_bytes * (1 - ROOM_MADE)
        for troubled in (0, 1):
            while _used_bytes(connection) > enough:
                found = connection.execute(
                    "SELECT number FROM collections c WHERE EXISTS (SELECT 1 FROM answers "
                    "WHERE collection = c.number AND troubled = ?) ORDER BY started_at, number",
                    (troubled,),
                ).fetchall()
                if not found:
                    break
                some = found[: max(1, round(len(found) * ROOM_MADE))]
                dropped += connection.executemany(
                    f"DELETE FROM answers WHERE collection = ? AND troubled = {troubled}", some
                ).rowcount
                _drop_unused(connection)
        return dropped

    def drop(self, at: datetime) -> int:
        """Drop what is older than it is kept, and give the room back; returns how many answers.

        Ages count from the newest collection where the clock is ahead of that: one that is wrong
        must not take everything.
        """
        if not self.file.exists():
            return 0
        with self._writing() as connection:
            (newest,) = connection.execute("SELECT max(started_at) FROM collections").fetchone()
            if newest is None:
                return 0
            now = min(_micros(at), newest)
            dropped = 0
            for troubled, age in enumerate((self._keeping.plain, self._keeping.troubled)):
                dropped += connection.execute(
                    "DELETE FROM answers WHERE troubled = ? AND collection IN "
                    "(SELECT number FROM collections WHERE started_at < ?)",
                    (troubled, now - age // timedelta(microseconds=1)),
                ).rowcount
            _drop_unused(connection)
            if _used_bytes(connection) > self._keeping.most_bytes:
                dropped += self._make_room(connection)
        with self.open() as connection:
            connection.executescript("PRAGMA incremental_vacuum")  # execute() takes one step of it
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return dropped

    # Reading

    def collections(
        self, endpoints: Collection[str], since: datetime, until: datetime
    ) -> Iterator[KeptCollection]:
        """What is kept of these endpoints of every collection that began in that time, the oldest
        first."""
        if not self.file.exists():
            return
        with self.open() as connection:
            bodies = _Bodies(connection)
            found = connection.execute(
                "SELECT number, collection_id, started_at, universe FROM collections "
                "WHERE started_at >= ? AND started_at < ? ORDER BY started_at, number",
                (_micros(since), _micros(until)),
            ).fetchall()
            marks = ", ".join("?" * len(endpoints))
            for number, collection_id, started_at, universe in found:
                rows = connection.execute(
                    "SELECT k.number, k.endpoint, k.each, k.fixed, a.body, a.received_at "
                    "FROM answers a JOIN asks k ON a.ask = k.number "
                    f"WHERE a.collection = ? AND k.endpoint IN ({marks}) ORDER BY a.place",
                    (number, *endpoints),
                ).fetchall()
                answers = [
                    KeptAnswer(Question(*question), *bodies.of(ask, body), _moment(received))
                    for ask, *question, body, received in rows
                ]
                coins = bodies.of(0, universe)[0] if universe else b"null"
                if coins is None:  # without them nobody knows which rows were kept
                    answers = [replace(answer, body=None) for answer in answers]
                wanted = json.loads(coins or b"null")
                wanted = None if wanted is None else frozenset(wanted)
                if answers:
                    yield KeptCollection(collection_id, _moment(started_at), wanted, answers)

    def summary(self) -> Summary:
        """What is in the file; nothing where there is none."""
        if not self.file.exists():
            return Summary()
        with self.open() as connection:
            done = Summary(file_bytes=self.file.stat().st_size)
            count, oldest, newest = connection.execute(
                "SELECT count(*), min(started_at), max(started_at) FROM collections"
            ).fetchone()
            done.collections = count
            if count:
                done.oldest, done.newest = _moment(oldest), _moment(newest)
            (done.bodies,) = connection.execute("SELECT count(*) FROM bodies").fetchone()
            micros = _DAY // timedelta(microseconds=1)
            day = f"date(a.received_at / {micros} * {micros} / 1000000, 'unixepoch')"
            done.days = _amounts(connection, day, "name")
            done.endpoints = _amounts(connection, "k.endpoint", "packed DESC, name")
            return done


class _Bodies:
    """Bodies by number; the base that an ask used last is kept unpacked."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._bases: dict[int, tuple[int, bytes | None]] = {}

    def of(self, ask: int, number: int) -> tuple[bytes | None, str]:
        """A body and its content type; None for one that is not what was written."""
        from crypto_pipeline.collection import deltas  # noqa: PLC0415  (only who reads one pays)

        found = self._connection.execute(
            "SELECT address, content_type, size, base, packed FROM bodies WHERE number = ?",
            (number,),
        ).fetchone()
        if found is None:
            return None, ""
        address, content_type, size, base, packed = found
        try:
            against = None if base is None else self._base(ask, base)
            body = deltas.unpacked(packed, size, against)
        except ValueError:
            return None, content_type
        return body if address_of(body, content_type) == address else None, content_type

    def _base(self, ask: int, number: int) -> bytes:
        known = self._bases.get(ask)
        if known is None or known[0] != number:
            known = self._bases[ask] = number, self.of(ask, number)[0]
        if known[1] is None:
            raise ValueError("what it was packed against is not what was written")
        return known[1]


def address_of(body: bytes, content_type: str) -> bytes:
    """What a body is known by; how it is read depends on its content type as well."""
    return sha256(content_type.encode() + b"\0" + body).digest()


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _moment(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def _prepare(connection: sqlite3.Connection, file: Path) -> None:
    """The file as this code writes it: with its tables, and with a log, so that nobody who reads
    waits for who writes. Raises TooNew."""
    (layout,) = connection.execute("PRAGMA user_version").fetchone()
    if layout > LAYOUT:
        raise TooNew(
            f"{file} has layout {layout}, this crypto_pipeline knows up to {LAYOUT}: update "
            "crypto_pipeline, or move the file away"
        )
    if not layout:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.execute("BEGIN IMMEDIATE")
        if not connection.execute("PRAGMA user_version").fetchone()[0]:  # nobody was faster
            for statement in filter(None, map(str.strip, _TABLES.split(";"))):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {LAYOUT}")
        connection.execute("COMMIT")
    # With a log nothing is damaged by a power cut without waiting for the disk at each commit.
    connection.execute("PRAGMA synchronous = NORMAL")


def _write_answers(connection: sqlite3.Connection, number: int, brought: Sequence[Brought]) -> None:
    """Which bodies a collection used; of an endpoint all of them, or none where one is gone."""
    place = 0
    for endpoint in brought:
        bodies = [_body(connection, packed) for packed in endpoint.bodies]
        if None in bodies:
            continue
        for packed, body in zip(endpoint.bodies, bodies, strict=True):
            ask, received = _ask(connection, packed.question), _micros(packed.received_at)
            connection.execute(
                "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?)",
                (number, place, ask, body, received, endpoint.troubled),
            )
            place += 1


def _add(connection: sqlite3.Connection, packed: Packed) -> None:
    """Write a body that is not here yet, unless what it is packed against is gone."""
    ask = _ask(connection, packed.question)
    added = connection.execute(
        "INSERT INTO bodies (address, content_type, size, base, packed) "
        "SELECT ?1, ?2, ?3, ?4, ?5 WHERE ?4 IS NULL OR EXISTS "
        "(SELECT 1 FROM bodies WHERE number = ?4 AND base IS NULL) "
        "ON CONFLICT DO NOTHING RETURNING number",
        (packed.address, packed.content_type, packed.size, packed.base, packed.packed),
    ).fetchone()
    if added and packed.base is None:
        connection.execute("UPDATE asks SET base = ?, deltas = 0 WHERE number = ?", (*added, ask))
    elif added:
        more = DELTAS if packed.poor else 1
        connection.execute("UPDATE asks SET deltas = deltas + ? WHERE number = ?", (more, ask))


def _ask(connection: sqlite3.Connection, question: Question) -> int:
    """The number of what was asked."""
    key = (question.endpoint, question.each, question.fixed)
    connection.execute(
        "INSERT INTO asks (endpoint, each, fixed) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", key
    )
    found = connection.execute(
        "SELECT number FROM asks WHERE endpoint = ? AND each = ? AND fixed = ?", key
    ).fetchone()
    return int(found[0])


def _body(connection: sqlite3.Connection, packed: Packed) -> int | None:
    """The number of a body; None for one that is not here."""
    found = connection.execute(
        "SELECT number FROM bodies WHERE address = ?", (packed.address,)
    ).fetchone()
    return found and int(found[0])


def _used_bytes(connection: sqlite3.Connection) -> int:
    """The room in the file that something is in."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _drop_unused(connection: sqlite3.Connection) -> None:
    for statement in _UNUSED:
        connection.execute(statement)


def _amounts(connection: sqlite3.Connection, name: str, order: str) -> list[Amount]:
    """Answers by what `name` says of them. A body counts where it was used first."""
    found = connection.execute(
        "WITH first AS (SELECT a.body, min(a.received_at), a.collection, a.place FROM answers a "
        "GROUP BY a.body), "
        f"answer AS (SELECT {name} AS name, b.size, CASE WHEN f.body IS NOT NULL "
        "THEN length(b.packed) ELSE 0 END AS packed FROM answers a "
        "JOIN asks k ON a.ask = k.number JOIN bodies b ON a.body = b.number "
        "LEFT JOIN first f ON (f.body, f.collection, f.place) = (a.body, a.collection, a.place)) "
        f"SELECT name, count(*), sum(size), sum(packed) AS packed FROM answer GROUP BY name "
        f"ORDER BY {order}"
    )
    return [Amount(*row) for row in found]


def _named(problem: sqlite3.Error, file: Path) -> WarehouseError:
    """An error of SQLite as what is wrong with the file, with what helps."""
    code: Any = getattr(problem, "sqlite_errorcode", None)
    if code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Locked(f"{file} is held by another program: {problem}")
    if code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return Damaged(f"{file} is damaged: {problem}. Move it away: a new one is begun then")
    return Unavailable(f"{file}: {problem}")
