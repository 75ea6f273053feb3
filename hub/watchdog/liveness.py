"""Who hangs: every instance is asked at intervals, and one that misses too often is killed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import anyio

from actors import Actor, Message
from hub.directory import Entry
from hub.instance import Instance
from hub.orders import KillHung
from hub.services import Services

_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Round(Message[None]):
    """Ask all now."""


class Liveness(Actor):
    """Probes every provisioned module at intervals."""

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._services = services
        # By start of the instance: a new one begins with a clean slate.
        self._misses: dict[int, int] = {}

    def on_start(self) -> None:
        """Begin."""
        self.after(self._services.config.live_interval, Round())

    async def on_receive(self, message: Any) -> None:
        """Ask once, and plan the next round."""
        assert isinstance(message, Round)
        try:
            await self._ask_all()
        finally:
            self.after(self._services.config.live_interval, Round())

    async def _ask_all(self) -> None:
        slots = anyio.CapacityLimiter(_AT_ONCE)
        asked = [(entry, entry.instance) for entry in self._services.directory.provisioned()]
        async with anyio.create_task_group() as group:
            for entry, instance in asked:
                if instance is not None:
                    group.start_soon(self._ask, entry, instance, slots)
        epochs = {instance.epoch for _, instance in asked if instance is not None}
        self._misses = {epoch: n for epoch, n in self._misses.items() if epoch in epochs}

    async def _ask(self, entry: Entry, instance: Instance, slots: anyio.CapacityLimiter) -> None:
        config = self._services.config
        answered = False
        async with slots:
            entry.probes += 1
            try:
                with anyio.move_on_after(config.live_timeout):
                    answered = await instance.probe()
            except OSError:
                return  # it could not be asked, which is no miss: servers must not die because we lack descriptors
            finally:
                entry.probes -= 1
        if answered:
            self._misses.pop(instance.epoch, None)
            return
        misses = self._misses[instance.epoch] = self._misses.get(instance.epoch, 0) + 1
        if misses >= config.live_misses:
            del self._misses[instance.epoch]
            registry = self.system.get("registry")
            assert registry is not None, "the registry ends after this actor"
            registry.tell(KillHung(entry.record.module_id, instance.epoch, misses))
