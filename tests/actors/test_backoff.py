import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Backoff, restarts_within


def test_first_retry_is_immediate_and_later_ones_grow_to_the_cap() -> None:
    """Delays are first_s, then base_s growing by factor, never above max_s."""
    backoff = Backoff(first_s=0, base_s=1, factor=2, max_s=5, jitter=0)
    assert [backoff.delay(attempt, lambda: 0.5) for attempt in range(1, 7)] == [0, 1, 2, 4, 5, 5]


@given(
    attempt=st.integers(1, 10**9),
    chance=st.floats(0, 1, exclude_max=True),
    jitter=st.floats(0, 1),
    factor=st.floats(1, 100),
    max_s=st.floats(0, 1e6),
)
def test_jitter_only_shortens(attempt: int, chance: float, jitter: float, factor: float, max_s: float) -> None:
    """Whatever the attempt and chance, a delay lies in [(1 - jitter) x full delay, max_s] and is finite."""
    backoff = Backoff(base_s=0.1, factor=factor, max_s=max_s, jitter=jitter)
    plain = Backoff(base_s=0.1, factor=factor, max_s=max_s, jitter=0)
    delay = backoff.delay(attempt, lambda: chance)
    full = plain.delay(attempt, lambda: chance)
    assert math.isfinite(delay)
    assert full * (1 - jitter) - 1e-9 <= delay <= full <= max_s


@pytest.mark.parametrize(
    "parameters", [{"base_s": -1.0}, {"first_s": -1.0}, {"max_s": -1.0}, {"factor": 0.5}, {"jitter": 1.5}]
)
def test_senseless_parameters_are_refused(parameters: dict[str, float]) -> None:
    """A backoff that could not be waited out, or that shrinks, is a ValueError at once."""
    with pytest.raises(ValueError, match=r"seconds|factor|jitter"):
        Backoff(**parameters)


def test_attempts_count_from_one() -> None:
    """Attempt 0 has no delay: it is a ValueError, not a silent zero."""
    with pytest.raises(ValueError, match="counts from 1"):
        Backoff().delay(0, lambda: 0.0)


@given(times=st.lists(st.floats(0, 100)), now=st.floats(100, 200), period_s=st.floats(0.1, 200))
def test_window_keeps_the_young_ones(times: list[float], now: float, period_s: float) -> None:
    """Exactly the restarts younger than the period count, in their order."""
    assert restarts_within(times, now, period_s) == tuple(time for time in times if now - time < period_s)
