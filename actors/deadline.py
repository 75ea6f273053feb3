"""Deadlines of asks: one heap and one loop timer for a whole system. A timer for each ask costs more than the ask."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from itertools import count

from actors.message import QUEUED, STARTED, Envelope

_COMPACT_FROM = 64  # below this many, dead entries aren't worth a sweep


class DeadlineHeap:
    """Calls `expire` for each envelope that is still open at its deadline. Used on the loop's thread only."""

    __slots__ = ("_answered", "_expire", "_heap", "_loop", "_serial", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, expire: Callable[[Envelope], object]) -> None:
        self._loop = loop
        self._expire = expire
        self._heap: list[tuple[float, int, Envelope]] = []
        self._serial = count()
        self._answered = 0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, envelope: Envelope) -> None:
        """Watch an envelope that has a deadline."""
        if envelope.deadline is None or envelope.state not in (QUEUED, STARTED):
            return
        heapq.heappush(self._heap, (envelope.deadline, next(self._serial), envelope))
        if self._timer is None or envelope.deadline < self._timer.when():
            self._arm()

    def answered(self) -> None:
        """Count an envelope that needs no watching any more.

        It stays in the heap until its deadline, or until such entries are the majority: long deadlines on fast asks
        would otherwise fill the memory.
        """
        self._answered += 1
        if self._answered > _COMPACT_FROM and self._answered * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].state in (QUEUED, STARTED)]
            heapq.heapify(self._heap)
            self._answered = 0
            if not self._heap:
                self.close()

    def close(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self.close()
        if self._heap:
            self._timer = self._loop.call_at(self._heap[0][0], self._ring)

    def _ring(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._heap and self._heap[0][0] <= now:
            envelope = heapq.heappop(self._heap)[2]
            if envelope.state in (QUEUED, STARTED):
                self._expire(envelope)
            elif self._answered:
                self._answered -= 1
        self._arm()
