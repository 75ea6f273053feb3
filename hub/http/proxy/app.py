"""The proxy as an ASGI application: `/hub/proxy/{id}/{path}`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, MutableMapping
from typing import Any

from websockets.asyncio.client import ClientConnection

from actors import Ref
from hub.awake import Awakener
from hub.errors import ModhubError
from hub.http.config import HttpConfig
from hub.http.proxy.answer_head import rewrite
from hub.http.proxy.connection import InstanceConnection
from hub.http.proxy.errors import BadProxyRequest, ClientGone, InstanceUnreachable, ProxyError
from hub.http.proxy.exchange import Exchange, Receive, Send
from hub.http.proxy.forwarded import TrustedProxies
from hub.http.proxy.lane import Lane
from hub.http.proxy.pool import Pool
from hub.http.proxy.request_head import Fields, RequestHead, read_fields, read_request
from hub.http.proxy.resolve import Live, Resolver
from hub.http.proxy.target import Target, locate
from hub.http.proxy.websocket import Refused, Secrets, accept, dial, offers, relay

Scope = MutableMapping[str, Any]
Refusal = tuple[int, list[tuple[bytes, bytes]], bytes]
Refuse = Callable[[ModhubError], Refusal]

# How long the hub may take to notice that a process has ended.
_NOTICE_S = 0.3
_LISTEN_S = 1.0


def refuse(error: ModhubError) -> Refusal:
    """Make the answer that tells an error: its status, fields and body (RFC 9457)."""
    status, title = 502, "The hub could not do it"
    if isinstance(error, ProxyError):
        status, title = error.status, error.title
    elif isinstance(error, LookupError):
        status, title = 404, "No such module"
    elif isinstance(error, ValueError):
        status, title = 400, "Not a module id"
    retry_after_s: float | None = getattr(error, "retry_after_s", None)
    body: dict[str, Any] = {
        "type": f"urn:modhub:problem:{error.code}",
        "title": title,
        "status": status,
        "detail": error.message,
        "hint": error.hint,
        "code": error.code,
    }
    fields = [(b"content-type", b"application/problem+json")]
    if retry_after_s is not None:
        body["retry_after_s"] = retry_after_s
        fields.append((b"retry-after", b"%d" % max(1, math.ceil(retry_after_s))))
    return status, fields, json.dumps(body).encode()


class ProxyApp:
    """Passes requests on to instances, waking those that sleep. Lives on one event loop.

    It asks nobody who the client is, and what they may do: whatever stands before it does. It goes by the scope's
    `client` as the address of whoever connected.

    Args:
        registry: the registry's ref.
        config: `proxy_wake_timeout`, `proxy_timeout`, `body_timeout`, `proxy_sandbox`, `trusted_proxies`; with `tokens`,
            `Authorization` is for the hub and reaches no instance.
        refuse: makes the answer that tells an error.
        mount: path at which it is mounted.

    Attributes:
        lane: the fast lane, for a server that knows of it; who may take it is that one's to ask.

    Raises:
        InvalidConfig: `trusted_proxies` can't be used.
    """

    def __init__(
        self, registry: Ref[Any], config: HttpConfig, *, refuse: Refuse = refuse, mount: str = "/hub/proxy"
    ) -> None:
        self._config = config
        self._refuse = refuse
        self._mount = mount.encode()
        self._trusted = TrustedProxies(config.trusted_proxies)
        self._strip = bool(config.tokens)
        self._secrets = Secrets(config.tokens)
        self._websockets: set[ClientConnection] = set()
        self._awakener = Awakener(registry, asked_by="proxy")
        self._resolver = Resolver(registry, self._awakener, config.proxy_wake_timeout)
        self._pool = Pool(self._resolver, config.proxy_timeout, config.body_timeout)
        self.lane = Lane(self._resolver, self._pool, sandbox=config.proxy_sandbox, tell=self._tell)

    async def aclose(self) -> None:
        """End all that is on its way, and every connection to an instance."""
        self._pool.close()
        for connection in tuple(self._websockets):
            connection.transport.abort()
        await self._awakener.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket."""
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._serve_websocket(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Exchange | None = None
        try:
            target, request = self.read(scope)
            if not target.path:
                await _redirect(target, request.prefix, send)
                return
            exchange = Exchange(request, receive, send, sandbox=self._config.proxy_sandbox)
            await self._exchange(exchange, target.module_id, asked_by(scope))
        except ClientGone:
            return
        except ModhubError as error:
            if exchange is not None and exchange.started:
                return  # the server ends the client's connection: nothing else tells that the body is not complete
            # Where a body was announced and not read, nobody can tell what follows from a next request.
            close = isinstance(error, BadProxyRequest) or (exchange is not None and exchange.body_is_due)
            status, fields, body = self._tell(error)
            if close:
                fields.append((b"connection", b"close"))
            await send({"type": "http.response.start", "status": status, "headers": fields})
            await send({"type": "http.response.body", "body": body})

    def read(self, scope: Scope) -> tuple[Target, RequestHead]:
        """Read where a request is bound for, and make the head for its instance.

        Raises:
            ModhubError: it can't be passed on.
        """
        target = locate(scope, self._mount)
        return target, read_request(scope, target, self._trusted, strip_authorization=self._strip)

    def _tell(self, error: ModhubError) -> Refusal:
        status, fields, body = self._refuse(error)
        fields = [field for field in fields if field[0] != b"content-length"]
        return status, [*fields, (b"content-length", b"%d" % len(body))], body

    async def _exchange(self, exchange: Exchange, module_id: str, asked_by: str) -> None:
        """Carry out a request; where the instance has just gone away, once more when it is back."""
        live = self._resolver.recent(module_id) if exchange.repeatable and not exchange.body_is_due else None
        connection = self._pool.reuse(live) if live is not None else None
        if live is None or connection is None:
            live = await self._resolver.live(module_id, asked_by)
            connection = self._pool.reuse(live)
        if connection is not None:
            try:
                return await self._run(exchange, live, connection)
            except InstanceUnreachable:
                # It may have closed an idle connection just now: that says nothing of the instance.
                if not exchange.repeatable:
                    raise
            self._resolver.forget(module_id)
            live = await self._resolver.live(module_id, asked_by)
        try:
            connection = await self._pool.connect(live)
        except InstanceUnreachable:
            await self._resolver.gone(live, _LISTEN_S)
        else:
            try:
                return await self._run(exchange, live, connection)
            except InstanceUnreachable:
                if not exchange.repeatable or not await self._resolver.gone(live, _NOTICE_S):
                    raise
        live = await self._resolver.live(module_id, asked_by)
        return await self._run(exchange, live, await self._pool.connect(live))

    async def _serve_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        prefix = authority = b""
        connection: ClientConnection | None = None
        await receive()  # websocket.connect
        try:
            target = locate(scope, self._mount)
            fields = read_fields(scope, target, self._trusted, strip_authorization=self._strip)
            prefix = fields.prefix
            live, connection = await self._dial(scope, target, fields)
            authority = live.authority
        except Refused as refused:
            fields_out = rewrite(refused.answer, prefix=prefix, authority=authority, sandbox=self._config.proxy_sandbox)
            await _deny(scope, send, refused.answer.status, fields_out, refused.body)
        except ModhubError as error:
            await _deny(scope, send, *self._refuse(error))
        if connection is None:
            return
        self._websockets.add(connection)
        try:
            await accept(connection, send, prefix=prefix, authority=authority)
            await relay(connection, receive, send)
        finally:
            self._websockets.discard(connection)
            connection.transport.abort()

    async def _dial(self, scope: Scope, target: Target, fields: Fields) -> tuple[Live, ClientConnection]:
        """Open the WebSocket to the instance; where it has just gone away, once more when it is back."""
        subprotocols = offers(scope, self._secrets)
        timeout_s = self._config.proxy_timeout
        live = await self._resolver.live(target.module_id, asked_by(scope))
        try:
            return live, await dial(
                live, self._resolver, target, fields, subprotocols=subprotocols, timeout_s=timeout_s
            )
        except InstanceUnreachable:
            if not await self._resolver.gone(live, _LISTEN_S):
                raise
        live = await self._resolver.live(target.module_id, asked_by(scope))
        return live, await dial(live, self._resolver, target, fields, subprotocols=subprotocols, timeout_s=timeout_s)

    async def _run(self, exchange: Exchange, live: Live, connection: InstanceConnection) -> None:
        try:
            await exchange.run(connection)
        finally:
            self._pool.give_back(live, connection)


def asked_by(scope: Scope) -> str:
    """Tell who asks, if those before us have noted it."""
    return str(getattr(scope.get("state", {}).get("caller"), "asked_by", ""))


async def _redirect(target: Target, prefix: bytes, send: Send) -> None:
    """Send the client to the module's root: without the slash, relative links in its page would lead elsewhere."""
    fields = [(b"location", prefix + b"/" + target.query), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 308, "headers": fields})
    await send({"type": "http.response.body", "body": b""})


async def _deny(scope: Scope, send: Send, status: int, fields: list[tuple[bytes, bytes]], body: bytes) -> None:
    """Refuse a WebSocket; with an answer where the server can give one, else it says 403."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close"})
        return
    fields = [field for field in fields if field[0] != b"content-length"]
    await send({"type": "websocket.http.response.start", "status": status, "headers": fields})
    await send({"type": "websocket.http.response.body", "body": body})
