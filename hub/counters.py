"""The hub's counters: what has happened since it started, and what it uses itself."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from hub._version import __version__
from hub.events import Event
from hub.info import HubStats

if TYPE_CHECKING:
    from hub.services import Services

_UPLOADS = frozenset({"dehydration.completed", "checkpoint.completed"})
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Counters:
    """Counts events; a listener on the bus. Everything lives on the loop."""

    def __init__(self) -> None:
        self._events = Counter[str]()
        self._uploaded = 0
        self._downloaded = 0

    def count(self, event: Event) -> None:
        """Count an event."""
        self._events[event.name] += 1
        if event.name in _UPLOADS:
            self._uploaded += event.fields["uploaded_bytes"]
        elif event.name == "hydration.completed":
            self._downloaded += event.fields["bytes"]

    def describe(self, services: Services) -> HubStats:
        """Return all counters.

        Args:
            services: the hub's parts, which count too.
        """
        directory, ledger = services.directory, services.ledger
        return HubStats(
            version=__version__,
            run_id=services.bus.run_id,
            started_at=services.started_at,
            uptime_s=services.clock() - services.started,
            pid=os.getpid(),
            memory_bytes=_own_memory(),
            cpu_s=time.process_time(),
            states=directory.census().states,
            dirty=directory.census().dirty,
            operations_running=ledger.running,
            operations_waiting=ledger.waiting,
            operations=ledger.outcomes(),
            events=dict(self._events + services.bus.counted_from_threads()),
            uploaded_bytes=self._uploaded,
            downloaded_bytes=self._downloaded,
            backend=services.transfers.availability.status(),
        )


def _own_memory() -> int:
    # Some microseconds: /proc asks no disk.
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
