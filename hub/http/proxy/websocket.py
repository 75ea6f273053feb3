"""WebSockets: a client's, and one to the instance for it; messages and close codes pass from each to the other."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus
from websockets.frames import Close
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from hub.http.config import Token
from hub.http.proxy.answer_head import AnswerHead, rewrite
from hub.http.proxy.errors import BadInstanceAnswer, InstanceTimeout, InstanceUnreachable
from hub.http.proxy.exchange import Receive, Send
from hub.http.proxy.request_head import INSTANCE, TOKEN, Fields
from hub.http.proxy.resolve import Live, Resolver
from hub.http.proxy.target import Target

MAX_MESSAGE = 16 * 1024 * 1024
_CONNECT_S = 5.0
_CLOSE_S = 2.0
_SEPARATORS = re.compile(r"[.,:;=~|]")
# Of the instance's own handshake; ours with the client has its own.
_HANDSHAKE = ("sec-websocket-", "content-length")
# Codes that tell how a connection ended and can't be sent.
_GOING_AWAY, _BAD_GATEWAY, _TOO_BIG = 1001, 1014, 1009
_UNSENDABLE = frozenset({1005, 1006, 1015})


class Refused(Exception):
    """The instance refused the handshake.

    Attributes:
        answer: with what head.
        body: and what body.
    """

    def __init__(self, answer: AnswerHead, body: bytes) -> None:
        super().__init__(answer.status)
        self.answer = answer
        self.body = body


class Secrets:
    """Knows the hub's tokens when it sees them, by their hashes.

    Args:
        tokens: the tokens.
    """

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._hashes = frozenset(bytes.fromhex(token.sha256) for token in tokens)

    def within(self, text: str) -> bool:
        """Tell whether a token, or a part of this text after or between separators, is one."""
        if not self._hashes:
            return False
        ends = [0, *(found.end() for found in _SEPARATORS.finditer(text))]
        parts = {text, *(text[end:] for end in ends), *_SEPARATORS.split(text)}
        return any(hashlib.sha256(part.encode()).digest() in self._hashes for part in parts)


async def dial(
    live: Live, resolver: Resolver, target: Target, fields: Fields, *, subprotocols: Sequence[str], timeout_s: float
) -> ClientConnection:
    """Open a WebSocket to an instance.

    Not by `websockets.connect`: it follows redirects and the environment's proxies, both to wherever they lead.

    Args:
        live: the process that serves the module.
        resolver: asked after connecting, as for HTTP.
        target: what is asked for.
        fields: those of the client's handshake that are the instance's to see.
        subprotocols: what the client offers.
        timeout_s: seconds that the instance gets to answer the handshake.

    Raises:
        InstanceUnreachable: it takes no connection.
        Refused: it refuses the handshake.
        BadInstanceAnswer: it answers something else.
    """
    uri = WebSocketURI(
        secure=False, host=live.host, port=live.port, path=target.path.decode(), query=target.query[1:].decode()
    )
    offered = [Subprotocol(name) for name in subprotocols if TOKEN.fullmatch(name.encode("latin-1", "replace"))]

    def factory() -> ClientConnection:
        protocol = ClientProtocol(uri, subprotocols=offered or None, max_size=MAX_MESSAGE)
        return ClientConnection(protocol, close_timeout=_CLOSE_S)

    try:
        async with asyncio.timeout(_CONNECT_S):
            _, connection = await asyncio.get_running_loop().create_connection(factory, live.host, live.port)
    except OSError as error:  # TimeoutError is one
        raise InstanceUnreachable(f"module {live.module_id!r} takes no connection") from error
    try:
        same = await resolver.serves(live)
        if same:
            await _shake_hands(connection, fields.lines.replace(INSTANCE, live.authority), timeout_s)
    except BaseException:
        connection.transport.abort()
        raise
    if not same:
        connection.transport.abort()
        raise InstanceUnreachable(f"module {live.module_id!r} went away")
    return connection


async def _shake_hands(connection: ClientConnection, head: bytes, timeout_s: float) -> None:
    lines = head.decode("latin-1").split("\r\n")
    headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines) if name]
    try:
        async with asyncio.timeout(timeout_s):
            await connection.handshake(headers, user_agent_header=None)
    except InvalidStatus as error:
        response = error.response
        answer = AnswerHead(response.status_code, _fields(response.headers.raw_items()))
        if not 200 <= answer.status <= 599:
            raise BadInstanceAnswer("the instance's answer to a WebSocket handshake is none") from error
        raise Refused(answer, bytes(response.body or b"")) from error
    except InvalidMessage as error:
        raise InstanceUnreachable("the instance did not answer the WebSocket handshake") from error
    except TimeoutError as error:
        raise InstanceTimeout(f"the instance was silent for {timeout_s:g} s") from error
    except InvalidHandshake as error:
        raise BadInstanceAnswer(f"the instance's WebSocket handshake can't be passed on: {error}") from error
    connection.start_keepalive()


async def accept(connection: ClientConnection, send: Send, *, prefix: bytes, authority: bytes) -> None:
    """Accept the client's WebSocket as the instance has accepted ours."""
    response = connection.response
    fields = _fields(response.headers.raw_items()) if response is not None else []
    kept = rewrite(AnswerHead(101, fields), prefix=prefix, authority=authority, sandbox=False)
    kept = [(name, value) for name, value in kept if not name.decode().startswith(_HANDSHAKE)]
    await send({"type": "websocket.accept", "subprotocol": connection.subprotocol, "headers": kept})


