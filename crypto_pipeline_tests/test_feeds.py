"""Feeds: whatever their charset, markup, links, titles and dates, articles or a reason."""

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_pipeline.collection import dates
from crypto_pipeline.collection.exchange import Answer
from crypto_pipeline.collection.extract import Extraction, extract
from crypto_pipeline.sources import Source
from crypto_pipeline.sources.spec import Ask
from crypto_pipeline.sources.values import article, feed_article
from crypto_pipeline.tables import NewsArticle
from crypto_pipeline_tests.upstream import RECORDINGS

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
FEED = Source("paper", "https://paper.example", docs="https://paper.example/feed").feed("/feed")
RDF = 'xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
DECLARED = '<?xml version="1.0" encoding="{}"?>'


def read(body: str | bytes, content_type: str = "application/rss+xml") -> Extraction:
    raw = body.encode() if isinstance(body, str) else body
    return extract(FEED, Ask(), Answer(200, raw, content_type, NOW), "c")


def articles(found: Extraction) -> list[NewsArticle]:
    assert len(found.rows) + found.left_out + len(found.rejects) == found.records
    return [row for row in found.rows if isinstance(row, NewsArticle)]


def rss(*items: str, attributes: str = "") -> str:
    return (
        f'<rss version="2.0"{attributes}><channel><title>Paper</title>'
        f"<link>https://paper.example/</link>{''.join(items)}</channel></rss>"
    )


def item(title: str = "A", link: str = "https://paper.example/a", more: str = "") -> str:
    return f"<item><title>{title}</title><link>{link}</link>{more}</item>"


def atom(*entries: str, attributes: str = "", link: str = "https://paper.example/") -> str:
    return (
        f'<feed xmlns="http://www.w3.org/2005/Atom"{attributes}><title>Paper</title>'
        f'<link href="{link}"/>{"".join(entries)}</feed>'
    )


def titles(body: str | bytes, content_type: str = "application/rss+xml") -> list[str]:
    return [row.title for row in articles(read(body, content_type))]


def urls(body: str | bytes) -> list[str]:
    return [row.url for row in articles(read(body))]


def test_a_feed_becomes_articles() -> None:
    found = read(
        rss(
            item(
                "<![CDATA[ A &amp; B ]]>",
                "https://paper.example/a?utm_source=rss",
                "<pubDate>Mon, 23 Nov 2026 11:00:00 +0000</pubDate><category>bitcoin</category>"
                "<description>&lt;p&gt;One&lt;/p&gt;</description>"
                "<author>ada@paper.example (Ada Reed)</author>",
            ),
            item("Undated", "https://paper.example/b", "<pubDate>soon</pubDate>"),
            "<item><link>https://paper.example/c</link></item>",
        )
    )
    first, second = articles(found)
    assert (found.outcome, found.reason, len(found.rejects)) == ("ok", None, 1)
    assert (first.title, first.url) == ("A & B", "https://paper.example/a")
    assert first.published_at == NOW - timedelta(hours=1)
    assert (first.content, first.tags, first.author) == ("One", ["bitcoin"], "Ada Reed")
    assert (second.title, second.published_at) == ("Undated", None)


@pytest.mark.parametrize(
    "body",
    [
        "<html><body>Not a feed, but <rss></rss></body></html>",
        "not xml at all",
        '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><rss>&a;</rss>',
    ],
)
def test_what_is_no_feed_is_changed(body: str) -> None:
    assert read(body).outcome == "changed"


# Charsets


