"""Keys out of everything that leaves the fetcher, in whatever encoding they come back. Pure.

Owns: the encodings in which a key is found.
Must not know: where keys come from, requests.
"""

import base64
import re
from collections.abc import Iterable
from html.entities import codepoint2name

HIDDEN = "***"

SHORTEST_CODED = 8
"""Characters of base64 that are looked for: fewer are found everywhere."""


class Redactor:
    """Takes keys out of texts and bodies.

    A key is found as it is, JSON-escaped, percent- and plus-encoded, as HTML entities, in any
    mixture of these, and inside base64.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        found = sorted({s for s in secrets if s}, key=len, reverse=True)
        forms = [form for secret in found for form in (_written(secret), *_coded(secret))]
        self._text = re.compile("|".join(forms)) if forms else None
        self._body = re.compile("|".join(forms).encode()) if forms else None

    def text(self, text: str) -> str:
        """The text without any key."""
        return self._text.sub(HIDDEN, text) if self._text else text

    def body(self, body: bytes) -> bytes:
        """The bytes without any key."""
        return self._body.sub(HIDDEN.encode(), body) if self._body else body


def _written(secret: str) -> str:
    """A pattern for a secret of which each character may be written in any way."""
    return "".join(f"(?:{'|'.join(_ways(character))})" for character in secret)


def _ways(character: str) -> list[str]:
    """Patterns for one character: as it is, and as each notation escapes it; the longest first,
    since some begin with the character itself."""
    code = ord(character)
    percent = "".join(_hex(f"%{byte:02x}") for byte in character.encode())
    ways = [percent.replace("%", "%25"), percent]
    ways += [f"&#[xX]0*{_hex(f'{code:x}')};", f"&#0*{code};"]
    ways += [rf"\\u{_hex(f'{code:04x}')}", rf"\\x{_hex(f'{code:02x}')}"]
    if code in codepoint2name:
        ways.append(f"&{codepoint2name[code]};")
    if character in "\"\\/'":
        ways.append(re.escape("\\" + character))
    if character == "'":
        ways.append("&apos;")
    if character == " ":
        ways.append(r"\+")
    return [*ways, re.escape(character)]


def _hex(digits: str) -> str:
    """A pattern for digits in either case."""
    return "".join(f"[{d}{d.upper()}]" if d.isalpha() else d for d in digits)


def _coded(secret: str) -> list[str]:
    """Patterns for a secret inside base64: it begins at the first, second or third byte of three.

    Only the characters that depend on nothing but the secret.
    """
    found = []
    raw = secret.encode()
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + raw).decode()
        inner = whole[(before * 8 + 5) // 6 : (before + len(raw)) * 8 // 6]
        if len(inner) >= SHORTEST_CODED:
            found += [re.escape(form) for form in {inner, inner.translate(_URL_SAFE)}]
    return found


_URL_SAFE = str.maketrans("+/", "-_")
