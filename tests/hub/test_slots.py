"""A slot is had at once where one is free, and in turn where none is."""

import asyncio

import anyio

from hub.operations.slots import slot


def test_a_free_slot_is_had_before_others_get_their_turn() -> None:
    """What waits for the loop has not run when the block begins; the slot is given back at its end."""

    async def scenario() -> None:
        slots = anyio.CapacityLimiter(1)
        turns: list[str] = []
        asyncio.get_running_loop().call_soon(turns.append, "another's")
        async with slot(slots):
            assert slots.available_tokens == 0
            assert turns == []
        assert slots.available_tokens == 1
        await asyncio.sleep(0)
        assert turns == ["another's"]

    asyncio.run(scenario())


def test_who_comes_later_waits_for_his_turn() -> None:
    """Slots go to those who wait in their order; nobody who comes as one becomes free passes them."""

    async def scenario() -> list[str]:
        slots = anyio.CapacityLimiter(1)
        order: list[str] = []

        async def hold(name: str) -> None:
            async with slot(slots):
                order.append(name)
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            async with slot(slots):
                group.create_task(hold("first"))
                group.create_task(hold("second"))
                await asyncio.sleep(0.01)
                assert order == []
            await hold("third")
        return order

    assert asyncio.run(scenario()) == ["first", "second", "third"]


def test_who_gives_up_takes_no_slot() -> None:
    """A caller that is cancelled while it waits leaves the slot to the next."""

    async def scenario() -> None:
        slots = anyio.CapacityLimiter(1)

        async def hold() -> None:
            async with slot(slots):
                raise AssertionError

        async with slot(slots):
            waiting = asyncio.create_task(hold())
            await asyncio.sleep(0.01)
            waiting.cancel()
            await asyncio.wait([waiting])
            assert waiting.cancelled()
        assert slots.available_tokens == 1

    asyncio.run(scenario())
