"""One request on its way to an instance and the answer on its way back, both at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any

from hub.http.proxy.answer_head import rewrite
from hub.http.proxy.connection import InstanceConnection
from hub.http.proxy.errors import BadProxyRequest, ClientGone
from hub.http.proxy.request_head import RequestHead

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# As RFC 9110 (10.1.1) has it, nobody waits for ever for an instance that knows nothing of 100 (Continue).
_CONTINUE_S = 1.0
# An answer that takes no longer is passed on without a look at whether the client is still there.
_WATCH_AFTER_S = 0.02


class Exchange:
    """One request and its answer.

    Args:
        request: the head to send.
        receive: the ASGI server's, which gives the request's body.
        send: the ASGI server's, which takes the answer.
        sandbox: whether the instance's pages are to run in an origin of their own.
    """

    __slots__ = ("_asked", "_receive", "_request", "_sandbox", "_send", "_sent", "_whole", "started")

    def __init__(self, request: RequestHead, receive: Receive, send: Send, *, sandbox: bool) -> None:
        self._request = request
        self._receive = receive
        self._send = send
        self._sandbox = sandbox
        self._sent = 0  # bytes of the body
        self._whole = False
        self._asked = False  # whether the server was asked for the body, and so has told the client to send it
        self.started = False

    @property
    def repeatable(self) -> bool:
        """Whether it can be tried again elsewhere, if it did not succeed: nothing that is gone was needed for it."""
        return self._request.repeatable and not self._sent and not self.started

    @property
    def body_is_due(self) -> bool:
        """Whether the client has body left to send, which it may not even have been asked for."""
        return not self._whole and (self._request.chunked or bool(self._request.length))

    async def run(self, connection: InstanceConnection) -> None:
        """Carry out the request on a connection.

        Raises:
            ClientGone: the client has closed its connection.
            ProxyError: there is no answer, or it broke off; `started` tells which.
        """
        request = self._request
        connection.begin(request.encode(connection.authority), no_body=request.method == "HEAD")
        sender: asyncio.Task[None] | None = None

        def start() -> None:
            nonlocal sender
            sender = asyncio.create_task(self._send_body(connection), name="proxy request body")
            sender.add_done_callback(partial(_pass_failure, connection))

        starter: asyncio.TimerHandle | None = None
        if self.body_is_due:
            start()
        else:
            # A task only to watch for the client's end costs more than many an answer takes.
            self._whole = connection.sent_all = True
            starter = asyncio.get_running_loop().call_later(_WATCH_AFTER_S, start)
        try:
            await self._pass_answer(connection)
        finally:
            if starter is not None:
                starter.cancel()
            if sender is not None:
                sender.cancel()
                await asyncio.wait((sender,))

    async def _pass_answer(self, connection: InstanceConnection) -> None:
        request = self._request
        answer = await connection.head()
        fields = rewrite(answer, prefix=request.prefix, authority=connection.authority, sandbox=self._sandbox)
        if request.last or (request.expects and not self._asked):
            # After the latter the client may send the body or not: the server could not tell it from a next request.
            fields.append((b"connection", b"close"))
        self.started = True
        await self._send({"type": "http.response.start", "status": answer.status, "headers": fields})
        last = False
        while not last:
            piece, last = await connection.piece()
            await self._send({"type": "http.response.body", "body": piece, "more_body": not last})

    async def _send_body(self, connection: InstanceConnection) -> None:
        """Pass on the body, then watch for the client's end."""
        request = self._request
        if request.expects:
            await connection.continued(_CONTINUE_S)
        while not self._whole:
            self._asked = True
            message = await self._receive()
            if message["type"] == "http.disconnect":
                connection.fail(ClientGone())
                return
            body: bytes = message.get("body", b"")
            self._whole = not message.get("more_body", False)
            self._sent += len(body)
            if request.chunked:
                end = b"0\r\n\r\n" if self._whole else b""
                if body:
                    connection.write(b"%x\r\n%b\r\n%b" % (len(body), body, end))
                elif end:
                    connection.write(end)
            elif self._sent > (request.length or 0) or (self._whole and self._sent < (request.length or 0)):
                connection.fail(BadProxyRequest("the body is not as long as it was told"))
                return
            elif body:
                connection.write(body)
            await connection.drain()
        connection.sent_all = True
        while (await self._receive())["type"] != "http.disconnect":
            pass
        connection.fail(ClientGone())


def _pass_failure(connection: InstanceConnection, sender: asyncio.Task[None]) -> None:
    """Let nobody wait for an answer to a body that could not be sent."""
    error = None if sender.cancelled() else sender.exception()
    if isinstance(error, Exception):
        connection.fail(error)
