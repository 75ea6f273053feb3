"""Amounts for people, in few characters."""

from __future__ import annotations

from hub.cli.terminal import size

_DASH = "-"


def elapsed(seconds: float | None) -> str:
    """Return a time for people: `4s`, `12m03s`, `5h07m`, `3d04h`."""
    if seconds is None:
        return _DASH
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole // 60 % 60:02}m"
    return f"{whole // 86400}d{whole // 3600 % 24:02}h"


def ago(moment: float, now: float) -> str:
    """Return how long ago a moment was, both in seconds since the epoch."""
    return f"{elapsed(max(0.0, now - moment))} ago"


def memory(count: int | None) -> str:
    """Return a number of bytes, where it is known."""
    return _DASH if count is None else size(count)


def percent(share: float | None) -> str:
    """Return a share of a processor, where it is known."""
    return _DASH if share is None else f"{share:.0f}%"
