"""The decisions about leases as pure functions: how long, when renewed, what is put off. Effects are in `lease_keeper`.

A lease in a module's head lets this hub alone take and commit the module for so long. All times here are seconds of
CLOCK_BOOTTIME. The monotonic clock would not do: it stands still while the machine is suspended, and a hub that wakes up
with it would believe in leases that others have seen run out long ago. Wall clocks are never compared, neither with
another machine's nor with this one's own of before: they jump.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from backends.hydration.lease import lease_ms
from hub.lifecycle import Pending, State
from hub.record import ModuleRecord

_RENEWALS = 3
"""Renewals in the time of a lease: two of them may fail before it is in danger."""
_LOOKS = 12
"""Looks at another hub's lease in the time of one: more often than a hub that lives renews it."""
_SHORTEST_PAUSE_S = 0.02
_JITTER = 0.1
"""The part of an interval by which chance shortens it, so that a fleet that was provisioned at once drifts apart."""
_FIRST_PER_S = 20
"""Renewals in a second of what is not urgent, after a start of the hub and after an outage."""


@dataclass(frozen=True, slots=True)
class LeasePolicy:
    """How long leases are.

    Attributes:
        lease_s: of a module that runs or is in transition, seconds.
        hibernated_lease_s: of one whose data is merely kept here, seconds.
    """

    lease_s: float
    hibernated_lease_s: float

    def wanted_s(self, state: State) -> float:
        """Return how long the lease of a module in this state is to be, seconds."""
        at_rest = state.stable and state is not State.PROVISIONED
        return self.hibernated_lease_s if at_rest else self.lease_s


def keeps_claim(record: ModuleRecord) -> bool:
    """Tell whether there is anything here that a claim on the backend protects.

    Args:
        record: the module.

    Returns:
        Whether its lease is to be kept. A module at rest that is clean has been sent home and given back; renewed, it
        would be taken from whoever may want it now. One whose obliteration was begun has no data to commit any more.
    """
    if record.pending is Pending.OBLITERATE or record.state is State.OBLITERATING:
        return False
    return record.dirty or record.state in {State.PROVISIONING, State.RECOVERING}


def renewal_due(asked_at: float, written_s: float, wanted_s: float, random: Callable[[], float]) -> float:
    """Decide when a lease is renewed next.

    Args:
        asked_at: when it was asked for last, before the request was sent.
        written_s: how long it was made then, seconds.
        wanted_s: how long it would be made now, seconds.
        random: gives a number in [0, 1).

    Returns:
        The time.
    """
    return asked_at + min(written_s, wanted_s) / _RENEWALS * (1 - _JITTER * random())


def shortening_due(now: float, planned: float | None, wanted_s: float, random: Callable[[], float]) -> float:
    """Decide when the lease of a module is renewed that has just begun to want a shorter one, such as a woken one.

    Not at once: waking makes no backend traffic, and a module that sleeps again soon never will.

    Args:
        now: the time.
        planned: when it was to be renewed; `None` = never.
        wanted_s: how long it is to be from now on, seconds.
        random: gives a number in [0, 1).

    Returns:
        The time.
    """
    due = renewal_due(now, wanted_s, wanted_s, random)
    return due if planned is None else min(planned, due)


def retry_due(now: float, until: float, wanted_s: float, random: Callable[[], float]) -> float:
    """Decide when a renewal that failed is tried again.

    Args:
        now: the time.
        until: when the lease runs out; then, at the latest, somebody has to look.
        wanted_s: how long it is to be, seconds.
        random: gives a number in [0, 1).

    Returns:
        The time, after now.
    """
    due = now + wanted_s / (2 * _RENEWALS) * (1 - _JITTER * random())
    return min(due, until) if until > now else due


