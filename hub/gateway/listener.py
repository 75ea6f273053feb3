"""A listener: takes the connections to one module's port."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable

_PER_TURN = 64  # connections taken before others get their turn
_PAUSE_S = 1.0
# No descriptor or no memory is left: the connection waits in the kernel's queue, and trying at once would only spin.
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Listener:
    """Takes connections until it is closed. Lives on the loop.

    Args:
        listening: the socket, the listener's from now on.
        on_connection: called with each connection.
        on_exhausted: called when one can't be taken; it is tried again a second later.
    """

    def __init__(
        self,
        listening: socket.socket,
        on_connection: Callable[[socket.socket], None],
        on_exhausted: Callable[[OSError], None],
    ) -> None:
        self._socket = listening
        self._on_connection = on_connection
        self._on_exhausted = on_exhausted
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self.port: int = listening.getsockname()[1]
        self._loop.add_reader(listening, self._accept)

    def close(self) -> None:
        """Take none any more; the kernel resets those that nobody took."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _accept(self) -> None:
        for _ in range(_PER_TURN):
            try:
                connection, _address = self._socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._loop.remove_reader(self._socket)
                    self._pause = self._loop.call_later(_PAUSE_S, self._resume)
                    self._on_exhausted(error)
                    return
                continue  # the client went away before it was taken
            connection.setblocking(False)
            self._on_connection(connection)

    def _resume(self) -> None:
        self._pause = None
        self._loop.add_reader(self._socket, self._accept)
