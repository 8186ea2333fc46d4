"""One line for each endpoint of a collection, in a file beside the database.

Owns: what a line says, how it is written down, and that the files stay small.
Must not know: what a reason means. Secrets are taken out of it before it comes here.
"""

import json
import logging
import re
import sys
from collections.abc import Mapping
from contextlib import closing
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from crypto_pipeline import files
from crypto_pipeline.collection.results import Collection, Result
from crypto_pipeline.settings import LogForm
from crypto_pipeline.warehouse import Warehouse

FILE_BYTES = 10_000_000
FILES = 5
"""The newest and those it was rotated to: all that is ever kept."""

WAIT_S = 2.0
"""How long a collection waits while another one writes its lines."""

_PLAIN = re.compile(r'[^\s"=\\]+')

Value = str | int | None


class _File(RotatingFileHandler):
    def _open(self) -> Any:
        return open(self.baseFilename, self.mode, encoding=self.encoding, opener=files.private)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's name)
        """Let the problem out: logging would print it to a run's stderr and go on."""
        problem = sys.exception()
        if problem:
            raise problem


def log_of(database: Path) -> Path:
    """The newest log of a database, beside it."""
    return database.with_suffix(".log")


def write(collection: Collection, warehouse: Warehouse, form: LogForm) -> str | None:
    """Write a collection's lines in the order in which its endpoints ended.

    Gives why that could not be done, or None: it fails no collection. All lines go in one piece and
    under a lock, since a process that rotates the file would lose what another one writes to it.
    """
    ended = sorted(collection.results, key=lambda r: r.finished_at)
    # Most endpoints of most collections are not due: that is no event.
    lines = [line(r, collection, form) for r in ended if not r.not_due]
    if not lines:
        return None
    file = log_of(warehouse.path)
    try:
        with warehouse.lock("log", WAIT_S) as held:
            if not held:
                return f"{file} got no lines: another collection was writing to it"
            handler = _File(
                file,
                maxBytes=FILE_BYTES,
                backupCount=FILES - 1,
                encoding="utf-8",
                delay=True,
            )
            with closing(handler):
                handler.emit(logging.makeLogRecord({"msg": "\n".join(lines)}))
    except OSError as problem:
        return f"{file} got no lines: {problem}"
    return None


def line(result: Result, collection: Collection, form: LogForm) -> str:
    """How an endpoint ended, in one line whatever its reason is made of."""
    endpoint = result.endpoint
    values: dict[str, Value] = {
        "time": result.finished_at.isoformat(timespec="milliseconds"),
        "collection": collection.id,
        "kind": collection.type,
        "endpoint": endpoint.id,
        "source": endpoint.source.name,
        "table": endpoint.model.table.name,
        "outcome": result.outcome,
        "skip": result.skip,
        "reason": result.reason,
        "records": result.records,
        "rows": len(result.rows),
        "kept": collection.kept if result.rows else None,
        "left_out": result.left_out,
        "rejects": len(result.rejects),
        "bytes": result.bytes_received,
        "latency_ms": None if result.latency_ms is None else round(result.latency_ms),
        "attempts": len(result.attempts),
    }
    return _json(values) if form == "json" else _logfmt(values)


def _logfmt(values: Mapping[str, Value]) -> str:
    """key=value; what there is not is left out."""
    return " ".join(f"{k}={_value(v)}" for k, v in values.items() if v is not None)


def _value(value: str | int) -> str:
    if isinstance(value, int):
        return str(value)
    return value if _PLAIN.fullmatch(value) and value.isprintable() else _json(value)


def _json(value: Mapping[str, Value] | str) -> str:
    """Readable, and without what some reader takes for the end of a line."""
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else json.dumps(value)
