"""Signals end a command once, and in good order."""

from __future__ import annotations

import signal

import pytest

from hub.cli.interrupts import Interrupted, interruptible


def test_a_signal_waits_for_the_end_of_what_must_not_be_torn_apart() -> None:
    """A signal within a deferring block is raised when that has ended."""
    done: list[str] = []

    def torn_apart() -> None:
        with interruptible() as interrupts, interrupts.deferred():
            signal.raise_signal(signal.SIGINT)
            done.append("all of it")

    with pytest.raises(Interrupted) as caught:
        torn_apart()
    assert done
    assert caught.value.number == signal.SIGINT


def test_a_second_signal_does_not_hurry_the_cleanup() -> None:
    """Only the first signal is raised; then the handlers of before are back."""
    before = signal.getsignal(signal.SIGTERM)
    with interruptible():
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


def test_signals_are_ignored_while_tidying_up() -> None:
    """After `ignore` a signal does nothing."""
    with interruptible() as interrupts:
        interrupts.ignore()
        signal.raise_signal(signal.SIGINT)
