"""The SQL that measures what dollar stablecoins are worth, and turns quotes in them into dollars.

A coin quoted in USDT is not quoted in dollars. What a USDT is worth is said by the venues that
trade it for dollars, in the prices of the same collection and of the half hour before it. Their
median counts when more than half of them are near it and either two of these are independent, or
the aggregators, which are no venues, stand by the one. Else the quote counts at par, and its prices
say that no rate was measured.
"""

from crypto_pipeline.tables.market import IS_VENUE, RECENT_MINUTES
from crypto_pipeline.warehouse.agreed_view import OUTLIER
from crypto_pipeline.warehouse.sql import Connection, literal, to_digits

NEAR = 0.02
"""How far a venue's price of a stablecoin may be from the median."""

_NEAR_MIDDLE = f"price_usd BETWEEN {1 - NEAR} * middle AND {1 + NEAR} * middle"

MEASURE = f"""
CREATE OR REPLACE TEMP TABLE stage_pegs AS
WITH moment AS (SELECT max(timestamp) AS now FROM stage_market_prices),
said AS (
    SELECT source, source_id, symbol, quote, price_usd, market_cap, volume_24h, abstains, timestamp
    FROM stage_market_prices
    UNION ALL
    SELECT source, source_id, symbol, quote, price_usd, market_cap, volume_24h, abstains, timestamp
    FROM $stored
    WHERE timestamp > (SELECT now FROM moment) - INTERVAL {RECENT_MINUTES} MINUTE
        AND timestamp <= (SELECT now FROM moment)
),
voice AS (
    SELECT symbol, source, coalesce(voice_of, source) AS family, price_usd, timestamp,
        {IS_VENUE} AS venue, market_cap IS NOT NULL AS lists
    FROM said LEFT JOIN providers USING (source)
    WHERE quote = 'USD' AND abstains IS NULL
        AND symbol IN (SELECT quote FROM stage_market_prices WHERE quote <> 'USD')
    QUALIFY row_number() OVER (
        PARTITION BY symbol, source
        ORDER BY market_cap DESC NULLS LAST, timestamp DESC, volume_24h DESC NULLS LAST, source_id
    ) = 1
),
middle AS (
    SELECT symbol, median(price_usd) FILTER (venue) AS middle,
        median(price_usd) FILTER (lists) AS listed,
        count(DISTINCT family) FILTER (venue) AS venues
    FROM voice GROUP BY symbol
),
judged AS (SELECT *, {_NEAR_MIDDLE} AS agrees FROM voice JOIN middle USING (symbol) WHERE venue)
SELECT symbol, median(price_usd) FILTER (agrees) AS rate_usd,
    count(DISTINCT family) FILTER (agrees) AS voices,
    (max(price_usd) FILTER (agrees) / min(price_usd) FILTER (agrees) - 1) * 100 AS spread_pct,
    coalesce(list(struct_pack(
        source, price_usd, off_pct := round((price_usd / middle - 1) * 100, 1),
        why := {literal(OUTLIER)}) ORDER BY source) FILTER (NOT agrees), []) AS rejected,
    max(timestamp) FILTER (agrees) AS timestamp
FROM judged GROUP BY symbol
HAVING 2 * voices > any_value(venues)
    AND (voices > 1 OR abs(any_value(listed) / rate_usd - 1) <= {NEAR})
"""

DIGITS = 10
"""Digits of a price that was turned into dollars: those behind them are noise of arithmetic, and
cost a byte and a half a row."""

CONVERT = f"""
UPDATE stage_market_prices AS s SET quoted = s.price_usd, quote_usd = p.rate_usd,
    price_usd = coalesce(
        nullif({to_digits("s.price_usd * p.rate_usd", DIGITS)}, 0), s.price_usd),
    volume_24h = round(s.volume_24h * coalesce(p.rate_usd, 1))
FROM (SELECT DISTINCT quote FROM stage_market_prices WHERE quote <> 'USD') AS q
    LEFT JOIN stage_pegs AS p ON p.symbol = q.quote
WHERE s.quote = q.quote AND s.quoted IS NULL
"""

MEASURED = "SELECT '' AS _endpoint, * FROM stage_pegs"
"""The rows of stablecoin_peg."""


def convert(connection: Connection, stored: str = "market_prices") -> None:
    """Turn the staged prices that are in other quotes than USD into dollars, and say how. stored:
    the relation of the prices before them."""
    connection.execute(MEASURE.replace("$stored", stored))
    connection.execute(CONVERT)
