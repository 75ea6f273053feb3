"""A hub and its HTTP application, served by a real uvicorn in a thread of the test's process."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import uvicorn

from hub import Hub
from hub.http import HttpConfig, create_app, drain


class Site:
    """The application of a hub on a port of its own, which it keeps when it is started anew.

    Args:
        hub: the hub, entered.
        config: the application's configuration.
        wrap: makes of the application what is served, such as one that it is mounted in.
    """

    def __init__(
        self, hub: Hub, config: HttpConfig | None = None, *, wrap: Callable[[Any], Any] | None = None, root: str = ""
    ) -> None:
        self.hub = hub
        self._config = config
        self._wrap = wrap
        self._socket: socket.socket | None = None
        self.port = 0
        self.start()
        self.url = f"http://127.0.0.1:{self.port}{root}"

    def start(self) -> None:
        """Serve."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self._app = create_app(self.hub, self._config)
        app = self._wrap(self._app) if self._wrap else self._app
        settings = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1, access_log=False)
        self._server = uvicorn.Server(settings)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(listener)), name="uvicorn")
        self._thread.start()
        assert self._ready.wait(20)

    async def _serve(self, listener: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        serving = asyncio.ensure_future(self._server.serve([listener]))
        while not self._server.started and not serving.done():
            await asyncio.sleep(0.01)
        self._ready.set()
        await serving
        listener.close()

    def stop(self) -> None:
        """End it: streams first, then connections."""

        def end() -> None:
            drain(self._app)
            self._server.should_exit = True

        self._loop.call_soon_threadsafe(end)
        self._thread.join(30)
        assert not self._thread.is_alive()

    def ask(self, path: str, method: str = "GET", body: Any = None, token: str | None = None) -> Any:
        """Call the API from outside, as another program would."""
        fields = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/{path}", data=data, method=method, headers=fields)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def post(self, module_id: str, operation: str) -> Any:
        """Ask for an operation."""
        return self.ask(f"hub/modules/{module_id}/{operation}", "POST")


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for something that the browser has no word of."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
