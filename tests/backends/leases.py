"""What tests of leases share: a clock, a store in which something happens at a call, and a claim with a lease."""

from __future__ import annotations

import threading
from collections.abc import Callable

from backends import BlobStore, Head
from tests.backends.rig import Rig
from tests.backends.stores import T, Wrapped

LEASE_S = 30.0


class Ticks:
    """A clock that moves when it is told to."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Acting(Wrapped):
    """Does something right before the n-th call."""

    def __init__(self, store: BlobStore, number: int, act: Callable[[], object]) -> None:
        super().__init__(store)
        self.number, self.act, self.count = number, act, 0
        self._lock = threading.Lock()

    def call(self, name: str, key: str, size: int, do: Callable[[], T]) -> T:
        with self._lock:
            mine = self.count
            self.count += 1
        if mine == self.number:
            self.act()
        return do()


def take(rig: Rig, lease_s: float = LEASE_S) -> Head:
    return rig.module.claim(rig.module.read_head(), "store", lease_s=lease_s)


def held_head(rig: Rig) -> Head:
    head = rig.module.read_head()
    assert head is not None
    return head
