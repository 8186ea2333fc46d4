"""A self-hosted crypto data warehouse: free public APIs in, DuckDB tables out.

The words, each with one meaning, in code, SQL, documents and messages:

word        meaning
----        -------
source      a product that answers: an exchange, an aggregator, a node of a chain
endpoint    one kind of request to a source that feeds one table
table       a DuckDB table, and the Dagster asset of the same name; its row model declares it
group       tables that are collected together on one beat: ui or historical
collection  one run over the tables of a group, of both, or chosen by hand
record      one thing in an answer as the source wrote it: becomes a row, is left out or refused
row         one record in the shape of its table
abstention  why a price is kept and does not vote in the agreed view
reject      a record that was refused, with the reason
attempt     one time a request was sent; a retry is another
tick        one moment a schedule or sensor was, or should have been, evaluated
outcome     how an endpoint ended in a collection: ok, empty, throttled, …, skipped
fault       the outcome when an answer was lost by a fault of ours, and nobody else's
skip        why an endpoint was not asked: the kind, beside a sentence for people
backoff     how long an endpoint rests after failures
quota       the requests a source allows in a day or month; quota_account: what they are counted on
room        the bytes of answers that may be in memory at once
slot        a host's moments at which requests may begin, a polite gap apart
limits      the bounds of a collection's requests: seconds, attempts, connections
pool        sources that can stand in for one another
universe    the coins that are kept
voice       what one source says of a coin in the agreed view
cluster     voices of a coin near one another; one of them wins, or the coin is disputed
witness     what stands by a cluster and is no voice: market caps, candles, marks, the last price
fiat quote  what one source trades a dollar coin or bitcoin at in a currency
fiat rate   what a dollar costs in a currency, as the sources' quotes agree
market cap  a coin's value: circulating supply times price
story       what articles of one event tell; named by the first of them
lexicon     what words weigh as good or bad news
kept answer the body of an answer that was used, kept as it came, to be read again
rebuild     reading kept answers again, and bringing a table's rows to what they say
lock        what keeps two processes from one thing at once
spool       collections that wait on disk because the database could not be written
published   what is in the file, as Parquet beside it that readers read while the file is written
part        a published file of rows that came; a whole has all of a day, a version all of a table
memory      what one collection tells the next
snapshot    Dagster at one moment, as it is seen from outside
run record  a run, a failure or a tick of Dagster's, as the warehouse keeps it
guard       what stands before Dagster's UI and refuses what another web page could send
alert       something that is wrong now; opened once, closed when it is over
health      the verdict of `crypto-pipeline health`; in SQL, source_health is what is remembered of
            an endpoint

The map: rooms from the ground up, and no module imports from a room above its own; within a room
in the order to read them:

clock          the one rule for times that were written down
text           what text may be stored and shown
addresses      web addresses: how one is kept, and which lead to the same article
groups         the groups of tables: beat, age at which they are stale, schedule and job
cron           whether a cron expression can be read, and ever comes true
settings       what a user may set in the environment
env_file       .env, read as Dagster reads it
files          files on disk: for their owner alone, and gone when their writer died
tables         every table as a row model: the only place where a column is declared
  spec         the vocabulary: a row model, its columns, and what follows from them
  outcomes     the words for how an endpoint ends, and why one is not asked
  market       prices, the agreed view, candles, totals and trends
  fiat         what coins cost in other currencies, and what a dollar costs in them
  derivatives  perpetual swaps: funding and open interest
  chain        gas, statistics, whales, value locked, stablecoins
  news         articles and measures of mood
  analytics    what is made of the others in every collection, and keeps its past
  management   what every collection writes about itself
  pools        who stands in for whom, and what was used of each quota
  worker       runs, failures, schedules, alerts, the machine
  views        the vocabulary of views and macros; those of the worker, and of the past
  answers      ready answers: what analysts compute from the tables
reading        what the words of an article say
  lexicon      lists of words, and what words and phrases weigh
  words        languages, and spellings that are one
  sentiment    how good or bad news a headline is
  coins        which coins a text names
  stories      which articles tell the same story
sources        every endpoint as data: the only place where a source is named
  spec         the vocabulary: a source, its key, its endpoints
  values       the converters that row functions share
  aggregators  prices and totals of many coins
  exchanges    spot markets: prices and candles
  regional_exchanges  the same, of exchanges at home in one country
  derivatives  funding and open interest of perpetual swaps
  chains       gas, blocks and transfers of chains that are not EVM
  evm_chains   the same of EVM chains, asked over JSON-RPC
  explorers    chains as explorers and indexers tell of them
  defi         value locked, stablecoins, decentralised exchanges
  news         feeds and APIs of articles
  sentiment    indices and ratios of mood
warehouse      the DuckDB file: the only package that knows duckdb
  errors       what can be wrong with the file, and what helps
  sql          small pieces of SQL
  migrations   what each version of the layout changed
  layout       from declarations to tables, views and comments
  memory       what one collection tells the next, in the file and in a note beside it
  queries      what is asked of the file: by alerts, status and the budget
  pegs         the SQL that measures dollar stablecoins, and turns quotes into dollars
  agreed_view  the SQL of the agreed view over all sources
  agreed_past  the SQL of what is kept of it: prices, and the bars made of them
  fiat_view    the SQL of the rates of other currencies
  witness      what was stored last, held against what is said now
  changes      what a transaction changed, for who publishes it
  articles     what is read out of new articles
  load         rows into tables, one transaction a collection
  rebuild      rows brought to what their answers say when read again
  spool        collections that wait on disk
  upkeep       old rows out, the file written anew
  parquet      the folder of what is published: names, and what counts by them
  answer       the answer to a query: rows, as JSON has them
  published    connect, read, and views.sql: what is published, as readers have it
  guarded_sql  one SELECT of somebody who is not trusted, over what is published
  owed         what is in the file and may not be published yet
  publish      what a transaction changed, written as Parquet behind it
  file         the DuckDB file itself, its locks, and what goes to the spool instead
collection     one collection, from the plan to the batch that is written
  collect      the order of the steps: begin here
  plan         who may be asked now, and why the others may not
  backoff      when an endpoint may be asked: due, resting, told to wait
  freshness    from what age a table is old
  quotas       what a source allows in a day and a month, and what was used of it
  interrupts   Ctrl-C held back until what was answered is kept
  deltas       bodies packed with zstd, against one another
  kept_answers  the file of the bodies that collections used
  keeper       packs bodies as they come, and keeps them
  crawler      requests in threads, answers in one place, and the wall around each endpoint
  threads      the threads that send, and which answer is read next
  limits       the bounds of requests, the room for answers, and the slot of each host
  exchange     one HTTP exchange as data: request, attempt, answer
  fetch        send one request; it and connections alone know requests
  connections  connections whose answers begin within bounds
  encoding     Content-Encoding: from the bytes that came to those that were meant
  waits        how long a host wants to be left alone, as its headers say
  redaction    keys out of everything that leaves the fetcher
  dates        dates as feeds write them
  markup       from the bytes of a feed to a tree of XML, mended
  feeds        the entries of a feed
  bodies       reading a body: JSON, or a feed
  failures     errors that come instead of data, called by their names
  repeats      whether an answer is one to the question that was asked
  rows         from one record to its row: what is filled in, which times are believed
  extract      from an answer to rows and rejects: the account of every record
  results      how endpoints ended, and what the collection came to
  universe     which coins are kept
  pools        which source of a pool answers, and why that changed
  records      the rows about a collection
  log_file     one line for each endpoint of a collection, in files that stay small
  rebuild      kept answers read again, collection after collection
  budget       what the default schedule asks and downloads, against what is allowed
exports        what was collected, as other tools load it
  errors       what keeps an export from being made
  history      candles, and beside each what was known when it closed
  folder       the folder of an export: written aside, put in its place when it is whole
  flat         csv and parquet
  freqtrade    a data directory of freqtrade
  qlib         a folder of binary features for qlib
  nautilus     a catalog of nautilus_trader, which makes it itself
  nautilus_catalog  the script that nautilus_trader's interpreter runs
  make         one export from beginning to end
agents         questions that programs ask, answered out of what is published
  questions    each question: what is asked of which view
  server       the questions as tools of the Model Context Protocol
monitoring     what the worker does and did
  snapshot     Dagster at one moment: names and shapes
  dagster_instance  Dagster's inside behind one door: every private name of Dagster
  webserver    Dagster's webserver, asked over plain HTTP
  guard        who may speak to Dagster's UI, and how
  guarded_webserver  Dagster's webserver behind the guard: private names of Dagster here too
  run_records  Dagster's history written into the warehouse's tables
  alerts       what is wrong now: alerts and metrics
  status       status, stats, schedules, health
event_log      the name by which dagster.yaml asks for small pages
orchestration  what Dagster runs
  inputs       the tables as inputs of assets of a user's own
  resources    the warehouse, as steps get it
  lineage      the kinds of sources as external assets, and how each kind is
  assets       the tables as Dagster assets, and the step that collects them
  schedules    jobs, the two schedules, and the sensor that starts the first collection
  sensors      run records and alerts on their beat, and the spool drained
  maintenance  what is old goes, daily
definitions    what Dagster loads
docs           the generated reference
cli            crypto-pipeline, for people
  main         the commands, their arguments and exit codes
  collect      collect
  sources      sources, and their budget
  try_source   try
  answers      answers and rebuild
  export       export
  publish      publish
  sql          sql and shell
  mcp          mcp
  worker       status, stats, schedules, health, start, stop
  dev          dev: the UI, the daemon and the code servers
  home         where Dagster keeps its history then
  console      where the command line prints, and how
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import duckdb
    import pandas as pd

    from crypto_pipeline.warehouse.published import Moment


def connect(parquet: "Path | str | None" = None) -> "duckdb.DuckDBPyConnection":
    """A DuckDB connection in memory with every table, view and macro of the warehouse, over the
    Parquet that every collection leaves: it locks nothing, nobody's lock keeps it out, and each
    query sees what is there then. The time zone is UTC's.

    parquet: the folder of what is published; without it the one that the settings name. Raises
    SettingError, or WarehouseError where nothing is published.
    """
    from pathlib import Path  # noqa: PLC0415  (who imports a name of the package pays for nothing)

    from crypto_pipeline import settings  # noqa: PLC0415
    from crypto_pipeline.warehouse import published  # noqa: PLC0415

    return published.connect(Path(parquet) if parquet else settings.published())


def read(
    table: str,
    *,
    since: "Moment | None" = None,
    until: "Moment | None" = None,
    symbols: "Sequence[str] | None" = None,
    columns: "Sequence[str] | None" = None,
    parquet: "Path | str | None" = None,
) -> "pd.DataFrame":
    """The rows of a table or view as a pandas DataFrame, the oldest first.

    since, until: from when on, and before when, by the table's own time: a datetime, a date, or
    text such as "2026-11-23 12:00"; UTC where no zone is said. symbols: of these coins alone.
    columns: these alone. parquet: as in `connect`. Raises ValueError for what the table does not
    have, and what `connect` raises.
    """
    from crypto_pipeline.warehouse import published  # noqa: PLC0415

    with connect(parquet) as connection:
        return published.read(
            connection, table, since=since, until=until, symbols=symbols, columns=columns
        )


__all__ = ["connect", "read"]
