"""The reply of an ask that somebody holds on to: resolved once, readable from every thread and every event loop."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pykka

from actors.errors import FutureResolved, WouldDeadlock

if TYPE_CHECKING:
    from pykka._types import OptExcInfo

    from actors.dispatcher import Dispatcher

T = TypeVar("T")
M = TypeVar("M")
J = TypeVar("J")


class Future(pykka.Future[T]):
    """A `pykka.Future` that can be awaited on any loop without blocking it.

    `get()` on the thread of the loop that would have to resolve it raises `WouldDeadlock` instead of blocking.
    """

    _get_hook: Callable[[float | None], T] | None = None

    def __init__(self) -> None:
        # Not super().__init__(): it allocates for get hooks, which few futures have (see set_get_hook).
        # One lock to guard, and a lock for each thread that blocks: a Condition for each future, as pykka's own
        # ThreadingFuture has, costs more than the rest of an ask.
        self._guard = threading.Lock()
        self._done = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._waiters: list[Callable[[], object]] = []
        self._sources: tuple[pykka.Future[Any], ...] | None = None
        self.dispatcher: Dispatcher | None = None

    def __repr__(self) -> str:
        state = "pending"
        if self._get_hook is not None:
            state = "derived"
        elif self._done:
            state = "failed" if self._error is not None else "resolved"
        return f"<actors.Future {state}>"

    def done(self) -> bool:
        """Tell whether the future has its result. Always False for one derived by map, filter, join or reduce."""
        return self._done

    def set(self, value: T | None = None) -> None:
        """Resolve with a value.

        Args:
            value: The result.

        Raises:
            FutureResolved: It has a result already.
        """
        if not self._resolve(value, None):
            raise FutureResolved.create()

    def set_result(self, result: Any, /) -> None:
        """Resolve with a value unless it has a result already."""
        self._resolve(result, None)

    def set_exception(self, exc_info: OptExcInfo | BaseException | None = None) -> None:
        """Resolve with an exception.

        Args:
            exc_info: The exception, or what `sys.exc_info()` returns; None takes the exception being handled.

        Raises:
            FutureResolved: It has a result already.
        """
        error: BaseException | None
        if isinstance(exc_info, BaseException):
            error = exc_info
        else:
            kind, error, traceback = exc_info if exc_info is not None else sys.exc_info()
            if error is None:
                error = kind() if kind is not None else RuntimeError("set_exception() outside an except block")
            error = error.with_traceback(traceback)
        if not self._resolve(None, error):
            raise FutureResolved.create()

    def set_get_hook(self, func: Callable[[float | None], T]) -> None:
        """Compute the value with a function of the timeout when `get` is called.

        Args:
            func: Given the timeout in seconds or None; its return value is the result.

        Raises:
            FutureResolved: It has a result already.
        """
        with self._guard:
            if self._done:
                raise FutureResolved.create()
            super().__init__()
            super().set_get_hook(func)

    def get(self, *, timeout: float | None = None) -> T:
        """Wait for the result in the calling thread.

        Args:
            timeout: Longest wait in seconds; None waits for ever.

        Returns:
            The value.

        Raises:
            WouldDeadlock: The calling thread is the loop that has to resolve it.
            pykka.Timeout: The wait timed out. The ask itself goes on: give `ask` a timeout to end it.
            Exception: The exception it was resolved with.
        """
        if self._get_hook is not None:
            return super().get(timeout=timeout)
        if not self._done:
            if self.dispatcher is not None and self.dispatcher.on_loop():
                raise WouldDeadlock("Future.get()")
            if not self.wait(timeout):
                raise pykka.Timeout(f"No result within {timeout} s. Call get() again, or give ask() the timeout.")
        return self._result()

    def __await__(self) -> Generator[Any, None, T]:
        return self._wait_on_loop().__await__()

    __iter__ = __await__

    def filter(self: Future[Iterable[J]], func: Callable[[J], bool]) -> Future[Iterable[J]]:
        """As `pykka.Future.filter`; awaitable."""
        return _derived(cast("pykka.Future[Iterable[J]]", pykka.Future.filter(self, func)), self)

    def join(self: Future[Any], *futures: pykka.Future[Any]) -> Future[Iterable[Any]]:
        """As `pykka.Future.join`; awaitable."""
        return _derived(pykka.Future.join(self, *futures), self, *futures)

    def map(self, func: Callable[[T], M]) -> Future[M]:
        """As `pykka.Future.map`; awaitable."""
        return _derived(super().map(func), self)

    def reduce(self: Future[Iterable[J]], func: Callable[[M, J], M], *args: M) -> Future[M]:
        """As `pykka.Future.reduce`; awaitable."""
        return _derived(pykka.Future.reduce(self, func, *args), self)

    def _resolve(self, value: Any, error: BaseException | None) -> bool:
        with self._guard:
            if self._done or self._get_hook is not None:
                return False
            self._value = value
            self._error = error
            self._done = True
            waiters, self._waiters = self._waiters, []
        for wake in waiters:
            wake()
        return True

    def _result(self) -> T:
        if self._error is not None:
            raise self._error
        return cast("T", self._value)

    def _add_waiter(self, wake: Callable[[], object]) -> bool:
        with self._guard:
            if self._done:
                return False
            self._waiters.append(wake)
            return True

    def _remove_waiter(self, wake: Callable[[], object]) -> None:
        with self._guard, contextlib.suppress(ValueError):
            self._waiters.remove(wake)

    def wait(self, timeout: float | None) -> bool:
        """Wait for the result in the calling thread; seconds or None for ever. False: it has none yet."""
        gate = threading.Lock()
        gate.acquire()
        wake = gate.release
        if not self._add_waiter(wake):
            return True
        if timeout is None:
            return gate.acquire()
        deadline = time.monotonic() + timeout
        # A lock's longest wait is some 292 years on 64-bit Linux, but an OverflowError lies before it.
        if gate.acquire(timeout=min(max(0.0, deadline - time.monotonic()), threading.TIMEOUT_MAX)):
            return True
        self._remove_waiter(wake)
        return self._done

    async def _wait_on_loop(self) -> T:
        loop = asyncio.get_running_loop()
        if self._get_hook is not None:
            return await self._wait_for_hook(loop)
        if not self._done:
            waiter: asyncio.Future[None] = loop.create_future()

            def resolve() -> None:
                if not waiter.done():
                    waiter.set_result(None)

            def wake() -> None:
                with contextlib.suppress(RuntimeError):  # the waiter's loop has been closed: nobody waits there
                    loop.call_soon_threadsafe(resolve)

            if self._add_waiter(wake):
                try:
                    await waiter
                finally:
                    self._remove_waiter(wake)
        return self._result()

    async def _wait_for_hook(self, loop: asyncio.AbstractEventLoop) -> T:
        if self._sources is None or not all(isinstance(source, Future) for source in self._sources):
            # Somebody else's hook, or a future that only a thread can wait for.
            return await loop.run_in_executor(None, self.get)
        for source in self._sources:
            # The hook raises what the source raised, in the order and with the meaning that pykka defines.
            with contextlib.suppress(Exception):
                await source
        return self.get()


def _derived(future: pykka.Future[M], *sources: pykka.Future[Any]) -> Future[M]:
    derived = cast("Future[M]", future)  # pykka makes it with self.__class__()
    derived._sources = sources  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] # our own class
    return derived
