"""The tables as Dagster assets, the one step that collects them, and a check for each.

Owns: what Dagster shows of a table and of a collection.
Must not know: sources by name, requests, SQL.
See https://docs.dagster.io/guides/build/assets
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_duckdb import DuckDBResource

from crypto_pipeline import settings
from crypto_pipeline.collection.backoff import GOOD, not_due, passed_over
from crypto_pipeline.collection.collect import Collection, Progress, Result, collect
from crypto_pipeline.tables import DATA, CachedMarketData, MarketPrice, Row
from crypto_pipeline.warehouse import Warehouse, WarehouseError

STEP = "collect"
CHECK = "as_declared"

FRESH = {
    "ui": (timedelta(minutes=12), timedelta(minutes=20)),
    "historical": (timedelta(minutes=35), timedelta(minutes=60)),
}
"""When a group's tables count as ageing and as stale."""

SHOWN = 15
"""How many troubled endpoints a table's metadata names."""

Done = Callable[[Collection], None]

Event = dg.AssetMaterialization | dg.AssetObservation | dg.AssetCheckEvaluation


class WarehouseResource(DuckDBResource):
    """dagster-duckdb's resource over the warehouse, for assets of your own.

    A connection is closed in any case and waits for the file with jitter. It writes; keep it
    short, or use `Warehouse.frame` to read.
    """

    @contextmanager
    def get_connection(self) -> Iterator[Any]:
        with self.warehouse.connect() as connection:
            yield connection

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse(Path(self.database))


class CollectConfig(dg.Config):
    """force: ask what is not due too; never what told us to wait."""

    force: bool = False


def spec(model: type[Row]) -> dg.AssetSpec:
    """What Dagster is told of a table: all of it follows from the declaration."""
    table = model.table
    warn, fail = FRESH[table.group]
    newest = f"ORDER BY {table.time} DESC " if table.time else ""
    columns = ", ".join(table.column_names[:6])
    return dg.AssetSpec(
        table.name,
        deps=[MarketPrice.table.name] if model is CachedMarketData else [],
        description=table.description,
        group_name=table.group,
        owners=["team:crypto_pipeline"],
        kinds={"duckdb", "api"} if model is not CachedMarketData else {"duckdb", "sql"},
        tags={"cadence": "5m" if table.group == "ui" else "15m", "write": table.write},
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=fail, warn_window=warn),
        metadata={
            "dagster/table_name": table.name,
            "dagster/column_schema": column_schema(model),
            "key": ", ".join(table.key),
            "query": dg.MetadataValue.md(
                f"```sql\nSELECT {columns} FROM {table.name} {newest}LIMIT 10\n```"
            ),
        },
    )


def column_schema(model: type[Row]) -> dg.TableSchema:
    """The columns with type, unit, range and meaning."""
    return dg.TableSchema(
        [
            dg.TableColumn(
                c.name,
                c.type,
                description=f"{c.description} [{c.unit}]" if c.unit else c.description,
                constraints=dg.TableColumnConstraints(
                    nullable=c.nullable, other=[c.range] if c.range else []
                ),
            )
            for c in model.table.columns
        ]
    )


def build_assets(progress: Progress | None = None, done: Done | None = None) -> dg.AssetsDefinition:
    """The step that collects every table, or the selected ones.

    `progress` hears of each endpoint as it ends, `done` of the collection: the command line
    listens with them.
    """

    @dg.multi_asset(
        name=STEP,
        specs=[spec(model) for model in DATA],
        check_specs=[
            dg.AssetCheckSpec(
                CHECK,
                asset=model.table.name,
                description="Rows came, within the declared bounds, and most were not refused",
            )
            for model in DATA
        ],
        can_subset=True,
    )
    def collect_tables(
        context: dg.AssetExecutionContext, config: CollectConfig, warehouse: WarehouseResource
    ) -> Iterator[Event]:
        selected = {key.to_user_string() for key in context.selected_asset_keys}
        checks = {key.asset_key.to_user_string() for key in context.selected_asset_check_keys}
        chosen = [model for model in DATA if model.table.name in selected]
        groups = {model.table.group for model in chosen}
        whole = selected == {m.table.name for m in DATA if m.table.group in groups}
        kind = "manual" if not whole else "both" if len(groups) > 1 else groups.pop()
        with warehouse.warehouse.at_work(context.run.run_id):
            try:
                collection = collect(
                    [model.table.name for model in chosen],
                    context.run.run_id,
                    warehouse=warehouse.warehouse,
                    kind=kind,
                    force=config.force,
                    progress=progress,
                )
            except WarehouseError as problem:
                raise dg.Failure(str(problem), allow_retries=False) from None
        if done:
            done(collection)
        _log(context, collection)
        if collection.failed:
            raise dg.Failure(collection.failed, allow_retries=False)
        context.log.addFilter(_not_about_outputs)
        for model in chosen:
            yield from report(model, collection, with_check=model.table.name in checks)

    return collect_tables


def _not_about_outputs(record: logging.LogRecord) -> bool:
    """Dagster remarks that no outputs came for the checks: `report` yields their events instead."""
    return "did not yield or return expected outputs" not in record.getMessage()


