"""Messages that an actor tells itself later."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from actors.errors import MailboxFull, WrongThread
from actors.message import Envelope

if TYPE_CHECKING:
    from actors.cell import Cell


class TimerHandle:
    """One message to come."""

    __slots__ = ("_handle", "_timers")

    def __init__(self, timers: Timers) -> None:
        self._timers: Timers | None = timers
        self._handle: asyncio.TimerHandle | None = None

    @property
    def pending(self) -> bool:
        """Whether the message is still to be sent."""
        return self._timers is not None

    def cancel(self) -> None:
        """Forget the message. One that was sent already stays in the mailbox."""
        if self._timers is not None and self._handle is not None:
            self._handle.cancel()
            self._timers.forget(self)
        self._timers = self._handle = None

    def fire(self, cell: Cell, message: object) -> None:
        """Send the message. Called by the loop."""
        if self._timers is not None:
            self._timers.forget(self)
        self._timers = self._handle = None
        envelope = Envelope(message)
        if isinstance(cell.deliver(envelope), MailboxFull):
            cell.system.dead_letter(envelope, cell.name, "full")

    def arm(self, handle: asyncio.TimerHandle) -> None:
        """Take the loop's timer."""
        self._handle = handle


class Timers:
    """The pending timers of one actor."""

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending: dict[TimerHandle, None] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, cell: Cell, delay_s: float, message: object) -> TimerHandle:
        """Send a message to the cell after a delay in seconds.

        Raises:
            WrongThread: Called off the loop's thread.
        """
        if not cell.dispatcher.on_loop():
            raise WrongThread("after()")
        timer = TimerHandle(self)
        timer.arm(cell.dispatcher.loop.call_later(delay_s, timer.fire, cell, message, context=cell.context))
        self._pending[timer] = None
        return timer

    def forget(self, timer: TimerHandle) -> None:
        """Drop a timer that has fired or was cancelled."""
        self._pending.pop(timer, None)

    def cancel_all(self) -> None:
        """Forget every message to come."""
        for timer in tuple(self._pending):
            timer.cancel()
