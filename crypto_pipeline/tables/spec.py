"""The vocabulary of tables: a row model, its columns, and what follows from them.

Owns: what a column says of itself (type, unit, meaning, range) and how a table is written.
Must not know: any table by name, sources, how DuckDB is asked, Dagster.
"""

import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal, Self, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
)
from pydantic.fields import FieldInfo

from crypto_pipeline.groups import ANALYTICS, Group
from crypto_pipeline.text import LONGEST, STORABLE, storable

Write = Literal["append", "insert", "upsert", "replace"]
"""append: every row; insert: rows whose key is new; upsert: new or changed; replace: the whole."""

Fill = Literal["source", "observed_at", "collection_id", "written_at"]
"""What the engine puts into a column when a source's row function leaves it out; written_at is the
warehouse's own, of the transaction that brings the row into the file."""

Text = Annotated[str, Field(min_length=1, max_length=LONGEST, pattern=STORABLE)]
Words = Annotated[str, BeforeValidator(storable), Field(min_length=1)]
"""What the pipeline itself says, or quotes: made storable, never refused."""


def _no_leftover(value: str) -> str:
    """Refuse what Python makes of no value: an id that is none names nothing."""
    if value in _LEFTOVERS:
        raise ValueError(f"{value} is no id")
    return value


_LEFTOVERS = frozenset({"None", "True", "False", "nan", "inf", "-inf", "{}", "[]", "()"})
Id = Annotated[Text, AfterValidator(_no_leftover)]
"""What a source calls a thing by."""
Symbol = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[^\sa-z\p{Cc}]+$")]
LARGEST = 1e60
"""No number of this world is larger, and the product of five such is a number still: one that is
infinite would keep a whole collection from being written."""

Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, le=LARGEST, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, le=LARGEST, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Change = Annotated[float, Field(ge=-100, le=LARGEST, allow_inf_nan=False)]
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


@dataclass(frozen=True, slots=True)
class Window:
    """Where a time may lie, measured from the moment its answer came.

    behind: how far back, None for any age. ahead: how far in the future. A time outside is not what
    it is sold as, which costs its record; or_null: it costs its own column alone.
    """

    behind: timedelta | None
    ahead: timedelta
    or_null: bool = False


class TableError(ValueError):
    """A table is declared wrongly; raised at import, names the table and the column."""


