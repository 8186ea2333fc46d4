"""docs/original-resources.md against the list it accounts for and the sources it names.

The convention of the page: one row per entry, `| resource | id | verdict | text |`, below a
heading `## list: category`; a name in backticks is a source, and nothing else is in backticks.
"""

import json
import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from crypto_pipeline.sources import SOURCES

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "original-resources.md"
LISTED = ROOT.parent / "shared" / "catalogue" / "original-resources.jsonl"


COUNTS = re.compile(r"(\d+) entr(?:y|ies): (\d+) here, (\d+) replaced, (\d+) gone\.$")

pytestmark = pytest.mark.skipif(
    not LISTED.parent.exists(), reason="../shared/catalogue is not here"
)


def parts() -> dict[str, str]:
    """The text below each heading of the second level; what comes first is under ''."""
    titles = re.split(r"^## (.+)\n", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = dict(zip(["", *titles[1::2]], titles[::2], strict=True))
    assert len(found) == len(titles[::2]), "two headings are the same"
    return found


def rows() -> dict[str, list[list[str]]]:
    """The rows of each heading's table, as [resource, id, verdict, text]."""
    found = defaultdict(list)
    for title, text in parts().items():
        lines = [line for line in text.splitlines() if line.startswith("|")]
        if title:
            for line in lines[2:]:
                cells = [cell.strip() for cell in line.strip("|").split("|")]
                assert len(cells) == 4, line
                found[title].append(cells)
    return found


def test_every_original_resource_has_its_row() -> None:
    listed = Counter(
        (f"{entry['list']}: {entry['category']}", entry["name"], entry["id"])
        for entry in map(json.loads, LISTED.read_text(encoding="utf-8").splitlines())
    )
    written = Counter((title, row[0], row[1]) for title, part in rows().items() for row in part)
    assert not listed - written, "these entries have no row"
    assert not written - listed, "these rows stand for no entry"


def test_every_name_in_backticks_is_a_source() -> None:
    cited = set(re.findall(r"`([^`]*)`", PAGE.read_text(encoding="utf-8")))
    assert cited
    assert not cited - set(SOURCES), "the page cites sources that do not exist"


def test_what_is_here_or_replaced_names_a_source_and_what_is_gone_does_not() -> None:
    for part in rows().values():
        for row in part:
            assert row[2] in {"here", "replaced", "gone"}, row
            assert ("`" in row[3]) is (row[2] != "gone"), row


def test_the_counts_are_those_of_the_rows() -> None:
    whole: Counter[str] = Counter()
    for title, part in rows().items():
        verdicts = Counter(row[2] for row in part)
        whole += verdicts
        assert stated(title) == counted(verdicts), title
    assert stated("") == counted(whole)


def counted(verdicts: Counter[str]) -> list[int]:
    return [verdicts.total(), *(verdicts[v] for v in ("here", "replaced", "gone"))]


def stated(title: str) -> list[int]:
    for line in parts()[title].splitlines():
        if found := COUNTS.search(line):
            return [int(n) for n in found.groups()]
    raise AssertionError(f"{title or 'the summary'} has no line of counts")
