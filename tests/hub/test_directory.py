"""What the hub shows of its modules."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import msgspec
import pytest

from hub.directory import Directory, Entry
from hub.info import ModuleInfo
from hub.instance import Instance
from hub.layout import Layout
from hub.lifecycle import Request, State
from hub.operation import Operation
from hub.record import ModuleRecord


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class FakeInstance:
    """As much of an instance as is shown."""

    host: str = "127.0.0.1"
    port: int = 7001
    pid: int = 4711


INSTANCE = cast("Instance", FakeInstance())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def directory(tmp_path: Path, clock: Callable[[], float]) -> Directory:
    return Directory(Layout(tmp_path), clock)


def an_operation() -> Operation:
    return Operation("op", "m", Request.PROVISION, Clock())


@pytest.mark.parametrize("state", list(State))
def test_an_address_is_shown_while_the_process_serves(state: State, directory: Directory, tmp_path: Path) -> None:
    """Host, url and pid are shown of a provisioned module and of one that is being stopped, else only the kept port."""
    entry = directory.put(ModuleRecord("m", kind="store", state=state, dirty=True, port=7000, restarts=2))
    entry.instance = INSTANCE
    info = directory.describe(entry)
    serving = state in {State.PROVISIONED, State.HIBERNATING}
    assert info == ModuleInfo(
        module_id="m",
        kind="store",
        state=state,
        host="127.0.0.1" if serving else None,
        port=7001 if serving else 7000,
        url="http://127.0.0.1:7001" if serving else None,
        pid=4711 if serving else None,
        data_dir=tmp_path / "modules" / "m" / "data",
        dirty=True,
        restarts=2,
        idle_s=0.0,
        last_error=None,
    )


def test_a_module_without_local_data_shows_no_directory(directory: Directory) -> None:
    """A module that is not tracked has no data directory, no process and no port."""
    info = directory.describe(directory.obtain("m"))
    assert (info.state, info.data_dir, info.pid, info.port) == (State.UNPROVISIONED, None, None, None)


@pytest.mark.parametrize(
    ("record", "operation", "tracked"),
    [
        (ModuleRecord("m"), False, False),
        (ModuleRecord("m"), True, True),
        (ModuleRecord("m", dirty=True), False, True),
        (ModuleRecord("m", state=State.HIBERNATED), False, True),
    ],
)
def test_what_is_tracked_is_listed_and_kept(
    record: ModuleRecord, operation: bool, tracked: bool, directory: Directory
) -> None:
    """A module is tracked by its record or by a running operation; only what is not can be dropped."""
    entry = directory.put(record)
    entry.operation = an_operation() if operation else None
    assert (entry in list(directory.tracked())) is tracked
    directory.drop("m")
    assert (directory.find("m") is entry) is tracked


def test_dropping_an_unknown_module_is_harmless(directory: Directory) -> None:
    """Forgetting what was never known does nothing."""
    directory.drop("m")
    assert directory.find("m") is None


def test_looking_makes_no_entry(directory: Directory) -> None:
    """Asking for an unknown module leaves no trace of it; obtaining does."""
    assert directory.find("m") is None
    assert directory.find("m") is None
    entry = directory.obtain("m")
    assert directory.obtain("m") is entry
    assert directory.find("m") is entry


def test_provisioned_modules_are_found_without_walking_the_others(directory: Directory) -> None:
    """The list of the provisioned follows every change of state."""
    one = directory.put(ModuleRecord("one", state=State.PROVISIONED))
    directory.put(ModuleRecord("two", state=State.HIBERNATED))
    assert directory.provisioned() == [one]
    for state in set(State) - {State.PROVISIONED}:
        directory.put(msgspec.structs.replace(one.record, state=state))
        assert directory.provisioned() == []
        directory.put(msgspec.structs.replace(one.record, state=State.PROVISIONED))
        assert directory.provisioned() == [one]


def test_putting_a_record_keeps_what_belongs_to_the_running_module(directory: Directory) -> None:
    """A new record changes neither activity, epoch, instance nor operation of the entry."""
    entry = directory.put(ModuleRecord("m", state=State.PROVISIONED))
    entry.activity, entry.epoch, entry.instance, entry.operation = 3, 4, INSTANCE, an_operation()
    before = (entry.activity, entry.epoch, entry.instance, entry.operation)
    assert directory.put(ModuleRecord("m", state=State.CRASHED)) is entry
    assert (entry.activity, entry.epoch, entry.instance, entry.operation) == before


def test_activity_restarts_the_idle_time_and_outdates_decisions(directory: Directory, clock: Clock) -> None:
    """Idle seconds count from the last touch, and each touch moves the count that decisions carry."""
    entry = directory.obtain("m")
    clock.now += 7
    assert directory.idle_s(entry) == 7
    directory.touch(entry)
    assert (directory.idle_s(entry), entry.activity) == (0, 1)
    clock.now += 2
    assert directory.describe(entry).idle_s == 2


def test_idle_time_is_never_negative(directory: Directory, clock: Clock) -> None:
    """An entry stamped a little ahead of the clock shows 0."""
    entry = Entry(ModuleRecord("m"), active_at=clock.now + 1)
    assert directory.idle_s(entry) == 0


def test_what_is_to_be_listed_again_is_remembered_but_not_tracked(directory: Directory) -> None:
    """An obliterated module that another hub held is shown to nobody, and not forgotten before its listing is done."""
    entry = directory.put(ModuleRecord("m", relist_s=60.0))
    directory.put(ModuleRecord("other", state=State.HIBERNATED))
    assert directory.to_relist() == [entry]
    assert entry not in list(directory.tracked())
    directory.drop("m")
    assert directory.find("m") is entry
    directory.put(ModuleRecord("m"))
    assert directory.to_relist() == []
    directory.drop("m")
    assert directory.find("m") is None
