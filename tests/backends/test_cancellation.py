"""Pauses end with the token of the transfer that they belong to."""

from __future__ import annotations

import threading

import pytest

from backends import TransferCancelled
from backends.cancellation import pause, watching


def test_a_set_token_ends_a_pause() -> None:
    """A pause under a token that is set raises at once, however long it would be."""
    token = threading.Event()
    token.set()
    with watching(token), pytest.raises(TransferCancelled):
        pause(3600)


def test_a_token_is_its_thread_s_own() -> None:
    """A token neither reaches other threads nor outlives its context."""
    token = threading.Event()
    token.set()
    failures: list[BaseException] = []

    def other() -> None:
        try:
            pause(0)
        except BaseException as error:
            failures.append(error)

    with watching(token):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    pause(0)
    assert failures == []


def test_tokens_nest() -> None:
    """An inner context has its own token; afterwards the outer one counts again."""
    token = threading.Event()
    token.set()
    with watching(token):
        with watching(None):
            pause(0)
        with pytest.raises(TransferCancelled):
            pause(0)
