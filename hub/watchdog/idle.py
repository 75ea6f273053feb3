"""Who is unused: one look at all connections, then the modules past their time-out are sent home."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from actors import Actor, Message
from hub.directory import Entry
from hub.errors import ModhubError
from hub.instance import sockets
from hub.lifecycle import State
from hub.messages import new_op_id
from hub.orders import Decided, SendHome
from hub.policy import IdlePolicy, choose_idle, is_idle
from hub.services import Services


@dataclass(frozen=True, slots=True)
class Sweep(Message[None]):
    """Look now."""


class IdleSweep(Actor):
    """Looks at every provisioned module at intervals: activity, idleness, length of its log."""

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._services = services
        config = services.config
        self._policy = IdlePolicy(config.idle_timeout, config.hibernated_timeout)
        self._sleepers_due = 0.0

    def on_start(self) -> None:
        """Begin."""
        self.after(self._services.config.sweep_interval, Sweep())

    async def on_receive(self, message: Any) -> None:
        """Sweep once, and plan the next."""
        assert isinstance(message, Sweep)
        try:
            await self._sweep()
        finally:
            self.after(self._services.config.sweep_interval, Sweep())

    async def _sweep(self) -> None:
        directory = self._services.directory
        provisioned = directory.provisioned()
        if provisioned:
            await self._count_connections(provisioned)
            await self._services.workers.run(self._rotate_logs, [e.record.module_id for e in provisioned])
        if not self._services.transfers.availability.available:
            return
        idle = self._find_idle(provisioned)
        if not idle:
            return
        try:
            await self._services.transfers.check()
        except ModhubError as error:
            # Stopped, it could be neither served nor sent home.
            self._services.bus.publish("backend.failed", error=str(error))
            self._sleepers_due = 0.0
            return
        # That may have taken long: who has come back meanwhile is not idle any more.
        await self._count_connections(directory.provisioned())
        idle = [entry for entry in idle if self._is_idle(entry)]
        registry = self.system.get("registry")
        assert registry is not None, "the registry ends after the sweep"
        # The others serve on until there is room: after an outage of the backend there may be thousands.
        room = 4 * self._services.config.max_transfers - self._count_going()
        chosen = choose_idle([directory.idle_s(entry) for entry in idle], room)
        if len(chosen) < len(idle):
            self._sleepers_due = 0.0  # some may be among those that are left for the next sweep
        for entry in (idle[index] for index in chosen):
            module_id, state, idle_s = entry.record.module_id, entry.record.state, directory.idle_s(entry)
            self._services.bus.publish("module.idle", module_id, idle_s=round(idle_s, 3), state=state.value)
            registry.tell(SendHome(module_id, Decided.on(entry), new_op_id(), "idle"))

    async def _count_connections(self, provisioned: list[Entry]) -> None:
        """Count every module with a connection as active; the hub's own probes are none."""
        own = {e.record.module_id: e.probes for e in provisioned}
        ports = {e.instance.port for e in provisioned if e.instance is not None}
        counts = await self._services.workers.run(sockets.connections_by_port, ports)
        for entry in provisioned:
            probes = max(own[entry.record.module_id], entry.probes)
            if entry.instance is not None and (entry.splices or counts.get(entry.instance.port, 0) > probes):
                self._services.directory.touch(entry)

    def _find_idle(self, provisioned: list[Entry]) -> list[Entry]:
        directory = self._services.directory
        entries = provisioned if self._policy.provisioned_s is not None else []
        now = self._services.clock()
        if self._policy.hibernated_s is not None and now >= self._sleepers_due:
            # There may be ten thousand of them, and they are late by a twentieth of their time-out at the most.
            self._sleepers_due = now + self._policy.hibernated_s / 20
            entries = [*entries, *(e for e in directory.tracked() if e.record.state is State.HIBERNATED)]
        return [entry for entry in entries if self._is_idle(entry)]

    def _is_idle(self, entry: Entry) -> bool:
        return entry.operation is None and is_idle(self._policy, entry.record, self._services.directory.idle_s(entry))

    def _count_going(self) -> int:
        return sum(entry.record.state is State.DEPROVISIONING for entry in self._services.directory.tracked())

    def _rotate_logs(self, module_ids: list[str]) -> None:
        for module_id in module_ids:
            # A log that can't be rotated now (full disk, obliterated meanwhile) is looked at again in the next sweep.
            with suppress(OSError):
                self._services.logs.rotate(module_id)
