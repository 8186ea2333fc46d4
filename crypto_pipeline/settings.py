"""What a user may set, read from the environment when it is asked for, never at import.

Owns: each setting once: its variable, its default, how its text is read, what it means. The
documents follow from that. Calling a setting gives its value.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import urlsplit

from crypto_pipeline.cron import check as check_cron
from crypto_pipeline.groups import GROUPS, Group

T_co = TypeVar("T_co", covariant=True)

LogForm = Literal["logfmt", "json"]

PREFIX = "CRYPTO_PIPELINE_"
"""What the names of our own settings begin with."""


class SettingError(ValueError):
    """An environment variable has a value that cannot be used; names it and what would do."""


@dataclass(frozen=True, slots=True)
class Setting(Generic[T_co]):
    """One variable of the environment. Calling it reads it; raises SettingError.

    default: the text that stands for one that is not set, "" for none; `unset` then says what that
    comes to. parse: makes the value of a text, and raises ValueError with what would do. example:
    what .env.example shows instead of the default.
    """

    name: str
    default: str
    parse: Callable[[str], T_co]
    meaning: str
    example: str = ""
    unset: str = "none"

    def __call__(self) -> T_co:
        try:
            return self.parse(self.text)
        except ValueError as problem:
            raise self.wrong(str(problem)) from None

    @property
    def text(self) -> str:
        """What is set, or else the default: nothing but blanks is as if it were not set."""
        return os.environ.get(self.name, "").strip() or self.default

    def wrong(self, why: str) -> SettingError:
        """The error for what is set now; a password in a URL is left out of it."""
        shown = re.sub(r"//[^/@\s]*@", "//…@", self.text)
        return SettingError(f"{self.name}={shown!r}: {why}")


@dataclass(frozen=True, slots=True)
class Universe:
    """Which coins are kept: the `top` by market capitalisation, a list of tickers, or all."""

    top: int | None = None
    symbols: tuple[str, ...] = ()

    @property
    def all(self) -> bool:
        return self.top is None and not self.symbols


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long answers are kept, those with trouble longer, and the most bytes of all of them."""

    plain: timedelta
    troubled: timedelta
    most_bytes: int


# How texts are read

SHORTEST_KEY = 4
"""Characters of an API key: one or two are in every answer, and would be hidden everywhere."""

MOST_DAYS = 36_500
"""A hundred years: who means longer means for ever."""


def _path(text: str) -> Path:
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise ValueError("a path has no line break, and no other control character")
    return Path(text).absolute()


def _optional_path(text: str) -> Path | None:
    return _path(text) if text else None


def _folder(text: str) -> Path | None:
    if text and not (Path(text).is_absolute() and Path(text).is_dir()):
        raise ValueError("give an absolute path to a folder that exists")
    return Path(text) if text else None


def _url(text: str) -> str:
    parts = urlsplit(text)
    plain = not re.search(r"[\s\x00-\x1f\x7f]", text)
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
        raise ValueError("not a URL; give one such as http://HOST:PORT")
    if parts.port == 0:  # a port out of range is a ValueError of its own
        raise ValueError("no port is 0")
    return text.rstrip("/")


def _optional_url(text: str) -> str | None:
    return _url(text) if text else None


def _urls(text: str) -> tuple[str, ...]:
    urls = tuple(_url(url) for url in text.split())
    for url in urls:
        parts = urlsplit(url)
        if parts.path or parts.query or parts.fragment or parts.username is not None:
            raise ValueError("give what a browser is given up to the path: https://HOST:PORT")
    return urls


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e9:
        raise ValueError("give a number, such as 2 or 0.5")
    return number


def _days(text: str) -> timedelta:
    number = _number(text)
    if number > MOST_DAYS:
        raise ValueError(f"give days, at most {MOST_DAYS}")
    return timedelta(days=number)


def _gibibytes(text: str) -> int:
    return round(_number(text) * 2**30)


def _universe(text: str) -> Universe:
    if text.lower() == "all":
        return Universe()
    if text.lower().startswith("top:"):
        count = text[4:]
        if not count.isdecimal() or int(count) < 1:
            raise ValueError("give a number of coins, such as top:250")
        return Universe(top=int(count))
    symbols = tuple(dict.fromkeys(s.strip().upper() for s in text.split(",") if s.strip()))
    if not symbols or any(" " in s for s in symbols):
        raise ValueError("give top:N, all, or tickers such as BTC,ETH,SOL")
    return Universe(symbols=symbols)


