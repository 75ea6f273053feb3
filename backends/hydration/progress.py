"""What a transfer tells while it runs, and the token that ends it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from backends.cancellation import check

_INTERVAL_S = 0.05  # reports between the first and the last of a phase are at least so far apart


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a transfer stands.

    Attributes:
        phase: "scan", "upload" (reading, hashing and sending), "verify", "commit", "collect"; "download" (fetching,
            verifying and writing), "finish"; "erase".
        bytes_done: Bytes of files dealt with in this phase, whether or not they had to be sent or fetched; those of an
            erasure are what was removed.
        bytes_total: Bytes that the phase has to deal with; 0 where unknown.
        files_done: Files (or objects) dealt with.
        files_total: Files (or objects) to deal with; 0 where unknown.
        elapsed_s: Seconds since the phase began.
    """

    phase: str
    bytes_done: int
    bytes_total: int
    files_done: int
    files_total: int
    elapsed_s: float = 0.0

    @property
    def rate(self) -> float:
        """Bytes per second of this phase so far; 0 at its beginning."""
        return self.bytes_done / self.elapsed_s if self.elapsed_s > 0 else 0.0


class Meter:
    """Counts for one transfer from any of its threads, reports in measure, and stops when the token is set.

    Args:
        report: Called with each `Progress`, never by two threads at once; what it raises fails the transfer.
        cancelled: The caller's token.
    """

    def __init__(self, report: Callable[[Progress], None] | None, cancelled: threading.Event | None) -> None:
        self._report = report
        self._cancelled = cancelled
        self._lock = threading.Lock()
        self._phase, self._bytes, self._files, self._bytes_total, self._files_total = "", 0, 0, 0, 0
        self._began = self._reported = 0.0

    @property
    def cancelled(self) -> threading.Event | None:
        """The caller's token."""
        return self._cancelled

    def quiet(self) -> Meter:
        """A meter with the same token that tells nobody."""
        return Meter(None, self._cancelled)

    def check(self) -> None:
        """End here if the caller wants it.

        Raises:
            TransferCancelled: The token is set.
        """
        check(self._cancelled)

    def phase(self, name: str, *, bytes_total: int = 0, files_total: int = 0) -> None:
        """Begin a phase, with what it has to do where that is known."""
        with self._lock:
            self._phase, self._bytes_total, self._files_total = name, bytes_total, files_total
            self._bytes = self._files = 0
            self._began = time.monotonic()
            self._tell(self._began)

    def add(self, *, bytes_: int = 0, files: int = 0) -> None:
        """Count what has been done."""
        with self._lock:
            self._bytes += bytes_
            self._files += files
            now = time.monotonic()
            complete = self._bytes >= self._bytes_total and self._files >= self._files_total
            if complete or now - self._reported >= _INTERVAL_S:
                self._tell(now)

    def _tell(self, now: float) -> None:
        self._reported = now
        if self._report is not None:
            elapsed = now - self._began
            self._report(Progress(self._phase, self._bytes, self._bytes_total, self._files, self._files_total, elapsed))
