"""Worker threads for blocking work, owned by one hub and joined when it ends.

Four pools, and the transfers' own (`transfer_queue`): deleting a large tree takes long; a request to a backend that hangs
takes as long as that; renewals of leases are many, and a start that needs one must not queue behind them; short file work,
on which each start of a process waits, must never queue behind any of them.
anyio's worker threads were weighed: they outlive the hub on its host's loop, and nobody joins them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from backends.cancellation import watching

P = ParamSpec("P")
T = TypeVar("T")

_FILE_WORKERS = 4
_ERASERS = 2
_REQUESTERS = 2
RENEWERS = 8
"""Leases that are renewed at one time. At 50 ms each, a request and its answer twice, that is 160 in a second."""


class Workers:
    """The hub's worker threads."""

    def __init__(self) -> None:
        self._files = ThreadPoolExecutor(_FILE_WORKERS, thread_name_prefix="modhub-files")
        self._erasers = ThreadPoolExecutor(_ERASERS, thread_name_prefix="modhub-erase")
        self._requesters = ThreadPoolExecutor(_REQUESTERS, thread_name_prefix="modhub-request")
        self._renewers = ThreadPoolExecutor(RENEWERS, thread_name_prefix="modhub-lease")

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run short blocking work. When the caller is cancelled, it still ends before this returns."""
        return await finish(self._files.submit(function, *args, **kwargs))

    async def erase(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run the deletion of a tree. When the caller is cancelled, it still ends before this returns."""
        return await finish(self._erasers.submit(function, *args, **kwargs))

    async def request(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Make a single request to the backend, beside the transfers. When the caller is cancelled, as above.

        A request that the store repeats is then not repeated any more.
        """
        return await _request(self._requesters, lambda: function(*args, **kwargs))

    async def renew(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Renew a lease; as `request`, on threads of their own."""
        return await _request(self._renewers, lambda: function(*args, **kwargs))

    def close(self) -> None:
        """Join all threads. Blocks until running work has ended."""
        self._files.shutdown(wait=True)
        self._erasers.shutdown(wait=True)
        self._requesters.shutdown(wait=True)
        self._renewers.shutdown(wait=True)


async def _request(threads: ThreadPoolExecutor, function: Callable[[], T]) -> T:
    cancelled = threading.Event()

    def call() -> T:
        with watching(cancelled):
            return function()

    return await finish(threads.submit(call), cancelled.set)


async def finish(submitted: Future[T], on_cancel: Callable[[], object] = lambda: None) -> T:
    """Await work on a thread; a cancelled caller waits until the thread has ended before the cancellation goes on.

    Args:
        submitted: the work.
        on_cancel: called when the caller is cancelled before the work has ended.

    Returns:
        What the work returned.
    """
    wrapped = asyncio.wrap_future(submitted)
    try:
        return await asyncio.shield(wrapped)
    except asyncio.CancelledError:
        if not wrapped.done():
            on_cancel()
            submitted.cancel()
            while not wrapped.done():
                try:
                    await asyncio.wait([wrapped])
                except asyncio.CancelledError:
                    continue  # it is re-raised below, once
            if not wrapped.cancelled():
                wrapped.exception()  # looked at: it gives way to the cancellation
        raise
