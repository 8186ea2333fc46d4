"""The generated reference: docs/tables.md, docs/sources.md and .env.example, from the declarations.

python -m crypto_pipeline.docs writes them, --check fails when they are not what it would write.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from crypto_pipeline.collection import quotas
from crypto_pipeline.sources import SOURCES, Source
from crypto_pipeline.tables import DATA, MANAGEMENT, VIEWS, Row, View

ROOT = Path(__file__).parents[1]

GENERATED = "<!-- made by `make docs` from the declarations: edit those, not this file -->\n"


def tables() -> str:
    """Every table with its columns, units and ranges."""
    parts = [GENERATED, "# Tables\n\nAll times are UTC. A column without a unit has none.\n"]
    for title, models in (("Data", DATA), ("Management and monitoring", MANAGEMENT)):
        parts.append(f"## {title}\n")
        parts += [_table(model) for model in models]
    parts.append("## Views\n")
    parts += [_view(view) for view in VIEWS]
    return "\n".join(parts)


def _view(view: View) -> str:
    lines = [
        f"### {view.name}\n",
        f"{view.description}\n",
        "| column | meaning |",
        "| --- | --- |",
        *(f"| {name} | {meaning} |" for name, meaning in view.columns),
    ]
    return "\n".join(lines) + "\n"


def _table(model: type[Row]) -> str:
    table = model.table
    written = {
        "append": "every row is kept",
        "insert": "a row is kept once",
        "upsert": "a row replaces the one with its key",
        "replace": "the whole table is replaced",
    }[table.write]
    key = f"; key: {', '.join(table.key)}" if table.key else ""
    kept = f"; kept for {table.keep.days} days by default" if table.keep else ""
    lines = [
        f"### {table.name}\n",
        f"{table.description}\n",
        f"Group {table.group}; {written}{key}{kept}.\n",
        "| column | type | unit | range | meaning |",
        "| --- | --- | --- | --- | --- |",
    ]
    for c in table.columns:
        kind = c.type + ("" if c.nullable else " not null")
        lines.append(f"| {c.name} | {kind} | {c.unit or ''} | {c.range} | {c.description} |")
    return "\n".join(lines) + "\n"


def sources() -> str:
    """Every source with its endpoints."""
    endpoints = sum(len(s.endpoints) for s in SOURCES.values())
    keyless = sum(not (s.key and s.key.required) for s in SOURCES.values())
    lines = [
        GENERATED,
        "# Sources\n",
        f"{len(SOURCES)} sources, {keyless} of them without a key, {endpoints} endpoints.\n",
        "A limit is what a free tier allows; sources that take the same key share it.\n",
        "| source | feeds (every) | limit | key | documentation |",
        "| --- | --- | --- | --- | --- |",
        *(_source(source) for _, source in sorted(SOURCES.items())),
    ]
    return "\n".join(lines) + "\n"


def _source(source: Source) -> str:
    feeds: dict[str, str] = {}
    for endpoint in source.endpoints:
        every = int(endpoint.min_interval.total_seconds() // 60)
        feeds.setdefault(
            endpoint.table.table.name, f"{every} min" if every < 60 else f"{every / 60:g} h"
        )
    fed = ", ".join(f"{table} ({every})" for table, every in sorted(feeds.items()))
    key = ""
    if source.key:
        key = f"{source.key.env}{'' if source.key.required else ' (optional)'}"
    terms = f", [terms]({source.terms})" if source.terms else ""
    limits = [
        f"{limit:,} a {period}"
        for period in quotas.PERIODS
        if (limit := quotas.limit(source, period)) is not None
    ]
    return (
        f"| {source.name} | {fed} | {', '.join(limits)} | {key} "
        f"| [documentation]({source.docs}){terms} |"
    )


def environment() -> str:
    """.env.example: every setting and every optional key."""
    lines = [
        "# Copy to .env; everything here is optional. Dagster reads .env from the folder it starts",
        "# in. Made by `make docs`.",
        "",
        "# CRYPTO_PIPELINE_DATABASE=data/crypto_data.duckdb",
        "# CRYPTO_PIPELINE_UNIVERSE=top:250",
        "# CRYPTO_PIPELINE_UI_CRON=*/5 * * * *",
        "# CRYPTO_PIPELINE_HISTORICAL_CRON=2-59/15 * * * *",
        "# CRYPTO_PIPELINE_WEBSERVER=http://127.0.0.1:3000",
        "# CRYPTO_PIPELINE_KEEP_RUNS_DAYS=7",
        "# CRYPTO_PIPELINE_KEEP_DAYS=market_prices:365,rejected_rows:7",
        "# CRYPTO_PIPELINE_ARCHIVE=archive",
        "# CRYPTO_PIPELINE_LEAST_FREE_GB=2",
        "# CRYPTO_PIPELINE_LOG=json",
        "# CRYPTO_PIPELINE_ALERT_URL=ntfy://my-topic",
        "",
        "# API keys: a source that needs one is skipped without it.",
    ]
    for source in SOURCES.values():
        if source.key:
            need = "needs it" if source.key.required else "answers more with it"
            lines += [f"# {source.name} {need}: {source.docs}", f"# {source.key.env}="]
    return "\n".join(lines) + "\n"


def generated() -> Iterator[tuple[Path, str]]:
    yield ROOT / "docs" / "tables.md", tables()
    yield ROOT / "docs" / "sources.md", sources()
    yield ROOT / ".env.example", environment()


def main() -> int:
    stale = []
    for file, text in generated():
        if "--check" in sys.argv[1:]:
            if not file.exists() or file.read_text(encoding="utf-8") != text:
                stale.append(str(file.relative_to(ROOT)))
        else:
            file.write_text(text, encoding="utf-8")
    if stale:
        print(f"out of date: {', '.join(stale)}; run `make docs` and commit what it writes")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
