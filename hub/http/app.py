"""The application: calls, pages, the proxy, and what stands before them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

from fastapi import FastAPI
from starlette.middleware import Middleware

from hub._version import __version__
from hub.async_hub import AsyncHub
from hub.http import routes_events, routes_hub, routes_modules, routes_operations
from hub.http.calls import NO_ROLE, ROLE_KEY, Call, CheckedRoute
from hub.http.config import HttpConfig
from hub.http.failures import DefectsAnswered, install_handlers
from hub.http.gate import Gate
from hub.http.limits import Limits
from hub.http.openapi import describe, description_routes
from hub.http.pages import dashboard_routes
from hub.http.proxied import Proxied, ProxyAccess
from hub.http.security_headers import SecurityHeaders
from hub.http.service import Service
from hub.http.virtual_hosts import ByHost
from hub.hub import Hub

CALLS: tuple[Call, ...] = (
    *routes_hub.CALLS,
    *routes_modules.CALLS,
    *routes_operations.CALLS,
    *routes_events.CALLS,
)


def create_app(hub: AsyncHub | Hub, config: HttpConfig | None = None) -> FastAPI:
    """Make the application for a hub.

    Mounted into another application (`host.mount("/modhub", create_app(hub))`) it starts what it needs when it is first
    needed, and that ends with the hub. Where the hub goes on, end it by its lifespan, which Starlette runs for no
    mounted application: `async with app.router.lifespan_context(app): ...` in the host's.

    Args:
        hub: the hub; entering and leaving it is the caller's business, on this loop, another one or in a thread. Once
            left it stays closed to this application, also where it is entered anew.
        config: the configuration; without tokens only this machine may ask.

    Returns:
        The application; call `drain` before its server ends, which else waits for streams of events.
    """
    service = Service(hub, config or HttpConfig())
    access = ProxyAccess(service)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await service.close()

    app = FastAPI(
        title="modhub",
        version=__version__,
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        middleware=[
            Middleware(DefectsAnswered, service=service),
            Middleware(ByHost, hosts=service.hosts),
            Middleware(SecurityHeaders),
            Middleware(Gate, service=service),
            Middleware(Limits, service=service),
            Middleware(Proxied, service=service, access=access),
        ],
        telemetry={"auto_configure": False},  # whether anything is exported is the host's business
    )
    app.state.service = service
    app.state.lane = access  # for our own server; others know nothing of it
    for call in CALLS:
        add_call(app, call, secured=service.authenticator.required)
    app.router.routes.extend([*description_routes(app), *dashboard_routes(service.hosts.domain)])
    install_handlers(app, service)
    return app


def add_call(app: FastAPI, call: Call, *, secured: bool) -> None:
    """Add the route of a call."""
    role = call.role.value if call.role is not None else NO_ROLE
    app.router.add_api_route(
        call.path,
        call.handler,
        methods=[call.method],
        route_class_override=CheckedRoute,
        operation_id=call.operation_id,
        **describe(call, secured=secured),
        openapi_extra={ROLE_KEY: role} | ({"security": [{"bearer": []}]} if secured and call.role else {}),
    )


def drain(app: FastAPI) -> None:
    """End the streams of events, and let no new ones begin; on the application's loop, before its server stops.

    Args:
        app: what `create_app` made.
    """
    service: Service = app.state.service
    service.feed.end()
