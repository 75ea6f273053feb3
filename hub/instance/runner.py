"""Starts instances as processes of this machine: a port, the conditions, the first data, the process; or none of it."""

from __future__ import annotations

from pathlib import Path

import anyio

from hub.errors import StartFailed
from hub.instance.cgroups import Cgroups
from hub.instance.conditions import Conditions, arrange, cgroup_name
from hub.instance.local import LocalInstance
from hub.instance.ports import PortAllocator, is_free
from hub.instance.protocol import Instance, InstanceSpec, OnExit
from hub.workers import Workers

_PORT_TRIES = 5


class LocalRunner:
    """Runs instances as processes of this machine.

    Args:
        hub_id: marks its processes.
        ports: where they listen.
        workers: for what blocks.
        root: directory below which all data directories lie, closed to all users but the hub's.
    """

    def __init__(self, hub_id: str, ports: PortAllocator, workers: Workers, root: Path) -> None:
        self._root = root
        self._cgroups = Cgroups(hub_id)
        self._hub_id = hub_id
        self._ports = ports
        self._workers = workers

    async def start(self, spec: InstanceSpec, on_exit: OnExit) -> Instance:
        """Start an instance and wait until it is ready; see `InstanceRunner`."""
        preferred = spec.port
        for remaining in reversed(range(_PORT_TRIES)):
            port = self._ports.acquire(preferred)
            try:
                return await self._start_on(port, spec, on_exit)
            except StartFailed:
                # Taken by somebody between the look and the child's bind: that is no fault of the module's.
                if remaining == 0 or is_free(port):
                    raise
                preferred = None
        raise AssertionError("unreachable")

    async def _start_on(self, port: int, spec: InstanceSpec, on_exit: OnExit) -> Instance:
        def exited() -> None:
            self._ports.release(port)
            on_exit(instance)

        try:
            conditions = await self._conditions_for(spec)
            instance = LocalInstance(spec, port, self._hub_id, self._workers, conditions)
            await instance.make_first_data()
            instance.launch(exited)
        except BaseException:
            self._ports.release(port)
            if spec.kind.limits:
                with anyio.CancelScope(shield=True):
                    await self._workers.run(self._cgroups.end, cgroup_name(spec))
            raise
        try:
            await instance.wait_ready()
        except BaseException:
            with anyio.CancelScope(shield=True):
                await instance.kill()
            raise
        return instance

    async def _conditions_for(self, spec: InstanceSpec) -> Conditions:
        """Return under what conditions an instance runs: with no detour for a kind that asks for nothing."""
        if spec.kind.user is None and not spec.kind.limits:
            return Conditions()
        return await self._workers.run(arrange, spec, self._root, self._cgroups)
