"""What becomes of errors: each is answered with a problem, and a defect is told to the log alone."""

from __future__ import annotations

import traceback
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.errors import ModhubError
from hub.http.problem import Refused, kind_of, response_of
from hub.http.refusing import refuse
from hub.http.service import Service

_LOGGED = frozenset({401, 403, 413, 415, 429})
_MAX_ERRORS = 20


class DefectsAnswered:
    """Answers an exception that nobody expected with a problem that tells nothing of it, and logs it.

    Args:
        app: what answers.
        service: the application's state.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            self._service.bus.publish(
                "http.failed",
                method=scope.get("method", "WEBSOCKET"),
                path=scope["path"][:200],
                error=repr(error),
                traceback="".join(traceback.format_exception(error)),
            )
            if started:
                raise  # the server ends the connection: half an answer must not look like a whole one
            await refuse(Refused("internal-error", "the log tells more"), scope, receive, send)


def install_handlers(app: FastAPI, service: Service) -> None:
    """Answer all expected errors with problems."""

    def problem(request: Request, error: ModhubError | Refused) -> Response:
        status = error.status_code if isinstance(error, Refused) else kind_of(error).status
        if status in _LOGGED:
            service.log_refusal(request.scope, error)
        return response_of(error)

    async def on_hub_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, ModhubError)
        return problem(request, error)

    async def on_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return problem(request, invalid(error))

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return problem(request, error if isinstance(error, Refused) else _refused(app, request, error))

    app.add_exception_handler(ModhubError, on_hub_error)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)


def invalid(error: RequestValidationError) -> Refused:
    """Return what is wrong with a request's parameters or body; never what stood there."""
    found: list[dict[str, Any]] = [
        {"where": ".".join(map(str, one["loc"])), "message": one["msg"]} for one in error.errors()[:_MAX_ERRORS]
    ]
    detail = "; ".join(f"{one['where']}: {one['message']}" for one in found)
    return Refused("invalid-request", detail, hint="see `/docs`", errors=found)


def _refused(app: FastAPI, request: Request, error: HTTPException) -> Refused:
    if error.status_code == 404:
        return Refused("not-found", "nothing is there", hint="see `/docs`")
    if error.status_code == 405:
        allowed = ", ".join(sorted(_methods(app, request)))
        return Refused("method-not-allowed", f"allowed: {allowed}", headers={"allow": allowed})
    return Refused("invalid-request", error.detail)


def _methods(app: FastAPI, request: Request) -> set[str]:
    """Return the methods of all routes of a path: the framework names the first one's only."""
    found: set[str] = set()
    for route in app.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            found |= route.methods or set()
    return found
