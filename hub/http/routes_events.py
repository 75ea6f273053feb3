"""The call that tells the hub's events, as a stream or as a page."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header, Query
from starlette.requests import Request
from starlette.responses import Response

from hub.http.calls import Call, service_of
from hub.http.config import Role
from hub.http.encoding import answer
from hub.http.limits import overloaded
from hub.http.parameters import After, Boolean, Count, ModuleIdQuery
from hub.http.problem import Refused
from hub.http.sse import EventStream
from hub.info import EventPage
from hub.messages import ReadEvents


async def get_events(
    request: Request,
    *,
    module_id: ModuleIdQuery = None,
    follow: Annotated[Boolean, Query(description="`false`: a page of events of late, as JSON.")] = True,
    after: After = None,
    limit: Count = 100,
    last_event_id: Annotated[
        str | None, Query(max_length=200, description="As the header field, for who can't set it.")
    ] = None,
    last_event_id_header: Annotated[
        str | None,
        Header(alias="Last-Event-ID", max_length=200, description="The last event that was seen: the stream resumes."),
    ] = None,
) -> Response:
    """A stream of server-sent events, each `id: RUN-NUMBER`, `event: NAME`, `data: EventRecord`.

    First comes `hello` with `run_id` and `last`, the number of the newest event. With `Last-Event-ID` the events since
    come instead; where they are not known any more, `reset`: read everything anew. `operation.progress` (an
    OperationInfo, without id) tells of transfers. A comment comes after 10 s of silence.
    """
    service = service_of(request)
    if not follow:
        return answer(await service.ask(ReadEvents(module_id, after, limit)))
    if service.feed.over:
        raise Refused("not-ready", "the hub is closing", retry_after_s=1.0)
    if service.feed.listening >= service.config.max_streams:
        raise overloaded(f"{service.config.max_streams} streams are open already")
    return EventStream(service, module_id, last_event_id_header or last_event_id)


CALLS = (
    Call(
        method="GET",
        path="/hub/events",
        handler=get_events,
        role=Role.READ,
        tag="events",
        summary="What happens, live",
        answer=EventPage,
        answers={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
        problems=(503,),
    ),
)
