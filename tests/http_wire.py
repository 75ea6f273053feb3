"""HTTP/1.1 as it is on a connection: heads and bodies found, and left as they are."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass

_PIECE = 1 << 16
_HEAD_LIMIT = 1 << 17


class Broken(Exception):
    """The other side ended the connection within a message, or did not speak HTTP/1.1."""


@dataclass(frozen=True)
class Piece:
    """A part of a body as it was sent: content, or what frames it."""

    data: bytes
    content: bool = True


@dataclass(frozen=True)
class Message:
    """The head of a message.

    Attributes:
        head: All of it as it came, with its blank line.
        length: Bytes of its body; None if chunks or the connection's end tell.
        chunked: The body comes in chunks.
        closes: The connection ends after it.
    """

    head: bytes
    length: int | None
    chunked: bool
    closes: bool


@dataclass(frozen=True)
class Request(Message):
    """A request's head; `expects`: the client wants to hear that it may send its body."""

    method: str
    target: str
    expects: bool


@dataclass(frozen=True)
class Answer(Message):
    """An answer's head."""

    status: int


class Wire:
    """One end of a connection, read message by message."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._buffer = bytearray()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def request(self) -> Request | None:
        """The next request's head; None at the connection's end."""
        head = self._head()
        if head is None:
            return None
        first, fields = _parsed(head)
        method, target, _ = first.split(" ", 2)
        chunked = "chunked" in fields.get("transfer-encoding", "")
        length = None if chunked else int(fields.get("content-length", 0))
        closes = fields.get("connection", "").lower() == "close"
        return Request(head, length, chunked, closes, method, target, "100-continue" in fields.get("expect", ""))

    def answer(self, method: str) -> Answer:
        """The head of the next answer, which may be a provisional one (1xx), to a request of this method."""
        head = self._head()
        if head is None:
            raise Broken("no answer")
        first, fields = _parsed(head)
        status = int(first.split(" ", 2)[1])
        empty = method == "HEAD" or status < 200 or status in {204, 304}
        chunked = not empty and "chunked" in fields.get("transfer-encoding", "")
        told = fields.get("content-length")
        length = 0 if empty else None if chunked or told is None else int(told)
        closes = fields.get("connection", "").lower() == "close" or (length is None and not chunked)
        return Answer(head, length, chunked, closes, status)

    def body(self, message: Message) -> Iterator[Piece]:
        """The body that follows a head, to its end."""
        if message.chunked:
            yield from self._chunks()
        elif message.length is None:
            while data := self._some(_PIECE):
                yield Piece(data)
        else:
            yield from self._exactly(message.length)

    def _chunks(self) -> Iterator[Piece]:
        while True:
            line = self._line()
            yield Piece(line, content=False)
            size = int(line.split(b";")[0], 16)
            if size == 0:
                break
            yield from self._exactly(size)
            yield Piece(self._line(), content=False)
        # Trailers, to their blank line.
        while (line := self._line()) != b"\r\n":
            yield Piece(line, content=False)
        yield Piece(line, content=False)

    def _exactly(self, size: int) -> Iterator[Piece]:
        while size:
            data = self._some(min(size, _PIECE))
            if not data:
                raise Broken("a body ended early")
            size -= len(data)
            yield Piece(data)

    def _head(self) -> bytes | None:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > _HEAD_LIMIT:
                raise Broken("no head")
            if not self._fill():
                if self._buffer:
                    raise Broken("a head ended early")
                return None
        return self._take(end + 4)

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > _HEAD_LIMIT or not self._fill():
                raise Broken("no line")
        return self._take(end + 2)

    def _some(self, limit: int) -> bytes:
        if not self._buffer:
            self._fill()
        return self._take(min(limit, len(self._buffer)))

    def _fill(self) -> bool:
        data = self.sock.recv(_PIECE)
        self._buffer += data
        return bool(data)

    def _take(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data


def _parsed(head: bytes) -> tuple[str, dict[str, str]]:
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return first, {name.strip().lower(): value.strip() for name, _, value in pairs}
