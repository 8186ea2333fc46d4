"""The vocabulary of tables: a row model, its columns, and what follows from them.

Owns: what a column says of itself (type, unit, meaning, range) and how a table is written.
Must not know: any table by name, sources, DuckDB, Dagster.
"""

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, Strict
from pydantic.fields import FieldInfo

Write = Literal["append", "insert", "upsert", "replace"]
"""append: every row; insert: rows whose key is new; upsert: new or changed; replace: the whole."""

Fill = Literal["source", "observed_at", "collection_id"]
"""What the engine puts into a column when a source's row function leaves it out."""

Text = Annotated[str, Field(min_length=1)]
Symbol = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[^\sa-z]+$")]
Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Change = Annotated[float, Field(ge=-100, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Time = Annotated[AwareDatetime, Strict()]

_DUCKDB_TYPES: Mapping[Any, str] = {
    str: "VARCHAR",
    float: "DOUBLE",
    int: "BIGINT",
    bool: "BOOLEAN",
    datetime: "TIMESTAMPTZ",
    list[str]: "VARCHAR[]",
}


class TableError(ValueError):
    """A table is declared wrongly; raised at import, names the table and the column."""


def column(
    description: str,
    *,
    unit: str | None = None,
    decimals: int | None = None,
    fill: Fill | None = None,
    default: Any = ...,
) -> Any:
    """Declare a column: what it means, its unit, and how many decimals are worth keeping.

    Rounding to `decimals` happens on the way into the file: digits below a cent of a volume are
    noise of the arithmetic, and cost five bytes a value.
    """
    about: dict[str, JsonValue] = {"unit": unit, "decimals": decimals, "fill": fill}
    return Field(default=default, description=description, json_schema_extra=about)


def optional(description: str, **about: Any) -> Any:
    """Declare a column that may be NULL."""
    return column(description, default=None, **about)


@dataclass(frozen=True, slots=True)
class Column:
    """One column as every surface sees it: DDL, comments, the Dagster schema, the docs."""

    name: str
    type: str
    nullable: bool
    description: str
    unit: str | None
    decimals: int | None
    fill: Fill | None
    bounds: tuple[tuple[str, float], ...]

    @property
    def range(self) -> str:
        """The bounds in words, e.g. "≥ 0, ≤ 100"; empty when there are none."""
        return ", ".join(f"{_SIGNS.get(op, op)} {bound:g}" for op, bound in self.bounds)


@dataclass(frozen=True, slots=True)
class Table:
    """What a table is, apart from its columns: group, key, how rows are written, and for how long
    they are kept (None: for ever)."""

    name: str
    group: str
    write: Write
    key: tuple[str, ...]
    time: str | None
    window: timedelta | None
    keep: timedelta | None
    universe: bool
    any_of: tuple[str, ...]
    columns: tuple[Column, ...]
    summary: str
    description: str
    fills: Mapping[Fill, tuple[str, ...]] = field(repr=False)

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.columns)

    def filled_by(self, fill: Fill) -> tuple[str, ...]:
        return self.fills.get(fill, ())


class Row(BaseModel):
    """A row of a table. Subclasses are declarations; `Row.table` holds what follows from one.

    Numbers may arrive as strings. Times must be datetimes with a zone: whether an integer meant
    seconds or milliseconds is for the source to say, never for the validator to guess.
    """

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, defer_build=True)

    table: ClassVar[Table]

    def __init_subclass__(cls, **declared: Any) -> None:
        super().__init_subclass__()  # what was declared is for the pydantic hook below

    @classmethod
    def __pydantic_init_subclass__(  # type: ignore[override]  # named instead of **kwargs
        cls,
        *,
        table: str,
        group: str,
        write: Write = "append",
        key: tuple[str, ...] = (),
        time: str | None = None,
        window: timedelta | None = None,
        keep: timedelta | None = None,
        universe: bool = False,
        any_of: tuple[str, ...] = (),
    ) -> None:
        columns = tuple(_columns(table, cls.model_fields))
        names = [c.name for c in columns]
        for asked in (*key, *any_of, *([time] if time else [])):
            if asked not in names:
                raise TableError(f"table {table}: no column {asked!r} (has: {', '.join(names)})")
        if write != "append" and not key:
            raise TableError(f"table {table}: write={write!r} needs a key")
        if (window or keep) and not time:
            raise TableError(f"table {table}: a window needs the time column it is measured on")
        description = " ".join((cls.__doc__ or "").split())
        if not description:
            raise TableError(f"table {table}: a docstring says what one row is")
        fills: dict[Fill, tuple[str, ...]] = {}
        for c in columns:
            if c.fill:
                fills[c.fill] = (*fills.get(c.fill, ()), c.name)
        cls.table = Table(
            name=table,
            group=group,
            write=write,
            key=key,
            time=time,
            window=window,
            keep=keep,
            universe=universe,
            any_of=any_of,
            columns=columns,
            summary=description.split(". ")[0].rstrip(".") + ".",
            description=description,
            fills=fills,
        )

    def finished(self, observed_at: datetime) -> bool:
        """Whether the row says something that will not change any more (a closed candle)."""
        return True

    def missing(self) -> str | None:
        """Name what a row must not lack altogether, or None when it has some of it."""
        any_of = self.table.any_of
        if any_of and all(getattr(self, name) is None for name in any_of):
            return f"none of {', '.join(any_of)} has a value"
        return None


def _columns(table: str, fields: Mapping[str, FieldInfo]) -> Iterator[Column]:
    for name, info in fields.items():
        about = info.json_schema_extra
        if not isinstance(about, dict) or not info.description:
            raise TableError(f"table {table}: column {name!r} is not declared with column()")
        kind, nullable = _unwrap(info.annotation)
        if kind not in _DUCKDB_TYPES:
            raise TableError(f"table {table}: column {name!r} has no DuckDB type for {kind!r}")
        fill, unit, decimals = about["fill"], about["unit"], about["decimals"]
        yield Column(
            name=name,
            type=_DUCKDB_TYPES[kind],
            nullable=nullable,
            description=info.description,
            unit=unit if isinstance(unit, str) else None,
            decimals=decimals if isinstance(decimals, int) else None,
            fill=fill,  # type: ignore[arg-type]
            bounds=_bounds(info),
        )


def _unwrap(annotation: Any) -> tuple[Any, bool]:
    """The bare Python type behind Annotated and Optional, and whether None is allowed."""
    nullable = False
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation = get_args(annotation)[0]
        elif origin in (Union, types.UnionType):
            inner = [a for a in get_args(annotation) if a is not type(None)]
            nullable = len(inner) < len(get_args(annotation))
            annotation = inner[0]
        else:
            return (datetime if annotation is AwareDatetime else annotation), nullable


_BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
_SIGNS = {">=": "≥", "<=": "≤"}


def _bounds(info: FieldInfo) -> tuple[tuple[str, float], ...]:
    """The declared bounds as (operator, number), without those of the integer type itself."""
    found = list(info.metadata)
    for part in get_args(info.annotation) or ():
        if get_origin(part) is Annotated:
            found += get_args(part)[1:]
    bounds = [
        (op, float(bound))
        for item in found
        for inner in [item, *getattr(item, "metadata", [])]
        for name, op in _BOUNDS.items()
        if isinstance(bound := getattr(inner, name, None), int | float) and abs(bound) < 2**63
    ]
    return tuple(dict.fromkeys(bounds))
