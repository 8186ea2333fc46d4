"""Keys out of whatever leaves the fetcher, in every encoding."""

import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_pipeline.collection.redaction import Redactor

KEYS = [
    "abcdef1234567890",
    "a+b/c==d+e/f==",
    "50%25off-key%",
    'quo"te\\back/slash',
    "0b9f3c52-7d61-4f0e-9a55-aa1e22c7b6a1",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.s1g-n_ature",
    "$&*#@!~key<>'",
    "two words here",
    "clé-sécrète-ключ",
    "x" * 200,
]

WAYS: dict[str, Callable[[str], str]] = {
    "raw": str,
    "json": lambda k: json.dumps(k)[1:-1],
    "json, slashes": lambda k: json.dumps(k)[1:-1].replace("/", "\\/"),
    "escaped": lambda k: "".join(f"\\u{ord(c):04X}" for c in k),
    "percent": lambda k: quote(k, safe=""),
    "percent, small": lambda k: quote(k, safe="").lower() if k.islower() else quote(k, safe=""),
    "every percent": lambda k: "".join(f"%{b:02x}" for b in k.encode()),
    "twice": lambda k: quote(quote(k, safe=""), safe=""),
    "plus": quote_plus,
    "html": html.escape,
    "entities": lambda k: "".join(f"&#{ord(c)};" for c in k),
    "hex entities": lambda k: "".join(f"&#x{ord(c):x};" for c in k),
    "half": lambda k: quote(k[: len(k) // 2], safe="") + k[len(k) // 2 :],
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_found_however_it_is_written(key: str, way: str) -> None:
    redactor = Redactor([key])
    written = WAYS[way](key)
    assert redactor.text(f"before {written} after") == "before *** after"
    assert redactor.body(f"before {written} after".encode()) == b"before *** after"


@pytest.mark.parametrize("key", KEYS)
@given(before=st.binary(max_size=7), after=st.binary(max_size=7))
def test_a_key_inside_base64_does_not_come_out(key: str, before: bytes, after: bytes) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        coded = encode(before + key.encode() + after).decode()
        left = Redactor([key]).text(coded)
        assert "***" in left
        known = [part for part in left.split("***") if part]
        assert sum(map(len, known)) < len(coded) - len(key)


@given(st.text(), st.binary())
def test_without_keys_everything_stays(text: str, body: bytes) -> None:
    for secrets in ([], [""]):
        assert Redactor(secrets).text(text) == text
        assert Redactor(secrets).body(body) == body
