"""What each version of the file's layout changed, beyond tables and columns that were added: those
follow from the declarations by themselves.

A step is history: it is written in the words of its own day, and never follows the declarations.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from crypto_pipeline.addresses import article_key

VERSION = 4
"""The layout this code writes. Raise it with a step in MIGRATIONS."""


class Migration(NamedTuple):
    """The change that a version made, and the SQL that takes a file there from the one before.

    In this order: retyped: columns of another type, by table, each with the SQL of its new value.
    loosened: columns that may be NULL from then on, by table. Then the declared columns that are
    missing are added. statements: what else is done. fills: what fills rows that are there, each
    statement ending in a condition; it is also run for a collection that an older version left in
    the spool. keys: new columns of a table's key, each with the SQL of its value for rows that lack
    it: what waits in the spool gets it before it is compared with what is there.
    """

    name: str
    statements: tuple[str, ...] = ()
    fills: tuple[str, ...] = ()
    retyped: Mapping[str, Mapping[str, str]] = {}
    loosened: Mapping[str, Sequence[str]] = {}
    keys: Mapping[str, Mapping[str, str]] = {}


_KIND_OF_A_SKIP = """
UPDATE data_collections SET skip = CASE
    WHEN reason LIKE 'not due: %' THEN 'slow_host'
    WHEN reason LIKE 'not due%' THEN 'not_due'
    WHEN reason LIKE 'the pool is not due%' THEN 'pool_not_due'
    WHEN reason LIKE 'the pool has its answer%' THEN 'pool_answered'
    WHEN reason LIKE 'resting%' THEN 'resting'
    WHEN reason LIKE 'told to wait%' THEN 'told_to_wait'
    WHEN reason LIKE 'no key%' THEN 'no_key'
    WHEN reason LIKE 'daily cap%' OR reason LIKE 'monthly cap%' THEN 'over_quota'
    WHEN reason LIKE 'none of the wanted coins%' THEN 'unlisted'
END
WHERE outcome = 'skipped' AND skip IS NULL"""

_REJECTED_AS_STRUCTS = """
list_transform(rejected, lambda voice: {
    'source': split_part(voice, ' ', 1),
    'price_usd': try_cast(split_part(split_part(voice, ' ', 2), ':', 1) AS DOUBLE),
    'off_pct': try_cast(split_part(voice, ' ', 3) AS DOUBLE),
    'why': 'outlier'
})
"""
"""A voice was a sentence until then: NAME 50.0: -50.2 % off."""


def _key_of_article(url: str) -> str:
    try:
        return article_key(url)
    except ValueError:
        return url


FUNCTIONS: Mapping[str, Callable[[str], str]] = {"key_of_article": _key_of_article}
"""What the SQL of a key may call: a key of stored rows has to be the one that new rows get, so this
follows the code, and a step that changes a key fills it anew. Texts in, a text out."""

MIGRATIONS: Mapping[int, Migration] = {
    1: Migration("the first layout"),
    2: Migration(
        "the kind of a skip, and who was left out of an agreed price, as values",
        fills=(_KIND_OF_A_SKIP,),
        retyped={"cached_market_data": {"rejected": _REJECTED_AS_STRUCTS}},
    ),
    3: Migration(
        "what all addresses of one article have in common, and coins without an agreed price",
        statements=("UPDATE cached_market_data SET state = 'agreed' WHERE state IS NULL",),
        loosened={"cached_market_data": ("price_usd", "spread_pct", "provider")},
        keys={"news_articles": {"article_key": "key_of_article(url)"}},
    ),
    4: Migration(
        "who said a row is in the column source of every table",
        fills=(
            "UPDATE funding_rates SET source = exchange WHERE source IS NULL",
            "UPDATE open_interest SET source = exchange WHERE source IS NULL",
            "UPDATE cached_ohlc SET source = provider WHERE source IS NULL",
        ),
    ),
}
