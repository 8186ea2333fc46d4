"""What text may be stored, and how any text is made so."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_pipeline.sources.values import plain
from crypto_pipeline.tables import Provider, RejectedRow
from crypto_pipeline.text import LONGEST, storable

AT = datetime(2026, 11, 23, tzinfo=UTC)
ODD = st.text(st.characters() | st.sampled_from("\x00\x1b\x7f\x9b\ud83d\udc00"))


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("E\ud83dth", r"E\ud83dth"),
        ("A\x1b[31mRED", r"A\x1b[31mRED"),
        ("a\0b", r"a\x00b"),
        ("قیمت بیت‌کوین 🚀", "قیمت بیت‌کوین 🚀"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
    ],
)
def test_what_cannot_be_stored_is_written_as_its_code(text: str, stored: str) -> None:
    assert storable(text) == stored


@given(ODD)
def test_any_text_can_be_stored(text: str) -> None:
    stored = storable(text)
    stored.encode()
    assert len(stored) <= LONGEST
    assert storable(stored) == stored


def test_a_text_is_cut_to_what_is_worth_keeping() -> None:
    assert len(storable("x" * 20_000_000)) == LONGEST
    assert len(storable("\x00" * 10_000, 100)) == 100


@given(ODD.filter(bool))
def test_what_the_pipeline_says_is_never_refused(text: str) -> None:
    row = RejectedRow.model_validate(
        {
            **dict.fromkeys(("endpoint", "source", "feeds", "collection_id"), "x"),
            "reason": text + "!",
            "record": json.dumps(text),
            "rejected_at": AT,
        }
    )
    row.model_dump_json()


@pytest.mark.parametrize("name", ["a\x1b[31m", "a\ud83d", "a\0", "x" * (LONGEST + 1)])
def test_damaged_text_of_a_source_is_refused(name: str) -> None:
    whole = {
        "source": "a", "base_url": "b", "documentation": "d", "key_required": False,
        "tables": [], "endpoints": 1,
    }  # fmt: skip
    Provider.model_validate(whole)
    with pytest.raises(ValueError, match="source"):
        Provider.model_validate({**whole, "source": name})


@pytest.mark.parametrize(
    "part", ["<script", "<style ", "<!--", "<a", "</script", "&#1", "<script>"]
)
def test_prose_is_read_in_one_pass(part: str) -> None:
    """Some of these took the square of their length: hours, for a hundred thousand characters."""
    assert plain(part * 100_000, 50) is not None or part == "<script>"


def test_markup_goes_and_its_hidden_text_with_it() -> None:
    hidden = "<script>1<2</script>A<!-- <b> -->B<STYLE>x</style >C<br/>D &lt;b&gt;E&lt;/b&gt; 1 < 2"
    assert plain(hidden) == "A B C D E 1 < 2"
    assert plain("open <script> to the end") == "open to the end"
