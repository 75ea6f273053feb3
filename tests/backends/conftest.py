from __future__ import annotations

import time

import pytest


class Clock:
    """A clock that only moves when somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def pause(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Waits between attempts take no time, and yet count as time."""
    clock = Clock()
    monkeypatch.setattr("backends.retry.pause", clock.pause)
    monkeypatch.setattr("tenacity.time", FakeTime(clock))
    return clock


class FakeTime:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def monotonic(self) -> float:
        return self.clock.now

    def __getattr__(self, name: str) -> object:
        return getattr(time, name)
