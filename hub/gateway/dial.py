"""The way from a connection to a splice: wait for bytes, bring the module up, connect to its server, and to no other."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import anyio

from hub.directory import Directory, Entry
from hub.errors import OperationTimeout
from hub.gateway.policy import awaits_bytes
from hub.info import ModuleInfo
from hub.instance import Instance
from hub.lifecycle import State

_FIRST_DELAY_S = 0.01
_LAST_DELAY_S = 0.5
# The client's machine may be gone without a word: two minutes after its last one it is held for gone.
_KEEP_ALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
)

# Not `recovering`: what a failed deprovision left going down may be there then.
_SERVES = frozenset({State.PROVISIONED, State.PROVISIONING, State.WAKING})


class Up(Protocol):
    """Brings modules up."""

    def __call__(self, module_id: str, timeout: float, *, asked_by: str) -> Coroutine[Any, Any, ModuleInfo]:
        """Bring a module up within so many seconds; raises as `Awakener.up`."""
        ...


class ClientGone(Exception):
    """The client closed its connection before it was to be connected."""


def serving(entry: Entry | None) -> Instance | None:
    """Return a module's server, if it takes connections.

    While the module wakes, it does as soon as it is set: that it is ready is being journalled then, and its data is
    journalled as dirty already, so nothing is lost by being early.
    """
    if entry is None or entry.record.state not in _SERVES:
        return None
    return running(entry)


def running(entry: Entry | None) -> Instance | None:
    """Return a module's server, if its process has not ended: it may still have answers to give."""
    instance = entry.instance if entry is not None else None
    return instance if instance is not None and instance.alive else None


def prepare(client: socket.socket) -> None:
    """Set up a connection that came in."""
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for option in _KEEP_ALIVE:
        client.setsockopt(*option)


class Dialler:
    """Connects clients to the servers of modules. Lives on the loop.

    Args:
        directory: the modules.
        up: brings a module up.
        clock: seconds.
        timeout_s: seconds that a connection waits at the most, once it is to be connected.
    """

    def __init__(self, directory: Directory, up: Up, clock: Callable[[], float], timeout_s: float) -> None:
        self._directory = directory
        self._up = up
        self._clock = clock
        self._timeout_s = timeout_s
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._ups: set[asyncio.Task[ModuleInfo]] = set()

    def note_started(self, module_id: str) -> None:
        """Let those go on who wait for a module's server: it is ready."""
        for waiting in self._waiting.get(module_id, ()):
            if not waiting.done():
                waiting.set_result(None)

    async def dial(self, module_id: str, wake: str, client: socket.socket) -> tuple[socket.socket, Instance]:
        """Connect a client to its module's server, which is brought up where it has to be.

        Args:
            module_id: the module.
            wake: its kind's `gateway_wake`.
            client: the connection.

        Returns:
            The connection to the server, and the instance that it was made to.

        Raises:
            ClientGone: it has left without having sent anything.
            ModhubError: the module did not come up, or not in time.
            OSError: there is no descriptor for another connection.
        """
        if awaits_bytes(up=self._serving(module_id) is not None, wake=wake):
            await _await_bytes(client)
        deadline, delay_s = self._clock() + self._timeout_s, _FIRST_DELAY_S
        while True:
            instance = self._serving(module_id)
            if instance is None:
                await self._await_up(module_id, self._remaining(module_id, deadline), _name(client))
                instance = self._serving(module_id)
            if instance is not None:
                # No await between: who is up now is not idle from here on, and is not sent home.
                self._touch(module_id)
                server = await _connect(instance, self._remaining(module_id, deadline))
                if server is not None:
                    # Its port may be another's by now. The end of an instance is told before what follows it: had it
                    # ended before this connection was made, it would be known here.
                    if self._serving(module_id) is instance:
                        return server, instance
                    server.close()
            # It is about to end, or ended at once.
            await anyio.sleep(min(delay_s, self._remaining(module_id, deadline)))
            delay_s = min(2 * delay_s, _LAST_DELAY_S)

    async def _await_up(self, module_id: str, timeout_s: float, asked_by: str) -> None:
        """Wait until a module's server is ready, or the module is up, which is told a little later."""
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        up = asyncio.create_task(self._up(module_id, timeout_s, asked_by=asked_by), name=f"gateway up {module_id}")
        self._ups.add(up)
        up.add_done_callback(self._forget)
        waiting = self._waiting.setdefault(module_id, set())
        waiting.add(started)
        try:
            await asyncio.wait((up, started), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            up.cancel()
            raise
        finally:
            waiting.discard(started)
            if not waiting:
                self._waiting.pop(module_id, None)
        # One that has started is not waited for any more: what follows is the client's, and comes first.
        if up.done():
            up.result()

    def _forget(self, up: asyncio.Task[ModuleInfo]) -> None:
        self._ups.discard(up)
        if not up.cancelled():
            up.exception()  # seen: the connection may have gone on without it

    async def aclose(self) -> None:
        """Wait for what still waits; its source of modules is closed already."""
        await asyncio.gather(*self._ups, return_exceptions=True)

    def _serving(self, module_id: str) -> Instance | None:
        return serving(self._directory.find(module_id))

    def _touch(self, module_id: str) -> None:
        if (entry := self._directory.find(module_id)) is not None:
            self._directory.touch(entry)

    def _remaining(self, module_id: str, deadline: float) -> float:
        remaining = deadline - self._clock()
        if remaining <= 0:
            raise OperationTimeout(
                f"module {module_id!r} took no connection within {self._timeout_s:g} s", op_id="", started=False
            )
        return remaining


def _name(client: socket.socket) -> str:
    try:
        host, port, *_ = client.getpeername()
    except OSError:  # gone already
        return "gateway"
    return f"gateway {host} {port}"


async def _await_bytes(client: socket.socket) -> None:
    await anyio.wait_readable(client)
    try:
        if client.recv(1, socket.MSG_PEEK):
            return
    except OSError as error:
        raise ClientGone from error
    raise ClientGone


async def _connect(instance: Instance, timeout_s: float) -> socket.socket | None:
    """Connect to an instance; `None` = it does not take connections now."""
    server = socket.socket(socket.AF_INET6 if ":" in instance.host else socket.AF_INET)
    try:
        code = await connect_socket(server, (instance.host, instance.port), timeout_s)
    except BaseException:
        server.close()
        raise
    if code == 0:
        return server
    server.close()
    if code in {errno.ECONNREFUSED, errno.ECONNRESET, errno.ETIMEDOUT}:
        return None
    raise OSError(code, os.strerror(code))


async def connect_socket(server: socket.socket, address: tuple[str, int], timeout_s: float) -> int:
    """Connect a socket; returns 0, or why it can't be connected: a number of `errno`."""
    server.setblocking(False)
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    code = server.connect_ex(address)
    if code not in {0, errno.EINPROGRESS}:
        return code
    with anyio.move_on_after(timeout_s):
        # Also where it is connected already: by this turn of the loop the end of an instance is known.
        await anyio.wait_writable(server)
        return server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return errno.ETIMEDOUT
