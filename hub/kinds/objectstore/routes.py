"""What each request does to the blobs."""

from __future__ import annotations

from .blobs import Blob, BlobStore, NotNow
from .http1 import Headers, HttpError, Request, Response, failure, unquote
from .transfer import Reader, Upload

TYPE_CHECKING = False  # as typing's, without importing it
if TYPE_CHECKING:
    from collections.abc import Generator

    # Each step tells whether it waits: there is nothing to do before the server is woken.
    Job = Generator[bool | None, None, Response]

MAX_KEY = 1024
MAX_LISTED = 1000
# What comes with a request that has no use for a body is read over up to here.
MAX_UNUSED_BODY = 64 * 1024
_JSON: Headers = (("Content-Type", "application/json"),)
_TEXT: Headers = (("Content-Type", "text/plain; charset=utf-8"),)
_ESCAPES = {number: f"\\u{number:04x}" for number in (*range(0x20), 0x7F)} | {0x22: '\\"', 0x5C: "\\\\"}
_UNRESERVED = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/")


class Exchange:
    """A request whose body may still be coming; `finish` answers it, at once or by a job of several steps."""

    max_body = MAX_UNUSED_BODY

    def __init__(self, blobs: BlobStore, request: Request) -> None:
        self.blobs = blobs
        self.request = request

    def receive(self, data: bytearray) -> None:
        """A part of the body."""

    def finish(self) -> Response | Job:
        """The body has ended: act, and answer."""
        raise NotImplementedError

    def abort(self) -> None:
        """The body will not come."""


class _Health(Exchange):
    def finish(self) -> Response:
        self.blobs.find(b"")  # a store that cannot read is not well
        return Response(200, b"OK!", _TEXT)


class _Stats(Exchange):
    def finish(self) -> Response:
        return _json_numbers(self.blobs.stats())


class _Collect(Exchange):
    def finish(self) -> Job:
        freed = yield from self.blobs.collect()
        return _json_numbers(freed)


class _Checkpoint(Exchange):
    def finish(self) -> Job:
        try:
            size = yield from self.blobs.back_up()
        except NotNow as error:
            return failure(HttpError(409, str(error)))
        return _json_numbers({"bytes": size})


class _Listing(Exchange):
    def finish(self) -> Response:
        prefix, after, limit = self._parameters()
        found = self.blobs.scan(prefix, after, limit + 1)
        headers: Headers = _JSON
        if len(found) > limit:
            del found[limit:]
            query = f"prefix={_quote(prefix)}&after={_quote(found[-1].key)}&limit={limit}"
            headers += (("Link", f'</blobs?{query}>; rel="next"'),)
        rows = (f'{{"key": {_quoted(b.key)}, "size": {b.size}, "etag": {_quoted(b.etag.encode())}}}' for b in found)
        return Response(200, f"[{', '.join(rows)}]".encode(), headers)

    def _parameters(self) -> tuple[bytes, bytes, int]:
        prefix, after, limit = b"", b"", MAX_LISTED
        for pair in self.request.query.split(b"&"):
            name, _, raw = pair.partition(b"=")
            value = unquote(raw.replace(b"+", b" "))
            if name == b"prefix":
                prefix = value
            elif name == b"after":
                after = value
            elif name == b"limit":
                if not value.isdigit() or len(value) > 9 or int(value) < 1:
                    raise HttpError(400, "limit is a number from 1")
                limit = min(int(value), MAX_LISTED)
            elif pair:
                raise HttpError(400, "unknown parameter; there are prefix, after and limit")
        return prefix, after, limit


class _BlobExchange(Exchange):
    def __init__(self, blobs: BlobStore, request: Request) -> None:
        super().__init__(blobs, request)
        self.key = unquote(request.path.removeprefix(b"/blobs/"))
        if not 0 < len(self.key) <= MAX_KEY:
            raise HttpError(400, f"a key has 1 to {MAX_KEY} bytes")
        try:
            self.key.decode()
        except UnicodeDecodeError:
            raise HttpError(400, "a key is UTF-8") from None

    def found(self) -> Blob:
        blob = self.blobs.find(self.key)
        if blob is None:
            raise HttpError(404, "no such blob")
        return blob

    def check(self, blob: Blob | None) -> None:
        """If-Match and If-None-Match, for what changes something."""
        headers = self.request.headers
        if (wanted := headers.get(b"if-match")) is not None and not _matches(wanted, blob, weak=False):
            raise HttpError(412, "If-Match does not hold")
        if (wanted := headers.get(b"if-none-match")) is not None and _matches(wanted, blob, weak=True):
            raise HttpError(412, "If-None-Match does not hold")


