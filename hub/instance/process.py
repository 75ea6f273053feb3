"""One child process: started in a group of its own, watched by pidfd, killed with the hub, reaped by its owner."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from hub.errors import StartFailed, StopFailed, UnsupportedPlatform
from hub.instance import output, procfs
from hub.instance.confinement import UNCONFINED, Confinement, wrap

if not (sys.platform == "linux" and hasattr(os, "pidfd_open")):  # pragma: no cover - the platform of the tests is Linux
    raise UnsupportedPlatform("modhub runs instances on Linux 5.3 or newer only (pidfd, /proc)")

# Every process that a hub starts, and what they start, carries the hub's id: what survived a killed hub is found by it.
MARKER = "_MODHUB_INSTANCE_OF"
# And its data directory: what left the process group of one server (a daemon, a session of its own) is found by that.
DATA_MARKER = "_MODHUB_DATA_DIR"
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KILL_TIMEOUT_S = 10.0
_GROUP_POLL_S = 0.002


def child_environment(hub_id: str, home: Path, extra: Mapping[str, str]) -> dict[str, str]:
    """Build a child's environment: nothing of the host's but `PATH`, so none of its secrets leak.

    Args:
        hub_id: id of the hub, for its marker.
        home: the data directory: for `HOME`, and the other marker.
        extra: the kind's own variables, which win.

    Returns:
        The environment.
    """
    return {
        "PATH": os.environ.get("PATH", _DEFAULT_PATH),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        **extra,
        MARKER: hub_id,
        DATA_MARKER: str(home),
    }


class Process:
    """A running child.

    Attributes:
        pid: its process id, also the id of its process group.
        started_ticks: start time in clock ticks since boot.
        exited: set once it has ended and was reaped.
        exit_status: its exit code, or minus the signal that ended it; `None` while it runs.
    """

    def __init__(self, child: subprocess.Popen[bytes], on_exit: Callable[[], None]) -> None:
        self._child = child
        self._on_exit = on_exit
        self.pid = child.pid
        self.exited = asyncio.Event()
        self.exit_status: int | None = None
        stat = procfs.read_stat(child.pid)
        self.started_ticks = stat.started_ticks if stat else 0
        # A pidfd is readable when the process ends: no thread a child (asyncio's default watcher before Python 3.12),
        # no SIGCHLD handler in somebody's host, no polling.
        self._pidfd = os.pidfd_open(child.pid)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._pidfd, self._reap)

    def _reap(self) -> None:
        # First the rest of the group: until the leader is reaped, its id can't have been given to anybody else.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self.exit_status = self._child.wait()
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.exited.set()
        self._on_exit()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the leader; nothing happens when it has ended."""
        if self.exit_status is None:
            signal.pidfd_send_signal(self._pidfd, number)

    async def kill(self) -> None:
        """End the whole group by SIGKILL and wait until none of it is left.

        Raises:
            StopFailed: the kernel does not end it (a process in uninterruptible sleep).
        """
        if self.exit_status is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        try:
            async with asyncio.timeout(_KILL_TIMEOUT_S):
                await self.exited.wait()
                # No event tells of the end of a process that is not our child. It takes a turn or two: init reaps it.
                while self._group_lives():  # noqa: ASYNC110 - see above
                    await asyncio.sleep(_GROUP_POLL_S)
        except TimeoutError:
            raise StopFailed(
                f"process group {self.pid} does not end on SIGKILL",
                hint="it hangs in the kernel: look at its disk or network file system",
            ) from None

    def _group_lives(self) -> bool:
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        return bool(procfs.group_members(self.pid))


def spawn(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    directory: Path,
    log: Path,
    on_exit: Callable[[], None],
    confinement: Confinement = UNCONFINED,
) -> Process:
    """Start a child in a session and process group of its own. Call it on the event loop's thread only.

    The kernel sends the parent-death signal when the *thread* that started the child ends: a pool's thread would kill
    its children by retiring. The call blocks for about a millisecond; it uses vfork, whatever the size of the host.

    Args:
        command: program and arguments.
        environment: the whole environment of the child.
        directory: its working directory.
        log: file that its output is appended to.
        on_exit: called on the loop, once, after it has ended.
        confinement: whom it runs as, and what it may use.

    Returns:
        The running process.

    Raises:
        StartFailed: the program does not exist or can't be run.
    """
    if shutil.which(command[0], path=environment["PATH"]) is None:
        raise StartFailed(
            f"command {command[0]!r} was not found or can't be run", hint="install it, or give its full path"
        )
    wrapped = wrap(command, confinement)
    try:
        descriptor = output.open_log(log)
    except OSError as error:
        raise StartFailed(f"the output log {log} can't be opened: {error.strerror}") from error
    try:
        child = subprocess.Popen(
            wrapped,
            env=dict(environment),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
        )
    except OSError as error:
        if not directory.is_dir():
            hint = "restore it; or obliterate the module"
            raise StartFailed(f"the data directory {directory} is not there any more", hint=hint) from error
        raise StartFailed(f"{command[0]!r} can't be started: {error.strerror}") from error
    finally:
        os.close(descriptor)
    try:
        return Process(child, on_exit)
    except OSError as error:
        # No descriptor left to watch it by: it must not run unwatched.
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        raise StartFailed(
            f"{command[0]!r} can't be watched: {error.strerror}", hint="raise the open-file limit"
        ) from error


def kill_marked(marker: str, value: str, log: Path) -> list[tuple[int, str]]:
    """Kill what a server or an earlier run of a hub left behind, wherever it moved to.

    By the marker, and by whose log it writes: a server that writes its title over its environment (PostgreSQL) takes the
    marker away from all that it forks.

    Args:
        marker: `MARKER` or `DATA_MARKER`.
        value: what it stands at in the environment of whom to kill.
        log: the server's output log, or the directory of all of the hub's.

    Returns:
        Process id and command line of each process killed.

    Raises:
        StopFailed: the kernel does not end one.
    """
    variable = f"{marker}={value}".encode()
    written = os.path.realpath(log)

    def left_behind(pid: int) -> bool:
        return procfs.environ_has(pid, variable) or procfs.writes_to(pid, written)

    killed: dict[int, str] = {}
    deadline = time.monotonic() + _KILL_TIMEOUT_S
    while True:
        # Again until none is found: a process may start another while the list is read.
        found = [pid for pid in procfs.pids() if pid != os.getpid() and left_behind(pid)]
        if not found:
            return list(killed.items())
        if time.monotonic() > deadline:
            raise StopFailed(
                f"processes {found} do not end on SIGKILL",
                hint="they hang in the kernel: look at their disk or network file system",
            )
        for pid in found:
            with suppress(ProcessLookupError):
                pidfd = os.pidfd_open(pid)
                try:
                    if left_behind(pid):  # still the same process, now that it is pinned
                        killed.setdefault(pid, procfs.command_of(pid))
                        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                finally:
                    os.close(pidfd)
