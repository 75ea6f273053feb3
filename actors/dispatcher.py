"""The way on to the event loop from any thread, and the one lock that orders everything that races with it."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable


class Dispatcher:
    """Posts callbacks on to one loop with at most one wake-up pending.

    `call_soon_threadsafe` writes to a pipe each time: at one call for each message that system call would dominate
    what an outside thread pays for a tell.

    Attributes:
        loop: The loop that runs the actors.
        thread_id: The thread it runs in.
        lock: Held for every check-then-act on a mailbox. One for the system, not one for each actor: it is held for
            less than a microsecond, under the interpreter's own lock. Re-entrant, since a finalizer may send a message
            while its thread holds the lock.
    """

    __slots__ = ("_ingress", "_wake_pending", "lock", "loop", "thread_id")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.thread_id = threading.get_ident()
        self.lock = threading.RLock()
        self._ingress: deque[Callable[[], object]] = deque()
        self._wake_pending = False

    def on_loop(self) -> bool:
        """Tell whether the calling thread is the loop's."""
        return threading.get_ident() == self.thread_id

    def post(self, callback: Callable[[], object]) -> bool:
        """Run a callback on the loop soon; from any thread.

        Args:
            callback: Called in the loop's thread. It must not raise.

        Returns:
            False when the loop is closed and the callback will not run.
        """
        with self.lock:
            self._ingress.append(callback)
            if not self._wake_pending:
                try:
                    self.loop.call_soon_threadsafe(self._wake)
                except RuntimeError:  # the loop was closed by its host, without leaving the system first
                    self._ingress.clear()
                    return False
                self._wake_pending = True
            return True

    def _wake(self) -> None:
        with self.lock:
            self._wake_pending = False
            callbacks, self._ingress = self._ingress, deque()
        try:
            while callbacks:
                callbacks.popleft()()
        finally:
            for callback in callbacks:  # one let a KeyboardInterrupt out: it must not cost the others their turn
                self.post(callback)
