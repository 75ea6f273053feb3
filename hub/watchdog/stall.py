"""A thread that notices an event loop which does not turn, and says where it hangs."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from collections.abc import Callable

Report = Callable[[float, str], None]


class StallWatch:
    """Watches one event loop from outside, since a loop that hangs can't tell.

    Args:
        loop: the loop, which is the one that runs in the calling thread.
        threshold_s: seconds without a turn that are reported, once each time.
        report: told the seconds so far and the stack of the loop's thread; called on the watching thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, threshold_s: float, report: Report) -> None:
        self._loop = loop
        self._threshold_s = threshold_s
        self._report = report
        self._loop_thread = threading.get_ident()
        self._turned_at = time.monotonic()
        self._ended = threading.Event()
        self._beat: asyncio.TimerHandle | None = None
        self._thread = threading.Thread(target=self._watch, name="modhub-stall-watch")

    def start(self) -> None:
        """Begin; on the loop's thread."""
        self._turn()
        self._thread.start()

    def close(self) -> None:
        """End and join the thread; on the loop's thread."""
        if self._beat is not None:
            self._beat.cancel()
        self._ended.set()
        self._thread.join()

    def _turn(self) -> None:
        self._turned_at = time.monotonic()
        self._beat = self._loop.call_later(self._threshold_s / 2, self._turn)

    def _watch(self) -> None:
        reported = 0.0
        while not self._ended.wait(self._threshold_s / 2):
            turned_at = self._turned_at
            stalled_s = time.monotonic() - turned_at - self._threshold_s / 2
            if stalled_s < self._threshold_s or turned_at == reported:
                continue
            reported = turned_at
            frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - the documented way to another thread's stack
            self._report(stalled_s, "".join(traceback.format_stack(frame)) if frame else "")
