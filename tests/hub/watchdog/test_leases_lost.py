"""What follows where a lease is lost, given back, or can't be renewed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from backends import BackendDenied
from hub.errors import DataConflict
from hub.lifecycle import Pending, Request, State
from hub.operation import Operation
from hub.orders import LEASE_LOST, SendHome, Suspend
from hub.watchdog.leases import Resume
from tests.hub.watchdog.world import LEASE_S, SLEEPERS_S, Start, World, virtual


@virtual()
async def test_nothing_is_asked_during_an_outage_and_all_that_waited_comes_afterwards(
    world: World, orders: list[Any], start: Start
) -> None:
    """The failures that open the breaker are the last requests until it closes; then those that run go first."""
    for number in range(20):
        world.held(f"s{number}", State.HIBERNATED)
    world.go_down()
    watch = start()
    await asyncio.sleep(SLEEPERS_S / 2)
    asked = len(world.asked)
    assert asked < 3 + 8
    for number in range(20):
        world.held(f"m{number}")
    await asyncio.sleep(SLEEPERS_S)
    assert len(world.asked) == asked
    world.come_back()
    watch.tell(Resume())
    back_at = world.loop.time()
    await asyncio.sleep(LEASE_S / 6)
    after = world.asked[asked:]
    assert len({name for _, name, _ in after}) == 40
    assert {name[0] for _, name, _ in after[:20]} == {"m"}
    assert after[-1][0] - back_at > 1.0
    assert orders == []


@virtual()
async def test_sleepers_are_renewed_after_an_outage_also_where_there_is_always_a_renewal_under_way(
    world: World, orders: list[Any], start: Start
) -> None:
    """A hub with so many modules is in one look for good: that the backend is back reaches it all the same."""
    sleeper = world.held("s", State.HIBERNATED)
    world.go_down()
    world.notice()
    watch = start()
    await asyncio.sleep(SLEEPERS_S / 2)
    world.takes_s = 0.4
    for number in range(1000):
        world.held(f"m{number}")
    await asyncio.sleep(LEASE_S)
    world.come_back()
    watch.tell(Resume())
    await asyncio.sleep(SLEEPERS_S / 4)
    assert world.leases.runs(sleeper)
    assert len(world.times("s")) == 1
    assert world.most > 4


@virtual()
async def test_a_lost_lease_is_told_once_and_the_module_is_stopped(
    world: World, orders: list[Any], start: Start
) -> None:
    """Whatever it was doing: the order holds though its activity moves, and is given again until it was carried out."""
    entry = world.held("m")
    world.holders["m"] = "another"
    entry.operation = Operation("op", "m", Request.PROVISION, world.loop.time)
    start()
    await asyncio.sleep(LEASE_S)
    assert [event.fields["holder"] for event in world.told("module.lease_lost")] == ["another"]
    assert orders == []  # an operation runs, and the mailbox is not filled meanwhile
    assert (entry.claim, entry.lease_until) == (None, 0.0)
    entry.operation = None
    await asyncio.sleep(2)
    assert isinstance(orders[0], SendHome)
    assert (orders[0].module_id, orders[0].reason) == ("m", LEASE_LOST)
    world.directory.touch(entry)
    assert not orders[0].decided.stale(entry)
    entry.epoch += 1
    assert orders[0].decided.stale(entry)
    entry.instance = None
    world.enter(entry, state=State.CRASHED, pending=Pending.DEPROVISION)
    await asyncio.sleep(2)
    given = len(orders)
    await asyncio.sleep(SLEEPERS_S)
    assert len(orders) == given
    assert len(world.asked) == 1
    assert len(world.told("module.lease_lost")) == 1


@virtual()
async def test_a_module_that_is_taken_anew_as_soon_as_it_was_lost_is_renewed_again(
    world: World, orders: list[Any], start: Start
) -> None:
    """Obliterated and provisioned before the watch looks again: what is known of the lost lease is of another one."""
    entry = world.held("m")
    world.holders["m"] = "another"
    start()
    await world.first_asked.wait()
    await asyncio.sleep(0.1)
    assert len(orders) == 1
    world.enter(entry, state=State.UNPROVISIONED, dirty=False)
    world.holders.clear()
    world.held("m")
    await asyncio.sleep(SLEEPERS_S)
    assert len(world.asked) >= SLEEPERS_S / LEASE_S * 3
    assert len(orders) == 1


@virtual()
async def test_a_sleeper_whose_lease_is_lost_does_not_look_well(world: World, orders: list[Any], start: Start) -> None:
    """It goes the same way: by a commit that fails into `crashed`, where everybody sees it."""
    world.held("m", State.HIBERNATED)
    world.holders["m"] = "another"
    start()
    await asyncio.sleep(SLEEPERS_S)
    assert isinstance(orders[0], SendHome)


@virtual()
async def test_a_sleeper_whose_wake_finds_its_lease_lost_does_not_look_well_either(
    world: World, orders: list[Any], start: Start
) -> None:
    """The wake fails into `hibernated`; nothing is renewed any more that could tell it another time."""
    entry = world.held("m", State.HIBERNATED)
    start()
    await asyncio.sleep(2.0)
    world.holders["m"] = "another"
    entry.lease_until = 0.0
    with pytest.raises(DataConflict):
        await world.leases.ensure(Operation("op", "m", Request.WAKE, world.loop.time), entry)
    await asyncio.sleep(2.0)
    assert isinstance(orders[0], SendHome)


@virtual()
async def test_a_parked_module_is_left_to_a_person(world: World, orders: list[Any], start: Start) -> None:
    """Nothing of it runs, and no order of the hub's own takes it out."""
    world.enter(world.held("m", State.CRASHED), parked=True)
    world.holders["m"] = "another"
    start()
    await asyncio.sleep(SLEEPERS_S)
    assert len(world.told("module.lease_lost")) == 1
    assert orders == []


