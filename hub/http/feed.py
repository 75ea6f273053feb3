"""The hub's events for those who listen over HTTP: one subscription, a bounded queue for each listener."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from actors import Actor, ActorSystem
from hub.errors import ModhubError, OperationNotFound
from hub.events import Event
from hub.http.encoding import encode
from hub.info import EventRecord, OperationInfo
from hub.messages import DescribeOperation, ListOperations, ReadEvents, Subscribe

Ask = Callable[[Any], Awaitable[Any]]

_CAPACITY = 1000
_PROGRESS_S = 0.25
_PAGE = 1000


class Listener:
    """What is for one listener and not sent yet. A listener that does not keep up is ended: it can resume.

    Args:
        module_id: only what is about this module; `None` = everything.

    Attributes:
        module_id: as given.
        ended: whether nothing more will come.
    """

    def __init__(self, module_id: str | None) -> None:
        self.module_id = module_id
        self.ended = False
        self._queue: deque[tuple[int, bytes]] = deque()
        self._news = asyncio.Event()

    def put(self, number: int, frame: bytes) -> None:
        """Queue a frame; `number` is the event's, 0 = it is none."""
        if self.ended:
            return
        if len(self._queue) >= _CAPACITY:
            if number == 0:
                return  # progress: the next one tells more
            self.end()
            return
        self._queue.append((number, frame))
        self._news.set()

    def end(self) -> None:
        """Let it end when it has taken what is queued."""
        self.ended = True
        self._news.set()

    async def take(self, timeout_s: float) -> list[tuple[int, bytes]]:
        """Return what is queued, as soon as there is something, or nothing if there is nothing for so long."""
        if not self._queue and not self.ended:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._news.wait()
        taken = list(self._queue)
        self._queue.clear()
        return taken


def event_frame(run_id: str, record: EventRecord) -> bytes:
    """Return an event as server-sent events have it."""
    return b"id: %s-%d\nevent: %s\ndata: %s\n\n" % (
        run_id.encode(),
        record.number,
        record.name.encode(),
        encode(record),
    )


def plain_frame(name: str, data: Any, event_id: str | None = None) -> bytes:
    """Return something that is no event of the hub as server-sent events have it."""
    head = f"id: {event_id}\n" if event_id is not None else ""
    return f"{head}event: {name}\ndata: ".encode() + encode(data) + b"\n\n"


class _Subscriber(Actor):
    """Is told every event, and gives it to the feed."""

    mailbox_capacity = 100_000

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self._feed = feed

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, Event):
            return self._feed.receive(message)
        return super().on_receive(message)


class Feed:
    """Gives every event of the hub to every listener.

    It starts with the first listener and runs until the hub or the application ends, on the application's loop.

    Args:
        ask: asks the hub.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._listeners: set[Listener] = set()
        self._run_id = ""
        self._last = 0
        self._over = asyncio.Event()
        self._starting = asyncio.Lock()
        self._runner: asyncio.Task[None] | None = None
        self._poller: asyncio.Task[None] | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more will come: the hub or the application ends."""
        return self._over.is_set()

    @property
    def listening(self) -> int:
        """Number of listeners."""
        return len(self._listeners)

    async def open(self, module_id: str | None) -> Listener:
        """Return a new listener, which gets every event from now on; give it back by `leave`.

        Raises:
            ModhubError: the hub can't be asked.
        """
        listener = Listener(module_id)
        self._listeners.add(listener)  # before anything is waited for: who counts listeners counts it from now on
        try:
            await self.start()
        except BaseException:
            self.leave(listener)
            raise
        if self.over:
            listener.end()
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll(), name="modhub-http-progress")
        return listener

    def leave(self, listener: Listener) -> None:
        """End a listener."""
        self._listeners.discard(listener)

    async def start(self) -> None:
        """Subscribe to the hub's events, unless that was done.

        Raises:
            ModhubError: the hub can't be asked.
        """
        async with self._starting:
            if self._runner is not None or self.over:
                return
            started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            runner = asyncio.create_task(self._run(started), name="modhub-http-feed")
            try:
                await asyncio.wait((started, runner), return_when=asyncio.FIRST_COMPLETED)
                if runner.done():
                    await runner  # raises whatever it failed with: who waits here must not wait for ever
            except BaseException:
                runner.cancel()
                raise
            self._runner = runner

    def end(self) -> None:
        """Let all listeners end; there will be no new ones."""
        self._over.set()
        for listener in self._listeners:
            listener.end()

    async def close(self) -> None:
        """End, and wait until nothing of it runs."""
        self.end()
        tasks = [task for task in (self._runner, self._poller) if task is not None]
        if self._poller is not None:
            self._poller.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, started: asyncio.Future[None]) -> None:
        async with ActorSystem("modhub-http") as system:
            subscriber = system.spawn(_Subscriber, self, name="feed")
            await self._ask(Subscribe(subscriber))
            page = await self._ask(ReadEvents(limit=1))
            self._run_id, self._last = page.run_id, max(self._last, page.last)
            if not started.done():
                started.set_result(None)
            await self._over.wait()

    def receive(self, event: Event) -> Awaitable[None] | None:
        """Take an event of the hub; where some before it were lost on the way, they are read first."""
        if 0 < self._last < event.number - 1:
            return self._catch_up(event)
        self._give(EventRecord(event.number, event.at, event.name, event.module_id, event.op_id, event.fields))
        return None

    async def _catch_up(self, event: Event) -> None:
        while self._last < event.number - 1:
            page = await self._ask(ReadEvents(after=self._last, limit=_PAGE))
            if page.missed:  # for good: they resume, and are told to begin anew
                for listener in self._listeners:
                    listener.end()
            for record in page.events:
                self._give(record)
            if not page.events:
                break
        self._give(EventRecord(event.number, event.at, event.name, event.module_id, event.op_id, event.fields))

    def _give(self, record: EventRecord) -> None:
        if record.number <= self._last:
            return
        self._last = record.number
        frame: bytes | None = None
        for listener in self._listeners:
            if listener.module_id is None or listener.module_id == record.module_id:
                frame = frame or event_frame(self._run_id, record)
                listener.put(record.number, frame)
        if record.name == "hub.stopping":
            self.end()

    async def _poll(self) -> None:
        """Give the progress of transfers, until there are no listeners."""
        known: dict[str, OperationInfo] = {}
        while self._listeners:
            with contextlib.suppress(ModhubError):
                running = {info.op_id: info for info in await self._ask(ListOperations(transfers_only=True))}
                for op_id in known.keys() - running.keys():
                    with contextlib.suppress(OperationNotFound):
                        self._tell_progress(await self._ask(DescribeOperation(op_id)))
                # Told from its first transfer on to its end, also in phases that have nothing to transfer.
                now = {op_id: info for op_id, info in running.items() if info.bytes_total or op_id in known}
                for op_id, info in now.items():
                    before = known.get(op_id)
                    if before is None or _moved(before, info):
                        self._tell_progress(info)
                known = now
            await asyncio.sleep(_PROGRESS_S)

    def _tell_progress(self, info: OperationInfo) -> None:
        frame = plain_frame("operation.progress", info)
        for listener in self._listeners:
            if listener.module_id is None or listener.module_id == info.module_id:
                listener.put(0, frame)


def _moved(before: OperationInfo, now: OperationInfo) -> bool:
    return (before.bytes_done, before.bytes_total, before.step) != (now.bytes_done, now.bytes_total, now.step)
