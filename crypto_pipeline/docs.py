"""The generated reference, from the declarations: docs/tables.md, docs/sources.md, .env.example and
the README's table of settings.

python -m crypto_pipeline.docs writes them, --check fails when they are not what it would write.
"""

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from crypto_pipeline.collection import quotas
from crypto_pipeline.settings import SETTINGS
from crypto_pipeline.sources import SOURCES, Source
from crypto_pipeline.tables import DATA, MACROS, MANAGEMENT, VIEWS, Row, View

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
    parts.append("## Macros\n\nTables that are asked with arguments: `SELECT … FROM name(…)`.\n")
    parts += [_view(macro) for macro in MACROS]
    return "\n".join(parts)


def _view(view: View) -> str:
    lines = [f"### {view.signature}\n", f"{view.description}\n"]
    lines += [f"{name}: {meaning}.\n" for name, meaning in view.parameters.items()]
    if view.columns:
        lines += ["| column | unit | meaning |", "| --- | --- | --- |"]
        lines += [f"| {c.name} | {c.unit or ''} | {c.meaning} |" for c in view.columns]
    return "\n".join(lines).rstrip() + "\n"


def _table(model: type[Row]) -> str:
    table = model.table
    written = {
        "append": "every row is added",
        "insert": "a row is kept once",
        "upsert": "a row replaces the one with its key",
        "replace": "the whole table is replaced",
    }[table.write]
    group = f"Group {table.group.name}" if table.collected_in else "About the pipeline"
    if table.computed_from:
        group += f", made of {', '.join(table.computed_from)}"
    if table.past_of:
        group += f": the past of {table.past_of}"
    key = f"; key: {', '.join(table.key)}" if table.key else ""
    kept = f"; kept for {table.keep.days} days by default" if table.keep else ""
    lines = [
        f"### {table.name}\n",
        f"{table.description}\n",
        f"{group}; {written}{key}{kept}.\n",
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
    keyless = sum(source.keyless for source in SOURCES.values())
    lines = [
        GENERATED,
        "# Sources\n",
        f"{len(SOURCES)} sources, {keyless} of them without a key, {endpoints} endpoints.\n",
        "A quota is what a free tier allows; sources that take the same key share it.\n",
        "| source | feeds (every) | quota | key | documentation |",
        "| --- | --- | --- | --- | --- |",
        *(_source(source) for _, source in sorted(SOURCES.items())),
    ]
    return "\n".join(lines) + "\n"


def _source(source: Source) -> str:
    feeds: dict[str, str] = {}
    for endpoint in source.endpoints:
        every = int(endpoint.min_interval.total_seconds() // 60)
        feeds.setdefault(
            endpoint.model.table.name, f"{every} min" if every < 60 else f"{every / 60:g} h"
        )
    fed = ", ".join(f"{table} ({every})" for table, every in sorted(feeds.items()))
    key = ""
    if source.key:
        key = f"{source.key.env}{'' if source.key.required else ' (optional)'}"
    terms = f", [terms]({source.terms})" if source.terms else ""
    quota = [
        f"{calls:,} a {period}"
        for period in quotas.PERIODS
        if (calls := quotas.quota(source, period)) is not None
    ]
    return (
        f"| {source.name} | {fed} | {', '.join(quota)} | {key} "
        f"| [documentation]({source.docs}){terms} |"
    )


def environment() -> str:
    """.env.example: every setting and every optional key."""
    lines = [
        "# Copy to .env; everything here is optional. Every command, ours and Dagster's, reads",
        "# .env from the folder it is started in, and what it says wins over the environment.",
        "# Made by `make docs`.",
    ]
    for setting in SETTINGS:
        lines += [
            "",
            *_comment(f"{_capital(setting.meaning)}. Default: {setting.default or setting.unset}"),
        ]
        lines.append(f"# {setting.name}={setting.example or setting.default}")
    lines += ["", "# API keys: a source that needs one is skipped without it."]
    for source in SOURCES.values():
        if source.key:
            need = "needs it" if source.key.required else "answers more with it"
            lines += [f"# {source.name} {need}: {source.docs}", f"# {source.key.env}="]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, 96, initial_indent="## ", subsequent_indent="## ")


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def settings_table() -> str:
    """The README's table of settings."""
    lines = ["| variable | default | what it sets |", "| --- | --- | --- |"]
    for setting in SETTINGS:
        default = f"`{setting.default}`" if setting.default else setting.unset
        lines.append(f"| {setting.name} | {default} | {setting.meaning} |")
    return "\n".join(lines) + "\n"


def with_part(text: str, name: str, part: str) -> str:
    """A document with the part between its two markers of that name written anew.

    Raises ValueError where the markers are missing.
    """
    begin, end = f"<!-- {name}: made by `make docs` -->\n", f"<!-- end of {name} -->\n"
    if begin not in text or end not in text:
        raise ValueError(f"no part {name!r} between its markers")
    return text[: text.index(begin)] + begin + part + text[text.index(end) :]


def generated() -> Iterator[tuple[Path, str]]:
    """Every generated file, with what should be in it."""
    yield ROOT / "docs" / "tables.md", tables()
    yield ROOT / "docs" / "sources.md", sources()
    yield ROOT / ".env.example", environment()
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    yield readme, with_part(text, "settings", settings_table())


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
