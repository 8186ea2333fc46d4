"""The SQL that makes cached_market_data and coins out of market_prices. Nothing else.

Each source speaks once per ticker: with its biggest coin of that name, on its busiest pair that
votes. Prices that abstain, and frozen ones, have no vote. Sources of one owner or one feed, a
family, count once. Voices near one another are a cluster, and the clusters of a ticker are rivals:

1. Identity: where market capitalisations of two independent sources say which coin it is, clusters
   far from that one are of another coin and are out, unless as many witnesses stand by them.
2. Majority: three independent voices that are more than half of all make the agreed price, unless
   a rival has more witnesses.
3. Witnesses: where no majority stands, the cluster that has more of them than any rival does.
4. Voices without a rival stand unless there are witnesses and every one speaks against them.
5. Else the coin is disputed, and has no price.

Witnesses are the capitalisations, candles, mark prices of swaps, and the last agreed price. They
are a little old and tell coins and decimal points apart, not good prices from better ones: each
stands by every cluster that the price may have moved to since.

Most coins' voices all lie together, which one pass over them tells; only the others are parted
into clusters. Hours of prices are never read whole: what froze is looked for between short spans
of them, and the day's range is kept by the hour in agreed_ranges. Else every collection would
become slower as sources are added.
"""

from crypto_pipeline.tables.market import IS_VENUE, RECENT_MINUTES, TOLERANCE
from crypto_pipeline.tables.outcomes import UNDECIDED, Agreement, Rejection
from crypto_pipeline.warehouse.sql import literal

AGREED: Agreement = "agreed"
DISPUTED: Agreement = "disputed"
SILENT: Agreement = "silent"

OUTLIER: Rejection = "outlier"
FROZEN: Rejection = "frozen"
OTHER_COIN: Rejection = "other_coin"

RANGE_HOURS = 24

MAJORITY = 3
"""The least independent voices that win by their number over others."""

CAPITALISATIONS = 2
"""The least independent market capitalisations that say which coin it is."""

FROZEN_MINUTES = 180
RESTLESS = 0.005
"""The same price so long ago, half as long ago and now is frozen when the coin's price is further
than this part from all that it was in an hour since."""

WITNESS_HOURS = 2
LAST_HOURS = 24
"""How old candles and marks may be, and the last agreed price, to be witnesses."""

OTHER_COIN_FACTOR = 3.0
"""Only a price further than this from that of the capitalisations is one of another coin: their
sources are slow, and in a fast move all the venues are elsewhere."""

STRAY = 1.25
"""A cluster and a witness are of one coin within this factor; more when the witness is older."""


SAID = "coalesce(quoted, price_usd)"
"""A price in the words of its source: what is frozen there moves here with the quote's rate."""


def _recent_at(minutes: int) -> str:
    """Prices that were recent so many minutes ago: few enough to be read in every collection."""
    return (
        f"timestamp > $now - INTERVAL {minutes + RECENT_MINUTES} MINUTE "
        f"AND timestamp <= $now - INTERVAL {minutes} MINUTE"
    )


def _still(prices: str, minutes: int) -> str:
    """Those of these prices that were the very same so many minutes ago."""
    return f"""
    SELECT {prices}.* FROM {prices} SEMI JOIN (
        SELECT source, source_id, quote, {SAID} AS said FROM market_prices
        WHERE {_recent_at(minutes)}
    ) USING (source, source_id, quote, said)"""


