"""Ready answers: what analysts compute from the tables, each a view or a macro.

Owns: their SQL, their columns with units, and what is true of every row of each.
Returns are of agreed bars, so that no single source's slip moves them; a bar without a price gives
none, and neither does one after a bar that is not there. Volatility is for a year of 365 days.
"now" is the moment of the query; what a clock ahead has left is not read. Days and hours are those
of UTC in every session.
"""

from crypto_pipeline.tables.analytics import BARS
from crypto_pipeline.tables.fiat import FiatRate
from crypto_pipeline.tables.market import RECENT_MINUTES, TOLERANCE
from crypto_pipeline.tables.views import View, ViewColumn

DAY_HOURS = 24
WEEK_HOURS = 7 * DAY_HOURS
MONTH_HOURS = 30 * DAY_HOURS

RECENT = f"INTERVAL {RECENT_MINUTES} MINUTE"
"""How old a price may be that is compared with others."""

LATELY = "INTERVAL 2 HOUR"
"""The same of what is collected every quarter of an hour."""

HOURS_OF_YEAR = 365 * 24

SCALE = 1.4826
"""Times this the median distance from the median is a standard deviation, of normal chance."""

UNUSUAL = 6.0
"""An hour's return so many deviations from the usual one is an anomaly."""


def _column(name: str, meaning: str, unit: str | None = None) -> ViewColumn:
    return ViewColumn(name, meaning, unit=unit)


SYMBOL = _column("symbol", "Canonical ticker")
VOICES = _column("voices", "The fewest independent voices behind it: 1 is one voice's word")


def _since(hours: int) -> str:
    """In the last hours. Days are counted in hours: a day of the session's zone may be longer."""
    return f"timestamp > now() - INTERVAL {hours} HOUR AND timestamp <= now()"


def _start(interval: str, of: str = "timestamp") -> str:
    """When the hour or day of a moment began in UTC. date_trunc and time_bucket would take the
    session's zone, and far more time."""
    length = BARS[interval] * 1_000_000
    return f"make_timestamptz(epoch_us({of}) // {length} * {length})"


def _returns(interval: str, of: str = "true") -> str:
    """The bars of one length with their returns, which are NULL unless the bar just before has a
    price."""
    return f"""
    SELECT * EXCLUDE (before), close / before - 1 AS r, ln(close / before) AS log_r
    FROM (
        SELECT symbol, timestamp, close, voices, prices, lag(prices) OVER bars AS prices_before,
            if(lag(timestamp) OVER bars = timestamp - INTERVAL {BARS[interval]} SECOND,
                lag(close) OVER bars, NULL) AS before
        FROM agreed_bars WHERE interval = '{interval}' AND {of}
        WINDOW bars AS (PARTITION BY symbol ORDER BY timestamp))"""


def _hourly(hours: int) -> str:
    """The hourly bars that began in the last hours, with their returns."""
    return f"SELECT * FROM ({_returns('1h', _since(hours + 1))}) WHERE {_since(hours)}"


DAILY_RETURNS = View(
    "daily_returns",
    "The return of each coin on each day that is over, from one close to the next, UTC: a row for "
    "each daily bar. A day without a price has no return, and the day after it has none either.",
    (
        SYMBOL,
        _column("day", "Start of the day"),
        _column("close_usd", "Last agreed price", "USD"),
        _column("return_pct", "Change since the close of the day before", "%"),
        _column("log_return", "Natural logarithm of the ratio of the two"),
        VOICES,
    ),
    "(SELECT symbol, timestamp AS day, close AS close_usd, voices, r * 100 AS return_pct, "
    f"log_r AS log_return FROM ({_returns('1d')}))",
    check="return_pct IS NULL OR return_pct > -100",
)


def _realised(days: int) -> str:
    return (
        f"100 * sqrt({HOURS_OF_YEAR} * avg(log_r * log_r) "
        f"FILTER ({_since(days * DAY_HOURS)})) AS realised_{days}d_pct"
    )


