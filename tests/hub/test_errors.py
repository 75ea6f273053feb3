"""Errors: one root, one stable code each, and a hint where the message leaves something to do."""

import copy
import inspect
import pickle
import re

import pytest

import hub
from hub import errors
from hub.errors import BudgetExceeded, ModhubError, OperationTimeout, StartFailed

FOUND: list[type[Exception]] = [
    cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, Exception) and cls.__module__ == errors.__name__
]
CLASSES = [cls for cls in FOUND if issubclass(cls, ModhubError)]


def make(cls: type[ModhubError], message: str, hint: str = "") -> ModhubError:
    if cls is OperationTimeout:
        return OperationTimeout(message, op_id="0123456789abcdef", started=True)
    if cls is BudgetExceeded:
        return BudgetExceeded(message, hint=hint, budget="memory", retry_after_s=1.0)
    return cls(message, hint=hint)


def test_one_except_clause_catches_everything() -> None:
    """Every error of the hub derives from the one root."""
    assert CLASSES == FOUND
    assert len(CLASSES) > 20


def test_codes_are_stable_names_of_their_own() -> None:
    """Each class has its own code, in lower case with hyphens: a problem type never means two things."""
    codes = [cls.__dict__["code"] for cls in CLASSES]
    assert len(codes) == len(set(codes))
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in codes)


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_says_what_it_means(cls: type[ModhubError]) -> None:
    """Every class has a docstring of its own, from which the reference page is made."""
    assert cls.__dict__.get("__doc__")


@pytest.mark.parametrize("cls", CLASSES)
def test_the_message_is_what_str_shows(cls: type[ModhubError]) -> None:
    """A log that prints the error shows its message and nothing made up."""
    assert str(make(cls, "it broke")) == "it broke"


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if cls is not OperationTimeout])
def test_the_hint_stands_in_str(cls: type[ModhubError]) -> None:
    """What to do next reaches also a reader who only sees the printed error."""
    error = make(cls, "it broke", "mend it")
    assert str(error) == "it broke (mend it)"
    assert error.hint == "mend it"


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if issubclass(cls, StartFailed)])
def test_a_failed_start_shows_the_processs_last_words(cls: type[StartFailed]) -> None:
    """The output of the process follows message and hint."""
    error = cls("did not start", hint="look", output="no such file")
    assert str(error) == "did not start (look)\nlast output:\nno such file"


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [
        (hub.InvalidModuleId, ValueError),
        (hub.InvalidConfig, ValueError),
        (hub.ModuleNotFound, LookupError),
        (hub.OperationNotFound, LookupError),
        (hub.UnknownKind, LookupError),
        (hub.OperationTimeout, TimeoutError),
        (hub.UnsupportedPlatform, ImportError),
    ],
)
def test_an_error_is_also_the_builtin_one_that_callers_expect(cls: type[ModhubError], builtin: type[Exception]) -> None:
    """Code that knows nothing of modhub can catch the standard error."""
    assert issubclass(cls, builtin)


@pytest.mark.parametrize("started", [True, False])
def test_a_timeout_names_its_operation_and_whether_it_goes_on(started: bool) -> None:
    """The caller can ask for the operation by its id, and knows whether it was withdrawn."""
    error = OperationTimeout("too late", op_id="0123456789abcdef", started=started)
    assert (error.op_id, error.started) == ("0123456789abcdef", started)


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_reaches_another_process_as_it_is(cls: type[ModhubError]) -> None:
    """A host that works in several processes hands errors on: none of their attributes is lost on the way."""
    error = make(cls, "it broke")
    for arrived in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(arrived) is cls
        assert str(arrived) == str(error)
        assert vars(arrived) == vars(error)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_can_be_imported_from_hub(cls: type[ModhubError]) -> None:
    """Whatever is raised can be named by the host without reaching into the package."""
    assert getattr(hub, cls.__name__) is cls
