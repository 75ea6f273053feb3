"""The gateway's actor: keeps the open ports what the modules' records say, and cuts what has no server any more."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import anyio.lowlevel

from actors import Actor, Backoff, Message, TimerHandle
from hub.errors import HubClosed
from hub.gateway.dial import running
from hub.gateway.forwarder import Forwarder
from hub.gateway.policy import wanted_port
from hub.services import Services

_PER_TURN = 100
_BACKOFF = Backoff(first_s=0.1, base_s=0.2, max_s=30.0)


@dataclass(frozen=True, slots=True)
class Started(Message[None]):
    """Answered when every module has been looked at."""


@dataclass(frozen=True, slots=True)
class Changed(Message[None]):
    """A module's state has changed."""

    module_id: str


@dataclass(frozen=True, slots=True)
class Retry(Message[None]):
    """Try again to open a port."""

    module_id: str


class Gateway(Actor):
    """Decides which ports are open. What is open lies in the forwarder: a defect here cuts no connection."""

    mailbox_capacity = 1_000_000

    def __init__(self, services: Services, forwarder: Forwarder) -> None:
        super().__init__()
        self._services = services
        self._forwarder = forwarder
        self._attempts: dict[str, int] = {}
        self._timers: dict[str, TimerHandle] = {}

    async def on_start(self) -> None:
        """Look at every module: at the start of the hub, and after a defect of its own."""
        known = {entry.record.module_id for entry in self._services.directory.with_gateway()}
        for number, module_id in enumerate(known | self._forwarder.modules()):
            if number % _PER_TURN == 0:
                await anyio.lowlevel.checkpoint()  # there may be ten thousand
            self._consider(module_id)

    def on_receive(self, message: Any) -> Any:
        """Take note of a change, or try again."""
        match message:
            case Started():
                return None
            case Changed(module_id):
                return self._consider(module_id)
            case Retry(module_id):
                self._timers.pop(module_id, None)
                return self._consider(module_id)
            case _:
                return super().on_receive(message)

    def _consider(self, module_id: str) -> None:
        services, forwarder = self._services, self._forwarder
        entry = services.directory.find(module_id)
        wanted = wanted_port(entry.record, services.config.kinds) if entry is not None else None
        forwarder.cut(module_id, running(entry))
        found = forwarder.port_of(module_id)
        if found == wanted:
            if wanted is None:
                self._forget(module_id)
            return
        if found is not None:
            forwarder.shut(module_id)
            services.bus.publish("gateway.closed", module_id, port=found)
        if wanted is None:
            self._forget(module_id)
        elif module_id not in self._timers:
            assert entry is not None, "nothing is wanted without a record"
            self._open(module_id, wanted, services.config.kinds[entry.record.kind].gateway_wake)

    def _open(self, module_id: str, port: int, wake: str) -> None:
        try:
            self._forwarder.open(module_id, wake)
        except HubClosed:
            return
        except OSError as error:
            # Never another port: who knows this one would reach whoever has it now, without a word.
            attempt = self._attempts[module_id] = self._attempts.get(module_id, 0) + 1
            delay_s = _BACKOFF.delay(attempt, random.random)
            self._timers[module_id] = self.after(delay_s, Retry(module_id))
            self._services.bus.publish(
                "gateway.failed", module_id, port=port, error=str(error), delay_ms=round(delay_s * 1000, 3)
            )
            return
        self._forget(module_id)
        self._services.bus.publish("gateway.opened", module_id, port=port)

    def _forget(self, module_id: str) -> None:
        self._attempts.pop(module_id, None)
        if (timer := self._timers.pop(module_id, None)) is not None:
            timer.cancel()
