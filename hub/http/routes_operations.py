"""Calls about operations: those that run, one of them, and one operation on many modules."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from hub.errors import ModhubError
from hub.http.auth import require
from hub.http.calls import Call, service_of
from hub.http.config import Role
from hub.http.encoding import answer
from hub.http.operating import accepted, operation
from hub.http.parameters import OpIdPath, Timeout, Wait
from hub.http.problem import Refused, problem_of
from hub.http.schemas import BulkBody, Operations, Outcomes
from hub.http.service import caller_of
from hub.info import Obliterated, OperationInfo
from hub.messages import DescribeOperation, ListKinds, ListOperations


async def list_operations(request: Request) -> Response:
    """Those that run or wait, the oldest first."""
    return answer({"operations": await service_of(request).ask(ListOperations())})


async def get_operation(request: Request, op_id: OpIdPath) -> Response:
    """A running or recent one, with its progress."""
    return answer(await service_of(request).ask(DescribeOperation(op_id)))


async def bulk(
    request: Request,
    body: BulkBody,
    wait: Wait = True,
    timeout: Timeout = None,  # noqa: ASYNC109 - a parameter of the call
) -> Response:
    """An outcome for each module, in the order asked. Needs the role `obliterate` for that operation."""
    service, caller = service_of(request), caller_of(request.scope)
    if body.operation == "obliterate":
        require(caller, Role.OBLITERATE)
    await _check(request, body)
    messages = [operation(body.operation, module_id, caller, kind=body.kind) for module_id in body.module_ids]
    work = [service.own(service.ask(message, timeout)) for message in messages]
    if not wait:
        waiting = [service.own(accepted(service, *pair)) for pair in zip(messages, work, strict=True)]
        await asyncio.wait(waiting)
        infos = [_accepted(*triple) for triple in zip(messages, waiting, strict=True)]
        return answer({"operations": infos}, 202)
    await asyncio.wait(work)
    outcomes = [_outcome(module_id, task) for module_id, task in zip(body.module_ids, work, strict=True)]
    return answer({"outcomes": outcomes})


async def _check(request: Request, body: BulkBody) -> None:
    if len(set(body.module_ids)) < len(body.module_ids):
        raise Refused("invalid-request", "module_ids: an id stands there twice", hint="give each module once")
    if body.kind is None:
        return
    if body.operation != "provision":
        raise Refused("invalid-request", "kind: only provision takes one", hint="leave it out")
    kinds = await service_of(request).ask(ListKinds())
    if body.kind not in kinds:
        raise Refused("invalid-request", f"kind: {body.kind!r:.100} is none", hint=f"configured: {', '.join(kinds)}")


def _accepted(message: Any, task: asyncio.Task[OperationInfo]) -> OperationInfo:
    """Return an operation of many; one that was not accepted, as failed: the others were."""
    error = task.exception()
    if error is None:
        return task.result()
    if not isinstance(error, ModhubError):
        raise error
    return OperationInfo(
        message.op_id,
        message.module_id,
        type(message).__name__.lower(),
        "failed",
        "",
        0.0,
        error=str(error),
        error_code=error.code,
        hint=error.hint,
        asked_by=message.asked_by,
    )


def _outcome(module_id: str, task: asyncio.Task[Any]) -> dict[str, Any]:
    error = task.exception()
    if error is None:
        result = task.result()
        destroyed = isinstance(result, Obliterated)
        return {
            "module_id": module_id,
            "status": "done",
            "module": None if destroyed else result,
            "obliterated": result if destroyed else None,
            "problem": None,
        }
    if not isinstance(error, ModhubError):
        raise error
    failed = {"module_id": module_id, "status": "failed", "module": None, "obliterated": None}
    return failed | {"problem": problem_of(error)}


CALLS = (
    Call(
        method="GET",
        path="/hub/operations",
        handler=list_operations,
        role=Role.READ,
        tag="operations",
        summary="Operations that run or wait",
        answer=Operations,
        problems=(503,),
    ),
    Call(
        method="GET",
        path="/hub/operations/{op_id}",
        handler=get_operation,
        role=Role.READ,
        tag="operations",
        summary="One operation",
        answer=OperationInfo,
        problems=(404, 503),
    ),
    Call(
        method="POST",
        path="/hub/bulk",
        handler=bulk,
        role=Role.OPERATE,
        tag="operations",
        summary="One operation on many modules",
        answer=Outcomes,
        answers={202: {"model": Operations, "description": "Accepted (`wait=false`): they run, or wait."}},
        problems=(500, 503),
    ),
)
