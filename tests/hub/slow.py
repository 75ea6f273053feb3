"""Makes hydration wait until it is cancelled or let go."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from backends import Head, RemoteModule, TransferCancelled


def slow_hydration(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Hold every hydration; returns an event that tells that one has begun, and one that lets them go on."""
    begun, go_on = threading.Event(), threading.Event()
    hydrate = RemoteModule.hydrate

    def held(self: RemoteModule, head: Head, destination: Path, *, cancelled: threading.Event, **options: Any) -> Any:
        begun.set()
        while not go_on.wait(0.005):
            if cancelled.is_set():
                raise TransferCancelled("cancelled")
        return hydrate(self, head, destination, cancelled=cancelled, **options)

    monkeypatch.setattr(RemoteModule, "hydrate", held)
    return begun, go_on
