"""The API's description by OpenAPI, made from the calls, and a page for people made from that."""

from __future__ import annotations

import inspect
import re
from importlib import resources
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub.http.calls import Call
from hub.http.docs_page import docs_page
from hub.http.encoding import answer
from hub.http.pages import asset_of, asset_response
from hub.http.problem import MEDIA_TYPE, REFUSALS, URN
from hub.http.schemas import Problem

_INTRODUCTION = "One supervised, stateful server process per module, on demand. Errors are problems (RFC 9457) with a stable `type`."
_TEXTS = {
    400: "The body or a parameter can't be used.",
    401: "A valid token is needed.",
    403: "The token's role does not allow it, or the request comes from where it may not.",
    404: "There is no such thing.",
    408: "The body did not come in time.",
    409: "Refused in this state.",
    413: "The body is too large.",
    415: "The body has to be JSON.",
    429: "Too many operations wait for the module.",
    500: "A defect interrupted it.",
    502: "The process or the backend failed.",
    503: "The hub is closing, or a budget is exhausted.",
    504: "Not done within `timeout`.",
    507: "The local disk can't be used.",
}
_RETRY_AFTER = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}}
_CHALLENGE = {"WWW-Authenticate": {"description": "The scheme.", "schema": {"type": "string"}}}


def describe(call: Call, *, secured: bool) -> dict[str, Any]:
    """Return what FastAPI is told about a call's documentation."""
    statuses = {403, 503, *call.problems}
    if secured and call.role:
        statuses.add(401)
    if "{" in call.path or _has_parameters(call):
        statuses.add(400)
    if call.method == "POST":
        statuses |= {408, 413, 415}
    responses: dict[int | str, dict[str, Any]] = {status: dict(one) for status, one in call.answers.items()}
    for status in sorted(statuses):
        problem: dict[str, Any] = {
            "description": _TEXTS[status],
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        if status in {409, 429, 503}:
            problem["headers"] = _RETRY_AFTER
        elif status == 401:
            problem["headers"] = _CHALLENGE
        responses[status] = problem
    if call.media_type is not None:
        schema = {"schema": {"type": "string"}}
        responses[200] = {"description": "So it is.", "content": {call.media_type: schema}}
    told: dict[str, Any] = {"summary": call.summary, "tags": [call.tag], "responses": responses}
    if call.media_type is None:
        told["response_model"] = call.answer
    else:
        told["response_class"] = Response
        told["response_model"] = None
    return told


def _has_parameters(call: Call) -> bool:
    return len(inspect.signature(call.handler).parameters) > 1  # beside the request


def openapi(app: FastAPI) -> dict[str, Any]:
    """Return the description."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=_INTRODUCTION, routes=app.routes)
        _complete(schema, secured=app.state.service.authenticator.required)
        app.openapi_schema = schema
    return app.openapi_schema


def _complete(schema: dict[str, Any], *, secured: bool) -> None:
    components = schema.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    problem = Problem.model_json_schema()
    problem["properties"]["type"]["examples"] = [URN + code for code in ("invalid-state", *REFUSALS)][:3]
    schemas["Problem"] = problem
    for name, one in schemas.items():
        _describe_members(one)
        # Answers have all their members always; what is read from a dataclass with defaults says otherwise.
        if name not in {"ProvisionBody", "BulkBody", "Problem"} and "properties" in one:
            one["required"] = list(one["properties"])
    for name in ("HTTPValidationError", "ValidationError"):  # the framework's own, in place of which problems come
        schemas.pop(name, None)
    for path in schema["paths"].values():
        for one in path.values():
            one["responses"].pop("422", None)
            for parameter in one.get("parameters", ()):
                parameter["schema"] = _without_null(parameter["schema"])
    if secured:
        components["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer", "description": "A token of the configuration."}
        }


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a parameter that may be left out; there is no null in a URL."""
    some = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if len(some) != 1:
        return schema
    return {**{key: value for key, value in schema.items() if key != "anyOf"}, **some[0]}


def _describe_members(schema: dict[str, Any]) -> None:
    """Give the members what the dataclass' docstring says of its attributes."""
    summary, _, rest = schema.get("description", "").partition("\n\nAttributes:\n")
    if not rest:
        return
    schema["description"] = summary
    for match in re.finditer(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", rest, re.MULTILINE):
        if match[1] in schema["properties"]:
            schema["properties"][match[1]]["description"] = re.sub(r"\s+", " ", match[2])


def description_routes(app: FastAPI) -> list[Route]:
    """Return the routes of the description and of its page."""

    async def description(request: Request) -> Response:
        schema = openapi(app)
        root = request.scope.get("root_path", "").rstrip("/")
        return answer(schema | {"servers": [{"url": root}]} if root else schema)

    async def page(request: Request) -> Response:
        return asset_response(request, asset_of("docs.html", docs_page(openapi(app))))

    style = asset_of("docs.css", (resources.files("hub.http") / "docs.css").read_bytes())

    async def stylesheet(request: Request) -> Response:
        return asset_response(request, style)

    return [
        Route("/openapi.json", description, name="openapi"),
        Route("/docs", page, name="docs"),
        Route("/docs.css", stylesheet, name="docs-style"),
    ]
