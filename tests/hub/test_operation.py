"""Operations while they run, and the ledger that remembers them."""

from dataclasses import dataclass

import pytest

from backends import Progress
from hub import operation as operation_module
from hub.errors import OperationCancelled, OperationNotFound, WakeFailed
from hub.info import OperationInfo
from hub.lifecycle import Request
from hub.operation import Ledger, Operation, Phase, Status


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def make(op_id: str = "op", clock: Clock | None = None) -> Operation:
    return Operation(op_id, "tenant-42", Request.PROVISION, clock or Clock())


def test_a_fresh_operation_runs() -> None:
    """What callers are told at the beginning: it runs, at its first step, with nothing transferred."""
    assert make().info() == OperationInfo("op", "tenant-42", "provision", "running", "begin", 0.0)


@pytest.mark.parametrize("status", [Status.DONE, Status.FAILED, Status.CANCELLED])
def test_the_duration_stops_with_the_operation(status: Status) -> None:
    """It grows while the operation runs and stays afterwards; status and error are told."""
    clock = Clock()
    operation = make(clock=clock)
    clock.now += 2
    assert operation.info().duration_s == 2
    operation.end(status, "why")
    clock.now += 40
    info = operation.info()
    assert (info.status, info.error, info.duration_s) == (status.value, "why", 2)


def test_progress_is_told() -> None:
    """The last report of the transfer's thread is what callers see."""
    operation = make()
    operation.on_progress(Progress("upload", bytes_done=1, bytes_total=10, files_done=0, files_total=2))
    operation.on_progress(Progress("upload", bytes_done=7, bytes_total=10, files_done=1, files_total=2))
    info = operation.info()
    assert (info.bytes_done, info.bytes_total, info.files_done, info.files_total) == (7, 10, 1, 2)


def test_what_was_transferred_stays_told() -> None:
    """The phases after a transfer have no bytes of their own, so its end does not read as if nothing had moved."""
    operation = make()
    operation.on_progress(Progress("scan", bytes_done=0, bytes_total=0, files_done=2, files_total=0))
    assert operation.info().files_done == 2
    operation.on_progress(Progress("upload", bytes_done=10, bytes_total=10, files_done=2, files_total=2))
    for phase in ("verify", "commit", "collect"):
        operation.on_progress(Progress(phase, bytes_done=0, bytes_total=0, files_done=0, files_total=3))
    operation.end(Status.DONE)
    info = operation.info()
    assert (info.bytes_done, info.bytes_total, info.files_done, info.files_total) == (10, 10, 2, 2)


@pytest.mark.parametrize("phase", list(Phase))
def test_an_operation_is_cancelled_in_the_named_phases_only(phase: Phase) -> None:
    """A waiting deprovision ends a hydration, and nothing that is past it or not a transfer."""
    withdrawn: list[str] = []
    operation = make()
    operation.phase = phase
    operation.withdraw = lambda: withdrawn.append("taken out of the queue")
    operation.cancel("a deprovision waits", Phase.HYDRATING)
    hydrating = phase is Phase.HYDRATING
    assert operation.cancelled.is_set() is hydrating
    assert operation.cancel_reason == ("a deprovision waits" if hydrating else "")
    assert bool(withdrawn) is hydrating


def test_a_running_transfer_without_a_place_in_a_queue_is_only_signalled() -> None:
    """Cancelling needs no queue: the transfer's thread sees the flag."""
    operation = make()
    operation.phase = Phase.DEHYDRATING
    operation.cancel("an obliterate waits", Phase.HYDRATING, Phase.DEHYDRATING)
    assert operation.cancelled.is_set()


def test_an_operation_that_waits_has_not_run_yet() -> None:
    """While it waits it takes no time; its duration counts from its turn on, and is none if that never comes."""
    clock = Clock()
    operation = make(clock=clock)
    operation.wait()
    clock.now += 5
    assert operation.info() == OperationInfo("op", "tenant-42", "provision", "waiting", "waiting", 0.0)
    operation.begin()
    clock.now += 2
    assert (operation.status, operation.step, operation.duration_s) == (Status.RUNNING, "begin", 2)
    never = make(clock=clock)
    never.wait()
    clock.now += 7
    never.end(Status.CANCELLED, "withdrawn")
    assert never.duration_s == 0


def test_who_asked_is_told() -> None:
    """An operation says in whose name it runs, where that is known."""
    assert Operation("op", "m", Request.WAKE, Clock(), asked_by="ci").info().asked_by == "ci"