async def relay(connection: ClientConnection, receive: Receive, send: Send) -> None:
    """Pass messages on both ways until one side closes, and tell the other side how. Each waits for the other to read."""
    upward = asyncio.create_task(_from_client(connection, receive), name="proxy websocket")
    try:
        while True:
            message = await connection.recv()
            if isinstance(message, str):
                await send({"type": "websocket.send", "text": message})
            else:
                await send({"type": "websocket.send", "bytes": message})
    except ConnectionClosed as closed:
        if not upward.done():
            code, reason = _close_code(closed.rcvd, closed.sent)
            await send({"type": "websocket.close", "code": code, "reason": reason})
    except OSError:
        pass  # the client has gone in the middle of a message
    finally:
        upward.cancel()
        connection.transport.abort()
        await asyncio.wait((upward,))


async def _from_client(connection: ClientConnection, receive: Receive) -> None:
    try:
        while (message := await receive())["type"] == "websocket.receive":
            text = message.get("text")
            await connection.send(message["bytes"] if text is None else text)
    except ConnectionClosed:
        return
    code = message.get("code", 1005)
    # Closed without a code, or simply gone: the server can't tell these apart.
    await connection.close(_GOING_AWAY if code in _UNSENDABLE else code, message.get("reason") or "")


def _close_code(received: Close | None, sent: Close | None) -> tuple[int, str]:
    if received is not None:
        return (1000 if received.code in _UNSENDABLE else received.code), received.reason
    if sent is not None and sent.code == _TOO_BIG:
        return _TOO_BIG, "a message of the instance is too large"
    return _BAD_GATEWAY, "the instance's connection broke off"


def _fields(items: Any) -> list[tuple[bytes, bytes]]:
    pairs: list[tuple[bytes, bytes]] = []
    for name, value in items:
        pair = name.lower().encode("latin-1"), value.encode("latin-1", "replace")
        if TOKEN.fullmatch(pair[0]):
            pairs.append(pair)
    return pairs


def offers(scope: Mapping[str, Any], secrets: Secrets) -> list[str]:
    """Return the subprotocols that a client offers; none that carries a token of the hub."""
    return [name for name in scope.get("subprotocols", ()) if not secrets.within(name)]
