"""Budgets: what does not fit is refused before anything happens, and what gives something back never is."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from backends import BackendUnavailable
from backends.hydration.hydrate import Hydration
from hub import BudgetExceeded, Hub, ModuleInfo, State
from hub.disk import Disk
from tests.hub.conftest import MakeHub, as_root, tiny_kind
from tests.hub.faulty import faulty_backend
from tests.hub.marked import processes_of
from tests.hub.observer import Observer
from tests.hub.slow import slow_hydration
from tests.hub.tiny_client import get, put

pytestmark = pytest.mark.e2e

MIB = 1024 * 1024


def outcome(operation: Callable[[str], ModuleInfo], module_id: str) -> str:
    try:
        return operation(module_id).state.value
    except BudgetExceeded as error:
        return error.budget


def refused(operation: Callable[[str], ModuleInfo], module_id: str) -> str:
    with pytest.raises(BudgetExceeded) as excess:
        operation(module_id)
    assert 1 <= excess.value.retry_after_s <= 300
    assert excess.value.hint
    return excess.value.budget


def names(hub: Hub) -> list[str]:
    return [info.module_id for info in hub.modules()]


def test_many_at_once_never_get_one_place_too_many(make_hub: MakeHub, events: Observer) -> None:
    """Of twenty that come together, exactly as many run as may; of the others nothing is here, nor was ever begun."""
    hub = make_hub(max_instances=3)
    with ThreadPoolExecutor(20) as pool:
        outcomes = list(pool.map(partial(outcome, hub.provision), [f"m{n}" for n in range(20)]))
    assert sorted(outcomes) == ["instances"] * 17 + ["provisioned"] * 3
    assert len(names(hub)) == 3
    assert len({record["module_id"] for record in events.all("module.transition")}) == 3
    assert all(outcome(hub.provision, name) == "provisioned" for name in names(hub))


def test_a_place_is_given_back(make_hub: MakeHub, events: Observer) -> None:
    """By hibernate, deprovision, obliterate and a start that failed; a wake needs one again, a touch does not."""
    hub = make_hub(max_instances=1, kinds=[tiny_kind(), tiny_kind("broken", "--broken")])
    hub.provision("a")
    assert refused(hub.provision, "b") == "instances"
    hub.hibernate("a")
    hub.provision("b")
    assert refused(hub.wake, "a") == "instances"
    assert refused(hub.provision, "a") == "instances"
    assert hub.module("a").state is State.HIBERNATED
    hub.deprovision("b")
    with pytest.raises(Exception, match="it is broken"):
        hub.provision("c", kind="broken")
    hub.wake("a")
    hub.obliterate("a")
    hub.provision("d")
    assert not events.all("operation.failed", error_type="BudgetExceeded")


def test_a_crashed_module_keeps_its_place(make_hub: MakeHub, events: Observer) -> None:
    """While it waits for its recovery nobody takes its place, and its recovery is never refused."""
    hub = make_hub(max_instances=1, restart_delay=0.5)
    for count in (1, 2):
        info = hub.provision("m")
        assert info.pid is not None
        os.kill(info.pid, signal.SIGKILL)
        events.wait("module.transition", module_id="m", to_state="crashed", count=count)
        assert refused(hub.provision, "other") == "instances"
        events.wait("module.transition", module_id="m", from_state="recovering", count=count)
    assert hub.module("m").state is State.PROVISIONED


def test_a_module_that_only_waits_to_go_home_has_no_place(make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage must not keep others from the place of a module that will not run; to run again it needs one."""
    faults = faulty_backend(monkeypatch)
    hub = make_hub(max_instances=1, retry_delay=60.0)
    hub.provision("m")
    faults.on("list", BackendUnavailable("down"))
    with pytest.raises(Exception, match="down"):
        hub.deprovision("m")
    faults.clear()
    hub.provision("other")
    assert hub.module("m").state is State.CRASHED
    assert refused(hub.provision, "m") == "instances"
    hub.deprovision("other")
    assert hub.provision("m").state is State.PROVISIONED


def test_memory_is_counted_as_declared(make_hub: MakeHub) -> None:
    """Declared limits, else the estimate, have to fit together, whatever the servers really use."""
    big = tiny_kind("big", limits={"memory": "64M"})
    hub = make_hub(memory_budget="100M", memory_estimate="20M", kinds=[tiny_kind(), big])
    hub.provision("b", kind="big")
    hub.provision("t1")
    assert refused(hub.provision, "t2") == "memory"
    with pytest.raises(BudgetExceeded, match="of 104857600"):
        hub.provision("b2", kind="big")
    hub.hibernate("b")
    hub.provision("t2")
    assert refused(hub.wake, "b") == "memory"
    hub.deprovision("t1")
    hub.wake("b")


