"""Writes a log on a thread of its own: whoever logs, above all the event loop, never waits for the log's reader.

A pager, a terminal stopped by Ctrl-S or a stuck log collector takes nothing; written from the loop, a line would then keep
all modules waiting. The standard library's handlers for this have no bound, or lose without a word.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from contextlib import suppress

from hub.events import EventBus

MAX_WAITING = 100_000
_CLOSE_TIMEOUT_S = 2.0


class LogWriter(logging.Handler):
    """Writes records in their order, one a line. What comes when too many wait is dropped, and how many were is logged.

    Args:
        descriptor: where to. Not a stream: what waits in a write holds the stream's lock, which the interpreter wants when
            it ends.
        limit: how many records may wait.
    """

    def __init__(self, descriptor: int, limit: int = MAX_WAITING) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._waiting: queue.Queue[logging.LogRecord | None] = queue.Queue(limit)
        self._dropped = 0
        self._closed = False
        # A daemon, since a write may never return, and the process is to end all the same.
        self._thread = threading.Thread(target=self._run, name="modhub-log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record."""
        try:
            self._waiting.put_nowait(record)
        except queue.Full:
            self._dropped += 1  # by one thread at a time: it holds the handler's lock

    def close(self) -> None:
        """Write what waits, and end; a reader who takes nothing is not waited for. Idempotent."""
        if self._closed:
            return
        self._closed = True
        super().close()
        with suppress(queue.Full):
            self._waiting.put(None, timeout=_CLOSE_TIMEOUT_S)
            self._thread.join(_CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        while (record := self._waiting.get()) is not None:
            try:
                line = self.format(record) + "\n"
            except Exception:  # noqa: BLE001 - one that can't be written is no reason to write no others
                self.handleError(record)
                continue
            left = line.encode(errors="backslashreplace")
            with suppress(OSError):  # a log that nobody reads any more is no reason to end
                while left:
                    left = left[os.write(self._descriptor, left) :]
            if self._dropped and self._waiting.empty():
                self._tell_dropped()

    def _tell_dropped(self) -> None:
        self.acquire()
        dropped, self._dropped = self._dropped, 0
        self.release()
        EventBus().publish_from_thread("hub.log_dropped", records=dropped)
