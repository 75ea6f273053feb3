"""What all calls share: the way to the hub, the configuration, who may ask, the log."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from starlette.requests import HTTPConnection
from starlette.types import Scope

from actors import Message, Ref
from hub.answers import translated
from hub.async_hub import AsyncHub
from hub.errors import ModhubError
from hub.events import EventBus
from hub.http.auth import Authenticator, Caller, require
from hub.http.config import HttpConfig, Role
from hub.http.feed import Feed
from hub.http.origin import client_address, client_scheme
from hub.http.paths import VIRTUAL_HOST
from hub.http.problem import Refused, kind_of
from hub.http.proxy.forwarded import TrustedProxies
from hub.http.refusals import RefusalLog
from hub.http.virtual_hosts import VirtualHosts
from hub.hub import Hub

R = TypeVar("R")


class Service:
    """The state of one application.

    Args:
        hub: the hub, entered by whoever serves the application.
        config: the configuration.

    Attributes:
        config: the configuration.
        authenticator: tells who asks.
        hosts: tells which module a host is.
        bus: writes the application's own events to the log.
        feed: the hub's events, for those who listen.

    Raises:
        InvalidConfig: `trusted_proxies` can't be used.
    """

    def __init__(self, hub: AsyncHub | Hub, config: HttpConfig) -> None:
        self._hub = hub
        self.config = config
        self.authenticator = Authenticator(config.tokens)
        self._trusted = TrustedProxies(config.trusted_proxies)
        self.hosts = VirtualHosts(config)
        self.bus = EventBus()
        self.feed = Feed(self.ask)
        self._refusals = RefusalLog(self.bus)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._endings: list[Callable[[], Awaitable[None]]] = []

    @property
    def registry(self) -> Ref[Any]:
        """The hub's registry.

        Raises:
            HubClosed: the hub does not run.
        """
        return self._hub.registry

    async def ask(self, message: Message[R], timeout: float | None = None) -> R:  # noqa: ASYNC109 - a deadline that travels with the message
        """Ask the hub, from any loop; `timeout` and errors as of `AsyncHub.ask`."""
        with translated(message):
            return await self.registry.ask_async(message, timeout=timeout)

    def own(self, work: Awaitable[R]) -> asyncio.Task[R]:
        """Run something that goes on when its caller leaves; it ends with the application at the latest.

        Its failure is its awaiter's if there is one, and else nobody's: the hub has logged why an operation failed.
        """

        async def run() -> R:
            return await work

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # looked at: asyncio would else report it as lost

    def at_end(self, ending: Callable[[], Awaitable[None]]) -> None:
        """Await this when the application ends."""
        self._endings.append(ending)

    async def close(self) -> None:
        """End what still runs; operations of the hub that have started go on there."""
        await self.feed.close()
        for ending in self._endings:
            await ending()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)  # not by awaiting each: our own cancellation must not pass for theirs

    def address(self, scope: Scope) -> str:
        """Return where a request comes from; empty on a Unix socket."""
        client = scope.get("client")
        # All its lines: a proxy may add one of its own behind the one that the client wrote.
        told = HTTPConnection(scope).headers.getlist("x-forwarded-for") if self.config.trusted_proxies else []
        return client_address(client[0] if client else "", ",".join(told), self._trusted.__contains__)

    def scheme(self, scope: Scope) -> str:
        """Return `http` or `https`, as the client came."""
        client = scope.get("client")
        # The last of its lines, as a proxy may have added one behind the client's.
        told = HTTPConnection(scope).headers.getlist("x-forwarded-proto") if self.config.trusted_proxies else []
        peer = client[0] if client else ""
        return client_scheme(scope["scheme"], peer, told[-1] if told else None, self._trusted.__contains__)

    def admit(self, scope: Scope, role: Role) -> Caller:
        """Return who sends a request that needs a role, and remember it with the request.

        Raises:
            Refused: they may not.
        """
        authorization = HTTPConnection(scope).headers.get("authorization")
        caller = self.authenticator.identify(authorization, self.address(scope))
        scope.setdefault("state", {})["caller"] = caller  # `request.state`, where the proxy looks for it too
        require(caller, role)
        return caller

    def log_refusal(self, scope: Scope, error: ModhubError | Refused) -> None:
        """Log that a request was refused."""
        status = error.status_code if isinstance(error, Refused) else kind_of(error).status
        caller: Caller | None = scope.get("state", {}).get("caller")
        label: str | None = scope.get(VIRTUAL_HOST)
        self._refusals.write(
            method=scope.get("method", "WEBSOCKET"),
            path=scope["path"] if label is None else f"//{label}.{self.config.proxy_domain}{scope['path']}",
            status=status,
            code=error.code,
            client=self.address(scope),
            asked_by=caller.asked_by if caller else None,
        )


def caller_of(scope: Scope) -> Caller:
    """Return who sends a request that was admitted."""
    caller: Caller = scope["state"]["caller"]
    return caller