def test_a_kind_that_turns_out_to_be_larger_is_judged_again(make_hub: MakeHub, tmp_path: Path) -> None:
    """The backend tells another kind than the default: what does not fit is undone, and nothing of it stays here."""
    big = tiny_kind("big", limits={"memory": "64M"})
    hub = make_hub(memory_budget="100M", memory_estimate="50M", kinds=[tiny_kind(), big])
    put(hub.provision("m", kind="big"), "k", "v")
    hub.deprovision("m")
    hub.provision("other")
    assert refused(hub.provision, "m") == "memory"
    assert names(hub) == ["other"]
    assert not (tmp_path / "data" / "modules" / "m").exists()
    hub.hibernate("other")
    assert get(hub.provision("m"), "k") == "v"


def test_the_machines_memory_has_a_reserve(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, events: Observer
) -> None:
    """What the machine has available, less the reserve, has to hold the module; and what is on its way up before it."""
    available = 100 * MIB
    monkeypatch.setattr("hub.places.available_memory", lambda: available)
    begun, go_on = slow_hydration(monkeypatch)
    hub = make_hub(memory_reserve="50M", memory_estimate="20M")
    with ThreadPoolExecutor() as pool:
        try:
            first, second = pool.submit(hub.provision, "a"), pool.submit(hub.provision, "b")
            assert begun.wait(10)
            events.wait("module.transition", to_state="provisioning", count=2)
            assert refused(lambda name: hub.provision(name, timeout=10), "c") == "memory"
        finally:
            go_on.set()
        assert first.result().state is second.result().state is State.PROVISIONED
    hub.provision("c")
    available = 69 * MIB
    assert refused(hub.provision, "d") == "memory"


def test_a_queue_for_starts_has_an_end(make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, events: Observer) -> None:
    """Beyond those that start and those that may wait, callers are told to come back; the others all get up."""
    _, go_on = slow_hydration(monkeypatch)
    hub = make_hub(max_starts=1, max_waiting_starts=2)
    with ThreadPoolExecutor() as pool:
        try:
            running = [pool.submit(hub.provision, f"m{n}") for n in range(3)]
            events.wait("module.transition", to_state="provisioning", count=3)
            assert refused(hub.provision, "late") == "starts"
        finally:
            go_on.set()
        assert [done.result().state for done in running] == [State.PROVISIONED] * 3
    hub.provision("late")


def test_a_start_counts_once_while_it_waits_and_while_it_runs(make_hub: MakeHub, tmp_path: Path) -> None:
    """One starts, one waits for it, the third is refused; when the first has failed there is room again."""
    hub = make_hub(
        max_starts=1, max_waiting_starts=1, kinds=[tiny_kind(), tiny_kind("deaf", "--deaf", start_timeout=1.5)]
    )
    with ThreadPoolExecutor() as pool:
        deaf = pool.submit(hub.provision, "deaf", kind="deaf")
        while not processes_of(tmp_path / "data"):
            pass
        waits = pool.submit(hub.provision, "waits")
        while "waits" not in names(hub):
            assert not waits.done()
        assert refused(hub.provision, "late") == "starts"
        with pytest.raises(Exception, match="not ready"):
            deaf.result()
        assert waits.result().state is State.PROVISIONED
    assert hub.provision("late").state is State.PROVISIONED


