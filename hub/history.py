"""What has happened of late: a bounded memory of events, for those who come late or were away.

All events of late are remembered, and beyond them the last ones of each module, so that the timeline of a quiet module is
not lost among thousands of busy ones. Everything lives on the loop.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator

from hub.config import check_module_id
from hub.errors import InvalidMessage
from hub.events import Event
from hub.info import EventPage, EventRecord
from hub.messages import ReadEvents

RECENT = 10_000
"""The newest events, which are all remembered."""
PER_MODULE = 200
"""The newest events of one module that are remembered longer than that."""
TOTAL = 30_000
"""Events in memory at the most: ten thousand sleepers must not keep two hundred each."""
_TEXT = 2000
"""Characters of an attribute that are remembered: of a traceback or a server's output, the end says most."""
_MAX_PAGE = 1000


class EventHistory:
    """Remembers events; a listener on the bus.

    Args:
        run_id: identifies this run of the hub.
        recent: newest events that are all remembered.
        per_module: newest events of one module that are remembered beyond those.
        total: events remembered at the most, `recent` or more.
    """

    def __init__(self, run_id: str, *, recent: int = RECENT, per_module: int = PER_MODULE, total: int = TOTAL) -> None:
        self._run_id = run_id
        self._recent = recent
        self._per_module = per_module
        self._total = total
        self._events: OrderedDict[int, Event] = OrderedDict()
        self._by_module: dict[str, deque[Event]] = {}
        # By module, the newest of its events that is forgotten; of modules of which nothing is remembered, in one.
        self._forgotten: dict[str, int] = {}
        self._forgotten_of_others = 0
        self._last = 0

    def __len__(self) -> int:
        return len(self._events)

    def record(self, event: Event) -> None:
        """Remember an event, and forget what it pushes out; an obliterated module's others go with it."""
        self._last = event.number
        self._events[event.number] = _shortened(event)
        if event.module_id is not None:
            if event.name == "module.obliterated":
                # It stays among the recent ones, for those who watch must learn that the module is gone.
                self._forget_module(event.module_id)
            else:
                self._by_module.setdefault(event.module_id, deque()).append(self._events[event.number])
                self._trim(event.module_id)
        self._forget_past_recent()
        while len(self._events) > self._total:
            _, oldest = self._events.popitem(last=False)
            self._drop_from_module(oldest)

    def read(self, query: ReadEvents) -> EventPage:
        """Return events of late.

        Args:
            query: which ones.

        Returns:
            Those that are remembered. Of an obliterated module nothing is.

        Raises:
            InvalidModuleId: the module id can't be one.
            InvalidMessage: a number is out of its range.
        """
        after, limit = query.after, query.limit
        if not _is_count(limit) or not 1 <= limit <= _MAX_PAGE:
            raise InvalidMessage(f"ReadEvents: limit = {limit!r:.100} can't be used", hint=f"allowed: 1 to {_MAX_PAGE}")
        if after is not None and (not _is_count(after) or after < 0):
            raise InvalidMessage(f"ReadEvents: after = {after!r:.100} can't be used", hint="allowed: 0 or more")
        module_id = None if query.module_id is None else check_module_id(query.module_id)
        if after is None:
            newest = list(_first(self._backwards(module_id), limit))
            return self._page(newest[::-1], missed=False)
        forgotten = self._floor if module_id is None else self._forgotten.get(module_id, self._forgotten_of_others)
        return self._page(list(_first(self._forwards(module_id, after), limit)), missed=after < forgotten)

    @property
    def _floor(self) -> int:
        """The newest number that is not among the recent ones any more."""
        return max(0, self._last - self._recent)

    def _page(self, events: list[Event], *, missed: bool) -> EventPage:
        return EventPage(self._run_id, tuple(map(record_of, events)), self._last, missed)

    def _backwards(self, module_id: str | None) -> Iterator[Event]:
        if module_id is not None:
            yield from reversed(self._by_module.get(module_id, ()))
            return
        for number in range(self._last, self._floor, -1):
            if (event := self._events.get(number)) is not None:
                yield event

    def _forwards(self, module_id: str | None, after: int) -> Iterator[Event]:
        if module_id is not None:
            yield from (event for event in self._by_module.get(module_id, ()) if event.number > after)
            return
        for number in range(max(after, self._floor) + 1, self._last + 1):
            if (event := self._events.get(number)) is not None:
                yield event

    def _forget_past_recent(self) -> None:
        past = self._events.get(self._floor)
        if past is None:
            return
        if past.module_id is None or past.name == "module.obliterated":
            del self._events[past.number]
        else:
            self._trim(past.module_id)

    def _trim(self, module_id: str) -> None:
        events = self._by_module[module_id]
        while len(events) > self._per_module and events[0].number <= self._floor:
            oldest = events.popleft()
            self._forgotten[module_id] = oldest.number
            del self._events[oldest.number]

    def _drop_from_module(self, event: Event) -> None:
        module_id = event.module_id
        events = self._by_module.get(module_id) if module_id is not None else None
        if module_id is None or events is None or not events or events[0] is not event:
            return
        events.popleft()
        self._forgotten[module_id] = event.number
        if not events:
            del self._by_module[module_id]
            self._forgotten_of_others = max(self._forgotten_of_others, self._forgotten.pop(module_id))

    def _forget_module(self, module_id: str) -> None:
        for event in self._by_module.pop(module_id, ()):
            del self._events[event.number]
        self._forgotten.pop(module_id, None)


def record_of(event: Event) -> EventRecord:
    """Return an event as plain data."""
    return EventRecord(event.number, event.at, event.name, event.module_id, event.op_id, event.fields)


def _shortened(event: Event) -> Event:
    long = {name: f"…{text[-_TEXT:]}" for name, text in event.fields.items() if _is_long(text)}
    if not long:
        return event
    return Event(event.name, event.module_id, event.op_id, {**event.fields, **long}, event.number, event.at)


def _is_long(value: object) -> bool:
    return isinstance(value, str) and len(value) > _TEXT


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _first(events: Iterator[Event], limit: int) -> Iterator[Event]:
    return (event for _, event in zip(range(limit), events, strict=False))