@virtual()
async def test_a_module_that_is_being_obliterated_or_was_sent_home_is_not_taken_again(
    world: World, orders: list[Any], start: Start
) -> None:
    """Its lease was given back, or is about to be overridden: whatever the schedule says, nobody asks for it."""
    going, gone, clean = world.held("going"), world.held("gone"), world.held("clean")
    world.enter(going, state=State.OBLITERATING, pending=Pending.OBLITERATE)
    world.enter(gone, state=State.UNPROVISIONED, dirty=False, base=None)
    world.enter(clean, state=State.CRASHED, dirty=False, pending=Pending.DEPROVISION)
    start()
    await asyncio.sleep(SLEEPERS_S)
    assert world.asked == []
    assert world.told("module.lease_lost") == []


@virtual()
async def test_who_lets_go_waits_for_a_renewal_under_way_which_gives_back_what_it_took(
    world: World, orders: list[Any], start: Start
) -> None:
    """Else the module would be held, after its deprovision, by a hub that has nothing of it."""
    entry = world.held("m")
    world.takes_s = 5.0
    start()
    await world.first_asked.wait()
    await world.leases.let_go(entry)
    assert world.given_back == ["m"]
    assert entry.claim is None
    await asyncio.sleep(SLEEPERS_S)
    assert len(world.asked) == 1


@virtual()
async def test_a_lease_that_was_taken_again_after_the_commit_that_gave_it_back_is_given_back_once_more(
    world: World, orders: list[Any], start: Start
) -> None:
    """The commit comes before the deletion of garbage, which may take longer than a renewal is away."""
    entry, other = world.held("m"), world.held("other")
    start()
    async with world.leases.giving_back(entry):
        await asyncio.sleep(LEASE_S / 2)
    async with world.leases.giving_back(other):
        pass
    assert world.times("m") != []
    assert world.given_back == ["m"]  # of the other one nothing was renewed meanwhile
    assert (entry.claim, other.claim) == (None, None)


