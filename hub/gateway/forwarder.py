"""All listeners and connections of the gateway. Outlives a defect in the actor that tells it what to do."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from hub.awake import Awakener
from hub.directory import Entry
from hub.errors import HubClosed, ModhubError
from hub.gateway.dial import ClientGone, Dialler, prepare
from hub.gateway.first_bytes import pass_on
from hub.gateway.listener import Listener
from hub.gateway.plane import DataPlane
from hub.gateway.splice import reset
from hub.instance import Instance
from hub.loop_thread import LoopThread
from hub.services import Services

_REFUSALS_S = 1.0  # between two events about a module's connections that were refused for the same reason


@dataclass(slots=True, eq=False)
class _Connection:
    """A connection.

    Attributes:
        number: identifies it.
        client: the client's end; the data plane's, once `instance` is set.
        task: what brings it to its server.
        instance: what it is spliced to.
    """

    number: int
    client: socket.socket
    task: asyncio.Task[None] | None = None
    instance: Instance | None = None


@dataclass(slots=True)
class _Refused:
    told_at: float
    untold: int = 0


class _Door:
    """A module's listener and its connections."""

    def __init__(self) -> None:
        self.listener: Listener | None = None
        self.connections: dict[int, _Connection] = {}
        self.refused: dict[str, _Refused] = {}


class Forwarder:
    """Takes connections, brings each to its module's server, and splices them. Lives on the loop.

    Args:
        services: the hub's parts.
        awakener: brings modules up; closed with the forwarder.
    """

    def __init__(self, services: Services, awakener: Awakener) -> None:
        self._services = services
        self._awakener = awakener
        self._loop = asyncio.get_running_loop()
        self._plane = DataPlane()
        self._thread = LoopThread("modhub-gateway", self._plane)
        self._dialler = Dialler(services.directory, awakener.up, services.clock, services.config.gateway_wake_timeout)
        self._doors: dict[str, _Door] = {}
        self._numbers: Iterator[int] = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    def __contains__(self, module_id: str) -> bool:
        return module_id in self._doors

    async def start(self) -> None:
        """Start the thread that moves the bytes."""
        await self._services.workers.run(self._thread.start)

    def modules(self) -> frozenset[str]:
        """Return the modules that have a listener or connections."""
        return frozenset(self._doors)

    def port_of(self, module_id: str) -> int | None:
        """Return the port on which connections to a module are taken now."""
        door = self._doors.get(module_id)
        return door.listener.port if door is not None and door.listener is not None else None

    def open(self, module_id: str, wake: str) -> int:
        """Take connections to a module from now on.

        Args:
            module_id: the module; it has no listener.
            wake: its kind's `gateway_wake`.

        Returns:
            The port.

        Raises:
            OSError: somebody else has the port.
            HubClosed: the hub ends.
        """
        if self._closing:
            raise HubClosed("no port is opened any more")
        listening = self._services.gateway_ports.listen(module_id)
        door = self._doors.setdefault(module_id, _Door())

        def take(client: socket.socket) -> None:
            self._take(module_id, wake, door, client)

        def refuse(error: OSError) -> None:
            self._refused(module_id, door, "os-error", str(error))

        door.listener = Listener(listening, take, refuse)
        return door.listener.port

    def shut(self, module_id: str) -> None:
        """Close a module's port and reset all its connections."""
        self.reset(module_id)
        if (door := self._doors.pop(module_id, None)) is not None:
            self._shut(door)

    def reset(self, module_id: str) -> None:
        """Reset the connections to a module's server."""
        if (door := self._doors.get(module_id)) is not None:
            for connection in door.connections.values():
                if connection.instance is not None:
                    self._plane.abort(connection.number)

    def cut(self, module_id: str, instance: Instance | None) -> None:
        """End a module's connections to servers that have ended.

        Args:
            module_id: the module.
            instance: its server; `None` = it has none.
        """
        if (door := self._doors.get(module_id)) is not None:
            for connection in door.connections.values():
                if connection.instance is not None and connection.instance is not instance:
                    self._plane.drain(connection.number)

    def note_started(self, module_id: str) -> None:
        """Take note that a module's server is ready."""
        self._dialler.note_started(module_id)

    def stop_listening(self) -> None:
        """Close all ports, and let go of whoever is not connected yet: the hub ends."""
        self._closing = True
        for door in self._doors.values():
            self._shut(door)

    async def close(self) -> None:
        """Reset what is still connected, and join the thread."""
        self.stop_listening()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._awakener.aclose()
        await self._dialler.aclose()
        await self._services.workers.run(self._thread.close)

    @staticmethod
    def _shut(door: _Door) -> None:
        if door.listener is not None:
            door.listener.close()
            door.listener = None
        for connection in door.connections.values():
            if connection.task is not None:
                connection.task.cancel()

    def _take(self, module_id: str, wake: str, door: _Door, client: socket.socket) -> None:
        if len(door.connections) >= self._services.config.gateway_connections:
            reset(client)
            self._refused(
                module_id, door, "too-many-connections", f"{len(door.connections)} are open: `gateway_connections`"
            )
            return
        connection = _Connection(next(self._numbers), client)
        door.connections[connection.number] = connection
        task = asyncio.create_task(self._connect(module_id, wake, door, connection), name=f"gateway {module_id}")
        connection.task = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, module_id: str, wake: str, door: _Door, connection: _Connection) -> None:
        client = connection.client
        try:
            prepare(client)
            server, instance = await self._dialler.dial(module_id, wake, client)
        except ClientGone:
            client.close()
        except ModhubError as error:
            reset(client)
            self._refused(module_id, door, error.code, str(error))
        except OSError as error:
            reset(client)
            self._refused(module_id, door, "os-error", str(error))
        except BaseException:  # a cancellation, or a defect, which the task reports
            reset(client)
            raise
        else:
            # No await from the last look at the instance to here.
            connection.instance = instance
            entry = self._services.directory.obtain(module_id)
            entry.splices += 1
            pass_on(client, server)
            self._plane.begin(connection.number, client, server, lambda: self._tell_ended(door, connection, entry))
        finally:
            connection.task = None
            if connection.instance is None:
                del door.connections[connection.number]

    def _tell_ended(self, door: _Door, connection: _Connection, entry: Entry) -> None:
        # On the data plane's thread, which ends before the loop does.
        self._loop.call_soon_threadsafe(self._ended, door, connection, entry)

    @staticmethod
    def _ended(door: _Door, connection: _Connection, entry: Entry) -> None:
        del door.connections[connection.number]
        entry.splices -= 1

    def _refused(self, module_id: str, door: _Door, reason: str, error: str) -> None:
        """Tell that a connection was refused: the first one at once, those that follow at most once a second."""
        now = self._services.clock()
        refused = door.refused.setdefault(reason, _Refused(told_at=float("-inf")))
        refused.untold += 1
        if now - refused.told_at >= _REFUSALS_S:
            self._services.bus.publish(
                "gateway.refused", module_id, reason=reason, error=error, connections=refused.untold
            )
            refused.told_at, refused.untold = now, 0
