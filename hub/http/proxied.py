"""The way to the proxy: before the router, since every request to an instance passes here."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from hub.errors import HubClosed, ModhubError
from hub.http.paths import PROXY, VIRTUAL_HOST, is_proxied
from hub.http.problem import Refused, response_of
from hub.http.proxy import ProxyApp
from hub.http.proxy import app as proxy_app
from hub.http.refusing import refuse
from hub.http.security_headers import API
from hub.http.service import Service


class Proxied:
    """Hands requests for instances to the proxy, from those who may.

    Args:
        app: what answers everything else.
        service: the application's state.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service
        self._proxy: ProxyApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request or a WebSocket."""
        if scope["type"] not in {"http", "websocket"} or not is_proxied(scope):
            await self._app(scope, receive, send)
            return
        try:
            proxy = self._open(scope)
            self._service.admit(scope, self._service.config.proxy_role)
        except (Refused, HubClosed) as error:
            self._service.log_refusal(scope, error)
            await refuse(error, scope, receive, send)
            return
        root = "" if scope.get(VIRTUAL_HOST) is not None else scope.get("root_path", "").rstrip("/") + PROXY
        await proxy(dict(scope, root_path=root), receive, send)

    def _open(self, scope: Scope) -> ProxyApp:
        if not self._service.config.proxy:
            raise Refused("not-found", "the proxy is off", hint="`proxy = true` in `[http]`")
        if scope.get(VIRTUAL_HOST) is not None and scope.get("root_path", "").strip("/"):
            raise Refused("not-found", "a virtual host leads nowhere here", hint="serve the hub at the path /")
        if self._proxy is None:  # not before: the hub may have been entered after the application was made
            self._proxy = ProxyApp(self._service.registry, self._service.config, refuse=refusal)
            self._service.at_end(self._proxy.aclose)
        return self._proxy


def refusal(error: ModhubError) -> proxy_app.Refusal:
    """Return status, fields and body of the answer to a request that the proxy could not pass on."""
    response = response_of(error)
    fields = [*response.raw_headers, *((name.encode(), value.encode()) for name, value in API.items())]
    return response.status_code, fields, bytes(response.body)
