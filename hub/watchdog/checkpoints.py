"""Checkpoints on a schedule, so that the loss of the machine costs at most the interval."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from typing import Any

from actors import Actor, Backoff, Message
from hub.checkpoint import max_checkpoints
from hub.directory import Entry
from hub.events import Event
from hub.messages import Checkpoint
from hub.policy import checkpoint_overdue_s
from hub.services import Services

_LOOKS = 20
_SHORTEST_S, _LONGEST_S = 0.01, 60.0


@dataclass(frozen=True, slots=True)
class Look(Message[None]):
    """Look at all modules now."""


@dataclass(frozen=True, slots=True)
class CheckpointEnded(Message[None]):
    """A checkpoint of a module is over, however it ended."""

    module_id: str
    failed: bool

    @classmethod
    def of(cls, event: Event) -> CheckpointEnded | None:
        """Return what an event tells of a checkpoint, if it does."""
        if event.module_id is None:
            return None
        if event.name == "checkpoint.completed":
            return cls(event.module_id, failed=False)
        if event.name == "operation.failed" and event.fields["operation"] == "checkpoint":
            # Ended by another operation, it did not fail: what is due then follows from the state that this leaves.
            return cls(event.module_id, failed=event.fields["error_type"] != "OperationCancelled")
        return None


@dataclass(frozen=True, slots=True)
class _Failure:
    attempts: int
    retry_at: float


class CheckpointSchedule(Actor):
    """Asks for a checkpoint of every module whose last one is too old, a few at a time.

    Args:
        services: the hub's parts.
        interval_s: seconds after which a checkpoint is too old.
    """

    mailbox_capacity = 1_000_000

    def __init__(self, services: Services, interval_s: float) -> None:
        super().__init__()
        config = services.config
        self._services = services
        self._interval_s = interval_s
        self._room = max_checkpoints(config)
        self._retries = Backoff(first_s=config.retry_delay, base_s=2 * config.retry_delay, max_s=config.retry_delay_max)
        self._failures: dict[str, _Failure] = {}
        # Found to be due in the last look, the most overdue first; and asked for, but not known to be over.
        self._due: deque[str] = deque()
        self._asked: set[str] = set()

    def on_start(self) -> None:
        """Begin; after a restart of the hub with all that has become due meanwhile."""
        self.after(0, Look())

    def on_receive(self, message: Any) -> Any:
        """Look, or go on where a checkpoint has ended."""
        match message:
            case Look():
                try:
                    self._look()
                finally:
                    self.after(min(max(self._interval_s / _LOOKS, _SHORTEST_S), _LONGEST_S), Look())
                return None
            case CheckpointEnded(module_id, failed):
                self._asked.discard(module_id)
                self._note(module_id, failed=failed)
                return self._ask()
            case _:
                return super().on_receive(message)

    def _look(self) -> None:
        found: dict[str, float] = {}
        tracked = {entry.record.module_id: entry for entry in self._services.directory.tracked()}
        for module_id, entry in tracked.items():
            overdue_s = self._overdue_s(entry)
            if overdue_s is not None:
                found[module_id] = overdue_s
        self._due = deque(sorted(found, key=found.__getitem__, reverse=True))
        # What was refused or dropped never ended: it must not hold room for ever.
        self._asked = {m for m in self._asked if m in tracked and tracked[m].checkpoint is not None}
        self._failures = {m: failure for m, failure in self._failures.items() if m in tracked}
        self._ask()

    def _overdue_s(self, entry: Entry) -> float | None:
        services, record = self._services, entry.record
        failure = self._failures.get(record.module_id)
        if failure is not None and services.clock() < failure.retry_at:
            return None
        kind = services.config.kinds.get(record.kind)
        taken_at = record.checkpointed_at if entry.checkpointed_at is None else entry.checkpointed_at
        return checkpoint_overdue_s(
            record,
            taken_at,
            has_hook=kind is not None and kind.checkpoint is not None,
            interval_s=self._interval_s,
            now=services.wall_clock(),
        )

    def _ask(self) -> None:
        services = self._services
        if services.closing or not services.transfers.availability.available:
            return
        registry = self.system.get("registry")
        assert registry is not None, "the registry ends after this actor"
        while self._due and len(self._asked) < self._room:
            module_id = self._due.popleft()
            entry = services.directory.find(module_id)
            # It may have waited for long: what was true in the look need not be true now.
            idle = entry is not None and entry.operation is None and entry.checkpoint is None
            if entry is not None and idle and self._overdue_s(entry) is not None:
                self._asked.add(module_id)
                registry.tell(Checkpoint(module_id))

    def _note(self, module_id: str, *, failed: bool) -> None:
        before = self._failures.pop(module_id, None)
        if not failed:
            return
        attempt = 1 if before is None else before.attempts + 1
        delay_s = self._retries.delay(attempt, random.random)
        self._failures[module_id] = _Failure(attempt, self._services.clock() + delay_s)
        self._services.bus.publish(
            "module.retry.scheduled",
            module_id,
            delay_ms=round(delay_s * 1000, 3),
            attempt=attempt,
            operation="checkpoint",
        )
