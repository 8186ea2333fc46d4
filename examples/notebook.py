"""A marimo notebook over what crypto_pipeline has collected: marimo edit examples/notebook.py

It reads what is published, so it may stay open while collections go on: run a cell again, and it
shows what came since. As a script, python examples/notebook.py, it prints the same.
"""

import marimo

app = marimo.App(width="medium", app_title="crypto_pipeline")


@app.cell
def _():
    import marimo as mo

    import crypto_pipeline

    warehouse = crypto_pipeline.connect()
    mo.md(
        """
        # What was collected

        `crypto_pipeline.connect()` is a DuckDB connection with every table, view and macro; it
        locks nothing. `crypto_pipeline.read()` gives a table as a pandas DataFrame.
        """
    )
    return crypto_pipeline, mo, warehouse


@app.cell
def _(mo, warehouse):
    agreed = warehouse.sql(
        """
        SELECT symbol, price_usd, sources, round(spread_pct, 2) AS spread_pct,
            len(rejected) AS rejected, fetched_at
        FROM cached_market_data WHERE state = 'agreed'
        ORDER BY market_cap DESC NULLS LAST, sources DESC LIMIT 20
        """
    ).df()
    mo.vstack([mo.md("## Prices that were agreed, and by how many"), agreed])
    return (agreed,)


@app.cell
def _(mo, warehouse):
    off = warehouse.sql(
        """
        SELECT symbol, unnest(rejected, recursive := true)
        FROM cached_market_data WHERE len(rejected) > 0 ORDER BY symbol LIMIT 30
        """
    ).df()
    mo.vstack([mo.md("## Who disagrees, how far, and why"), off])
    return (off,)


@app.cell
def _(agreed, crypto_pipeline, mo):
    biggest = list(agreed.symbol[:1])
    prices = crypto_pipeline.read("market_prices", symbols=biggest)
    by_source = prices.groupby("source").price_usd.last().sort_values()
    title = mo.md(f"## {', '.join(biggest)}: from the cheapest to the dearest")
    mo.vstack([title, spread(by_source)])
    return by_source, prices


@app.function
def spread(by_source):
    """Each source's last price as a dot on one line, as an image without any library."""
    import html

    import marimo as mo

    if by_source.empty:
        return mo.md("No source has a price of it.")
    low, high = by_source.min(), by_source.max()
    width = (high - low) or 1
    dots = "".join(
        f'<circle cx="{20 + 660 * (price - low) / width:.1f}" cy="24" r="5" fill="#3b82f680">'
        f"<title>{html.escape(source)}: {price:,.2f}</title></circle>"
        for source, price in by_source.items()
    )
    line = '<line x1="20" y1="24" x2="680" y2="24" stroke="currentColor" stroke-opacity="0.3"/>'
    ends = (
        f'<text x="20" y="52">{low:,.2f}</text>'
        f'<text x="680" y="52" text-anchor="end">{high:,.2f}</text>'
    )
    style = 'viewBox="0 0 700 60" font-size="13" fill="currentColor"'
    return mo.Html(f"<svg {style}>{line}{dots}{ends}</svg>")


@app.cell
def _(mo, warehouse):
    funding = warehouse.sql("FROM funding_annualised LIMIT 20").df()
    mo.vstack([mo.md("## Funding of perpetual swaps"), funding])
    return (funding,)


@app.cell
def _(crypto_pipeline, mo):
    news = crypto_pipeline.read(
        "news_articles", columns=["created_at", "source", "title", "sentiment"]
    ).tail(20)
    mo.vstack([mo.md("## News"), news])
    return (news,)


if __name__ == "__main__":
    _, found = app.run()
    for name in ("agreed", "off", "by_source", "funding", "news"):
        print(name, found[name], sep="\n", end="\n\n")
