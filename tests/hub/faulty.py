"""A backend that fails where a test says so, around the real one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import backends
from backends import BlobStore


class Faults:
    """Which calls of the backend fail, with what."""

    def __init__(self) -> None:
        self._faults: dict[str, Exception] = {}

    def on(self, method: str, error: Exception) -> None:
        """Let a method fail from now on."""
        self._faults[method] = error

    def clear(self) -> None:
        """Let everything succeed from now on."""
        self._faults.clear()

    def check(self, method: str) -> None:
        if method in self._faults:
            raise self._faults[method]


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

    def open_faulty(uri: str) -> FaultyStore:
        return FaultyStore(opened(uri), faults)

    monkeypatch.setattr("hub.transfers.open_store", open_faulty)
    return faults
