"""Calls on a few threads at once, with their results in the order of the calls, and never many of them waiting."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from backends.cancellation import check, watching

T = TypeVar("T")
R = TypeVar("R")


def in_order(
    call: Callable[[T], R], items: Iterable[T], *, threads: int, cancelled: threading.Event | None = None
) -> Generator[R]:
    """Call a function for each item, some ahead of what was asked for.

    The transfers' own pool was not used: its calls have no results, and looking must not take threads from a transfer.

    Args:
        call: The function.
        items: The items; taken one by one, as threads get free.
        threads: How many calls run at the same time. At most so many results wait.
        cancelled: The caller's token.

    Yields:
        What each call returned.

    Raises:
        TransferCancelled: The token was set.
        Exception: What a call raised. When the iterator ends or is closed, its threads have ended.
    """

    def watched(item: T) -> R:
        with watching(cancelled):
            check(cancelled)
            return call(item)

    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="modhub-inspect") as executor:
        try:
            for item in items:
                check(cancelled)
                waiting.append(executor.submit(watched, item))
                if len(waiting) >= threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
