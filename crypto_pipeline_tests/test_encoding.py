"""Content-Encoding: whole streams are decoded, anything else is named."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_pipeline.collection.encoding import PIECE, Undecodable, decoded

TEXT = b"a price, another price, " * 500


def in_chunks(body: bytes, size: int) -> Iterator[bytes]:
    return (body[start : start + size] for start in range(0, len(body), size))


def raw_deflate(body: bytes) -> bytes:
    made = zlib.compressobj(wbits=-15)
    return made.compress(body) + made.flush()


ENCODED = {
    "gzip": gzip.compress(TEXT),
    "X-GZIP": gzip.compress(TEXT),
    "deflate": zlib.compress(TEXT),
    " deflate": raw_deflate(TEXT),
    "identity": TEXT,
    "": TEXT,
}


@pytest.mark.parametrize("name", ENCODED)
@pytest.mark.parametrize("size", [1, 7, 1_000_000])
def test_a_whole_stream_is_decoded_however_it_is_cut(name: str, size: int) -> None:
    assert b"".join(decoded(in_chunks(ENCODED[name], size), name)) == TEXT


def test_a_stream_of_several_members_is_one() -> None:
    body = gzip.compress(TEXT) + gzip.compress(b"more") + b"\0\0\0"
    assert b"".join(decoded([body], "gzip")) == TEXT + b"more"
    assert b"".join(decoded(in_chunks(body, 3), "gzip")) == TEXT + b"more"


@pytest.mark.parametrize("name", ["gzip", "deflate", " deflate"])
@given(part=st.floats(0.05, 0.97))
def test_half_a_stream_is_none(name: str, part: float) -> None:
    body = ENCODED[name]
    with pytest.raises(Undecodable, match="cut inside"):
        list(decoded([body[: int(len(body) * part)]], name))


@pytest.mark.parametrize("name", ["br", "zstd", "gzip, br", "made-up", "gzip, gzip"])
def test_what_was_not_asked_for_is_named(name: str) -> None:
    with pytest.raises(Undecodable, match="was not asked for"):
        list(decoded([TEXT], name))


@given(st.binary(min_size=1))
def test_bytes_that_are_no_stream_are_named(body: bytes) -> None:
    for name in ("gzip", "deflate"):
        with suppress(Undecodable):
            list(decoded([body], name))


def test_nothing_is_an_empty_stream() -> None:
    assert list(decoded([], "gzip")) == []


def test_a_bomb_comes_in_small_pieces() -> None:
    pieces = decoded([gzip.compress(b"0" * 50_000_000, 9)], "gzip")
    assert max(len(piece) for piece, _ in zip(pieces, range(100), strict=False)) <= PIECE
