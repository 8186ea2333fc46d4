"""The tables as Dagster assets, the one step that collects them, and a check for each.

Owns: what Dagster shows of a table and of a collection.
Must not know: sources by name, requests, SQL.
See https://docs.dagster.io/guides/build/assets
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg

from crypto_pipeline import settings
from crypto_pipeline.collection.collect import collect
from crypto_pipeline.collection.freshness import asked_for, window
from crypto_pipeline.collection.interrupts import Interrupted
from crypto_pipeline.collection.results import Collection, Progress, Result, skip_counts
from crypto_pipeline.groups import BOTH, CollectionType
from crypto_pipeline.monitoring.dagster_instance import run_id_of, without_remark_on_outputs
from crypto_pipeline.orchestration import inputs, lineage
from crypto_pipeline.orchestration.resources import WarehouseResource
from crypto_pipeline.tables import DATA, CachedMarketData, Row, of_group, origins
from crypto_pipeline.text import cell
from crypto_pipeline.warehouse import Warehouse, WarehouseError

STEP = "collect"
CHECK = "as_declared"

SHOWN = 15
"""How many troubled endpoints a table's metadata names."""

Done = Callable[[Collection], None]

Event = dg.AssetMaterialization | dg.AssetObservation | dg.AssetCheckEvaluation


class CollectConfig(dg.Config):
    """force: ask what is not due too; never what told us to wait."""

    force: bool = False


def spec(model: type[Row]) -> dg.AssetSpec:
    """What Dagster is told of a table: all of it follows from the declaration."""
    table = model.table
    group = table.group
    age = window(model, asked_for(model, os.environ))
    newest = f"ORDER BY {table.time} DESC " if table.time else ""
    columns = ", ".join(table.column_names[:6])
    return dg.AssetSpec(
        table.name,
        deps=table.computed_from or lineage.feeding(model),
        description=table.description,
        group_name=table.shown_in,
        owners=["team:crypto_pipeline"],
        kinds={"duckdb", "sql" if table.computed_from else "api"},
        tags={"cadence": f"{group.beat.seconds // 60}m", "write": table.write},
        freshness_policy=dg.FreshnessPolicy.time_window(
            fail_window=age.stale, warn_window=age.fresh
        ),
        metadata={
            "dagster/table_name": f"{settings.database().stem}.main.{table.name}",
            "dagster/column_schema": column_schema(model),
            "key": ", ".join(table.key),
            "query": dg.MetadataValue.md(
                f"```sql\nSELECT {columns} FROM {table.name} {newest}LIMIT 10\n```"
            ),
        },
    ).with_io_manager_key(inputs.KEY)


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
        models = _selected(context)
        try:
            collection = _collect(run_id_of(context), models, config, warehouse.warehouse, progress)
        except Interrupted as interrupted:
            _tell(context, interrupted.collection, done)
            raise
        _tell(context, collection, done)
        if failed := collection.failed or collection.receipt.failed:
            raise dg.Failure(failed, allow_retries=False)
        without_remark_on_outputs(context)
        for model in models:
            yield from report(model, collection)
        yield from lineage.observe(context.instance, collection)

    return collect_tables


def _selected(context: dg.AssetExecutionContext) -> list[type[Row]]:
    selected = {key.to_user_string() for key in context.selected_asset_keys}
    return [model for model in DATA if model.table.name in selected]


def _collect(
    run_id: str,
    models: list[type[Row]],
    config: CollectConfig,
    warehouse: Warehouse,
    progress: Progress | None,
) -> Collection:
    """Collect the tables under the run's id. Raises Failure when nothing can be kept."""
    try:
        with warehouse.run_lock(run_id):
            return collect(
                [model.table.name for model in models],
                run_id,
                warehouse=warehouse,
                collection_type=_type_of(models),
                force=config.force,
                progress=progress,
            )
    except WarehouseError as problem:
        raise dg.Failure(str(problem), allow_retries=False) from None


def _tell(context: dg.AssetExecutionContext, collection: Collection, done: Done | None) -> None:
    """What a collection came to, to who listens and to the run's log."""
    if done:
        done(collection)
    _log(context, collection)


def _type_of(models: list[type[Row]]) -> CollectionType:
    """What a collection of these tables is of: whole groups, or tables chosen by hand."""
    groups = {model.table.group for model in models}
    if len(models) < sum(len(of_group(group)) for group in groups):
        return "manual"
    return BOTH if len(groups) > 1 else groups.pop().name


