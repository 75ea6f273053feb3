"""A test kit: an event loop with a virtual clock, and probes. No test needs to sleep."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from actors.actor import Actor

T = TypeVar("T")
P = ParamSpec("P")


class _JumpingSelector(selectors.SelectSelector):
    """Waits for no time at all: where a real loop would sleep until its next timer, the clock jumps there."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready, else let the timeout pass at once."""
        ready = super().select(0)
        if ready or timeout is None or timeout <= 0:
            # Nothing is due and no timer is set: only another thread can wake the loop, and that takes real time.
            return ready or (super().select(None) if timeout is None else ready)
        self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose `time()` starts at 0 and jumps to the next timer when nothing is ready.

    Work in other threads takes no virtual time, and the clock does not wait for it: don't mix the two.
    """

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._jumping.now


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
    with virtual_loop() as runner:
        return runner.run(main(*args, **kwargs))


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
