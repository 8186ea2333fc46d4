"""Addresses of articles: one key for all that lead to the same one, and an address that opens."""

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_pipeline.addresses import article_key, cleaned, telling_fragment

PLAIN = "https://paper.example/caf%C3%A9/rally"
PLAIN_VARIANTS = [
    "http://paper.example/caf%C3%A9/rally",
    "HTTPS://Paper.Example/caf%C3%A9/rally",
    "https://www.paper.example/caf%C3%A9/rally",
    "https://m.paper.example/caf%C3%A9/rally",
    "https://mobile.paper.example/caf%C3%A9/rally",
    "https://amp.paper.example/caf%C3%A9/rally",
    "https://paper.example./caf%C3%A9/rally",
    "https://paper.example:443/caf%C3%A9/rally",
    "http://paper.example:80/caf%C3%A9/rally",
    "https://paper.example/caf%C3%A9/rally/",
    "https://paper.example/café/rally",
    "https://paper.example/caf%c3%a9/rally",
    "https://paper.example/caf%C3%A9/r%61lly",
    "https://paper.example//caf%C3%A9/rally",
    "https://paper.example/./caf%C3%A9/rally",
    "https://paper.example/old/../caf%C3%A9/rally",
    "https://paper.example/caf%C3%A9/rally/amp/",
    "https://paper.example/amp/caf%C3%A9/rally",
    "https://paper.example/caf%C3%A9/rally.amp",
    "https://paper.example/caf%C3%A9/rally?amp=1",
    "https://paper.example/caf%C3%A9/rally?amp",
    "https://paper.example/caf%C3%A9/rally?outputType=amp",
    "https://www.google.com/amp/s/paper.example/caf%C3%A9/rally/amp/",
    "https://paper-example.cdn.ampproject.org/c/s/paper.example/caf%C3%A9/rally",
    "https://paper.example/caf%C3%A9/rally?",
    "https://paper.example/caf%C3%A9/rally#comments",
    "https://paper.example/caf%C3%A9/rally#utm_source=rss",
    "https://paper.example/caf%C3%A9/rally?utm_source=rss&utm_medium=feed",
    "https://paper.example/caf%C3%A9/rally?fbclid=a",
    "https://paper.example/caf%C3%A9/rally?gclid=a",
    "https://paper.example/caf%C3%A9/rally?twclid=a",
    "https://paper.example/caf%C3%A9/rally?msclkid=a",
    "https://paper.example/caf%C3%A9/rally?yclid=a",
    "https://paper.example/caf%C3%A9/rally?igshid=a",
    "https://paper.example/caf%C3%A9/rally?mc_cid=a&mc_eid=b",
    "https://paper.example/caf%C3%A9/rally?mkt_tok=a",
    "https://paper.example/caf%C3%A9/rally?ref=frontpage",
    "https://paper.example/caf%C3%A9/rally?ref_src=twsrc",
    "https://paper.example/caf%C3%A9/rally?src=rss",
    "https://paper.example/caf%C3%A9/rally?from=rss",
    "https://paper.example/caf%C3%A9/rally?source=rss_feed",
    "https://paper.example/caf%C3%A9/rally?_ga=1.2",
    "https://paper.example/caf%C3%A9/rally?cmpid=x&amp;utm_term=y",
]
QUERY = "https://bücher.example/view?id=1&tag=a~b"
QUERY_VARIANTS = [
    "https://bücher.example/view?tag=a~b&id=1",
    "https://xn--bcher-kva.example/view?id=1&tag=a~b",
    "https://bücher.example/view?id=1&tag=a%7Eb",
    "https://bücher.example/view/?id=1&&tag=a~b&utm_id=9",
]
VARIANTS = [(PLAIN, v) for v in PLAIN_VARIANTS] + [(QUERY, v) for v in QUERY_VARIANTS]

DISTINCT = [
    "https://paper.example/",
    "https://paper.example/a",
    "https://paper.example/A",
    "https://paper.example/a/b",
    "https://paper.example/a.html",
    "https://paper.example/a%2Fb",
    "https://paper.example/amp",
    "https://paper.example/?id=1",
    "https://paper.example/?id=2",
    "https://paper.example/?p=12",
    "https://paper.example/?p=12&page=2",
    "https://paper.example/?q=a%26b=c",
    "https://paper.example/?q=a&b=c",
    "https://paper.example/?q=1%2B1",
    "https://paper.example/?q=1+1",
    "https://paper.example/?from=2024",
    "https://paper.example/?source=reuters",
    "https://paper.example/#!/a",
    "https://paper.example:8443/a",
    "https://news.paper.example/a",
    "https://other.example/a",
    "https://m.example/a",
    "https://www.example/a",
    "https://paper.example/caf%E9",
    "https://paper.example/caf%C3%A9",
]