def _log(context: dg.AssetExecutionContext, collection: Collection) -> None:
    """A line for the collection, one for what waits, and one for each endpoint in trouble.

    The others have theirs in the log file: Dagster would keep them once a run.
    """
    asked, answered = len(collection.asked), len(collection.answered)
    rows = sum(len(result.rows) for result in collection.results)
    context.log.info(
        f"{answered} of {asked} endpoints answered with {rows} rows, "
        f"{len(collection.results) - asked} were not asked"
    )
    if idle := [model for model in _selected(context) if _unasked(model, collection)]:
        context.log.info("; ".join(_why_unasked(model, collection) for model in idle))
    if collection.stepped_aside:
        context.log.warning(collection.stepped_aside)
    if collection.receipt.spooled:
        context.log.warning(f"the collection waits in the spool: {collection.receipt.problem}")
    elif collection.receipt.problem:
        context.log.warning(str(collection.receipt.problem))
    if collection.unlogged:
        context.log.warning(collection.unlogged)
    if collection.unkept:
        context.log.warning(collection.unkept)
    if collection.receipt.drained:
        context.log.info(f"{collection.receipt.drained} collections left the spool")
    troubled = [r for r in collection.asked if not r.good]
    if troubled:
        context.log.warning(
            "\n".join(f"{r.endpoint.id}: {r.outcome}: {r.reason}" for r in troubled)
        )


def report(model: type[Row], collection: Collection) -> Iterator[Event]:
    """What Dagster hears of one table: materialised when something good came, observed with the
    reason when it did not. Nothing of one that nobody was asked for: its check and its freshness
    stay what they were.

    Yielded as the events themselves: the results that Dagster would make them of are stored once
    more, as outputs of the step, and ask the instance before every check what was just yielded.
    """
    table = model.table.name
    if _unasked(model, collection) and table not in collection.receipt.violations:
        return
    fed = _feeding(model, collection)
    alive = any(r.good for r in fed)
    if model.table.computed_from:
        alive = collection.receipt.spooled or collection.receipt.of(table) > 0
    metadata = _metadata(model, collection, fed)
    passed, verdict = _judge(model, collection, fed)
    if alive:
        yield dg.AssetMaterialization(table, metadata=metadata)
    else:
        yield dg.AssetObservation(table, metadata={**metadata, "not_materialized": verdict})
    yield dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(table),
        check_name=CHECK,
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN,
        description=verdict,
    )


def _unasked(model: type[Row], collection: Collection) -> bool:
    """Whether nobody was asked for a table; one that is computed needs nobody who was, when it is
    made anew by itself."""
    fed = _feeding(model, collection)
    by_itself = bool(model.table.computed_from) and not fed
    return not by_itself and not any(r.asked for r in fed)


def _why_unasked(model: type[Row], collection: Collection) -> str:
    why = ", ".join(skip_counts(_feeding(model, collection))) or "no endpoint feeds it"
    return f"nobody was asked for {model.table.name}: {why}"


def _feeding(model: type[Row], collection: Collection) -> list[Result]:
    """How the endpoints ended whose answers it is made of."""
    return [r for table in origins(model) for r in collection.of(table.table.name)]


def _judge(model: type[Row], collection: Collection, fed: list[Result]) -> tuple[bool, str]:
    """Whether a table got what it should, and what to say of it."""
    table = model.table.name
    broken = collection.receipt.violations.get(table)
    if broken:
        return False, f"stored rows break the declaration: {broken}"
    asked = [r for r in fed if r.asked]
    answered = [r for r in asked if r.good]
    rows, rejects = sum(len(r.rows) for r in fed), sum(len(r.rejects) for r in fed)
    agreed = collection.receipt.of(CachedMarketData.table.name)
    if model is CachedMarketData and (agreed or answered or not fed):
        return agreed > 0, f"{agreed} coins agreed, {rows} prices came"
    if model.table.computed_from and (answered or not fed):
        return True, f"{collection.receipt.of(table)} rows made of {rows} that came"
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
    if unusual := collection.receipt.unusual.get(table):
        return False, f"{rows} rows came, and some values changed much within a day: {unusual}"
    return True, f"{rows} rows from {len(answered)} of {len(asked)} endpoints asked"


def _metadata(model: type[Row], collection: Collection, fed: list[Result]) -> dict[str, Any]:
    """Numbers under stable names, so that the UI plots them, and who was in trouble.

    Few: an event of more than two kilobytes fills a page of Dagster's database alone, three times.
    The rest of the account is in data_collections, under the run's id.
    """
    asked = [r for r in fed if r.asked]
    troubled = [r for r in asked if not r.good]
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
        lines = [f"| {r.endpoint.id} | {r.outcome} | {cell(r.reason)} |" for r in troubled[:SHOWN]]
        more = len(troubled) - SHOWN
        metadata["troubled"] = dg.MetadataValue.md(
            "| endpoint | outcome | reason |\n| --- | --- | --- |\n"
            + "\n".join(lines)
            + (f"\n\nand {more} more" if more > 0 else "")
        )
    return metadata
