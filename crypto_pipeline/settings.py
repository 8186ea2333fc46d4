"""What a user may set, read from the environment when it is asked for, never at import.

Owns: the names of the variables and their defaults.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

LogForm = Literal["logfmt", "json"]


class SettingError(ValueError):
    """An environment variable has a value that cannot be used; names it and what would do."""


@dataclass(frozen=True, slots=True)
class Universe:
    """Which coins are kept: the `top` by market capitalisation, a list of tickers, or all."""

    top: int | None = None
    symbols: tuple[str, ...] = ()

    @property
    def all(self) -> bool:
        return self.top is None and not self.symbols


def database() -> Path:
    """CRYPTO_PIPELINE_DATABASE, the DuckDB file; default data/crypto_data.duckdb."""
    return Path(os.environ.get("CRYPTO_PIPELINE_DATABASE") or "data/crypto_data.duckdb").absolute()


def upstream() -> str | None:
    """CRYPTO_PIPELINE_UPSTREAM, a base URL that stands in for the internet; default none."""
    url = os.environ.get("CRYPTO_PIPELINE_UPSTREAM", "").strip()
    if url and not url.startswith(("http://", "https://")):
        raise SettingError(
            f"CRYPTO_PIPELINE_UPSTREAM={url!r} is not a URL; give one such as "
            "http://127.0.0.1:8900, or unset it to ask the real internet"
        )
    return url or None


def webserver() -> str:
    """CRYPTO_PIPELINE_WEBSERVER, where Dagster's UI is; default http://127.0.0.1:3000."""
    url = os.environ.get("CRYPTO_PIPELINE_WEBSERVER", "").strip() or "http://127.0.0.1:3000"
    if not url.startswith(("http://", "https://")):
        raise SettingError(
            f"CRYPTO_PIPELINE_WEBSERVER={url!r} is not a URL; give one such as "
            "http://127.0.0.1:3000"
        )
    return url.rstrip("/")


def alert_urls() -> list[str]:
    """CRYPTO_PIPELINE_ALERT_URL: apprise URLs, spaces between them; default none."""
    return os.environ.get("CRYPTO_PIPELINE_ALERT_URL", "").split()


def least_free_bytes() -> int:
    """CRYPTO_PIPELINE_LEAST_FREE_GB: with less room on the disk it is nearly full; default 2."""
    return round(_number("CRYPTO_PIPELINE_LEAST_FREE_GB", 2) * 2**30)


def keep_runs() -> timedelta:
    """CRYPTO_PIPELINE_KEEP_RUNS_DAYS: how long Dagster's history is kept; default 7."""
    return timedelta(days=_number("CRYPTO_PIPELINE_KEEP_RUNS_DAYS", 7))


def keep(declared: Mapping[str, timedelta | None]) -> dict[str, timedelta]:
    """CRYPTO_PIPELINE_KEEP_DAYS, such as market_prices:365,rejected_rows:7, over what the tables
    declare; for_ever instead of a number keeps all. Tables that keep all are left out.
    """
    kept = dict(declared)
    text = os.environ.get("CRYPTO_PIPELINE_KEEP_DAYS", "")
    for part in filter(None, (p.strip() for p in text.split(","))):
        table, _, days = part.partition(":")
        if table not in kept:
            raise SettingError(
                f"CRYPTO_PIPELINE_KEEP_DAYS={text!r}: {table!r} is not a table with a time; "
                f"these are: {', '.join(sorted(kept))}"
            )
        if days != "for_ever" and not (days.isdigit() and int(days) > 0):
            raise SettingError(
                f"CRYPTO_PIPELINE_KEEP_DAYS={text!r}: give days, such as {table}:90, or "
                f"{table}:for_ever"
            )
        kept[table] = None if days == "for_ever" else timedelta(days=int(days))
    return {table: age for table, age in kept.items() if age is not None}


def log_form() -> LogForm:
    """CRYPTO_PIPELINE_LOG: how a line of the log is written, logfmt (the default) or json."""
    text = os.environ.get("CRYPTO_PIPELINE_LOG", "").strip().lower()
    if text == "json":
        return "json"
    if text in ("", "logfmt"):
        return "logfmt"
    raise SettingError(f"CRYPTO_PIPELINE_LOG={text!r}: give logfmt or json")


def archive() -> Path | None:
    """CRYPTO_PIPELINE_ARCHIVE, a folder for the Parquet of what is pruned; default none."""
    folder = os.environ.get("CRYPTO_PIPELINE_ARCHIVE", "").strip()
    return Path(folder).absolute() if folder else None


def _number(name: str, default: float) -> float:
    text = os.environ.get(name, "").strip()
    try:
        number = float(text) if text else default
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e9:
        raise SettingError(f"{name}={text!r}: give a number, such as {default:g}")
    return number


def universe() -> Universe:
    """CRYPTO_PIPELINE_UNIVERSE: top:N (default top:250), a list such as BTC,ETH, or all."""
    text = os.environ.get("CRYPTO_PIPELINE_UNIVERSE", "").strip() or "top:250"
    if text.lower() == "all":
        return Universe()
    if text.lower().startswith("top:"):
        count = text[4:]
        if not count.isdigit() or int(count) < 1:
            raise SettingError(
                f"CRYPTO_PIPELINE_UNIVERSE={text!r}: give a number of coins, such as top:250"
            )
        return Universe(top=int(count))
    symbols = tuple(dict.fromkeys(s.strip().upper() for s in text.split(",") if s.strip()))
    if not symbols or any(" " in s for s in symbols):
        raise SettingError(
            f"CRYPTO_PIPELINE_UNIVERSE={text!r}: give top:N, all, or tickers such as BTC,ETH,SOL"
        )
    return Universe(symbols=symbols)


def cron_variable(group: str) -> str:
    return f"CRYPTO_PIPELINE_{group.upper()}_CRON"


def cron(group: str, default: str) -> str:
    """CRYPTO_PIPELINE_UI_CRON and CRYPTO_PIPELINE_HISTORICAL_CRON: five-field cron, UTC."""
    return os.environ.get(cron_variable(group), "").strip() or default
