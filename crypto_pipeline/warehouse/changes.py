"""What a transaction changed in the file, for who publishes it.

Owns: which rows were only added, and which days or tables may have changed otherwise.
Must not know: how it is published.
"""

from dataclasses import dataclass, field
from datetime import date

from crypto_pipeline.tables import Row
from crypto_pipeline.warehouse.sql import Connection

Days = dict[str, set[date]]
"""Days, in UTC, by table."""


@dataclass(slots=True)
class Changes:
    """What a transaction changed.

    parts: the temporary table of the rows that were added to a table, or that replace others of
    their key; and `days_of_parts`. days: days of a table of which anything may have changed.
    wholes: tables without a time that changed. everything: whatever is in the file may have.
    """

    parts: dict[str, str] = field(default_factory=dict)
    days_of_parts: Days = field(default_factory=dict)
    days: Days = field(default_factory=dict)
    wholes: set[str] = field(default_factory=set)
    everything: bool = False

    def added(self, connection: Connection, model: type[Row], relation: str) -> None:
        """The rows of a temporary table were written: they stay as they are until the changes are
        published."""
        table = model.table
        if table.time is None:
            self.wholes.add(table.name)
            return
        days = days_in(connection, relation, table.time)
        if table.name in self.parts:  # what was staged before is there no more
            self.touched(table.name, self.days_of_parts.pop(table.name) | days)
            del self.parts[table.name]
        elif table.name in self.days:
            self.touched(table.name, days)
        else:
            self.parts[table.name] = relation
            self.days_of_parts[table.name] = days

    def touched(self, table: str, days: set[date]) -> None:
        """Anything may have changed on these days of a table."""
        if days:
            self.days.setdefault(table, set()).update(days)

    def all_days(self) -> Days:
        """Every day that changed in any way, by table."""
        both = self.days_of_parts, self.days
        return {t: set().union(*(days.get(t, ()) for days in both)) for t in {*both[0], *both[1]}}


def days_in(connection: Connection, relation: str, time: str, where: str = "true") -> set[date]:
    """The days of the rows of a relation. The connection's time zone is UTC."""
    found = connection.execute(
        f'SELECT DISTINCT epoch_us("{time}") // 86400000000 FROM {relation} WHERE {where}'
    ).fetchall()
    return {date.fromordinal(_EPOCH + day) for (day,) in found if day is not None}


_EPOCH = date(1970, 1, 1).toordinal()