def test_what_waits_for_its_data_holds_no_slot_of_the_starts(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one slot, a sleeper wakes while another module's data is still on its way."""
    hub = make_hub(max_starts=1)
    hub.provision("sleeper")
    hub.hibernate("sleeper")
    begun, go_on = slow_hydration(monkeypatch)
    with ThreadPoolExecutor() as pool:
        try:
            other = pool.submit(hub.provision, "other")
            assert begun.wait(10)
            assert hub.wake("sleeper", timeout=10).state is State.PROVISIONED
        finally:
            go_on.set()
        other.result()


def fill(disk: Path, leave: int) -> Path:
    """Fill a disk but for so many bytes."""
    file = disk / "filler"
    with file.open("ab") as opened:
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        os.posix_fallocate(opened.fileno(), file.stat().st_size, max(free - leave, 1))
    return file


def test_what_the_disk_held_up_goes_on_when_there_is_room(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, events: Observer
) -> None:
    """What could not be sent home is planned anew then, by chance within a short time and not after a long backoff."""
    free = 1000

    def measure(_disk: Disk) -> tuple[int, int]:
        return free, 100

    monkeypatch.setattr(Disk, "_measure", measure)
    faults = faulty_backend(monkeypatch)
    hub = make_hub(sweep_interval=0.02, retry_delay=1000.0, retry_delay_max=3600.0)
    hub.provision("m")
    faults.on("list", BackendUnavailable("down"))
    with pytest.raises(Exception, match="down"):
        hub.deprovision("m")
    assert events.wait("module.retry.scheduled", module_id="m")["delay_ms"] == 1_000_000
    free = 10
    events.wait("hub.disk_low")
    free = 1000
    events.wait("hub.disk_ok")
    assert events.wait("module.retry.scheduled", module_id="m", count=2)["delay_ms"] < 1_000_000


def test_a_start_looks_at_the_disk_itself(make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, events: Observer) -> None:
    """Between two looks of the hub's, a disk that has become low starts nothing, and one that has room again does."""
    free = 1000

    def measure(_disk: Disk) -> tuple[int, int]:
        return free, 100

    monkeypatch.setattr(Disk, "_measure", measure)
    hub = make_hub(sweep_interval=3600.0)
    hub.provision("sleeper")
    hub.hibernate("sleeper")
    free = 10
    assert refused(hub.wake, "sleeper") == "disk"
    assert len(events.all("hub.disk_low")) == 1
    free = 1000
    assert hub.wake("sleeper").state is State.PROVISIONED
    assert len(events.all("hub.disk_ok")) == 1


@as_root
def test_a_low_disk_starts_nothing_and_sends_home(small_disk: Path, make_hub: MakeHub, events: Observer) -> None:
    """Below the reserve a provision and a wake are refused; a hibernate, a deprovision and an obliterate go on."""
    hub = make_hub(data=small_disk.name, disk_reserve="8M", sweep_interval=0.02)
    for name in ("home", "sleeper", "doomed"):
        put(hub.provision(name), "k", name)
    filler = fill(small_disk, leave=4 * MIB)
    low = events.wait("hub.disk_low")
    assert low["free_bytes"] < low["reserve_bytes"] == 8 * MIB
    assert refused(hub.provision, "new") == "disk"
    hub.hibernate("sleeper")
    assert refused(hub.wake, "sleeper") == "disk"
    assert hub.deprovision("home").state is State.UNPROVISIONED
    assert hub.obliterate("doomed").local_bytes > 0
    filler.unlink()
    events.wait("hub.disk_ok")
    assert get(hub.provision("home"), "k") == "home"
    assert get(hub.wake("sleeper"), "k") == "sleeper"
    assert len(events.all("hub.disk_low")) == len(events.all("hub.disk_ok")) == 1


@as_root
def test_a_hydration_that_would_fill_the_disk_writes_nothing(
    small_disk: Path, make_hub: MakeHub, tmp_path: Path
) -> None:
    """What does not fit beside the reserve is refused before its first byte; it comes when there is room."""
    source = make_hub(data="source")
    data = source.provision("large").data_dir
    assert data is not None
    (data / "large").write_bytes(os.urandom(12 * MIB))
    with (data / "sparse").open("wb") as file:
        file.truncate(1024 * MIB)
    source.deprovision("large")
    hub = make_hub(data=small_disk.name, disk_reserve="8M")
    filler = fill(small_disk, leave=16 * MIB)
    before = os.statvfs(small_disk).f_bfree
    assert refused(hub.provision, "large") == "disk"
    assert os.statvfs(small_disk).f_bfree >= before - 16
    assert names(hub) == []
    assert not (small_disk / "modules" / "large").exists()
    filler.unlink()
    assert hub.provision("large").state is State.PROVISIONED
    assert (small_disk / "modules" / "large" / "data" / "sparse").stat().st_size == 1024 * MIB


@as_root
def test_a_checkpoint_that_would_fill_the_disk_is_not_begun(
    small_disk: Path, make_hub: MakeHub, tmp_path: Path
) -> None:
    """Its hook writes as much again as the data takes: it is not asked before there is room for that and the reserve."""
    asked = tmp_path / "asked"
    hook = ["sh", "-c", 'touch "$3"; cp -a "$1/." "$2/"', "sh", "{data_dir}", "{checkpoint_dir}", str(asked)]
    hub = make_hub(data=small_disk.name, disk_reserve="8M", kinds=[tiny_kind(checkpoint=hook)])
    data = hub.provision("m").data_dir
    assert data is not None
    (data / "large").write_bytes(os.urandom(12 * MIB))
    filler = fill(small_disk, leave=16 * MIB)
    assert refused(hub.checkpoint, "m") == "disk"
    assert not asked.exists()
    assert not data.with_name("checkpoint").exists()
    filler.unlink()
    hub.checkpoint("m")
    # What it was promised is used, and not promised to it any more.
    fill(small_disk, leave=24 * MIB)
    hub.checkpoint("m")


@as_root
def test_hydrations_at_once_share_the_room(
    small_disk: Path, make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of two fits alone; together they do not, so one of them is refused, and the disk is never full."""
    source = make_hub(data="source")
    for name in ("a", "b"):
        data = source.provision(name).data_dir
        assert data is not None
        (data / "large").write_bytes(os.urandom(12 * MIB))
        source.deprovision(name)
    hub = make_hub(data=small_disk.name, disk_reserve="8M")
    fill(small_disk, leave=28 * MIB)
    barrier = threading.Barrier(2)
    fill_tree = Hydration._fill  # pyright: ignore[reportPrivateUsage] # where the first byte is written

    def together(self: Hydration, *given: Any) -> Any:
        # Whoever has been admitted waits for the other, who has not been told so far.
        with suppress(threading.BrokenBarrierError):
            barrier.wait(2)
        return fill_tree(self, *given)

    monkeypatch.setattr(Hydration, "_fill", together)
    with ThreadPoolExecutor() as pool:
        outcomes = list(pool.map(partial(outcome, hub.provision), ("a", "b")))
    assert sorted(outcomes) == ["disk", "provisioned"]
