"""When to try again: pure data and functions, for actors and for whatever else is restarted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Capped exponential delays with jitter.

    Attributes:
        first_s: Delay before the first retry, in seconds. Not jittered.
        base_s: Delay before the second retry, in seconds; each later one is `factor` times longer.
        factor: Growth from one delay to the next.
        max_s: Cap of every delay, in seconds.
        jitter: Share of a delay that chance takes away, 0 (none) to 1 (all): it only shortens, so the cap holds.
    """

    first_s: float = 0.0
    base_s: float = 0.1
    factor: float = 2.0
    max_s: float = 30.0
    jitter: float = 0.2

    def __post_init__(self) -> None:
        if min(self.first_s, self.base_s, self.max_s) < 0:
            raise ValueError("first_s, base_s and max_s are durations in seconds: give 0 or more.")
        if self.factor < 1:
            raise ValueError("factor must be 1 or more: a backoff does not shrink.")
        if not 0 <= self.jitter <= 1:
            raise ValueError("jitter is a share of the delay: give 0 to 1.")

    def delay(self, attempt: int, random: Callable[[], float]) -> float:
        """Return how long to wait before an attempt.

        Args:
            attempt: 1 for the first retry.
            random: Returns a number in [0, 1).

        Returns:
            The delay in seconds.

        Raises:
            ValueError: `attempt` is less than 1.
        """
        if attempt < 1:
            raise ValueError("attempt counts from 1.")
        if attempt == 1:
            return min(self.first_s, self.max_s)
        try:
            full = min(self.base_s * self.factor ** (attempt - 2), self.max_s)
        except OverflowError:
            full = self.max_s if self.base_s else 0.0
        return full * (1 - self.jitter * random())


def restarts_within(times: Sequence[float], now: float, period_s: float) -> tuple[float, ...]:
    """Return those of `times` that lie in the window that ends now.

    Args:
        times: Moments of earlier restarts, in seconds of any monotonic clock.
        now: The moment of asking, of the same clock.
        period_s: Length of the window in seconds; a restart exactly that old has left it.

    Returns:
        The restarts that still count, in the order given.
    """
    return tuple(time for time in times if now - time < period_s)
