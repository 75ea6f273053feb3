"""What the servers use: sampled at intervals, all of them by one look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from actors import Actor, Message
from hub.directory import Entry
from hub.info import UsageSample
from hub.instance import ResourceUse
from hub.services import Services
from hub.usage_history import UsageHistory

_LEAST_AGE_S = 0.1
"""Processor time is counted in hundredths of a second: divided by less than this it would tell nothing."""


@dataclass(frozen=True, slots=True)
class Sample(Message[None]):
    """Sample now."""


@dataclass(frozen=True, slots=True)
class _Before:
    """The look before, at one run of a module's server."""

    epoch: int
    at: float
    cpu_s: float


def cpu_percent(cpu_s: float, elapsed_s: float) -> float:
    """Return processor time as a share of one core.

    Args:
        cpu_s: processor time used; below 0 where what a process had used went to nobody's account.
        elapsed_s: in so many seconds.

    Returns:
        100 = one core all the time.
    """
    return round(100 * max(0.0, cpu_s) / max(elapsed_s, _LEAST_AGE_S), 2)


class UsageSampler(Actor):
    """Looks at the processes of every provisioned module at intervals.

    Args:
        services: the hub's parts.
        interval_s: seconds between two looks.
    """

    def __init__(self, services: Services, interval_s: float) -> None:
        super().__init__()
        self._services = services
        self._interval_s = interval_s
        self._before: dict[str, _Before] = {}

    def on_start(self) -> None:
        """Begin."""
        self.after(self._interval_s, Sample())

    async def on_receive(self, message: Any) -> None:
        """Look once, and plan the next look."""
        assert isinstance(message, Sample)
        try:
            await self._sample()
        finally:
            self.after(self._interval_s, Sample())

    async def _sample(self) -> None:
        entries = self._services.directory.provisioned()
        running = {entry.record.module_id: (entry, entry.instance) for entry in entries if entry.instance is not None}
        self._before = {module_id: before for module_id, before in self._before.items() if module_id in running}
        if not running:
            return
        uses = await self._services.runner.measure([instance for _, instance in running.values()])
        for entry, instance in running.values():
            use = uses.get(instance.pid)
            if use is not None and entry.instance is instance:  # else it ended while it was looked at
                self._note(entry, instance.epoch, use)

    def _note(self, entry: Entry, epoch: int, use: ResourceUse) -> None:
        module_id, now = entry.record.module_id, self._services.clock()
        before = self._before.get(module_id)
        if before is not None and before.epoch == epoch:
            percent = cpu_percent(use.cpu_s - before.cpu_s, now - before.at)
        else:
            percent = cpu_percent(use.cpu_s, use.age_s)
        self._before[module_id] = _Before(epoch, now, use.cpu_s)
        sample = UsageSample(self._services.wall_clock(), use.memory_bytes, percent)
        if entry.usage is None:
            entry.usage = UsageHistory(sample)
        else:
            entry.usage.add(sample)
