"""What a user may set, read from the environment when it is asked for, never at import.

Owns: the names of the variables and their defaults.
"""

import os
from dataclasses import dataclass
from pathlib import Path


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
