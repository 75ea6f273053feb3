"""The gateway's ports: each chosen once, and held for its module from then on."""

from __future__ import annotations

import socket

from hub.errors import PortsExhausted
from hub.instance.ports import PortAllocator

_BACKLOG = 1024  # connections that wait to be accepted; the kernel takes no more than net.core.somaxconn
_ANY_TRIES = 100


class GatewayPorts:
    """Ports of modules whose kinds have a gateway. Lives on the loop.

    A port is chosen by listening on it: nobody else can take it before it is journalled, and who connects meanwhile
    waits in the kernel's queue.

    Args:
        instances: hands out the ports of instances; neither gives out what the other holds.
        host: address to listen on.
        ports: lowest and highest port; `None` = any.
    """

    def __init__(self, instances: PortAllocator, host: str, ports: tuple[int, int] | None) -> None:
        self._instances = instances
        self._host = host
        self._range = ports
        self._next = ports[0] if ports else 0
        self._held: dict[str, int] = {}
        # Chosen, and not asked for by `listen` yet.
        self._chosen: dict[str, socket.socket] = {}

    def hold(self, module_id: str, port: int) -> None:
        """Keep the port that is journalled for a module, whoever listens on it now."""
        self._held[module_id] = port
        self._instances.reserve(port)

    def choose(self, module_id: str) -> int:
        """Choose a module's port, and listen on it.

        Args:
            module_id: the module.

        Returns:
            Its port: the one it has, if it has one.

        Raises:
            PortsExhausted: none is free.
        """
        if module_id in self._held:
            return self._held[module_id]
        listener = self._listen_somewhere()
        port: int = listener.getsockname()[1]
        self._held[module_id] = port
        self._chosen[module_id] = listener
        return port

    def listen(self, module_id: str) -> socket.socket:
        """Return the socket that listens on a module's port, now the caller's.

        Raises:
            OSError: somebody else has the port.
        """
        listener = self._chosen.pop(module_id, None)
        return listener if listener is not None else _listen(self._host, self._held[module_id])

    def release(self, module_id: str) -> None:
        """Forget a module's port; nothing happens where it has none."""
        if (listener := self._chosen.pop(module_id, None)) is not None:
            listener.close()
        if (port := self._held.pop(module_id, None)) is not None:
            self._instances.release(port)

    def close(self) -> None:
        """Close what was chosen and not asked for."""
        for listener in self._chosen.values():
            listener.close()
        self._chosen.clear()

    def _listen_somewhere(self) -> socket.socket:
        if self._range is None:
            for _ in range(_ANY_TRIES):
                if (listener := self._try(0)) is not None:
                    return listener
            raise PortsExhausted("the machine gives no free port", hint="see net.ipv4.ip_local_port_range")
        low, high = self._range
        for offset in range(high - low + 1):
            port = low + (self._next - low + offset) % (high - low + 1)
            if (listener := self._try(port)) is not None:
                # Going round keeps a port that was just given up out of use for a while.
                self._next = port + 1 if port < high else low
                return listener
        raise PortsExhausted(
            f"no port of {low}-{high} is free for a gateway",
            hint="widen `gateway_ports`, or obliterate modules that nobody needs: the others keep theirs",
        )

    def _try(self, port: int) -> socket.socket | None:
        if self._instances.holds(port):
            return None
        try:
            listener = _listen(self._host, port)
        except OSError:
            return None
        if not self._instances.reserve(listener.getsockname()[1]):
            listener.close()
            return None
        return listener


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setblocking(False)
        # Connections that an earlier hub had on the port, and that linger in TIME_WAIT, do not count.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
