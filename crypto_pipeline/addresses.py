"""Web addresses: how one is kept, and which of them lead to the same article. Pure.

Owns: what of an address counts readers or chooses a presentation, and does not name the page.
Must not know: sources, feeds, tables.
"""

import re
from contextlib import suppress
from functools import lru_cache
from urllib.parse import SplitResult, quote, unquote, unquote_to_bytes, urlsplit, urlunsplit

LONGEST_HOST = 253
"""Characters; the longest that the domain name system knows."""

_TRACKING = re.compile(
    r"""
    (?: utm | mtm | matomo | pk | piwik | hsa | at | ns | mc | wt | fb | guce | oly | vero | sc
    )[_.].* |
    \w*clk?id | [gw]braid | gclsrc | igsh(?:id)? | mkt_tok | _hs(?:enc|mi) | __hs\w+ |
    hsctatracking | _g[al] | _openstat | xtor | dm_i | spm | trk\w* | ref | ref_?(?:src|url)_? |
    referr?er | cmp(?:id)? | [ni]cid | s_(?:cid|kwcid) | ocid | ito | sm(?:id|typ) | sr_share |
    soc_(?:src|trk) | guccounter | rss | is_?rss | __twitter_impression | echobox | irgwc
    """,
    re.I | re.X,
)
"""Names of parameters that say where a reader came from."""

_FROM_A_FEED = re.compile(
    r"(?:src|source|from|via|medium|origin|partner|mod|channel)=(?:rss|feed|atom)[\w.-]*", re.I
)
"""Parameters with a common name that say so by their value."""

_AMP = re.compile(r"(?:is_?|_?)amp(?:_\w+)?(?:=.*)?|(?:output|outputtype|view|type|mode)=amp", re.I)
"""Parameters that ask for the page in another dress."""

_AMP_PAGE = re.compile(r"(?<=[^.])(?:\.amp)+(?=(?:\.html?)?$)", re.I)

_FACES = frozenset({"www", "www2", "m", "mobile", "amp"})
"""Names of hosts that show the same pages as the host without them."""

_MIRRORED = re.compile(
    r"https?://(?:(?:www\.)?google\.[a-z.]+/amp/|[\w-]+\.cdn\.ampproject\.org/[a-z]/)(?:s/)?"
    r"(?=(?:[a-z0-9-]+\.)+[a-z]{2,63}(?:[/?#]|$))",
    re.I,
)
"""What stands before an address in a mirror of AMP pages."""

_MARKS = re.compile(r".*=.*|:~:.*|comments?|respond|(?:comment|more)-\d+|top|rss|feed|atom", re.I)
"""Fragments that name no article, but a place of its page or the way to it."""

_ESCAPED = re.compile(r"&(?:(?:amp|#0*38);)+")
_HOST = re.compile(r"[^\s<>\"\\^`{|}]+")
_IN_A_PATH = "!$'()*+,;=:@~"
_IN_A_QUERY = "!$'()*,:@/?~"
_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*")


def cleaned(url: str, apart: str = "") -> str:
    """The address as it was published, to be opened: scheme and host in lower case, without what
    counts readers, and without its fragment unless that names the page or tells it `apart`.

    Raises ValueError for what is no web address.
    """
    parts = _parts(url)
    query = "&".join(p for p in parts.query.split("&") if p and not _counts(p))
    fragment = parts.fragment
    if not (fragment.startswith(("!", "/")) or (fragment and fragment == apart)):
        fragment = ""
    kept = urlunsplit((parts.scheme, parts.netloc, parts.path or "/", query, fragment))
    return kept.replace(" ", "%20")


@lru_cache(4096)  # a feed asks for it before its rows are made
def article_key(url: str, apart: str = "") -> str:
    """What the addresses of one article have in common, in the look of an address without a scheme.

    One article: http and https, hosts with www, m or amp before them, a closing slash, AMP, what
    counts readers, the order of parameters, and every way to write a character. `apart`: what its
    feed tells it apart by from others of the same address. Raises ValueError for what is no web
    address.
    """
    url = url.strip()
    mirrored = _MIRRORED.match(url)
    parts = _parts("https://" + url[mirrored.end() :] if mirrored else url)
    wanted = {_parameter(p) for p in parts.query.split("&") if not _counts(p, _AMP)} - {""}
    query = "?" + "&".join(sorted(wanted)) if wanted else ""
    own = parts.fragment if parts.fragment.startswith(("!", "/")) else ""
    fragment = "".join("#" + _spelled(mark, _IN_A_QUERY) for mark in (own, apart) if mark)
    return f"{_host(parts.netloc)}/{'/'.join(_segments(parts.path))}{query}{fragment}"


def telling_fragment(url: str) -> str:
    """The fragment of an address where it may tell one article of a page from another, else ""."""
    fragment = urlsplit(url).fragment
    mark = fragment.startswith(("!", "/")) or _MARKS.fullmatch(fragment)
    return "" if mark else fragment


def _parts(url: object) -> SplitResult:
    """The parts of a web address; netloc is the host with a port of its own."""
    if not isinstance(url, str):
        raise ValueError(f"{url!r:.200} is not a web address")
    parts = urlsplit(_ESCAPED.sub("&", url.strip()))
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host):
        raise ValueError(f"{url!r:.200} is not a web address")
    if len(host) > LONGEST_HOST:
        raise ValueError(f"{host!r:.80} is longer than any host")
    name = f"[{host}]" if ":" in host else host
    port = f":{parts.port}" if parts.port not in (None, 80, 443) else ""
    return parts._replace(netloc=name + port)


def _counts(parameter: str, *others: re.Pattern[str]) -> bool:
    """Whether a parameter is there to count readers, or is one of the others."""
    plain = unquote(parameter)
    if _TRACKING.fullmatch(plain.partition("=")[0]):
        return True
    return any(pattern.fullmatch(plain) for pattern in (_FROM_A_FEED, *others))


def _parameter(parameter: str) -> str:
    name, _, value = parameter.replace("+", "%20").partition("=")
    spelled = _spelled(name, _IN_A_QUERY)
    return f"{spelled}={_spelled(value, _IN_A_QUERY)}" if value else spelled


def _spelled(text: str, safe: str) -> str:
    """The text with each character in its one spelling: %7E is ~, é is %C3%A9."""
    return text if _PLAIN.fullmatch(text) else quote(unquote_to_bytes(text), safe=safe)


def _host(netloc: str) -> str:
    """The host without its faces, in ASCII; the last two names stay whatever they are."""
    host, colon, port = netloc.partition(":") if netloc[0] != "[" else (netloc, "", "")
    if not host.isascii():
        with suppress(UnicodeError):  # no host at all, but still the name of one
            host = host.encode("idna").decode()
    names = [name for name in host.lower().split(".") if name]
    kept = [name for name in names[:-2] if name not in _FACES] + names[-2:]
    return ".".join(kept) + colon + port


def _segments(path: str) -> list[str]:
    """The names of a path, without dots, empty ones, and what asks for AMP."""
    found: list[str] = []
    for written in path.split("/"):
        name = _spelled(written, _IN_A_PATH)
        if name == "..":
            del found[-1:]
        elif name not in ("", "."):
            found.append(name)
    first = next((n for n, name in enumerate(found) if name.lower() != "amp"), len(found) - 1)
    del found[: max(first, 0)]
    while found and found[-1].lower().endswith(("amp", ".amp.html", ".amp.htm")):
        found[-1] = _AMP_PAGE.sub("", found[-1])
        if len(found) == 1 or found[-1].lower() != "amp":
            break
        found.pop()
    return found
