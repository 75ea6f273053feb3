"""How the commands work: on a thread that Ctrl-C ends in good order, with errors as the command line tells them."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

import click

from backends import (
    BackendsError,
    CorruptData,
    HeadConflict,
    InvalidName,
    InvalidURI,
    LocalDiskError,
    Tombstoned,
)
from backends.cancellation import watching
from hub.cli.interrupts import Interrupted, interruptible
from hub.errors import (
    BackendError,
    InvalidConfig,
    InvalidModuleId,
    InvalidState,
    LocalDataError,
    ModhubError,
)

T = TypeVar("T")

_PATIENCE_S = 1.0  # most work looks at its token far more often

_AS: tuple[tuple[type[BackendsError], type[ModhubError]], ...] = (
    (InvalidURI, InvalidConfig),
    (InvalidName, InvalidModuleId),
    (Tombstoned, InvalidState),
    (HeadConflict, InvalidState),
    (LocalDiskError, LocalDataError),
    (BackendsError, BackendError),
)


def cancellable(work: Callable[[threading.Event], T], *, left_behind: str = "") -> T:
    """Do something that takes its time, and end it by its token when a signal asks for that.

    An exception that a signal handler raises in the midst of a transfer could tear anything apart; so the work is on
    another thread, and signals only reach the one that waits.

    Args:
        work: called with the token.
        left_behind: what an interruption leaves, to be told; empty = nothing.

    Returns:
        What it returned.

    Raises:
        Interrupted: a signal came; the work has ended.
        Exception: whatever it raised.
    """
    token = threading.Event()

    def watched() -> T:
        with watching(token):
            return work(token)

    with (
        interruptible() as interrupts,
        ThreadPoolExecutor(1, thread_name_prefix="modhub-backend") as executor,
    ):
        future = executor.submit(watched)
        try:
            return future.result()
        except Interrupted as interrupt:
            token.set()
            if left_behind:
                interrupt.add_note(left_behind)
            if wait((future,), _PATIENCE_S).not_done:
                # No token reaches a read from a server that hangs: it ends by its own time-out.
                interrupts.hurry()
                told = "interrupted; a request is under way: again to leave without waiting for its end"
                click.echo(f"\n{told}" if sys.stderr.isatty() else told, err=True)  # not into a progress bar
            raise


@contextmanager
def translated() -> Generator[None]:
    """Raise errors of the backend, and of the output, as the hub's own."""
    try:
        yield
    except BackendsError as error:
        for known, ours in _AS:
            if isinstance(error, known):
                raise ours(str(error), hint=_hint(error)) from error
        raise
    except (ModhubError, BrokenPipeError):
        raise  # some errors are of both sorts; of a reader that has gone `main` knows
    except OSError as error:
        # The store's and the local disk's errors are typed: this one is the output's.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python would try again at exit
        raise ModhubError(f"the output can't be written: {error.strerror}") from error


def _hint(error: BackendsError) -> str:
    if isinstance(error, CorruptData) and error.hint == CorruptData.default_hint:
        return "modhub backend verify says all that is damaged, and which files can still be restored"
    return error.hint
