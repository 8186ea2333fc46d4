"""Every host hostile at once: what a collection takes of memory and time, whatever is sent."""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from crypto_pipeline.collection.limits import LIMITS
from crypto_pipeline_tests.faults import child, together
from crypto_pipeline_tests.faults.host import Host
from crypto_pipeline_tests.faults.report import Line

EVERYBODY = (
    "31_mb_of_one_text",
    "chunks_without_end",
    "records_5_mb",
    "records_5_mb_wrong",
    "records_5_mb_as_text",
    "text_20_mb_once",
    "one_more_10_mb",
    "lists_8_mb",
    "objects_8_mb",
    "numbers_8_mb",
    "message_5_mb",
    "text_112_kb_of_script",
    "feed_of_100000",
    "feed_112_kb_of_script",
    "big_bomb",
    "many_headers",
    "long_header",
    "headers_without_end",
    "interim_without_end",
    "drip",
    "drip_headers",
    "silent",
    "reset",
)
"""What everybody sends at once. An honest answer comes where a kind is for other readers."""

HANGS_S = 300.0


def run(host: Host, pattern: str) -> Iterator[Line]:
    """A collection of everybody under the limits of every day, for each kind."""
    for kind in EVERYBODY:
        if re.search(pattern, kind):
            yield _everybody(host, kind)


def _everybody(host: Host, kind: str) -> Line:
    line = Line("bounds", kind)
    host.treat((".", kind))
    with tempfile.TemporaryDirectory(prefix="faults_") as folder:
        file = Path(folder) / "crypto.duckdb"
        done = child.run(
            together.collection,
            str(file),
            "c1",
            LIMITS,
            environment=together.settings(host.url, file),
            patience_s=HANGS_S,
        )
    words = [done.problem] if done.problem else []
    if done.value is not None:
        words += [*together.account(done.value)]
    if done.mb > together.MOST_MB:
        words.append(f"{done.mb:,.0f} MB")
    if done.seconds > together.MOST_S:
        words.append(f"{done.seconds:.0f} s")
    line.add(words, raised=done.value is None, mb=done.mb, seconds=done.seconds)
    host.treat()
    return line