VOICES = f"""
CREATE OR REPLACE TEMP TABLE stage_voices AS
WITH recent AS (
    SELECT * FROM market_prices SEMI JOIN (
        SELECT arg_max(rowid, timestamp) AS rowid FROM market_prices WHERE {_recent_at(0)}
        GROUP BY source, source_id, quote
    ) USING (rowid) WHERE {_recent_at(0)}
),
now AS (
    SELECT symbol, median(price_usd) AS middle FROM recent WHERE abstains IS NULL GROUP BY symbol
),
restless AS (
    SELECT DISTINCT symbol FROM agreed_ranges JOIN now USING (symbol)
    WHERE hour >= date_trunc('hour', $now - INTERVAL {FROZEN_MINUTES} MINUTE) AND hour <= $now
        AND (middle > {1 + RESTLESS} * high_usd OR {1 + RESTLESS} * middle < low_usd)
),
others_moved AS (
    SELECT source, source_id, quote, {SAID} AS said FROM recent SEMI JOIN restless USING (symbol)
),
half_as_long AS ({_still("others_moved", FROZEN_MINUTES // 2)}),
frozen AS (
    SELECT source, source_id, quote, {literal(FROZEN)} AS frozen
    FROM ({_still("half_as_long", FROZEN_MINUTES)})
),
heard AS (
    SELECT source, source_id, quote, symbol, name, price_usd, market_cap,
        volume_24h, price_change_24h, timestamp, coalesce(abstains, frozen) AS abstains
    FROM recent LEFT JOIN frozen USING (source, source_id, quote)
),
family AS (
    SELECT source, coalesce(voice_of, source) AS family FROM providers
    WHERE voice_of IS NOT NULL OR source IN (SELECT voice_of FROM providers)
)
SELECT heard.* EXCLUDE (source_id) REPLACE (
    CASE WHEN market_cap IS NULL THEN sum(volume_24h) FILTER (abstains IS NULL) OVER pairs
         ELSE volume_24h END AS volume_24h), family
FROM heard LEFT JOIN family USING (source)
WINDOW pairs AS (PARTITION BY source, symbol)
QUALIFY row_number() OVER (
    PARTITION BY source, symbol
    ORDER BY market_cap DESC NULLS LAST, abstains IS NOT NULL,
        heard.volume_24h DESC NULLS LAST, source_id, quote) = 1
"""

NEAR = f"price_usd BETWEEN {1 - TOLERANCE} * centre AND {1 + TOLERANCE} * centre"

IS_THAT_COIN = (
    f"centre BETWEEN witness.low / {OTHER_COIN_FACTOR} AND witness.high * {OTHER_COIN_FACTOR}"
)
STANDS_BY = "centre BETWEEN witness.low / stray AND witness.high * stray"

INDEPENDENT = "(count(*) FILTER ({0} AND family IS NULL) + count(DISTINCT family) FILTER ({0}))"

CLUSTERS = f"""
CREATE OR REPLACE TEMP TABLE stage_clusters AS
WITH vote AS NOT MATERIALIZED (SELECT * FROM stage_voices WHERE abstains IS NULL),
together AS (
    SELECT symbol, 0 AS cluster, min(price_usd) AS low, max(price_usd) AS high,
        median(price_usd) AS centre, {INDEPENDENT.format("true")} AS heard, heard AS voices,
        {INDEPENDENT.format("market_cap IS NOT NULL")} AS capitalised
    FROM vote GROUP BY symbol
),
scattered AS (
    SELECT vote.* FROM vote SEMI JOIN (
        SELECT symbol FROM together WHERE low < {1 - TOLERANCE} * high) USING (symbol)
),
ordered AS (
    SELECT symbol, list_sort(list(price_usd)) AS prices FROM scattered GROUP BY symbol
),
parted AS (
    SELECT symbol, [prices[n + 1] FOR n IN range(1, len(prices))
        IF prices[n] < {1 - TOLERANCE} * prices[n + 1]] AS gaps
    FROM ordered
),
placed AS (
    SELECT symbol, len(list_filter(gaps, lambda gap: gap <= price_usd)) AS cluster,
        min(price_usd) AS low, max(price_usd) AS high, median(price_usd) AS centre
    FROM scattered JOIN parted USING (symbol) GROUP BY ALL
)
SELECT * FROM together WHERE low >= {1 - TOLERANCE} * high
UNION ALL
SELECT symbol, cluster, low, high, centre,
    {INDEPENDENT.format("true")} AS heard,
    {INDEPENDENT.format(NEAR)} AS voices,
    {INDEPENDENT.format(f"{NEAR} AND market_cap IS NOT NULL")} AS capitalised
FROM scattered JOIN placed USING (symbol) WHERE price_usd BETWEEN low AND high GROUP BY ALL
"""

