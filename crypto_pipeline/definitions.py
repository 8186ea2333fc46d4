"""What Dagster loads: `defs`. Tests and the command line assemble the same with `build`."""

import dagster as dg

from crypto_pipeline.assets import Done, build_assets, resources
from crypto_pipeline.collect import Progress
from crypto_pipeline.schedules import JOBS, build_schedules, first_collection


def build_definitions(progress: Progress | None = None, done: Done | None = None) -> dg.Definitions:
    """The whole project; listeners hear of a collection run in this process."""
    return dg.Definitions(
        assets=[build_assets(progress, done)],
        jobs=JOBS,
        schedules=build_schedules(),
        sensors=[first_collection],
        resources=resources(),
        executor=dg.in_process_executor,
    )


defs = build_definitions()
