"""The hub's places: figures for `admission`, and what has been promised to modules that are on their way up."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import anyio

from hub.admission import Budgets, Excess, Outlook, Usage, judge, judge_memory, memory_of, occupies, retry_after_s
from hub.config import HubConfig
from hub.directory import Directory
from hub.disk import Disk
from hub.errors import BudgetExceeded
from hub.instance.procfs import available_memory
from hub.lifecycle import State

_LEAVING = frozenset({State.DEPROVISIONING, State.HIBERNATING, State.OBLITERATING})
_HINTS = {
    "disk": "free space on the disk of the data directory; modules are still sent home",
    "instances": "hibernate or deprovision what is not needed, or raise `max_instances`",
    "memory": "hibernate or deprovision what is not needed, or raise `memory_budget` or lower `memory_reserve`",
    "starts": "ask for fewer at once, or raise `max_waiting_starts`",
}


@dataclass(slots=True)
class Place:
    """What a module that is on its way up was promised.

    Attributes:
        memory: bytes.
        starts: whether it has got to its start, where it stands in that queue or starts.
    """

    module_id: str
    memory: int
    starts: bool = False


class Places:
    """Grants places. Lives on the loop: between a decision and its promise nothing else can happen.

    Args:
        config: the budgets.
        directory: who runs.
        disk: whether it is low.
        slots: for processes that are starting.
    """

    def __init__(
        self,
        config: HubConfig,
        directory: Directory,
        disk: Disk,
        slots: anyio.CapacityLimiter,
    ) -> None:
        self._config = config
        self._directory = directory
        self._disk = disk
        self._slots = slots
        self._budgets = Budgets(
            config.max_instances,
            config.memory_budget,
            config.memory_reserve,
            config.max_starts + config.max_waiting_starts,
        )
        self._places: dict[str, Place] = {}
        self._start_s = 1.0

    @contextmanager
    def taken(self, module_id: str, kind: str) -> Generator[Place]:
        """Hold a place for a module until the block ends; from then on it has one by its state, or needs none.

        Args:
            module_id: the module.
            kind: its kind, as far as known.

        Raises:
            BudgetExceeded: there is none.
        """
        place = Place(module_id, self._memory(kind))
        self._require(place, judge(self._budgets, self._usage(module_id), place.memory))
        self._places[module_id] = place
        try:
            yield place
        finally:
            del self._places[module_id]

    def change_kind(self, place: Place, kind: str) -> None:
        """Take note that a module is of another kind than was thought: the backend has its data already.

        Raises:
            BudgetExceeded: it needs more memory than there is.
        """
        memory = self._memory(kind)
        if memory > place.memory:
            self._require(place, judge_memory(self._budgets, self._usage(place.module_id), memory))
        place.memory = memory

    def note_start(self, duration_s: float) -> None:
        """Learn how long starts take."""
        self._start_s += (duration_s - self._start_s) / 8

    def _memory(self, kind: str) -> int:
        return memory_of(self._config.kinds.get(kind), self._config.memory_estimate)

    def _require(self, place: Place, excess: Excess | None) -> None:
        if excess is None:
            return
        raise BudgetExceeded(
            f"module {place.module_id!r} was not started: {excess.reason}",
            hint=_HINTS[excess.budget],
            budget=excess.budget.value,
            retry_after_s=retry_after_s(excess.budget, self._outlook()),
        )

    def _usage(self, module_id: str) -> Usage:
        """Return what all but one module use."""
        others = [place for place in self._places.values() if place.module_id != module_id]
        coming = sum(place.memory for place in others)
        instances, memory = len(others), coming
        # Who sleeps has none, and may be one of ten thousand; nor is anybody counted where nothing bounds them.
        if self._budgets.instances is not None or self._budgets.memory is not None:
            for entry in self._directory.active():
                record = entry.record
                if record.module_id == module_id or record.module_id in self._places:
                    continue
                if occupies(record, running=entry.instance is not None):
                    instances += 1
                    memory += self._memory(record.kind)
        available = available_memory() if self._budgets.memory_reserve else None
        return Usage(instances, memory, coming, available, self._disk.low, self._starts())

    def _starts(self) -> int:
        queue = self._slots.statistics()
        before = sum(not place.starts for place in self._places.values())
        return before + queue.tasks_waiting + queue.borrowed_tokens

    def _outlook(self) -> Outlook:
        idle_timeout = self._config.idle_timeout
        next_idle_s = None
        if idle_timeout is not None:
            left = (idle_timeout - self._directory.idle_s(entry) for entry in self._directory.provisioned())
            next_idle_s = min(left, default=None)
        leaving = any(entry.record.state in _LEAVING for entry in self._directory.active())
        return Outlook(next_idle_s, leaving, self._starts(), self._config.max_starts, self._start_s)