def spread_first(policy: LeasePolicy, records: Iterable[ModuleRecord], now: float) -> list[tuple[str, float]]:
    """Spread the renewals of leases of which this hub does not know how long they still run: after its start.

    Args:
        policy: how long leases are.
        records: the modules whose claims are kept.
        now: the time.

    Returns:
        Module ids with times, in order: those that run or crashed first, since they soon run again, then those that
        came to rest last. A hub that ended wrote no long lease for what it put to sleep.
    """
    ranked = sorted(records, key=lambda record: (_rank(record.state), -record.since))
    running = [record.module_id for record in ranked if not _rank(record.state)]
    return spread_again(running, [record.module_id for record in ranked[len(running) :]], policy, now)


def spread_again(
    running: Sequence[str], resting: Sequence[str], policy: LeasePolicy, now: float
) -> list[tuple[str, float]]:
    """Spread the renewals that waited for the backend, now that it is back.

    Those that run do not wait for how many they are, and neither do their next renewals for how many are at rest.

    Args:
        running: whose leases are due, of those with the short one.
        resting: the same of the others.
        policy: how long leases are.
        now: the time.

    Returns:
        Module ids with times, in order.
    """
    planned = _spread(running, now, policy.lease_s / 6)
    begin = planned[-1][1] + 1 / _FIRST_PER_S if planned else now
    over_s = max(policy.hibernated_lease_s / 6 - (begin - now), policy.lease_s / 6)
    return planned + _spread(resting, begin, over_s)


def _rank(state: State) -> int:
    if state is State.PROVISIONED or not state.stable:
        return 0
    return 1 if state is State.CRASHED else 2


def _spread(module_ids: Sequence[str], now: float, over_s: float) -> list[tuple[str, float]]:
    interval = min(1 / _FIRST_PER_S, over_s / max(1, len(module_ids)))
    return [(module_id, now + number * interval) for number, module_id in enumerate(module_ids)]


def pause_before_take_over(policy: LeasePolicy, remaining_s: float, earlier_s: float | None) -> float | None:
    """Decide whether to wait until another hub's lease is seen to run out.

    Args:
        policy: how long this hub's own leases are.
        remaining_s: seconds that it has still to be watched.
        earlier_s: the same at the look before; `None` = this was the first.

    Returns:
        Seconds until the next look; `None` = that hub lives, since its lease was renewed between the looks, or its lease
        is longer than one of a running module, for which nobody waits.
    """
    # As a head has it, which is not always this number of seconds.
    if remaining_s > lease_ms(policy.lease_s) / 1000 or (earlier_s is not None and remaining_s >= earlier_s):
        return None
    return min(max(policy.lease_s / _LOOKS, _SHORTEST_PAUSE_S), remaining_s)


class Schedule:
    """What is due when, by module. Ten thousand that are not due cost nothing to look past."""

    def __init__(self) -> None:
        self._due: dict[str, tuple[float, int]] = {}
        # Entries that were overtaken stay in the heap until they come to its top.
        self._heap: list[tuple[float, int, str]] = []
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._due)

    def planned(self, module_id: str) -> float | None:
        """Return when a module is due; `None` = never."""
        found = self._due.get(module_id)
        return None if found is None else found[0]

    def plan(self, module_id: str, at: float) -> None:
        """Let a module be due at a time, and at no other."""
        number = next(self._numbers)
        self._due[module_id] = at, number
        heapq.heappush(self._heap, (at, number, module_id))
        if len(self._heap) > 2 * len(self._due) + 64:
            self._heap = [(due, number, module_id) for module_id, (due, number) in self._due.items()]
            heapq.heapify(self._heap)

    def drop(self, module_id: str) -> None:
        """Let a module not be due any more."""
        self._due.pop(module_id, None)

    def take(self, now: float) -> str | None:
        """Take the module that is due for longest; it is not due any more.

        Args:
            now: the time.

        Returns:
            The module; `None` where none is due yet.
        """
        while self._heap and self._heap[0][0] <= now:
            at, number, module_id = heapq.heappop(self._heap)
            if self._due.get(module_id) == (at, number):
                del self._due[module_id]
                return module_id
        return None
