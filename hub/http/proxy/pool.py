"""Connections to instances, kept for a moment.

Not for longer: an established connection on an instance's port counts as activity, and idle ones of ours would keep the
module from ever being idle.
"""

from __future__ import annotations

import asyncio
from collections import deque

from hub.http.proxy.connection import InstanceConnection
from hub.http.proxy.errors import InstanceUnreachable
from hub.http.proxy.resolve import Live, Resolver

IDLE_S = 0.75
_TICK_S = 0.2
_CONNECT_S = 5.0
_MAX_IDLE_EACH = 32
_MAX_IDLE = 256
# One for all: what is read is taken at once. Asked for bytes, a transport would get as many from the system and give
# them back at each read, which costs more than the read itself.
_BUFFER = 256 * 1024


class Pool:
    """Keeps connections by the process that they lead to, and watches those in use.

    The number in use is bounded by that of the server's own connections; of idle ones there are few.

    Args:
        resolver: asked after connecting.
        timeout_s: seconds that an instance may be silent.
        body_timeout_s: seconds that a client may pause in a request's body.
    """

    def __init__(self, resolver: Resolver, timeout_s: float, body_timeout_s: float) -> None:
        self._resolver = resolver
        self._timeout_s = timeout_s
        self._body_timeout_s = body_timeout_s
        self._idle: dict[Live, deque[InstanceConnection]] = {}
        self._resting = 0
        self._buffer = memoryview(bytearray(_BUFFER))
        self._busy: set[InstanceConnection] = set()
        self._tick_s = min(_TICK_S, timeout_s / 4, body_timeout_s / 4)
        self._ticker: asyncio.TimerHandle | None = None

    def reuse(self, live: Live) -> InstanceConnection | None:
        """Take an idle connection to a process, the one used last; it may turn out to be closed."""
        waiting = self._idle.get(live)
        while waiting:
            connection = waiting.pop()
            self._resting -= 1
            if not waiting:
                del self._idle[live]
            if not connection.closed:
                self._busy.add(connection)
                return connection
        return None

    async def connect(self, live: Live) -> InstanceConnection:
        """Open a connection to a process.

        The port may have changed hands between the look-up and the connect. So the hub is asked again once it is
        established: if the same process still serves the module, it held the port all the time, and the connection
        leads to it.

        Raises:
            InstanceUnreachable: it takes none, or serves the module no more.
        """
        loop = asyncio.get_running_loop()
        authority = live.authority
        try:
            async with asyncio.timeout(_CONNECT_S):
                _, connection = await loop.create_connection(
                    lambda: InstanceConnection(authority, loop, self._buffer), live.host, live.port
                )
        except OSError as error:  # TimeoutError is one
            reason = error.strerror or f"no answer within {_CONNECT_S:g} s"
            raise InstanceUnreachable(f"module {live.module_id!r} takes no connection: {reason}") from error
        try:
            same = await self._resolver.serves(live)
        except BaseException:
            connection.close()
            raise
        if not same:
            connection.close()
            raise InstanceUnreachable(f"module {live.module_id!r} went away")
        self._busy.add(connection)
        if self._ticker is None:
            self._ticker = loop.call_later(self._tick_s, self._tick, loop)
        return connection

    def give_back(self, live: Live, connection: InstanceConnection) -> None:
        """Take back a connection after a request; closes it unless another one may follow."""
        self._busy.discard(connection)
        if connection.reusable:
            self._keep(live, connection)
        else:
            connection.close()

    def settled(self, live: Live, connection: InstanceConnection) -> None:
        """Take back a connection whose answer is known to be complete, and such that another one may follow."""
        self._busy.discard(connection)
        if connection.closed:
            return
        self._keep(live, connection)

    def _keep(self, live: Live, connection: InstanceConnection) -> None:
        waiting = self._idle.setdefault(live, deque())
        if len(waiting) >= _MAX_IDLE_EACH or self._resting >= _MAX_IDLE:
            connection.close()
            return
        connection.rest()
        waiting.append(connection)
        self._resting += 1

    def close(self) -> None:
        """End all connections, those in use too."""
        for connection in [*self._busy, *(c for waiting in self._idle.values() for c in waiting)]:
            connection.close()
        self._idle.clear()
        self._resting = 0
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in tuple(self._busy):
            connection.check(now, self._timeout_s, self._body_timeout_s)
        for live, waiting in tuple(self._idle.items()):
            while waiting and (waiting[0].closed or now - waiting[0].idle_since >= IDLE_S):
                waiting.popleft().close()
                self._resting -= 1
            if not waiting:
                del self._idle[live]
        # Nothing turns the loop while there is nothing to watch.
        watched = self._busy or self._idle
        self._ticker = loop.call_later(self._tick_s, self._tick, loop) if watched else None
