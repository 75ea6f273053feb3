"""When and how long an attempt is repeated, on a clock that only waits move."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from backends import BackendDenied, BackendUnavailable, TransferCancelled
from backends.cancellation import watching
from backends.retry import Repeat, RetryPolicy
from tests.backends.conftest import Clock


def failing(times: int, *, most: int | None = None) -> tuple[Callable[[], str], list[BackendUnavailable]]:
    raised: list[BackendUnavailable] = []

    def attempt() -> str:
        if len(raised) == times:
            return "done"
        raised.append(BackendUnavailable(f"attempt {len(raised)}"))
        raise Repeat(raised[-1], most=most)

    return attempt, raised


def test_repeats_until_it_succeeds(clock: Clock) -> None:
    """What fails in passing is tried again and its result returned."""
    attempt, raised = failing(3)
    assert RetryPolicy(60).run(attempt) == "done"
    assert len(raised) == len(clock.waits) == 3


def test_waits_grow_up_to_a_cap_with_full_jitter(clock: Clock) -> None:
    """The n-th wait is anything up to twice the n-1-th's most, and never more than the cap."""
    waits: list[list[float]] = []
    for _ in range(50):
        attempt, _raised = failing(8)
        RetryPolicy(10_000, first=0.1, cap=2.0).run(attempt)
        waits.append(clock.waits[:])
        clock.waits.clear()
    for number, column in enumerate(zip(*waits, strict=True)):
        most = min(2.0, 0.1 * 2**number)
        assert max(column) <= most
        # Of 50 uniform ones, one is in each half.
        assert min(column) < most / 2 < max(column)


def test_no_attempt_begins_after_the_deadline(clock: Clock) -> None:
    """The last error is raised, alone, before the deadline would pass in a wait."""
    start = clock.now
    attempt, raised = failing(10_000)
    with pytest.raises(BackendUnavailable) as caught:
        RetryPolicy(30).run(attempt)
    assert 30 - 8 <= clock.now - start <= 30
    assert caught.value is raised[-1]
    assert caught.value.__cause__ is None


def test_what_lasts_is_given_up_early(clock: Clock) -> None:
    """A failure that says how often it is worth repeating is repeated so often, whatever time is left."""
    attempt, raised = failing(10, most=4)
    with pytest.raises(BackendUnavailable):
        RetryPolicy(10_000).run(attempt)
    assert len(raised) == 4


def test_other_errors_are_raised_at_once(clock: Clock) -> None:
    """What is not worth repeating is not repeated."""

    def attempt() -> None:
        raise BackendDenied("no")

    with pytest.raises(BackendDenied):
        RetryPolicy(60).run(attempt)
    assert clock.waits == []


def test_cancelled_while_it_waits() -> None:
    """The caller's token ends the wait before the next attempt."""
    token = threading.Event()
    attempts: list[int] = []

    def attempt() -> None:
        attempts.append(1)
        token.set()
        raise Repeat(BackendUnavailable("busy"))

    with watching(token), pytest.raises(TransferCancelled):
        RetryPolicy(10_000, first=1000, cap=1000).run(attempt)
    assert len(attempts) == 1
