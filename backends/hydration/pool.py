"""Threads for the work of transfers: bounded for all that share them, fair between them, each transfer bounded too.

A transfer has a *lane*. Threads take one call from each lane in turn, so a transfer of a million calls delays another
one by one call of each thread, not by its length. A lane never queues more than it may run: whoever produces calls
waits, so the memory that calls hold is bounded by the lane's limit, whatever the size of the module.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import ParamSpec, Self

from backends.cancellation import watching
from backends.errors import TransferCancelled

P = ParamSpec("P")

WORKERS = 4
"""More threads were measured to be slower on few cores: a request costs CPU on both ends."""

_LOOK_S = 0.1  # a producer that waits for its turn looks at its token so often


class TransferPool:
    """Threads that many transfers share, round-robin.

    Args:
        threads: How many at most; they are started when they are needed.
    """

    def __init__(self, threads: int = 8) -> None:
        self._threads = _Threads(threads)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the threads, after the calls that are queued; transfers begun later fail with RuntimeError."""
        self._threads.close()

    def lane(self, limit: int, cancelled: threading.Event | None = None) -> Lane:
        """A transfer's share of the pool, to be used as a context.

        Args:
            limit: How many calls are queued or running at most.
            cancelled: The transfer's token; pauses in its calls end with it.
        """
        return Lane(self._threads, limit, cancelled)


class Lane:
    """One transfer's calls; the first failure fails the whole.

    Args:
        threads: Run them.
        limit: How many are queued or running at most.
        cancelled: The transfer's token.
    """

    def __init__(self, threads: _Threads, limit: int, cancelled: threading.Event | None) -> None:
        self._threads = threads
        self._limit = limit
        self.cancelled = cancelled
        # The rest is the threads', under their lock.
        self.queued: deque[Callable[[], None]] = deque()
        self.running = 0
        self.failure: BaseException | None = None
        self.changed = threading.Condition(threads.lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drop what is queued and wait for what runs: nothing of the transfer is under way afterwards."""
        with self.changed:
            self._threads.drop(self)
            while self.running:
                self.changed.wait()

    def submit(self, call: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Queue a call, once the lane has room for it.

        Raises:
            TransferCancelled: The token was set while it waited.
            BaseException: An earlier call's failure; this call is not run.
        """
        with self.changed:
            self._wait_until_below(self._limit)
            self._threads.enqueue(self, partial(call, *args, **kwargs))

    def drain(self) -> None:
        """Wait until every call has ended.

        Raises:
            TransferCancelled: The token was set while it waited.
            BaseException: The first failure of any call.
        """
        with self.changed:
            self._wait_until_below(1)

    def _wait_until_below(self, count: int) -> None:
        while self.failure is None and len(self.queued) + self.running >= count:
            # The lane's calls look at the token themselves, but they may be waiting behind others' long requests.
            if not self.changed.wait(_LOOK_S) and self.cancelled is not None and self.cancelled.is_set():
                raise TransferCancelled("the transfer was cancelled")
        if self.failure is not None:
            raise self.failure


class _Threads:
    """The threads, and whose turn it is. One lock for them and all lanes."""

    def __init__(self, limit: int) -> None:
        self.lock = threading.Lock()
        self._limit = limit
        self._work = threading.Condition(self.lock)
        self._ready: deque[Lane] = deque()  # each lane with queued calls once, in the order of their turns
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._closed = False

    def close(self) -> None:
        with self.lock:
            self._closed = True
            self._work.notify_all()
            threads = list(self._threads)
        for thread in threads:
            thread.join()

    def enqueue(self, lane: Lane, call: Callable[[], None]) -> None:
        """Queue a call; the lock is held."""
        if self._closed:
            raise RuntimeError("the transfer pool is closed")
        lane.queued.append(call)
        if len(lane.queued) == 1:
            self._ready.append(lane)
        if self._idle:
            self._idle -= 1  # here and not when it wakes, or the next call would count on the same thread
            self._work.notify()
        elif len(self._threads) < self._limit:
            # Daemons: a host that forgets to close the pool can still exit. Transfers wait for their calls anyway.
            thread = threading.Thread(target=self._serve, name=f"modhub-transfer-{len(self._threads)}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def drop(self, lane: Lane) -> None:
        """Forget a lane's queued calls; the lock is held."""
        if lane.queued:
            lane.queued.clear()
            self._ready.remove(lane)

    def _serve(self) -> None:
        while True:
            with self.lock:
                while not self._ready:
                    if self._closed:
                        return
                    self._idle += 1
                    self._work.wait()
                lane = self._ready.popleft()
                call = lane.queued.popleft()
                if lane.queued:
                    self._ready.append(lane)
                lane.running += 1
            failure: BaseException | None = None
            try:
                if lane.failure is None:
                    with watching(lane.cancelled):
                        call()
            except BaseException as error:  # noqa: BLE001  # handed to the transfer's own thread, whatever it is
                failure = error
            del call  # what it holds must be free before the producer is let in
            with self.lock:
                lane.failure = lane.failure or failure
                lane.running -= 1
                lane.changed.notify_all()
            del lane, failure
