import pytest

from actors import Backoff, GiveUp, OneForOne, Restart, decide


def no_chance() -> float:
    return 0.0


def test_without_supervision_a_crash_is_the_end() -> None:
    """No strategy gives up at the first crash."""
    assert decide(None, (), 0.0, no_chance) == GiveUp(restarts=0)


def test_restarts_up_to_the_intensity_within_the_period() -> None:
    """Three restarts within the period are granted, with growing delays; the fourth crash is the end."""
    strategy = OneForOne(intensity=3, period_s=5.0, backoff=Backoff(first_s=0, base_s=1, jitter=0))
    history: tuple[float, ...] = ()
    delays: list[float] = []
    for now in (0.0, 1.0, 2.0):
        decision = decide(strategy, history, now, no_chance)
        assert isinstance(decision, Restart)
        history = decision.history
        delays.append(decision.delay_s)
    assert delays == [0, 1, 2]
    assert decide(strategy, history, 3.0, no_chance) == GiveUp(restarts=3)


def test_old_restarts_are_forgiven() -> None:
    """A restart that has left the window neither counts nor lengthens the delay."""
    strategy = OneForOne(intensity=1, period_s=5.0)
    decision = decide(strategy, (0.0,), 5.0, no_chance)
    assert decision == Restart(delay_s=0.0, history=(5.0,))


def test_intensity_zero_never_restarts() -> None:
    """An intensity of 0 is a strategy that only reports."""
    assert decide(OneForOne(intensity=0), (), 0.0, no_chance) == GiveUp(restarts=0)


@pytest.mark.parametrize(("intensity", "period_s"), [(-1, 5.0), (3, 0.0)])
def test_senseless_parameters_are_refused(intensity: int, period_s: float) -> None:
    """A strategy that can't be followed is a ValueError at once."""
    with pytest.raises(ValueError, match="give"):
        OneForOne(intensity=intensity, period_s=period_s)
