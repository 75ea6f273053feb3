"""When an obliterated module's place is listed again."""

from __future__ import annotations

import asyncio
from typing import Any

from hub.orders import Relist
from hub.record import ModuleRecord
from hub.watchdog.relisting import Relisting
from tests.hub.watchdog.world import SLEEPERS_S, Start, World, virtual


@virtual()
async def test_a_repeated_listing_waits_for_its_time_and_for_the_backend(
    world: World, orders: list[Any], start: Start
) -> None:
    """Counted from the obliteration or the start; where it fails it is tried again, rarely."""
    world.directory.put(ModuleRecord("m", relist_s=100.0, since=1.0))
    start(Relisting)
    await asyncio.sleep(99)
    assert orders == []
    await asyncio.sleep(3)
    assert orders == [Relist("m")]
    await asyncio.sleep(290)
    assert orders == [Relist("m")]
    world.notice()
    await asyncio.sleep(SLEEPERS_S)
    assert orders == [Relist("m")]
    world.come_back()
    await asyncio.sleep(2)
    assert orders == [Relist("m")] * 2
    # Obliterated once more in the meantime: that counts from then.
    world.directory.put(ModuleRecord("m", relist_s=1000.0, since=2.0))
    await asyncio.sleep(990)
    assert orders == [Relist("m")] * 2
    world.directory.put(ModuleRecord("m", since=2.0))
    await asyncio.sleep(SLEEPERS_S)
    assert orders == [Relist("m")] * 2
