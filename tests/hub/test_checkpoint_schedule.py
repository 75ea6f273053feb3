"""When a module is checkpointed: the decision, and the actor that acts on it, on a virtual clock."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from actors import ActorSystem, Ref
from actors.testing import Recorder, run_virtual, settle
from hub.checkpoint_run import CheckpointRun
from hub.config import configure
from hub.directory import Directory
from hub.events import Event, EventBus
from hub.layout import Layout
from hub.lifecycle import State
from hub.messages import Checkpoint
from hub.policy import CHECKPOINT_SPREAD, checkpoint_overdue_s
from hub.record import ModuleRecord
from hub.services import Services
from hub.watchdog import CheckpointEnded, CheckpointSchedule
from tests.hub.conftest import tiny_kind

EPOCH = 1_000_000.0  # wall clock at the virtual clock's 0
INTERVAL = 1000.0
UP = ModuleRecord("m", kind="copied", state=State.PROVISIONED, dirty=True, since=EPOCH)


def overdue(record: ModuleRecord, taken_at: float, now: float, *, has_hook: bool = True) -> float | None:
    return checkpoint_overdue_s(record, taken_at, has_hook=has_hook, interval_s=INTERVAL, now=now)


def test_a_running_module_is_due_before_its_last_copy_is_older_than_the_interval() -> None:
    """Never later, and by no more than its share of chance earlier; then it says for how long it has been due."""
    assert overdue(UP, EPOCH, EPOCH + INTERVAL * (1 - CHECKPOINT_SPREAD) - 1) is None
    at_last = overdue(UP, EPOCH, EPOCH + INTERVAL)
    assert at_last is not None
    assert 0 <= at_last <= INTERVAL * CHECKPOINT_SPREAD
    assert overdue(UP, EPOCH, EPOCH + INTERVAL + 7) == pytest.approx(at_last + 7)


def test_modules_that_came_up_together_are_due_one_after_another() -> None:
    """Chance spreads them over its whole share, and each one anew after each copy."""
    early = INTERVAL * (1 - CHECKPOINT_SPREAD / 2)
    for taken_at in (EPOCH, EPOCH + 1):
        due = [
            overdue(msgspec.structs.replace(UP, module_id=f"m{n}"), taken_at, taken_at + early) is not None
            for n in range(200)
        ]
        assert 70 < sum(due) < 130
    shares = [overdue(UP, EPOCH + n, EPOCH + n + INTERVAL) for n in range(20)]
    assert len(set(shares)) == 20


@pytest.mark.parametrize(
    ("state", "has_hook", "dirty", "due"),
    [
        (State.PROVISIONED, True, True, True),
        (State.PROVISIONED, False, True, False),
        (State.PROVISIONED, True, False, False),
        (State.HIBERNATED, True, True, True),
        (State.HIBERNATED, False, True, True),
        (State.HIBERNATED, True, False, False),
        *((state, True, True, False) for state in State if state not in {State.PROVISIONED, State.HIBERNATED}),
    ],
)
def test_only_what_can_be_copied_is_ever_due(state: State, has_hook: bool, dirty: bool, due: bool) -> None:
    """In use it needs a hook, asleep it needs none; in any other state, and clean, there is nothing to send."""
    record = msgspec.structs.replace(UP, state=state, dirty=dirty)
    assert (overdue(record, 0.0, EPOCH + 5, has_hook=has_hook) is not None) is due


def test_a_sleeper_is_due_once() -> None:
    """When it was copied after it fell asleep, nobody has written its data since."""
    asleep = msgspec.structs.replace(UP, state=State.HIBERNATED)
    later = EPOCH + 100 * INTERVAL
    assert overdue(asleep, EPOCH - 1, later) is not None
    assert overdue(asleep, EPOCH, later) is not None
    assert overdue(asleep, EPOCH + 1, later) is None
    again = msgspec.structs.replace(asleep, since=EPOCH + 2)
    assert overdue(again, EPOCH + 1, later) is not None


@pytest.mark.parametrize("state", [State.PROVISIONED, State.HIBERNATED])
def test_a_clock_that_was_set_back_makes_a_module_due(state: State) -> None:
    """A copy of the future says nothing about now: better one too many."""
    record = msgspec.structs.replace(UP, state=state)
    assert overdue(record, EPOCH + 1_000_000, EPOCH + 5) == INTERVAL


class Rig:
    """The schedule beside a registry that keeps what it is told."""

    def __init__(self, system: ActorSystem, folder: Path) -> None:
        config = configure(
            data_dir=folder,
            backend=f"file://{folder}/backend",
            kinds=[tiny_kind("copied", checkpoint=["true"]), tiny_kind("opaque")],
            max_transfers=4,
            retry_delay=10.0,
        )
        self.events: list[Event] = []
        bus = EventBus()
        bus.subscribe(self.events.append)
        self.availability = SimpleNamespace(available=True)
        self.services = SimpleNamespace(
            config=config,
            directory=Directory(Layout(folder), system.clock),
            transfers=SimpleNamespace(availability=self.availability),
            bus=bus,
            clock=system.clock,
            wall_clock=lambda: EPOCH + system.clock(),
            closing=False,
        )
        self.refuses = False
        self.registry = system.spawn(Recorder, self._take, name="registry")
        self.schedule: Ref[Any] = system.spawn(CheckpointSchedule, cast("Services", self.services), INTERVAL)

    def put(self, module_id: str, **changes: Any) -> None:
        fields = {"checkpointed_at": EPOCH, "module_id": module_id, **changes}
        self.services.directory.put(msgspec.structs.replace(UP, **fields))

    async def asked(self) -> list[str]:
        await settle()
        recorder = self.registry.cell.behaviour
        assert isinstance(recorder, Recorder)
        found = [message.module_id for message in recorder.received if isinstance(message, Checkpoint)]
        recorder.received.clear()
        return found

    def _take(self, message: Checkpoint) -> None:
        if not self.refuses:
            self.services.directory.obtain(message.module_id).checkpoint = CheckpointRun(None)

    async def end(self, module_id: str, *, failed: bool = False) -> None:
        entry = self.services.directory.obtain(module_id)
        entry.checkpoint = None
        if not failed:
            entry.checkpointed_at = self.services.wall_clock()
        self.schedule.tell(CheckpointEnded(module_id, failed=failed))
        await settle()


def on_virtual_clock(scenario: Any, folder: Path) -> None:
    async def main() -> None:
        async with ActorSystem() as system:
            await scenario(Rig(system, folder))

    run_virtual(main)


def test_modules_are_asked_for_in_time_and_again(tmp_path: Path) -> None:
    """Each comes within its interval, again and again; one without a hook never does."""

    async def scenario(rig: Rig) -> None:
        rig.put("m")
        rig.put("opaque", kind="opaque")
        rig.put("unknown", kind="no-longer-configured")
        await asyncio.sleep(INTERVAL * (1 - CHECKPOINT_SPREAD) - 60)
        assert await rig.asked() == []
        for _ in range(3):
            await asyncio.sleep(INTERVAL * CHECKPOINT_SPREAD + 120)
            assert await rig.asked() == ["m"]
            await rig.end("m")
            await asyncio.sleep(INTERVAL * (1 - CHECKPOINT_SPREAD) - 60)
            assert await rig.asked() == []

    on_virtual_clock(scenario, tmp_path)


def test_what_was_due_when_the_hub_started_goes_a_few_at_a_time(tmp_path: Path) -> None:
    """Half of `max_transfers` at once, the longest overdue first, and the next when one has ended."""

    async def scenario(rig: Rig) -> None:
        for number in range(5):
            rig.put(f"m{number}", checkpointed_at=EPOCH - 10_000 - 1000 * number)
        assert await rig.asked() == ["m4", "m3"]
        await asyncio.sleep(500)  # looks go by, and ask for no more
        assert await rig.asked() == []
        await rig.end("m4")
        assert await rig.asked() == ["m2"]
        rig.put("m1", state=State.CRASHED)  # it has moved on while it waited
        await rig.end("m3", failed=True)
        assert await rig.asked() == ["m0"]

    on_virtual_clock(scenario, tmp_path)


def test_a_request_that_leads_to_nothing_holds_no_room(tmp_path: Path) -> None:
    """What the module refused is asked for again in the next look, and keeps nobody else waiting for ever."""

    async def scenario(rig: Rig) -> None:
        rig.refuses = True
        for name in ("a", "b"):
            rig.put(name, checkpointed_at=0.0)
        assert sorted(await rig.asked()) == ["a", "b"]
        for name in ("a", "b"):
            rig.put(name, state=State.CRASHED)
        rig.refuses = False
        rig.put("c", checkpointed_at=0.0)
        await asyncio.sleep(60)
        assert await rig.asked() == ["c"]

    on_virtual_clock(scenario, tmp_path)


def test_a_failure_is_retried_with_backoff(tmp_path: Path) -> None:
    """It is told when; a success forgets the failures."""

    async def scenario(rig: Rig) -> None:
        rig.put("m", checkpointed_at=0.0)
        waits: list[float] = []
        for _ in range(4):
            assert await rig.asked() == ["m"]
            await rig.end("m", failed=True)
            told = rig.events[-1]
            assert (told.name, told.module_id, told.fields["operation"]) == (
                "module.retry.scheduled",
                "m",
                "checkpoint",
            )
            waits.append(told.fields["delay_ms"] / 1000)
            await asyncio.sleep(waits[-1] - 0.5)
            assert await rig.asked() == []
            await asyncio.sleep(60)
        assert waits[0] == 10
        assert waits[1] < waits[2] < waits[3]
        assert [event.fields["attempt"] for event in rig.events] == [1, 2, 3, 4]
        await rig.end("m")
        assert len(rig.events) == 4

    on_virtual_clock(scenario, tmp_path)


def test_nothing_is_asked_for_while_the_backend_is_unavailable(tmp_path: Path) -> None:
    """What is due waits for its return; so it does while the hub closes, or the module is busy."""

    async def scenario(rig: Rig) -> None:
        rig.availability.available = False
        rig.put("m", checkpointed_at=0.0)
        await asyncio.sleep(200)
        assert await rig.asked() == []
        rig.availability.available = True
        entry = rig.services.directory.obtain("m")
        entry.operation = cast("Any", object())
        await asyncio.sleep(200)
        assert await rig.asked() == []
        entry.operation = None
        rig.services.closing = True
        await asyncio.sleep(200)
        assert await rig.asked() == []
        rig.services.closing = False
        await asyncio.sleep(60)
        assert await rig.asked() == ["m"]

    on_virtual_clock(scenario, tmp_path)


@pytest.mark.parametrize(
    ("event", "ended"),
    [
        (Event("checkpoint.completed", "m", "op", {"bytes": 1}), CheckpointEnded("m", failed=False)),
        (
            Event("operation.failed", "m", "op", {"operation": "checkpoint", "error_type": "CheckpointFailed"}),
            CheckpointEnded("m", failed=True),
        ),
        (
            Event("operation.failed", "m", "op", {"operation": "checkpoint", "error_type": "OperationCancelled"}),
            CheckpointEnded("m", failed=False),
        ),
        (Event("operation.failed", "m", "op", {"operation": "wake", "error_type": "WakeFailed"}), None),
        (Event("dehydration.completed", "m", "op", {}), None),
        (Event("hub.started"), None),
    ],
)
def test_the_ends_of_checkpoints_are_told_by_events(event: Event, ended: CheckpointEnded | None) -> None:
    """One that another operation ended did not fail: there is nothing to hold against the module."""
    assert CheckpointEnded.of(event) == ended
