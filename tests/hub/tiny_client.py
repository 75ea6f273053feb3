"""Talks to the tests' tiny server."""

from __future__ import annotations

import socket

from hub import ModuleInfo


def tell(info: ModuleInfo, line: str) -> str:
    """Send a line to a module's server and return its answer."""
    assert info.port is not None
    with socket.create_connection(("127.0.0.1", info.port), timeout=5) as connection:
        connection.sendall(line.encode() + b"\n")
        with connection.makefile("r") as answer:
            return answer.readline().rstrip("\n")


def put(info: ModuleInfo, key: str, value: str) -> None:
    """Store a value; returns when the server has acknowledged it."""
    assert tell(info, f"PUT {key} {value}") == "OK"


def get(info: ModuleInfo, key: str) -> str | None:
    """Return a value, or `None`."""
    answer = tell(info, f"GET {key}")
    return None if answer == "-" else answer.removeprefix("=")
