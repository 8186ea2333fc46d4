"""The keeper: packs the bodies that a collection uses as they come, and keeps them at its end.

Owns: which answers are kept, and that what is wrong with keeping them costs a collection nothing
but them.
Must not know: what an answer means, how packed bodies are stored.
"""

import json
import logging
import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from crypto_pipeline import files, settings
from crypto_pipeline.collection.exchange import Answer
from crypto_pipeline.collection.kept_answers import (
    DELTAS,
    POOR,
    UNIVERSE,
    Brought,
    KeptAnswers,
    Packed,
    Question,
    address_of,
    beside,
)
from crypto_pipeline.sources.spec import Ask, Endpoint
from crypto_pipeline.warehouse import Unavailable, Warehouse

log = logging.getLogger(__name__)


class Keeper:
    """Packs what one collection uses; use it as a context manager.

    kept: the file, or None when nothing is kept. Whatever goes wrong is the `problem`; from then on
    nothing of this collection is kept.
    """

    def __init__(self, kept: KeptAnswers | None) -> None:
        self.problem: str | None = None
        self._kept = kept
        self._connection: sqlite3.Connection | None = None
        self._closing = ExitStack()
        self._known: dict[bytes, Packed] = {}

    def __enter__(self) -> "Keeper":
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def pack(self, endpoint: Endpoint, ask: Ask, answer: Answer) -> Packed | None:
        """An answer's body, packed: only one of status 200 can become rows. Never raises for what
        is wrong with the file."""
        if answer.status != 200 or not answer.body:
            return None
        fixed = json.dumps(dict(ask.fixed), sort_keys=True, default=str)
        question = Question(endpoint.id, ask.each, fixed)
        return self._pack(question, answer.body, answer.content_type, answer.received_at)

    def keep(
        self,
        collection_id: str,
        started_at: datetime,
        universe: frozenset[str] | None,
        brought: Iterable[Brought],
    ) -> None:
        """Write what was packed, all of it or nothing, and leave word when that could not be.
        universe: the coins that the collection kept, None for all."""
        if self._kept is None:
            return
        found = [endpoint for endpoint in brought if endpoint.bodies]
        if found and self.problem is None:
            try:
                coins = None
                if universe is not None:
                    text = json.dumps(sorted(universe)).encode()
                    coins = self._pack(UNIVERSE, text, "", started_at)
                if self.problem is None:
                    self._kept.write(collection_id, started_at, coins, found)
            except Exception as problem:  # the wall: rows are what matters
                self._give_up(problem)
        if found or self.problem:
            self._kept.say_why_not(self.problem)

    def _pack(
        self, question: Question, body: bytes, content_type: str, at: datetime
    ) -> Packed | None:
        if self._kept is None or self.problem:
            return None
        try:
            address = address_of(body, content_type)
            known = self._known.get(address)
            if known is None:
                known = self._new(question, address, body, content_type, at)
                self._known[address] = known
                return known
            return Packed(question, at, address, content_type, known.size)
        except Exception as problem:  # the wall: rows are what matters
            self._give_up(problem)
            return None

    def _new(
        self, question: Question, address: bytes, body: bytes, content_type: str, at: datetime
    ) -> Packed:
        """A body that came for the first time in this collection."""
        from crypto_pipeline.collection import deltas  # noqa: PLC0415  (only who packs pays for it)

        connection = self._open()
        here = connection.execute("SELECT 1 FROM bodies WHERE address = ?", (address,)).fetchone()
        if here:
            return Packed(question, at, address, content_type, len(body))
        base = connection.execute(
            "SELECT b.number, b.size, b.packed FROM asks k JOIN bodies b ON b.number = k.base "
            f"WHERE k.endpoint = ? AND k.each = ? AND k.fixed = ? AND k.deltas < {DELTAS}",
            (question.endpoint, question.each, question.fixed),
        ).fetchone()
        number, against, poor = None, None, False
        if base:
            number, against = base[0], deltas.unpacked(base[2], base[1])
        packed = deltas.packed(body, against)
        if base:
            poor = len(packed) > POOR * len(base[2])
        return Packed(question, at, address, content_type, len(body), packed, number, poor)

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            assert self._kept is not None  # noqa: S101  (asked of before)
            _require_room(self._kept.file.parent)
            self._connection = self._closing.enter_context(self._kept.open())
        return self._connection

    def _give_up(self, problem: Exception) -> None:
        file = self._kept.file if self._kept else ""
        words = str(problem) if str(file) in str(problem) else f"{file}: {problem}"
        self.problem = f"the answers of this collection are not kept: {words}"
        log.warning("%s", self.problem)


def _require_room(folder: Path) -> None:
    """Raises Unavailable where the disk is nearly full: what is left of it is for rows."""
    files.private_folder(folder)
    free = shutil.disk_usage(folder).free
    if free < settings.least_free_bytes():
        raise Unavailable(f"{folder}: {free / 2**30:.1f} GiB are free, and they are left for rows")


def keeper_of(warehouse: Warehouse) -> Keeper:
    """The keeper beside a warehouse, as it is set."""
    keeping = settings.keeping()
    return Keeper(KeptAnswers(beside(warehouse.path), keeping) if keeping else None)
