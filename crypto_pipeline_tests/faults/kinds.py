"""What a host can do, and the outcome that is right.

What is right, by meaning: who could not be heard is unreachable; wrong bytes are changed; told to
slow down is throttled; told no is refused; nothing there is empty. A status decides before a code,
a code before words. An answer is ok only with all that the honest answer had.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import Literal

from crypto_pipeline.sources import Endpoint
from crypto_pipeline.tables.outcomes import Outcome
from crypto_pipeline_tests.faults import bodies
from crypto_pipeline_tests.faults.bodies import MEGABYTE, body, leaves, made, parsed, raw, status
from crypto_pipeline_tests.upstream import Received, Reply, Rule, Say

Group = Literal["transport", "status", "wait", "body", "record", "message", "rpc", "feed", "header"]
Reads = Literal["json", "rpc", "feed"]

ANY: frozenset[Reads] = frozenset({"json", "rpc", "feed"})
JSON: frozenset[Reads] = frozenset({"json", "rpc"})
PLAIN: frozenset[Reads] = frozenset({"json"})
RPC: frozenset[Reads] = frozenset({"rpc"})
FEED: frozenset[Reads] = frozenset({"feed"})

HONEST: frozenset[Outcome] = frozenset()
"""Right is what the honest answer comes to, with all its rows: nothing is wrong with this one."""

NAMED: frozenset[Outcome] = frozenset(
    {"ok", "empty", "throttled", "refused", "unreachable", "changed"}
)
"""Any name is right where it depends on what the endpoint reads of the record: what counts is the
account, and that the neighbours land."""

NO_ROWS: frozenset[Outcome] = frozenset({"empty", "changed", "refused"})


@dataclass(frozen=True, slots=True)
class Kind:
    """One thing a host can do.

    right: the outcomes that are right; HONEST where nothing is wrong. reads: which readers it is
    for. heavy: megabytes, so that alone only some endpoints are asked. endless: a request never
    ends by itself, only with the patience of a collection, so that nobody is asked alone. wait_s:
    how long the host asked to be left alone, at least; no wait is ever longer than a day. kept:
    whether rows come with it all the same.
    """

    name: str
    group: Group
    right: frozenset[Outcome]
    say: Say | None = None
    fault: str | None = None
    reads: frozenset[Reads] = ANY
    heavy: bool = False
    endless: bool = False
    wait_s: float | None = None
    kept: bool = False

    def rule(self, match: str) -> Rule:
        return Rule(match, say=self.say, fault=self.fault)

    def suits(self, endpoint: Endpoint) -> bool:
        return reads(endpoint) in self.reads


def reads(endpoint: Endpoint) -> Reads:
    """How an endpoint is asked and read."""
    if endpoint.read == "feed":
        return "feed"
    return "rpc" if "jsonrpc" in repr(endpoint.json) else "json"


def _right(*outcomes: Outcome) -> frozenset[Outcome]:
    return frozenset(outcomes)


LOST = _right("unreachable")
CHANGED = _right("changed")
SLOW = _right("throttled")
NO = _right("refused")


# Transport


def _wire(
    fault: str,
    right: frozenset[Outcome] = LOST,
    *,
    heavy: bool = False,
    endless: bool = False,
) -> Kind:
    return Kind(fault, "transport", right, fault=fault, heavy=heavy, endless=endless)


def _redirect(name: str, to: str, right: frozenset[Outcome] = LOST) -> Kind:
    return Kind(f"redirect_{name}", "transport", right, status(302, Location=to))


def _redirect_to_itself(request: Received, _: Reply) -> Reply:
    return Reply(302, b"", headers=(("Location", f"https://{request.host}{request.path}"),))


MUTE = "mute.invalid"
"""A host that says nothing."""

_TRANSPORT = (
    *(_wire(name) for name in ("reset", "reset_in_body", "silent", "silent_in_body", "truncate")),
    *(_wire(name) for name in ("drip", "many_headers", "long_header")),
    *(
        _wire(name, endless=True)
        for name in ("drip_headers", "headers_without_end", "interim_without_end")
    ),
    _wire("chunks_without_end", LOST | CHANGED, heavy=True),
    _wire("big_bomb", LOST | CHANGED, heavy=True),
    *(_wire(name) for name in ("chunks_cut", "bad_chunk", "no_status", "strange_status")),
    *(_wire(name) for name in ("nothing", "http09", "garbage")),
    *(_wire(name) for name in ("half_gzip", "false_gzip", "brotli", "zstd", "strange_encoding")),
    *(_wire(name, HONEST) for name in ("chunked", "without_length", "gzip", "gzip_of_two")),
    *(_wire(name, HONEST) for name in ("zlib", "deflate")),
    Kind("redirect_loop", "transport", LOST, _redirect_to_itself),
    _redirect("to_http", "http://elsewhere.example/x"),
    _redirect("to_file", "file:///etc/passwd"),
    *(
        _redirect(f"to_{name}", f"https://{host}/latest")
        for name, host in {
            "loopback": "127.0.0.1", "private": "10.0.0.8", "metadata": "169.254.169.254",
            "v6_loopback": "[::1]", "v6_mapped": "[::ffff:127.0.0.1]", "localhost": "localhost",
        }.items()
    ),
    _redirect("to_mute", f"https://{MUTE}/"),
    _redirect("garbage", "https://[half/\x01 ::", LOST | CHANGED),
)  # fmt: skip


# Status

_STATUSES: Mapping[int, frozenset[Outcome]] = {
    201: CHANGED, 203: CHANGED, 204: _right("empty", "changed"), 206: CHANGED | LOST,
    300: CHANGED, 301: CHANGED, 302: CHANGED, 303: CHANGED, 304: CHANGED, 307: CHANGED,
    308: CHANGED, 400: NO, 401: NO, 402: NO, 403: NO, 404: NO, 405: NO, 408: LOST, 410: NO,
    418: SLOW, 422: NO, 425: LOST, 429: SLOW, 451: NO, 500: LOST, 501: LOST, 502: LOST, 503: LOST,
    504: LOST, 520: LOST, 521: LOST, 599: LOST, 999: LOST | CHANGED,
}  # fmt: skip

_STATUS = (
    *(Kind(f"status_{code}", "status", right, status(code)) for code, right in _STATUSES.items()),
    Kind("status_500_with_words", "status", LOST, body(b'{"msg": "rate limit"}', code=500)),
    Kind("status_404_with_words", "status", NO, body(b'{"msg": "too many letters"}', code=404)),
    Kind("status_401_with_words", "status", NO, body(b'{"msg": "quota of a key"}', code=401)),
    Kind("status_200_empty", "status", _right("empty"), body(b"")),
    Kind("status_200_blank", "status", _right("empty"), body(b" \r\n\t ")),
)


# Told to wait

ASKED_S = 900.0


def _wait(
    name: str,
    value: Callable[[float], dict[str, str]],
    code: int = 429,
    wait_s: float = ASKED_S - 30,
    right: frozenset[Outcome] | None = None,
) -> Kind:
    """A status with headers that are worked out when it is sent."""

    def say(_: Received, honest: Reply) -> Reply:
        return Reply(code, b"x", "text/plain", tuple(value(time.time()).items()))

    return Kind(f"wait_{name}", "wait", right or SLOW, say, wait_s=wait_s)


def _after(text: Callable[[float], str]) -> Callable[[float], dict[str, str]]:
    return lambda now: {"Retry-After": text(now)}


def _reset(name: str, text: Callable[[float], str]) -> Callable[[float], dict[str, str]]:
    return lambda now: {f"{name}-Remaining": "0", f"{name}-Reset": text(now)}


_IN_SECONDS = f"{ASKED_S:.0f}"
_WAIT = (
    _wait("seconds", _after(lambda now: _IN_SECONDS)),
    _wait("date", _after(lambda now: formatdate(now + ASKED_S, usegmt=True))),
    _wait("unix_seconds", _after(lambda now: f"{now + ASKED_S:.0f}")),
    _wait("unix_millis", _after(lambda now: f"{(now + ASKED_S) * 1000:.0f}")),
    _wait("fraction", _after(lambda now: f"{ASKED_S}")),
    _wait("twelve_digits", _after(lambda now: "9" * 12), wait_s=50),
    _wait("400_digits", _after(lambda now: "9" * 400), wait_s=50),
    _wait("negative", _after(lambda now: "-900"), wait_s=50),
    _wait("text", _after(lambda now: "soon"), wait_s=50),
    _wait("infinite", _after(lambda now: "inf"), wait_s=50),
    _wait("strange_digits", _after(lambda now: "\u00b2\u00b3"), wait_s=50),
    _wait("year_2099", _after(lambda now: "Mon, 23 Nov 2099 12:00:00 GMT"), wait_s=3600),
    _wait("year_1999", _after(lambda now: "Tue, 23 Nov 1999 12:00:00 GMT"), wait_s=50),
    _wait("year_99999", _after(lambda now: "Mon, 23 Nov 99999 12:00:00 GMT"), wait_s=50),
    _wait("503_seconds", _after(lambda now: _IN_SECONDS), 503, right=LOST | SLOW),
    _wait("503_date", _after(lambda now: formatdate(now + ASKED_S)), 503, right=LOST | SLOW),
    _wait("503_unix_millis", _after(lambda now: f"{(now + ASKED_S) * 1000:.0f}"), 503,
          right=LOST | SLOW),
    _wait("403_seconds", _after(lambda now: _IN_SECONDS), 403, right=NO | SLOW),
    _wait("x_ratelimit_seconds", _reset("X-RateLimit", lambda now: _IN_SECONDS)),
    _wait("x_ratelimit_moment", _reset("X-RateLimit", lambda now: f"{now + ASKED_S:.0f}")),
    _wait("ratelimit_seconds", _reset("RateLimit", lambda now: _IN_SECONDS)),
    _wait("ratelimit_field",
          lambda now: {"RateLimit": f"limit=100, remaining=0, reset={_IN_SECONDS}"}),
    _wait("ratelimit_item", lambda now: {"RateLimit": f'"default";r=0;t={_IN_SECONDS}'}),
)  # fmt: skip


# Bodies


def _page(title: str, text: str = "") -> Say:
    page = f"<!DOCTYPE html><html><head><title>{title}</title></head><body>{text}</body></html>"
    return body(page.encode(), "text/html")


def _body(
    name: str,
    right: frozenset[Outcome],
    say: Say,
    of: frozenset[Reads] = ANY,
    *,
    heavy: bool = False,
) -> Kind:
    return Kind(name, "body", right, say, reads=of, heavy=heavy)


_BODY = (
    _body("html_page", CHANGED, _page("Welcome")),
    _body("captcha_wall", NO, _page("Just a moment...", "<div class='cf-chl'>captcha</div>")),
    _body("maintenance_page", LOST | CHANGED, _page("We are down for maintenance")),
    _body("rate_limit_page", SLOW, _page("You are being rate limited")),
    _body("half_json", CHANGED, raw(lambda content: content.rstrip()[:-1]), JSON),
    _body("half_body", CHANGED, raw(lambda content: content[: len(content) // 3]), JSON),
    _body("one_byte", CHANGED, body(b"\xff")),
    _body("nan", CHANGED, body(b"NaN")),
    _body("nul_inside", CHANGED, raw(lambda c: c[: len(c) // 2] + b"\0" + c[len(c) // 2 :]), JSON),
    _body("nul_before_all", CHANGED, raw(lambda content: b"\0\0" + content), JSON),
    _body("bom", HONEST, raw(lambda content: b"\xef\xbb\xbf" + content), JSON),
    _body("blank_around", HONEST, raw(lambda content: b"\n \n" + content + b"\n\n"), JSON),
    _body("utf_16", CHANGED, raw(lambda content: content.decode().encode("utf-16")), JSON),
    _body("latin_1", CHANGED, raw(lambda content: content.replace(b'"', b'"\xe9') + b"\xe9"), JSON),
    _body("trailing_garbage", CHANGED, raw(lambda content: content + b"}]"), JSON),
    _body("jsonp", CHANGED, raw(lambda content: b"callback(" + content + b");"), JSON),
    _body("null", NO_ROWS, body(b"null"), JSON),
    _body("number", CHANGED | NO_ROWS, body(b"42"), JSON),
    _body("one_text", CHANGED | NO_ROWS, body(b'"x"'), JSON),
    _body("wrong_shape", NO_ROWS, body(b'{"surprise": [1, 2, 3]}'), JSON),
    _body("list_of_null", NO_ROWS, body(b"[null, null, null]"), JSON),
    _body("null_everywhere", NO_ROWS, parsed(bodies.everywhere(None)), JSON),
    _body("deep_nesting", CHANGED, body(b"[" * 100_000)),
    _body("deep_nesting_closed", CHANGED | NO_ROWS, body(b"[" * 100_000 + b"]" * 100_000)),
    _body("lists_8_mb", NO_ROWS, made(lambda: b"[" + b"[]," * 2_700_000 + b"[]]"), heavy=True),
    _body("objects_8_mb", NO_ROWS, made(lambda: b"[" + b"{}," * 2_700_000 + b"{}]"), heavy=True),
    _body("numbers_8_mb", NO_ROWS, made(lambda: b"[" + b"1," * 4_000_000 + b"1]"), heavy=True),
    _body("unclosed_script_112_kb", CHANGED, body(b"<script" * 16_000)),
    _body("unclosed_title_1_mb", CHANGED, body(b"<title" * 170_000, "text/html")),
    _body("spaces_5_mb", _right("empty"), made(lambda: b" " * 5 * MEGABYTE), heavy=True),
    _body("31_mb_of_one_text", NO_ROWS | _right("unreachable"),
          made(lambda: b'"' + b"x" * 31 * MEGABYTE + b'"'), heavy=True),
)  # fmt: skip


# Records


def _record(
    name: str,
    edit: bodies.Edit,
    right: frozenset[Outcome] = NAMED,
    *,
    heavy: bool = False,
) -> Kind:
    return Kind(name, "record", right, parsed(edit), reads=JSON, heavy=heavy)


def _digits(count: int) -> bodies.Edit:
    """Numbers of so many digits: an integer, since JSON allows any."""
    return leaves(number=lambda _: 10 ** (count - 1))


def _written(text: bytes) -> Say:
    """Every number of the honest answer as it is written here."""

    def edit(content: bytes) -> bytes:
        return parsed_bytes(content).replace(b'"A-NUMBER"', text)

    def parsed_bytes(content: bytes) -> bytes:
        asked = Received("GET", "", "")
        return parsed(leaves(number=lambda _: "A-NUMBER"))(asked, Reply(200, content)).body

    return raw(edit)


_RECORD = (
    *(
        Kind(f"numbers_{name}", "record", NAMED, _written(text), reads=JSON)
        for name, text in {
            "nan": b"NaN", "infinite": b"Infinity", "minus_infinite": b"-Infinity",
            "1e999": b"1e999", "400_digits": b"1" + b"0" * 399, "5000_digits": b"1" + b"0" * 4999,
            "minus_400_digits": b"-1" + b"0" * 399, "tiny": b"1e-400",
        }.items()
    ),
    _record("numbers_as_text", leaves(number=str)),
    _record("numbers_as_text_400_digits", leaves(number=lambda _: "9" * 400)),
    _record("numbers_as_lists", leaves(number=lambda _: [1])),
    _record("numbers_as_booleans", leaves(number=lambda _: True)),
    _record("text_as_numbers", leaves(text=lambda _: 7)),
    _record("text_as_nan", leaves(text=lambda _: float("nan"))),
    _record("text_as_objects", leaves(text=lambda _: {"a": {}})),
    _record("text_half_emoji", leaves(text=lambda text: text + bodies.HALF_EMOJI)),
    _record("text_only_half_emoji", leaves(text=lambda text: bodies.HALF_EMOJI)),
    _record("text_controls", leaves(text=lambda text: text + bodies.CONTROLS)),
    _record("text_nul", leaves(text=lambda text: text + "\0")),
    _record("text_half_emoji_once", bodies.one_text("A" + bodies.HALF_EMOJI + "USDT")),
    _record("text_escapes_once", bodies.one_text("A\x1b[31mRED")),
    _record("text_20_mb_once", bodies.one_text("x" * 20 * MEGABYTE), heavy=True),
    _record("text_112_kb_of_script", bodies.one_text("<script" * 16_000)),
    _record("text_112_kb_of_tags", leaves(text=lambda _: "<" * 112_000), heavy=True),
    _record("keys_half_emoji", bodies.keys(lambda name: name + bodies.HALF_EMOJI)),
    _record("keys_nul", bodies.keys(lambda name: name + "\0")),
    _record("keys_gone", bodies.keys(lambda name: "new_" + name)),
    _record("one_more_null", bodies.one_more(lambda _: None)),
    _record("one_more_nan", bodies.one_more(leaves(number=lambda _: float("nan")))),
    _record("one_more_half_emoji", bodies.one_more(leaves(text=lambda t: t + bodies.HALF_EMOJI))),
    _record("one_more_deep", bodies.one_more(leaves(text=lambda _: bodies.nested(400)))),
    _record("one_more_of_400_digits", bodies.one_more(_digits(400))),
    _record("one_more_10_mb", bodies.one_more(leaves(text=lambda _: "y" * 10 * MEGABYTE)),
            heavy=True),
    _record("records_5_mb", bodies.repeated(5 * MEGABYTE), heavy=True),
    _record("records_5_mb_wrong", bodies.repeated(5 * MEGABYTE, bodies.everywhere(None)),
            heavy=True),
    _record("records_5_mb_as_text", bodies.repeated(5 * MEGABYTE, leaves(number=lambda _: "free")),
            heavy=True),
    Kind("duplicate_keys", "record", NAMED, raw(lambda c: c.replace(b"{", b'{"a":1,"a":2,', 3)),
         reads=JSON),
)  # fmt: skip


# Messages that come as HTTP 200


def _message(name: str, right: frozenset[Outcome], content: bytes) -> Kind:
    return Kind(f"message_{name}", "message", right, body(content), reads=JSON)


_MESSAGE = (
    _message("rate_limit", SLOW, b'{"error": "Rate limit exceeded"}'),
    _message("too_many", SLOW, b'{"msg": "Too many requests, slow down"}'),
    _message("maintenance", LOST, b'{"msg": "System maintenance"}'),
    _message("invalid_key", NO, b'{"error": "Invalid API key"}'),
    _message("code_429", SLOW, b'{"code": 429, "message": "x"}'),
    _message("code_429_inside", SLOW, b'{"error": {"code": 429, "message": "x"}}'),
    _message("code_503", LOST, b'{"code": 503, "message": "x"}'),
    _message("code_401", NO, b'{"code": 401, "message": "x"}'),
    _message("code_401_before_words", NO, b'{"code": 401, "message": "key over no quota"}'),
    _message("code_500_before_words", LOST, b'{"code": 500, "message": "no frequency found"}'),
    _message("half_emoji", NO, b'{"error": "no such \\ud83d thing"}'),
    _message("controls", NO, bodies.dumped({"error": "no " + bodies.CONTROLS})),
    Kind("message_5_mb", "message", NO,
         made(lambda: b'{"error": "' + b"no such thing " * 360_000 + b'"}'), reads=JSON,
         heavy=True),
    Kind("message_list_5_mb", "message", NO,
         made(lambda: b'{"errors": [' + b'"no such thing",' * 320_000 + b'"x"]}'), reads=JSON,
         heavy=True),
)  # fmt: skip


# JSON-RPC

ANOTHER_NUMBER = _right("changed", "ok")
"""Who asked one thing may take the one answer for it, whatever its number."""


def _rpc(name: str, right: frozenset[Outcome], say: Say) -> Kind:
    return Kind(f"rpc_{name}", "rpc", right, say, reads=RPC)


_RPC = (
    _rpc("code_32005", SLOW, bodies.rpc_error(-32005)),
    _rpc("code_32603", LOST, bodies.rpc_error(-32603)),
    _rpc("code_32601", NO, bodies.rpc_error(-32601)),
    _rpc("code_32601_before_words", NO, bodies.rpc_error(-32601, "no method of credits")),
    _rpc("code_429", SLOW, bodies.rpc_error(429)),
    _rpc("error_half_emoji", NO, bodies.rpc_error(-32601, "no " + bodies.HALF_EMOJI)),
    _rpc("error_is_text", NO, bodies.body(b'{"jsonrpc": "2.0", "id": 1, "error": "no"}')),
    _rpc("single_error", SLOW, bodies.rpc_single({"error": {"code": -32005, "message": "x"}})),
    _rpc("single_result", CHANGED, bodies.rpc_single({"result": {}})),
    _rpc("id_1e999", ANOTHER_NUMBER, bodies.rpc_number(b"1e999")),
    _rpc("id_nan", ANOTHER_NUMBER, bodies.rpc_number(b"NaN")),
    _rpc("id_text", ANOTHER_NUMBER, bodies.rpc_number(b'"first"')),
    _rpc("id_list", ANOTHER_NUMBER, bodies.rpc_number(b"[1]")),
    _rpc("id_far", ANOTHER_NUMBER, bodies.rpc_number(b"99")),
    _rpc("id_minus", ANOTHER_NUMBER, bodies.rpc_number(b"-7")),
    _rpc("id_5000_digits", CHANGED, bodies.rpc_number(b"9" * 5000)),
    _rpc("result_null", NO_ROWS | LOST, bodies.rpc_result(None)),
    _rpc("result_words", CHANGED, bodies.rpc_result("rate limit")),
    _rpc("result_huge", CHANGED, bodies.rpc_result("0x" + "f" * 1000)),
    _rpc("result_infinite", CHANGED, bodies.rpc_result(float("inf"))),
    replace(
        _rpc("results_8_mb", NO_ROWS, made(lambda: b"[" + b"{}," * 2_700_000 + b"{}]")), heavy=True
    ),
)


# Feeds


def _feed(name: str, right: frozenset[Outcome], say: Say, *, heavy: bool = False) -> Kind:
    return Kind(f"feed_{name}", "feed", right, say, reads=FEED, heavy=heavy)


_FEED = (
    _feed("cut", CHANGED, raw(bodies.cut_feed)),
    replace(_feed("without_end", CHANGED, raw(bodies.endless_feed)), kept=True),
    replace(
        _feed("cut_of_many", CHANGED, body(bodies.feed(300)[:-3000], "application/xml")), kept=True
    ),
    _feed("entity_bomb", CHANGED, body(bodies.entity_bomb(), "application/xml")),
    _feed("external_entity", CHANGED, body(bodies.EXTERNAL_ENTITY, "application/xml")),
    _feed("of_100000", _right("ok", "changed", "unreachable"), made(lambda: bodies.feed(100_000)),
          heavy=True),
    _feed("undeclared_encoding", _right("ok", "changed"),
          raw(lambda c: c.replace(b"<title>", b"<title>caf\xe9 "))),
    _feed("utf_16", _right("ok", "changed"), raw(lambda c: c.decode().encode("utf-16"))),
    _feed("nul", _right("ok", "changed"), raw(lambda c: c.replace(b"<title>", b"<title>\0"))),
    _feed("control_references", _right("ok", "changed"),
          raw(lambda c: c.replace(b"<title>", b"<title>&#x1b;[31m&#0;&#xd83d;"))),
    _feed("112_kb_of_script", NAMED,
          made(lambda: bodies.feed(3, content="&lt;script" * 11_000)), heavy=True),
    _feed("112_kb_of_comments", NAMED,
          made(lambda: bodies.feed(3, content="&lt;!--" * 16_000)), heavy=True),
    _feed("deep", _right("changed", "empty"), body(b"<rss><channel>" + b"<a>" * 100_000)),
    _feed("title_20_mb", NAMED,
          made(lambda: bodies.feed(1).replace(b"Entry 0", b"x" * 20 * MEGABYTE)), heavy=True),
    _feed("empty", _right("empty", "changed"), body(bodies.feed(0), "application/xml")),
    _feed("json", _right("empty", "changed"),
          body(b'{"version": "https://jsonfeed.org/version/1", "items": []}')),
)  # fmt: skip


# Headers


def _header(name: str, say: Say, right: frozenset[Outcome] = HONEST) -> Kind:
    return Kind(f"header_{name}", "header", right, say)


def _cookies(count: int) -> Say:
    more = tuple(("Set-Cookie", f"c{n}={'x' * 100}; Path=/") for n in range(count))
    return lambda _, honest: replace(honest, headers=(*honest.headers, *more))


_HEADER = (
    _header("etag_controls", bodies.headers(ETag='"\x01\x1b[31m\x7f"')),
    _header("etag_latin_1", bodies.headers(ETag='"\xe9\xff"')),
    _header("etag_60_kb", bodies.headers(ETag='"' + "x" * 60_000 + '"')),
    _header("etag_100_kb", bodies.headers(ETag='"' + "x" * 100_000 + '"'), LOST),
    _header("last_modified_garbage", bodies.headers(Last_Modified="yesterday \xff")),
    _header("content_type_wrong", lambda _, h: replace(h, content_type="image/png")),
    _header("content_type_garbage", lambda _, h: replace(h, content_type=";;;charset=\xff\x01")),
    _header("charset_wrong", lambda _, h: replace(h, content_type="text/html; charset=utf-7")),
    _header("location", bodies.headers(Location="https://127.0.0.1/")),
    _header("date_1999", bodies.headers(Date="Tue, 23 Nov 1999 12:00:00 GMT")),
    _header("date_2099", bodies.headers(Date="Mon, 23 Nov 2099 12:00:00 GMT")),
    _header("cookies_80", _cookies(80)),
    _header("cookies_100", _cookies(100), LOST),
    _header("retry_after_with_200", bodies.headers(Retry_After="900")),
    _header("remaining_0_with_200", bodies.headers(RateLimit_Remaining="0", RateLimit_Reset="60")),
)

KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        *_TRANSPORT, *_STATUS, *_WAIT, *_BODY, *_RECORD, *_MESSAGE, *_RPC, *_FEED, *_HEADER
    )
}  # fmt: skip
"""Every kind by its name, in the order of its group."""