@virtual()
async def test_what_another_hub_has_after_it_was_given_back_is_not_told_as_lost(
    world: World, orders: list[Any], start: Start
) -> None:
    """The commit comes before the deletion of garbage. Where there was none, it was lost, and is told."""
    given, lost = world.held("given"), world.held("lost")
    world.holders |= {"given": "another", "lost": "another"}
    for entry in (given, lost):
        entry.operation = Operation("op", entry.record.module_id, Request.DEPROVISION, world.loop.time)
    start()

    async def fail() -> None:
        async with world.leases.giving_back(lost):
            await asyncio.sleep(LEASE_S / 2)
            raise OSError("not committed")

    async with world.leases.giving_back(given):
        with pytest.raises(OSError, match="not committed"):
            await fail()
        assert world.times("given") != []
    assert [event.module_id for event in world.told("module.lease_lost")] == ["lost"]
    assert given.claim is None


@virtual()
async def test_a_lease_that_may_have_been_given_back_is_believed_only_when_it_was_renewed(
    world: World, orders: list[Any], start: Start
) -> None:
    """The answer to the commit was lost. What a renewal says that was under way may be of before it."""
    entry = world.held("m")
    world.takes_s = 5.0
    start()

    async def give_back() -> None:
        async with world.leases.giving_back(entry):
            await world.first_asked.wait()
            raise OSError("the answer was lost")

    with pytest.raises(OSError, match="lost"):
        await give_back()
    assert not world.leases.runs(entry)
    await asyncio.sleep(5.5)
    assert not world.leases.runs(entry)
    await asyncio.sleep(6.0)
    assert world.leases.runs(entry)


@virtual()
async def test_a_conflict_of_a_claim_that_was_let_go_is_nobodys_business(
    world: World, orders: list[Any], start: Start
) -> None:
    """An obliteration that overtakes a renewal is no lost lease."""
    entry = world.held("m")
    world.holders["m"] = "a tombstone"
    world.takes_s = 5.0
    start()
    await world.first_asked.wait()
    world.leases.forget(entry)
    world.enter(entry, state=State.OBLITERATING, pending=Pending.OBLITERATE)
    await asyncio.sleep(LEASE_S)
    assert world.told("module.lease_lost") == []
    assert orders == []


@virtual()
async def test_a_lease_that_runs_out_in_an_outage_is_told_once_and_the_module_serves_on(
    world: World, orders: list[Any], start: Start
) -> None:
    """By default: the backend is away for everybody, and nobody else can take the module either."""
    world.held("m")
    world.held("s", State.HIBERNATED)
    world.go_down()
    world.notice()
    start()
    await asyncio.sleep(LEASE_S - 2)
    assert world.told("module.lease_lapsed") == []
    await asyncio.sleep(3 * SLEEPERS_S)
    (told,) = world.told("module.lease_lapsed")
    assert (told.module_id, told.fields["action"]) == ("m", "serve")
    assert orders == []


@virtual(lease_lapse="stop")
async def test_a_lease_that_runs_out_stops_the_module_if_so_configured(
    world: World, orders: list[Any], start: Start
) -> None:
    """When it has run out, not before; and the order is given again until the module sleeps."""
    entry = world.held("m")
    world.go_down()
    start()
    await asyncio.sleep(LEASE_S - 2)
    assert orders == []
    await asyncio.sleep(4)
    assert isinstance(orders[0], Suspend)
    assert (orders[0].module_id, orders[0].decided.activity) == ("m", None)
    await asyncio.sleep(LEASE_S)
    assert len(orders) > 1
    world.enter(entry, state=State.HIBERNATED)
    given = len(orders)
    await asyncio.sleep(SLEEPERS_S)
    assert len(orders) == given
    assert len(world.told("module.lease_lapsed")) == 1


@virtual()
async def test_a_backend_that_refuses_is_asked_again_and_again_but_not_in_a_loop(
    world: World, orders: list[Any], start: Start
) -> None:
    """Denied is an answer, which a person may mend any moment: six times in a lease, each said in the log."""
    entry = world.held("m")
    world.fault = BackendDenied("no permission")
    start()
    await asyncio.sleep(10 * LEASE_S)
    assert 40 <= len(world.asked) <= 65
    assert len(world.told("backend.failed")) == len(world.asked)
    assert len(world.told("module.lease_lapsed")) == 1
    world.fault = None
    await asyncio.sleep(LEASE_S / 3)
    assert entry.lease_until > world.loop.time()
