"""Values on their way in and out. Of each, at most one piece is in memory."""

from __future__ import annotations

TYPE_CHECKING = False  # as typing's, without importing it
if TYPE_CHECKING:
    from .blobs import Blob, BlobStore

PIECE = 256 * 1024


class Upload:
    """A value on its way in. At most one piece of it is held in memory."""

    __slots__ = ("_blobs", "buffer", "pieces", "size", "value_id")

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self.buffer = bytearray()
        self.pieces = 0
        self.size = 0
        self.value_id: int | None = None

    def write(self, data: bytes | bytearray) -> None:
        """Append."""
        self.size += len(data)
        while data:
            if len(self.buffer) == PIECE:
                self._blobs.spill(self)
                self.pieces += 1
                self.buffer = bytearray()
            room = PIECE - len(self.buffer)
            self.buffer += data[:room]
            data = data[room:]


class Reader:
    """Bytes of a value on their way out, which stay readable until `close`."""

    __slots__ = ("_blob", "_blobs", "_left", "_open", "_start")

    def __init__(self, blobs: BlobStore, blob: Blob, start: int, length: int) -> None:
        self._blobs = blobs
        self._blob = blob
        self._start = start
        self._left = length
        self._open = True
        blobs.pin(blob)

    def next_piece(self) -> bytes:
        """The next bytes, at most a piece of them; empty at the end."""
        if not self._left:
            return b""
        number, offset = divmod(self._start, PIECE)
        data = self._blobs.piece(self._blob, number)[offset : offset + self._left]
        self._start += len(data)
        self._left -= len(data)
        return data

    def close(self) -> None:
        """No more of it is wanted. May be called twice."""
        if self._open:
            self._open = False
            self._blobs.unpin(self._blob)
