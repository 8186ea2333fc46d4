"""The groups of tables that are collected together, each on a beat of its own.

Owns: what is true of a group: its beat, when its tables count as old, its schedule and its job.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

CollectionType = Literal["ui", "historical", "both", "manual"]
"""What a collection was of: one group, both of them, or tables chosen by hand."""

BOTH: CollectionType = "both"


@dataclass(frozen=True, slots=True)
class Group:
    """One group of tables.

    beat: the time between two collections, as `cron` (five fields, UTC) says it to Dagster where
    nothing else is set. fresh: the age up to which a table is as new as it should be. stale: the
    age from which nobody should rely on it. schedule and job: their names in Dagster.
    """

    name: CollectionType
    about: str
    cron: str
    beat: timedelta
    fresh: timedelta
    stale: timedelta
    schedule: str
    job: str


UI = Group(
    name="ui",
    about="Prices, the agreed view of them, other currencies, gas and sentiment",
    cron="*/5 * * * *",
    beat=timedelta(minutes=5),
    fresh=timedelta(minutes=12),
    stale=timedelta(minutes=20),
    schedule="every_5_minutes",
    job="ui_collection",
)

HISTORICAL = Group(
    name="historical",
    about="Candles, news, whales, chains, derivatives, DeFi and the whole market",
    cron="2-59/15 * * * *",  # two minutes off the other's beat: one file, one writer
    beat=timedelta(minutes=15),
    fresh=timedelta(minutes=35),
    stale=timedelta(minutes=60),
    schedule="every_15_minutes",
    job="historical_collection",
)

ANALYTICS = "analytics"
"""What Dagster calls the group of the tables that are computed from others, in their collection."""

GROUPS: tuple[Group, ...] = (UI, HISTORICAL)

COLLECTION_JOBS: Mapping[CollectionType, str] = {
    **{group.name: group.job for group in GROUPS},
    BOTH: "full_collection",
}
"""The job of each type of collection that has one."""

SCHEDULED: Mapping[str, Group] = {group.schedule: group for group in GROUPS}
"""The group that each schedule collects."""
