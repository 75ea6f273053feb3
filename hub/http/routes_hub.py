"""Calls about the hub as a whole."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from hub.errors import HubClosed, ModhubError
from hub.http.calls import Call, service_of
from hub.http.config import Role
from hub.http.encoding import answer
from hub.http.metrics import MEDIA_TYPE, metrics_text
from hub.http.parameters import Boolean, Count
from hub.http.problem import Refused
from hub.http.schemas import Kinds, WhoAmI
from hub.http.service import caller_of
from hub.info import HubStats, ModulePage
from hub.lifecycle import State
from hub.messages import DescribeBackend, DescribeHub, FindModules, ListKinds

_HEALTH_TIMEOUT_S = 5.0

SortKey = Literal[
    "module_id", "-module_id", "kind", "-kind", "state", "-state", "since", "-since", "idle_s", "-idle_s",
    "uptime_s", "-uptime_s", "restarts", "-restarts", "memory_bytes", "-memory_bytes", "cpu_percent", "-cpu_percent",
    "port", "-port", "checkpointed_at", "-checkpointed_at", "last_error", "-last_error",
]  # fmt: skip


async def get_health(request: Request) -> Response:
    """`OK!` when the hub takes operations and its backend is in use."""
    service = service_of(request)
    if service.feed.over:
        raise Refused("not-ready", "the hub is closing")
    try:
        status = await service.ask(DescribeBackend(), _HEALTH_TIMEOUT_S)
    except HubClosed:
        raise Refused("not-ready", "the hub does not run") from None
    except ModhubError as error:
        raise Refused("not-ready", f"the hub does not answer: {error}") from None
    if not status.available:
        hint = "see `GET /stats/hub`"
        raise Refused("not-ready", "the backend is unavailable", hint=hint, retry_after_s=status.retry_after_s)
    return PlainTextResponse("OK!")


async def find_modules(
    request: Request,
    *,
    limit: Count = 100,
    offset: Annotated[int, Query(ge=0, le=2**53, description="Modules to leave out at the beginning.")] = 0,
    state: Annotated[list[State] | None, Query(description="Only modules in one of these.")] = None,
    kind: Annotated[str, Query(max_length=200, description="Only modules of this kind.")] = "",
    search: Annotated[str, Query(max_length=200, description="Only modules whose id contains this.")] = "",
    dirty: Annotated[Boolean | None, Query(description="Only modules whose data is dirty, or is not.")] = None,
    sort: Annotated[SortKey, Query(description="`-` before it = the largest first; ties by id.")] = "module_id",
) -> Response:
    """A page of the tracked modules; never waits behind an operation."""
    message = FindModules(tuple(state or ()), _printable(kind), _printable(search), dirty, sort, offset, limit)
    return answer(await service_of(request).ask(message))


def _printable(text: str) -> str:
    # No name has such characters: what is typed into a search box finds nothing then, and is no mistake of the client's.
    return "".join(character if character.isprintable() else "?" for character in text)


async def list_kinds(request: Request) -> Response:
    """The default one first."""
    kinds = await service_of(request).ask(ListKinds())
    return answer({"kinds": kinds, "default": kinds[0] if kinds else ""})


async def whoami(request: Request) -> Response:
    """Whose token was sent, and what it may do; without tokens everybody is `local` and may do everything."""
    caller = caller_of(request.scope)
    return answer({"name": caller.name, "role": caller.role, "authenticated": caller.authenticated})


async def get_stats(request: Request) -> Response:
    """Those that count something up do so since the hub started."""
    return answer(await service_of(request).ask(DescribeHub()))


async def get_metrics(request: Request) -> Response:
    """The same counters in Prometheus' text format."""
    return Response(metrics_text(await service_of(request).ask(DescribeHub())), media_type=MEDIA_TYPE)


CALLS = (
    Call(
        method="GET",
        path="/health",
        handler=get_health,
        role=None,
        tag="hub",
        summary="Whether all is up",
        answer=str,
        media_type="text/plain",
        problems=(503,),
    ),
    Call(
        method="GET",
        path="/hub/status",
        handler=find_modules,
        role=Role.READ,
        tag="modules",
        summary="Modules, by page, filter and order",
        answer=ModulePage,
        problems=(503,),
    ),
    Call(
        method="GET",
        path="/hub/kinds",
        handler=list_kinds,
        role=Role.READ,
        tag="hub",
        summary="The configured kinds",
        answer=Kinds,
        problems=(503,),
    ),
    Call(
        method="GET",
        path="/hub/whoami",
        handler=whoami,
        role=Role.READ,
        tag="hub",
        summary="Who asks",
        answer=WhoAmI,
    ),
    Call(
        method="GET",
        path="/stats/hub",
        handler=get_stats,
        role=Role.READ,
        tag="hub",
        summary="The hub's counters",
        answer=HubStats,
        problems=(503,),
    ),
    Call(
        method="GET",
        path="/metrics",
        handler=get_metrics,
        role=Role.READ,
        tag="hub",
        summary="The hub's counters for Prometheus",
        answer=str,
        media_type="text/plain",
        problems=(503,),
    ),
)
