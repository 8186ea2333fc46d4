"""The SQL that makes fiat_rates out of fiat_quotes and the agreed prices. Nothing else.

A venue's price of a coin in a currency, over the agreed dollar price of that coin, is what a dollar
costs there. Each source speaks once a currency, with the base that is traded most; sources of one
family are one voice. The median of all voices is the centre: when more than half of them lie near
it, their median is the rate, and else there is none.

What tells a rial from a toman: the declaration of each venue, which its sample proves; the venue's
own price of the day before (the witness of fiat_quotes); the other venues, here; and the band of a
steady currency. No table of today's rates does, since a currency that falls outgrows any.
"""

from crypto_pipeline.tables.fiat import CURRENCIES, DOLLAR_COINS
from crypto_pipeline.tables.market import LEAST_TRADED_USD, RECENT_MINUTES, TOLERANCE
from crypto_pipeline.tables.outcomes import RateRejection, RateState
from crypto_pipeline.warehouse.sql import literal, literals

AGREED: RateState = "agreed"
SINGLE: RateState = "single"
DISPUTED: RateState = "disputed"
SILENT: RateState = "silent"

TENFOLD: RateRejection = "tenfold"
OUTLIER: RateRejection = "outlier"
UNDECIDED: RateRejection = "disputed"
UNTRADED: RateRejection = "untraded"
IMPLAUSIBLE: RateRejection = "implausible"

TENFOLD_WITHIN = 0.15
"""How far a voice may be from ten times the rate, or a tenth of it, and be called that."""

NEAR = f"per_usd BETWEEN {1 - TOLERANCE} * centre AND {1 + TOLERANCE} * centre"

_BANDS = ", ".join(f"({literal(c.code)}, {c.low!r}, {c.high!r})" for c in CURRENCIES.values())

VOICES = f"""
CREATE OR REPLACE TEMP TABLE stage_fiat_voices AS
WITH recent AS (
    SELECT * FROM fiat_quotes
    WHERE timestamp > $now - INTERVAL {RECENT_MINUTES} MINUTE AND timestamp <= $now
    QUALIFY row_number() OVER (
        PARTITION BY source, base, currency ORDER BY timestamp DESC, collection_id) = 1
),
dollars AS (
    SELECT symbol AS base, price_usd FROM cached_market_data
    WHERE price_usd IS NOT NULL
        AND fetched_at BETWEEN $now - INTERVAL {RECENT_MINUTES} MINUTE
            AND $now + INTERVAL {RECENT_MINUTES} MINUTE
),
in_dollars AS (
    SELECT recent.*, price_usd IS NULL AS at_par, coalesce(price_usd, 1) AS base_usd
    FROM recent LEFT JOIN dollars USING (base)
    WHERE price_usd IS NOT NULL OR base IN {literals(DOLLAR_COINS)}
),
said AS (
    SELECT source, currency, base, price / base_usd AS per_usd, volume_24h * base_usd AS traded_usd,
        at_par, timestamp, abstains
    FROM in_dollars
)
SELECT said.* REPLACE (
    coalesce(abstains, CASE
        WHEN traded_usd < {LEAST_TRADED_USD} THEN {literal(UNTRADED)}
        WHEN per_usd NOT BETWEEN low AND high THEN {literal(IMPLAUSIBLE)} END) AS abstains)
FROM said JOIN (VALUES {_BANDS}) AS band (currency, low, high) USING (currency)
    LEFT JOIN providers USING (source)
QUALIFY row_number() OVER (
    PARTITION BY coalesce(voice_of, source), currency
    ORDER BY abstains IS NOT NULL, traded_usd DESC NULLS LAST, base DESC, source) = 1
"""
"""$now stands for the time of the newest quote."""

RATES = f"""
WITH voices AS NOT MATERIALIZED (
    SELECT *, abstains IS NULL AS votes,
        median(per_usd) FILTER (votes) OVER (PARTITION BY currency) AS centre
    FROM stage_fiat_voices
),
judged AS (
    SELECT *, votes AND {NEAR} AS near,
        2 * count(*) FILTER (near) OVER all_of_it > count(*) FILTER (votes) OVER all_of_it
            AS decided
    FROM voices WINDOW all_of_it AS (PARTITION BY currency)
),
rate AS (
    SELECT currency, count(*) FILTER (agrees) AS voices,
        CASE WHEN voices > 1 THEN {literal(AGREED)} WHEN voices = 1 THEN {literal(SINGLE)}
            WHEN bool_or(votes) THEN {literal(DISPUTED)} ELSE {literal(SILENT)} END AS state,
        median(per_usd) FILTER (agrees) AS per_usd,
        (max(per_usd) FILTER (agrees) / min(per_usd) FILTER (agrees) - 1) * 100 AS spread_pct,
        coalesce(bool_or(at_par) FILTER (agrees), false) AS at_par,
        string_agg(source, ',' ORDER BY source) FILTER (agrees) AS provider,
        coalesce(max(timestamp) FILTER (agrees), max(timestamp)) AS timestamp,
        coalesce(median(per_usd) FILTER (agrees), median(per_usd)) AS middle
    FROM (SELECT *, near AND decided AS agrees FROM judged) GROUP BY currency
),
out AS (
    SELECT currency, list(struct_pack(
            source,
            per_usd := judged.per_usd,
            off_pct := round((judged.per_usd / middle - 1) * 100, 1),
            why := CASE
                WHEN abstains IS NOT NULL THEN abstains
                WHEN NOT decided THEN {literal(UNDECIDED)}
                WHEN abs(judged.per_usd / middle / 10 - 1) < {TENFOLD_WITHIN}
                    OR abs(middle / judged.per_usd / 10 - 1) < {TENFOLD_WITHIN}
                    THEN {literal(TENFOLD)}
                ELSE {literal(OUTLIER)} END
        ) ORDER BY source) AS rejected
    FROM judged JOIN rate USING (currency) WHERE NOT (near AND decided) GROUP BY currency
)
SELECT '' AS _endpoint, rate.* EXCLUDE (middle), coalesce(rejected, []) AS rejected,
    $collection AS collection_id
FROM rate LEFT JOIN out USING (currency)
"""
"""Rows of fiat_rates; $collection stands for the collection that brought the quotes."""
