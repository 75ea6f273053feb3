"""Probes: does the process answer? What fails on our own side (no descriptor is left) says nothing of it: an `OSError`."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from hub.instance import output
from hub.instance.ports import LOOPBACK

Probe = Callable[[], Awaitable[bool]]

_MAX_STATUS_LINE = 8192


async def tcp_answers(port: int) -> bool:
    """Tell whether a loopback port accepts a connection."""
    with socket.socket() as connection:
        connection.setblocking(False)
        try:
            # Ends with an orderly close: a reset would save a TIME_WAIT, and has been seen to end naive servers.
            # Not through streams or anyio.connect_tcp: this runs every millisecond while a server starts.
            await asyncio.get_running_loop().sock_connect(connection, (LOOPBACK, port))
        except ConnectionError:
            return False
        return True


async def http_request(port: int, path: str, method: str = "GET") -> int | None:
    """Send a request without a body to a loopback port.

    Written by hand: an HTTP client library would be the heaviest import of the core, for one status line.

    Args:
        port: the port.
        path: path and query.
        method: the method.

    Returns:
        The status of the answer, or `None` where there was none.
    """
    try:
        reader, writer = await asyncio.open_connection(LOOPBACK, port, limit=_MAX_STATUS_LINE)
    except ConnectionError:
        return None
    try:
        request = (
            f"{method} {path} HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )
        writer.write(request.encode("ascii"))
        await writer.drain()
        status = re.match(rb"HTTP/1\.[01] ([1-5]\d\d)\b", await reader.readline())
        return int(status[1]) if status else None
    except (OSError, ValueError):  # ValueError: a line beyond the limit
        return None
    finally:
        writer.transport.abort()


def make_probe(spec: str, *, port: int, log: Path, log_offset: int) -> Probe:
    """Build the probe that a kind's `ready` or `live` asks for.

    Args:
        spec: `tcp`, `http:/path` or `log:REGEX`, checked by `Kind`.
        port: the instance's port.
        log: its output log.
        log_offset: where this run's output begins in it.

    Returns:
        A probe: an asynchronous function without arguments that tells whether the instance answers.
    """
    scheme, _, rest = spec.partition(":")
    if scheme == "tcp":
        return lambda: tcp_answers(port)
    if scheme == "http":

        async def http() -> bool:
            status = await http_request(port, rest)
            return status is not None and 200 <= status < 300

        return http
    # Of text, as `Kind` checked it: as one of bytes `(?u)` would fail here, and a dot match half a letter.
    pattern = re.compile(rest)

    async def logged() -> bool:
        # A local file that was just written comes from memory: reading it here is no blocking work.
        lines = output.read_from(log, log_offset).splitlines()
        return any(pattern.search(line.decode(errors="replace")) for line in lines)

    return logged