@pytest.mark.parametrize(
    ("charset", "word"),
    [
        ("windows-1251", "Биткоин вырос"),
        ("windows-1256", "ارتفاع البيتكوين"),
        ("koi8-r", "Биткоин вырос"),
        ("shift_jis", "ビットコイン"),
        ("gb2312", "比特币上涨"),
        ("euc-kr", "비트코인"),
        ("iso-2022-jp", "ビットコイン"),
        ("utf-8", "Биткоин"),
    ],
)
@pytest.mark.parametrize("where", ["the header", "its declaration"])
def test_a_charset_is_taken_from_where_it_is_named(charset: str, word: str, where: str) -> None:
    named = where == "the header"
    body = ("" if named else DECLARED.format(charset)) + rss(item(word))
    kind = f'text/xml; charset="{charset}"' if named else "text/xml"
    found = read(body.encode(charset), kind)
    assert [row.title for row in articles(found)] == [word]
    assert found.reason is None


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (DECLARED.format("utf-8").encode() + rss(item("Цена")).encode("cp1251"), "windows-1251"),
        (rss(item("Цена")).encode("utf-8-sig"), "windows-1251"),
        (rss(item("Цена")).encode("utf-16"), "windows-1251"),
        (rss(item("Цена")).encode("utf-16-be"), ""),
        (("\ufeff" + rss(item("Цена"))).encode("utf-32-le"), ""),
        (DECLARED.format("utf-16").encode() + rss(item("Цена")).encode(), ""),
    ],
    ids=["header before declaration", "mark", "utf-16", "no mark", "utf-32", "not utf-16"],
)
def test_a_mark_comes_before_the_header_and_the_header_before_the_declaration(
    body: bytes, kind: str
) -> None:
    assert titles(body, f"text/xml; charset={kind}") == ["Цена"]


@pytest.mark.parametrize(
    ("body", "charset", "title", "said"),
    [
        (rss(item("Цена")).encode(), "iso-8859-1", "Цена", "charset utf-8 instead of cp1252"),
        (
            DECLARED.format("windows-1251").encode() + rss(item("Цена")).encode("cp1251"),
            "utf-8",
            "Цена",
            "charset cp1251 instead of utf-8",
        ),
        (
            rss(item("Цена биткоина")).encode().replace("а".encode(), b"\xff", 1),
            "utf-8",
            "Цен\ufffd биткоина",
            "1 characters not in utf-8",
        ),
    ],
)
def test_a_charset_that_is_wrong_is_said(body: bytes, charset: str, title: str, said: str) -> None:
    found = read(body, f"text/xml; charset={charset}")
    assert [row.title for row in articles(found)] == [title]
    assert (found.outcome, found.reason) == ("ok", f"mended: {said}")


@pytest.mark.parametrize("name", ["base64", "idna", "unicode_escape", "utf-7", "no-such", "x" * 99])
def test_only_charsets_are_believed(name: str) -> None:
    assert titles(rss(item("Цена")), f"text/xml; charset={name}") == ["Цена"]


# Markup that is mended


@pytest.mark.parametrize(
    ("broken", "title", "url", "said"),
    [
        (
            item("R&D at AT&T &lt;3", "https://paper.example/c?id=1&h=chain"),
            "R&D at AT&T <3",
            "https://paper.example/c?id=1&h=chain",
            "3 bare ampersands",
        ),
        (item("Up&nbsp;5&euro;"), "Up 5€", None, "2 undeclared entities"),
        (item("1 < 2"), "1 < 2", None, "1 bare brackets"),
        (item("a\x0bb"), "a b", None, "1 control characters"),
        (item("a&#11;b"), "a�b", None, "1 references to no character"),
        (item("A", more="<source url=x>y</source>"), "A", None, "1 attributes without quotes"),
    ],
)
def test_what_is_mended_is_said_and_costs_nothing_behind_it(
    broken: str, title: str, url: str | None, said: str
) -> None:
    whole = item("S&amp;P 500 and &lt;b&gt;gold&lt;/b&gt;", "https://paper.example/?id=1&amp;p=2")
    found = read(rss(broken, whole))
    first, second = articles(found)
    assert (first.title, first.url) == (title, url or "https://paper.example/a")
    assert (second.title, second.url) == ("S&P 500 and gold", "https://paper.example/?id=1&p=2")
    assert (found.outcome, found.reason) == ("ok", f"mended: {said}")


def test_a_section_of_cdata_is_not_mended() -> None:
    found = read(
        rss(
            item("a & b"),
            item("c", "<![CDATA[https://paper.example/?id=1&p=2]]>"),
            "<!-- & --><!-- <![CDATA[ & -->",
        )
    )
    assert [row.url for row in articles(found)][1] == "https://paper.example/?id=1&p=2"
    assert found.reason == "mended: 1 bare ampersands"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (rss(item("A", more="<description>x<br>y</description>")), "mismatch"),
        (rss(item("A", more="<media:content/>")), "not well-formed: Namespace prefix media"),
        (rss(item()) + "<script>x()</script>", "text behind its end"),
    ],
)
def test_what_the_parser_had_to_guess_is_said(body: str, said: str) -> None:
    found = read(body)
    assert len(articles(found)) == 1
    assert found.outcome == "ok"
    assert said in (found.reason or "")


