"""crypto-pipeline, for people: a file for each command."""

from crypto_pipeline.cli.main import main

__all__ = ["main"]
