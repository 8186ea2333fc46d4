"""Where the command line prints: answers to stdout, troubles and progress to stderr."""

import sys

from rich.console import Console

WIDE = 170
"""Columns where nobody looks at a terminal: a log or a pipe."""

out = Console(width=None if sys.stdout.isatty() else WIDE)
err = Console(stderr=True)
