"""Who is to be listed again: modules that were obliterated while another hub held them, once its lease has run out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from actors import Actor, Message
from hub.orders import Relist
from hub.services import Services


@dataclass(frozen=True, slots=True)
class Look(Message[None]):
    """Look who is due."""


@dataclass(frozen=True, slots=True)
class _Due:
    since: float  # of the obliteration that it follows from
    at: float


class Relisting(Actor):
    """Waits for the leases that obliterations overrode. Mostly there is none, and it has nothing to look at."""

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._services = services
        self._interval_s = min(1.0, services.config.lease / 4)
        self._due: dict[str, _Due] = {}

    def on_start(self) -> None:
        """Begin; what an earlier run had waited for already is waited for anew, since nothing tells how long that was."""
        self.after(self._interval_s, Look())

    def on_receive(self, message: Any) -> None:
        """Look once, and plan the next look."""
        assert isinstance(message, Look)
        self._look()
        self.after(self._interval_s, Look())

    def _look(self) -> None:
        services, now = self._services, self._services.leases.clock()
        found: dict[str, _Due] = {}
        for entry in services.directory.to_relist():
            record = entry.record
            due = self._due.get(record.module_id)
            if due is None or due.since != record.since:
                due = _Due(record.since, now + record.relist_s)
            if due.at <= now and services.transfers.availability.available:
                registry = self.system.get("registry")
                assert registry is not None, "the registry ends after this actor"
                registry.tell(Relist(record.module_id))
                due = _Due(record.since, now + services.config.retry_delay_max)  # if that fails
            found[record.module_id] = due
        self._due = found
