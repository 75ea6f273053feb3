"""HTTP/1.1 without a socket: heads and bodies out of bytes, answers into bytes. What is doubtful is refused."""

from __future__ import annotations

import time

TYPE_CHECKING = False  # as typing's, without importing it
if TYPE_CHECKING:
    from .transfer import Reader

Headers = tuple[tuple[str, str], ...]

MAX_HEAD = 16 * 1024
_MAX_CHUNK_LINE = 256
_TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DIGITS = b"0123456789"
_HEX = b"0123456789abcdefABCDEF"
_VISIBLE = bytes(range(0x21, 0x7F))
_CONTROL = bytes(set(range(0x20)) - {0x09}) + b"\x7f"
# Two of one of these would let two readers of the same bytes disagree.
_SINGLE = {b"host", b"content-length", b"transfer-encoding", b"range", b"expect"}

_REASONS = {
    100: "Continue",
    200: "OK",
    201: "Created",
    204: "No Content",
    206: "Partial Content",
    304: "Not Modified",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    411: "Length Required",
    412: "Precondition Failed",
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    417: "Expectation Failed",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    505: "HTTP Version Not Supported",
    507: "Insufficient Storage",
}


class HttpError(Exception):
    """A request that ends with this status."""

    def __init__(self, status: int, message: str, headers: Headers = ()) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers


class Request:
    """A parsed head. Header names are lower-case."""

    __slots__ = ("chunked", "expects", "headers", "keep_alive", "length", "method", "path", "query")

    def __init__(self, method: bytes, target: bytes, minor: int, headers: dict[bytes, bytes]) -> None:
        self.method = method
        self.path, _, self.query = target.partition(b"?")
        self.headers = headers
        self.chunked, self.length = _framing(minor, headers)
        options = [option.strip().lower() for option in headers.get(b"connection", b"").split(b",")]
        # A client of HTTP/1.0 may ask for more, but need not be given it.
        self.keep_alive = minor >= 1 and b"close" not in options
        expect = headers.get(b"expect", b"").lower()
        if expect not in {b"", b"100-continue"}:
            raise HttpError(417, "only 100-continue can be expected")
        self.expects = minor >= 1 and expect != b""


def _framing(minor: int, headers: dict[bytes, bytes]) -> tuple[bool, int | None]:
    """Whether the body is chunked, and its length if that was declared."""
    length, encoding = headers.get(b"content-length"), headers.get(b"transfer-encoding")
    if encoding is not None:
        if length is not None or minor == 0:
            raise HttpError(400, "the body's length is ambiguous")
        if encoding.lower() != b"chunked":
            raise HttpError(501, "only the transfer coding chunked is known")
        return True, None
    if length is None:
        return False, None
    if not length or length.translate(None, _DIGITS) or len(length) > 18:
        raise HttpError(400, "malformed Content-Length")
    return False, int(length)


def split_head(buffer: bytearray) -> Request | None:
    """Take a head off the buffer's front; None when it is not complete yet."""
    while buffer.startswith(b"\r\n"):  # left behind by clients that end a body with a line break
        del buffer[:2]
    end = buffer.find(b"\r\n\r\n", 0, MAX_HEAD)
    seen = buffer if end < 0 else buffer[:end]
    if seen.count(b"\n") != seen.count(b"\r\n"):
        raise HttpError(400, "a line ends in a bare line feed")
    if end < 0:
        if len(buffer) >= MAX_HEAD:
            if b"\r\n" in buffer[:MAX_HEAD]:
                raise HttpError(431, f"the head exceeds {MAX_HEAD} bytes")
            raise HttpError(414, f"the request line exceeds {MAX_HEAD} bytes")
        return None
    del buffer[: end + 4]
    first, *lines = bytes(seen).split(b"\r\n")
    method, target, minor = _request_line(first)
    headers = _header_lines(lines)
    if minor >= 1 and b"host" not in headers:
        raise HttpError(400, "the Host header is missing")
    return Request(method, target, minor, headers)


