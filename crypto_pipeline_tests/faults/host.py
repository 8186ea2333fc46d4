"""The test upstream in a process of its own, told over a pipe how to treat whom.

A process of its own, so that what it holds is not counted as the pipeline's.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from crypto_pipeline_tests.faults.canaries import ECHOES, rule_of
from crypto_pipeline_tests.faults.kinds import KINDS, MUTE
from crypto_pipeline_tests.upstream import Received, Rule, Samples, Upstream

HEADER = "X-Kind"
"""The header by which one request asks to be treated as a kind says."""

ROOT = Path(__file__).parents[2]


class Host:
    """The upstream's process; a context manager. url: where it answers."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        self.url = self._heard()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def treat(self, *rules: tuple[str, str], delay: float = 0.0) -> None:
        """Treat whose host and path match as the kind says; all others well, after a delay."""
        self._say({"rules": rules, "delay": delay})
        self._heard()

    def asked(self) -> list[str]:
        """The hosts that were asked since the last call, a name for each request."""
        self._say({})
        return list(json.loads(self._heard()))

    def _say(self, words: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()

    def _heard(self) -> str:
        assert self._process.stdout
        heard = self._process.stdout.readline().strip()
        assert heard, "the upstream is gone"
        return heard


class _Upstream(Upstream):
    def take(self, request: Received) -> Rule | None:
        rule = super().take(request)
        named = request.headers.get(HEADER)
        return KINDS[named].rule(".") if named and request.host != MUTE else rule


def rule(match: str, name: str) -> Rule:
    """The rule by which a host is treated as a kind, or an echo of keys, says."""
    return (rule_of(name) if name in ECHOES else KINDS[name]).rule(match)


def main() -> None:
    """Answer, and do what each line of stdin says."""
    with _Upstream(Samples()) as upstream:
        print(upstream.url, flush=True)
        for line in sys.stdin:
            words = json.loads(line)
            if words:
                rules = [rule(match, name) for match, name in words["rules"]]
                upstream.rules = [Rule(f"^{MUTE}", fault="silent"), *rules]
                upstream.delay = words["delay"]
                print("done", flush=True)
            else:
                asked, upstream.received = upstream.received, []
                print(json.dumps([request.host for request in asked]), flush=True)


if __name__ == "__main__":
    main()
