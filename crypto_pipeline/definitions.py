"""What Dagster loads: `defs`. Tests and the command line assemble the same with
`build_definitions`."""

import gc

# Dagster is there already, a quarter of a million objects that stay: with the cycle collector
# walking them again and again the imports below take twice as long.
gc.freeze()

import dagster as dg

from crypto_pipeline import settings
from crypto_pipeline.collection.results import Progress
from crypto_pipeline.orchestration import lineage
from crypto_pipeline.orchestration.assets import Done, build_assets
from crypto_pipeline.orchestration.maintenance import every_day, maintenance
from crypto_pipeline.orchestration.resources import resources
from crypto_pipeline.orchestration.schedules import JOBS, build_schedules, first_collection
from crypto_pipeline.orchestration.sensors import check_alerts, drain_spool, record_worker
from crypto_pipeline.tables import KEPT


def build_definitions(progress: Progress | None = None, done: Done | None = None) -> dg.Definitions:
    """The whole project; listeners hear of a collection run in this process.

    Raises SettingError: where Dagster loads this, it becomes the error of the code location, in the
    UI and on the terminal.
    """
    settings.check()
    settings.keep(KEPT)
    return dg.Definitions(
        assets=[*lineage.kinds(), build_assets(progress, done)],
        jobs=[*JOBS, drain_spool, maintenance],
        schedules=[*build_schedules(), every_day],
        sensors=[first_collection, record_worker, check_alerts],
        resources=resources(),
        executor=dg.in_process_executor,
    )


defs = build_definitions()

gc.freeze()  # for the run that follows
