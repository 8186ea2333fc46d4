"""Dagster's event log in small pages; dagster.yaml names it.

Every run has a SQLite database of its own: two dozen tables and indexes, nearly all of them empty,
each of which takes a page. With pages of one kibibyte instead of four a day of collections writes
half as much (`make bench` prints it).
"""

import os
from pathlib import Path
from typing import Any, Self

from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from sqlalchemy import Engine, event

PAGE_BYTES = 1024


class SmallPages(SqliteEventLogStorage):
    """Dagster's own SQLite storage, in $DAGSTER_HOME/history/runs as ever.

    Databases that are there already keep their pages.
    """

    @classmethod
    def config_type(cls) -> Any:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> Self:
        return cls(str(Path(os.environ["DAGSTER_HOME"]) / "history" / "runs"), inst_data)

    def _initdb(self, engine: Engine, for_index_shard: bool = False) -> None:
        event.listen(engine, "connect", _small_pages)
        super()._initdb(engine, for_index_shard)


def _small_pages(connection: Any, _: Any) -> None:
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