def test_entries_that_a_broken_feed_lost_are_counted() -> None:
    deep = "<a>" * 300 + "</a>" * 300
    found = read(rss(item("A"), item("B", "https://paper.example/b", deep), item("C")))
    assert found.outcome == "changed"
    assert "could not be read" in (found.reason or "")


def test_a_feed_without_its_end_loses_its_last_entry_alone() -> None:
    body = rss(item("A"), item("B & C", "https://paper.example/b"), item("D"))
    found = read(body[: body.index("</channel>") - 20])
    assert [row.title for row in articles(found)] == ["A", "B & C"]
    assert found.outcome == "changed"
    assert (found.reason or "").startswith("the feed is cut")


# Links


def test_relative_links_are_joined_with_their_base() -> None:
    base = "https://base.example/dir/"
    body = atom(
        '<entry><title>1</title><link href="posts/1"/></entry>',
        '<entry xml:base="When/"><title>2</title><link href="BMS"/></entry>',
        '<entry><title>3</title><link href="?p=3"/></entry>',
        '<entry><title>4</title><link xml:base="/up/" href="4"/></entry>',
        attributes=f' xml:base="{base}"',
    )
    assert urls(body) == [f"{base}posts/1", f"{base}When/BMS", f"{base}?p=3",
                          "https://base.example/up/4"]  # fmt: skip


def test_without_a_base_links_are_relative_to_the_site_or_else_to_the_feed() -> None:
    assert urls(rss(item(link="/a"), item(link="b/c"), item(link="//other.example/d"))) == [
        "https://paper.example/a",
        "https://paper.example/b/c",
        "https://other.example/d",
    ]
    assert urls(rss(item(link="a")).replace("https://paper.example/", "/blog/")) == [
        "https://paper.example/blog/a"
    ]


@pytest.mark.parametrize(
    ("links", "url"),
    [
        ('<link rel="self" href="/s"/><link rel="replies" href="/r"/><link href="/a"/>', "/a"),
        ('<link type="application/pdf" href="/p"/><link type="text/html" href="/a"/>', "/a"),
        ('<link rel="alternate" type="application/pdf" href="/p"/>', "/p"),
        ("<link>\n https://paper.example/\n a </link>", "/a"),
        ("<link/><guid>https://paper.example/a</guid>", "/a"),
        ("<link>www.paper.example/a</link>", None),
    ],
)
def test_the_link_of_an_entry_is_its_page(links: str, url: str | None) -> None:
    expected = f"https://paper.example{url}" if url else "https://www.paper.example/a"
    assert urls(rss(f"<item><title>A</title>{links}</item>")) == [expected]


@pytest.mark.parametrize("name", ["tag:paper,2026:1", "12", "urn:1"])
def test_a_name_that_is_no_address_is_no_link(name: str) -> None:
    found = read(rss(f"<item><title>A</title><guid>{name}</guid></item>"))
    assert "not a web address" in found.rejects[0].reason


def test_a_name_that_says_it_is_no_address_is_no_link() -> None:
    guid = '<guid isPermaLink="false">https://paper.example/a</guid>'
    found = read(rss(f"<item><title>A</title>{guid}</item>"))
    assert found.rejects[0].reason == "None is not a web address"


# Titles


@pytest.mark.parametrize(
    ("title", "whole"),
    [
        ('<title><a href="/x">Whole title</a> here</title>', "Whole title here"),
        ("<title>A <b>bold</b> word</title>", "A bold word"),
        ("<title>b<b>ol</b>d<!-- not this -->ly</title>", "boldly"),
        ("<title>A<br/>B</title>", "A B"),
        ('<title type="text">The &lt;b&gt; tag &amp;amp; I</title>', "The <b> tag & I"),
        ("<title>A &lt;b&gt;bold&lt;/b&gt; word</title>", "A bold word"),
        ("<title><![CDATA[A <b>bold</b> word]]></title>", "A bold word"),
        ("<title> </title><description>Only words</description>", "Only words"),
        ("<description>&lt;p&gt;Only words&lt;/p&gt;</description>", "Only words"),
        (f"<description>{'word ' * 40}</description>", "word " * 18 + "word word…"),
        ('<m:title xmlns:m="http://search.yahoo.com/mrss/">M</m:title><title>A</title>', "A"),
        ('<dc:title xmlns:dc="http://purl.org/dc/elements/1.1/">D</dc:title>', "D"),
    ],
)
def test_a_title_is_whole(title: str, whole: str) -> None:
    assert titles(rss(f"<item>{title}<link>https://paper.example/a</link></item>")) == [whole]


