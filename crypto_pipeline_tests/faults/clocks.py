"""Collections under a clock that is wrong, then right again; and in time zones.

Each is a process of its own, since its clock is shifted before anything is imported.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from crypto_pipeline.warehouse import Warehouse
from crypto_pipeline_tests.faults import together
from crypto_pipeline_tests.faults.host import ROOT, Host
from crypto_pipeline_tests.faults.report import Line

DAY_S = 86_400.0
PATIENCE_S = 120.0

PROGRAM = """
import datetime, sys, time

shift, real, clock = float(sys.argv[1]), datetime.datetime, time.time

class Kind(type):
    def __instancecheck__(cls, value):
        return isinstance(value, real)

class Shifted(real, metaclass=Kind):
    @classmethod
    def now(cls, tz=None):
        return real.fromtimestamp(clock() + shift, tz)

datetime.datetime, time.time = Shifted, lambda: clock() + shift

from pathlib import Path
from crypto_pipeline.collection.collect import collect
from crypto_pipeline.warehouse import Warehouse
from crypto_pipeline_tests.faults.together import COLLECTED, LIMITS

collect(COLLECTED, sys.argv[3], warehouse=Warehouse(Path(sys.argv[2])), limits=LIMITS)
"""
"""The clock of Python shifted, for all that is imported after it."""

STEPS: Mapping[str, float] = {
    "a_day_ahead": DAY_S,
    "400_days_ahead": 400 * DAY_S,
    "an_hour_ahead": 3600.0,
    "a_day_behind": -DAY_S,
    "a_year_behind": -365 * DAY_S,
}

ZONES = (
    "America/New_York",
    "America/St_Johns",
    "Asia/Tehran",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Europe/London",
    "Pacific/Apia",
    "Pacific/Kiritimati",
)

MOMENTS = {
    "leap_day": datetime(2028, 2, 29, 12, tzinfo=UTC),
    "leap_night": datetime(2028, 2, 29, 23, 59, 50, tzinfo=UTC),
    "dst_begins": datetime(2027, 3, 14, 7, 0, tzinfo=UTC),
    "dst_ends": datetime(2026, 11, 1, 5, 59, 50, tzinfo=UTC),
}
"""Moments that some clock has a rule of its own for; the two of summer time are New York's."""


def run(host: Host) -> Iterator[Line]:
    """Step the clock and set it right; then the same collection in zones and at odd moments."""
    host.treat()
    for name, shift in STEPS.items():
        line = Line("clocks", name)
        words = stepped(host, shift)
        line.add(words, raised=any("ended with" in word for word in words))
        yield line
    wanted = rows(host, {"TZ": "UTC"}, 0.0)
    for zone in ZONES:
        line = Line("clocks", zone)
        line.add(compared(wanted, rows(host, {"TZ": zone}, 0.0)))
        yield line
    for name, moment in MOMENTS.items():
        line = Line("clocks", name)
        shift = (moment - datetime.now(UTC)).total_seconds()
        by_zone = [rows(host, {"TZ": zone}, shift) for zone in ("UTC", "America/New_York")]
        line.add(compared(*by_zone))
        yield line


def collected(host: Host, file: Path, name: str, shift: float, **variables: str) -> str | None:
    """Collect everything that is due under a clock shifted by so many seconds; why it failed."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(shift), str(file), name],
        env={
            **os.environ,
            **together.settings(host.url, file),
            "PYTHONPATH": str(ROOT),
            **variables,
        },
        cwd=file.parent,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    if done.returncode == 0:
        return None
    last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
    return f"{name}: ended with {done.returncode}: {last}"[:200]


def stepped(host: Host, shift: float) -> list[str]:
    """Collect under the wrong clock, then twice under the right one; what was not right."""
    with tempfile.TemporaryDirectory(prefix="faults_") as folder:
        file = Path(folder) / "crypto.duckdb"
        for name, moved in (("wrong", shift), ("right", 0.0), ("again", 0.0)):
            if problem := collected(host, file, name, moved):
                return [problem]
        return [*_wrong(Warehouse(file), ahead=shift > 0)]


def _wrong(warehouse: Warehouse, *, ahead: bool) -> Iterator[str]:
    asked = dict(
        warehouse.query(
            "SELECT collection_id, count(*) FILTER (WHERE outcome <> 'skipped') "
            "FROM data_collections GROUP BY 1"
        )
    )
    if asked["right"] < 0.9 * asked["wrong"]:
        yield f"{asked['right']} of {asked['wrong']} endpoints were asked with the right clock"
    if asked["again"] > 0.1 * asked["wrong"]:
        yield f"{asked['again']} of {asked['wrong']} were asked again at once"
    ((at,),) = warehouse.query("SELECT max(fetched_at) FROM cached_market_data")
    if at is None or abs(datetime.now(UTC) - at) > timedelta(minutes=10):
        yield f"the agreed prices are of {at}"
    ((used,),) = warehouse.query(
        "SELECT coalesce(sum(calls), 0) FROM rate_limit_usage "
        "WHERE window_start = date_trunc('day', now()) AND period = 'day'"
    )
    ((made,),) = warehouse.query(
        "SELECT count(*) FROM connection_attempts WHERE collection_id IN ('right', 'again') "
        "AND source IN (SELECT source FROM rate_limit_usage)"
    )
    if used < made and not ahead:
        yield f"{used} of {made} calls of today are counted"


def rows(host: Host, variables: Mapping[str, str], shift: float) -> dict[str, object]:
    """What one collection came to, by endpoint; under "" why it failed."""
    with tempfile.TemporaryDirectory(prefix="faults_") as folder:
        file = Path(folder) / "crypto.duckdb"
        if problem := collected(host, file, "c", shift, **variables):
            return {"": problem}
        found = Warehouse(file).query("SELECT endpoint, rows, outcome FROM data_collections")
        times = Warehouse(file).query(
            "SELECT max(epoch(asked_at)) - min(epoch(asked_at)) < 60 FROM source_health"
        )
        return {"near": times, **{name: (rows, outcome) for name, rows, outcome in found}}


def compared(wanted: Mapping[str, object], found: Mapping[str, object]) -> list[str]:
    names = wanted.keys() | found.keys()
    differ = [n for n in sorted(names) if wanted.get(n) != found.get(n)]
    return [f"{n}: {found.get(n)} where {wanted.get(n)} is right" for n in differ]
