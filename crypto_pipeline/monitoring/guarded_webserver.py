"""Dagster's webserver behind the guard, and the code servers it shares with the daemon: what
`dagster dev` starts, less its daemon.

python -m crypto_pipeline.monitoring.guarded_webserver PORT WORKSPACE serves until SIGINT or
SIGTERM. WORKSPACE is written when the code servers are there: a workspace file for the daemon.
Like dagster_instance it uses what Dagster does not promise, and CONTRIBUTING lists it.

Owns: how Dagster's application is put together and served.
Must not know: what is let through.
"""

import json
import signal
import socket
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import uvicorn
from dagster._cli.proxy_server_manager import ProxyServerManager
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import (
    ModuleTarget,
    WorkspaceFileTarget,
    WorkspaceLoadTarget,
)
from dagster._utils.log import configure_loggers
from dagster_webserver.app import create_app_from_workspace_process_context
from dagster_webserver.version import __version__

from crypto_pipeline import settings
from crypto_pipeline.monitoring.dagster_instance import forget_ticks_ahead, open_instance
from crypto_pipeline.monitoring.guard import Guard

HOST = "127.0.0.1"
"""There is no login: nobody else's machine ever."""

LIVE_MS = 2000
"""How often the UI asks for what is new of assets, as under `dagster dev`."""

STATEMENT_MS, RECYCLE_S, OVERFLOW = 15_000, 3_600, 20
"""The defaults of `dagster-webserver` for connections to Dagster's databases."""

CLOSING_S = 2
"""What open connections are given at the end."""


def target() -> WorkspaceLoadTarget:
    """What is served: workspace.yaml where there is one here, else this project alone."""
    if Path("workspace.yaml").exists():
        return WorkspaceFileTarget(["workspace.yaml"])
    return ModuleTarget("crypto_pipeline.definitions", None, None, "crypto_pipeline")


def serve(port: int, workspace: Path) -> None:
    """Serve until a signal. Exits where the port is taken, before anything is loaded."""
    configure_loggers(formatter="colored", log_level="INFO")
    with (
        _bound(port) as listener,
        open_instance() as instance,
        ProxyServerManager(instance, target(), "warning") as code_servers,
    ):
        unfinished = workspace.with_suffix(".unfinished")
        specs = {"load_from": code_servers.get_code_server_specs()}
        unfinished.write_text(json.dumps(specs))  # JSON is YAML
        unfinished.replace(workspace)
        for name in forget_ticks_ahead(instance, datetime.now(UTC)):
            print(f"{name} had ticked at a time to come: it ticks again")  # noqa: T201
        instance.optimize_for_webserver(STATEMENT_MS, RECYCLE_S, OVERFLOW)
        shared = WorkspaceFileTarget([str(workspace)])
        with WorkspaceProcessContext(instance, shared, __version__) as context:
            app = create_app_from_workspace_process_context(context, "", LIVE_MS)
            config = uvicorn.Config(
                Guard(app, port, settings.proxied()),
                log_level="warning",
                timeout_graceful_shutdown=CLOSING_S,
            )
            uvicorn.Server(config).run([listener])


def _bound(port: int) -> socket.socket:
    listener = socket.socket()
    if sys.platform != "win32":  # there it would let two programs have one port
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as problem:
        sys.exit(f"http://{HOST}:{port}: {problem.strerror}")
    return listener


def main() -> None:
    # Both are Ctrl-C, also where a shell has had SIGINT ignored for its background job.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with suppress(KeyboardInterrupt):  # uvicorn raises the signal again that it ended on
        serve(int(sys.argv[1]), Path(sys.argv[2]))


if __name__ == "__main__":
    main()
