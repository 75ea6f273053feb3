"""Clients that read slowly get all of their answer; those that do not read at all are given up, with TLS as without."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from hub.http import connection, server
from hub.http.lane_connection import LaneConnection
from tests.hub.http_server.rig import App, Running, make_certificate, serving, until

PIECE, PIECES = 150_000, 4


class Pieces(App):
    """Answers in a few large pieces; at `/some` it sends one of them and no more until its client has gone."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % (PIECE * PIECES))]}
        )
        for left in reversed(range(PIECES)):
            await send({"type": "http.response.body", "body": b"x" * PIECE, "more_body": left > 0})
            if scope["path"] == "/some":
                await self._hear(receive)
                return


@pytest.fixture(params=["plain", "tls"])
def options(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The system takes in little on its own; ends are impatient."""
    made = LaneConnection.connection_made

    def narrow(self: LaneConnection, transport: Any) -> None:
        made(self, transport)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)

    monkeypatch.setattr(LaneConnection, "connection_made", narrow)
    monkeypatch.setattr(connection, "_CLOSE_TIMEOUT_S", 0.4)
    monkeypatch.setattr(server, "_TLS_CLOSE_TIMEOUT_S", 0.4)
    if request.param == "plain":
        return {}
    certificate, key = make_certificate(tmp_path, "localhost", key="ec")
    return {"tls_cert": certificate, "tls_key": key}


@contextlib.contextmanager
def narrow_client(running: Running, options: dict[str, Any]) -> Generator[socket.socket]:
    with socket.socket() as plain:
        plain.settimeout(10)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.connect(("127.0.0.1", running.server.port))
        if not options:
            yield plain
            return
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(plain, suppress_ragged_eofs=False) as wrapped:
            yield wrapped


@pytest.mark.parametrize("fields", ["", "Connection: close\r\n"])
def test_a_client_that_reads_slowly_gets_all(fields: str, options: dict[str, Any]) -> None:
    """Each part takes longer than a client may read nothing; also the last ones, when the connection is closed."""
    with (
        serving(Pieces(), send_timeout=0.4, keep_alive=0.2, **options) as running,
        narrow_client(running, options) as client,
    ):
        client.sendall(f"GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode())
        got = 0
        with contextlib.suppress(ConnectionResetError, ssl.SSLError):
            while got < PIECE * PIECES and (part := client.recv(10_000)):
                got += len(part)
                time.sleep(len(part) / 300_000)
        assert got >= PIECE * PIECES


@pytest.mark.parametrize(("path", "half_closed"), [("/", False), ("/", True), ("/some", True)])
def test_a_client_that_does_not_read_is_given_up(path: str, half_closed: bool, options: dict[str, Any]) -> None:
    """Also when it has closed its side: the transport is closed then, and waits for what it can't send."""
    app = Pieces()
    with (
        serving(app, send_timeout=0.4, keep_alive=0.2, **options) as running,
        narrow_client(running, options) as client,
    ):
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        until(lambda: running.server.connections == 1, "there is a connection")
        if half_closed:
            client.shutdown(socket.SHUT_WR)
        until(lambda: running.server.connections == 0, "the connection is gone")


def test_a_client_that_goes_while_its_body_is_not_read_is_let_go(options: dict[str, Any]) -> None:
    """Its end is not read before the body; the connection goes with the answer nevertheless."""
    app = App()
    app._hear = _never  # type: ignore[method-assign] # pyright: ignore[reportPrivateUsage]
    with serving(app, **options) as running, narrow_client(running, options) as client:
        client.sendall(
            b"POST /wait HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 80000\r\n\r\n" + b"x" * 80000
        )
        assert app.entered.wait(5)
        client.shutdown(socket.SHUT_WR)
        app.go.set()
        until(lambda: running.server.connections == 0, "the connection is gone")


async def _never(receive: Any) -> None:
    """Do not ask for the body."""


def test_nothing_is_written_behind_a_refusal(caplog: pytest.LogCaptureFixture) -> None:
    """Where a body is broken before it was asked for, asking for it is no defect of the application."""
    with caplog.at_level(logging.ERROR), serving() as running, running.connect() as client:
        client.sendall(
            b"POST /body HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
        )
        assert client.recv(100).startswith(b"HTTP/1.1 400")
        assert running.app.gone.wait(5)
    assert not caplog.records
