"""A connection that becomes a WebSocket is one as long as both sides want it."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from hub.http.lane_connection import LaneConnection
from tests.hub.http_server.rig import App, read_all, read_response, serving, until

HANDSHAKE = (
    b"Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)


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


@pytest.mark.parametrize(
    ("line", "field", "rest", "status"),
    [
        (b"GET / HTTP/1.1", b"Content-Length: 5\r\n", b"hello", b"400"),
        (b"GET / HTTP/1.1", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1", b"X: " + b"a" * 9000 + b"\r\n", b"", b"431"),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1", b"", b"", b"414"),
    ],
)
def test_a_handshake_that_is_none_is_answered(line: bytes, field: bytes, rest: bytes, status: bytes) -> None:
    """And the connection closed: its client could else keep it for nothing, without a limit in time."""
    with serving(Echo()) as running, running.connect() as client:
        client.sendall(b"%b\r\n%b%b\r\n%b" % (line, HANDSHAKE, field, rest))
        assert read_all(client).startswith(b"HTTP/1.1 " + status)
        until(lambda: running.server.connections == 0, "the connection is gone")


def test_a_websocket_does_not_take_the_connection_from_a_request_before_it() -> None:
    """That one is answered first, and is told when its client goes; the handshake behind it is refused."""
    with serving(App()) as running:
        for answered in (True, False):
            running.app.gone.clear()
            running.app.entered.clear()
            with running.connect() as client:
                client.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n" + HANDSHAKE + b"\r\n")
                assert running.app.entered.wait(5)
                if answered:
                    running.app.go.set()
                    assert read_response(client) == b"hello"
                    running.app.go.clear()
                    assert read_all(client).startswith(b"HTTP/1.1 400")
            if not answered:
                assert running.app.gone.wait(5)


class Flood(Echo):
    """Sends for ever, or a little and then no more."""

    def __init__(self, *, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            await super().__call__(scope, receive, send)
            return
        await receive()
        await send({"type": "websocket.accept"})
        for _ in range(self.pieces):
            await send({"type": "websocket.send", "bytes": b"x" * 20000})


@pytest.mark.parametrize("pieces", [3, 1000])
@pytest.mark.parametrize("half_closed", [False, True])
def test_a_websocket_whose_client_does_not_read_is_given_up(
    pieces: int, half_closed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where little is left for it, which the system does not take: its end would wait for that for ever."""
    made = LaneConnection.connection_made

    def narrow(self: LaneConnection, transport: Any) -> None:
        made(self, transport)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)

    monkeypatch.setattr(LaneConnection, "connection_made", narrow)
    with serving(Flood(pieces=pieces), send_timeout=0.2) as running, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", running.server.port))
        client.sendall(b"GET / HTTP/1.1\r\n" + HANDSHAKE + b"\r\n")
        until(lambda: running.server.connections == 1, "there is a connection")
        if half_closed:
            client.shutdown(socket.SHUT_WR)
        until(lambda: running.server.connections == 0, "the connection is gone")