WITNESSES = f"""
CREATE OR REPLACE TEMP TABLE stage_witnesses AS
WITH candle AS (
    SELECT symbol, provider, arg_max(close, timestamp) AS price, max(timestamp) AS seen
    FROM cached_ohlc
    WHERE timestamp > $now - INTERVAL {WITNESS_HOURS} HOUR AND timestamp <= $now
        AND (quote = 'USD' OR quote IN (SELECT DISTINCT quote FROM stage_voices))
    GROUP BY ALL
),
mark AS (
    SELECT symbol, exchange, source_id, arg_max(mark_price, timestamp) AS price,
        max(timestamp) AS seen
    FROM funding_rates
    WHERE timestamp > $now - INTERVAL {WITNESS_HOURS} HOUR AND timestamp <= $now
        AND mark_price IS NOT NULL
    GROUP BY ALL
),
said AS (
    SELECT symbol, true AS identifies, arg_max(centre, capitalised) AS low,
        arg_max(centre, capitalised) AS high, $now AS seen
    FROM stage_clusters GROUP BY symbol
    HAVING max(capitalised) >= {CAPITALISATIONS}
        AND max(capitalised) > 2 * (sum(capitalised) - max(capitalised))
    UNION ALL
    SELECT symbol, false, median(price), median(price), max(seen) FROM candle GROUP BY symbol
    UNION ALL
    SELECT symbol, false, median(price), median(price), max(seen) FROM mark GROUP BY symbol
    UNION ALL
    SELECT symbol, false, arg_max(low_usd, hour), arg_max(high_usd, hour), max(hour)
    FROM agreed_ranges WHERE hour > $now - INTERVAL {LAST_HOURS} HOUR AND hour <= $now
    GROUP BY symbol
)
SELECT *, pow({STRAY}, sqrt(1 + date_diff('hour', seen, $now))) AS stray FROM said
"""

DECIDE = f"""
CREATE OR REPLACE TEMP TABLE stage_witnessed AS
SELECT clusters.*, count(seen) AS known,
    count(*) FILTER ({STANDS_BY}) AS witnesses,
    coalesce(bool_and({IS_THAT_COIN}) FILTER (identifies), true) AS same_coin
FROM stage_clusters AS clusters LEFT JOIN stage_witnesses AS witness USING (symbol)
GROUP BY ALL;

CREATE OR REPLACE TEMP TABLE stage_decided AS
WITH counted AS (
    SELECT *, 2 * voices > sum(heard) FILTER (same_coin) OVER (PARTITION BY symbol) AS most,
        max(witnesses) FILTER (NOT same_coin) OVER (PARTITION BY symbol) AS of_other_coin
    FROM stage_witnessed QUALIFY same_coin
),
rivalled AS (
    SELECT *,
        coalesce(max(witnesses) OVER rivals, 0) AS of_rival,
        coalesce(bool_or(most AND voices >= {MAJORITY}) OVER rivals, false) AS outvoted,
        count(*) OVER rivals = 0 AND known = 0 AS alone
    FROM counted
    WINDOW rivals AS (
        PARTITION BY symbol
        ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING EXCLUDE CURRENT ROW)
)
SELECT symbol, centre FROM rivalled
WHERE (of_other_coin IS NULL OR witnesses > of_other_coin)
    AND ((most AND voices >= {MAJORITY} AND witnesses >= of_rival)
        OR (witnesses > of_rival AND NOT outvoted)
        OR (most AND alone));

CREATE OR REPLACE TEMP TABLE stage_agreed AS
WITH agreeing AS NOT MATERIALIZED (
    SELECT stage_voices.* FROM stage_voices JOIN stage_decided USING (symbol)
    WHERE abstains IS NULL AND {NEAR}
),
independent AS (
    SELECT symbol, price_usd, market_cap, price_change_24h, volume_24h
    FROM agreeing WHERE family IS NULL
    UNION ALL
    SELECT symbol, avg(price_usd), avg(market_cap), avg(price_change_24h), avg(volume_24h)
    FROM agreeing WHERE family IS NOT NULL GROUP BY symbol, family
)
SELECT symbol, count(*) AS voices, median(price_usd) AS price_usd,
    median(market_cap) AS market_cap, median(price_change_24h) AS change_24h,
    sum(price_usd * volume_24h) FILTER ({IS_VENUE})
        / sum(volume_24h) FILTER ({IS_VENUE}) AS vwap_usd,
    coalesce(
        median(volume_24h) FILTER (market_cap IS NOT NULL),
        sum(volume_24h)) AS volume_24h
FROM independent GROUP BY symbol
"""

