"""The data plane: all splices, on an event loop in a thread of their own, so that no transfer holds up the hub's loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Self

from hub.gateway.buffers import Buffers
from hub.gateway.splice import Splice


class DataPlane:
    """Runs splices; an asynchronous context manager for a `LoopThread`.

    Its methods are called on other threads than its own, while it runs.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop
        self._buffers = Buffers()
        self._splices: dict[int, Splice] = {}

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del kind, error, trace
        for splice in list(self._splices.values()):
            splice.abort()

    def begin(self, number: int, client: socket.socket, server: socket.socket, on_end: Callable[[], object]) -> None:
        """Join two connections, which are the plane's from now on.

        Args:
            number: identifies the splice.
            client: the connection that came in.
            server: the connection to the instance.
            on_end: called once on the plane's thread when both are closed.
        """
        self._loop.call_soon_threadsafe(self._begin, number, client, server, on_end)

    def drain(self, number: int) -> None:
        """End a splice whose server has ended; see `Splice.drain`. Nothing happens where it is over."""
        self._loop.call_soon_threadsafe(self._apply, number, Splice.drain)

    def abort(self, number: int) -> None:
        """Reset both ends of a splice. Nothing happens where it is over."""
        self._loop.call_soon_threadsafe(self._apply, number, Splice.abort)

    def _begin(self, number: int, client: socket.socket, server: socket.socket, on_end: Callable[[], object]) -> None:
        def ended() -> None:
            del self._splices[number]
            on_end()

        splice = self._splices[number] = Splice(client, server, self._buffers, ended)
        splice.begin()

    def _apply(self, number: int, action: Callable[[Splice], None]) -> None:
        if (found := self._splices.get(number)) is not None:
            action(found)
