"""A connection that becomes a WebSocket is one as long as both sides want it."""

from __future__ import annotations

import time
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.hub.http_server.rig import App, serving


class Echo(App):
    """Sends back what it gets, over a WebSocket."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            await super().__call__(scope, receive, send)
            return
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
        self.gone.set()


def test_a_websocket_outlives_the_limits_of_a_request() -> None:
    """Neither the deadline of a head nor that of an idle connection ends it."""
    with serving(Echo(), header_timeout=0.1, keep_alive=0.1) as running:
        with connect(f"ws://127.0.0.1:{running.server.port}/") as client:
            began = time.monotonic()
            while time.monotonic() - began < 0.5:
                client.send("word")
                assert client.recv() == "word"
                time.sleep(0.15)  # silence, longer than both
            assert running.server.connections == 1
        assert running.app.gone.wait(5)


def test_a_websocket_is_closed_when_the_server_ends() -> None:
    """The other side is told, and not kept waiting."""
    with serving(Echo(), drain_timeout=5.0) as running, connect(f"ws://127.0.0.1:{running.server.port}/") as client:
        client.send("word")
        assert client.recv() == "word"
        running.stop()
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=5)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