def test_a_title_of_xhtml_is_read() -> None:
    title = '<div xmlns="http://www.w3.org/1999/xhtml">A <b>B</b> C</div>'
    link = '<link href="https://paper.example/a"/>'
    assert titles(atom(f'<entry><title type="xhtml">{title}</title>{link}</entry>')) == ["A B C"]


def test_an_article_of_any_source_without_a_title_begins_with_its_text() -> None:
    assert article(None, "https://paper.example/a", None, content="Words")["title"] == "Words"
    assert (
        article("", "https://paper.example/a", None, content="字" * 150)["title"]
        == "字" * 100 + "…"
    )
    assert article(None, "https://paper.example/a", None)["title"] is None


@pytest.mark.parametrize(
    "root",
    [
        f'<r:RDF {RDF} xmlns="http://purl.org/rss/1.0/"><channel/>{{}}</r:RDF>',
        '<feed xmlns="http://purl.org/atom/ns#">{}</feed>',
        '<rss xmlns="http://nobody.example/knows"><channel>{}</channel></rss>',
        "<rss><channel><items>{}</items></channel></rss>",
        "<rss>{}</rss>",
    ],
)
def test_entries_are_found_in_every_kind_of_feed(root: str) -> None:
    assert titles(root.format(item())) == ["A"]


def test_an_undeclared_prefix_of_the_feed_itself_is_forgiven() -> None:
    body = rss(item()).replace("<", "<rss:").replace("<rss:/", "</rss:")
    assert titles(body) == ["A"]


# Dates


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Thu, 26 Nov 2026 10:00:00 IRST", "2026-11-26T06:30:00Z"),
        ("Thu, 26 Nov 2026 10:00:00 UTC+3", "2026-11-26T07:00:00Z"),
        ("Thu, 26 Nov 2026 10:00:00 GMT+03:30", "2026-11-26T06:30:00Z"),
        ("Thu, 26 Nov 2026 10:00:00 EST", "2026-11-26T15:00:00Z"),
        ("Thu, 26 Nov 2026 10:00:00 PDT", "2026-11-26T17:00:00Z"),
        ("Thu, 26 Nov 2026 10:00:00 CST", "2026-11-26T16:00:00Z"),
        ("26 Nov 26 10:00 JST", "2026-11-26T01:00:00Z"),
        ("Thu, 26 Nov 2026 10:00:00 +0530", "2026-11-26T04:30:00Z"),
        ("Thu, 26 Nov 2026 10:00:00", "2026-11-26T10:00:00Z"),
        ("2026-11-26T10:00:00-0500", "2026-11-26T15:00:00Z"),
        ("2026-11-26 10:00:00 +0000", "2026-11-26T10:00:00Z"),
        ("2026-11-26T10:00:00 KST", "2026-11-26T01:00:00Z"),
        ("2026/11/26 10:00", "2026-11-26T10:00:00Z"),
        ("2026-11-26", "2026-11-26T00:00:00Z"),
        ("05/11/2026 10:00", "2026-11-05T10:00:00Z"),
        ("05.11.2026 10:00", "2026-11-05T10:00:00Z"),
        ("November 26th, 2026 at 10:15 p.m.", "2026-11-26T22:15:00Z"),
        ("Nov 26, 2026 12:05 AM EST", "2026-11-26T05:05:00Z"),
        ("Thu Nov 26 10:00:00 UTC 2026", "2026-11-26T10:00:00Z"),
        ("Thu Nov 26 2026 10:00:00 GMT+0330 (Iran Standard Time)", "2026-11-26T06:30:00Z"),
    ],
)
def test_a_date_means_its_moment(text: str, moment: str) -> None:
    assert dates.moment(text) == datetime.fromisoformat(moment)