class _Get(_BlobExchange):
    def finish(self) -> Response:
        blob, headers = self.found(), self.request.headers
        if (wanted := headers.get(b"if-match")) is not None and not _matches(wanted, blob, weak=False):
            raise HttpError(412, "If-Match does not hold")
        fields: Headers = (("ETag", blob.etag), ("Accept-Ranges", "bytes"))
        if (wanted := headers.get(b"if-none-match")) is not None and _matches(wanted, blob, weak=True):
            return Response(304, headers=fields)
        fields += (("Content-Type", "application/octet-stream"),)
        status, start, length = 200, 0, blob.size
        if self.request.method == b"GET" and (span := self._range(blob)) is not None:
            status, (start, length) = 206, span
            fields += (("Content-Range", f"bytes {start}-{start + length - 1}/{blob.size}"),)
        return Response(status, headers=fields, stream=Reader(self.blobs, blob, start, length), length=length)

    def _range(self, blob: Blob) -> tuple[int, int] | None:
        """Start and length of the one range that was asked for; several, or what is no range, is the whole blob."""
        raw = self.request.headers.get(b"range", b"")
        if self.request.headers.get(b"if-range", blob.etag.encode()) != blob.etag.encode():
            return None
        unit, _, span = raw.partition(b"=")
        first, dash, last = span.strip().partition(b"-")
        if unit.lower() != b"bytes" or not dash or not (first + last).isdigit() or len(first + last) > 36:
            return None
        if not first:
            start, end = max(0, blob.size - int(last)), blob.size
        else:
            start, end = int(first), min(int(last) + 1, blob.size) if last else blob.size
            if last and int(last) < start:
                return None
        if start >= end:
            raise HttpError(416, "the blob does not reach so far", (("Content-Range", f"bytes */{blob.size}"),))
        return start, end - start


class _Delete(_BlobExchange):
    def finish(self) -> Response:
        blob = self.found()
        self.check(blob)
        self.blobs.delete(self.key)
        return Response(204)


class _Put(_BlobExchange):
    def __init__(self, blobs: BlobStore, request: Request, max_body: int) -> None:
        super().__init__(blobs, request)
        if not request.chunked and request.length is None:
            raise HttpError(411, "a PUT needs a Content-Length or a chunked body")
        self.max_body = max_body
        self.check(blobs.find(self.key))  # before the body is sent in vain
        self._upload = Upload(blobs)

    def receive(self, data: bytearray) -> None:
        self._upload.write(data)

    def finish(self) -> Response:
        self.check(self.blobs.find(self.key))  # somebody else may have been quicker
        blob, replaced = self.blobs.store(self._upload, self.key)
        return Response(204 if replaced else 201, headers=(("ETag", blob.etag),))

    def abort(self) -> None:
        self.blobs.discard(self._upload)


_FIXED: dict[bytes, dict[bytes, type[Exchange]]] = {
    b"/health": {b"GET": _Health, b"HEAD": _Health},
    b"/stats": {b"GET": _Stats, b"HEAD": _Stats},
    b"/gc": {b"POST": _Collect},
    b"/checkpoint": {b"POST": _Checkpoint},
    b"/blobs": {b"GET": _Listing, b"HEAD": _Listing},
}
_BLOB: dict[bytes, type[Exchange]] = {b"GET": _Get, b"HEAD": _Get, b"PUT": _Put, b"DELETE": _Delete}


def begin(blobs: BlobStore, request: Request, max_body: int) -> Exchange:
    """Find what answers a request; refuses it before its body where that is possible."""
    methods = _BLOB if request.path.startswith(b"/blobs/") else _FIXED.get(request.path)
    if methods is None:
        raise HttpError(404, "there are /blobs, /health, /stats, /gc and /checkpoint")
    handler = methods.get(request.method)
    if handler is None:
        allowed = ", ".join(sorted(name.decode() for name in methods))
        raise HttpError(405, f"allowed: {allowed}", (("Allow", allowed),))
    exchange = _Put(blobs, request, max_body) if handler is _Put else handler(blobs, request)
    if request.length is not None and request.length > exchange.max_body:
        raise HttpError(413, f"a body has at most {exchange.max_body} bytes here")
    return exchange


def _matches(wanted: bytes, blob: Blob | None, *, weak: bool) -> bool:
    if blob is None:
        return False
    tags = [tag.strip() for tag in wanted.split(b",")]
    return wanted == b"*" or any((tag.removeprefix(b"W/") if weak else tag) == blob.etag.encode() for tag in tags)


def _quoted(text: bytes) -> str:
    # Written out, since importing json costs a third of a start.
    return f'"{text.decode().translate(_ESCAPES)}"'


def _quote(raw: bytes) -> str:
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in raw)


def _json_numbers(values: dict[str, int]) -> Response:
    pairs = (f'"{name}": {value}' for name, value in values.items())
    return Response(200, f"{{{', '.join(pairs)}}}".encode(), _JSON)
