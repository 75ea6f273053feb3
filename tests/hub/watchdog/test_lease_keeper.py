"""Whether a process may start on the data that is kept here."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hub.errors import BackendError, DataConflict
from hub.lifecycle import Request, State
from hub.operation import Operation
from tests.hub.watchdog.world import LEASE_S, SLEEPERS_S, Start, World, virtual


@virtual()
async def test_data_without_a_claim_is_not_started_on(world: World, orders: list[Any], start: Start) -> None:
    """Nothing tells what it grew from: a conflict, and no defect."""
    entry = world.module("m", State.WAKING, base=None)
    with pytest.raises(DataConflict):
        await world.leases.ensure(Operation("op", "m", Request.WAKE, world.loop.time), entry)
    assert world.asked == []


@virtual()
async def test_a_start_on_kept_data_asks_nothing_while_the_lease_runs_and_once_it_does_not(
    world: World, orders: list[Any], start: Start
) -> None:
    """`ensure` renews what has run out or is not known, and finds what was lost."""
    operation = Operation("op", "m", Request.WAKE, world.loop.time)
    entry = world.held("m", State.HIBERNATED)
    await world.leases.ensure(operation, entry)
    assert world.asked == []
    await asyncio.sleep(SLEEPERS_S + 1)
    await world.leases.ensure(operation, entry)
    assert len(world.asked) == 1
    world.leases.forget(entry)
    await world.leases.ensure(operation, entry)
    assert len(world.asked) == 2
    assert entry.claim == "me/m"
    world.leases.forget(entry)
    world.holders["m"] = "another"
    with pytest.raises(DataConflict, match="both are kept"):
        await world.leases.ensure(operation, entry)
    assert (entry.claim is None, entry.lease_until) == (True, 0.0)
    assert len(world.told("module.lease_lost")) == 1


@virtual()
async def test_a_start_while_the_backend_is_away_goes_on_and_says_so(
    world: World, orders: list[Any], start: Start
) -> None:
    """By default; the lease is renewed as soon as that can be, and what was lost is found then."""
    operation = Operation("op", "m", Request.RECOVER, world.loop.time)
    entry = world.module("m", State.RECOVERING)
    world.go_down()
    await world.leases.ensure(operation, entry)
    (told,) = world.told("module.lease_lapsed")
    assert told.fields["action"] == "serve"
    world.enter(entry, state=State.PROVISIONED)
    world.fault = None
    start()
    await asyncio.sleep(LEASE_S)
    assert entry.lease_until > world.loop.time()


@virtual(lease_lapse="stop")
async def test_a_start_while_the_backend_is_away_is_refused_if_so_configured(
    world: World, orders: list[Any], start: Start
) -> None:
    """And says when the backend will be tried again, where nobody asked it."""
    operation = Operation("op", "m", Request.WAKE, world.loop.time)
    entry = world.module("m", State.WAKING)
    world.go_down()
    with pytest.raises(BackendError, match="lease may have run out") as refused:
        await world.leases.ensure(operation, entry)
    assert refused.value.retry_after_s is None
    world.notice()
    asked = len(world.asked)
    with pytest.raises(BackendError) as refused:
        await world.leases.ensure(operation, entry)
    assert refused.value.retry_after_s is not None
    assert len(world.asked) == asked


@virtual()
async def test_of_two_renewals_at_one_time_the_shorter_lease_is_believed(
    world: World, orders: list[Any], start: Start
) -> None:
    """Which of them the backend took last is not known, and their answers may come in the other order."""
    entry = world.module("m", State.HIBERNATED)
    entry.claim = "me/m"
    world.takes_s = 5.0
    async with asyncio.TaskGroup() as group:
        group.create_task(world.leases.renew(entry))
        await asyncio.sleep(1.0)
        world.enter(entry, state=State.WAKING)
        world.takes_s = 0.01
        await world.leases.ensure(Operation("op", "m", Request.WAKE, world.loop.time), entry)
        asked_at = world.asked[-1][0]
        assert entry.lease_until == asked_at + LEASE_S
    assert entry.lease_until <= asked_at + LEASE_S


@virtual()
async def test_of_two_renewals_at_one_time_the_later_one_believes_in_no_more_either(
    world: World, orders: list[Any], start: Start
) -> None:
    """The first may be the one that the backend takes last."""
    entry = world.module("m", State.WAKING)
    entry.claim = "me/m"
    world.takes_s = 5.0
    async with asyncio.TaskGroup() as group:
        group.create_task(world.leases.renew(entry))
        await asyncio.sleep(1.0)
        asked_at = world.asked[-1][0]
        world.enter(entry, state=State.HIBERNATED)
        await world.leases.renew(entry)
    assert entry.lease_until <= asked_at + LEASE_S + 1.0
