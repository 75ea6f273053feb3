"""What becomes of an actor that crashed: decided by a pure function of its history, the clock and chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from actors.backoff import Backoff, restarts_within

if TYPE_CHECKING:
    from actors.ref import Ref


@dataclass(frozen=True, slots=True)
class OneForOne:
    """Restart the crashed actor alone; give it up when it crashes too often.

    Attributes:
        intensity: Restarts allowed within `period_s`; the crash after that ends the actor as failed.
        period_s: Length of the sliding window in seconds of the actor's running time. Time spent waiting for a
            restart does not count, so that no backoff, however long, can keep a crash loop under the intensity.
        backoff: Delays before the restarts.
        escalate_to: Actor that crashes with `ChildFailed` when this one is given up, before its next message; None: it
            is only watched, if at all. Of any system.
    """

    intensity: int = 3
    period_s: float = 5.0
    backoff: Backoff = field(default_factory=Backoff)
    escalate_to: Ref[Any] | None = None

    def __post_init__(self) -> None:
        if self.intensity < 0:
            raise ValueError("intensity counts restarts: give 0 or more.")
        if self.period_s <= 0:
            raise ValueError("period_s is a duration in seconds: give more than 0.")


@dataclass(frozen=True, slots=True)
class RestForOne(OneForOne):
    """Restart the crashed actor, and then those that were spawned after it with this very object, in their order.

    For actors that rely on those before them. Each restarts when the one before it has started. The intensity is that of
    all together; past it the crashed one ends as failed, and the others of the object are killed.
    """


@dataclass(frozen=True, slots=True)
class Restart:
    """Restart after a delay.

    Attributes:
        delay_s: Seconds to wait first.
        history: The restarts that count from now on, this one included.
    """

    delay_s: float
    history: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class GiveUp:
    """End the actor as failed.

    Attributes:
        restarts: How many restarts within the period did not help.
    """

    restarts: int


def decide(
    strategy: OneForOne | None, history: Sequence[float], now: float, random: Callable[[], float]
) -> Restart | GiveUp:
    """Decide what becomes of an actor that crashed just now.

    Args:
        strategy: Its supervision; None gives up at once.
        history: Moments of its earlier restarts.
        now: The moment of the crash, in seconds of the clock of `history`.
        random: Returns a number in [0, 1), for the jitter.

    Returns:
        Restart with the delay and the new history, or GiveUp.
    """
    if strategy is None:
        return GiveUp(restarts=0)
    recent = restarts_within(history, now, strategy.period_s)
    if len(recent) >= strategy.intensity:
        return GiveUp(restarts=len(recent))
    return Restart(delay_s=strategy.backoff.delay(len(recent) + 1, random), history=(*recent, now))
