"""A self-hosted crypto data warehouse: free public APIs in, DuckDB tables out.

The map of the house, from the ground up; nothing imports what stands below it.

settings       what a user may set in the environment
event_log      Dagster's event log in small pages, under the name that dagster.yaml knows
tables         every table as a row model: the only place where a column is declared
sources        every endpoint as data: the only place where a source is named
warehouse      the DuckDB file: the only package that knows duckdb
collection     one collection: plan, ask, extract, load, outcomes
  universe     which coins are kept, and which coin a ticker stands for
  fetch        ask one request: the only module that knows requests
  extract      from an answer to rows and rejects: pure
  backoff      when an endpoint may be asked: due, resting, told to wait
  quotas       what a source allows in a day and a month, and what was used of it
  pools        which source of a pool answers, and why that changed
  budget       what the default schedule asks and downloads, against what is allowed
  log_file     one line for each endpoint of a collection, in files that stay small
  collect      the order of the steps
monitoring     what the worker does and did
  snapshot     what is seen of Dagster from outside: names and shapes
  dagster_instance  Dagster's runs and ticks, read from the instance; runs that died
  webserver    Dagster's webserver, asked over plain HTTP
  run_records  Dagster's history written into the warehouse's tables
  alerts       what is wrong now: alerts and metrics
  status       status, stats, schedules, health
orchestration  what Dagster runs
  assets       the tables as Dagster assets, and the step that collects them
  schedules    jobs, the two schedules, and the sensor that starts the first collection
  sensors      the run records and the alerts on their beat, and the spool drained
  maintenance  what is old goes, daily
definitions    what Dagster loads
docs           the generated reference
cli            crypto-pipeline, for people
  main         the commands and their words
  worker       those that ask after the worker
  console      where the command line prints
"""
