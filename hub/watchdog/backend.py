"""Whether the backend is there: a look after a first failure, and attempts, ever more rarely, while it is unavailable."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pykka

from actors import Actor, Message, TimerHandle
from hub.services import Services


@dataclass(frozen=True, slots=True)
class Unavailable(Message[None]):
    """The backend has become unavailable."""


@dataclass(frozen=True, slots=True)
class Attempt(Message[None]):
    """Try to reach it now."""


@dataclass(frozen=True, slots=True)
class Doubted(Message[None]):
    """Work on it has failed: look whether it is there."""


class BackendWatch(Actor):
    """Sleeps while the backend is available; the only one who asks it while it is not."""

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._services = services
        self._timer: TimerHandle | None = None

    def on_start(self) -> None:
        """Go on where a defect of its own interrupted it."""
        self._services.transfers.availability.on_doubt = self._doubt
        self._plan()

    async def on_receive(self, message: Any) -> None:
        """Try, and plan the next attempt."""
        if isinstance(message, Doubted):
            # The breaker may have opened since, and is its own affair then.
            if self._services.transfers.availability.available:
                await self._services.transfers.look()
        elif isinstance(message, Attempt):
            try:
                await self._services.transfers.attempt()
            finally:
                self._plan()
        else:
            self._plan()

    def _doubt(self) -> None:
        with suppress(pykka.ActorDeadError):  # the hub ends
            self.actor_ref.tell(Doubted())

    def _plan(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        delay_s = self._services.transfers.availability.next_attempt_s
        self._timer = None if delay_s is None else self.after(delay_s, Attempt())
