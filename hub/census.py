"""The tracked modules counted, and in the order of their ids: kept as they change, and not counted anew for each page."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Sequence

from hub.lifecycle import State
from hub.record import ModuleRecord


class Census:
    """Who is tracked.

    Args:
        records: the tracked modules.
    """

    def __init__(self, records: Iterable[ModuleRecord]) -> None:
        self._counted = {record.module_id: record for record in records}
        self._ids = sorted(self._counted)
        self._states = Counter(record.state for record in self._counted.values())
        self._dirty = sum(record.dirty for record in self._counted.values())

    def note(self, record: ModuleRecord, *, tracked: bool) -> None:
        """Count a module as it is now.

        Args:
            record: the module.
            tracked: whether it is tracked, which an operation that holds it makes it too.
        """
        module_id = record.module_id
        before = self._counted.get(module_id)
        if before is not None:
            self._states[before.state] -= 1
            self._dirty -= before.dirty
        if tracked:
            self._counted[module_id] = record
            self._states[record.state] += 1
            self._dirty += record.dirty
            if before is None:
                insort(self._ids, module_id)
        elif before is not None:
            del self._counted[module_id]
            del self._ids[bisect_left(self._ids, module_id)]

    @property
    def ids(self) -> Sequence[str]:
        """The ids of all in their order; to be read at once, for it changes."""
        return self._ids

    @property
    def states(self) -> dict[str, int]:
        """Number of modules by state; every state is there."""
        return {state.value: self._states[state] for state in State}

    @property
    def dirty(self) -> int:
        """Number of modules whose data is dirty."""
        return self._dirty
