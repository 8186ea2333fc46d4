"""Dagster's webserver, asked over plain HTTP: an answer in a tenth of a second, where importing
Dagster alone takes one to two.

Owns: the GraphQL. Must not know: what the answers are used for.
"""

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crypto_pipeline import settings
from crypto_pipeline.monitoring.snapshot import (
    RUNS_SHOWN,
    TICKS_SHOWN,
    NotSwitched,
    Run,
    Schedule,
    Sensor,
    Snapshot,
    Tick,
    launched_by,
    moment,
)

TIMEOUT_S = 5.0

# With a time after which, since without one they are looked up by the address of the code server,
# which is another after a restart.
_TICKS = (
    f"ticks(limit: {TICKS_SHOWN}, afterTimestamp: 1) "
    "{ timestamp endTimestamp status skipReason runIds error { message } }"
)

_SNAPSHOT = f"""query CryptoPipelineStatus {{
  instance {{ info daemonHealth {{ allDaemonStatuses {{ daemonType lastHeartbeatTime }} }} }}
  repositoriesOrError {{ ... on RepositoryConnection {{ nodes {{
    name location {{ name }}
    schedules {{
      name pipelineName cronSchedule executionTimezone
      scheduleState {{ id status {_TICKS} }}
      futureTicks(limit: 1) {{ results {{ timestamp }} }}
    }}
    sensors {{ name sensorState {{ status {_TICKS} }} }}
  }} }} }}
  runsOrError(limit: {RUNS_SHOWN}) {{ ... on Runs {{ results {{
    runId jobName status creationTime startTime endTime tags {{ key value }}
  }} }} }}
}}"""

_START = """mutation CryptoPipelineStart($selector: ScheduleSelector!) {
  startSchedule(scheduleSelector: $selector) {
    __typename ... on PythonError { message } ... on UnauthorizedError { message }
  }
}"""

_STOP = """mutation CryptoPipelineStop($id: String!) {
  stopRunningSchedule(id: $id) {
    __typename ... on PythonError { message } ... on UnauthorizedError { message }
  }
}"""


class Webserver:
    """The webserver of one instance, with the repository our schedules are in."""

    def __init__(self, url: str, repository: Mapping[str, str], snapshot: Snapshot) -> None:
        self._url = url
        self._repository = repository
        self.snapshot = snapshot

    @classmethod
    def find(cls, home: Path) -> "Webserver | None":
        """The webserver of the instance in `home`, where one answers; another's is not asked."""
        url = settings.webserver()
        try:
            data = _ask(url, _SNAPSHOT, {})
        except (OSError, ValueError, NotSwitched):
            return None
        written = re.search(r"base_dir: *(\S.*)", data["instance"]["info"] or "")
        if not written or Path(written[1].strip("'\"")).resolve() != home.resolve():
            return None
        for node in data["repositoriesOrError"].get("nodes", ()):
            snapshot = _snapshot(data, node)
            if snapshot.collecting:
                repository = {
                    "repositoryName": node["name"],
                    "repositoryLocationName": node["location"]["name"],
                }
                return cls(url, repository, snapshot)
        return None

    def set_enabled(self, names: Iterable[str], *, on: bool) -> None:
        """Turn schedules on or off. Raises NotSwitched."""
        known = {schedule.name: schedule for schedule in self.snapshot.schedules}
        for name in names:
            if on:
                variables: Any = {"selector": {**self._repository, "scheduleName": name}}
                answer = _ask(self._url, _START, variables)["startSchedule"]
            else:
                answer = _ask(self._url, _STOP, {"id": known[name].id})["stopRunningSchedule"]
            if answer["__typename"] != "ScheduleStateResult":
                raise NotSwitched(f"{name}: {answer.get('message') or answer['__typename']}")


def _ask(url: str, query: str, variables: Mapping[str, Any]) -> Any:
    """The data of an answer. Raises OSError, ValueError or NotSwitched."""
    request = urllib.request.Request(  # noqa: S310  (settings let only http and https through)
        f"{url}/graphql",
        json.dumps({"query": query, "variables": variables}).encode(),
        {"Content-Type": "application/json"},
    )
    # A proxy of the environment is for the internet, never for the machine itself.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=TIMEOUT_S) as response:
        answer = json.load(response)
    if not isinstance(answer, dict) or not answer.get("data"):
        raise NotSwitched(f"{url}: {answer.get('errors') if isinstance(answer, dict) else answer}")
    return answer["data"]


def _snapshot(data: Mapping[str, Any], node: Mapping[str, Any]) -> Snapshot:
    daemons = data["instance"]["daemonHealth"]["allDaemonStatuses"]
    heartbeats = {d["daemonType"]: moment(d["lastHeartbeatTime"]) for d in daemons}
    return Snapshot(
        through="webserver",
        runs=[_run(run) for run in data["runsOrError"].get("results", ())],
        schedules=[_schedule(schedule) for schedule in node["schedules"]],
        sensors=[
            Sensor(s["name"], s["sensorState"]["status"] == "RUNNING", _ticks(s["sensorState"]))
            for s in node["sensors"]
        ],
        heartbeats={kind: last for kind, last in heartbeats.items() if last},
    )


def _run(run: Mapping[str, Any]) -> Run:
    return Run(
        id=run["runId"],
        job=run["jobName"],
        status=run["status"],
        created_at=datetime.fromtimestamp(run["creationTime"], UTC),
        started_at=moment(run["startTime"]),
        finished_at=moment(run["endTime"]),
        launched_by=launched_by({tag["key"]: tag["value"] for tag in run["tags"]}),
    )


def _schedule(schedule: Mapping[str, Any]) -> Schedule:
    state = schedule["scheduleState"]
    coming = schedule["futureTicks"]["results"]
    on = state["status"] == "RUNNING"
    return Schedule(
        name=schedule["name"],
        job=schedule["pipelineName"],
        cron=schedule["cronSchedule"],
        timezone=schedule["executionTimezone"] or "UTC",
        on=on,
        next_at=moment(coming[0]["timestamp"]) if coming and on else None,
        ticks=_ticks(state),
        id=state["id"],
    )


def _ticks(state: Mapping[str, Any]) -> list[Tick]:
    return [
        Tick(
            at=datetime.fromtimestamp(tick["timestamp"], UTC),
            status=tick["status"],
            ended_at=moment(tick["endTimestamp"]),
            reason=tick["skipReason"] or (tick["error"] or {}).get("message"),
            run_ids=tuple(tick["runIds"] or ()),
        )
        for tick in state["ticks"]
    ]
