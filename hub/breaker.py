"""The circuit breaker of the backend, as a pure state machine: values in, values out, no clock and no effect.

Closed: everything is tried. Open: nothing is, until `next_at`. Half-open: one attempt finds out whether it is back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from actors import Backoff


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When the breaker opens, and how long it waits.

    Attributes:
        failures: failures in a row that open it.
        delay_s: seconds until the first attempt; doubled for each that fails, a fifth shorter at the most by chance.
        delay_max_s: seconds between attempts at the most.
    """

    failures: int = 3
    delay_s: float = 1.0
    delay_max_s: float = 60.0

    def delay(self, attempt: int, random: Callable[[], float]) -> float:
        """Return the seconds to wait before an attempt, which counts from 1."""
        # From its second delay on a `Backoff` is jittered; all are here: hubs that share a backend lose it together.
        return Backoff(base_s=self.delay_s, max_s=self.delay_max_s).delay(attempt + 1, random)


@dataclass(frozen=True, slots=True)
class Closed:
    """The backend is asked.

    Attributes:
        failures: failures in a row so far.
        attempts: attempts that the last outage took, until work has succeeded since: what answers the attempt but
            fails at work opens the breaker for ever longer.
    """

    failures: int = 0
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Open:
    """The backend is left alone.

    Attributes:
        since: when it opened, in seconds of the clock that the caller uses.
        error: the last reason.
        attempt: number of the next attempt.
        next_at: when that is due.
    """

    since: float
    error: str
    attempt: int
    next_at: float


@dataclass(frozen=True, slots=True)
class HalfOpen:
    """One attempt is under way; everything else is refused as before. Attributes as of `Open`."""

    since: float
    error: str
    attempt: int


Circuit = Closed | Open | HalfOpen


def fail(policy: BreakerPolicy, circuit: Circuit, now: float, error: str, random: Callable[[], float]) -> Circuit:
    """Take note that work failed because the backend could not be reached, or failed itself.

    Args:
        policy: the policy.
        circuit: the state so far.
        now: the time, seconds.
        error: the reason.
        random: gives a number in [0, 1).

    Returns:
        The state that follows; work that began before the breaker opened only renews the reason.
    """
    if not isinstance(circuit, Closed):
        return replace(circuit, error=error)
    if circuit.failures + 1 < policy.failures:
        return replace(circuit, failures=circuit.failures + 1)
    attempt = circuit.attempts + 1
    return Open(now, error, attempt, now + policy.delay(attempt, random))


def in_doubt(before: Circuit, after: Circuit) -> bool:
    """Tell whether a first failure calls for a look at the backend.

    Each failure of work may take a minute. A look tells sooner whether it was the backend's or that work's own.
    """
    first = isinstance(before, Closed) and before.failures == 0
    return first and isinstance(after, Closed) and after.failures == 1


def fail_look(policy: BreakerPolicy, circuit: Circuit, now: float, error: str, random: Callable[[], float]) -> Circuit:
    """Take note that a look after a failure failed as well: it opens the breaker, unless work has succeeded meanwhile.

    Arguments as of `fail`.
    """
    if not isinstance(circuit, Closed) or not circuit.failures:
        return circuit
    return fail(replace(policy, failures=1), circuit, now, error, random)


def succeed(circuit: Circuit) -> Circuit:
    """Take note that the backend answered at work.

    Once open, only an attempt closes the breaker: the work may have had its answers before.
    """
    return Closed() if isinstance(circuit, Closed) else circuit


def begin_attempt(circuit: Circuit) -> Circuit:
    """Take note that an attempt begins."""
    return HalfOpen(circuit.since, circuit.error, circuit.attempt) if isinstance(circuit, Open) else circuit


def fail_attempt(
    policy: BreakerPolicy, circuit: Circuit, now: float, error: str, random: Callable[[], float]
) -> Circuit:
    """Take note that the attempt failed: the next one is later. Arguments as of `fail`."""
    if not isinstance(circuit, HalfOpen):
        return circuit
    attempt = circuit.attempt + 1
    return Open(circuit.since, error, attempt, now + policy.delay(attempt, random))


def succeed_attempt(circuit: Circuit) -> Circuit:
    """Take note that the attempt was answered."""
    return Closed(attempts=circuit.attempt) if isinstance(circuit, HalfOpen) else circuit
