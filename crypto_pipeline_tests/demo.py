"""make demo: one full collection against the offline upstream, into a database of its own."""

import os
import subprocess
import sys

from crypto_pipeline_tests.upstream import Samples, Upstream


def main() -> int:
    with Upstream(Samples(), delay=0.05) as upstream:
        environment = {
            **os.environ,
            "CRYPTO_PIPELINE_UPSTREAM": upstream.url,
            "CRYPTO_PIPELINE_DATABASE": os.environ.get(
                "CRYPTO_PIPELINE_DATABASE", "data/demo.duckdb"
            ),
        }
        command = [sys.executable, "-m", "crypto_pipeline.cli", "collect", "both", "--force"]
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
