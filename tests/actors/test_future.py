import asyncio
import sys
import threading
from collections.abc import Iterable
from typing import Any

import pykka
import pytest

from actors import Future, FutureResolved
from actors.testing import run_virtual, settle


def resolved(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set(value)
    return future


def test_resolved_once() -> None:
    """A second result is FutureResolved, whichever way it comes; set_result of the runtime is dropped silently."""
    future = resolved(1)
    with pytest.raises(FutureResolved):
        future.set(2)
    with pytest.raises(FutureResolved):
        future.set_exception(ValueError())
    with pytest.raises(FutureResolved):
        future.set_get_hook(lambda _: 3)
    future.set_result(4)
    assert future.get() == 1
    assert repr(future) == "<actors.Future resolved>"


def test_exceptions_as_pykka_takes_them() -> None:
    """An exception is given as itself, as an exc_info triple, or taken from the except block."""
    direct: Future[None] = Future()
    direct.set_exception(ValueError("direct"))
    triple: Future[None] = Future()
    triple.set_exception((ValueError, None, None))
    handled: Future[None] = Future()
    try:
        raise ValueError("handled")  # noqa: TRY301
    except ValueError:
        handled.set_exception()
    outside: Future[None] = Future()
    outside.set_exception(sys.exc_info())
    for future in (direct, triple, handled):
        with pytest.raises(ValueError, match=r"direct|handled|^$"):
            future.get()
    with pytest.raises(RuntimeError, match="outside"):
        outside.get()
    assert repr(direct) == "<actors.Future failed>"


def test_get_times_out() -> None:
    """get() raises pykka's Timeout, and can be called again."""
    future: Future[int] = Future()
    with pytest.raises(pykka.Timeout, match="again"):
        future.get(timeout=0)
    assert repr(future) == "<actors.Future pending>"
    future.set(1)
    assert future.get(timeout=0) == 1


def test_get_from_many_threads() -> None:
    """Every thread that waits gets the value."""
    future: Future[int] = Future()
    got: list[int] = []
    threads = [threading.Thread(target=lambda: got.append(future.get(timeout=10))) for _ in range(5)]
    for thread in threads:
        thread.start()
    future.set(7)
    for thread in threads:
        thread.join()
    assert got == [7] * 5


def test_awaiting_does_not_block_the_loop() -> None:
    """A future is awaited by several tasks while the loop goes on; a cancelled one leaves the future alone."""

    async def main() -> None:
        future: Future[int] = Future()
        tasks = [asyncio.ensure_future(asyncio.wait_for(future, None)) for _ in range(3)]
        await settle()
        tasks[0].cancel()
        threading.Timer(0, future.set, (5,)).start()
        assert await asyncio.gather(*tasks[1:]) == [5, 5]
        assert await future == 5

    asyncio.run(main())


def test_derived_futures_can_be_awaited() -> None:
    """map, filter, join and reduce are typed as ours, and are awaited without blocking, pending or not."""

    async def main() -> None:
        numbers: Future[Iterable[int]] = Future()
        asyncio.get_running_loop().call_later(5, numbers.set, [1, 2, 3])
        assert await numbers.filter(lambda n: n > 1) == [2, 3]
        assert await numbers.map(sum) == 6
        assert await numbers.reduce(lambda a, b: a + b, 10) == 16
        assert await numbers.join(resolved(4)) == [[1, 2, 3], 4]
        assert repr(numbers.map(str)) == "<actors.Future derived>"

    run_virtual(main)


def test_derived_of_a_failed_future() -> None:
    """The source's exception comes out of the derived future."""

    async def main() -> None:
        failed: Future[int] = Future()
        failed.set_exception(KeyError("no"))
        with pytest.raises(KeyError):
            await failed.map(str)

    run_virtual(main)


def test_foreign_futures_are_awaited_in_a_thread() -> None:
    """A join with pykka's ThreadingFuture, or anybody's get hook, is waited for in a thread, not on the loop."""

    async def main() -> None:
        foreign: pykka.ThreadingFuture[int] = pykka.ThreadingFuture()
        joined = resolved(1).join(foreign)
        hooked: Future[int] = Future()
        hooked.set_get_hook(lambda _: 3)
        threading.Timer(0, foreign.set, (2,)).start()
        assert await joined == [1, 2]
        assert await hooked == 3

    asyncio.run(main())


def test_waiter_on_a_closed_loop_is_forgotten() -> None:
    """A loop that was closed while a task of it waited doesn't disturb whoever resolves the future."""
    future: Future[int] = Future()
    loop = asyncio.new_event_loop()

    async def wait() -> int:
        return await future

    task = loop.create_task(wait())
    loop.call_soon(loop.stop)
    loop.run_forever()
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.close()
    future.set(1)
    assert future.get() == 1
