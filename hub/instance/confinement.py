"""Under what conditions a child runs, and the command line that brings it into them before the server's first instruction.

By programs that replace each other in one process, since a preexec_fn would fork the whole host: tens of milliseconds for
a large one. Each takes about one; a kind that asks for nothing pays for `setpriv` alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from hub.errors import StartFailed
from hub.instance.account import Account


@dataclass(frozen=True, slots=True)
class Confinement:
    """Under what conditions a child runs.

    Attributes:
        account: whom it runs as; `None` = as the hub's user.
    """

    account: Account | None = None


UNCONFINED = Confinement()


def wrap(command: Sequence[str], confinement: Confinement) -> list[str]:
    """Return the command line that runs a command confined, and has the kernel kill it when its parent thread ends.

    Args:
        command: program and arguments.
        confinement: under what conditions.

    Raises:
        StartFailed: a tool is missing.
    """
    # The parent-death signal is lost when a process changes its user: setpriv sets it after that.
    return [_tool("setpriv"), "--pdeathsig", "KILL", *_as_user(confinement.account), "--", *command]


def _as_user(account: Account | None) -> list[str]:
    if account is None:
        return []
    return ["--reuid", str(account.uid), "--regid", str(account.gid), "--init-groups"]


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise StartFailed(f"{name} was not found", hint="install util-linux")
    return path
