"""What a call of the API is: a row of data, from which the route, its role, its description and its tests follow."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from hub.http.config import Role
from hub.http.problem import Refused
from hub.http.service import Service

ROLE_KEY = "x-modhub-role"
NO_ROLE = "none"
"""Role of a call that everybody may make."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call.

    Attributes:
        method: its method.
        path: its path, as FastAPI writes it.
        handler: the function that answers it.
        role: role that it needs; `None` = none.
        tag: what it is about.
        summary: what it does, in a few words.
        answer: type of its answer.
        status: status of its answer.
        answers: further good answers, as OpenAPI has them.
        problems: statuses of the problems it can be answered with, beside those of its role and its parameters.
        media_type: media type of the answer where it is no JSON.
    """

    method: str
    path: str
    handler: Callable[..., Coroutine[Any, Any, Response]]
    role: Role | None
    tag: str
    summary: str
    answer: Any = None
    status: int = 200
    answers: Mapping[int, Mapping[str, Any]] = field(default_factory=dict[int, Mapping[str, Any]])
    problems: Sequence[int] = ()
    media_type: str | None = None

    @property
    def operation_id(self) -> str:
        """Its stable name."""
        return self.handler.__name__


class CheckedRoute(APIRoute):
    """A route that looks at who asks before it reads a body or a parameter."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        answer = super().get_route_handler()
        needed = (self.openapi_extra or {})[ROLE_KEY]  # a route without one is a mistake, found when it is made
        takes_body = self.body_field is not None

        async def checked(request: Request) -> Response:
            if needed != NO_ROLE:
                service: Service = request.app.state.service
                service.admit(request.scope, Role(needed))
            if request.method == "POST":
                _check_media_type(request, takes_body=takes_body)
            return await answer(request)

        return checked


def _check_media_type(request: Request, *, takes_body: bool) -> None:
    """Refuse every type but JSON, also for no body at all: a form of any site's page has one of three others."""
    headers = request.headers
    told = headers.get("content-type")
    empty = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
    if told is None and (empty or not takes_body):
        return
    if (told or "").partition(";")[0].strip().lower() != "application/json":
        raise Refused("unsupported-media-type", "the body is no JSON", hint="send `Content-Type: application/json`")


def service_of(request: Request) -> Service:
    """Return the state of the application that a request came to."""
    service: Service = request.app.state.service
    return service
