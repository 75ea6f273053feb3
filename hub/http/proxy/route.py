"""What was decided about requests for the fast lane, such that it holds for the next one too."""

from __future__ import annotations

import re
from collections.abc import Callable, MutableMapping
from typing import Any

from hub.errors import ModhubError
from hub.http.proxy.request_head import RequestHead
from hub.http.proxy.resolve import Live
from hub.http.proxy.target import Target

# A first line that every parser reads in one way. Its groups: method, module, and the target as the instance gets it.
FIRST_LINE = re.compile(
    rb"(GET|HEAD) /hub/proxy/([A-Za-z0-9][A-Za-z0-9-]{0,62})(/[!-\"$->@-~]*(?:\?[!-\"$-~]+)?)\?? HTTP/1\.1\r\n"
)


Scope = MutableMapping[str, Any]


class Route:
    """What was decided for requests that differ in their target only.

    Args:
        module_id: the module.
        request: the head of one of them.
    """

    __slots__ = ("_live", "_request", "_rest", "method", "module_id", "no_body", "prefix")

    def __init__(self, module_id: str, request: RequestHead) -> None:
        self.module_id = module_id
        self.prefix = request.prefix
        self.method = request.method.encode() + b" "
        self.no_body = request.method == "HEAD"
        self._request = request
        self._live: Live | None = None
        self._rest = b""

    def encode(self, live: Live, target: bytes) -> bytes:
        """Return the head for a process and a target."""
        if live is not self._live:
            _, version, rest = self._request.encode(live.authority).partition(b" HTTP/1.1\r\n")
            self._live, self._rest = live, version + rest
        return self.method + target + self._rest


def route_of(scope: Scope, read: Callable[[Scope], tuple[Target, RequestHead]]) -> Route | None:
    """Return the route of a request that may be asked; `None` = it has to go the long way.

    Args:
        scope: the ASGI scope, as the application before the proxy hands it on.
        read: reads where it is bound for, and the head for the instance.
    """
    try:
        target, request = read(scope)
    except ModhubError:
        return None
    plain = request.length is None and not (request.chunked or request.expects or request.last)
    return Route(target.module_id, request) if plain and target.path else None
