"""A splice: two connections joined, so that whatever one end does the other end sees."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable

from hub.gateway.buffers import Buffers

_RESET = struct.pack("ii", 1, 0)  # struct linger: on, 0 s
# How long a client that does not read may keep what a server that has ended still had to say.
_DRAIN_S = 5.0
# How often an end that has sent all it had is looked at: nothing else tells when it is reset after that.
_LOOK_S = 1.0


def reset(connection: socket.socket) -> None:
    """Close a connection so that the other end sees an error and no clean end."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    finally:
        connection.close()


class Direction:
    """One way of a splice. A callback moves what one buffer holds and returns, so that all get their turn.

    Nothing is read while bytes wait to be written: that is the back-pressure.
    """

    __slots__ = ("_buffer", "_buffers", "_end", "_loop", "_source", "_splice", "_start", "_target", "done")

    def __init__(
        self,
        splice: Splice,
        loop: asyncio.AbstractEventLoop,
        buffers: Buffers,
        source: socket.socket,
        target: socket.socket,
    ) -> None:
        self._splice = splice
        self._loop = loop
        self._buffers = buffers
        self._source = source
        self._target = target
        self._buffer: bytearray | None = None  # held only while bytes wait
        self._start = self._end = 0
        self.done = False

    def begin(self) -> None:
        """Move bytes from now on."""
        self._loop.add_reader(self._source, self._on_readable)

    def stop(self) -> None:
        """Move nothing any more; what waits is dropped."""
        if not self.done:
            self.done = True
            self._loop.remove_reader(self._source)
            self._loop.remove_writer(self._target)
            if self._buffer is not None:
                self._buffers.give(self._buffer)
                self._buffer = None

    def _on_readable(self) -> None:
        buffer = self._buffers.take()
        size = -1
        try:
            size = self._source.recv_into(buffer)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._buffers.give(buffer)
            self._splice.abort()
            return
        if size <= 0:
            self._buffers.give(buffer)
            if size == 0:
                self._pass_end_on()
            return
        sent = self._send(memoryview(buffer)[:size])
        if sent is None or sent == size:
            self._buffers.give(buffer)
            return
        self._buffer, self._start, self._end = buffer, sent, size
        self._loop.remove_reader(self._source)
        self._loop.add_writer(self._target, self._on_writable)

    def _on_writable(self) -> None:
        assert self._buffer is not None, "written to without anything to write"
        sent = self._send(memoryview(self._buffer)[self._start : self._end])
        if sent is None:
            return
        self._start += sent
        if self._start == self._end:
            self._buffers.give(self._buffer)
            self._buffer = None
            self._loop.remove_writer(self._target)
            self._loop.add_reader(self._source, self._on_readable)

    def _send(self, data: memoryview) -> int | None:
        """Send what the kernel takes; `None` = the other end is gone, and this direction with it."""
        try:
            return self._target.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            # What that end had sent before is still there to be read, and an answer may be among it.
            self._splice.target_gone(self)
            return None

    def _pass_end_on(self) -> None:
        self.stop()
        try:
            self._target.shutdown(socket.SHUT_WR)
        except OSError:
            self._splice.target_gone(self)
            return
        self._splice.end_passed_on(self._source)


class Splice:
    """Two connected, non-blocking sockets, joined until both ends have said all they have to, or one of them breaks.

    Everything here happens on one event loop.

    Args:
        client: the connection that came in.
        server: the connection to the instance.
        buffers: of the loop's thread.
        on_end: called once; then both are closed.
    """

    __slots__ = ("_down", "_ending", "_ends", "_failed", "_loop", "_on_end", "_timer", "_up")

    def __init__(
        self, client: socket.socket, server: socket.socket, buffers: Buffers, on_end: Callable[[], object]
    ) -> None:
        self._ends = (client, server)
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._up = Direction(self, self._loop, buffers, client, server)
        self._down = Direction(self, self._loop, buffers, server, client)
        self._ending = False
        self._failed = False
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Move bytes from now on."""
        self._up.begin()
        self._down.begin()

    def abort(self) -> None:
        """Reset both ends."""
        self._failed = True
        self._close()

    def drain(self) -> None:
        """End it: the server has ended. What it had sent still reaches the client, if that reads."""
        self._up.stop()
        self._end_within()

    def target_gone(self, direction: Direction) -> None:
        """Take note that a direction's target can't be written to any more."""
        self._failed = True
        direction.stop()
        self._end_within()

    def end_passed_on(self, source: socket.socket) -> None:
        """Take note that an end has sent all it had, and that the other end was told."""
        if self._up.done and self._down.done:
            self._close()
        elif self._timer is None:
            self._timer = self._loop.call_later(_LOOK_S, self._look, source)

    def _look(self, source: socket.socket) -> None:
        if source.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.abort()
        else:
            self._timer = self._loop.call_later(_LOOK_S, self._look, source)

    def _end_within(self) -> None:
        if self._up.done and self._down.done:
            self._close()
        elif not self._ending:
            self._ending = True
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_later(_DRAIN_S, self.abort)

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._up.stop()
        self._down.stop()
        for connection in self._ends:
            if self._failed:
                reset(connection)
            else:
                connection.close()
        self._on_end()
