"""Calls about one module: what it is, and what is to be done with it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated, Any

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from actors import Message
from hub.http.calls import Call, service_of
from hub.http.config import Role
from hub.http.encoding import answer
from hub.http.operating import accepted, operation
from hub.http.parameters import After, Count, ModuleIdPath, Timeout, Wait
from hub.http.problem import Refused
from hub.http.schemas import ProvisionBody, Usage
from hub.http.service import caller_of
from hub.info import EventPage, LogChunk, ModuleInfo, Obliterated, OperationInfo
from hub.messages import Describe, DescribeUsage, ReadEvents, ReadLog

_OPERATION_PROBLEMS = (404, 409, 429, 500, 502, 503, 504, 507)
_READ_PROBLEMS = (404, 503)


async def get_module(request: Request, module_id: ModuleIdPath) -> Response:
    """Never waits behind an operation."""
    return answer(await service_of(request).ask(Describe(module_id)))


async def provision_module(
    request: Request,
    module_id: ModuleIdPath,
    body: ProvisionBody | None = None,
    wait: Wait = True,
    timeout: Timeout = None,  # noqa: ASYNC109 - a parameter of the call
) -> Response:
    """Brings its data here and starts its process; wakes or recovers it where it sleeps or crashed."""
    message = operation("provision", module_id, caller_of(request.scope), kind=body.kind if body else None)
    return await _operate(request, message, wait=wait, timeout=timeout)


def _handler(name: str, does: str) -> Any:
    """Return what answers an operation that has no body."""

    async def operate(
        request: Request,
        module_id: ModuleIdPath,
        wait: Wait = True,
        timeout: Timeout = None,  # noqa: ASYNC109 - a parameter of the call
    ) -> Response:
        return await _operate(request, operation(name, module_id, caller_of(request.scope)), wait=wait, timeout=timeout)

    operate.__name__, operate.__doc__ = f"{name}_module", does
    return operate


async def _operate(request: Request, message: Message[Any], *, wait: bool, timeout: float | None) -> Response:  # noqa: ASYNC109 - as above
    service = service_of(request)
    work = service.own(service.ask(message, timeout))
    if not wait:
        info = await accepted(service, message, work)
        location = f"{request.scope.get('root_path', '').rstrip('/')}/hub/operations/{info.op_id}"
        return answer(info, 202, {"location": location})
    left = service.own(_left(request))
    try:
        await asyncio.wait({work, left}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        left.cancel()
    if not work.done():
        return Response(status_code=499)  # nobody reads it; the operation goes on
    return answer(work.result())


async def _left(request: Request) -> None:
    """Return when the client has left."""
    with contextlib.suppress(Refused):  # of a body that nobody reads
        while (await request.receive())["type"] != "http.disconnect":
            pass
        return
    await asyncio.Event().wait()


async def get_module_log(
    request: Request,
    module_id: ModuleIdPath,
    offset: Annotated[
        int | None, Query(ge=0, le=2**53, description="Where to begin, as `next_offset` told; without it, the end.")
    ] = None,
    max_bytes: Annotated[int, Query(ge=1, le=1048576, description="At the most so many.")] = 65536,
    log_id: Annotated[
        str,
        Query(max_length=100, description="Of which log `offset` is, as `log_id` told; without it, the present one."),
    ] = "",
) -> Response:
    """Tells a part of the output of its processes."""
    return answer(await service_of(request).ask(ReadLog(module_id, offset, max_bytes, log_id)))


async def get_module_usage(request: Request, module_id: ModuleIdPath) -> Response:
    """Memory and processor time of its processes of late, the oldest sample first."""
    return answer({"samples": await service_of(request).ask(DescribeUsage(module_id))})


async def get_module_events(
    request: Request, module_id: ModuleIdPath, after: After = None, limit: Count = 100
) -> Response:
    """Its events of late: the first ones after `after`, or the last ones."""
    return answer(await service_of(request).ask(ReadEvents(module_id, after, limit)))


def _operation_call(name: str, handler: Any, summary: str) -> Call:
    accepted_answer = {
        "model": OperationInfo,
        "description": "Accepted (`wait=false`): it runs, or waits for the module.",
        "headers": {"Location": {"description": "Where to ask for it.", "schema": {"type": "string"}}},
    }
    destroys = name == "obliterate"
    return Call(
        method="DELETE" if destroys else "POST",
        path="/hub/modules/{module_id}" + ("" if destroys else f"/{name}"),
        handler=handler,
        role=Role.OBLITERATE if destroys else Role.OPERATE,
        tag="modules",
        summary=summary,
        answer=Obliterated if destroys else ModuleInfo,
        answers={202: accepted_answer},
        problems=_OPERATION_PROBLEMS,
    )


def _read_call(path: str, handler: Any, summary: str, model: Any) -> Call:
    return Call(
        method="GET",
        path=f"/hub/modules/{{module_id}}{path}",
        handler=handler,
        role=Role.READ,
        tag="modules",
        summary=summary,
        answer=model,
        problems=_READ_PROBLEMS,
    )


CALLS = (
    _read_call("", get_module, "One module", ModuleInfo),
    _operation_call("provision", provision_module, "Bring a module up"),
    _operation_call(
        "hibernate", _handler("hibernate", "Stops its process and keeps its data here."), "Put a module to sleep"
    ),
    _operation_call("wake", _handler("wake", "Starts its process on the kept data."), "Wake a module"),
    _operation_call(
        "deprovision",
        _handler("deprovision", "Stops its process, sends its data home and deletes it here."),
        "Send a module's data home",
    ),
    _operation_call(
        "checkpoint",
        _handler("checkpoint", "Sends a copy of its data home while it goes on as it is."),
        "Send a copy of a module's data home",
    ),
    _operation_call(
        "obliterate",
        _handler("obliterate", "Destroys every trace of it, here and in the backend, tracked or not. Irreversible."),
        "Destroy a module",
    ),
    _read_call("/log", get_module_log, "A module's output", LogChunk),
    _read_call("/usage", get_module_usage, "What a module uses", Usage),
    _read_call("/events", get_module_events, "A module's events", EventPage),
)
