"""Run the campaign, or parts of it, and print the table. Exit code 1 when anything is not right.

python -m crypto_pipeline_tests.faults [--parts alone,together] [--kinds REGEX] [--seconds N]
    [--endpoints N] [--seats N] [--kills N] [--seed N] [--json FILE]
"""

import argparse
import os
import random
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from crypto_pipeline.sources import ENDPOINTS
from crypto_pipeline_tests.faults import (
    bounds,
    canaries,
    clocks,
    disks,
    kills,
    lies,
    report,
    together,
)
from crypto_pipeline_tests.faults.campaign import Campaign
from crypto_pipeline_tests.faults.host import Host
from crypto_pipeline_tests.faults.kinds import KINDS

Part = Callable[[Campaign, argparse.Namespace], Iterator[report.Line]]


def _alone(campaign: Campaign, chosen: argparse.Namespace) -> Iterator[report.Line]:
    return campaign.each_alone([k for name, k in KINDS.items() if re.search(chosen.kinds, name)])


def _together(campaign: Campaign, chosen: argparse.Namespace) -> Iterator[report.Line]:
    return campaign.all_together([k for name, k in KINDS.items() if re.search(chosen.kinds, name)])


PARTS: Mapping[str, Part] = {
    "alone": _alone,
    "together": _together,
    "bounds": lambda campaign, chosen: bounds.run(campaign.host, chosen.kinds),
    "kills": lambda campaign, chosen: kills.run(campaign.host, campaign.chance, chosen.kills),
    "clocks": lambda campaign, chosen: clocks.run(campaign.host),
    "disks": lambda campaign, chosen: disks.run(campaign.host, campaign.chance),
    "canaries": lambda campaign, chosen: canaries.run(campaign.host),
    "lies": lambda campaign, chosen: lies.run(campaign.chance, chosen.kinds),
}


def main() -> int:
    chosen = _arguments()
    until = time.monotonic() + chosen.seconds if chosen.seconds else float("inf")
    lines: list[report.Line] = []
    print(f"seed {chosen.seed}\n{report.HEAD}", flush=True)
    with Host() as host:
        os.environ.update(together.settings(host.url, Path("no.duckdb")))
        campaign = Campaign(host, random.Random(chosen.seed), chosen.endpoints, chosen.seats)
        for part in chosen.parts.split(","):
            for line in PARTS[part](campaign, chosen):
                lines.append(line)
                print(report.text([line]).removeprefix(report.HEAD + "\n"), flush=True)
                if time.monotonic() > until:
                    break
    print(report.total(lines))
    if chosen.json:
        report.save(lines, chosen.json)
    return 1 if any(line.right < line.tries for line in lines) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="faults", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--parts", default=",".join(PARTS), help="which parts, by comma")
    add("--kinds", default="", help="only kinds whose name this pattern finds")
    add("--seconds", type=float, help="begin no other kind of a part after so many")
    add("--endpoints", type=int, default=len(ENDPOINTS), help="of each kind, alone")
    add("--seats", type=int, default=3, help="collections of each kind")
    add("--kills", type=int, default=200, help="processes that are killed")
    add("--seed", type=int, default=random.randrange(10_000), help="repeats a campaign")
    add("--json", type=Path, help="a file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