ADDRESSES = st.builds(
    "{}://{}{}{}{}".format,
    st.sampled_from(["http", "https", "HTTP"]),
    st.sampled_from(["a.example", "www.m.a.example", "bücher.example.", "[::1]:80", "amp.dev"]),
    st.text("/.%2Eaé~&=+;:@ampAMP ", max_size=20).map(lambda path: "/" + path),
    st.text("?&=+%2Bamputm_ref1é/", max_size=20).map(lambda query: "?" + query),
    st.sampled_from(["", "#x", "#!/x", "#utm_source=x"]),
)


def test_there_are_as_many_variants_as_were_looked_at() -> None:
    assert len(set(VARIANTS)) == 47


@pytest.mark.parametrize(("address", "variant"), VARIANTS)
def test_an_article_has_one_key_however_it_is_addressed(address: str, variant: str) -> None:
    assert article_key(variant) == article_key(address)


def test_keys_look_like_addresses() -> None:
    assert article_key(PLAIN) == "paper.example/caf%C3%A9/rally"
    assert article_key(QUERY) == "xn--bcher-kva.example/view?id=1&tag=a~b"


def test_other_articles_have_other_keys() -> None:
    keys = [article_key(address) for address in DISTINCT]
    assert len(set(keys)) == len(DISTINCT)


def test_what_tells_apart_is_in_the_key() -> None:
    page = "https://paper.example/changelog"
    assert len({article_key(page, mark) for mark in ("", "d0", "d1", "tag:x,2026:1")}) == 4


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (
            "HTTPS://WWW.News.Example/a/B/?utm_source=x&id=7&fbclid=z#top",
            "https://www.news.example/a/B/?id=7",
        ),
        ("http://m.news.example/amp/a?amp=1", "http://m.news.example/amp/a?amp=1"),
        ("https://news.example", "https://news.example/"),
        ("https://user:word@news.example:8443/a", "https://news.example:8443/a"),
        ("https://news.example/a?b=1&amp;c=2&#038;d=3", "https://news.example/a?b=1&c=2&d=3"),
        ("https://news.example/a b", "https://news.example/a%20b"),
        ("https://news.example/#!/a", "https://news.example/#!/a"),
        ("http://[::1]:8080/a", "http://[::1]:8080/a"),
    ],
)
def test_an_address_is_kept_so_that_it_opens(written: str, kept: str) -> None:
    assert cleaned(written) == kept


def test_a_fragment_is_kept_where_it_tells_apart() -> None:
    assert cleaned("https://news.example/log#d1", "d1") == "https://news.example/log#d1"
    assert cleaned("https://news.example/log#d1", "a name") == "https://news.example/log"


@pytest.mark.parametrize("fragment", ["", "top", "comments", "respond", "more-12", "a=b", "!/x"])
def test_a_fragment_that_names_no_article(fragment: str) -> None:
    assert telling_fragment(f"https://news.example/a#{fragment}") == ""
    assert telling_fragment("https://news.example/a#d1") == "d1"


@pytest.mark.parametrize(
    "written",
    ["", "javascript:alert(1)", "urn:1", "//news.example/a", "https://", "https:///a",
     "https://a b/c", "https://[::1", "https://news.example:port/",
     f"https://{'a' * 300}.example/"],
)  # fmt: skip
def test_what_is_no_web_address_is_refused(written: str) -> None:
    for made in (article_key, cleaned):
        with pytest.raises(ValueError, match=r"address|host|port|IPv6"):
            made(written)


@given(ADDRESSES)
def test_a_key_and_a_kept_address_stay_what_they_are(address: str) -> None:
    key, kept = article_key(address), cleaned(address)
    assert cleaned(kept) == kept
    assert article_key(kept) == key
    assert article_key(f"https://{key}") == key


@given(st.text(max_size=200))
def test_any_text_has_a_key_or_is_refused(text: str) -> None:
    with suppress(ValueError):
        assert article_key(text) == article_key(cleaned(text))


@pytest.mark.parametrize("part", ["/..", "/amp", "%", "&", "?a", ";", "=", "&amp;", ".amp", "#"])
def test_a_long_address_costs_no_more_than_its_length(part: str) -> None:
    def cost(length: int) -> float:
        address = "https://news.example/" + part * (length // len(part))
        began = time.process_time()
        article_key(address)
        cleaned(address)
        return time.process_time() - began

    cost(1_000)
    assert cost(400_000) < 40 * cost(40_000) + 0.2
