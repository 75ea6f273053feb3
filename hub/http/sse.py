"""Server-sent events: the hub's events as a stream that can be taken up again where it broke off."""

from __future__ import annotations

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from hub.http.feed import Listener, event_frame, plain_frame
from hub.http.limits import SlowReader, release_slot
from hub.http.problem import Refused
from hub.http.service import Service
from hub.info import EventPage
from hub.messages import ReadEvents

MEDIA_TYPE = "text/event-stream"

_HEARTBEAT_S = 10.0
_PAGE = 1000
_RETRY_MS = 1000


def parse_event_id(event_id: str) -> tuple[str, int] | None:
    """Return run and number of the id of an event; `None` if it is none."""
    run_id, _, number = event_id.rpartition("-")
    return (run_id, int(number)) if run_id and number.isascii() and number.isdecimal() and len(number) < 19 else None


class EventStream(Response):
    """The answer that streams events, until the client leaves, does not keep up, or the hub ends.

    First comes what was missed since `last_event_id`: `reset` where that is not known any more; without one, `hello`.

    Args:
        service: the application's state.
        module_id: only events about this module; `None` = all.
        last_event_id: the last event that the client has, as it was told its id.
        heartbeat_s: seconds of silence after which a comment is sent, to see whether the client is there.
    """

    def __init__(
        self, service: Service, module_id: str | None, last_event_id: str | None, heartbeat_s: float = _HEARTBEAT_S
    ) -> None:
        super().__init__(media_type=MEDIA_TYPE)
        self._service = service
        self._module_id = module_id
        self._last_event_id = last_event_id
        self._heartbeat_s = heartbeat_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream."""
        feed = self._service.feed
        # Before anything is read: what happens meanwhile is queued, and what is read twice is known by its number.
        listener = await feed.open(self._module_id)
        try:
            page, greeting = await self._opening()
            release_slot(scope)
            await send({"type": "http.response.start", "status": 200, "headers": self._fields()})
            async with anyio.create_task_group() as group:

                async def leave() -> None:
                    try:
                        while (await receive())["type"] != "http.disconnect":
                            pass
                    except Refused:
                        # Of a body that is too long or never comes: nobody could tell when the client leaves.
                        listener.end()
                    else:
                        group.cancel_scope.cancel()

                group.start_soon(leave)
                await self._stream(listener, page, greeting, send)
                group.cancel_scope.cancel()
        finally:
            feed.leave(listener)

    def _fields(self) -> list[tuple[bytes, bytes]]:
        return [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),  # nginx would hold the events back
        ]

    async def _opening(self) -> tuple[EventPage, bytes]:
        """Return the first page of what was missed, and what to begin with."""
        service, name = self._service, "hello"
        if self._last_event_id is not None:
            name = "reset"
            known = parse_event_id(self._last_event_id)
            if known is not None:
                page = await service.ask(ReadEvents(self._module_id, after=known[1], limit=_PAGE))
                if page.run_id == known[0] and known[1] <= page.last and not page.missed:
                    return page, b""
        now = await service.ask(ReadEvents(limit=1))
        head = {"run_id": now.run_id, "last": now.last}
        return EventPage(now.run_id, (), now.last, missed=False), plain_frame(name, head, f"{now.run_id}-{now.last}")

    async def _stream(self, listener: Listener, page: EventPage, greeting: bytes, send: Send) -> None:
        async def write(body: bytes) -> None:
            await send({"type": "http.response.body", "body": body, "more_body": True})

        try:
            await write(b"retry: %d\n\n" % _RETRY_MS + greeting)
            sent = page.last if greeting else 0
            while page.events:
                sent = page.events[-1].number
                await write(b"".join(event_frame(page.run_id, record) for record in page.events))
                if len(page.events) < _PAGE:
                    break
                page = await self._service.ask(ReadEvents(self._module_id, after=sent, limit=_PAGE))
                if page.missed:
                    return  # it took too long to read; it resumes, and is told to begin anew
            while True:
                taken = await listener.take(self._heartbeat_s)
                frames = [frame for number, frame in taken if number == 0 or number > sent]
                if frames:
                    await write(b"".join(frames))
                elif not taken and not listener.ended:
                    await write(b":\n\n")
                if listener.ended and not taken:
                    break
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except SlowReader:
            return
