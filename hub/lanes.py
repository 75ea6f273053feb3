"""Who may transfer: pure decisions, so that a few large modules never keep the small ones waiting.

A transfer is *long* from the moment on which it is known to have much to move. Some of the slots are kept for those that
are not (yet) long: one that turns out to be long where there is no room for another gives its slot up before it has
moved anything to speak of, and begins again when there is.
Two queues by size were rejected: before a transfer has read its manifest, nobody knows how large it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LONG_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Lanes:
    """Slots for transfers.

    Attributes:
        slots: transfers at a time at the most.
    """

    slots: int

    @property
    def for_long(self) -> int:
        """How many of them long transfers may have: a quarter, and at least one, is kept; of one, none can be."""
        return self.slots - max(1, self.slots // 4) if self.slots > 1 else self.slots


def is_long(bytes_done: int, bytes_total: int) -> bool:
    """Tell whether a transfer is long, by what it has moved and what it knows that it will have to."""
    return max(bytes_done, bytes_total) > LONG_BYTES


def must_yield(lanes: Lanes, long_beside: int) -> bool:
    """Tell whether a running transfer that has turned out to be long must give its slot up.

    Args:
        lanes: the slots.
        long_beside: long transfers that run beside it.
    """
    return long_beside >= lanes.for_long


def choose_next(lanes: Lanes, running: Sequence[bool], waiting: Iterable[bool]) -> int | None:
    """Choose who begins next.

    Args:
        lanes: the slots.
        running: for each running transfer, whether it is long.
        waiting: the same for each that waits, in the order of their arrival; read no further than needed.

    Returns:
        Index of the first in the order that there is room for; `None` where there is room for none.
    """
    if len(running) >= lanes.slots:
        return None
    room_for_long = sum(running) < lanes.for_long
    return next((index for index, long in enumerate(waiting) if room_for_long or not long), None)
