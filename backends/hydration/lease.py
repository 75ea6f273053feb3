"""Leases, as those see them who do not hold them: by observation alone.

The head says how long its owner's lease lasts, never until when: no two machines' clocks need agree on anything but the
length of a second. Whoever wants the module has to see one and the same head for that long. A holder counts its lease
from before the request that wrote it; an observer counts from after the answer that showed it. So while a holder may
rely on its lease, no observer has seen it run out, whatever their clocks say and however long a request took.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from backends.hydration.head import LEASE_LIMIT_MS, Head

_KEPT = 65_536  # leases under observation; one that is forgotten is only waited for anew


def boottime() -> float:
    """Seconds of the clock that nobody sets and that goes on while the machine sleeps, as real leases do."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def lease_ms(lease_s: float) -> int:
    """The length of a lease as a head has it: never shorter than its holder believes.

    Args:
        lease_s: Seconds; 0 for none.

    Raises:
        ValueError: It is negative, not a number or longer than a year.
    """
    if not 0 <= lease_s <= LEASE_LIMIT_MS / 1000:
        raise ValueError(f"a lease lasts 0 to {LEASE_LIMIT_MS // 1000} seconds, not {lease_s}")
    return math.ceil(lease_s * 1000)


class LeaseObserver:
    """What one process has seen of others' leases. Safe on any thread; to be shared by all that it does.

    Args:
        clock: Seconds of a clock that is never set; this process's own.
    """

    def __init__(self, clock: Callable[[], float] = boottime) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def remaining_s(self, key: str, head: Head) -> float:
        """How long a head's lease may still run. The first look at a head starts its time.

        Args:
            key: Where the head is: one place of one store.
            head: The head, just read.

        Returns:
            Seconds; 0.0 where there is no lease, or where this very head was first seen as long ago as it lasts.
        """
        with self._lock:
            if not head.lease_ms:
                self._seen.pop(key, None)
                return 0.0
            now = self._clock()
            nonce, since = self._seen.get(key, ("", now))
            if nonce != head.nonce:
                since = now
            self._seen[key] = head.nonce, since
            self._seen.move_to_end(key)
            while len(self._seen) > _KEPT:
                self._seen.popitem(last=False)
            length_s = head.lease_ms / 1000
            # Never more, not even by a rounding: whoever waits for leases as long as its own compares.
            return min(length_s, max(0.0, since + length_s - now))