VOLATILITY = View(
    "volatility",
    "How much each coin's price moves, for a year of 365 days: realised, the root of the mean "
    "square of the logarithmic returns of the agreed price in the hourly bars that began in a "
    "time, and Parkinson's, the root of the mean of ln(high / low) squared over 4 ln 2, of the "
    "hourly candles of all venues. A row for each coin with hourly bars in 30 days.",
    (
        SYMBOL,
        _column("realised_1d_pct", "Of the last day", "% a year"),
        _column("realised_7d_pct", "Of the last 7 days", "% a year"),
        _column("realised_30d_pct", "Of the last 30 days", "% a year"),
        _column("parkinson_30d_pct", "Of the last 30 days, by Parkinson", "% a year"),
        _column("hours", "Hourly returns of the last 30 days that went into it"),
        _column("candles", "Hourly candles of the last 30 days that went into it"),
        VOICES,
    ),
    f"""(
    WITH realised AS (
        SELECT symbol, {_realised(1)}, {_realised(7)}, {_realised(30)},
            count(log_r) AS hours, min(voices) AS voices
        FROM ({_hourly(MONTH_HOURS)}) GROUP BY symbol
    ),
    parkinson AS (
        SELECT symbol, count(*) AS said,
            100 * sqrt({HOURS_OF_YEAR} * avg(pow(ln(high / low), 2)) / (4 * ln(2)))
                AS parkinson_30d_pct
        FROM cached_ohlc WHERE interval = '1h' AND {_since(MONTH_HOURS)} GROUP BY symbol
    )
    SELECT *, coalesce(said, 0) AS candles FROM realised LEFT JOIN parkinson USING (symbol))""",
    check="(realised_30d_pct IS NULL) = (hours = 0) "
    "AND (parkinson_30d_pct IS NULL) = (candles = 0)",
)


def _number(expression: str) -> str:
    """NULL where a statistic is not a number, as DuckDB says of what stands still."""
    return f"nullif({expression}, 'nan'::DOUBLE)"


CORRELATIONS = View(
    "correlations",
    "How each coin moves with Bitcoin and with Ether, by the logarithmic returns of the hourly "
    "bars that began in the last 30 days, of the hours in which both have one. NULL where a price "
    "stands still or there are fewer than two such hours.",
    (
        SYMBOL,
        _column("corr_btc", "Correlation with BTC, -1 to 1"),
        _column("beta_btc", "Return for each percent of BTC: the slope of the regression"),
        _column("corr_eth", "Correlation with ETH, -1 to 1"),
        _column("beta_eth", "Return for each percent of ETH: the slope of the regression"),
        _column("hours", "Hours with a return of the coin and of BTC"),
        VOICES,
    ),
    f"""(
    WITH hourly AS MATERIALIZED ({_hourly(MONTH_HOURS)})
    SELECT coin.symbol, {_number("corr(coin.log_r, btc.log_r)")} AS corr_btc,
        {_number("regr_slope(coin.log_r, btc.log_r)")} AS beta_btc,
        {_number("corr(coin.log_r, eth.log_r)")} AS corr_eth,
        {_number("regr_slope(coin.log_r, eth.log_r)")} AS beta_eth,
        count(*) FILTER (coin.log_r IS NOT NULL AND btc.log_r IS NOT NULL) AS hours,
        min(coin.voices) AS voices
    FROM hourly AS coin
    LEFT JOIN (FROM hourly WHERE symbol = 'BTC') AS btc USING (timestamp)
    LEFT JOIN (FROM hourly WHERE symbol = 'ETH') AS eth USING (timestamp)
    GROUP BY coin.symbol)""",
    check="coalesce(greatest(abs(corr_btc), abs(corr_eth)), 0) <= 1 + 1e-9",
)


def _before(hours: int) -> str:
    """The last agreed price of the hour that ended so many hours ago, as a column."""
    return (
        f"arg_max(price_usd, timestamp) FILTER (timestamp <= now() - INTERVAL {hours} HOUR "
        f"AND timestamp > now() - INTERVAL {hours + 1} HOUR) AS usd_{hours}h"
    )


