"""Connections to gateway ports, and kinds that have them."""

from __future__ import annotations

import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hub import Kind

PEER_SERVER = Path(__file__).with_name("peer_server.py")


def peer_kind(*flags: str, **options: Any) -> Kind:
    """A kind with a gateway, whose server does what its clients want."""
    command = [sys.executable, "-I", "-S", "-E", str(PEER_SERVER), "{port}", "{data_dir}", *flags]
    defaults: dict[str, Any] = {"gateway": True, "stop_timeout": 5.0, "start_timeout": 20.0}
    return Kind("peer", command, **defaults | options)


def dial(port: int | None, line: str = "", *, timeout: float = 10.0) -> socket.socket:
    """Connect, and send a line."""
    assert port is not None
    connection = socket.create_connection(("127.0.0.1", port), timeout=timeout)
    if line:
        connection.sendall(line.encode() + b"\n")
    return connection


def read_all(connection: socket.socket) -> bytes:
    """Read until the other end has sent all it had."""
    data = bytearray()
    while more := connection.recv(1 << 20):
        data += more
    return bytes(data)


def who(port: int | None) -> int:
    """The process that answers on a port."""
    with dial(port, "who") as connection:
        return int(read_all(connection))


def reset(connection: socket.socket) -> None:
    """Close a connection by a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def refused(port: int) -> bool:
    """Tell whether nobody listens on a port."""
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) != 0


def await_that(condition: Callable[[], bool], timeout: float = 10.0) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not become so in time"
        time.sleep(0.005)
