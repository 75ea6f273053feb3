"""Who is renewed when."""

from __future__ import annotations

import asyncio
from typing import Any

from hub.lifecycle import Pending, Request, State
from hub.operation import Operation
from hub.watchdog.leases import Finish
from tests.hub.watchdog.world import LEASE_S, SLEEPERS_S, Start, World, virtual


@virtual()
async def test_a_running_module_is_renewed_three_times_in_a_lease(
    world: World, orders: list[Any], start: Start
) -> None:
    """For as long as it runs, by the short lease, and its lease never runs out."""
    entry = world.held("m")
    start()
    for _ in range(3600):
        await asyncio.sleep(1)
        assert entry.lease_until > world.loop.time() + LEASE_S / 2
    assert 85 <= len(world.asked) <= 95
    assert {lease_s for _, _, lease_s in world.asked} == {LEASE_S}
    assert orders == []


@virtual()
async def test_a_sleeper_is_renewed_rarely_and_a_woken_one_soon_by_the_short_lease(
    world: World, orders: list[Any], start: Start
) -> None:
    """Three times an hour; after a wake not at once, but within a third of the short lease."""
    entry = world.held("m", State.HIBERNATED)
    start()
    await asyncio.sleep(4.1 * SLEEPERS_S)
    assert len(world.asked) == 12
    assert {lease_s for _, _, lease_s in world.asked} == {SLEEPERS_S}
    woken_at, asked = world.loop.time(), len(world.asked)
    await world.leases.ensure(Operation("op", "m", Request.WAKE, world.loop.time), entry)
    world.enter(entry, state=State.PROVISIONED)
    assert len(world.asked) == asked
    await asyncio.sleep(0.9 * LEASE_S)
    assert [lease_s for _, _, lease_s in world.asked[asked:]] == [LEASE_S] * 2
    assert world.asked[asked][0] <= woken_at + LEASE_S / 3 + 1
    assert orders == []


@virtual()
async def test_renewals_go_on_while_an_operation_runs(world: World, orders: list[Any], start: Start) -> None:
    """A transfer may take hours; its module's lease may not run out beneath it."""
    entry = world.held("m")
    entry.operation = Operation("op", "m", Request.DEPROVISION, world.loop.time)
    world.enter(entry, state=State.DEPROVISIONING, pending=Pending.DEPROVISION)
    start()
    await asyncio.sleep(10 * LEASE_S)
    assert 25 <= len(world.asked) <= 31
    assert entry.lease_until > world.loop.time()


@virtual()
async def test_a_lease_counts_from_before_the_request(world: World, orders: list[Any], start: Start) -> None:
    """However long the answer takes: others count from when they saw what it wrote, which may be at its beginning."""
    entry = world.held("m")
    world.passes_s = 30.0
    start()
    await asyncio.sleep(50)
    (asked_at,) = world.times("m")
    assert entry.lease_until == asked_at + LEASE_S


@virtual()
async def test_a_lease_that_may_have_been_shortened_is_not_relied_on(
    world: World, orders: list[Any], start: Start
) -> None:
    """A woken module's first renewal whose answer is lost: the head may have the short lease by now."""
    entry = world.held("m", State.HIBERNATED)
    world.enter(entry, state=State.PROVISIONED)
    await world.leases.ensure(Operation("op", "m", Request.WAKE, world.loop.time), entry)
    world.go_down()
    start()
    await asyncio.sleep(LEASE_S / 3 + 2)
    assert len(world.asked) == 1
    assert world.asked[0][0] < entry.lease_until <= world.asked[0][0] + LEASE_S


@virtual()
async def test_after_a_start_of_the_hub_all_are_renewed_little_by_little(
    world: World, orders: list[Any], start: Start
) -> None:
    """The record tells the claim; who has none, is clean or is being obliterated is not asked for."""
    for number in range(100):
        world.module(f"m{number}", State.HIBERNATED, since=float(number))
    world.module("clean", State.CRASHED, dirty=False)
    world.module("new", State.UNPROVISIONED, base=None)
    world.module("going", State.CRASHED, pending=Pending.OBLITERATE)
    start()
    await asyncio.sleep(30)
    assert [name for _, name, _ in world.asked] == [f"m{number}" for number in reversed(range(100))]
    assert world.asked[-1][0] - world.asked[0][0] > 3.5
    assert all(world.directory.obtain(f"m{n}").lease_until > 3600 for n in range(100))


@virtual()
async def test_ten_thousand_sleepers_that_are_not_due_are_not_even_looked_at(
    world: World, orders: list[Any], start: Start
) -> None:
    """Between two times that something is due, a look touches no entry."""
    for number in range(10_000):
        world.held(f"m{number}", State.HIBERNATED)
    start()
    await asyncio.sleep(10)
    touched: list[str] = []
    setattr(world.directory, "find", touched.append)  # noqa: B010 - type checkers mind an assignment to a method
    setattr(world.directory, "tracked", lambda: touched.append("all"))  # noqa: B010 - as above
    await asyncio.sleep(600)
    assert touched == []
    assert world.asked == []


@virtual()
async def test_requests_are_bounded_and_one_that_hangs_holds_up_no_other(
    world: World, orders: list[Any], start: Start
) -> None:
    """Eight at a time at the most; with one of them lost to a request that hangs the others are still in time."""
    entries = [world.held(f"m{number}") for number in range(200)]
    world.hanging.add("m7")
    world.takes_s = 1.0
    start()
    for _ in range(500):
        await asyncio.sleep(1)
        late = [e.record.module_id for e in entries if e.lease_until <= world.loop.time()]
        assert late in ([], ["m7"])
    assert world.most == 8


@virtual()
async def test_the_end_of_the_hub_waits_for_no_renewal_that_hangs(
    world: World, orders: list[Any], start: Start
) -> None:
    """Until all modules are at rest renewals go on, for what is being sent home; then they are given up at once."""
    for number in range(20):
        world.held(f"m{number}")
    world.hanging.update(f"m{number}" for number in range(20))
    watch = start()
    await world.first_asked.wait()
    ending_at = world.loop.time()
    watch.tell(Finish())
    await watch.stop(block=False)
    assert world.loop.time() - ending_at < 1
    assert len(world.asked) == 8


@virtual()
async def test_a_defect_does_not_end_the_renewals(world: World, orders: list[Any], start: Start) -> None:
    """What was planned and what was under way is planned anew."""
    entries = [world.held(f"m{number}") for number in range(20)]
    world.fault = ZeroDivisionError("a defect")
    start()
    await asyncio.sleep(LEASE_S / 3 + 1)
    world.fault = None
    await asyncio.sleep(LEASE_S / 2)
    assert all(entry.lease_until > world.loop.time() for entry in entries)
