"""What has happened of late: a bounded memory of events, for those who come late or were away.

All events of late are remembered, and beyond them the last ones of each module, so that the timeline of a quiet module is
not lost among thousands of busy ones. Everything lives on the loop.

Events are kept as bytes: as objects, thirty thousand of them would take twice the memory, and the garbage collector would
hold up the loop by looking at each.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import msgspec

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
_GONE = "module.obliterated"
_EPILOGUE = frozenset({_GONE, "module.relisted", "gateway.closed"})
"""What may be told of a module that is gone: it begins no history of it anew."""

_Row = tuple[int, float, str, str | None, str | None, dict[str, Any]]
_ENCODER = msgspec.msgpack.Encoder(enc_hook=str)
_DECODER = msgspec.msgpack.Decoder(_Row)


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
        self._rows: OrderedDict[int, bytes] = OrderedDict()
        # Numbers, in lists: most modules have few, and a deque takes some hundred bytes more.
        self._by_module: dict[str, list[int]] = {}
        # By module, the newest of its events that is forgotten; of modules of which nothing is remembered, in one.
        self._forgotten: dict[str, int] = {}
        self._forgotten_of_others = 0
        self._last = 0

    def __len__(self) -> int:
        return len(self._rows)

    def record(self, event: Event) -> None:
        """Remember an event, and forget what it pushes out; an obliterated module's others go with it."""
        number, module_id = event.number, event.module_id
        self._last = number
        self._rows[number] = _encoded(event)
        if module_id is not None:
            if event.name == _GONE:
                # It stays among the recent ones, for those who watch must learn that the module is gone.
                self._forget_module(module_id)
            elif module_id in self._by_module or event.name not in _EPILOGUE:
                self._by_module.setdefault(module_id, []).append(number)
                self._trim(module_id)
        self._forget_past_recent()
        while len(self._rows) > self._total:
            _, row = self._rows.popitem(last=False)
            self._drop_from_module(row)

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
            newest = list(islice(self._backwards(module_id), limit))
            return self._page(newest[::-1], missed=False)
        forgotten = self._floor if module_id is None else self._forgotten.get(module_id, self._forgotten_of_others)
        return self._page(islice(self._forwards(module_id, after), limit), missed=after < forgotten)

    @property
    def _floor(self) -> int:
        """The newest number that is not among the recent ones any more."""
        return max(0, self._last - self._recent)

    def _page(self, numbers: Iterable[int], *, missed: bool) -> EventPage:
        events = tuple(EventRecord(*_DECODER.decode(self._rows[number])) for number in numbers)
        return EventPage(self._run_id, events, self._last, missed)

    def _backwards(self, module_id: str | None) -> Iterator[int]:
        if module_id is not None:
            return reversed(self._by_module.get(module_id, ()))
        return (number for number in range(self._last, self._floor, -1) if number in self._rows)

    def _forwards(self, module_id: str | None, after: int) -> Iterator[int]:
        if module_id is not None:
            return (number for number in self._by_module.get(module_id, ()) if number > after)
        first = max(after, self._floor) + 1
        return (number for number in range(first, self._last + 1) if number in self._rows)

    def _forget_past_recent(self) -> None:
        row = self._rows.get(self._floor)
        if row is None:
            return
        number, _, _, module_id, *_ = _DECODER.decode(row)
        numbers = self._by_module.get(module_id, []) if module_id is not None else []
        place = bisect_left(numbers, number)
        if module_id is None or place == len(numbers) or numbers[place] != number:
            del self._rows[number]  # it belongs to no module's history
        else:
            self._trim(module_id)

    def _trim(self, module_id: str) -> None:
        numbers = self._by_module[module_id]
        while len(numbers) > self._per_module and numbers[0] <= self._floor:
            self._forgotten[module_id] = numbers.pop(0)
            del self._rows[self._forgotten[module_id]]

    def _drop_from_module(self, row: bytes) -> None:
        number, _, _, module_id, *_ = _DECODER.decode(row)
        numbers = self._by_module.get(module_id) if module_id is not None else None
        if module_id is None or not numbers or numbers[0] != number:
            return
        del numbers[0]
        self._forgotten[module_id] = number
        if not numbers:
            del self._by_module[module_id]
            self._forgotten_of_others = max(self._forgotten_of_others, self._forgotten.pop(module_id))

    def _forget_module(self, module_id: str) -> None:
        for number in self._by_module.pop(module_id, ()):
            del self._rows[number]
        self._forgotten.pop(module_id, None)


def _encoded(event: Event) -> bytes:
    row = (event.number, event.at, event.name, event.module_id, event.op_id)
    fields = _shortened(event.fields)
    try:
        return _ENCODER.encode((*row, fields))
    except (UnicodeEncodeError, OverflowError):
        # The name of a file, in an error's text, may be no Unicode: what is told is remembered all the same.
        plain = {name: str(value).encode(errors="replace").decode() for name, value in fields.items()}
        return _ENCODER.encode((*row, plain))


def _shortened(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    if not any(map(_is_long, fields.values())):
        return fields
    return {name: f"…{value[-_TEXT:]}" if _is_long(value) else value for name, value in fields.items()}


def _is_long(value: object) -> bool:
    return isinstance(value, str) and len(value) > _TEXT


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