def _cron(text: str) -> str:
    check_cron(text)
    return text


def _ages(text: str) -> dict[str, timedelta | None]:
    """Ages by table; None is for ever."""
    ages: dict[str, timedelta | None] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        table, _, days = part.partition(":")
        if days != "for_ever" and not (days.isdecimal() and int(days) > 0):
            raise ValueError(
                f"{part!r}: give days by table, such as market_prices:90 or market_prices:for_ever"
            )
        if table in ages:
            raise ValueError(f"{table} is there twice")
        ages[table] = None if days == "for_ever" else _days(days)
    return ages


def _log_form(text: str) -> LogForm:
    match text.lower():
        case "json":
            return "json"
        case "logfmt":
            return "logfmt"
    raise ValueError("give logfmt or json")


# The settings

database = Setting("CRYPTO_PIPELINE_DATABASE", "data/crypto_data.duckdb", _path, "the DuckDB file")

universe = Setting(
    "CRYPTO_PIPELINE_UNIVERSE",
    "top:250",
    _universe,
    "coins kept: `top:N` by market capitalisation, a list such as `BTC,ETH`, or `all`",
)

crons: Mapping[Group, Setting[str]] = {
    group: Setting(
        f"CRYPTO_PIPELINE_{group.name.upper()}_CRON",
        group.cron,
        _cron,
        f"the schedule `{group.schedule}`: five fields of cron, UTC",
    )
    for group in GROUPS
}

upstream = Setting(
    "CRYPTO_PIPELINE_UPSTREAM",
    "",
    _optional_url,
    "a base URL that stands in for the internet: `https://HOST/PATH` is asked as `BASE/HOST/PATH`",
    example="http://127.0.0.1:8900",
    unset="the internet",
)

webserver = Setting(
    "CRYPTO_PIPELINE_WEBSERVER",
    "http://127.0.0.1:3000",
    _url,
    "where the commands look for Dagster's UI",
)

proxied = Setting(
    "CRYPTO_PIPELINE_PROXIED",
    "",
    _urls,
    "URLs at which a proxy with a login serves Dagster's UI, spaces between them",
    example="https://dagster.example.org",
)

keep_runs = Setting(
    "CRYPTO_PIPELINE_KEEP_RUNS_DAYS", "7", _days, "days that Dagster keeps its runs and their logs"
)

keep_days = Setting(
    "CRYPTO_PIPELINE_KEEP_DAYS",
    "",
    _ages,
    "days that rows are kept, by table, instead of what docs/tables.md says; `for_ever` is one",
    example="market_prices:365,rejected_rows:7",
    unset="as docs/tables.md says",
)

archive = Setting(
    "CRYPTO_PIPELINE_ARCHIVE",
    "",
    _optional_path,
    "a folder for the Parquet of rows that go; without one they are dropped",
    example="archive",
)

parquet = Setting(
    "CRYPTO_PIPELINE_PARQUET",
    "",
    _optional_path,
    "the folder for the Parquet that readers read; `off`: nothing is published",
    example="/srv/crypto/parquet",
    unset="`parquet` beside the database; `NAME_parquet` beside another `NAME.duckdb`",
)

answers_bytes = Setting(
    "CRYPTO_PIPELINE_ANSWERS_GB",
    "1",
    _gibibytes,
    "GiB of answers that are kept as they came, for `rebuild`; 0: none are",
)

answers_days = Setting("CRYPTO_PIPELINE_ANSWERS_DAYS", "2", _days, "days that answers are kept")

troubled_answers_days = Setting(
    "CRYPTO_PIPELINE_TROUBLED_ANSWERS_DAYS",
    "30",
    _days,
    "days for answers of which nothing, or not everything, became a row",
)

least_free_bytes = Setting(
    "CRYPTO_PIPELINE_LEAST_FREE_GB",
    "2",
    _gibibytes,
    "with less room beside the database, in GiB, the disk is nearly full",
)

log_form = Setting(
    "CRYPTO_PIPELINE_LOG", "logfmt", _log_form, "how a line of the log is written: logfmt or json"
)

