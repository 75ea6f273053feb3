"""The caller's token, known to whatever waits on its behalf: a store that pauses before it repeats a request.

Passing the token through every method of every store was rejected: most stores never wait, and third parties would have
to carry it. A context variable is set on each thread that works for a transfer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from backends.errors import TransferCancelled

_token: ContextVar[threading.Event | None] = ContextVar("modhub_transfer_token", default=None)


@contextmanager
def watching(token: threading.Event | None) -> Generator[None]:
    """Let pauses within this context, on this thread, end when a token is set.

    Args:
        token: The caller's token; None leaves pauses as long as they are.
    """
    reset = _token.set(token)
    try:
        yield
    finally:
        _token.reset(reset)


def check(token: threading.Event | None) -> None:
    """End here if the caller wants it.

    Args:
        token: The caller's token.

    Raises:
        TransferCancelled: It is set.
    """
    if token is not None and token.is_set():
        raise TransferCancelled("the transfer was cancelled")


def pause(seconds: float) -> None:
    """Wait, unless the token of this context is set.

    Args:
        seconds: How long.

    Raises:
        TransferCancelled: The token was set before or during the wait.
    """
    token = _token.get()
    if token is None:
        time.sleep(seconds)
    elif token.wait(seconds):
        raise TransferCancelled("the transfer was cancelled while it waited to repeat a request")
