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
logs         one line for each endpoint of a collection, in files that stay small
agreement    the SQL of the agreed view over all sources
warehouse    the DuckDB file: the only package that knows duckdb
assets       the tables as Dagster assets, and the step that collects them
schedules    jobs, the two schedules, and the sensor that starts the first collection
seen         what is seen of Dagster from outside: names and shapes
webserver    Dagster's webserver, asked over plain HTTP
history      Dagster's runs and ticks, read from the instance; runs that died
books        that history written into the warehouse's tables
watch        what is wrong now: alerts and metrics
sensors      the books and the watch on their beat, and the spool drained
maintenance  what is old goes, daily
worker       status, stats, schedules, health
definitions  what Dagster loads
event_log    Dagster's event log in small pages, for dagster.yaml
docs         the generated reference
console      where the command line prints
cli          crypto-pipeline, for people
worker_commands  those of its commands that ask after the worker
"""