class Struct(BaseModel):
    """What a column may hold a list of: fields that are declared with `column` like a row's."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def column(
    description: str,
    *,
    unit: str | None = None,
    decimals: int | None = None,
    fill: Fill | None = None,
    within: Window | None = None,
    jump: float | None = None,
    default: Any = ...,
) -> Any:
    """Declare a column: what it means, its unit, and how many decimals are worth keeping.

    Rounding to `decimals` happens on the way into the file: digits below a cent of a volume are
    noise of the arithmetic, and cost five bytes a value. A time that a source gives says in
    `within` where it may lie. jump: the factor by which a value cannot change within a day; its
    square root is unusual.
    """
    about: dict[str, Any] = {"unit": unit, "decimals": decimals, "fill": fill}
    about |= {"within": within, "jump": jump}
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
    within: Window | None
    jump: float | None

    @property
    def range(self) -> str:
        """The bounds in words, e.g. "≥ 0, ≤ 100"; empty when there are none."""
        return ", ".join(f"{_SIGNS.get(op, op)} {bound:g}" for op, bound in self.bounds)


FIRST_SEEN = Column(
    name="first_seen_at",
    type="TIMESTAMPTZ",
    nullable=True,
    description="When the row came into this file, as it is now; later than it was observed, more "
    "so where it waited in the spool. NULL: before the file kept that",
    unit=None,
    decimals=None,
    fill="written_at",
    bounds=(),
    within=None,
    jump=None,
)
"""What every table that keeps its rows has besides, so that the past can be asked what it knew."""


@dataclass(frozen=True, slots=True)
class Table:
    """What a table is, apart from its columns: key, how rows are written, and for how long they are
    kept (None: for ever). collected_in: the group it is collected with, None for what the pipeline
    keeps about itself. computed_from: the tables it is made of in each collection, none for what
    sources say. past_of: the table whose rows come here when others replace them. zeros: a row may
    say nothing but zeros; elsewhere an answer of such rows alone is none."""

    name: str
    collected_in: Group | None
    write: Write
    key: tuple[str, ...]
    time: str | None
    window: timedelta | None
    keep: timedelta | None
    universe: bool
    any_of: tuple[str, ...]
    computed_from: tuple[str, ...]
    past_of: str | None
    zeros: bool
    columns: tuple[Column, ...]
    description: str

    def __post_init__(self) -> None:
        def wrong(why: str) -> TableError:
            return TableError(f"table {self.name}: {why}")

        names = self.column_names
        for name in (*self.key, *self.any_of, *([self.time] if self.time else [])):
            if name not in names:
                raise wrong(f"no column {name!r} (has: {', '.join(names)})")
        if self.write != "append" and not self.key:
            raise wrong(f"write={self.write!r} needs a key")
        if (self.window or self.keep) and not self.time:
            raise wrong("a window needs the time column it is measured on")
        if not self.description:
            raise wrong("a docstring says what one row is")

    @property
    def group(self) -> Group:
        """The group it is collected with. Raises TableError for a table that no source feeds."""
        if self.collected_in is None:
            raise TableError(f"table {self.name}: is of no group, the pipeline itself fills it")
        return self.collected_in

    @property
    def shown_in(self) -> str:
        """The group that Dagster shows it in. Raises TableError, as `group` does."""
        return ANALYTICS if self.computed_from else self.group.name

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.columns)

    def filled_by(self, fill: Fill) -> tuple[str, ...]:
        """The columns that the engine fills with this, where a source's row function does not."""
        return tuple(c.name for c in self.columns if c.fill == fill)


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
        group: Group | None = None,
        write: Write = "append",
        key: tuple[str, ...] = (),
        time: str | None = None,
        window: timedelta | None = None,
        keep: timedelta | None = None,
        universe: bool = False,
        any_of: tuple[str, ...] = (),
        computed_from: tuple[type["Row"], ...] = (),
        past_of: type["Row"] | None = None,
        zeros: bool = False,
    ) -> None:
        kept = (FIRST_SEEN,) if group and write != "replace" else ()
        cls.table = Table(
            name=table,
            collected_in=group,
            write=write,
            key=key,
            time=time,
            window=window,
            keep=keep,
            universe=universe,
            any_of=any_of,
            computed_from=tuple(model.table.name for model in computed_from),
            past_of=past_of.table.name if past_of else None,
            zeros=zeros,
            columns=(*_columns(table, cls.model_fields), *kept),
            description=" ".join((cls.__doc__ or "").split()),
        )

    def wanted(self, observed_at: datetime) -> bool:
        """Whether the row is of the kind the table keeps: a closed candle, a large transfer."""
        return True

    def mark(self, observed_at: datetime, stale_after: timedelta) -> None:
        """Write into the row what it may not be used for, by its own age and size."""

    @classmethod
    def misfits(cls, rows: Sequence[Self]) -> Iterator[tuple[int | None, str]]:
        """What rows of one answer say of one another: the place of one that cannot be, or None
        for the whole answer, and why."""
        yield from ()

    def says_nothing(self) -> bool:
        """Whether all the numbers in it are zero."""
        numbers = [v for v in self.__dict__.values() if isinstance(v, int | float)]
        return bool(numbers) and not any(numbers)

    def missing(self) -> str | None:
        """Name what a row must not lack altogether, or None when it has some of it."""
        any_of = self.table.any_of
        if any_of and all(getattr(self, name) is None for name in any_of):
            return f"none of {', '.join(any_of)} has a value"
        return None


def _columns(table: str, fields: Mapping[str, FieldInfo]) -> Iterator[Column]:
    for name, info in fields.items():
        about: Any = info.json_schema_extra
        if not isinstance(about, dict) or not info.description:
            raise TableError(f"table {table}: column {name!r} is not declared with column()")
        kind, nullable = _unwrap(info.annotation)
        struct = _struct(kind)
        inner = tuple(_columns(table, struct.model_fields)) if struct else ()
        yield Column(
            name=name,
            type=_duckdb_type(table, name, kind, inner),
            nullable=nullable,
            description=_description(info.description, inner),
            bounds=_bounds(info),
            **about,
        )


def _struct(kind: Any) -> type[Struct] | None:
    """The Struct that a column of this kind holds a list of."""
    inner = get_args(kind)[0] if get_origin(kind) is list else None
    return inner if isinstance(inner, type) and issubclass(inner, Struct) else None


def _duckdb_type(table: str, column: str, kind: Any, fields: tuple[Column, ...]) -> str:
    if fields:
        return "STRUCT(" + ", ".join(f"{c.name} {c.type}" for c in fields) + ")[]"
    if get_origin(kind) is Literal:
        return "VARCHAR"
    if kind not in _DUCKDB_TYPES:
        raise TableError(f"table {table}: column {column!r} has no DuckDB type for {kind!r}")
    return _DUCKDB_TYPES[kind]


def _description(description: str, fields: tuple[Column, ...]) -> str:
    """What a column means; of a list of structs, each field as well."""
    if not fields:
        return description
    meanings = (f"{c.name}: {c.description}" + (f" [{c.unit}]" if c.unit else "") for c in fields)
    return f"{description}. " + "; ".join(meanings)


def words_of(kind: Any) -> str:
    """The values of a Literal in words: "a, b or c"."""
    *others, last = get_args(kind)
    return f"{', '.join(others)} or {last}" if others else str(last)


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
