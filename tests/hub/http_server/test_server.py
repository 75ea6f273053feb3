"""The server as its owner sees it: addresses, starts that fail."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from hub.errors import InvalidConfig, ModhubError
from hub.http.config_sources import configure_http
from hub.http.server import Server
from tests.hub.http_server.rig import App, read_all, read_response, serving, until


def test_localhost_is_both_of_its_addresses() -> None:
    """A name that stands for several addresses is served on all of them that this machine has, on one port."""
    with serving(host="localhost") as running, running.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert read_response(client) == b"hello"
        assert running.server.url == f"http://localhost:{running.server.port}"


def test_an_address_of_the_sixth_version_stands_in_brackets() -> None:
    """The URL can be copied."""
    server = Server(configure_http(host="::1", port=0))
    server.close()
    assert server.url == f"http://[::1]:{server.port}"


def test_nobody_is_let_in_before_the_start() -> None:
    """The address is taken, and connections are refused, so that no request meets a hub that does not run yet."""
    server = Server(configure_http(port=0))
    try:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port))
    finally:
        server.close()


def test_the_second_of_two_that_want_a_port_is_refused() -> None:
    """Whoever listens first has it; the other one ends in good order."""
    first = Server(configure_http(port=0))
    second = Server(configure_http(port=first.port))

    async def both() -> None:
        await first.start(App())
        try:
            with pytest.raises(InvalidConfig, match="can't be had"):
                await second.start(App())
        finally:
            await first.stop()

    asyncio.run(both())


def test_an_application_that_does_not_start_is_told() -> None:
    """It is an error of ours, and no end of the process."""

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})

    server = Server(configure_http(port=0))
    with pytest.raises(ModhubError, match="did not start"):
        asyncio.run(server.start(broken))


def test_what_is_cut_off_at_the_end_is_answered_and_no_defect(caplog: pytest.LogCaptureFixture) -> None:
    """A request that takes longer than `drain_timeout` is told that the hub closes; the log has no traceback."""
    with serving(drain_timeout=0.1) as running, running.connect() as waiting, running.connect() as flooded:
        waiting.sendall(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(running.app.entered.is_set, "it is at work")
        flooded.sendall(b"GET /flood HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert flooded.recv(15) == b"HTTP/1.1 200 OK"
        running.stop().result(10)
        text = read_all(waiting)
        assert text.startswith(b"HTTP/1.1 503 ")
        assert b'"code":"not-ready"' in text
    assert [record.message for record in caplog.records if record.name.startswith("uvicorn")] == []


def test_the_socket_of_a_successor_stays(tmp_path: Path) -> None:
    """A server that has given its socket back removes none any more: by then another one may listen there."""
    path = tmp_path / "hub.sock"
    first = Server(configure_http(host=f"unix:{path}"))
    first.close()
    second = Server(configure_http(host=f"unix:{path}"))
    first.close()
    assert path.is_socket()
    second.close()
    assert not path.exists()
