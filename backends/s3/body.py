"""Content on its way to the server: its checksum, and a file over memory that copies nothing."""

from __future__ import annotations

import base64
import io
import zlib
from typing import IO, Any, cast


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