TOP_MOVERS = View(
    "top_movers",
    "How far each agreed price of the last half hour is from what it was an hour, a day and a week "
    "ago: the last agreed price of the hour that ended then, NULL where that has none. The largest "
    "moves of a day first.",
    (
        SYMBOL,
        _column("name", "The coin's name"),
        _column("price_usd", "Agreed price now", "USD"),
        _column("change_1h_pct", "Change within an hour", "%"),
        _column("change_24h_pct", "Change within a day", "%"),
        _column("change_7d_pct", "Change within a week", "%"),
        _column("volume_24h", "As in cached_market_data", "USD"),
        VOICES,
    ),
    f"""(
    WITH past AS (
        SELECT symbol, {_before(1)}, {_before(DAY_HOURS)}, {_before(WEEK_HOURS)}
        FROM agreed_prices WHERE {_since(WEEK_HOURS + 1)} GROUP BY symbol
    )
    SELECT symbol, name, price_usd, volume_24h, voices,
        (price_usd / usd_1h - 1) * 100 AS change_1h_pct,
        (price_usd / usd_24h - 1) * 100 AS change_24h_pct,
        (price_usd / usd_168h - 1) * 100 AS change_7d_pct
    FROM cached_market_data LEFT JOIN past USING (symbol)
    WHERE price_usd IS NOT NULL AND fetched_at > now() - {RECENT}
    ORDER BY abs(change_24h_pct) DESC NULLS LAST, symbol)""",
    check="price_usd > 0",
)

_VENUES = f"""
    SELECT * FROM (
        FROM market_prices WHERE timestamp > now() - {RECENT} AND timestamp <= now()
        QUALIFY count(market_cap) OVER (PARTITION BY source) = 0 AND row_number() OVER (
            PARTITION BY source, source_id, quote ORDER BY timestamp DESC) = 1
    ) WHERE abstains IS NULL AND volume_24h > 0"""
"""The last price of each pair that votes, of sources that say what they traded and know no market
capitalisations: those are aggregators."""

VENUE_SPREADS = View(
    "venue_spreads",
    "Where a coin is cheapest and where dearest now, and what is left of the difference after a "
    "fee on both sides: (sell less fee) / (buy plus fee) - 1. A venue is a source that says what "
    "it traded and knows no market capitalisations; it speaks with its busiest pair, by the last "
    "price of half an hour that does not abstain. Venues that the agreed view rejects or that are "
    "more than 5 % from its price are left out. Nothing is said of depth, transfers and whether "
    "withdrawals are open: a difference that lasts has its reason there.",
    (
        SYMBOL,
        _column("buy_at", "The cheapest venue, of equals the first by name"),
        _column("buy_usd", "Its price", "USD"),
        _column("sell_at", "The dearest venue, of equals the last by name"),
        _column("sell_usd", "Its price", "USD"),
        _column("gap_pct", "Difference before fees", "%"),
        _column("after_fees_pct", "Difference after them", "%"),
        _column("venues", "How many venues were compared, at least 2"),
    ),
    f"""(
    SELECT symbol, arg_min(source, (venue.price_usd, source)) AS buy_at,
        min(venue.price_usd) AS buy_usd,
        arg_max(source, (venue.price_usd, source)) AS sell_at, max(venue.price_usd) AS sell_usd,
        (sell_usd / buy_usd - 1) * 100 AS gap_pct,
        (sell_usd * (1 - fee_pct / 100) / (buy_usd * (1 + fee_pct / 100)) - 1) * 100
            AS after_fees_pct,
        count(*) AS venues
    FROM (
        FROM ({_VENUES}) QUALIFY row_number() OVER (
            PARTITION BY symbol, source ORDER BY volume_24h DESC, source_id, quote) = 1
    ) AS venue JOIN cached_market_data AS agreed USING (symbol)
    WHERE abs(venue.price_usd / agreed.price_usd - 1) <= {TOLERANCE}
        AND NOT list_contains([voice.source FOR voice IN rejected], source)
    GROUP BY symbol HAVING venues > 1
    ORDER BY after_fees_pct DESC, symbol)""",
    {"fee_pct": "what a venue takes of a trade in percent, such as 0.1"},
    check="gap_pct >= 0 AND after_fees_pct <= gap_pct AND buy_at <> sell_at",
)

