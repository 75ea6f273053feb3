"""Under what conditions a child runs, and the command line that brings it into them before the server's first instruction.

By programs that replace each other in one process, since a preexec_fn would fork the whole host: tens of milliseconds for
a large one. Each takes about one; a kind that asks for nothing pays for `setpriv` alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hub.errors import StartFailed
from hub.instance.account import Account

# Joins the cgroups that are named before `--`: from within, so that nothing it starts can be outside.
_JOIN = """while [ "$1" != -- ]; do echo 0 > "$1/cgroup.procs" || exit 126; shift; done; shift; exec "$@\""""

# Opens the working directory, the data, before the user changes: who holds it needs no way to it.
_HOLD = 'exec 9<. && exec "$@"'
HELD = "/proc/self/fd/9"


@dataclass(frozen=True, slots=True)
class Confinement:
    """Under what conditions a child runs.

    Attributes:
        account: whom it runs as; `None` = as the hub's user.
        rlimits: options for prlimit(1).
        cgroups: directories of the cgroups that it joins.
        held: it gets its working directory open, as `HELD`, since its user does not get through to it.
    """

    account: Account | None = None
    rlimits: Sequence[str] = ()
    cgroups: Sequence[Path] = ()
    held: bool = False


UNCONFINED = Confinement()


def wrap(
    command: Sequence[str], confinement: Confinement, *, outlives: bool = False, signals: Sequence[int] = ()
) -> list[str]:
    """Return the command line that runs a command confined, and has the kernel kill it when its parent thread ends.

    Args:
        command: program and arguments.
        confinement: under what conditions.
        outlives: it is not killed with its parent thread.
        signals: those that it is to take as any program does, whatever it inherits.

    Raises:
        StartFailed: a tool is missing.
    """
    # The parent-death signal is lost when a process changes its user: setpriv sets it after that.
    privileges = [*([] if outlives else ["--pdeathsig", "KILL"]), *_as_user(confinement.account)]
    wrapped = [_tool("setpriv"), *privileges, "--", *command] if privileges else list(command)
    if confinement.held:
        wrapped = ["/bin/sh", "-c", _HOLD, "sh", *wrapped]
    if confinement.rlimits:  # as root still, who may raise them too
        wrapped = [_tool("prlimit"), *confinement.rlimits, *wrapped]
    if confinement.cgroups:
        wrapped = ["/bin/sh", "-c", _JOIN, "sh", *map(str, confinement.cgroups), "--", *wrapped]
    if signals:  # blocked ones are unblocked by it, too
        wrapped = [_tool("env", "coreutils"), f"--default-signal={','.join(map(str, signals))}", *wrapped]
    return wrapped


def _as_user(account: Account | None) -> list[str]:
    if account is None:
        return []
    return ["--reuid", str(account.uid), "--regid", str(account.gid), "--init-groups"]


def _tool(name: str, package: str = "util-linux") -> str:
    path = shutil.which(name)
    if path is None:
        raise StartFailed(f"{name} was not found", hint=f"install {package}")
    return path