def _log(context: dg.AssetExecutionContext, collection: Collection) -> None:
    """A line for the collection, one for what waits, and one for each endpoint in trouble.

    The others have theirs in the file that `logs` writes: Dagster would keep them once a run.
    """
    asked, good = len(collection.asked), len(collection.answered)
    rows = sum(len(result.rows) for result in collection.results)
    context.log.info(
        f"{good} of {asked} endpoints answered with {rows} rows, "
        f"{len(collection.results) - asked} were not asked"
    )
    if collection.stepped_aside:
        context.log.warning(collection.stepped_aside)
    if collection.receipt.spooled:
        context.log.warning("the database is locked: the collection waits in the spool")
    if collection.unlogged:
        context.log.warning(collection.unlogged)
    if collection.receipt.drained:
        context.log.info(f"{collection.receipt.drained} collections left the spool")
    troubled = [r for r in collection.asked if r.outcome not in GOOD]
    if troubled:
        context.log.warning(
            "\n".join(f"{r.endpoint.id}: {r.outcome}: {r.reason}" for r in troubled)
        )


def report(model: type[Row], collection: Collection, *, with_check: bool = True) -> Iterator[Event]:
    """What Dagster hears of one table: materialised only when something good was heard.

    Said as the events themselves: the results that Dagster would make them of are stored once
    more, as outputs of the step, and ask the instance before every check what has just been said.
    """
    table = model.table.name
    fed = _feeding(model, collection)
    asked = [r for r in fed if r.asked]
    answered = [r for r in asked if r.outcome in GOOD]
    idle = not asked and any(not_due(r.reason) for r in fed)
    waiting = collection.receipt.spooled
    alive = bool(answered) or idle
    if model is CachedMarketData:
        alive = waiting or idle or collection.receipt.of(table) > 0
    metadata = _metadata(model, collection, fed)
    passed, words = _judge(model, collection, fed)
    if alive:
        yield dg.AssetMaterialization(table, metadata=metadata)
    else:
        yield dg.AssetObservation(table, metadata={**metadata, "not_materialized": words})
    if with_check:
        yield dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey(table),
            check_name=CHECK,
            passed=passed,
            severity=dg.AssetCheckSeverity.WARN,
            description=words,
        )


def _feeding(model: type[Row], collection: Collection) -> list[Result]:
    source = MarketPrice if model is CachedMarketData else model
    return collection.of(source.table.name)


def _judge(model: type[Row], collection: Collection, fed: list[Result]) -> tuple[bool, str]:
    """Whether a table got what it should, and what to say of it."""
    table = model.table.name
    broken = collection.receipt.violations.get(table)
    if broken:
        return False, f"stored rows break the declaration: {broken}"
    asked = [r for r in fed if r.asked]
    answered = [r for r in asked if r.outcome in GOOD]
    rows, rejects = sum(len(r.rows) for r in fed), sum(len(r.rejects) for r in fed)
    agreed = collection.receipt.of(CachedMarketData.table.name)
    if model is CachedMarketData and (agreed or answered or not fed):
        return agreed > 0, f"{agreed} coins agreed, {rows} prices came"
    if not asked:
        reasons = "; ".join(passed_over(r.reason for r in fed)) or "no endpoint feeds it"
        return any(not_due(r.reason) for r in fed) or not fed, f"nobody was asked: {reasons}"
    if not answered:
        first = asked[0]
        return False, (
            f"none of {len(asked)} endpoints answered; {first.endpoint.id}: {first.outcome}: "
            f"{first.reason}"
        )
    if rejects > rows:
        return False, f"{rejects} records were refused and {rows} accepted: see rejected_rows"
    if collection.receipt.spooled:
        return False, f"{rows} rows wait in the spool until the database can be written"
    return True, f"{rows} rows from {len(answered)} of {len(asked)} endpoints asked"


def _metadata(model: type[Row], collection: Collection, fed: list[Result]) -> dict[str, Any]:
    """Numbers under stable names, so that the UI plots them, and who was in trouble.

    Few: an event of more than two kilobytes fills a page of Dagster's database alone, three times.
    The rest of the account is in data_collections, under the run's id.
    """
    asked = [r for r in fed if r.asked]
    troubled = [r for r in asked if r.outcome not in GOOD]
    table = model.table.name
    metadata: dict[str, Any] = {
        "rows": sum(len(r.rows) for r in fed),
        "endpoints_answered": len(asked) - len(troubled),
        "latency_s": round(max((r.latency_ms or 0.0 for r in fed), default=0.0) / 1000, 3),
    }
    if rejects := sum(len(r.rejects) for r in fed):
        metadata["rejects"] = rejects
    if table in collection.receipt.totals:
        metadata["dagster/row_count"] = collection.receipt.totals[table]
    if troubled:
        lines = [f"| {r.endpoint.id} | {r.outcome} | {_cell(r.reason)} |" for r in troubled[:SHOWN]]
        more = len(troubled) - SHOWN
        metadata["troubled"] = dg.MetadataValue.md(
            "| endpoint | outcome | reason |\n| --- | --- | --- |\n"
            + "\n".join(lines)
            + (f"\n\nand {more} more" if more > 0 else "")
        )
    return metadata


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|").replace("\n", " ")[:200]


def resources() -> Mapping[str, Any]:
    """What the step needs from Dagster."""
    return {"warehouse": WarehouseResource(database=str(settings.database()))}
