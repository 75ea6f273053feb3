"""Whose lease is due: renewals in time, what follows where one is lost, and where it runs out unrenewed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import anyio

from actors import Actor, Message, Ref
from backends import BackendsError
from hub.directory import Entry
from hub.errors import DataConflict
from hub.leases import keeps_claim, retry_due, spread_again
from hub.lifecycle import Pending, State
from hub.messages import new_op_id
from hub.orders import LEASE_LOST, Decided, SendHome, Suspend
from hub.services import Services
from hub.workers import RENEWERS


@dataclass(frozen=True, slots=True)
class Look(Message[None]):
    """Renew what is due."""


@dataclass(frozen=True, slots=True)
class Resume(Message[None]):
    """The backend is back."""


@dataclass(frozen=True, slots=True)
class Finish(Message[None]):
    """All modules have come to rest, and the hub ends."""


class LeaseWatch(Actor):
    """Renews the leases of all modules whose data is here, also while operations on them run.

    Looks at the schedule at intervals, and stays in one look for as long as any request is under way: what comes due
    meanwhile gets a thread as soon as one is free.
    """

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._services = services
        self._leases = services.leases
        config = services.config
        self._interval_s = min(1.0, config.lease / 12, config.hibernated_lease / 12)
        self._stops = config.lease_lapse == "stop"
        self._planned = False
        self._finished = False
        self._scope = anyio.CancelScope()
        self._running = 0
        self._ended = anyio.Event()
        # Due while the backend was unavailable, which is not asked then.
        self._waiting: dict[str, None] = {}
        # Whose lease ran out unrenewed, and which lease that was: told once.
        self._lapsed: dict[str, float] = {}

    def on_start(self) -> None:
        """Begin. The first look comes later: ten thousand leases are not planned while the hub starts."""
        self.after(self._interval_s, Look())

    async def on_receive(self, message: Any) -> None:
        """Renew what is due, and plan the next look; or take up what waited for the backend."""
        if isinstance(message, Resume):
            self._resume()
        if not isinstance(message, Look) or self._finished:
            return
        try:
            if not self._planned:
                self._leases.plan_all()
                self._planned = True
            await self._look()
        finally:
            self.after(self._interval_s, Look())

    def on_queued(self, message: Any) -> None:
        """End what is under way when the hub does: what still repeats its request gives up."""
        if isinstance(message, Finish):
            self._finished = True
            self._scope.cancel()

    async def _look(self) -> None:
        async with anyio.create_task_group() as group:
            self._scope = group.cancel_scope
            while True:
                if self._waiting and self._services.transfers.availability.available:
                    self._resume()  # with many modules this look has no end, in which the message would be taken
                while self._running < RENEWERS and (entry := self._next()) is not None:
                    self._running += 1
                    group.start_soon(self._renew, entry)
                if not self._running:
                    return
                self._ended = anyio.Event()
                with anyio.move_on_after(self._interval_s):
                    await self._ended.wait()

    def _next(self) -> Entry | None:
        """Return the module whose lease is to be renewed now; what is due but not to be renewed is dealt with."""
        schedule, availability = self._leases.schedule, self._services.transfers.availability
        while (module_id := schedule.take(self._leases.clock())) is not None:
            entry = self._services.directory.find(module_id)
            if entry is not None and entry.claim is not None:
                self._leases.lost.discard(module_id)  # taken anew since, and to be renewed like any other
            if entry is None or not entry.tracked:
                self._leases.lost.discard(module_id)
                self._lapsed.pop(module_id, None)
            elif module_id in self._leases.lost:
                self._send_home(entry)
            elif entry.claim is None or (self._rests and entry.record.state is State.HIBERNATED):
                continue
            elif not keeps_claim(entry.record):
                self._leases.forget(entry)
            elif not availability.available:
                self._put_off(entry, availability.status().error or "the backend is unavailable")
            else:
                return entry
        return None

    async def _renew(self, entry: Entry) -> None:
        module_id, claim = entry.record.module_id, entry.claim
        try:
            if claim is not None:  # else it was let go of since it was found due
                await self._leases.renew(entry)
        except DataConflict:
            # Unless it was taken anew meanwhile.
            if module_id in self._leases.lost:
                self._send_home(entry)
        except BackendsError as error:
            if entry.claim == claim:
                self._services.bus.publish("backend.failed", module_id, error=f"its lease was not renewed: {error}")
                self._put_off(entry, str(error))
        finally:
            self._running -= 1
            self._ended.set()

    @property
    def _rests(self) -> bool:
        """Whether what sleeps is left to sleep: a hub that ends would make its leases long ones, and never give them back."""
        return self._services.closing and self._services.config.on_exit != "deprovision"

    def _put_off(self, entry: Entry, error: str) -> None:
        """Try again later; where the lease runs out before that, see to what follows."""
        now, record = self._leases.clock(), entry.record
        if record.state is State.PROVISIONED and entry.lease_until <= now:
            self._lapse(entry, error)
        available = self._services.transfers.availability.available
        if not available:
            self._waiting[record.module_id] = None
        wanted_s = self._leases.policy.wanted_s(record.state)
        # While nothing is asked, only what runs needs to be looked at: when its lease runs out.
        if available or wanted_s == self._leases.policy.lease_s:
            due = retry_due(now, entry.lease_until, wanted_s, self._leases.chance)
            self._leases.schedule.plan(record.module_id, due)

    def _lapse(self, entry: Entry, error: str) -> None:
        module_id = entry.record.module_id
        if self._lapsed.get(module_id) != entry.lease_until:
            self._lapsed[module_id] = entry.lease_until
            action = self._services.config.lease_lapse
            self._services.bus.publish("module.lease_lapsed", module_id, action=action, error=error)
        if self._stops:
            self._registry().tell(Suspend(module_id, Decided(entry.epoch, None), new_op_id(), "lease_lapsed"))

    def _send_home(self, entry: Entry) -> None:
        """Have a module stopped whose lease is lost. Its commit is conditional and fails: its data stays here, dirty."""
        record = entry.record
        left = record.parked or record.pending is Pending.DEPROVISION or record.state is State.UNPROVISIONED
        if not keeps_claim(record) or (left and entry.instance is None):
            # Obliterated, or left to a person, or to the watchdog, which goes on trying to send it home.
            self._leases.lost.discard(record.module_id)
            return
        if entry.operation is None:
            decided = Decided(entry.epoch, None)
            self._registry().tell(SendHome(record.module_id, decided, new_op_id(), LEASE_LOST))
        self._leases.schedule.plan(record.module_id, self._leases.clock() + self._interval_s)

    def _resume(self) -> None:
        """Renew what waited for the backend, spread over a while; those that run go first."""
        find = self._services.directory.find
        waiting = [entry for entry in map(find, self._waiting) if entry is not None]
        waiting.sort(key=lambda entry: entry.lease_until)
        self._waiting.clear()
        policy = self._leases.policy
        running = [e.record.module_id for e in waiting if policy.wanted_s(e.record.state) == policy.lease_s]
        resting = [e.record.module_id for e in waiting if policy.wanted_s(e.record.state) != policy.lease_s]
        for module_id, at in spread_again(running, resting, policy, self._leases.clock()):
            self._leases.schedule.plan(module_id, at)

    def _registry(self) -> Ref[Any]:
        registry = self.system.get("registry")
        assert registry is not None, "the registry ends after this actor"
        return registry
