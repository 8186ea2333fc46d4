"""The name by which dagster.yaml asks for Dagster's event log in small pages.

It stands in every DAGSTER_HOME's copy of that file, so it stays where it is.
"""

from crypto_pipeline.monitoring.dagster_instance import SmallPages

__all__ = ["SmallPages"]