VENUE_SHARES = View(
    "venue_shares",
    "How much each venue trades in a day against dollars and dollar coins, by its own word, and "
    "its share of all. Venues are those of venue_spreads, with the last price of each pair in "
    "half an hour, where it does not abstain. Venues that report false volumes are not found out "
    "here.",
    (
        _column("source", "The venue"),
        _column("volume_24h", "Sum over its pairs", "USD"),
        _column("share_pct", "Share of all venues", "%"),
        _column("coins", "Coins it trades"),
    ),
    f"""(
    SELECT source, sum(volume_24h) AS volume_24h, count(DISTINCT symbol) AS coins,
        100 * sum(volume_24h) / sum(sum(volume_24h)) OVER () AS share_pct
    FROM ({_VENUES}) GROUP BY source ORDER BY share_pct DESC, source)""",
    check="share_pct > 0 AND share_pct <= 100 + 1e-9 AND coins > 0",
)


def _last_of(table: str, age: str) -> str:
    """The last row of each contract at each exchange, no older than that."""
    return f"""
    FROM {table} WHERE timestamp > now() - {age} AND timestamp <= now()
    QUALIFY row_number() OVER (PARTITION BY source, source_id ORDER BY timestamp DESC) = 1"""


FUNDING_ANNUALISED = View(
    "funding_annualised",
    "What it costs to hold a perpetual swap for a year at its present rate, without compounding, "
    "by exchange: the last rate of each contract in two hours. Contracts whose interval the "
    "exchange does not say are left out.",
    (
        SYMBOL,
        _column("source", "The exchange"),
        _column("source_id", "Its name of the contract"),
        _column("rate", "Funding rate, a fraction per interval"),
        _column("interval_hours", "How often it is paid", "hours"),
        _column("annual_pct", "The long side pays the short side so much", "% a year"),
        _column("rate_kind", "Whether the rate still moves until it is paid"),
        _column("timestamp", "When it was observed"),
    ),
    f"""(
    SELECT *, rate * {HOURS_OF_YEAR} / interval_hours * 100 AS annual_pct
    FROM ({_last_of("funding_rates", LATELY)}) WHERE interval_hours IS NOT NULL)""",
    check="sign(annual_pct) = sign(rate)",
)

FUNDING_PAIRS = View(
    "funding_pairs",
    "Where a coin is held long at the least cost, or the most gain, and where short: the best "
    "pair of two exchanges for each coin, before fees, by funding_annualised. Of equal pairs the "
    "first by name.",
    (
        SYMBOL,
        _column("long_at", "The exchange to be long at, with its contract of the lowest rate"),
        _column("long_pct", "Its rate", "% a year"),
        _column("short_at", "The exchange to be short at, with its contract of the highest rate"),
        _column("short_pct", "Its rate", "% a year"),
        _column("gain_pct", "What the pair earns at these rates", "% a year"),
        _column("exchanges", "How many exchanges were compared"),
    ),
    """(
    WITH exchange AS (
        SELECT symbol, source, min(annual_pct) AS low, max(annual_pct) AS high,
            count(*) OVER (PARTITION BY symbol) AS exchanges
        FROM funding_annualised GROUP BY symbol, source
    )
    SELECT symbol, long.source AS long_at, long.low AS long_pct,
        short.source AS short_at, short.high AS short_pct,
        short.high - long.low AS gain_pct, long.exchanges
    FROM exchange AS long JOIN exchange AS short USING (symbol)
    WHERE long.source <> short.source
    QUALIFY row_number() OVER (
        PARTITION BY symbol ORDER BY gain_pct DESC, long.source, short.source) = 1
    ORDER BY gain_pct DESC, symbol)""",
    check="gain_pct >= 0 AND long_at <> short_at",
)

BASIS = View(
    "basis",
    "How far the mark price of each perpetual swap is from the agreed spot price, both of the last "
    "half hour. Marks are in the contract's quote, which counts as dollars at par.",
    (
        SYMBOL,
        _column("source", "The exchange"),
        _column("source_id", "Its name of the contract"),
        _column("mark_price", "Mark price of one coin", "quote"),
        _column("spot_usd", "Agreed price", "USD"),
        _column("basis_pct", "Mark over spot, minus one", "%"),
        VOICES,
    ),
    f"""(
    SELECT swap.symbol, source, source_id, mark_price, price_usd AS spot_usd,
        (mark_price / price_usd - 1) * 100 AS basis_pct, voices
    FROM ({_last_of("funding_rates", RECENT)}) AS swap JOIN cached_market_data USING (symbol)
    WHERE mark_price IS NOT NULL AND price_usd IS NOT NULL
        AND fetched_at > now() - {RECENT} AND fetched_at <= now())""",
    check="basis_pct > -100",
)

