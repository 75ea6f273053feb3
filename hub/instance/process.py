"""One child process: started in a group of its own, watched by pidfd, reaped by its owner, and killed with the hub or not."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hub.errors import StartFailed, UnsupportedPlatform
from hub.instance import output, procfs
from hub.instance.confinement import UNCONFINED, Confinement, wrap
from hub.instance.signals import inherited
from hub.instance.watched import Watch, kill_group

if not (sys.platform == "linux" and hasattr(os, "pidfd_open")):  # pragma: no cover - the platform of the tests is Linux
    raise UnsupportedPlatform("modhub runs instances on Linux 5.3 or newer only (pidfd, /proc)")

# Every process that a hub starts, and what they start, carries the hub's id: what survived a killed hub is found by it.
MARKER = "_MODHUB_INSTANCE_OF"
# And its data directory: what left the process group of one server (a daemon, a session of its own) is found by that.
DATA_MARKER = "_MODHUB_DATA_DIR"
# And hooks that they are none of a server's own: where the server is adopted, what is left of its hook must not be.
HOOK_MARKER = "_MODHUB_HOOK"
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


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
        exited: set once it has ended and was reaped.
        exit_status: its exit code, or minus the signal that ended it; `None` while it runs.
    """

    def __init__(self, child: subprocess.Popen[bytes], on_exit: Callable[[], None]) -> None:
        self._child = child
        self._on_exit = on_exit
        self.pid = child.pid
        self.exited = asyncio.Event()
        self.exit_status: int | None = None
        self._started_ticks: int | None = None
        self._watch = Watch(child.pid, os.pidfd_open(child.pid), self._reap)

    @property
    def started_ticks(self) -> int:
        """Start time in clock ticks since boot; 0 where nobody asked before it was reaped."""
        # Not read at its start: the kernel keeps the reader waiting until the wrapper has executed the program, a
        # millisecond in which the loop would stand still.
        if self._started_ticks is None:
            # Its id may be another's since it was reaped, which happens on this thread.
            stat = None if self.exited.is_set() else procfs.read_stat(self.pid)
            self._started_ticks = stat.started_ticks if stat else 0
        return self._started_ticks

    def _reap(self) -> None:
        # First the rest of the group: until the leader is reaped, its id can't have been given to anybody else.
        kill_group(self.pid)
        self.exit_status = self._child.wait()
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
        if self._child.poll() is None:
            # Else Popen warns of it, and reaps it at any later start of a child: a hub that adopts it could not learn how
            # it ended, and would signal a group whose id may be somebody else's by then.
            self._child.returncode = 0


def spawn(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    directory: Path,
    log: Path,
    on_exit: Callable[[], None],
    confinement: Confinement = UNCONFINED,
    outlives: bool = False,
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
        outlives: it is not killed with the hub.

    Returns:
        The running process.

    Raises:
        StartFailed: the program does not exist or can't be run.
    """
    if shutil.which(command[0], path=environment["PATH"]) is None:
        raise StartFailed(
            f"command {command[0]!r} was not found or can't be run", hint="install it, or give its full path"
        )
    wrapped = wrap(command, confinement, outlives=outlives, signals=inherited())
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
