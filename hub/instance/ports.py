"""Ports for instances: reserved within the hub, and tried against the machine before they are given out."""

from __future__ import annotations

import socket

import msgspec

from hub.errors import InvalidConfig, PortsExhausted

LOOPBACK = "127.0.0.1"
_ANY_TRIES = 100


def parse_ports(value: object, key: str = "ports") -> tuple[int, int] | None:
    """Read a setting of ports.

    Args:
        value: `0` (any free port), or a pair `(low, high)`, both ends included.
        key: name of the setting, for the error.

    Returns:
        The pair, or `None` for any.

    Raises:
        InvalidConfig: it is neither.
    """
    # By msgspec, strictly: to Python, True is an int as well.
    try:
        ports: int | tuple[int, int] = msgspec.convert(value, int | tuple[int, int])
    except msgspec.ValidationError:
        ports = -1
    if ports in {0, (0, 0)}:
        return None
    if isinstance(ports, tuple) and 1 <= ports[0] <= ports[1] <= 65535:
        return ports
    raise InvalidConfig(
        f"{key} = {value!r} can't be used", hint="allowed: 0 for any, or (low, high) with 1 <= low <= high <= 65535"
    )


def is_free(port: int) -> bool:
    """Tell whether a server could listen on a loopback port now."""
    with socket.socket() as probe:
        # As servers do: connections of an earlier one that linger in TIME_WAIT do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


class PortAllocator:
    """Hands out ports of one range, each to one holder at a time.

    A port that somebody else took is skipped. Between the look and the child's own bind somebody may still take it:
    readiness checks who listens, and the start is tried again on another port.
    """

    def __init__(self, ports: tuple[int, int] | None) -> None:
        self._range = ports
        self._held: set[int] = set()
        self._next = ports[0] if ports else 0

    @property
    def held(self) -> frozenset[int]:
        """Ports given out and not yet given back."""
        return frozenset(self._held)

    def holds(self, port: int) -> bool:
        """Tell whether a port is given out; unlike `held` it copies nothing, for who looks at thousands."""
        return port in self._held

    def acquire(self, preferred: int | None = None) -> int:
        """Give out a free port.

        Args:
            preferred: taken if it is free and still within the range.

        Returns:
            The port; give it back with `release`.

        Raises:
            PortsExhausted: none is free.
        """
        low, high = self._range or (1, 65535)
        if preferred is not None and low <= preferred <= high and self._take(preferred):
            return preferred
        if self._range is None:
            return self._acquire_any()
        for offset in range(high - low + 1):
            port = low + (self._next - low + offset) % (high - low + 1)
            if self._take(port):
                # Going round keeps a port that was just given back out of use for a while.
                self._next = port + 1 if port < high else low
                return port
        raise PortsExhausted(
            f"no port of {low}-{high} is free ({len(self._held)} held by modules)",
            hint="widen `ports`, or hibernate modules that nobody uses",
        )

    def reserve(self, port: int) -> bool:
        """Note a port that a running instance has already, within the range or not.

        Args:
            port: the port; give it back with `release`.

        Returns:
            Whether nobody else holds it.
        """
        if port in self._held:
            return False
        self._held.add(port)
        return True

    def release(self, port: int) -> None:
        """Take back a port."""
        self._held.discard(port)

    def _take(self, port: int) -> bool:
        if port in self._held or not is_free(port):
            return False
        self._held.add(port)
        return True

    def _acquire_any(self) -> int:
        for _ in range(_ANY_TRIES):
            with socket.socket() as probe:
                probe.bind((LOOPBACK, 0))
                port: int = probe.getsockname()[1]
            if port not in self._held:
                self._held.add(port)
                return port
        raise PortsExhausted("the machine gives no free port", hint="see net.ipv4.ip_local_port_range")
