"""What is worth repeating is repeated: capped exponential waits with full jitter, and one deadline for all of it.

Full jitter (any wait between nothing and the cap of the attempt), since many threads of many hubs meet the same
throttling at once, and equal waits would bring them back at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_before_delay,
    wait_random_exponential,
)

from backends.cancellation import pause
from backends.errors import BackendsError

T = TypeVar("T")


class Repeat(Exception):
    """An attempt failed in a way that may pass.

    Args:
        error: What the caller gets if it does not.
        most: Attempts after which it is taken as lasting, whatever time is left.
    """

    def __init__(self, error: BackendsError, *, most: int | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.most = most


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and for how long an attempt is repeated.

    Attributes:
        deadline: Seconds for all attempts and the waits between them; no attempt begins later. The last one may
            outlast it by its own timeouts.
        first: Most seconds of the first wait; each further one is at most twice as long.
        cap: Most seconds of any wait.
    """

    deadline: float
    first: float = 0.1
    cap: float = 8.0

    def run(self, attempt: Callable[[], T]) -> T:
        """Call until it succeeds, fails for good, or the deadline would pass during the next wait.

        Args:
            attempt: Raises `Repeat` where another attempt may succeed.

        Returns:
            What the attempt returns.

        Raises:
            BackendsError: That of the last `Repeat`.
            TransferCancelled: The caller's token was set during a wait.
        """
        deadline = stop_before_delay(self.deadline)
        retrying = Retrying(
            retry=retry_if_exception_type(Repeat),
            wait=wait_random_exponential(multiplier=self.first, max=self.cap),
            stop=lambda state: deadline(state) or _lasting(state),
            sleep=pause,
            reraise=True,
        )
        try:
            return retrying(attempt)
        except Repeat as last:
            raise last.error from None


def _lasting(state: RetryCallState) -> bool:
    error = state.outcome.exception() if state.outcome else None
    return isinstance(error, Repeat) and error.most is not None and state.attempt_number >= error.most
