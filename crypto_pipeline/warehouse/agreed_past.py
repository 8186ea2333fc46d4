"""The SQL of what is kept of the agreed view: the prices of every collection, and bars of them.

Both only ever add rows. Bars are made when their time is over, from the prices since the last ones.
"""

from crypto_pipeline.tables.analytics import BARS
from crypto_pipeline.tables.outcomes import OFF
from crypto_pipeline.warehouse.agreed_view import AGREED
from crypto_pipeline.warehouse.sql import literal, literals, to_digits

GAP_DAYS = 31
"""The longest time without a collection that bars without prices are written for."""

DIGITS, DIGITS_OF_VOLUMES = 7, 5
"""Digits that are kept for ever of means and volumes: a row has to cost less than 25 bytes."""

KNOWN_HOURS = 24
"""A coin has bars for as long after its last price."""

PRICES = f"""
WITH last AS (
    SELECT symbol, max(timestamp) AS last FROM agreed_prices
    WHERE timestamp > $now - INTERVAL 1 DAY AND timestamp <= $now GROUP BY symbol
)
SELECT '' AS _endpoint, symbol, view.price_usd, view.voices, spread_pct,
    {to_digits("vwap_usd", DIGITS)} AS vwap_usd,
    {to_digits("view.volume_24h", DIGITS_OF_VOLUMES)} AS volume_24h,
    if(view.market_cap IS NULL, NULL,
        row_number() OVER (ORDER BY view.market_cap DESC NULLS LAST, symbol)) AS rank,
    list_filter(rejected, lambda voice: voice.why IN {literals(OFF)}) AS rejected,
    fetched_at AS timestamp
FROM cached_market_data AS view JOIN stage_agreed USING (symbol) LEFT JOIN last USING (symbol)
WHERE state = {literal(AGREED)}
QUALIFY last IS NULL OR fetched_at > last
"""
"""Rows of agreed_prices: the coins about which something newer was said."""


def _bars(interval: str, seconds: int) -> str:
    """Rows of agreed_bars of one length: all that are over and not there yet."""
    length = f"INTERVAL {seconds} SECOND"
    return f"""
SELECT * FROM (
WITH since AS (
    SELECT coalesce(
        (SELECT max(timestamp) + {length} FROM agreed_bars WHERE interval = {literal(interval)}
            AND timestamp > $now - INTERVAL {GAP_DAYS} DAY AND timestamp <= $now),
        (SELECT time_bucket({length}, min(timestamp)) FROM agreed_prices
            WHERE timestamp > $now - INTERVAL {GAP_DAYS} DAY)
    ) AS start
),
price AS (
    SELECT symbol, timestamp, price_usd, voices, time_bucket({length}, timestamp) AS bar
    FROM agreed_prices
    WHERE timestamp >= (SELECT start FROM since) AND timestamp < time_bucket({length}, $now)
),
coin AS (
    SELECT symbol, min(timestamp) AS first, max(timestamp) AS last FROM agreed_prices
    WHERE timestamp >= (SELECT start FROM since) - INTERVAL {KNOWN_HOURS} HOUR
        AND timestamp < time_bucket({length}, $now) GROUP BY symbol
),
grid AS (
    SELECT unnest(range(start, time_bucket({length}, $now), {length})) AS bar FROM since
    WHERE start IS NOT NULL
),
made AS (
    SELECT symbol, bar, arg_min(price_usd, timestamp) AS open, max(price_usd) AS high,
        min(price_usd) AS low, arg_max(price_usd, timestamp) AS close, count(*) AS prices,
        min(voices) AS voices
    FROM price GROUP BY symbol, bar
)
SELECT '' AS _endpoint, symbol, {literal(interval)} AS interval, bar AS timestamp, open, high, low,
    close, coalesce(prices, 0) AS prices, voices,
    bar IN (SELECT bar FROM price) AS collected
FROM grid JOIN coin
    ON bar BETWEEN time_bucket({length}, first) AND last + INTERVAL {KNOWN_HOURS} HOUR
    LEFT JOIN made USING (symbol, bar))
"""


BARS_SINCE = "UNION ALL".join(_bars(*bar) for bar in BARS.items())
"""Rows of agreed_bars. $now stands for the time of the newest price, as in the agreed view."""
