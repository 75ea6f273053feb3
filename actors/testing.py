"""A test kit: an event loop with a virtual clock, and probes. No test needs to sleep."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from anyio.to_thread import current_default_thread_limiter

from actors.actor import Actor

T = TypeVar("T")
P = ParamSpec("P")


_PATIENCE_S = 0.05  # real time that work in threads gets before the virtual clock jumps without it


class _JumpingSelector(selectors.DefaultSelector):
    """Waits for no time at all: where a real loop would sleep until its next timer, the clock jumps there."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.busy: list[Callable[[], bool]] = []

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready, else let the timeout pass at once."""
        if timeout is None:
            # No timer is set: only another thread or a descriptor can wake the loop, and that takes real time.
            return super().select(None)
        ready = super().select(0)
        if not ready and timeout > 0 and any(busy() for busy in self.busy):
            # Not for ever: the thread may itself wait for something that a timer of this loop has to do.
            ready = super().select(_PATIENCE_S)
        if not ready and timeout > 0:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose `time()` starts at 0 and jumps to the next timer when nothing is ready.

    Work in the loop's executor (`asyncio.to_thread`) and in anyio's default worker threads takes no virtual time: before
    the clock jumps, such work gets 50 ms of real time to end. Other work in threads, and child processes, are not
    waited for: register them with `wait_while`, or use a real loop.
    """

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        self._in_executor: set[asyncio.Future[Any]] = set()
        super().__init__(self._jumping)
        self.wait_while(lambda: bool(self._in_executor))

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._jumping.now

    def wait_while(self, busy: Callable[[], bool]) -> None:
        """Let real work go before the clock jumps.

        Args:
            busy: Tells whether such work runs, `lambda: limiter.borrowed_tokens > 0` for instance.
        """
        self._jumping.busy.append(busy)

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override] # typeshed's has more type variables
        """Run in a thread, and let the clock wait for it."""
        future = super().run_in_executor(executor, func, *args)
        self._in_executor.add(future)
        future.add_done_callback(self._in_executor.discard)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 # asyncio's own
        """Join the executor's threads, however long that takes: a time-out would be over in no time on this clock."""
        del timeout
        await super().shutdown_default_executor()


@contextmanager
def virtual_loop() -> Generator[asyncio.Runner]:
    """Give an `asyncio.Runner` on a virtual clock.

    Yields:
        The runner; its loop is closed afterwards, its tasks are cancelled.
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        yield runner


def run_virtual(main: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run an async function on a virtual clock, to its end.

    Args:
        main: The async function.
        *args: Its arguments.
        **kwargs: Its keyword arguments.

    Returns:
        What it returned.
    """

    async def waiting_for_anyio() -> T:
        limiter = current_default_thread_limiter()
        loop = asyncio.get_running_loop()
        if isinstance(loop, VirtualLoop):
            loop.wait_while(lambda: limiter.borrowed_tokens > 0)
        return await main(*args, **kwargs)

    with virtual_loop() as runner:
        return runner.run(waiting_for_anyio())


class Recorder(Actor):
    """An actor that keeps what it receives, in order, and answers with the message or with what a function returns.

    Args:
        reply: Makes the reply of a message; may be async. None echoes.
    """

    def __init__(self, reply: Callable[[Any], Awaitable[Any] | Any] | None = None) -> None:
        super().__init__()
        self.received: list[Any] = []
        self._reply = reply

    def on_receive(self, message: Any) -> Any:
        """Keep the message and answer."""
        self.received.append(message)
        return message if self._reply is None else self._reply(message)


async def settle(turns: int = 20) -> None:
    """Let everything that is ready run, without passing time.

    Args:
        turns: Turns of the loop; each hop of a message takes one or two.
    """
    for _ in range(turns):
        await asyncio.sleep(0)
