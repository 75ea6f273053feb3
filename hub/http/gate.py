"""The first look at a request: whether it comes from where it may."""

from __future__ import annotations

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from hub.http.origin import Provenance, host_allowed, is_loopback, refusal, virtual_host_refusal
from hub.http.paths import VIRTUAL_HOST, is_page, route_path
from hub.http.problem import Refused
from hub.http.refusing import refuse
from hub.http.service import Service


class Gate:
    """Refuses requests by address, `Host`, `Origin` and `Sec-Fetch-*`, before anything else is done for them.

    Without tokens only this machine may ask, and no page but the hub's own. With tokens neither matters: a browser sends
    no bearer token of its own accord, so other sites' pages have nothing to ride on. Between the hub and its modules'
    virtual hosts it always matters: something before the hub may add a token to whatever comes.

    Args:
        app: what answers.
        service: the application's state.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        reason = self.refusal(scope)
        if reason is None:
            await self._app(scope, receive, send)
            return
        refused = Refused("forbidden", reason[0], hint=reason[1])
        self._service.log_refusal(scope, refused)
        await refuse(refused, scope, receive, send)

    def refusal(self, scope: Scope) -> tuple[str, str] | None:
        """Return why a request is refused, and what can be done about it; `None` = it is not."""
        service, headers = self._service, HTTPConnection(scope).headers
        virtual = scope.get(VIRTUAL_HOST) is not None
        secured = service.authenticator.required
        if not secured and not is_loopback(service.address(scope)):
            return "without tokens only this machine may ask", "configure tokens: `modhub token` makes one"
        names = (service.config.host, *service.config.allowed_hosts)
        if virtual or not secured:
            provenance = Provenance(
                method=scope.get("method", "GET"),
                page=is_page(route_path(scope)),
                scheme=service.scheme(scope),
                host=headers.get("host"),
                origin=headers.get("origin"),
                fetch_site=headers.get("sec-fetch-site"),
                fetch_mode=headers.get("sec-fetch-mode"),
                fetch_dest=headers.get("sec-fetch-dest"),
            )
            reason = virtual_host_refusal(provenance) if virtual else refusal(provenance, names)
            hint = "call it by a name of `allowed_hosts` or loopback, and not from another site's page"
            return (reason, hint) if reason is not None else None
        if service.hosts.is_origin(headers.get("origin")):
            return "it was sent by a module's page", "only the hub's own pages may act on the hub"
        if service.config.allowed_hosts and not host_allowed(headers.get("host"), names, loopback=True):
            return "the hub does not go by this Host", "add it to `allowed_hosts`"
        return None
