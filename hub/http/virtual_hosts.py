"""Virtual hosts: `{id}.{proxy_domain}` is an origin of its own for a module's pages, apart from the hub's and all others.

A browser keeps origins apart by name and port. So a page there can load its own scripts and keep cookies, which it can't
below a path of the hub's own origin without being able to act on the hub too.
"""

from __future__ import annotations

from functools import lru_cache

from starlette.types import ASGIApp, Receive, Scope, Send

from hub.http.config import HttpConfig
from hub.http.origin import split_host, split_origin
from hub.http.paths import VIRTUAL_HOST


class VirtualHosts:
    """Tells the names of modules from those of the hub.

    Args:
        config: `proxy_domain`; a name that is listed in `allowed_hosts`, or is `host`, is the hub's own wherever it is.

    Attributes:
        domain: the domain below which modules have names; empty = they have none.
    """

    def __init__(self, config: HttpConfig) -> None:
        self.domain = config.proxy_domain.lower()
        self._suffix = f".{self.domain}" if self.domain else ""
        self._own = frozenset(name.lower() for name in (config.host, *config.allowed_hosts))
        self.label = lru_cache(maxsize=1024)(self._label)

    def note(self, scope: Scope) -> None:
        """Note with a request which virtual host it is for; whatever decides about one needs it."""
        host = next((value for name, value in scope["headers"] if name == b"host"), b"")
        scope[VIRTUAL_HOST] = self.label(host.decode("latin-1"))

    def _label(self, host: str | None) -> str | None:
        """Return what a `Host` names below the domain, a module's id or not; `None` = the host is not below it."""
        split = split_host(host) if self._suffix else None
        return None if split is None else self._below(split[0])

    def is_origin(self, origin: str | None) -> bool:
        """Tell whether an `Origin` is that of a module's pages."""
        split = split_origin(origin) if self._suffix and origin else None
        return split is not None and self._below(split[0]) is not None

    def _below(self, name: str) -> str | None:
        name = name.removesuffix(".")  # the same name to whoever resolves it, another origin to a browser
        if not name.endswith(self._suffix) or name in self._own:
            return None
        return name.removesuffix(self._suffix)


class ByHost:
    """Notes with each request which virtual host it is for, before anything is decided about it.

    Args:
        app: what answers.
        hosts: tells the names.
    """

    def __init__(self, app: ASGIApp, hosts: VirtualHosts) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] in {"http", "websocket"}:
            self._hosts.note(scope)
        await self._app(scope, receive, send)
