"""A lease that was given back is not taken again by who did not hear of it."""

from __future__ import annotations

import threading
from operator import attrgetter

import pytest

from hub import State
from hub.journal import Journal
from hub.lease_keeper import LeaseKeeper
from hub.record import ModuleRecord
from tests.hub.conftest import MakeHub

pytestmark = pytest.mark.e2e


def test_who_plans_all_leases_takes_none_that_is_just_given_back(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the commit that gives a lease back and the record of it, the first look at all leases leaves it alone."""
    planned, write = threading.Event(), Journal.write
    plan_all = LeaseKeeper.plan_all

    async def write_late(self: Journal, *records: ModuleRecord, **options: bool) -> None:
        if records[0].state is State.DEPROVISIONING and not records[0].dirty:
            attrgetter("_hub._runtime._services.leases")(hub).plan_all()
            planned.set()
        await write(self, *records, **options)

    def plan_none(_self: LeaseKeeper) -> None:
        pass

    monkeypatch.setattr(LeaseKeeper, "plan_all", plan_none)
    hub = make_hub()
    hub.provision("m")
    monkeypatch.setattr(LeaseKeeper, "plan_all", plan_all)
    monkeypatch.setattr(Journal, "write", write_late)
    entry = attrgetter("_hub._runtime._services.directory")(hub).find("m")
    assert hub.deprovision("m").state is State.UNPROVISIONED
    assert planned.is_set()
    assert entry.claim is None
