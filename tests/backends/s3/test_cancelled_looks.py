"""Whoever looks at a backend that fails can stop waiting for it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from backends import Inspection, TransferCancelled, list_modules
from tests.backends.s3.scripted import Scripted, failure

LOOKS: dict[str, Callable[[Inspection], object]] = {
    "head": lambda look: look.read_head(),
    "snapshot": lambda look: look.snapshot(),
    "verify": lambda look: look.verify(print),
    "usage": lambda look: look.usage(),
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_a_look_that_waits_is_cancelled(server: Scripted, look: Callable[[Inspection], object]) -> None:
    """With the token set, a look ends with the attempt that is under way; it does not wait to repeat it."""
    server.then(failure("SlowDown", 503))
    token = threading.Event()
    token.set()
    with pytest.raises(TransferCancelled):
        look(Inspection(server.store(), "m", cancelled=token))
    assert len(server.requests) == 1


def test_a_list_that_waits_is_cancelled(server: Scripted) -> None:
    """So does the list of modules."""
    server.then(failure("SlowDown", 503))
    token = threading.Event()
    token.set()
    with pytest.raises(TransferCancelled):
        list_modules(server.store(), token)
    assert len(server.requests) == 1