OPEN_INTEREST_BY_COIN = View(
    "open_interest_by_coin",
    "What is open in perpetual swaps of each coin, over all exchanges that say it: the last word "
    "of each contract in two hours, in coins at the agreed price where the exchange says no "
    "dollars.",
    (
        SYMBOL,
        _column("open_interest_usd", "Open positions, one side counted", "USD"),
        _column("exchanges", "How many exchanges say so"),
        _column("largest", "The exchange with the most, of equals the last by name"),
        _column("largest_share_pct", "Its share", "%"),
    ),
    f"""(
    WITH last AS (
        SELECT contract.symbol, source,
            coalesce(open_interest_usd, open_interest * price_usd) AS usd
        FROM ({_last_of("open_interest", LATELY)}) AS contract
        LEFT JOIN cached_market_data USING (symbol)
    ),
    by_exchange AS (
        SELECT symbol, source, sum(usd) AS usd FROM last WHERE usd IS NOT NULL GROUP BY ALL
    )
    SELECT symbol, sum(usd) AS open_interest_usd, count(*) AS exchanges,
        arg_max(source, (usd, source)) AS largest,
        100 * max(usd) / nullif(sum(usd), 0) AS largest_share_pct
    FROM by_exchange GROUP BY symbol ORDER BY open_interest_usd DESC, symbol)""",
    check="largest_share_pct IS NULL OR largest_share_pct BETWEEN 0 AND 100 + 1e-9",
)

STABLECOIN_FLOWS = View(
    "stablecoin_flows",
    "How much of each stablecoin came into the world on each day: the change of what circulates "
    "from the last word of one day to that of the next, the median over sources. A source speaks "
    "with its biggest coin of the ticker. The present day is counted so far. In dollars of the "
    "source: the price's own moves are in it.",
    (
        _column("day", "Start of the day, UTC"),
        SYMBOL,
        _column("circulating_usd", "What circulates at its end, the median over sources", "USD"),
        _column("flow_usd", "More, or less, than the day before", "USD"),
        _column("sources", "How many sources say both days"),
    ),
    f"""(
    WITH daily AS (
        SELECT {_start("1d")} AS day, symbol, source, source_id,
            arg_max(circulating_usd, timestamp) AS usd
        FROM stablecoin_supply WHERE circulating_usd IS NOT NULL GROUP BY ALL
    ),
    coin AS (
        SELECT day, symbol, usd,
            if(lag(day) OVER days = day - INTERVAL {DAY_HOURS} HOUR,
                lag(usd) OVER days, NULL) AS before
        FROM daily
        WINDOW days AS (PARTITION BY symbol, source, source_id ORDER BY day)
        QUALIFY row_number() OVER (
            PARTITION BY day, symbol, source ORDER BY usd DESC, source_id) = 1
    )
    SELECT day, symbol, median(usd) AS circulating_usd, median(usd - before) AS flow_usd,
        count(before) AS sources
    FROM coin GROUP BY day, symbol
    ORDER BY day DESC, abs(flow_usd) DESC NULLS LAST, symbol)""",
    check="circulating_usd >= 0",
)


def _tvl_before(days: int) -> str:
    """The last value of the day that ended so many days ago, as a column."""
    return (
        "arg_max(tvl_usd, timestamp) "
        f"FILTER (timestamp <= now() - INTERVAL {days * DAY_HOURS} HOUR "
        f"AND timestamp > now() - INTERVAL {(days + 1) * DAY_HOURS} HOUR) AS usd_{days}d"
    )


