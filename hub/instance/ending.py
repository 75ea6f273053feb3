"""How a process ended, in words, and why where that can be told."""

from __future__ import annotations

import signal
from collections.abc import Mapping

from hub.instance.limits import LimitValue

EXITED = "process exited"
OUT_OF_MEMORY = "out of memory"
UNKNOWN = "exit status unknown: it was adopted"
_BY_SIGNAL = {-signal.SIGXCPU: ("cpu_s", "out of CPU time"), -signal.SIGXFSZ: ("fsize", "file too large")}


def reason_of(status: int | None, limits: Mapping[str, LimitValue], *, out_of_memory: bool, ours: bool) -> str:
    """Tell why a process ended.

    Args:
        status: exit code, or minus the signal; `None` = nobody can tell.
        limits: its kind's limits.
        out_of_memory: whether the kernel has killed any of the module's processes for want of memory.
        ours: whether the hub has sent it SIGKILL itself.

    Returns:
        Such as `out of memory`; `process exited` where nothing more is known.
    """
    # A server may outlive a child that was out of memory: then its own end later is another matter.
    if status in {-signal.SIGKILL, None} and out_of_memory and not ours:
        return OUT_OF_MEMORY
    name, reason = _BY_SIGNAL.get(status or 0, ("", EXITED))
    return reason if name in limits else EXITED


def describe_exit(status: int | None) -> str:
    """Say in words how a process ended.

    Args:
        status: exit code, or minus the signal; `None` = nobody can tell, since it was another process's child.

    Returns:
        Such as `exit code 1` or `SIGKILL`.
    """
    if status is None:
        return UNKNOWN
    if status < 0:
        try:
            return signal.Signals(-status).name
        except ValueError:  # a real-time signal has no name
            return f"signal {-status}"
    return f"exit code {status}"
