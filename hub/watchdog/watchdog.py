"""The watchdog: decides what follows a crash or an unfinished intent, and tells the module; it touches nothing itself."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from actors import Actor, Backoff, Message, Ref, Terminated, TimerHandle
from hub.directory import Entry
from hub.errors import JournalError, StopFailed
from hub.events import Event
from hub.lifecycle import Pending, State
from hub.messages import new_op_id
from hub.orders import Decided, FinishObliteration, NotCarriedOut, Order, Recover, SendHome, Supervise, module_of
from hub.policy import Crash, RestartPolicy, needs_backend, plan_recovery, spread
from hub.resolution import resolved
from hub.services import Services


@dataclass(frozen=True, slots=True)
class Observed(Message[None]):
    """An event of the bus."""

    event: Event


@dataclass(frozen=True, slots=True)
class Due(Message[None]):
    """The time for an order has come."""

    order: Order


class Watchdog(Actor):
    """Supervises every module: its process after a crash, its unfinished intents, and its actor."""

    mailbox_capacity = 1_000_000

    def __init__(self, services: Services) -> None:
        super().__init__()
        config = services.config
        self._services = services
        self._policy = RestartPolicy(config.restart_limit, config.restart_period, config.stable_after)
        self._restarts = Backoff(base_s=config.restart_delay, max_s=config.restart_delay_max)
        self._retries = Backoff(first_s=config.retry_delay, base_s=2 * config.retry_delay, max_s=config.retry_delay_max)
        self._crashes: dict[str, list[Crash]] = {}
        self._up_since: dict[str, float] = {}
        self._attempts: dict[str, int] = {}
        self._timers: dict[str, TimerHandle] = {}

    def on_start(self) -> None:
        """Look at every module that may need something: at the start of the hub, and after a defect of its own."""
        for entry in list(self._services.directory.tracked()):
            if entry.record.state is not State.HIBERNATED or entry.record.pending is not None:
                self._consider(entry.record.module_id)

    def on_receive(self, message: Any) -> Any:
        """Take an event, a due order or the end of a module's actor."""
        match message:
            case Observed(Event(name="backend.available" | "hub.disk_ok")):
                return self._resume()
            case Observed(Event(module_id=str(module_id))):
                return self._consider(module_id)
            case Due(order):
                self._timers.pop(order.module_id, None)
                return None if self._held(order.module_id) else self._registry().tell(order)
            case NotCarriedOut(module_id):
                return None if module_id in self._timers else self._consider(module_id, crashed=False)
            case Supervise(cell):
                return self.watch(cell)
            case Terminated(ref, "failed", error):
                # Another cell where a person's operation came first: it acts, and there is nothing to park.
                known = self._services.cells.get(module_of(ref)) == ref
                return self._park(module_of(ref), error) if known else None
            case Terminated():
                return None
            case _:
                return super().on_receive(message)

    def _registry(self) -> Ref[Any]:
        registry = self.system.get("registry")
        assert registry is not None, "the registry ends after the watchdog"
        return registry

    def _consider(self, module_id: str, *, crashed: bool = True) -> None:
        """Decide what follows from the state that a module is in now; what was planned before is off.

        Args:
            module_id: the module.
            crashed: whether a crash that is found is a new one, or one whose recovery was not even begun.
        """
        if (timer := self._timers.pop(module_id, None)) is not None:
            timer.cancel()
        entry = self._services.directory.find(module_id)
        if entry is None or not entry.tracked:
            for memory in (self._crashes, self._attempts, self._up_since):
                memory.pop(module_id, None)
            return
        record = entry.record
        if not record.state.stable:
            return
        if (unfinished := _unfinished(entry)) is not None:
            if not self._held(module_id):
                self._retry(unfinished, None)
        elif record.parked:
            return
        elif record.state is State.CRASHED:
            self._recover(entry) if crashed else self._postpone(entry)
        else:
            self._attempts.pop(module_id, None)
            if record.state is State.PROVISIONED:
                self._up_since.setdefault(module_id, self._services.clock())

    def _recover(self, entry: Entry) -> None:
        module_id, bus = entry.record.module_id, self._services.bus
        crashes = self._crashes.setdefault(module_id, [])
        now = self._services.clock()
        crash = Crash(now, now - self._up_since.pop(module_id, now))
        plan = plan_recovery(self._policy, crashes, crash)
        if plan.spent:
            crashes.clear()
            bus.publish(
                "module.restart.exhausted", module_id, restarts=self._policy.limit, period_s=self._policy.period_s
            )
            delay = 0.0
        else:
            delay = self._restarts.delay(plan.attempt + 1, random.random)
            crashes.append(crash)
            del crashes[: -self._policy.limit - 1]
            bus.publish(
                "module.restart.scheduled", module_id, delay_ms=round(delay * 1000, 3), attempt=plan.attempt + 1
            )
        self._schedule(delay, Recover(module_id, Decided.on(entry), new_op_id(), plan.spent))

    def _postpone(self, entry: Entry) -> None:
        """Plan a recovery anew that could not be begun: the journal's failures spend no module's restart budget."""
        module_id = entry.record.module_id
        attempt = self._attempts[module_id] = self._attempts.get(module_id, 0) + 1
        delay = self._restarts.delay(attempt + 1, random.random)
        self._services.bus.publish(
            "module.restart.scheduled", module_id, delay_ms=round(delay * 1000, 3), attempt=attempt
        )
        self._schedule(delay, Recover(module_id, Decided.on(entry), new_op_id(), spent=False))

    def _held(self, module_id: str) -> bool:
        """Tell whether a module's retry waits for the backend, whose return makes the watchdog look at all of them."""
        entry = self._services.directory.find(module_id)
        unavailable = not self._services.transfers.availability.available
        return unavailable and entry is not None and needs_backend(entry.record)

    def _resume(self) -> None:
        """Take up, little by little, what waited for the backend."""
        tracked = list(self._services.directory.tracked())
        orders = [
            order for e in tracked if e.record.state.stable and needs_backend(e.record) and (order := _unfinished(e))
        ]
        config = self._services.config
        delays = spread(len(orders), config.retry_delay, config.retry_delay_max, random.random)
        for order, delay in zip(orders, delays, strict=True):
            if (timer := self._timers.pop(order.module_id, None)) is not None:
                timer.cancel()
            self._retry(order, delay)

    def _retry(self, order: SendHome | FinishObliteration, delay: float | None) -> None:
        """Schedule a retry; `None` = after its backoff."""
        module_id = order.module_id
        attempt = self._attempts[module_id] = self._attempts.get(module_id, 0) + 1
        if delay is None:
            delay = self._retries.delay(attempt, random.random)
        operation = "obliterate" if isinstance(order, FinishObliteration) else "deprovision"
        self._services.bus.publish(
            "module.retry.scheduled", module_id, delay_ms=round(delay * 1000, 3), attempt=attempt, operation=operation
        )
        self._schedule(delay, order)

    def _schedule(self, delay_s: float, order: Order) -> None:
        if delay_s <= 0:
            self._registry().tell(order)
        else:
            self._timers[order.module_id] = self.after(delay_s, Due(order))

    async def _park(self, module_id: str, error: Exception | None) -> None:
        """Put a module aside whose actor failed too often: visibly, until a person's operation finds it.

        Its actor is gone, so this is the one place where another actor writes its entry.
        """
        services = self._services
        entry = services.directory.find(module_id)
        if entry is None:
            return
        if entry.operation is not None:
            services.ledger.end(entry.operation, error)
            services.directory.hold(entry, None)
        if entry.checkpoint is not None:
            entry.checkpoint.cancel("its module was parked")
        record = resolved(entry.record, services.wall_clock())
        if record.tracked:
            reason = f"its actor failed too often: {error}"
            record = msgspec.structs.replace(record, state=State.CRASHED, parked=True, last_error=reason)
        from_state = entry.record.state
        services.directory.put(record)
        instance, entry.instance = entry.instance, None
        # Neither may end this actor, on which all others depend; at its next start the hub deals with what is left.
        if instance is not None:
            with suppress(StopFailed):
                await instance.kill()
        with suppress(JournalError):
            await services.journal.write(record)
        services.bus.publish(
            "module.resolved", module_id, from_state=from_state.value, to_state=record.state.value, reason="parked"
        )
        services.bus.publish("module.parked", module_id, reason=record.last_error or "")


def _unfinished(entry: Entry) -> SendHome | FinishObliteration | None:
    """Return the order that finishes what was begun on a module, if anything was."""
    record = entry.record
    if record.pending is Pending.OBLITERATE:  # parked or not: once begun, it is retried until it is complete
        return FinishObliteration(record.module_id, Decided.on(entry), new_op_id())
    if record.parked:
        return None
    if record.pending is Pending.DEPROVISION or (record.state is State.UNPROVISIONED and record.dirty):
        return SendHome(record.module_id, Decided.on(entry), new_op_id(), "retry")
    return None
