"""make demo: one full collection against the offline upstream, into a database and a run history of
its own: its numbers are invented, and must not come among real ones. It runs in a folder of its
own, where no `.env` of the user's says otherwise."""

import os
import subprocess
import sys
from pathlib import Path

from crypto_pipeline_tests.upstream import Samples, Upstream


def main() -> int:
    with Upstream(Samples(), delay=0.05) as upstream:
        home = Path("data/demo_history").absolute()
        home.mkdir(parents=True, exist_ok=True)
        environment = {
            **os.environ,
            "CRYPTO_PIPELINE_UPSTREAM": upstream.url,
            "CRYPTO_PIPELINE_DATABASE": str(home.with_name("demo.duckdb")),
            "DAGSTER_HOME": str(home),
        }
        command = [sys.executable, "-m", "crypto_pipeline.cli", "collect", "both", "--force"]
        return subprocess.run(command, cwd=home, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
