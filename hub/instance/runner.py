"""Starts instances as processes of this machine: a port, the conditions, the first data, the process; or none of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio

from hub.errors import StartFailed
from hub.instance.cgroups import Cgroups
from hub.instance.conditions import Conditions, arrange, cgroup_name, find_again
from hub.instance.local import LocalInstance
from hub.instance.ports import PortAllocator, is_free
from hub.instance.procfs import ProcessIdentity
from hub.instance.protocol import Instance, InstanceSpec, OnExit, ResourceUse
from hub.instance.usage import measure_groups
from hub.workers import Workers

_PORT_TRIES = 5


class LocalRunner:
    """Runs instances as processes of this machine.

    Args:
        hub_id: marks its processes.
        ports: where they listen.
        workers: for what blocks.
        root: directory below which all data directories lie, closed to all users but the hub's.
        outlive: its processes run on when the hub ends or is killed.
    """

    def __init__(
        self, hub_id: str, ports: PortAllocator, workers: Workers, root: Path, *, outlive: bool = False
    ) -> None:
        self._outlive = outlive
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
            instance.launch(exited, outlives=self._outlive)
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

    async def adopt(
        self, spec: InstanceSpec, identity: ProcessIdentity, on_exit: OnExit, *, timeout_s: float
    ) -> Instance | None:
        """Take over an instance that an earlier hub left running; see `InstanceRunner`."""
        port = spec.port
        if port is None or not self._ports.reserve(port):
            return None

        adopted: LocalInstance | None = None

        def exited() -> None:
            if adopted is not None:
                self._ports.release(port)
                on_exit(adopted)

        try:
            conditions = await self._workers.run(find_again, spec, identity.pid, self._cgroups)
            found = LocalInstance(spec, port, self._hub_id, self._workers, conditions)
            if found.adopt(identity, exited):
                try:
                    adopted = found if await found.still_serves(timeout_s) else None
                finally:
                    if adopted is None:
                        found.leave()
        except StartFailed:  # its user is gone
            pass
        finally:
            if adopted is None:
                self._ports.release(port)
        return adopted

    async def end(self, spec: InstanceSpec, identity: ProcessIdentity) -> bool:
        """End what an earlier hub left running; see `InstanceRunner`."""
        cgroup = await self._workers.run(self._cgroups.adopt, identity.pid)
        instance = LocalInstance(spec, spec.port or 0, self._hub_id, self._workers, Conditions(cgroup=cgroup))
        if not instance.adopt(identity, lambda: None):
            return False
        try:
            instance.resume()
            await instance.stop(force=True)
        finally:
            instance.leave()
        return True

    async def measure(self, instances: Sequence[Instance]) -> Mapping[int, ResourceUse]:
        """Find out what instances use, all by one look; see `InstanceRunner`."""
        cgroups = {i.pid: i.cgroup_directories for i in instances if isinstance(i, LocalInstance)}
        return await self._workers.run(measure_groups, cgroups)

    async def _conditions_for(self, spec: InstanceSpec) -> Conditions:
        """Return under what conditions an instance runs: with no detour for a kind that asks for nothing."""
        if spec.kind.user is None and not spec.kind.limits:
            return Conditions()
        return await self._workers.run(arrange, spec, self._root, self._cgroups)
