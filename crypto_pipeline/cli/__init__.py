"""crypto-pipeline, for people: a file for each command."""

import sys

try:
    from crypto_pipeline.cli.main import main
except KeyboardInterrupt:  # while it is being loaded
    print("stopped before anything began", file=sys.stderr)
    sys.exit(130)

__all__ = ["main"]
