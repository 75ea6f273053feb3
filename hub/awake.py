"""Bringing modules up for those who knock: the proxy's requests, the gateway's connections."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio

from actors import Ref
from hub.answers import translated
from hub.errors import HubClosed, ModuleNotFound, OperationNotFound, OperationTimeout
from hub.info import ModuleInfo
from hub.lifecycle import State
from hub.messages import Describe, DescribeOperation, Provision

_LOOK_S = 0.05


class _Wake:
    """One `Provision` on its way, and how many wait for it."""

    __slots__ = ("op_id", "task", "waiters")

    def __init__(self, message: Provision, task: asyncio.Task[ModuleInfo]) -> None:
        self.op_id = message.op_id
        self.task = task
        self.waiters = 0


class Awakener:
    """Keeps one `Provision` in flight per module, however many wait for it. Lives on one event loop.

    Args:
        registry: the registry's ref.
        asked_by: who asks, for the log, where a waiter does not say.

    It makes no module: who knocks may have seen one a moment before its obliteration.
    """

    def __init__(self, registry: Ref[Any], *, asked_by: str) -> None:
        self._registry = registry
        self._asked_by = asked_by
        self._wakes: dict[str, _Wake] = {}
        self._tasks: set[asyncio.Task[ModuleInfo]] = set()

    async def up(self, module_id: str, timeout: float, *, asked_by: str = "") -> ModuleInfo:  # noqa: ASYNC109 - ends the wait alone, not the wake
        """Wait until a module is up: woken or provisioned, or restarted by the watchdog where it has crashed.

        Cancelling a waiter, or its deadline, leaves the wake to the others. When the last one has gone, a wake that has
        not begun is withdrawn; one that has goes on.

        Args:
            module_id: the module.
            timeout: seconds that this waiter waits.
            asked_by: who asks, for the log; of many waiters the first one counts.

        Returns:
            The module, `provisioned` a moment ago.

        Raises:
            OperationTimeout: it is not up yet.
            ModuleNotFound: it was obliterated, or never was.
            ModhubError: it can't be brought up.
        """
        wake = self._wakes.get(module_id)
        if wake is None:
            wake = self._begin(Provision(module_id, known=True, asked_by=asked_by or self._asked_by))
        wake.waiters += 1
        try:
            # Not wait_for: it would cancel what the others wait for.
            await asyncio.wait((wake.task,), timeout=timeout)
        finally:
            wake.waiters -= 1
            if not wake.waiters and not wake.task.done():
                self._forget(module_id, wake)
                wake.task.cancel()
        if wake.task.done():
            if wake.task.cancelled():
                raise HubClosed(f"the wake of module {module_id!r} was given up: this part of the hub is closing")
            return wake.task.result()
        goes_on = wake.waiters > 0 or await self._runs(wake.op_id)
        state = f"goes on as operation {wake.op_id}" if goes_on else "was not started and never will be"
        raise OperationTimeout(
            f"module {module_id!r} was not up within {timeout:g} s; its provision {state}",
            op_id=wake.op_id,
            started=goes_on,
        )

    async def aclose(self) -> None:
        """End all waits with `HubClosed`. What has begun goes on in the hub."""
        self._wakes.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, message: Provision) -> _Wake:
        module_id = message.module_id
        wake = _Wake(message, asyncio.create_task(self._provision(message), name=f"wake {module_id}"))
        self._wakes[module_id] = wake
        self._tasks.add(wake.task)

        def ended(task: asyncio.Task[ModuleInfo]) -> None:
            self._tasks.discard(task)
            self._forget(module_id, wake)
            if not task.cancelled():
                task.exception()  # seen: all who waited may have gone

        wake.task.add_done_callback(ended)
        return wake

    def _forget(self, module_id: str, wake: _Wake) -> None:
        if self._wakes.get(module_id) is wake:
            del self._wakes[module_id]

    async def _provision(self, message: Provision) -> ModuleInfo:
        # A crashed module is the watchdog's to restart. A provision would do so at once, each time: clients that try again
        # without a pause would start a server that does not last for ever anew, past its backoff.
        while await self._crashed(message.module_id):  # noqa: ASYNC110 - the hub may be another process: it has to be asked
            await anyio.sleep(_LOOK_S)
        with translated(message):
            return await self._registry.ask_async(message)

    async def _crashed(self, module_id: str) -> bool:
        message = Describe(module_id)
        try:
            with translated(message):
                return (await self._registry.ask_async(message)).state is State.CRASHED
        except ModuleNotFound:
            return False

    async def _runs(self, op_id: str) -> bool:
        """Tell whether an operation was taken up: asked after its withdrawal, which that prevents."""
        message = DescribeOperation(op_id)
        try:
            with translated(message):
                info = await self._registry.ask_async(message)
        except (OperationNotFound, HubClosed):
            return False
        return info.status in {"running", "done"}