TVL_CHANGES = View(
    "tvl_changes",
    "What is locked in each chain and protocol by the last word of a source in a day, and how "
    "much more or less than by its last word of the day that ended a day, or a week, ago: NULL "
    "where that has none, or zero. A row for each source_id of a source.",
    (
        _column("source", "Who said so"),
        _column("scope", "chain or protocol"),
        _column("name", "Which one"),
        _column("blockchain", "Of a chain, its name as in the other tables"),
        _column("tvl_usd", "Locked now", "USD"),
        _column("change_1d_pct", "Change within a day", "%"),
        _column("change_7d_pct", "Change within a week", "%"),
        _column("timestamp", "When it was observed"),
    ),
    f"""(
    SELECT source, scope, last(name ORDER BY timestamp) AS name,
        last(blockchain ORDER BY timestamp) AS blockchain,
        arg_max(tvl_usd, timestamp) AS tvl_usd,
        {_tvl_before(1)}, {_tvl_before(7)}, max(timestamp) AS timestamp,
        (arg_max(tvl_usd, timestamp) / nullif(usd_1d, 0) - 1) * 100 AS change_1d_pct,
        (arg_max(tvl_usd, timestamp) / nullif(usd_7d, 0) - 1) * 100 AS change_7d_pct
    FROM defi_tvl WHERE {_since(8 * DAY_HOURS)}
    GROUP BY source, scope, source_id HAVING max(timestamp) > now() - INTERVAL {DAY_HOURS} HOUR
    ORDER BY tvl_usd DESC, source, name)""",
    check="tvl_usd >= 0",
)

GAS_BY_HOUR = View(
    "gas_by_hour",
    "What a transaction cost on each chain in each hour: the median of all that sources called the "
    "standard price, or of the node's own price in gwei where they called none so.",
    (
        _column("hour", "Start of the hour, UTC"),
        _column("blockchain", "The chain"),
        _column("unit", "Unit of the prices"),
        _column("standard", "Median of the standard prices", "see unit"),
        _column("lowest", "The lowest of them", "see unit"),
        _column("highest", "The highest of them", "see unit"),
        _column("sources", "How many sources said so"),
    ),
    f"""(
    SELECT {_start("1h")} AS hour, blockchain, unit, median(price) AS standard,
        min(price) AS lowest, max(price) AS highest, count(DISTINCT source) AS sources
    FROM (
        SELECT *, coalesce(standard_gas_price, gas_price_gwei) AS price FROM gas_prices
    ) WHERE price IS NOT NULL GROUP BY ALL ORDER BY hour DESC, blockchain, unit)""",
    check="standard BETWEEN lowest AND highest",
)

WHALE_FLOWS = View(
    "whale_flows",
    "Large transfers by chain, coin and day.",
    (
        _column("day", "Start of the day, UTC"),
        _column("blockchain", "The chain"),
        SYMBOL,
        _column("transfers", "How many transfers"),
        _column("amount", "All of them together", "coins"),
        _column("amount_usd", "Those whose worth is known, together", "USD"),
        _column("largest_usd", "The largest of these", "USD"),
    ),
    f"""(
    SELECT {_start("1d")} AS day, blockchain, symbol, count(*) AS transfers,
        sum(amount) AS amount, sum(amount_usd) AS amount_usd, max(amount_usd) AS largest_usd
    FROM whale_transactions GROUP BY ALL
    ORDER BY day DESC, amount_usd DESC NULLS LAST, blockchain, symbol)""",
    check="largest_usd IS NULL OR largest_usd <= amount_usd * (1 + 1e-9)",
)

NEWS_BY_COIN = View(
    "news_by_coin",
    "What was written about each coin on each day: stories, which several articles may tell, and "
    "how good or bad they are, each by its first article of the day that could be read. Days are "
    "those of publication, or else of first sight.",
    (
        _column("day", "Start of the day, UTC"),
        SYMBOL,
        _column("stories", "How many stories"),
        _column("articles", "How many articles tell them"),
        _column("score", "Mean over the stories, -1 the worst news and 1 the best"),
        _column("positive", "Stories that are positive"),
        _column("negative", "Stories that are negative"),
    ),
    f"""(
    WITH told AS (
        SELECT {_start("1d", "coalesce(published_at, created_at)")} AS day, symbol,
            coalesce(story, article_key) AS story, count(*) AS articles,
            arg_min(sentiment_score, created_at) AS score,
            arg_min(sentiment, created_at) AS sentiment
        FROM (SELECT *, unnest(symbols) AS symbol FROM news_articles) GROUP BY ALL
    )
    SELECT day, symbol, count(*) AS stories, sum(articles)::BIGINT AS articles,
        avg(score) AS score, count(*) FILTER (sentiment = 'positive') AS positive,
        count(*) FILTER (sentiment = 'negative') AS negative
    FROM told GROUP BY ALL ORDER BY day DESC, stories DESC, symbol)""",
    check="stories <= articles AND positive + negative <= stories",
)

