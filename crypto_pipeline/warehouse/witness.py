"""What was stored last of a thing, as a witness of what is said of it now.

Owns: when a change is unusual, which is told, and when it is impossible, which is refused.
A source that was wrong before, and is right now, is believed a day later: then no witness is left.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from crypto_pipeline.tables import RejectedRow, Row
from crypto_pipeline.warehouse.sql import Connection, literal, names

REMEMBERED_HOURS = 24
"""How old the value may be that another is held against."""

SHOWN = 5
"""Unusual changes that are told; the rest are counted."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What the witness says of staged rows.

    refused: rows taken away, by endpoint; refused_on: the days of their rejects. unusual: the
    others that changed much, in words.
    """

    refused: Mapping[str, int] = field(default_factory=dict)
    refused_on: set[date] = field(default_factory=set)
    unusual: str | None = None


def hear(
    connection: Connection,
    model: type[Row],
    stage: str,
    *,
    stored: str | None = None,
    rejects: str = RejectedRow.table.name,
) -> Heard:
    """Hold staged rows against what was stored of the same things in the day before them; move
    those that cannot be to rejected_rows.

    stored, rejects: relations that stand in for the table and for rejected_rows.
    """
    table = model.table
    bounded = {c.name: c.jump for c in table.columns if c.jump}
    identity = [name for name in table.key if name not in table.filled_by("collection_id")]
    if not bounded:
        return Heard()
    last = ", ".join(f'arg_max("{c}", "{table.time}") AS "{c}"' for c in bounded)
    changes = ", ".join(
        f"{{'name': {literal(c)}, 'new': s.\"{c}\", 'old': last.\"{c}\", 'most': {most!r}}}"
        for c, most in bounded.items()
    )
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE stage_changes AS "
        f"WITH last AS (SELECT {names(identity)}, {last} FROM {stored or table.name} "
        f'WHERE "{table.time}" > (SELECT min("{table.time}") FROM {stage}) '
        f"- INTERVAL {REMEMBERED_HOURS} HOUR GROUP BY {names(identity)}), "
        f"change AS (SELECT s.rowid AS place, unnest([{changes}], recursive := true) "
        f"FROM {stage} s JOIN last USING ({names(identity)})) "
        "SELECT *, greatest(new / old, old / new) AS factor FROM change "
        f"WHERE new > 0 AND old > 0 AND greatest(new / old, old / new) > sqrt(most)"
    )
    return Heard(*_refuse(connection, model, stage, rejects), _unusual(connection))


def _refuse(
    connection: Connection, model: type[Row], stage: str, rejects: str
) -> tuple[dict[str, int], set[date]]:
    """Move the rows with a change that cannot be to rejected_rows; how many by endpoint, and on
    which days."""
    table = model.table
    source, at = table.filled_by("source")[0], table.filled_by("observed_at")[0]
    refused = f"{stage} s JOIN stage_changes c ON s.rowid = c.place AND c.factor > c.most"
    counted = connection.execute(
        f"SELECT _endpoint, count(DISTINCT place) FROM {refused} GROUP BY 1"
    ).fetchall()
    days = set[date]()
    if counted:
        columns = ("endpoint", "source", "feeds", "field", "reason", "record", "rejected_at")
        written = connection.execute(
            f"INSERT INTO {rejects} ({names((*columns, 'collection_id'))}) "
            f'SELECT _endpoint, s."{source}", {literal(table.name)}, c.name, '
            "format('{}: {:g}, and {:g} within the day before it', c.name, c.new, c.old), "
            f'left(to_json(s)::VARCHAR, 2000), s."{at}", s.collection_id FROM {refused} '
            "RETURNING rejected_at"
        ).fetchall()
        days = {at.date() for (at,) in written}
        connection.execute(
            f"DELETE FROM {stage} WHERE rowid IN "
            "(SELECT place FROM stage_changes WHERE factor > most)"
        )
    return dict(counted), days


def _unusual(connection: Connection) -> str | None:
    """The largest changes among those that can be."""
    found = connection.execute(
        "SELECT format('{} {:g} after {:g}', name, new, old) FROM stage_changes "
        "WHERE factor <= most ORDER BY factor DESC"
    ).fetchall()
    if not found:
        return None
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(words for (words,) in found[:SHOWN]) + more
