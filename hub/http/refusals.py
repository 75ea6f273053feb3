"""The log of what was refused: enough to see who tries what, without letting them fill the disk."""

from __future__ import annotations

import time
from collections.abc import Callable

from hub.events import EventBus

_BURST = 20
_PERIOD_S = 10.0
_MAX_PATH = 200


class RefusalLog:
    """Writes `http.refused`: at most 20 in 10 seconds; the next one after that counts those that were left out.

    Args:
        bus: what writes the log.
        clock: tells the time in seconds.
    """

    def __init__(self, bus: EventBus, clock: Callable[[], float] = time.monotonic) -> None:
        self._bus = bus
        self._clock = clock
        self._began = clock()
        self._written = 0
        self._suppressed = 0

    def write(self, *, method: str, path: str, status: int, code: str, client: str, asked_by: str | None) -> None:
        """Log a refusal.

        Args:
            method: the request's method.
            path: its path, without the query.
            status: status of the answer.
            code: the problem's code.
            client: where it comes from.
            asked_by: whose token it has, if a valid one.
        """
        now = self._clock()
        if now - self._began >= _PERIOD_S:
            self._began, self._written = now, 0
        if self._written >= _BURST:
            self._suppressed += 1
            return
        self._written += 1
        suppressed, self._suppressed = self._suppressed, 0
        self._bus.publish(
            "http.refused",
            method=method,
            path=path[:_MAX_PATH],
            status=status,
            code=code,
            client=client,
            asked_by=asked_by,
            suppressed=suppressed,
        )
