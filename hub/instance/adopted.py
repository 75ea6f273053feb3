"""One process that an earlier hub left running: watched by pidfd like a child, but somebody else reaps it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

from hub.instance import procfs
from hub.instance.procfs import ProcessIdentity
from hub.instance.watched import Watch, kill_group


class AdoptedProcess:
    """A running process that is nobody's child here. Made by `adopt_process`.

    Unless the host has embedded the hub that started it: then it is, and is reaped.

    Attributes:
        pid: its process id, also the id of its process group.
        started_ticks: start time in clock ticks since boot.
        exited: set once it has ended.
        exit_status: `None` also when it has ended: only its parent is told.
    """

    def __init__(self, identity: ProcessIdentity, pidfd: int, on_exit: Callable[[], None]) -> None:
        self._identity = identity
        self._pidfd = pidfd
        self._on_exit = on_exit
        self.pid = identity.pid
        self.started_ticks = identity.started_ticks
        self.exited = asyncio.Event()
        self.exit_status: int | None = None
        self._watch = Watch(identity.pid, pidfd, self._ended)

    def _ended(self) -> None:
        # Its parent may have reaped it, and its id have gone to a stranger, whose group this would strike. The kernel
        # gives no id away that still is a group's, so then none of its own is left.
        if self._identity.find() is not None or procfs.read_stat(self.pid) is None:
            kill_group(self.pid)
        self.exit_status = _reap(self._pidfd)
        self.exited.set()
        self._on_exit()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the leader; nothing happens when it has ended."""
        self._watch.send(number)

    async def kill(self) -> None:
        """End the whole group by SIGKILL and wait until none of it is left.

        Raises:
            StopFailed: the kernel does not end it (a process in uninterruptible sleep).
        """
        await self._watch.kill(self.exited)

    def leave(self) -> None:
        """Watch it no longer, and let it run on; nothing happens when it has ended."""
        self._watch.close()


def adopt_process(identity: ProcessIdentity, on_exit: Callable[[], None]) -> AdoptedProcess | None:
    """Watch a process that an earlier hub has started. Call it on the event loop's thread only.

    Args:
        identity: the process.
        on_exit: called on the loop, once, after it has ended.

    Returns:
        The process; `None` if it is not there any more, or another one has its id.

    Raises:
        OSError: it can't be watched: no descriptor is left, for instance.
    """
    if identity.find() is None:
        return None
    try:
        pidfd = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return None
    # Once more, now that it is pinned: it may have ended between the two, and its id have gone to another.
    stat = identity.find()
    if stat is not None and stat.state != "Z":
        return AdoptedProcess(identity, pidfd, on_exit)
    if stat is not None:
        kill_group(identity.pid)
        _reap(pidfd)
    os.close(pidfd)
    return None


def _reap(pidfd: int) -> int | None:
    """Reap an ended process, if it is a child of this one.

    Returns:
        Its exit code, or minus the signal that ended it; `None` if it is nobody's child here, or still runs.
    """
    try:
        ended = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
    except OSError:  # no child of this process; or Linux 5.3, which can't be asked by pidfd yet
        return None
    if ended is None:
        return None
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
