"""Watches the structured log, as the people who operate a hub do."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Generator
from typing import Any


@contextlib.contextmanager
def observed() -> Generator[Observer]:
    """Listen to the logger `modhub` for a while."""
    observer = Observer()
    logger = logging.getLogger("modhub")
    level = logger.level
    logger.addHandler(observer)
    logger.setLevel(logging.DEBUG)
    try:
        yield observer
    finally:
        logger.removeHandler(observer)
        logger.setLevel(level)


class Observer(logging.Handler):
    """Keeps every record of the logger `modhub`, and waits for some."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()
        self._records: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        with self._changed:
            self._records.append({"event": record.getMessage(), **vars(record)})
            self._changed.notify_all()

    def all(self, event: str, **attributes: Any) -> list[dict[str, Any]]:
        """Return the records of an event so far that have these attributes."""
        with self._changed:
            return [r for r in self._records if r["event"] == event and attributes.items() <= r.items()]

    def wait(self, event: str, *, count: int = 1, timeout: float = 20.0, **attributes: Any) -> dict[str, Any]:
        """Wait until an event has been logged `count` times; returns the last record."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                found = [r for r in self._records if r["event"] == event and attributes.items() <= r.items()]
                if len(found) >= count:
                    return found[count - 1]
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    raise AssertionError(f"{event} {attributes} was not logged; there was {self._names()}")
                self._changed.wait(remaining)

    def _names(self) -> list[str]:
        return [f"{r['event']} {r.get('module_id', '')} {r.get('to_state', '')}" for r in self._records]
