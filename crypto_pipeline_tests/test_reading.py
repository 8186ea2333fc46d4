"""What the words of articles say: held against headlines that were labelled before any was read."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from crypto_pipeline.reading.coins import symbols
from crypto_pipeline.reading.lexicon import lines
from crypto_pipeline.reading.sentiment import read
from crypto_pipeline.reading.stories import WITHIN, Article, Stories
from crypto_pipeline.reading.words import LONGEST, language, persian

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
LABELS = ("positive", "negative", "neutral")

ANY_TEXT = st.text(max_size=300) | st.lists(
    st.sampled_from(
        [
            *("Bitcoin", "hackers", "return", "stolen", "not", "no", "all-time", "high", "BTC"),
            *("(ONE)", "$link", "$1.2.3m", "7%", "-", "/", "(", ")", "but", "\U0001f680"),
            *("بیت‌کوین", "شکایت", "رد", "نکرد", "پس", "از", "؟", "بدون", "های"),
        ]
    ),
    max_size=80,
).map(" ".join)


class Labelled(NamedTuple):
    language: str
    split: str
    label: str
    headline: str


def labelled() -> list[Labelled]:
    file = Path(__file__).with_name("headlines.tsv")
    _, *rows = file.read_text(encoding="utf-8").splitlines()
    return [Labelled(*row.split("\t")) for row in rows]


def held(*languages: str) -> list[Labelled]:
    return [row for row in labelled() if row.split == "held" and row.language in languages]


def macro_f1(pairs: list[tuple[str, str]]) -> float:
    """The mean of the F1 of each label, of pairs of what is right and what was said."""

    def f1(label: str) -> float:
        hits = sum(right == said == label for right, said in pairs)
        return 2 * hits / (sum(r == label for r, _ in pairs) + sum(s == label for _, s in pairs))

    return sum(map(f1, LABELS)) / len(LABELS)


def ours(headline: str) -> str:
    reading = read(headline)
    assert reading
    return reading.sentiment


# Sentiment


def test_the_headlines_are_those_that_were_agreed_on() -> None:
    rows = labelled()
    assert len({row.headline for row in rows}) == len(rows) == 400
    for kind in ("en", "fa"):
        assert len(held(kind)) == 100
        for label in LABELS:
            assert sum(row.label == label for row in held(kind)) >= 33


@pytest.mark.parametrize("languages", [("en", "fa"), ("en",), ("fa",)])
def test_headlines_that_were_held_out_are_read_as_people_do(languages: tuple[str, ...]) -> None:
    assert macro_f1([(row.label, ours(row.headline)) for row in held(*languages)]) >= 0.70


def test_plain_vader_reads_them_worse() -> None:
    analyzer = SentimentIntensityAnalyzer()

    def plain(headline: str) -> str:
        score = analyzer.polarity_scores(headline)["compound"]
        return "positive" if score >= 0.05 else "negative" if score <= -0.05 else "neutral"

    rows = held("en")
    assert macro_f1([(r.label, plain(r.headline)) for r in rows]) < 0.6


@pytest.mark.parametrize(
    ("headline", "sentiment"),
    [
        ("Fear and Greed Index at 40", "neutral"),
        ("Bitcoin’s all‑time high".replace("‑", "-"), "positive"),
        ("Token hit by rug-pull", "negative"),
        ("Bitcoin did not crash", "positive"),
        ("How to survive a crash", "neutral"),
        ("Why did bitcoin crash", "negative"),
        ("Regulator lifts its two-year-old trading ban", "positive"),
        ("Regulator proposes trading ban", "negative"),
        ("بیت‌کوین سقوط نکرد", "positive"),
        ("بيت كوين سقوط کرد", "negative"),
        ("بیت‌کوین سقوط کرد", "negative"),
        ("آیا بیت‌کوین سقوط می‌کند؟", "neutral"),
        ("معامله بدون ضرر", "positive"),
        ("رشد بیت‌کوین پس از ریزش", "positive"),
        ("رشد بیت‌کوین و ریزش", "neutral"),
        ("راگ پول تازه", "negative"),
        ("راگ‌پول تازه", "negative"),
    ],
)
def test_what_a_headline_says(headline: str, sentiment: str) -> None:
    assert ours(headline) == sentiment


def test_a_summary_speaks_where_the_headline_says_nothing() -> None:
    silent = read("Bitcoin on Monday")
    told = read("Bitcoin on Monday", "The price plunged in a bloodbath")
    assert silent
    assert told
    assert (silent.score, told.sentiment) == (0, "negative")
    alone = read("The price plunged in a bloodbath")
    assert alone
    assert told.score == pytest.approx(alone.score / 2, abs=1e-3)
    assert read("Bitcoin soars", "The price plunged") == read("Bitcoin soars")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Bitcoin climbs", "en"),
        ("Bitcoin steigt auf den höchsten Stand und die Anleger freuen sich", None),
        ("El bitcoin cae por la subida de los tipos", None),
        ("비트코인 급등", None),
        ("ビットコインETFが承認", None),
        ("Биткоин растёт", None),
        ("بیت‌کوین ETF", "fa"),
        ("BTC و ETH", "en"),
        ("91,000", None),
        ("", None),
    ],
)
def test_languages_are_told_apart(text: str, told: str | None) -> None:
    assert language(text) == told
    assert (read(text) is None) == (told is None)


def test_headline_and_summary_are_of_one_language_that_is_read() -> None:
    assert read("비트코인 급등", "Bitcoin soars in Seoul, traders say") is None
    assert read("Bitcoin soars", "비트코인이 오늘 급등했다고 거래소가 밝혔다") is None
    assert read("Bitcoin 100", "Der Kurs steigt auf ein Hoch und die Anleger sind froh") is None
    persian_summary = read("BTC/USDT", "بیت‌کوین امروز سقوط کرد")
    assert persian_summary
    assert persian_summary.sentiment == "negative"


@given(ANY_TEXT, st.none() | ANY_TEXT)
def test_any_text_has_a_score_on_the_scale_or_none(headline: str, summary: str | None) -> None:
    reading = read(headline, summary)
    assert reading is None or (-1 <= reading.score <= 1 and reading.sentiment in LABELS)


@given(ANY_TEXT, st.integers(1, 400), st.text(max_size=50))
def test_no_more_of_a_text_is_read_than_its_beginning(part: str, times: int, more: str) -> None:
    text = ((part or "x") + " ") * times
    text += "a" * (LONGEST - len(text))
    assert read(text) == read(text + more)
    assert symbols(text) == symbols(text + more)
    assert Stories().of(Article("k", text, AT)) == "k"


# The files


@pytest.mark.parametrize("name", ["english.tsv", "persian.tsv"])
def test_what_weighs_is_listed_once_and_weighs_on_the_scale(name: str) -> None:
    listed = [(e.strip(), float(w)) for w, entries in lines(name) for e in entries.split(",")]
    entries = [persian(entry).lower() for entry, _ in listed]
    assert sorted(entries) == sorted(set(entries))
    assert all(entries)
    assert all(-4 <= weight <= 4 for _, weight in listed)


def test_a_coin_is_listed_once_and_a_name_is_of_one_coin() -> None:
    rows = list(lines("coins.tsv"))
    tickers = [row[0] for row in rows]
    names = [n.strip().lower() for row in rows for field in row[2:] for n in field.split(",")]
    assert len(tickers) == len(set(tickers))
    assert len(names) == len(set(names))
    assert {row[1] for row in rows} == {"ticker", "word"}


# Coins


@pytest.mark.parametrize(
    ("headline", "found"),
    [
        ("Bitcoin and Ethereum climb, BTC first", ["BTC", "ETH"]),
        ("One in two traders link gains to gas near the sun: fun is hot", []),
        ("ONE LINK NEAR SUN GAS FUN HOT", []),
        ("Harmony (ONE) jumps", ["ONE"]),
        ("All for (ONE)", ["ONE"]),
        ("(ONE) for all", []),
        ("$ONE and $link rally, $NVDA and $5 million too", ["ONE", "LINK"]),
        ("NEAR Protocol leads as prices near a peak", ["NEAR"]),
        ("Chainlink joins", ["LINK"]),
        ("Bitcoin Cash jumps", ["BCH"]),
        ("Ripple Effect of a crash", []),
        ("Ripple wins, a ripple follows", ["XRP"]),
        ("Optimism returns to a polygon of ether", ["ETH"]),
        ("New pair: SOL/USDT", ["SOL"]),
        ("SOLUSDT perpetual contract", ["SOL"]),
        ("ONEUSDT perpetual contract", []),
        ("Solana's price", ["SOL"]),
        ("solana-based token", ["SOL"]),
        ("WIN BIG: ALL ABOUT SOL AND ADA", []),
        ("WIN BIG: ALL ABOUT SOLANA", ["SOL"]),
        ("Allora (ALLO) is listed", ["ALLO"]),
        ("$ALLO is listed", ["ALLO"]),
        ("The Commission (ALLO) meets on ALLO", []),
        ("بیت‌کوین‌ها و اتریوم", ["BTC", "ETH"]),
        ("قيمت بيت كوين و لایت کوین", ["BTC", "LTC"]),
        ("بیتکوین کش", ["BCH"]),
        ("بیت‌کوین کش", ["BCH"]),
    ],
)
def test_coins_of_a_headline(headline: str, found: list[str]) -> None:
    assert symbols(headline, known={"ALLO": "Allora"}) == found


def test_tags_and_summary_name_the_coins_where_the_headline_names_none() -> None:
    assert symbols("Markets today", "All about solana", ["BTC", "News"]) == ["BTC", "SOL"]
    assert symbols("Cardano today", "All about solana", ["BTC"]) == ["ADA"]


@given(ANY_TEXT, st.lists(st.text(max_size=20)))
def test_any_text_names_coins_that_are_known(text: str, tags: list[str]) -> None:
    tickers = {row[0] for row in lines("coins.tsv")} - {"-"}
    assert set(symbols(text, text, tags)) <= tickers


# Stories


def keys(*headlines: str, apart: timedelta = timedelta(hours=1)) -> list[str]:
    """The story of each headline, told by its place; each is published so long after the other."""
    stories = Stories()
    return [stories.of(Article(str(n), h, AT + n * apart)) for n, h in enumerate(headlines)]


SAME = [
    ("Bridge exploit drains $38 million from Larix", "Larix loses $38M in bridge exploit"),
    ("SEC drops appeal against Ripple", "SEC Drops Its Appeal in Ripple Case"),
    ("Tether reports record $4.2 billion profit", "Tether posts record profit of $4.2B"),
    ("Uniswap governance approves fee switch", "Uniswap holders approve governance fee switch"),
    ("Kraken halts withdrawals after outage", "Kraken Halts Withdrawals Following Outage"),
    ("BlackRock files for staked Ethereum ETF", "BlackRock Files for Staked Ether ETF With SEC"),
    ("Bitcoin tops 91 thousand", "BTC tops $91,000"),
    ("Bitcoin climbs 3% to $91,000", "BTC rises 3 percent to $91K"),
    ("بیت‌کوین به بالای ۹۱ هزار دلار صعود کرد", "صعود بيت كوين به بالای 91,000 دلار"),
    ("کره جنوبی مالیات رمزارزها را لغو کرد", "لغو مالیات رمزارزها در کره جنوبی"),
    ("هک ۳۸ میلیون دلاری پروتکل لاریکس", "پروتکل لاریکس ۳۸ میلیون دلار هک شد"),
    ("비트코인 급등", "비트코인 급등"),
]

OTHER = [
    ("Bitcoin climbs past $91,000 on inflows", "Bitcoin climbs past $92,000 on inflows"),
    ("Ether slides 7% in an hour", "Ether slides 3% in an hour"),
    ("Bitcoin Core 28.1 released", "Bitcoin Core 28.2 released"),
    ("SEC approves Solana ETF", "SEC rejects Solana ETF"),
    ("SEC approves Solana ETF", "SEC approves Litecoin ETF"),
    ("SEC asks for comments on Solana ETF", "SEC rejects Solana ETF"),
    ("Ethereum price prediction", "Solana price prediction"),
    ("Kraken lists Sui", "Coinbase lists Sui"),
    ("Bitcoin analyst sees a new high by year end", "Bitcoin analyst sees a crash by year end"),
    (
        "Hong Kong grants licences to four exchanges",
        "Hong Kong grants licence to stablecoin issuer",
    ),
    ("بیت‌کوین به ۹۱ هزار دلار رسید", "بیت‌کوین به ۸۸ هزار دلار رسید"),
    ("قیمت بیت‌کوین امروز", "قیمت اتریوم امروز"),
    ("کره جنوبی مالیات رمزارزها را لغو کرد", "هند مالیات رمزارزها را نگه داشت"),
    ("비트코인 급등", "이더리움 급락"),
]


@pytest.mark.parametrize("headlines", SAME)
def test_one_story_is_told_in_other_words(headlines: tuple[str, str]) -> None:
    assert keys(*headlines) == ["0", "0"]


@pytest.mark.parametrize("headlines", OTHER)
def test_two_stories_of_one_coin_stay_two(headlines: tuple[str, str]) -> None:
    assert keys(*headlines) == ["0", "1"]


def test_a_story_has_the_name_of_its_first_article_and_lasts_two_days() -> None:
    title = "Kraken halts withdrawals after outage"
    assert keys(*[title] * 4, apart=WITHIN) == ["0", "0", "2", "2"]
    assert keys(title, "Bitcoin trades flat", title) == ["0", "1", "0"]


def test_headlines_without_a_word_are_no_story_together() -> None:
    assert keys("…", "…") == ["0", "1"]


@given(st.lists(ANY_TEXT, max_size=12))
def test_every_article_is_of_a_story_that_began_before_it(headlines: list[str]) -> None:
    began: set[str] = set()
    for place, story in enumerate(keys(*headlines)):
        assert story == str(place) or story in began
        began.add(story)


def test_what_weighs_is_found_where_it_stands_alone() -> None:
    """A phrase that nothing finds is of no use."""

    def sign(number: float) -> int:
        return (number > 0) - (number < 0)

    lost = []
    for name, before in (("english.tsv", "an "), ("persian.tsv", "")):
        for weight, entries in lines(name):
            for entry in entries.split(","):
                reading = read(before + entry.strip().replace("...", "x"))
                if reading is None or sign(reading.score) != sign(float(weight)):
                    lost.append(entry)
    assert lost == []
