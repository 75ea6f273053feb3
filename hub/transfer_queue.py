"""Transfers of all modules, on a bounded number of driver threads; who is next is decided in `lanes`.

Everything here but the work itself happens on the loop, so nothing needs a lock.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from bisect import insort
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

from backends import Progress, TransferCancelled
from backends.cancellation import watching
from hub.lanes import Lanes, choose_next, is_long, must_yield
from hub.operation import Operation
from hub.workers import finish

T = TypeVar("T")


class Turn:
    """One turn of a transfer: from its place in the queue to the end of its work on a thread.

    Attributes:
        cancelled: the token that ends the work; its operation's word, or its slot is wanted back.
        long: whether it is known to be long.
        yielding: whether it is to begin again later, for want of a slot.
    """

    def __init__(self, queue: TransferQueue, operation: Operation, place: int, *, long: bool) -> None:
        self.cancelled = threading.Event()
        self.long = long
        self.yielding = False
        self.place = place
        self.module_id = operation.module_id
        self._loop = asyncio.get_running_loop()
        self.admitted: asyncio.Future[None] = self._loop.create_future()
        self._queue = queue
        self._operation = operation
        self._told = long

    def on_progress(self, progress: Progress) -> None:
        """Take the transfer's progress; called on its threads, never on two at once."""
        self._operation.on_progress(progress)
        if not self._told and is_long(progress.bytes_done, progress.bytes_total):
            self._told = True
            self._loop.call_soon_threadsafe(self._queue.take_long, self)

    def withdraw(self) -> None:
        """End it: at once while it waits, else as soon as its threads notice."""
        self.cancelled.set()
        if not self.admitted.done():
            self.admitted.set_exception(TransferCancelled("cancelled before it began"))


class TransferQueue:
    """The hub's driver threads, and who waits for one.

    Args:
        slots: transfers at a time at the most; each holds a pack and a chunk in memory, 16 MiB or less.
        around: entered on the loop around each turn's work: what it learns is known before the next turn begins.
    """

    def __init__(self, slots: int, *, around: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        self._lanes = Lanes(slots)
        self._around = around
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="modhub-transfer")
        self._waiting: list[Turn] = []
        self._running: list[Turn] = []
        self._places = itertools.count()

    async def run(self, operation: Operation, work: Callable[[Turn], T]) -> T:
        """Run a transfer when it is its turn; its threads have ended when this returns, however it returns.

        Args:
            operation: whose it is; cancelling it ends the transfer, also before a thread was free.
            work: the transfer, which looks at `Turn.cancelled`. It may be called again after it was ended for want of
                a slot, so it must leave nothing behind then.

        Returns:
            What the work returned.

        Raises:
            TransferCancelled: the operation was cancelled.
        """
        place, long = next(self._places), False
        while True:
            if operation.cancelled.is_set():
                raise TransferCancelled("cancelled before it began")
            turn = Turn(self, operation, place, long=long)
            insort(self._waiting, turn, key=lambda waiting: waiting.place)
            operation.withdraw = turn.withdraw
            try:
                self._admit()
                await turn.admitted
                with self._around():
                    return await finish(self._threads.submit(_drive, work, turn), turn.cancelled.set)
            except TransferCancelled:
                if not turn.yielding or operation.cancelled.is_set():
                    raise
                long = True  # it keeps its place, but waits for a slot that long ones may have
            finally:
                operation.withdraw = None
                self._leave(turn)

    def take_long(self, turn: Turn) -> None:
        """Take note that a running transfer is long; it yields where there are too many of them."""
        if turn not in self._running:
            return
        beside = sum(other.long for other in self._running if other is not turn)
        turn.long = True
        if must_yield(self._lanes, beside):
            turn.yielding = True
            turn.cancelled.set()

    def refuse_waiting(self, error: Callable[[str], Exception]) -> None:
        """End all that wait, with an error for each module: what they wait for would fail, slowly."""
        for turn in self._waiting:
            if not turn.admitted.done():
                turn.admitted.set_exception(error(turn.module_id))

    def close(self) -> None:
        """Join the threads. Blocks until running transfers have ended."""
        self._threads.shutdown(wait=True)

    def _admit(self) -> None:
        while True:
            seen: list[Turn] = []
            chosen = choose_next(self._lanes, [turn.long for turn in self._running], self._look(seen))
            if chosen is None:
                return
            turn = seen[chosen]
            self._waiting.remove(turn)
            self._running.append(turn)
            turn.admitted.set_result(None)

    def _look(self, seen: list[Turn]) -> Iterator[bool]:
        # Thousands may wait, and mostly the first is the next. Who was withdrawn is on his way out.
        for turn in self._waiting:
            if not turn.admitted.done():
                seen.append(turn)
                yield turn.long

    def _leave(self, turn: Turn) -> None:
        if turn.admitted.done() and not turn.admitted.cancelled():
            turn.admitted.exception()  # looked at: a caller that was cancelled meanwhile never did
        turns = self._running if turn in self._running else self._waiting
        if turn in turns:
            turns.remove(turn)
        self._admit()


def _drive(work: Callable[[Turn], T], turn: Turn) -> T:
    # Requests that the work makes on this very thread, such as for the head, pause and end by the token as well.
    with watching(turn.cancelled):
        return work(turn)
