"""A hub and its server on one event loop, from their start to the signal that ends them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from hub import AsyncHub
from hub.cli.serve.notify import Notifier
from hub.config import HubConfig
from hub.errors import InvalidConfig
from hub.events import EventBus
from hub.http import create_app, drain
from hub.http.config import HttpConfig
from hub.http.server import Server

_log = EventBus()  # for the log only


async def run(hub_config: HubConfig, http_config: HttpConfig, server: Server, notifier: Notifier) -> None:
    """Serve until SIGTERM or SIGINT, then let requests finish and bring the modules to rest.

    A second signal changes nothing: what is under way has its own deadlines, and is not to be torn apart.

    Args:
        hub_config: the hub's configuration.
        http_config: the HTTP side's.
        server: it has its address already.
        notifier: tells the service manager.
    """
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    ready = asyncio.Event()
    this = asyncio.current_task()
    assert this is not None

    def end(number: int) -> None:
        if told.is_set():
            return
        _log.publish_from_thread("http.stopping", reason=signal.Signals(number).name)
        told.set()
        if not ready.is_set():
            this.cancel()  # a start is undone as a whole

    def hang_up() -> None:
        # Of a service: read the certificate again. Of a terminal: it is gone, and whoever sat there means an end.
        if sys.stdin is not None and sys.stdin.isatty():
            end(signal.SIGHUP)
        else:
            _reload(server, http_config)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end, number)
    loop.add_signal_handler(signal.SIGHUP, hang_up)
    try:
        async with AsyncExitStack() as stack:
            stack.callback(server.close)
            await stack.enter_async_context(_signs_of_life(notifier))
            parameters = {f.name: getattr(hub_config, f.name) for f in dataclasses.fields(hub_config)}
            hub = await stack.enter_async_context(AsyncHub(**parameters))
            app = create_app(hub, http_config)
            await server.start(app)
            stack.push_async_callback(server.stop)
            stack.callback(drain, app)
            ready.set()
            notifier.ready(f"serving on {server.url}")
            await told.wait()
            notifier.stopping(f"ending; modules: {hub_config.on_exit}")
    except asyncio.CancelledError:
        if not told.is_set():
            raise


def _reload(server: Server, config: HttpConfig) -> None:
    if config.tls_cert is None:
        return
    try:
        server.reload()
    except InvalidConfig as error:
        _log.publish_from_thread("http.tls_failed", error=str(error))
    else:
        _log.publish_from_thread("http.tls_reloaded")


@asynccontextmanager
async def _signs_of_life(notifier: Notifier) -> AsyncGenerator[None]:
    """Tell the service manager at intervals that the loop turns: one that hangs tells nothing, and is restarted."""
    interval_s = notifier.interval_s
    if interval_s is None:
        yield
        return

    async def tell() -> None:
        while True:
            notifier.alive()
            await asyncio.sleep(interval_s)

    telling = asyncio.create_task(tell(), name="modhub-signs-of-life")
    try:
        yield
    finally:
        telling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await telling
