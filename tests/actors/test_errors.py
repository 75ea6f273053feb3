import inspect
import pickle

import pykka
import pytest

import actors
import actors.errors
from actors import (
    ActorCrashed,
    ActorDead,
    ActorError,
    ChildFailed,
    DeadlineExceeded,
    DuplicateName,
    ForeignActor,
    FutureResolved,
    HandlerCancelled,
    MailboxFull,
    NothingToForward,
    NotSpawned,
    SystemNotRunning,
    UnhandledMessage,
    WouldDeadlock,
    WrongThread,
)

EXAMPLES: list[ActorError] = [
    ActorCrashed("a", "Add", ValueError("no")),
    ActorDead("a", "stopped"),
    ChildFailed("a", ValueError("no")),
    DeadlineExceeded("a", started=True, timeout_s=1.5),
    DeadlineExceeded("a", started=False, timeout_s=1.5),
    DuplicateName("a", "system"),
    ForeignActor("a"),
    FutureResolved.create(),
    HandlerCancelled("a", SystemExit()),
    MailboxFull("a", 8),
    NothingToForward("a"),
    NotSpawned("Worker"),
    SystemNotRunning("system"),
    UnhandledMessage("a", "text"),
    WouldDeadlock("ask()"),
    WrongThread("after()"),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_errors_survive_pickling(error: ActorError) -> None:
    """An error that crosses a process keeps its class, text and attributes."""
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert copy.__dict__ == error.__dict__


def test_errors_have_one_root_and_all_are_exported() -> None:
    """Every exception of the package is an ActorError and public, and stands among the examples above."""
    defined = {error for _, error in inspect.getmembers(actors.errors, inspect.isclass) if issubclass(error, Exception)}
    exported = {getattr(actors, name) for name in actors.__all__}
    assert defined <= exported
    assert all(issubclass(error, ActorError) for error in defined)
    assert defined - {ActorError} == {type(error) for error in EXAMPLES}


def test_errors_are_what_pykka_and_python_expect() -> None:
    """Code written for pykka's errors, or for TimeoutError, catches ours."""
    assert issubclass(ActorDead, pykka.ActorDeadError)
    assert issubclass(DeadlineExceeded, pykka.Timeout)
    assert issubclass(DeadlineExceeded, TimeoutError)
