"""What systemd is told: that the hub is ready, ends, and is alive.

By hand: the protocol is a datagram of text, and packages that speak it (`sdnotify`, `systemd-python`) are unmaintained,
or need a compiler and systemd's own headers.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

_EXTENSION_S = 20.0
_INTERVAL_S = 5.0


class Notifier:
    """Tells the service manager, if there is one; else nothing.

    Args:
        environment: for `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # A name in Linux's abstract space is written with `@`; other kinds of addresses are for virtual machines.
        self._address = "\0" + address[1:] if address.startswith("@") else address if address.startswith("/") else ""
        self._watchdog_s = _watchdog_s(environment) if self._address else None
        self._changing = True

    @property
    def interval_s(self) -> float | None:
        """Seconds after which `alive` is to be called again; `None` = never."""
        if not self._address:
            return None
        return _INTERVAL_S if self._watchdog_s is None else min(_INTERVAL_S, self._watchdog_s / 2)

    def ready(self, status: str) -> None:
        """Tell that the start has ended.

        Args:
            status: a line for `systemctl status`.
        """
        self._changing = False
        self._send("READY=1", f"STATUS={status}")

    def stopping(self, status: str) -> None:
        """Tell that the end has begun."""
        self._changing = True
        self._send("STOPPING=1", f"STATUS={status}", _extension())

    def alive(self) -> None:
        """Tell that the event loop turns, and, while the hub starts or ends, that this may take longer yet."""
        lines = [] if self._watchdog_s is None else ["WATCHDOG=1"]
        if self._changing:
            lines.append(_extension())
        if lines:
            self._send(*lines)

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as out:
            try:
                out.sendto("\n".join(lines).encode(), self._address)
            except OSError:
                return  # a manager that does not listen is no reason to end, nor to wait


def _extension() -> str:
    return f"EXTEND_TIMEOUT_USEC={int(_EXTENSION_S * 1e6)}"


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None  # meant for another process, from which this one has its environment
    try:
        seconds = int(environment.get("WATCHDOG_USEC", "")) / 1e6
    except ValueError:
        return None
    return seconds if seconds > 0 else None
