"""Ctrl-C and SIGTERM end a command in good order: the first one is an exception, later ones do not hurry the cleanup."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """A signal asked the command to end. No `KeyboardInterrupt`, which click would turn into an `Abort` of its own.

    Attributes:
        number: the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Interrupts:
    """What becomes of signals within `interruptible`."""

    def __init__(self) -> None:
        self._ignored = False
        self._deferring = False
        self._deferred: int | None = None

    @contextmanager
    def deferred(self) -> Generator[None]:
        """Raise a signal that comes within the block at its end: for what is short and must not be torn apart."""
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False
        if self._deferred is not None:
            self.handle(self._deferred, None)

    def ignore(self) -> None:
        """From now on signals do nothing: the command is tidying up, and is nearly done."""
        self._ignored = True

    def hurry(self) -> None:
        """From now on a signal ends the process at once, as if nobody handled it; to be called after the first."""
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """Raise the first signal."""
        if self._deferring:
            self._deferred = number
        elif not self._ignored:
            self._ignored = True
            raise Interrupted(number)


@contextmanager
def interruptible() -> Generator[Interrupts]:
    """Turn SIGINT and SIGTERM into `Interrupted`, raised in the main thread, until the block ends."""
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield interrupts
        return
    before = {number: signal.signal(number, interrupts.handle) for number in _SIGNALS}
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
