"""A self-hosted crypto data warehouse: free public APIs in, DuckDB tables out.

The map of the house:

tables       every table as a row model: the only place where a column is declared
sources      every endpoint as data: the only place where a source is named
settings     what a user may set in the environment
fetch        ask one request: the only module that knows requests
extract      from an answer to rows and rejects: pure
health       when an endpoint may be asked: due, resting, told to wait
pools        which source of a pool answers, and why that changed
caps         what a source allows in a day and a month, and what was used of it
budget       what the default schedule asks and downloads, against what is allowed
universe     which coins are kept, and which coin a ticker stands for
collect      one collection: plan, fetch, extract, load, outcomes
agreement    the SQL of the agreed view over all sources
warehouse    the DuckDB file: the only module that knows duckdb
assets       the tables as Dagster assets, and the step that collects them
schedules    jobs, the two schedules, and the sensor that starts the first collection
definitions  what Dagster loads
docs         the generated reference
cli          crypto-pipeline, for people
"""
