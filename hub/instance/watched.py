"""A process that leads its group and is watched by pidfd: a child, or one that an earlier hub left running."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from hub.errors import StopFailed
from hub.instance import procfs

_KILL_TIMEOUT_S = 10.0
_GROUP_POLL_S = 0.002


class RunningProcess(Protocol):
    """What an instance needs of its process, wherever it comes from."""

    @property
    def pid(self) -> int:
        """Its process id, also the id of its process group."""
        ...

    @property
    def started_ticks(self) -> int:
        """Start time in clock ticks since boot."""
        ...

    @property
    def exited(self) -> asyncio.Event:
        """Set once it has ended."""
        ...

    @property
    def exit_status(self) -> int | None:
        """Exit code, or minus the signal that ended it; `None` while it runs, or where nobody can tell."""
        ...

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the leader; nothing happens when it has ended."""
        ...

    async def kill(self) -> None:
        """End the whole group by SIGKILL and wait until none of it is left; `StopFailed` if the kernel does not end it."""
        ...

    def leave(self) -> None:
        """Watch it no longer, and let it run on; nothing happens when it has ended."""
        ...


class Watch:
    """Watches one process by pidfd, and signals it and its group.

    A pidfd is readable when the process ends: no thread a child (asyncio's default watcher before Python 3.12), no
    SIGCHLD handler in somebody's host, no polling. It needs not be a child.

    Args:
        pid: the leader of a process group.
        pidfd: its pidfd, which is closed here.
        on_end: called on the loop, once, when it has ended; it may not have been reaped.
    """

    def __init__(self, pid: int, pidfd: int, on_end: Callable[[], None]) -> None:
        self._pid = pid
        self._pidfd: int | None = pidfd
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(pidfd, self._ended)

    def _ended(self) -> None:
        try:
            self._on_end()
        finally:
            self.close()

    def close(self) -> None:
        """Watch it no longer."""
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the leader; nothing happens when it has ended, or is not watched any more."""
        if self._pidfd is not None:
            with suppress(ProcessLookupError):  # reaped by another parent an instant ago
                signal.pidfd_send_signal(self._pidfd, number)

    async def kill(self, exited: asyncio.Event) -> None:
        """End the whole group by SIGKILL and wait until none of it is left.

        Args:
            exited: set when the leader has ended.

        Raises:
            StopFailed: the kernel does not end it (a process in uninterruptible sleep).
        """
        if not exited.is_set():
            kill_group(self._pid)
        try:
            async with asyncio.timeout(_KILL_TIMEOUT_S):
                await exited.wait()
                # No event tells of the end of a process that is not our child. It takes a turn or two: init reaps it.
                while self._group_lives():  # noqa: ASYNC110 - see above
                    await asyncio.sleep(_GROUP_POLL_S)
        except TimeoutError:
            raise StopFailed(
                f"process group {self._pid} does not end on SIGKILL",
                hint="it hangs in the kernel: look at its disk or network file system",
            ) from None

    def _group_lives(self) -> bool:
        try:
            os.killpg(self._pid, 0)
        except ProcessLookupError:
            return False
        return bool(procfs.group_members(self._pid))


def kill_group(leader: int) -> None:
    """Send SIGKILL to a process group; nothing happens where there is none, or none of it may be signalled."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
