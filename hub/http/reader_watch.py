"""Whether a client reads what it is sent."""

from __future__ import annotations

import asyncio

from hub.http.encrypted import unsent


class ReaderWatch:
    """Ends a connection at once when its client has read nothing for a while of what waits for it.

    Args:
        loop: the running loop.
        timeout_s: seconds between two looks.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout_s: float) -> None:
        self._loop = loop
        self._timeout_s = timeout_s
        self._timer: asyncio.TimerHandle | None = None

    def start(self, transport: asyncio.Transport) -> None:
        """Look from now on."""
        self.stop()
        self._timer = self._loop.call_later(self._timeout_s, self._look, transport, unsent(transport))

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, transport: asyncio.Transport, before: int) -> None:
        left = unsent(transport)
        if left and left >= before:
            transport.abort()
        else:
            self.start(transport)
