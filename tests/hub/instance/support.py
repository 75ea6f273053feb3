"""Real children, and how tests learn where they are without waiting for time to pass."""

import asyncio
import os
import select
from collections.abc import Callable
from pathlib import Path

from hub.instance.process import Process, child_environment, spawn

PATIENCE_S = 30


class Signals:
    """A named pipe on which children report: one line each."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "signals"
        os.mkfifo(self.path)
        # For both directions, so that it neither blocks now nor ends when a child closes it.
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._buffer = b""

    async def line(self) -> str:
        """The next line that some child wrote."""
        loop = asyncio.get_running_loop()
        while b"\n" not in self._buffer:
            readable = loop.create_future()
            loop.add_reader(self._descriptor, lambda f=readable: f.done() or f.set_result(None))  # type: ignore[misc] # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType] # a default binds it
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await readable
            finally:
                loop.remove_reader(self._descriptor)
            self._buffer += os.read(self._descriptor, 4096)
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()

    def close(self) -> None:
        os.close(self._descriptor)


def gone(pid: int) -> bool:
    """Whether a process ends within patience; watched by pidfd, so that a parent that does not reap is no matter."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(PATIENCE_S * 1000))
    finally:
        os.close(descriptor)


def shell(
    script: str,
    *arguments: str | Path,
    folder: Path,
    hub_id: str = "test-hub",
    on_exit: Callable[[], None] = lambda: None,
) -> Process:
    """Start a shell script as an instance would be started; `$1` is the first argument."""
    return spawn(
        ["sh", "-c", script, "sh", *map(str, arguments)],
        environment=child_environment(hub_id, folder, {}),
        directory=folder,
        log=folder / "log",
        on_exit=on_exit,
    )