def _request_line(line: bytes) -> tuple[bytes, bytes, int]:
    parts = line.split(b" ")
    if len(parts) != 3:
        raise HttpError(400, "malformed request line")
    method, target, version = parts
    if not method or method.translate(None, _TOKEN):
        raise HttpError(400, "malformed method")
    name, _, numbers = version.partition(b"/")
    major, _, minor = numbers.partition(b".")
    if name != b"HTTP" or len(major) != 1 or len(minor) != 1 or (major + minor).translate(None, _DIGITS):
        raise HttpError(400, "malformed HTTP version")
    if major != b"1":
        raise HttpError(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
    if not target or target.translate(None, _VISIBLE):
        raise HttpError(400, "malformed request target")
    if target[:7].lower() == b"http://":  # a proxy's form, which a server has to take as well
        _, slash, rest = target[7:].partition(b"/")
        target = slash + rest or b"/"
    return method, target, int(minor)


def _header_lines(lines: list[bytes]) -> dict[bytes, bytes]:
    headers: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        # A folded line, or a blank before the colon, does not pass as a token either.
        if not colon or not name or name.translate(None, _TOKEN):
            raise HttpError(400, "malformed header line")
        name, value = name.lower(), value.strip(b" \t")
        if value.translate(None, _CONTROL) != value:
            raise HttpError(400, "control character in a header")
        if name in headers:
            if name in _SINGLE:
                raise HttpError(400, f"two {name.decode()} headers")
            value = headers[name] + b", " + value
        headers[name] = value
    return headers


def unquote(raw: bytes) -> bytes:
    """Percent-decode."""
    first, *rest = raw.split(b"%")
    decoded = [first]
    for part in rest:
        if len(part) < 2 or part[:2].translate(None, _HEX):
            raise HttpError(400, "malformed percent-encoding")
        decoded += (bytes([int(part[:2], 16)]), part[2:])
    return b"".join(decoded)


class SizedBody:
    """A body of a declared length."""

    __slots__ = ("_left",)

    def __init__(self, length: int) -> None:
        self._left = length

    @property
    def done(self) -> bool:
        """Whether all of it has been taken."""
        return self._left == 0

    def take(self, buffer: bytearray) -> bytearray:
        """What the buffer's front holds of it."""
        data = buffer[: self._left]
        del buffer[: self._left]
        self._left -= len(data)
        return data


class ChunkedBody:
    """A body in chunks. Extensions and trailers are read over."""

    __slots__ = ("_left", "_stage", "done")

    def __init__(self) -> None:
        self.done = False
        self._left: int = 0
        self._stage = "size"

    def take(self, buffer: bytearray) -> bytearray:
        """What the buffer's front holds of it, decoded."""
        data = bytearray()
        while not self.done:
            if self._stage == "data":
                piece = buffer[: self._left]
                del buffer[: self._left]
                self._left -= len(piece)
                data += piece
                if self._left:
                    break
                self._stage = "end"
            elif self._stage == "end":
                if len(buffer) < 2:
                    break
                if not buffer.startswith(b"\r\n"):
                    raise HttpError(400, "a chunk is longer than its size")
                del buffer[:2]
                self._stage = "size"
            elif not self._line(buffer):
                break
        return data

    def _line(self, buffer: bytearray) -> bool:
        """Read a size or a trailer line; False when it is not complete yet."""
        limit = _MAX_CHUNK_LINE if self._stage == "size" else MAX_HEAD - self._left
        end = buffer.find(b"\n", 0, limit)
        if end < 0:
            if len(buffer) >= limit:
                raise HttpError(400, "a chunk's line or the trailers are too long")
            return False
        line = bytes(buffer[: end + 1])
        if not line.endswith(b"\r\n"):
            raise HttpError(400, "a line ends in a bare line feed")
        del buffer[: end + 1]
        if self._stage == "trailers":
            self._left += len(line)  # counts what the trailers took, there is no chunk any more
            self.done = line == b"\r\n"
            return True
        size = line[:-2].partition(b";")[0].rstrip(b" \t")
        if not size or len(size) > 15 or size.translate(None, _HEX) or b"\r" in line[:-2]:
            raise HttpError(400, "malformed chunk size")
        self._left = int(size, 16)
        self._stage = "data" if self._left else "trailers"
        return True


class Response:
    """An answer: a body in memory, or one that is streamed."""

    __slots__ = ("body", "headers", "length", "status", "stream")

    def __init__(
        self,
        status: int,
        body: bytes = b"",
        headers: Headers = (),
        *,
        stream: Reader | None = None,
        length: int | None = None,
    ) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.stream = stream
        self.length = len(body) if length is None else length

    def head(self, *, close: bool) -> bytes:
        """The status line and headers, ready to send."""
        lines = [
            f"HTTP/1.1 {self.status} {_REASONS[self.status]}",
            time.strftime("Date: %a, %d %b %Y %H:%M:%S GMT", time.gmtime()),
        ]
        lines += (f"{name}: {value}" for name, value in self.headers)
        if self.status not in {204, 304}:
            lines.append(f"Content-Length: {self.length}")
        if close:
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def failure(error: HttpError) -> Response:
    """The answer to a request that failed."""
    return Response(
        error.status, f"{error.message}\n".encode(), (("Content-Type", "text/plain; charset=utf-8"), *error.headers)
    )
