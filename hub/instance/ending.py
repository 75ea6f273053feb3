"""How a process ended, in words."""

from __future__ import annotations

import signal


def describe_exit(status: int | None) -> str:
    """Say in words how a process ended.

    Args:
        status: exit code, or minus the signal.

    Returns:
        Such as `exit code 1` or `SIGKILL`.
    """
    if status is not None and status < 0:
        try:
            return signal.Signals(-status).name
        except ValueError:  # a real-time signal has no name
            return f"signal {-status}"
    return f"exit code {status}"
