"""A backend that fails where a test says so, around the real one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

import backends
from backends import BackendUnavailable, BlobStore

METHODS = (
    *("put", "get", "get_range", "list", "delete", "delete_many", "sweep_unfinished", "purge", "expunge", "remains"),
    "check",
)


class Faults:
    """Which calls of the backend fail, with what; and how many there were."""

    def __init__(self) -> None:
        self._faults: dict[str, Exception | Callable[[], object]] = {}
        self.calls: Counter[str] = Counter()

    def on(self, method: str, fault: Exception | Callable[[], object]) -> None:
        """Let a method fail from now on, or call something before it."""
        self._faults[method] = fault

    def go_down(self, reason: str = "down") -> None:
        """Let the backend be out of reach from now on, for every call."""
        for method in METHODS:
            self.on(method, BackendUnavailable(reason))

    def clear(self) -> None:
        """Let everything succeed from now on."""
        self._faults.clear()

    def check(self, method: str) -> None:
        self.calls[method] += 1
        fault = self._faults.get(method)
        if isinstance(fault, Exception):
            raise fault
        if fault is not None:
            fault()


class FaultyStore:
    """Passes everything on, unless it is to fail."""

    def __init__(self, store: BlobStore, faults: Faults) -> None:
        self._store = store
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._store, name)
        if not callable(attribute):
            return attribute

        def call(*args: Any, **kwargs: Any) -> Any:
            self._faults.check(name)
            return attribute(*args, **kwargs)

        return call


def faulty_backend(monkeypatch: pytest.MonkeyPatch) -> Faults:
    """Put faults around every backend that a hub opens from now on."""
    faults = Faults()
    opened: Callable[..., BlobStore] = backends.open_store

    def open_faulty(uri: str, **options: Any) -> FaultyStore:
        return FaultyStore(opened(uri, **options), faults)

    monkeypatch.setattr("hub.transfers.open_store", open_faulty)
    return faults
