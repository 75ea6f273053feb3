"""The modules' logs while the hub runs: who reads one and who rotates one wait for each other."""

from __future__ import annotations

import threading

from hub.info import LogChunk
from hub.instance.log_file import LogFile
from hub.layout import Layout


class Logs:
    """Reads and rotates logs. All methods block: call them on worker threads.

    Args:
        layout: where they lie.
        max_bytes: length from which on one is rotated.
    """

    def __init__(self, layout: Layout, max_bytes: int) -> None:
        self._layout = layout
        self._max_bytes = max_bytes
        # One for all: both take milliseconds, for a log is bounded, and so is what is read at one time.
        self._lock = threading.Lock()

    def rotate(self, module_id: str) -> bool:
        """Keep a module's log within bounds; returns whether it was rotated.

        Raises:
            OSError: the disk refused, or the log was erased meanwhile.
        """
        with self._lock:
            return LogFile(self._layout.log(module_id)).rotate(self._max_bytes)

    def read(self, module_id: str, offset: int | None, max_bytes: int, log_id: str = "") -> LogChunk:
        """Read a part of a module's log; arguments as of `LogFile.read`.

        Raises:
            OSError: the disk refused.
        """
        with self._lock:
            chunk = LogFile(self._layout.log(module_id)).read(offset, max_bytes, log_id)
        return LogChunk(module_id, chunk.text, chunk.offset, chunk.next_offset, chunk.size, chunk.log_id)
