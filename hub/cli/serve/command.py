"""The command: configuration, log, address; then the event loop."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import click

from hub.cli.extras import extra_http
from hub.cli.options import configuration_options
from hub.cli.serve.defaults import default_places
from hub.cli.serve.log import FORMATS, logging_to
from hub.cli.serve.notify import Notifier
from hub.config_sources import load
from hub.events import EventBus
from hub.http.config_sources import load_http


@click.command(short_help="Run a hub with its HTTP API and dashboard.")
@configuration_options
@click.option("--host", metavar="ADDRESS", help="Address to listen on; wins over the file.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on, 0 = any free one; wins over the file.")
@click.option(
    "--log-format", type=click.Choice(FORMATS), help="Of the log, on stderr; console on a terminal, else json."
)
@click.option("--json", "as_json", is_flag=True, help="As --log-format json.")
def serve(
    config: Path | None,
    data_dir: str | None,
    backend: str | None,
    *,
    host: str | None,
    port: int | None,
    log_format: str | None,
    as_json: bool,
) -> int:
    """Run a hub with its HTTP API and dashboard, until SIGTERM or Ctrl-C.

    With nothing configured it keeps its data below ~/.local/state/modhub (root: /var/lib/modhub), and listens on
    http://127.0.0.1:8558. The first line of the log names all of them.

    When it ends, running requests get `drain_timeout` to finish; then modules hibernate, or what `on_exit` says.
    SIGHUP reads the certificate again.

    Exit code 0: a signal ended it in good order.
    """
    fallback = default_places(os.environ, root=os.geteuid() == 0)
    hub_config = load(config, os.environ, fallback=fallback, data_dir=data_dir, backend=backend)
    http_config = load_http(config, os.environ, host=host, port=port)
    with extra_http():
        from hub.cli.serve.run import run  # noqa: PLC0415 - what it imports is heavy, and may not be installed
        from hub.http.server import Server  # noqa: PLC0415 - as above
    chosen = "json" if as_json else log_format
    with logging_to(sys.stderr, chosen or ("console" if sys.stderr.isatty() else "json")):
        server = Server(http_config)
        # The first line: who watches learns where to go, and where the data is, before the hub takes its time to start.
        EventBus().publish_from_thread(
            "http.starting",
            url=server.url,
            data_dir=str(hub_config.data_dir),
            backend=hub_config.backend,
            config=None if config is None else str(config),
        )
        asyncio.run(run(hub_config, http_config, server, Notifier(os.environ)))
    return 0
