"""A few threads for requests to a store: bounded, and always ended before the transfer returns."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import ParamSpec, Self

P = ParamSpec("P")

WORKERS = 4
"""More threads were measured to be slower on few cores: a request costs CPU on both ends."""


class Pool:
    """Runs calls on a bounded number of threads; the first failure fails the whole.

    At most `workers` calls are running or waiting, so at most so many buffers are alive besides the producer's own.

    Args:
        workers: How many threads.
    """

    def __init__(self, workers: int) -> None:
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="modhub-transfer")
        self._slots = threading.Semaphore(workers)
        self._lock = threading.Lock()
        self._running: set[Future[None]] = set()
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)

    def submit(self, call: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Run a call, once a thread is free for it.

        Raises:
            BaseException: An earlier call's failure; this call is not run.
        """
        self._slots.acquire()  # released by the call's end, not here
        try:
            self._raise()
            future = self._executor.submit(self._run, partial(call, *args, **kwargs))
        except BaseException:
            self._slots.release()
            raise
        with self._lock:
            self._running.add(future)
        future.add_done_callback(self._done)

    def drain(self) -> None:
        """Wait until every call has ended.

        Raises:
            BaseException: The first failure of any call.
        """
        while True:
            with self._lock:
                pending = next(iter(self._running), None)
            if pending is None:
                break
            pending.exception()
            with self._lock:
                self._running.discard(pending)
        self._raise()

    def _run(self, call: Callable[[], None]) -> None:
        try:
            if self._failure is None:
                call()
        except BaseException as error:  # noqa: BLE001  # handed to the transfer's own thread, whatever it is
            with self._lock:
                self._failure = self._failure or error
        finally:
            self._slots.release()

    def _done(self, future: Future[None]) -> None:
        with self._lock:
            self._running.discard(future)

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure
