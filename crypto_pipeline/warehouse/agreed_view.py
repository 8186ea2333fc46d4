"""The SQL that makes cached_market_data and coins out of market_prices. Nothing else.

Each source speaks once per ticker: with its biggest coin of that name, on its busiest pair. The
centre is the median of the voices. Where no majority stands within TOLERANCE of it (two coins that
share a ticker, a source gone mad among few), the voice with the biggest market capitalisation is
the centre; where none has one, the coin is left out. Voices further than TOLERANCE from the centre
are rejected and named; the rest are the agreement.

The day's range is kept by the hour in agreed_ranges: reading a day of prices instead would make
every collection slower as sources are added.
"""

from crypto_pipeline.tables.outcomes import Rejection
from crypto_pipeline.warehouse.sql import literal

OUTLIER: Rejection = "outlier"
TOLERANCE = 0.05
RECENT_MINUTES = 30
RANGE_HOURS = 24

JUDGE = f"""
CREATE OR REPLACE TEMP TABLE stage_judged AS
WITH recent AS (
    SELECT * EXCLUDE (collection_id) FROM market_prices
    WHERE timestamp > $now - INTERVAL {RECENT_MINUTES} MINUTE AND timestamp <= $now
    QUALIFY row_number() OVER (
        PARTITION BY source, source_id, quote ORDER BY timestamp DESC) = 1
),
voice AS (
    SELECT * FROM recent
    QUALIFY row_number() OVER (
        PARTITION BY source, symbol
        ORDER BY market_cap DESC NULLS LAST, volume_24h DESC NULLS LAST, source_id, quote) = 1
),
middle AS (
    SELECT symbol, median(price_usd) AS price FROM voice GROUP BY symbol
),
centre AS (
    SELECT symbol,
        CASE WHEN count(*) FILTER (abs(voice.price_usd / middle.price - 1) <= {TOLERANCE})
                  > count(*) / 2.0
             THEN any_value(middle.price)
             ELSE arg_max(voice.price_usd, voice.market_cap)
        END AS price
    FROM voice JOIN middle USING (symbol)
    GROUP BY symbol
)
SELECT voice.*, abs(voice.price_usd / centre.price - 1) <= {TOLERANCE} AS agrees,
    struct_pack(source := source, price_usd := price_usd,
        off_pct := round((voice.price_usd / centre.price - 1) * 100, 1),
        why := {literal(OUTLIER)}) AS as_rejected
FROM voice JOIN centre USING (symbol)
WHERE centre.price IS NOT NULL
"""

RANGE = f"""
CREATE OR REPLACE TEMP TABLE stage_ranges AS
SELECT symbol, date_trunc('hour', $now) AS hour, max(high_usd) AS high_usd, min(low_usd) AS low_usd
FROM (
    SELECT symbol, price_usd AS high_usd, price_usd AS low_usd FROM stage_judged WHERE agrees
    UNION ALL BY NAME
    SELECT symbol, high_usd, low_usd FROM agreed_ranges WHERE hour = date_trunc('hour', $now)
)
GROUP BY symbol;
DELETE FROM agreed_ranges
WHERE hour = date_trunc('hour', $now) OR hour < $now - INTERVAL {RANGE_HOURS + 1} HOUR
    OR hour > $now;
INSERT INTO agreed_ranges BY NAME SELECT * FROM stage_ranges
"""

AGREE = f"""
DELETE FROM cached_market_data;
INSERT INTO cached_market_data BY NAME
WITH agreed AS (
    SELECT symbol,
        arg_max(name, market_cap) FILTER (agrees AND name IS NOT NULL) AS name,
        median(price_usd) FILTER (agrees) AS price_usd,
        median(market_cap) FILTER (agrees) AS market_cap,
        coalesce(
            max(volume_24h) FILTER (agrees AND market_cap IS NOT NULL),
            sum(volume_24h) FILTER (agrees)) AS volume_24h,
        median(price_change_24h) FILTER (agrees) AS change_24h,
        count(*) FILTER (agrees) AS sources,
        (max(price_usd) FILTER (agrees) / min(price_usd) FILTER (agrees) - 1) * 100 AS spread_pct,
        coalesce(
            list(as_rejected ORDER BY source) FILTER (NOT agrees),
            []) AS rejected,
        string_agg(source, ',' ORDER BY source) FILTER (agrees) AS provider,
        max(timestamp) FILTER (agrees) AS fetched_at
    FROM stage_judged GROUP BY symbol
),
day AS (
    SELECT symbol, max(high_usd) AS high_24h, min(low_usd) AS low_24h
    FROM agreed_ranges WHERE hour > $now - INTERVAL {RANGE_HOURS} HOUR
    GROUP BY symbol
)
SELECT agreed.*, day.high_24h, day.low_24h
FROM agreed JOIN day USING (symbol)
WHERE sources > 0
"""

IDENTIFY = """
SELECT '' AS _endpoint, source, source_id, symbol, name, market_cap,
    row_number() OVER (PARTITION BY source ORDER BY market_cap DESC) AS rank,
    row_number() OVER (PARTITION BY source, symbol ORDER BY market_cap DESC) AS rank_of_symbol,
    timestamp AS updated_at
FROM stage_market_prices WHERE market_cap IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY source, source_id ORDER BY market_cap DESC) = 1
"""

STATEMENTS = tuple(
    statement.strip() for text in (JUDGE, RANGE, AGREE) for statement in text.split(";")
)
"""In order; $now stands for the time of the newest price that is not ahead of the clock."""
