"""When usage is sampled, and what a sample says, on a virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from actors import ActorSystem, OneForOne
from actors.testing import run_virtual
from hub.directory import Directory, Entry
from hub.info import UsageSample
from hub.instance import Instance, ResourceUse
from hub.layout import Layout
from hub.lifecycle import State
from hub.record import ModuleRecord
from hub.services import Services
from hub.usage_history import MAX_SAMPLES, UsageHistory
from hub.watchdog.usage import UsageSampler, cpu_percent

INTERVAL_S = 5.0


class World:
    """A hub's part around usage: the instances are names, and what they use is what a test says."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.directory = Directory(Layout(Path("/nowhere")), self.loop.time)
        self.uses: dict[int, ResourceUse] = {}
        self.looks: list[tuple[float, list[int]]] = []
        self.fault: Exception | None = None
        self.takes_s = 0.0
        services = SimpleNamespace(
            directory=self.directory,
            runner=SimpleNamespace(measure=self.measure),
            clock=self.loop.time,
            wall_clock=lambda: 1.7e9 + self.loop.time(),
        )
        self.services = cast("Services", services)

    async def measure(self, instances: Sequence[Any]) -> Mapping[int, ResourceUse]:
        self.looks.append((self.loop.time(), [instance.pid for instance in instances]))
        await asyncio.sleep(self.takes_s)
        if self.fault is not None:
            raise self.fault
        return self.uses

    def start(self, module_id: str, pid: int, epoch: int = 1) -> Entry:
        entry = self.directory.put(ModuleRecord(module_id, "store", State.PROVISIONED))
        instance = SimpleNamespace(pid=pid, epoch=epoch, host="127.0.0.1", port=7000)
        entry.instance = cast("Instance", instance)
        return entry


def samples(entry: Entry) -> list[tuple[float, int, float]]:
    usage = entry.usage.samples() if entry.usage is not None else ()
    return [(sample.at - 1.7e9, sample.memory_bytes, sample.cpu_percent) for sample in usage]


def sampling(test: Callable[[World], Awaitable[None]]) -> Callable[[], None]:
    async def scenario() -> None:
        world = World()
        async with ActorSystem("test", on_failure=lambda _: None) as system:
            system.spawn(UsageSampler, world.services, INTERVAL_S, name="usage", supervision=OneForOne())
            await test(world)

    def run() -> None:
        run_virtual(scenario)

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@sampling
async def test_all_that_run_are_looked_at_by_one_look(world: World) -> None:
    """Each interval there is one look, at all that run, and none where nothing runs."""
    await asyncio.sleep(11)
    assert world.looks == []
    world.start("a", 1)
    world.start("b", 2)
    await asyncio.sleep(10)
    assert world.looks == [(15.0, [1, 2]), (20.0, [1, 2])]


@sampling
async def test_processor_time_is_told_for_the_time_since_the_look_before(world: World) -> None:
    """First over the server's whole life, then from look to look; half a core is 50."""
    entry = world.start("a", 1)
    world.uses = {1: ResourceUse(1000, 2.0, 4.0)}
    await asyncio.sleep(6)
    world.uses = {1: ResourceUse(3000, 4.5, 9.0)}
    await asyncio.sleep(5)
    assert samples(entry) == [(5.0, 1000, 50.0), (10.0, 3000, 50.0)]
    info = world.directory.describe(entry)
    assert (info.memory_bytes, info.cpu_percent) == (3000, 50.0)


@sampling
async def test_another_run_of_a_server_begins_anew(world: World) -> None:
    """A restarted server's processor time is not compared with that of the run before it; what is known stays."""
    entry = world.start("a", 1)
    world.uses = {1: ResourceUse(1000, 100.0, 100.0)}
    await asyncio.sleep(6)
    world.start("a", 1, epoch=2)
    world.uses = {1: ResourceUse(500, 0.5, 2.0)}
    await asyncio.sleep(5)
    assert samples(entry) == [(5.0, 1000, 100.0), (10.0, 500, 25.0)]


@sampling
async def test_who_sleeps_keeps_nothing(world: World) -> None:
    """Through a crash what is known stays, though it is not told as of now; asleep it goes."""
    entry = world.start("a", 1)
    world.uses = {1: ResourceUse(1000, 1.0, 1.0)}
    await asyncio.sleep(6)
    entry.instance = None
    world.directory.put(ModuleRecord("a", "store", State.CRASHED))
    assert len(samples(entry)) == 1
    assert world.directory.describe(entry).memory_bytes is None
    world.directory.put(ModuleRecord("a", "store", State.HIBERNATED))
    assert samples(entry) == []


@sampling
async def test_who_ended_during_the_look_gets_no_sample(world: World) -> None:
    """What was measured belongs to a server that is not there any more, or to another one."""
    entry = world.start("a", 1)
    world.uses, world.takes_s = {1: ResourceUse(1000, 1.0, 1.0)}, 1.0
    await asyncio.sleep(5.5)
    world.start("a", 2, epoch=2)
    await asyncio.sleep(2)
    assert samples(entry) == []


@sampling
async def test_a_look_that_fails_is_made_again(world: World) -> None:
    """Out of descriptors, say: the next look comes all the same."""
    entry = world.start("a", 1)
    world.uses, world.fault = {1: ResourceUse(1000, 1.0, 1.0)}, OSError("too many open files")
    await asyncio.sleep(7)
    assert (len(world.looks), samples(entry)) == (1, [])
    world.fault = None
    await asyncio.sleep(10)
    assert [memory for _, memory, _ in samples(entry)] != []


@pytest.mark.parametrize(
    ("cpu_s", "elapsed_s", "percent"), [(0.0, 5.0, 0.0), (2.5, 5.0, 50.0), (10.0, 5.0, 200.0), (-1.0, 5.0, 0.0)]
)
def test_a_share_of_a_core(cpu_s: float, elapsed_s: float, percent: float) -> None:
    """100 is one core; a sum that fell, because a stray process took its account along, is none."""
    assert cpu_percent(cpu_s, elapsed_s) == percent


def test_a_share_over_no_time_is_no_monster() -> None:
    """Ticks are hundredths of a second: over less than some of them nothing can be said."""
    assert cpu_percent(0.01, 0.0) == 10.0


def test_the_history_of_usage_is_bounded() -> None:
    """The last samples are kept, the newest at hand."""
    history = UsageHistory(UsageSample(0.0, 1, 0.5))
    for number in range(1, MAX_SAMPLES + 10):
        history.add(UsageSample(float(number), number, 1.5))
    kept = history.samples()
    assert (len(kept), kept[0].at, kept[-1]) == (MAX_SAMPLES, 10.0, UsageSample(249.0, 249, 1.5))
    assert history.last == kept[-1]