FEAR_AND_GREED = View(
    "fear_and_greed",
    "The fear and greed index of each day, the median over sources of the last value of the day, "
    "beside Bitcoin's return on that day and on the next, as in daily_returns.",
    (
        _column("day", "Start of the day, UTC"),
        _column("fear_greed", "0 is extreme fear, 100 extreme greed"),
        _column("sources", "How many sources said so"),
        _column("btc_return_pct", "Bitcoin's return on the day", "%"),
        _column("btc_next_return_pct", "and on the day after", "%"),
    ),
    f"""(
    WITH said AS (
        SELECT source, {_start("1d")} AS day, arg_max(value, timestamp) AS value
        FROM sentiment_metrics WHERE metric_name = 'fear_greed_index' AND symbol IS NULL
        GROUP BY ALL
    ),
    mood AS (
        SELECT day, median(value) AS fear_greed, count(*) AS sources FROM said GROUP BY day
    ),
    btc AS MATERIALIZED (SELECT day, return_pct FROM daily_returns WHERE symbol = 'BTC')
    SELECT mood.*, today.return_pct AS btc_return_pct, next.return_pct AS btc_next_return_pct
    FROM mood LEFT JOIN btc AS today ON today.day = mood.day
        LEFT JOIN btc AS next ON next.day = mood.day + INTERVAL {DAY_HOURS} HOUR
    ORDER BY mood.day DESC)""",
    check="fear_greed BETWEEN 0 AND 100",
)

ANOMALIES = View(
    "anomalies",
    "Hourly bars that began in the last day in which a coin's logarithmic return was far from "
    "what is usual for it in the bars of a week: at least 6 deviations from the median, a "
    "deviation being the median distance from that median, times 1.4826. What may be behind it is "
    "the first of the causes that is true. A coin that stands still most hours has no usual "
    "deviation, and no row.",
    (
        SYMBOL,
        _column("hour", "Start of the hour, UTC"),
        _column("return_pct", "Its return", "%"),
        _column("score", "How many usual deviations that is from the median"),
        _column(
            "cause",
            "voices: less than half of its usual (median) voices spoke; gap: less than half of the "
            "usual agreed prices are in this hour or in the one before; market: Bitcoin's hour was "
            "unusual too; coin: none of these",
        ),
        VOICES,
    ),
    f"""(
    WITH hourly AS MATERIALIZED ({_hourly(WEEK_HOURS)}),
    usual AS (
        SELECT symbol, median(log_r) AS middle, mad(log_r) * {SCALE} AS deviation,
            median(voices) AS usual_voices, median(prices) AS usual_prices
        FROM hourly GROUP BY symbol
    ),
    unusual AS (
        SELECT symbol, timestamp AS hour, r * 100 AS return_pct,
            (log_r - middle) / nullif(deviation, 0) AS score, voices,
            2 * voices < usual_voices AS silent,
            2 * least(prices, prices_before) < usual_prices AS sparse
        FROM hourly JOIN usual USING (symbol)
        WHERE abs(score) >= {UNUSUAL} AND {_since(DAY_HOURS)}
    )
    SELECT *,
        CASE WHEN silent THEN 'voices'
             WHEN sparse THEN 'gap'
             WHEN symbol <> 'BTC' AND hour IN (SELECT hour FROM unusual WHERE symbol = 'BTC')
                 THEN 'market'
             ELSE 'coin' END AS cause
    FROM unusual ORDER BY abs(score) DESC, symbol)""",
    check=f"abs(score) >= {UNUSUAL} AND abs(return_pct) > 0",
)

SAME_COIN_FACTOR = 3.0
"""How far capitalisations of one coin may be apart at two sources."""

