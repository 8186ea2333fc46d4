"""Try the mutants of every module, or of those named, and print those that no test noticed.

python -m crypto_pipeline_tests.mutants [MODULE …] [--sample N] [--seed N] [--all] [--list]

They are tried one after the other in a copy of the project, each in a process of its own: nothing
here is ever changed.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from crypto_pipeline_tests.mutants.asked import ROOT, TESTS, Copy, warm_up
from crypto_pipeline_tests.mutants.made import mutants_of


def tried(module: str, chosen: argparse.Namespace) -> tuple[int, int]:
    """How many mutants of a module were tried, and how many noticed; the others are printed."""
    found = mutants_of(ROOT / f"crypto_pipeline/{module}.py")
    picked = found
    if chosen.sample and chosen.sample < len(found):
        picked = random.Random(chosen.seed).sample(found, chosen.sample)
    began = time.monotonic()
    noticed = 0
    with tempfile.TemporaryDirectory(prefix="mutants_") as folder:
        copy = Copy(Path(folder), module)
        copy.look()
        patience = 60 + 3 * (time.monotonic() - began)
        for mutant in sorted(picked, key=lambda m: m.line):
            good = copy.noticed(mutant, patience)
            noticed += good
            if chosen.all or not good:
                word = "noticed" if good else "SURVIVED"
                place = f"{word} {module}.py:{mutant.line}"
                print(f"{place}\n  - {mutant.before}\n  + {mutant.after}", flush=True)
    total = f"{len(picked)} of {len(found)}" if len(picked) < len(found) else f"{len(picked)}"
    part = noticed / len(picked) if picked else 1
    took = time.monotonic() - began
    print(f"{module}: {total} mutants, {noticed} noticed, {part:.0%}, {took:.0f} s", flush=True)
    return len(picked), noticed


def main() -> int:
    chosen = _arguments()
    if chosen.list:
        for module in chosen.modules:
            print(f"{module}: {len(mutants_of(ROOT / f'crypto_pipeline/{module}.py'))} mutants")
        return 0
    warm_up()
    counts = [tried(module, chosen) for module in chosen.modules]
    print(f"together: {sum(t for t, _ in counts)} mutants, {sum(n for _, n in counts)} noticed")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("modules", nargs="*", default=list(TESTS), metavar="MODULE")
    parser.add_argument("--sample", type=int, default=0, help="so many of a module, by chance")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--all", action="store_true", help="print what was noticed as well")
    parser.add_argument("--list", action="store_true", help="count mutants, and try none")
    chosen = parser.parse_args()
    for name in chosen.modules:
        if name not in TESTS:
            parser.error(f"{name} is none of {', '.join(TESTS)}")
    return chosen


if __name__ == "__main__":
    sys.exit(main())