RANGE = f"""
CREATE OR REPLACE TEMP TABLE stage_ranges AS
SELECT symbol, date_trunc('hour', $now) AS hour, max(high_usd) AS high_usd, min(low_usd) AS low_usd
FROM (
    SELECT symbol, price_usd AS high_usd, price_usd AS low_usd FROM stage_agreed
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
WITH judged AS NOT MATERIALIZED (
    SELECT stage_voices.*, abstains IS NULL AND coalesce({NEAR}, false) AS agrees
    FROM stage_voices LEFT JOIN stage_decided USING (symbol)
),
heard AS (
    SELECT symbol,
        CASE WHEN bool_or(agrees) THEN {literal(AGREED)}
             WHEN bool_or(abstains IS NULL) THEN {literal(DISPUTED)}
             ELSE {literal(SILENT)} END AS state,
        arg_max(name, market_cap) FILTER (agrees AND name IS NOT NULL) AS name,
        count(*) FILTER (agrees) AS sources,
        (max(price_usd) FILTER (agrees) / min(price_usd) FILTER (agrees) - 1) * 100 AS spread_pct,
        string_agg(source, ',' ORDER BY source) FILTER (agrees) AS provider,
        coalesce(max(timestamp) FILTER (agrees), max(timestamp)) AS fetched_at
    FROM judged GROUP BY symbol
),
other_coin AS (
    SELECT symbol, low, high FROM stage_witnessed WHERE NOT same_coin AND voices > 1
),
left_out AS (
    SELECT judged.*, agreed.price_usd IS NOT NULL AS decided, low IS NOT NULL AS of_other_coin,
        coalesce(agreed.price_usd, median(judged.price_usd) OVER (PARTITION BY judged.symbol))
            AS centre
    FROM judged LEFT JOIN stage_agreed AS agreed USING (symbol) LEFT JOIN other_coin
        ON other_coin.symbol = judged.symbol AND judged.price_usd BETWEEN low AND high
    WHERE NOT agrees
),
out AS (
    SELECT symbol, list(struct_pack(
            source,
            price_usd,
            off_pct := round((price_usd / centre - 1) * 100, 1),
            why := CASE
                WHEN abstains IS NOT NULL THEN abstains
                WHEN NOT decided THEN {literal(UNDECIDED)}
                WHEN of_other_coin THEN {literal(OTHER_COIN)}
                ELSE {literal(OUTLIER)} END
        ) ORDER BY source) AS rejected
    FROM left_out GROUP BY symbol
),
day AS (
    SELECT symbol, max(high_usd) AS high_24h, min(low_usd) AS low_24h
    FROM agreed_ranges WHERE hour > $now - INTERVAL {RANGE_HOURS} HOUR
    GROUP BY symbol
)
SELECT heard.*, stage_agreed.* EXCLUDE (symbol, vwap_usd), high_24h, low_24h,
    coalesce(rejected, []) AS rejected
FROM heard LEFT JOIN stage_agreed USING (symbol) LEFT JOIN out USING (symbol)
    LEFT JOIN day USING (symbol)
"""

COUNT = f"SELECT count(*) FROM cached_market_data WHERE state = {literal(AGREED)}"

IDENTIFY = """
SELECT '' AS _endpoint, source, source_id, symbol, name, contract, market_cap,
    row_number() OVER (PARTITION BY source ORDER BY market_cap DESC) AS rank,
    row_number() OVER (PARTITION BY source, symbol ORDER BY market_cap DESC) AS rank_of_symbol,
    timestamp AS updated_at
FROM stage_market_prices WHERE market_cap IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY source, source_id ORDER BY market_cap DESC) = 1
"""

STATEMENTS = tuple(
    statement.strip()
    for text in (VOICES, CLUSTERS, WITNESSES, DECIDE, RANGE, AGREE, COUNT)
    for statement in text.split(";")
)
"""In order; $now stands for the time of the newest price that is not ahead of the clock. The last
tells how many coins have an agreed price."""
