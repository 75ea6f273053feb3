"""Refuse a request outside of the framework, be it HTTP or a WebSocket."""

from __future__ import annotations

from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketClose

from hub.errors import ModhubError
from hub.http.problem import Refused, response_of
from hub.http.security_headers import API

_POLICY_VIOLATION = 1008


async def refuse(error: ModhubError | Refused, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with a problem; a WebSocket too, where the server can, before it is accepted."""
    response = response_of(error)
    for name, value in API.items():
        response.headers.setdefault(name, value)
    if scope["type"] == "http":
        await response(scope, receive, send)
    elif "websocket.http.response" in scope.get("extensions", {}):
        start, body = "websocket.http.response.start", "websocket.http.response.body"
        await send({"type": start, "status": response.status_code, "headers": response.raw_headers})
        await send({"type": body, "body": response.body})
    else:
        await WebSocketClose(_POLICY_VIOLATION)(scope, receive, send)
