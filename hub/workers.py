"""Worker threads for blocking work, owned by one hub and joined when it ends.

Three pools: transfers may take minutes and are bounded for the whole hub; deleting a large tree takes long, too; short
file work, on which each start of a process waits, must never queue behind either.
anyio's worker threads were weighed: they outlive the hub on its host's loop, and nobody joins them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from backends import TransferCancelled
from hub.operation import Operation

P = ParamSpec("P")
T = TypeVar("T")

_FILE_WORKERS = 4
_ERASERS = 2


class Workers:
    """The hub's worker threads."""

    def __init__(self, *, transfers: int) -> None:
        self._files = ThreadPoolExecutor(_FILE_WORKERS, thread_name_prefix="modhub-files")
        self._erasers = ThreadPoolExecutor(_ERASERS, thread_name_prefix="modhub-erase")
        self._transfers = ThreadPoolExecutor(transfers, thread_name_prefix="modhub-transfer")

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run short blocking work. When the caller is cancelled, it still ends before this returns."""
        return await _finish(self._files.submit(function, *args, **kwargs))

    async def erase(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run the deletion of a tree. When the caller is cancelled, it still ends before this returns."""
        return await _finish(self._erasers.submit(function, *args, **kwargs))

    async def transfer(self, operation: Operation, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a transfer, which looks at `operation.cancelled`; it has ended when this returns, however it returns.

        Raises:
            TransferCancelled: the operation was cancelled, also before a worker was free.
        """
        if operation.cancelled.is_set():
            raise TransferCancelled("cancelled before it began")
        submitted = self._transfers.submit(function, *args, **kwargs)
        operation.withdraw = submitted.cancel
        try:
            return await _finish(submitted, operation.cancelled.set)
        except asyncio.CancelledError:
            if submitted.cancelled() and operation.cancel_reason:
                raise TransferCancelled("cancelled before it began") from None
            raise
        finally:
            operation.withdraw = None

    def close(self) -> None:
        """Join all threads. Blocks until running work has ended."""
        self._files.shutdown(wait=True)
        self._erasers.shutdown(wait=True)
        self._transfers.shutdown(wait=True)


async def _finish(submitted: Future[T], on_cancel: Callable[[], object] = lambda: None) -> T:
    """Await work on a thread; a cancelled caller waits until the thread has ended before the cancellation goes on."""
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
