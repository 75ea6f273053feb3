"""Buffers for bytes on their way: large while few wait, small when many do."""

from __future__ import annotations

LARGE = 1024 * 1024
"""As much as one turn moves. Measured: with 64 KiB half as many bytes get through, with more no more."""
SMALL = 64 * 1024
_MAX_LARGE = 64
_MAX_IDLE = 4


class Buffers:
    """Lends buffers to one thread. Together they hold at most 64 MiB, and 64 KiB for each direction beyond these."""

    def __init__(self) -> None:
        self._idle: list[bytearray] = []
        self._lent = 0

    def take(self) -> bytearray:
        """Lend a buffer; give it back with `give`."""
        if self._lent >= _MAX_LARGE:
            return bytearray(SMALL)
        self._lent += 1
        return self._idle.pop() if self._idle else bytearray(LARGE)

    def give(self, buffer: bytearray) -> None:
        """Take a buffer back."""
        if len(buffer) == LARGE:
            self._lent -= 1
            if len(self._idle) < _MAX_IDLE:
                self._idle.append(buffer)
