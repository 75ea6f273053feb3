"""What the connections of a server share."""

from __future__ import annotations

from uvicorn.server import ServerState

_BUFFER = 256 * 1024


class Crowd(ServerState):
    """What the connections of a server have in common.

    Attributes:
        ending: whether those that still come are turned away.
        buffer: into which they read: one for all, since what is read is taken at once. Asked for bytes, a transport
            would get as many from the system and give them back at each read, which costs more than the read itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ending = False
        self.buffer = memoryview(bytearray(_BUFFER))
        self._encoded: tuple[list[tuple[bytes, bytes]], bytes] = ([], b"")

    def common_fields(self) -> bytes:
        """Return the lines that stand in every answer."""
        if self.default_headers is not self._encoded[0]:
            lines = b"".join(b"%b: %b\r\n" % header for header in self.default_headers)
            self._encoded = self.default_headers, lines
        return self._encoded[1]