@pytest.mark.parametrize(
    "text",
    [
        *("", "soon", "10:15", "Thursday", "26 Nov", "Nov 2026", "2026", "2026-11", "1405/09/05"),
        *("Thu, 26 Nov 2026 10:00:00 IST", "Thu, 26 Nov 2026 10:00:00 BST"),
        *("Thu, 26 Nov 2026 10:00:00 A", "Thu, 26 Nov 2026 10:00:00 XYZT"),
        *("Thu, 26 Nov 2026 10:00:00 JST+3", "Thu, 26 Nov 2026 10:00:00 UTC+30"),
        *("Thu Nov 26 10:00:00 CST 2026", "Mon, 30 Feb 2026 10:00:00 GMT", "11/26/2026"),
        *("Thu, 26 Nov 2026 25:00:00 GMT", "Nov 26, 2026 13:00 pm", "26 novembre 2026"),
        *("Thu, 26 Nov 1970 10:00:00 GMT", "٢٦ Nov 2026"),
    ],
)
def test_a_date_that_is_not_known_is_none(text: str) -> None:
    assert dates.moment(text) is None


def test_a_feed_that_writes_the_month_first_once_always_does() -> None:
    dated = [
        item(n, f"https://paper.example/{n}", f"<pubDate>{date}</pubDate>")
        for n, date in (("1", "11/05/2026 10:00"), ("2", "11/20/2026"))
    ]
    assert [row.published_at for row in articles(read(rss(*dated)))] == [
        datetime(2026, 11, 5, 10, tzinfo=UTC),
        datetime(2026, 11, 20, tzinfo=UTC),
    ]


def test_the_first_date_that_can_be_read_is_taken() -> None:
    more = "<pubDate>soon</pubDate><updated>2026-11-20T10:00:00Z</updated>"
    assert articles(read(rss(item(more=more))))[0].published_at == datetime(
        2026, 11, 20, 10, tzinfo=UTC
    )


@pytest.mark.parametrize(
    "date", ["Thu, 26 Nov 2099 10:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT", "9999-12-31"]
)
def test_a_date_of_a_time_to_come_is_not_known(date: str) -> None:
    found = read(rss(item(more=f"<pubDate>{date}</pubDate>")))
    assert [row.published_at for row in articles(found)] == [None]


@given(st.text(max_size=150))
def test_any_text_is_a_date_or_none(text: str) -> None:
    found = dates.moment(text, dates.months_first([text]))
    assert found is None or found.tzinfo is UTC


# One article, or several


def keys(found: Extraction) -> set[str]:
    return {row.article_key for row in articles(found)}


def named(link: str, guid: str | None) -> str:
    title = f"About {link} {guid}"
    return item(title, link, f"<guid>{guid}</guid>" if guid else "")


LOG = "https://paper.example/changelog"


@pytest.mark.parametrize(
    "entries",
    [
        [(f"{LOG}#d{n}", f"name-{n}") for n in range(5)],
        [(f"{LOG}#d{n}", f"{LOG}#d{n}") for n in range(5)],
        [(f"{LOG}#d{n}", None) for n in range(5)],
        [(LOG, f"name-{n}") for n in range(5)],
        [(LOG, f"https://paper.example/?p={n}") for n in range(5)],
    ],
    ids=["both", "permanent links", "fragments", "names", "pages of their own"],
)
def test_what_a_feed_tells_apart_stays_apart(entries: list[tuple[str, str | None]]) -> None:
    found = read(rss(*(named(*entry) for entry in entries)))
    assert (len(keys(found)), found.left_out, found.reason) == (5, 0, None)


@pytest.mark.parametrize(
    "entries",
    [
        [(LOG, None), (f"{LOG}/", None), (f"{LOG}?utm_source=rss", None)],
        [(LOG, "name"), (f"http://www.paper.example/changelog#{'top'}", "name"), (LOG, "name")],
        [(LOG, LOG), (LOG, f"{LOG}/"), (f"{LOG}#comments", "http://paper.example/changelog")],
    ],
)
def test_entries_of_one_article_are_merged_and_counted(
    entries: list[tuple[str, str | None]],
) -> None:
    found = read(rss(named("https://paper.example/other", "other"), *(named(*e) for e in entries)))
    assert (len(found.rows), found.left_out, found.records) == (2, 2, 4)
    assert articles(found)[1].title == f"About {entries[0][0]} {entries[0][1]}"
    assert (found.outcome, found.reason) == ("ok", "2 records say what another one says")


def test_a_fragment_with_a_name_of_its_own_counts_before_there_are_two() -> None:
    entries = [named(f"{LOG}#d{n}", f"name-{n}") for n in range(2)]
    alone, both = read(rss(entries[0])), read(rss(*entries))
    assert keys(alone) < keys(both)
    assert [row.url for row in articles(alone)] == [f"{LOG}#d0"]


