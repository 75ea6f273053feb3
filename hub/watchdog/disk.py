"""Whether the disk is low: looked at before it hurts, at intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from actors import Actor, Message
from hub.services import Services


@dataclass(frozen=True, slots=True)
class Look(Message[None]):
    """Look now."""


class DiskWatch(Actor):
    """Looks at the disk of the data directory at intervals."""

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._services = services

    def on_start(self) -> None:
        """Begin."""
        self.after(self._services.config.sweep_interval, Look())

    async def on_receive(self, message: Any) -> None:
        """Look once, and plan the next."""
        assert isinstance(message, Look)
        try:
            await self._services.disk.look()
        finally:
            self.after(self._services.config.sweep_interval, Look())
