"""The client's connection, as the fast lane sees it."""

from __future__ import annotations

from typing import Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE


class Client(Protocol):
    """The client's connection, while a request of it is carried out.

    Attributes:
        ending: whether it ends with this request.
    """

    ending: bool

    def common_fields(self) -> bytes:
        """Return the lines that stand in every answer."""
        ...

    def write(self, data: bytes) -> None:
        """Send a part of the answer."""
        ...

    def carried_out(self) -> None:
        """Go on with the next request."""
        ...

    def cut_off(self) -> None:
        """End the connection: nothing else tells that the answer is not complete."""
        ...

    def go_round(self, request: bytes) -> None:
        """Take the request the long way: nothing of an answer was sent."""
        ...


def write_head(client: Client, status: int, fields: list[tuple[bytes, bytes]], *, chunked: bool = False) -> bytes:
    """Return the head of an answer as the server before us would write it."""
    lines = [STATUS_LINE[status], client.common_fields()]
    for name, value in fields:
        lines += (name, b": ", value, b"\r\n")
    if client.ending:
        lines.append(b"connection: close\r\n")
    lines.append(b"transfer-encoding: chunked\r\n\r\n" if chunked else b"\r\n")
    return b"".join(lines)