@pytest.fixture
def bound(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(operation_module, "_REMEMBERED", 3)
    return 3


def test_the_ledger_finds_what_waits_what_runs_and_what_ended() -> None:
    """An operation can be asked for by its id from its acceptance on, and after it has ended."""
    ledger = Ledger()
    operation = make("one")
    assert "one" not in ledger
    for step in (ledger.accept, ledger.begin, ledger.end):
        step(operation)
        assert ledger.find("one") is operation
        assert "one" in ledger
    assert operation.status is Status.DONE


def test_the_open_operations_are_listed_the_oldest_first_and_counted() -> None:
    """What waits and what runs is told apart; what has ended is in neither."""
    ledger = Ledger()
    one, two, three = make("one"), make("two"), make("three")
    for operation in (one, two, three):
        ledger.accept(operation)
    assert ([o.op_id for o in ledger.open()], ledger.waiting, ledger.running) == (["one", "two", "three"], 3, 0)
    ledger.begin(two)
    assert ([o.op_id for o in ledger.open()], ledger.waiting, ledger.running) == (["one", "two", "three"], 2, 1)
    ledger.end(one)
    ledger.end(two)
    assert ([o.op_id for o in ledger.open()], ledger.waiting, ledger.running) == (["three"], 1, 0)
    ledger.end(three)
    assert (list(ledger.open()), ledger.waiting, ledger.running) == ([], 0, 0)


def test_an_operation_that_is_handed_on_waits_again() -> None:
    """Who begins an operation may leave it to another, in whose turn it runs."""
    ledger = Ledger()
    operation = make()
    ledger.accept(operation)
    ledger.begin(operation)
    ledger.put_off(operation)
    assert (operation.status, ledger.waiting, ledger.running) == (Status.WAITING, 1, 0)
    ledger.begin(operation)
    assert (operation.status, ledger.waiting, ledger.running) == (Status.RUNNING, 0, 1)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (None, Status.DONE, None),
        (WakeFailed("no"), Status.FAILED, "wake-failed"),
        (OperationCancelled("a deprovision waits"), Status.CANCELLED, "operation-cancelled"),
        (ZeroDivisionError("a secret"), Status.FAILED, "module-fault"),
    ],
)
def test_an_end_is_told_by_its_error(error: Exception | None, status: Status, code: str | None) -> None:
    """Done, failed with the error's stable name, or cancelled; a defect's own words are for the log alone."""
    ledger = Ledger()
    operation = make()
    ledger.begin(operation)
    ledger.end(operation, error)
    info = operation.info()
    assert (info.status, info.error_code) == (status.value, code)
    assert "secret" not in str(info.error)
    assert ledger.outcomes() == {"provision": {status.value: 1}}


def test_an_operation_ends_once() -> None:
    """What it ended with first is its outcome, counted once."""
    ledger = Ledger()
    operation = make()
    ledger.begin(operation)
    ledger.end(operation)
    ledger.end(operation, WakeFailed("later"))
    assert operation.status is Status.DONE
    assert ledger.outcomes() == {"provision": {"done": 1}}


def test_an_unknown_operation_is_named() -> None:
    """The refusal shows the id and says how far back the hub remembers; a huge id does not flood the log."""
    with pytest.raises(OperationNotFound, match=r"'nope'.*last 1000"):
        Ledger().find("nope")
    with pytest.raises(OperationNotFound) as refused:
        Ledger().find("x" * 100_000)
    assert len(str(refused.value)) < 300


def test_the_oldest_ended_operations_make_room(bound: int) -> None:
    """Only so many are remembered: the ones that ended longest ago go first."""
    ledger = Ledger()
    for number in range(bound + 2):
        operation = make(str(number))
        ledger.begin(operation)
        ledger.end(operation)
    for forgotten in ("0", "1"):
        with pytest.raises(OperationNotFound):
            ledger.find(forgotten)
    assert [ledger.find(kept).op_id for kept in ("2", "3", "4")] == ["2", "3", "4"]


@pytest.mark.parametrize("waits", [True, False])
def test_an_open_operation_is_never_forgotten(waits: bool, bound: int) -> None:
    """However many come after it, an operation stays known while it waits or runs; ended ones go in its stead."""
    ledger = Ledger()
    first = make("first")
    (ledger.accept if waits else ledger.begin)(first)
    for number in range(2 * bound):
        operation = make(str(number))
        ledger.begin(operation)
        ledger.end(operation, WakeFailed("no"))
    assert ledger.find("first").open
    with pytest.raises(OperationNotFound):
        ledger.find("0")


def test_more_may_run_than_are_remembered(bound: int) -> None:
    """The bound is one of memory for ended operations, not of operations."""
    ledger = Ledger()
    operations = [make(str(number)) for number in range(2 * bound)]
    for operation in operations:
        ledger.begin(operation)
    assert [ledger.find(operation.op_id) for operation in operations] == operations
