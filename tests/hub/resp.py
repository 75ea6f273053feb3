"""The few words of Redis' protocol that the tests speak, on a plain socket."""

from __future__ import annotations

import socket


class RedisError(Exception):
    """The server answered with an error."""


def command(port: int, *words: str, timeout: float = 5.0) -> str | None:
    """Send one command and return its answer; `None` for nil."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        parts = [f"*{len(words)}\r\n".encode()]
        for word in words:
            data = word.encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
        connection.sendall(b"".join(parts))
        with connection.makefile("rb") as answer:
            line = answer.readline()
            if not line.endswith(b"\r\n"):
                raise ConnectionResetError("the server closed the connection")
            sign, rest = line[:1], line[1:-2]
            if sign == b"-":
                raise RedisError(rest.decode())
            if sign != b"$":
                return rest.decode()
            length = int(rest)
            return None if length < 0 else answer.read(length).decode()
