"""Content-Encoding: from the bytes that came to those that were meant. Pure.

Owns: that a stream is whole, and that a small one cannot become a huge piece.
Must not know: HTTP beyond this one header.
"""

import zlib
from collections.abc import Iterable, Iterator
from itertools import chain

ACCEPTED = "gzip, deflate"
"""What is asked for, and can be read."""

PIECE = 65_536
"""The most bytes that are given at once."""

_ANY_HEADER = 47  # zlib's number for: find out whether it is gzip or zlib
_NO_HEADER = -15  # deflate without a header, which some servers send under that name


class Undecodable(ValueError):
    """The bytes are not what their Content-Encoding says, or end too early."""


def decoded(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """The decoded bytes in pieces. Raises Undecodable."""
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return iter(chunks)
    if name not in ("gzip", "x-gzip", "deflate"):
        raise Undecodable(f"Content-Encoding {encoding[:40]!r} was not asked for")
    return _inflated(chunks, name)


def _inflated(chunks: Iterable[bytes], name: str) -> Iterator[bytes]:
    """Every member of a gzip or deflate stream; nothing at all is an empty one."""
    chunks = iter(chunks)
    start = b""
    while len(start) < 2 and (chunk := next(chunks, b"")):
        start += chunk
    if not start:
        return
    bare = name == "deflate" and not _has_header(start)
    stream = zlib.decompressobj(_NO_HEADER if bare else _ANY_HEADER)
    for chunk in chain([start], chunks):
        rest = chunk
        while rest:
            if stream.eof:  # what follows the end is another member, or padding
                if not rest.startswith(b"\x1f"):
                    return
                stream = zlib.decompressobj(_ANY_HEADER)
            try:
                piece = stream.decompress(rest, PIECE)
            except zlib.error as problem:
                raise Undecodable(f"not {name}: {problem}") from None
            rest = stream.unused_data if stream.eof else stream.unconsumed_tail
            if piece:
                yield piece
    if not stream.eof:
        raise Undecodable(f"cut inside its {name} stream")


def _has_header(start: bytes) -> bool:
    return start[0] & 0x0F == zlib.DEFLATED and int.from_bytes(start[:2], "big") % 31 == 0
