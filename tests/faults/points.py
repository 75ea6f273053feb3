"""Crash points: what a process passes on its way, by names that stay the same, and its own end at one of them.

A point is named after what happens there: `journal:m=deprovisioning+dirty:after`. The second time that a name comes up it
is `...#2`. So a point is found again even where threads pass theirs in another order.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections import Counter

BEGIN, END = "begin", "end"
_RANDOM = re.compile(r"[0-9a-f]{8,}")
# Taken before anything is wrapped.
_kill = os.kill


def stable(text: str) -> str:
    """A name without what is random in it."""
    return _RANDOM.sub("*", text)


class Trace:
    """The crash points that this process passes while it is armed.

    Args:
        pattern: a regular expression; the process ends at the first point that it matches as a whole.
        number: the process ends at this point, counted from 1.
    """

    def __init__(self, *, pattern: str | None = None, number: int | None = None) -> None:
        self.passed: list[str] = []
        self.armed = False
        self._pattern = re.compile(pattern) if pattern is not None else None
        self._number = number
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def hit(self, name: str) -> None:
        """Pass a point."""
        if not self.armed:
            return
        with self._lock:
            self._counts[name] += 1
            label = name if self._counts[name] == 1 else f"{name}#{self._counts[name]}"
            self.passed.append(label)
            if len(self.passed) == self._number or (self._pattern and self._pattern.fullmatch(label)):
                _kill(os.getpid(), signal.SIGKILL)
                time.sleep(60)  # never: no thread of this process gets any further
