"""The way to the proxy: before the router, since every request to an instance passes here."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from hub.errors import HubClosed, ModhubError
from hub.http.gate import Gate
from hub.http.paths import PROXY, VIRTUAL_HOST, is_proxied
from hub.http.problem import Refused, response_of
from hub.http.proxy import ProxyApp
from hub.http.proxy import app as proxy_app
from hub.http.proxy.lane import Lane
from hub.http.proxy.route import Route, route_of
from hub.http.refusing import refuse
from hub.http.security_headers import API
from hub.http.service import Service


class ProxyAccess:
    """The one way to the proxy, for those who may.

    Args:
        service: the application's state.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._gate = Gate(_nothing, service)
        self._proxy: ProxyApp | None = None

    @property
    def lane(self) -> Lane | None:
        """The proxy's fast lane; none as long as nobody was admitted to the proxy."""
        return self._proxy.lane if self._proxy is not None else None

    def route(self, scope: Scope) -> Route | None:
        """Decide about a request for the fast lane, as it is decided for one that passes through the application.

        Args:
            scope: its ASGI scope, its path below `/hub/proxy/`.

        Returns:
            Its route; `None` = it has to go through the application, be it to be refused there.
        """
        self._service.hosts.note(scope)
        # The path says nothing where the host names the module.
        if scope[VIRTUAL_HOST] is not None or self._gate.refusal(scope) is not None:
            return None
        try:
            proxy = self.admit(scope)
        except (Refused, HubClosed):
            return None
        return route_of(below_proxy(scope), proxy.read)

    def admit(self, scope: Scope) -> ProxyApp:
        """Return the proxy for a request.

        Raises:
            Refused: they may not.
            HubClosed: the hub does not run.
        """
        proxy = self._open(scope)
        self._service.admit(scope, self._service.config.proxy_role)
        return proxy

    def _open(self, scope: Scope) -> ProxyApp:
        if not self._service.config.proxy:
            raise Refused("not-found", "the proxy is off", hint="`proxy = true` in `[http]`")
        if scope.get(VIRTUAL_HOST) is not None and scope.get("root_path", "").strip("/"):
            raise Refused("not-found", "a virtual host leads nowhere here", hint="serve the hub at the path /")
        if self._proxy is None:  # not before: the hub may have been entered after the application was made
            self._proxy = ProxyApp(self._service.registry, self._service.config, refuse=refusal)
            self._service.at_end(self._proxy.aclose)
        return self._proxy


class Proxied:
    """Hands requests for instances to the proxy, from those who may.

    Args:
        app: what answers everything else.
        service: the application's state.
        access: the way to the proxy.
    """

    def __init__(self, app: ASGIApp, service: Service, access: ProxyAccess) -> None:
        self._app = app
        self._service = service
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request or a WebSocket."""
        if scope["type"] not in {"http", "websocket"} or not is_proxied(scope):
            await self._app(scope, receive, send)
            return
        try:
            proxy = self._access.admit(scope)
        except (Refused, HubClosed) as error:
            self._service.log_refusal(scope, error)
            await refuse(error, scope, receive, send)
            return
        await proxy(below_proxy(scope), receive, send)


def below_proxy(scope: Scope) -> Scope:
    """Return the scope of a request as the proxy gets it, which is mounted below us."""
    root = "" if scope.get(VIRTUAL_HOST) is not None else scope.get("root_path", "").rstrip("/") + PROXY
    return dict(scope, root_path=root)


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer nothing: what the gate decides is asked of it alone."""


def refusal(error: ModhubError) -> proxy_app.Refusal:
    """Return status, fields and body of the answer to a request that the proxy could not pass on."""
    response = response_of(error)
    fields = [*response.raw_headers, *((name.encode(), value.encode()) for name, value in API.items())]
    return response.status_code, fields, bytes(response.body)
