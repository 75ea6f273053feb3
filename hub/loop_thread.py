"""An event loop in a thread of its own, which runs one asynchronous context manager from start to close."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from typing import Any


class LoopThread:
    """Runs a context manager on an event loop in a thread.

    anyio's blocking portal was used first: an exception that a signal handler raises while it starts (Ctrl-C) leaves
    it waiting for a thread that nobody ends.

    Args:
        name: name of the thread.
        content: what is entered on start and left on close.
    """

    def __init__(self, name: str, content: AbstractAsyncContextManager[Any]) -> None:
        self._content = content
        self._entered: Future[None] = Future()
        self._left: Future[None] = Future()
        self._end = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name=name)

    def start(self) -> None:
        """Start the thread and wait until the content is entered.

        Raises:
            BaseException: what entering raised, or a signal handler here; then the content is left and the thread gone.
        """
        try:
            self._thread.start()
            self._entered.result()
        except BaseException:
            self._ask_to_end()
            if self._thread.ident is not None:
                self._thread.join()
            raise

    def close(self) -> None:
        """Leave the content and join the thread.

        Raises:
            BaseException: what leaving raised.
        """
        self._ask_to_end()
        self._thread.join()
        self._left.result()

    def _ask_to_end(self) -> None:
        self._end.set()
        loop, wake = self._loop, self._wake
        if loop is not None and wake is not None and not loop.is_closed():
            loop.call_soon_threadsafe(wake.set)

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits, which raises it
            (self._left if self._entered.done() else self._entered).set_exception(error)
        else:
            self._left.set_result(None)

    async def _main(self) -> None:
        self._loop, self._wake = asyncio.get_running_loop(), asyncio.Event()
        async with self._content:
            self._entered.set_result(None)
            # Looked at after `_wake` was shown: one of the two is seen by whoever asks to end.
            if not self._end.is_set():
                await self._wake.wait()