COIN_IDS = View(
    "coin_ids",
    "Which coin of ours each source means by each of its ids. The coin that a ticker stands for "
    "has its ticker in lower case as id: of several coins of one ticker it is the one that most "
    "sources know as their biggest, told by its name, or where names differ by a capitalisation "
    "within a factor of three. A namesake has its name behind a colon.",
    (
        _column("source", "Source whose id it is"),
        _column("source_id", "The source's own id of the coin"),
        _column("coin_id", "The coin: btc, or uni:unicorn-token for a namesake"),
        SYMBOL,
        _column("name", "Name as the source writes it"),
        _column("contract", "Chain and address of a token, where the source lists them"),
        _column("market_cap", "Market capitalisation when last seen", "USD"),
        _column("namesake", "Whether it only shares the ticker"),
    ),
    f"""(
    WITH named AS (
        SELECT *, coalesce(nullif(trim(regexp_replace(
            lower(coalesce(name, source_id)), '[^\\pL\\pM\\pN]+', '-', 'g'), '-'), ''), source_id)
            AS slug
        FROM coins
    ),
    meant AS (
        SELECT symbol, mode(slug ORDER BY slug) AS slug, median(market_cap) AS cap
        FROM named WHERE rank_of_symbol = 1 GROUP BY symbol
    ),
    judged AS (
        SELECT named.*, named.slug = meant.slug AS same_name,
            bool_or(same_name) OVER (PARTITION BY source, symbol) AS has_name,
            market_cap BETWEEN cap / {SAME_COIN_FACTOR} AND cap * {SAME_COIN_FACTOR} AS same_size
        FROM named JOIN meant USING (symbol)
    )
    SELECT source, source_id, symbol, name, contract, market_cap,
        NOT (same_name OR (NOT has_name AND rank_of_symbol = 1 AND same_size)) AS namesake,
        lower(symbol) || CASE WHEN namesake THEN ':' || slug ELSE '' END AS coin_id
    FROM judged)""",
    check="namesake = contains(coin_id, ':')",
)

LATEST_FIAT_RATES = View(
    "latest_fiat_rates",
    "The newest row of each currency in fiat_rates, of the last day before the newest of all.",
    tuple(_column(c.name, c.description, c.unit) for c in FiatRate.table.columns),
    """(
    FROM fiat_rates
    WHERE timestamp <= now() AND timestamp > (
        SELECT max(timestamp) - INTERVAL 1 DAY FROM fiat_rates WHERE timestamp <= now())
    QUALIFY row_number() OVER (PARTITION BY currency ORDER BY timestamp DESC) = 1)""",
    check="per_usd IS NULL OR per_usd > 0",
)

LOCAL_PRICES = View(
    "local_prices",
    "Every agreed price in every currency that has a rate: the price in dollars times the units of "
    "the currency per dollar. Where the state is single, nothing confirms the rate.",
    (
        SYMBOL,
        _column("currency", "ISO 4217 code; IRT is the Iranian toman"),
        _column("price", "Price of one coin", "currency"),
        _column("price_usd", "Agreed price of one coin", "USD"),
        _column("per_usd", "What one US dollar costs", "currency"),
        _column("state", "Whether the rate is agreed, or of a single voice"),
        _column("voices", "How many independent voices agreed on the rate"),
        _column("priced_at", "When the newest of the agreeing prices came"),
        _column("rated_at", "When the newest of the agreeing quotes came"),
    ),
    """(
    SELECT symbol, currency, price_usd * per_usd AS price, price_usd, per_usd, rate.state,
        rate.voices, fetched_at AS priced_at, rate.timestamp AS rated_at
    FROM cached_market_data AS coin CROSS JOIN latest_fiat_rates AS rate
    WHERE price_usd IS NOT NULL AND per_usd IS NOT NULL)""",
    check="price > 0",
)

PRICE_IN = View(
    "price_in",
    "The price of one coin in one currency: the row of local_prices.",
    (),
    "local_prices WHERE symbol = coin AND currency = money",
    {"coin": "a ticker, such as 'BTC'", "money": "a currency, such as 'IRT' for tomans"},
    check="price > 0",
)

ANSWERS: tuple[View, ...] = (
    DAILY_RETURNS,
    VOLATILITY,
    CORRELATIONS,
    TOP_MOVERS,
    VENUE_SPREADS,
    VENUE_SHARES,
    FUNDING_ANNUALISED,
    FUNDING_PAIRS,
    BASIS,
    OPEN_INTEREST_BY_COIN,
    STABLECOIN_FLOWS,
    TVL_CHANGES,
    GAS_BY_HOUR,
    WHALE_FLOWS,
    NEWS_BY_COIN,
    FEAR_AND_GREED,
    ANOMALIES,
    COIN_IDS,
    LATEST_FIAT_RATES,
    LOCAL_PRICES,
    PRICE_IN,
)
"""Every answer; each may ask those before it."""