def test_a_fragment_with_the_name_of_its_page_does_not_count() -> None:
    found = read(rss(named(f"{LOG}#d0", LOG)))
    assert keys(found) == {"paper.example/changelog"}
    assert [row.url for row in articles(found)] == [LOG]


# Anything


def test_an_article_without_a_web_address_is_refused() -> None:
    entry: dict[str, Any] = {
        "title": "x",
        "link": "urn:1",
        "published": None,
        "summary": None,
        "author": None,
        "tags": [],
        "apart": "",
    }
    with pytest.raises(ValueError, match="web address"):
        feed_article(entry)


@pytest.mark.skipif(not RECORDINGS.exists(), reason="../shared/recordings is not here")
@pytest.mark.parametrize(
    "file", sorted((RECORDINGS / "hard_feeds").glob("*")), ids=lambda file: Path(file).name
)
def test_hard_feeds_end_in_articles_or_a_reason(file: Path) -> None:
    found = read(file.read_bytes())
    rows = articles(found)
    if found.outcome != "ok":
        assert found.reason
        assert "handmade" in file.name or "doctype" in file.name, (file.name, found.reason)
    assert all("passwd" not in row.title for row in rows)


PIECES = st.sampled_from(
    [
        *("<rss>", "<channel>", "<item>", "<title>", "<link>", "</link>", "</title>", "</item>"),
        *("</channel>", "</rss>", "<feed>", "<entry>", "</entry>", "</feed>", "<![CDATA[", "]]>"),
        *("<!--", "-->", "&", "&amp;", "&nbsp;", "&#0;", "&#55357;", "<", "https://a.example/#x"),
        *(
            "<pubDate>",
            "Thu, 26 Nov 2026 10:00:00 IRST",
            "\x00",
            "\ufffe",
            "é",
            '<link href="/a"/>',
        ),
        *('<guid isPermaLink="false">', "</guid>", ' xml:base="http://[" ', "<?xml ?>", "{", "}"),
    ]
)


@given(
    st.one_of(
        st.binary(max_size=300),
        st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace")),
        st.lists(PIECES, max_size=60).map(lambda found: "".join(found).encode()),
        st.lists(PIECES, max_size=30).map(lambda found: rss(*found).encode()),
    ),
    st.sampled_from(["", "text/xml; charset=utf-16", "text/xml; charset=cp1252", "charset=🙂"]),
)
@settings(max_examples=300, deadline=None)
def test_any_bytes_end_in_articles_or_a_reason(body: bytes, content_type: str) -> None:
    found = read(body, content_type)
    assert articles(found) or found.reason


@pytest.mark.parametrize(
    "made",
    [
        lambda n: rss(item("&" * n)),
        lambda n: rss(item("& <![CDATA[" * (n // 11))),
        lambda n: rss(item("& <!--" * (n // 6))),
        lambda n: rss(item("& <a " + "b=" * (n // 2))),
        lambda n: rss(item("& <a " + "b" * n)),
        lambda n: rss(item("&" + "&#0;" * (n // 4))),
        lambda n: rss(*(named(f"{LOG}#d{i}", str(i)) for i in range(n // 100))),
        lambda n: rss(*(named(LOG, str(i)) for i in range(n // 100))),
        lambda n: rss(*(item("&", more="<pubDate>" + "9" * 80 + "</pubDate>"),) * (n // 150)),
        lambda n: "<" * n,
        lambda n: "<rss" + " a:" * (n // 3),
        lambda n: "<?xml " * (n // 6),
    ],
    ids=lambda made: None,
)
def test_hostile_markup_costs_no_more_than_its_length(made: Any) -> None:
    def cost(length: int) -> float:
        body = made(length).encode()
        began = time.process_time()
        read(body)
        return time.process_time() - began

    cost(1_000)
    assert cost(400_000) < 25 * cost(40_000) + 0.5


def test_what_would_have_to_be_mended_all_over_is_no_feed() -> None:
    found = read(rss(item("&" * 100_001)))
    assert found.outcome == "changed"
    assert "more than 100,000 bare ampersands" in (found.reason or "")


def test_only_who_reads_a_feed_loads_a_parser() -> None:
    program = "import sys, crypto_pipeline.cli; print('lxml' in sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "False"
