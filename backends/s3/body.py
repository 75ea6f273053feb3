"""Content on its way: to the server with its checksum, as a file over memory that copies nothing; and from there."""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from botocore.response import StreamingBody


def crc32(data: memoryview | bytes) -> str:
    """The checksum of content as S3 writes it.

    Args:
        data: The content.

    Returns:
        Base64 of the CRC32.
    """
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def as_file(data: memoryview) -> IO[Any]:
    """A buffer as a file for boto3, which makes a file of whatever it gets; but io.BytesIO copies each piece it gives.

    Args:
        data: The content, of single bytes.

    Returns:
        What gives views of it, as good as bytes to whoever hashes and sends them.
    """
    return cast("IO[Any]", _View(data))


def read_within(answer: Mapping[str, Any], limit: int | None) -> bytes | None:
    """Read an answer's body to its end, so that its checksum is compared and its connection can be used again.

    Args:
        answer: The server's.
        limit: The most bytes to accept; None accepts any.

    Returns:
        The content; None if it is larger, of which no more than a byte too much was read, and the rest can be.
    """
    body: StreamingBody = answer["Body"]
    size = cast("int | None", answer.get("ContentLength"))  # an answer in pieces has none
    # In one piece: reading into a buffer of our own was measured to take twice the time.
    data = _read(body, limit + 1) if limit is not None and size is None else b""
    if limit is not None and max(size or 0, len(data)) > limit:
        return None
    return data or body.read()


def read_most(body: StreamingBody, most: int) -> bytes:
    """Read an answer's body, at most so many bytes of it. Only reading on at the end compares length and checksum."""
    data = _read(body, most)
    if len(data) == most:
        body.close()
    return data


def _read(body: StreamingBody, most: int) -> bytes:
    data = body.read(most)
    return data + body.read() if len(data) < most else data


class _View(io.IOBase):
    def __init__(self, data: memoryview) -> None:
        super().__init__()
        self._data = data
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> memoryview:
        end = len(self._data) if size is None or size < 0 else self._at + size
        piece = self._data[self._at : end]
        self._at += len(piece)
        return piece

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = (0, self._at, len(self._data))[whence]
        self._at = min(max(base + offset, 0), len(self._data))
        return self._at

    def tell(self) -> int:
        return self._at
