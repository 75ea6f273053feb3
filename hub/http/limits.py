"""What one client can take of the hub: requests at one time, bytes of a body, time to send it and to read its answer."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.http.paths import is_proxied, route_path
from hub.http.problem import Refused
from hub.http.refusing import refuse
from hub.http.service import Service

_SLOT = "modhub.slot"
_BODY_TIMEOUTS = 4  # for all of a body: it has a limit, and whoever sends a byte now and then holds a slot meanwhile
_EXEMPT = frozenset({"/health"})  # asked by what decides whether to restart the hub: it must not hear of its load


class SlowReader(Exception):
    """A client did not read what it was sent; its connection is given up."""


class Slot:
    """A place among the requests that may be at work at one time."""

    def __init__(self, limits: Limits) -> None:
        self._limits: Limits | None = limits

    def release(self) -> None:
        """Give it back, once: for a request that goes on for ever and is counted elsewhere."""
        if self._limits is not None:
            self._limits.at_work -= 1
            self._limits = None


def release_slot(scope: Scope) -> None:
    """Count a request no more among those at work."""
    slot: Slot | None = scope.get(_SLOT)
    if slot is not None:
        slot.release()


class Limits:
    """Holds requests to their limits; those to instances are the proxy's business.

    Args:
        app: what answers.
        service: the application's state.

    Attributes:
        at_work: requests that are at work.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service
        self._config = service.config
        self.at_work = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, within its limits."""
        if scope["type"] != "http" or is_proxied(scope):
            await self._app(scope, receive, send)
            return
        path = route_path(scope)
        if (refused := self._refusal(scope, path)) is not None:
            self._service.log_refusal(scope, refused)
            await refuse(refused, scope, receive, send)
            return
        slot = scope[_SLOT] = Slot(self)
        self.at_work += 1
        try:
            await self._app(scope, self._limited_receive(receive), self._timed_send(send))
        except SlowReader:
            return  # the server closes a connection whose answer is not complete
        finally:
            slot.release()

    def _refusal(self, scope: Scope, path: str) -> Refused | None:
        length = Headers(scope=scope).get("content-length", "0")
        if length.isdecimal() and int(length) > self._config.max_body_bytes:
            return self._too_large()
        if self.at_work >= self._config.max_requests and path not in _EXEMPT:
            return overloaded(f"{self._config.max_requests} requests are at work already")
        return None

    def _too_large(self) -> Refused:
        return Refused(
            "body-too-large",
            f"the body is longer than {self._config.max_body_bytes} bytes",
            hint="send less, in several requests",
            headers={"connection": "close"},  # the rest of it is not read
        )

    def _limited_receive(self, receive: Receive) -> Receive:
        received, complete = 0, False
        loop = asyncio.get_running_loop()
        end = loop.time() + self._config.body_timeout * _BODY_TIMEOUTS

        async def limited() -> Message:
            nonlocal received, complete
            if complete:
                return await receive()  # what comes now is the client's leaving, whenever that is
            try:
                async with asyncio.timeout_at(min(end, loop.time() + self._config.body_timeout)):
                    message = await receive()
            except TimeoutError:
                raise Refused(
                    "request-timeout",
                    f"the body paused for {self._config.body_timeout:g} s, or took {_BODY_TIMEOUTS} times as long",
                    headers={"connection": "close"},
                ) from None
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > self._config.max_body_bytes:
                    raise self._too_large()
                complete = not message.get("more_body", False)
            return message

        return limited

    def _timed_send(self, send: Send) -> Send:
        async def timed(message: Message) -> None:
            try:
                async with asyncio.timeout(self._config.send_timeout):
                    await send(message)
            except TimeoutError:
                raise SlowReader from None

        return timed


def overloaded(detail: str) -> Refused:
    """Return the refusal of one request too many."""
    return Refused("overloaded", detail, hint="try again later", retry_after_s=1.0)