alert_urls = Setting(
    "CRYPTO_PIPELINE_ALERT_URL",
    "",
    str.split,
    "who is told of alerts: URLs of apprise, spaces between them",
    example="ntfy://my-topic",
)

dagster_home = Setting(
    "DAGSTER_HOME",
    "",
    _folder,
    "where Dagster keeps its history: an absolute path to a folder that exists",
    example="/srv/crypto_pipeline",
    unset="this folder",
)

SETTINGS: tuple[Setting[object], ...] = (
    database,
    universe,
    *crons.values(),
    upstream,
    webserver,
    proxied,
    keep_runs,
    keep_days,
    archive,
    parquet,
    answers_bytes,
    answers_days,
    troubled_answers_days,
    least_free_bytes,
    log_form,
    alert_urls,
    dagster_home,
)
"""Every setting, in the order of the documents."""


def check() -> None:
    """Look at every setting, so that a wrong one is known before anything starts. Raises
    SettingError, also for a variable with our prefix that is no setting."""
    known = [setting.name for setting in SETTINGS]
    for name in os.environ:
        if name.upper().startswith(PREFIX) and name not in known:
            near = get_close_matches(name.upper(), known, 1, cutoff=0)
            raise SettingError(f"{name}: there is no such setting; the nearest is {near[0]}")
    for setting in SETTINGS:
        setting()
    _usable(database, _check_file, database())
    if folder := archive():
        _usable(archive, _check_folder, folder)
        if folder == database():
            raise archive.wrong(f"that is {database.name} already")
    if folder := published():
        _usable(parquet, _check_folder, folder)
        if folder in (database(), archive()):
            raise parquet.wrong("that is another setting's already")


def _usable(setting: Setting[Any], check: Callable[[Any], None], value: Any) -> None:
    try:
        check(value)
    except ValueError as problem:
        raise setting.wrong(str(problem)) from None
    except OSError as problem:
        raise setting.wrong(problem.strerror or "it cannot be used") from None


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise ValueError("a folder; give the path of a file")
    if path.exists() and not path.is_file():
        raise ValueError("a device or a pipe; give the path of a file")
    _check_folder(path.parent)


def _check_folder(path: Path) -> None:
    """Whether it is a folder, or one can be made."""
    above = path
    while not above.exists() and above != above.parent:
        above = above.parent
    if not above.is_dir():
        raise ValueError(f"{above} is no folder")
    if above != path and not os.access(above, os.W_OK | os.X_OK):
        raise ValueError(f"it cannot be made: {above} is not for us to write to")


def check_keys(names: Iterable[str]) -> None:
    """Look at the API keys in these variables, before anybody is asked. Raises SettingError, with
    the name and never the value, for one that no HTTP header can hold: the library that is to send
    it would show it in its error."""
    for name in names:
        value = os.environ.get(name, "").strip()
        if not (value.isascii() and value.isprintable()):
            raise SettingError(
                f"{name}: the key holds a line break, or another character that no key has: "
                "set it anew"
            )
        if 0 < len(value) < SHORTEST_KEY:
            raise SettingError(
                f"{name}: too short for a key: those have {SHORTEST_KEY} characters or more"
            )


def keep(declared: Mapping[str, timedelta | None]) -> dict[str, timedelta]:
    """How long rows are kept, by table: what `keep_days` says over what the tables declare.

    Tables that keep all are left out. Raises SettingError for a table that is not in `declared`.
    """
    ages = keep_days()
    unknown = [table for table in ages if table not in declared]
    if unknown:
        raise keep_days.wrong(
            f"{unknown[0]!r} is not a table with a time; these are: {', '.join(sorted(declared))}"
        )
    return {table: age for table, age in {**declared, **ages}.items() if age is not None}


def published() -> Path | None:
    """The folder into which what is written is published; None: it is not."""
    if parquet.text.lower() == "off":
        return None
    if folder := parquet():
        return folder
    file = database()
    usual = file.name == Path(database.default).name
    return file.with_name("parquet" if usual else f"{file.stem}_parquet")


def keeping() -> Keeping | None:
    """How answers are kept; None: they are not."""
    most = answers_bytes()
    return Keeping(answers_days(), troubled_answers_days(), most) if most else None


def cron(group: Group) -> str:
    """The beat of a group as it is set."""
    return crons[group]()
