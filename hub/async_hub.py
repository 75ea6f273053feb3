"""`AsyncHub`: a hub on the host's own loop."""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from actors import Message, Ref
from hub.answers import translated
from hub.config import HubConfig, HubOptions, check_module_id, configure
from hub.config_sources import load
from hub.errors import HubClosed
from hub.info import (
    BackendStatus,
    EventPage,
    HubStats,
    LogChunk,
    ModuleInfo,
    ModulePage,
    Obliterated,
    OperationInfo,
    UsageSample,
)
from hub.lifecycle import State
from hub.messages import (
    Checkpoint,
    Deprovision,
    Describe,
    DescribeBackend,
    DescribeHub,
    DescribeOperation,
    DescribeUsage,
    FindModules,
    Hibernate,
    ListKinds,
    ListModules,
    ListOperations,
    Obliterate,
    Provision,
    ReadEvents,
    ReadLog,
    Touch,
    Wake,
)
from hub.plugins import Plugin
from hub.registry import Registry
from hub.runtime import Runtime

R = TypeVar("R")


class AsyncHub:
    """A hub on the running event loop. Use it as `async with AsyncHub(...) as hub`.

    Args:
        data_dir: directory for the journal and the modules' local data; one hub at a time.
        backend: URI of the backend, such as `file:///var/lib/modhub-backend`.
        plugins: actor classes to run beside the installed ones; each is made with the registry's ref.
        **options: the other fields of `HubConfig`: `kinds`, `ports`, `idle_timeout`, ...

    Raises:
        InvalidConfig: a parameter can't be used. Nothing has been touched.
    """

    def __init__(
        self,
        data_dir: str | os.PathLike[str],
        backend: str,
        *,
        plugins: Sequence[Plugin] = (),
        **options: Unpack[HubOptions],
    ) -> None:
        self._runtime = Runtime(configure(data_dir=data_dir, backend=backend, **options), plugins)
        self._entered = False

    @classmethod
    def from_config(cls, path: str | os.PathLike[str], **options: Any) -> Self:
        """Make a hub from a TOML file and `MODHUB_*` environment variables.

        Args:
            path: the file.
            **options: parameters that win over both.

        Raises:
            InvalidConfig: a key or value can't be used.
        """
        return cls(**parameters(load(path, os.environ, **options)))

    async def __aenter__(self) -> Self:
        await self._runtime.__aenter__()
        self._entered = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered = False
        await self._runtime.__aexit__(kind, error, trace)

    @property
    def registry(self) -> Ref[Registry]:
        """The registry's ref: takes the messages of `hub.messages`, from any thread.

        Raises:
            HubClosed: the hub was not entered, or has ended.
        """
        if not self._entered:
            raise HubClosed("the hub does not run", hint="use it inside its `with` block")
        return self._runtime.registry

    async def ask(self, message: Message[R], timeout: float | None = None) -> R:  # noqa: ASYNC109 - a deadline that travels with the message, not a cancellation
        """Send the registry a message and await its reply, with the hub's own errors.

        Args:
            message: one of `hub.messages`.
            timeout: seconds; past them an operation that has not started never will, a running one goes on.
        """
        with translated(message):
            return await self.registry.ask_async(message, timeout=timeout)

    async def provision(self, module_id: str, *, kind: str | None = None, timeout: float | None = None) -> ModuleInfo:  # noqa: ASYNC109 - as `ask`
        """Bring a module up: hydrate and start it, or wake it, or recover it.

        Args:
            module_id: the module.
            kind: its kind; `None` = the recorded one, else the default.
            timeout: seconds, as in `ask`.

        Returns:
            The module, `provisioned`.

        Raises:
            ModhubError: it is not up; what was there before is as it was.
        """
        return await self.ask(Provision(check_module_id(module_id), kind), timeout)

    async def hibernate(self, module_id: str, *, timeout: float | None = None) -> ModuleInfo:  # noqa: ASYNC109 - as `ask`
        """Stop a module's process and keep its data here; returns the module, raises as `provision`."""
        return await self.ask(Hibernate(check_module_id(module_id)), timeout)

    async def wake(self, module_id: str, *, timeout: float | None = None) -> ModuleInfo:  # noqa: ASYNC109 - as `ask`
        """Start a hibernated module's process; returns the module, raises as `provision`."""
        return await self.ask(Wake(check_module_id(module_id)), timeout)

    async def deprovision(self, module_id: str, *, timeout: float | None = None) -> ModuleInfo:  # noqa: ASYNC109 - as `ask`
        """Send a module's data home and delete it here; returns the module, raises as `provision`."""
        return await self.ask(Deprovision(check_module_id(module_id)), timeout)

    async def obliterate(self, module_id: str, *, timeout: float | None = None) -> Obliterated:  # noqa: ASYNC109 - as `ask`
        """Destroy every trace of a module, here and in the backend, tracked or not. Irreversible.

        Args:
            module_id: the module.
            timeout: seconds, as in `ask`.

        Returns:
            What was deleted; listings proved that nothing is left.

        Raises:
            ModhubError: something may be left; the obliteration stays pending and is retried.
        """
        return await self.ask(Obliterate(check_module_id(module_id)), timeout)

    async def checkpoint(self, module_id: str, *, timeout: float | None = None) -> ModuleInfo:  # noqa: ASYNC109 - as `ask`
        """Send a copy of a module's data home while it goes on as it is.

        Args:
            module_id: the module: hibernated, or provisioned and of a kind with a `checkpoint` hook.
            timeout: seconds, as in `ask`.

        Returns:
            The module. The backend has its data as it was when this was called, or later.

        Raises:
            ModhubError: the backend has what it had before; the module goes on.
        """
        return await self.ask(Checkpoint(check_module_id(module_id)), timeout)

    async def touch(self, module_id: str) -> ModuleInfo:
        """Count as activity on a module; returns the module."""
        return await self.ask(Touch(check_module_id(module_id)))

    async def module(self, module_id: str) -> ModuleInfo:
        """Tell about a tracked module; never waits behind an operation.

        Raises:
            ModuleNotFound: it is not tracked.
        """
        return await self.ask(Describe(check_module_id(module_id)))

    async def modules(self) -> tuple[ModuleInfo, ...]:
        """Tell about all tracked modules, by id; never waits behind an operation."""
        return await self.ask(ListModules())

    async def find(
        self,
        *,
        states: Sequence[State] = (),
        kind: str = "",
        search: str = "",
        dirty: bool | None = None,
        sort: str = "module_id",
        offset: int = 0,
        limit: int = 100,
    ) -> ModulePage:
        """Tell about a page of the tracked modules; never waits behind an operation.

        Args:
            states: only modules in one of these; empty = in any.
            kind: only modules of this kind; empty = of any.
            search: only modules whose id contains this, whatever its case.
            dirty: only modules whose data is dirty, or is not; `None` = both.
            sort: what by: `module_id`, `kind`, `state`, `since`, `idle_s`, `uptime_s`, `restarts`, `memory_bytes`,
                `cpu_percent`, `port`, `checkpointed_at` or `last_error`; with `-` before it the largest first.
            offset: modules to leave out at the beginning.
            limit: modules at the most, 1 to 1000.

        Raises:
            InvalidMessage: one of these can't be used.
        """
        return await self.ask(FindModules(tuple(states), kind, search, dirty, sort, offset, limit))

    async def log(
        self, module_id: str, *, offset: int | None = None, max_bytes: int = 65536, log_id: str = ""
    ) -> LogChunk:
        """Read a part of the output of a module's processes; never waits behind an operation.

        To follow it, read on from `next_offset` of the `log_id` that came with it.

        Args:
            module_id: the module.
            offset: where to begin, bytes since the log was begun; `None` = so that the end is read.
            max_bytes: bytes at the most, 1 to 1 MiB.
            log_id: which log the offset is of; empty = the present one.

        Raises:
            ModuleNotFound: it is not tracked.
            LocalDataError: the disk refused.
        """
        return await self.ask(ReadLog(check_module_id(module_id), offset, max_bytes, log_id))

    async def usage(self, module_id: str) -> tuple[UsageSample, ...]:
        """Tell what a module's processes used of late, the oldest sample first; none while it sleeps.

        Raises:
            ModuleNotFound: it is not tracked.
        """
        return await self.ask(DescribeUsage(check_module_id(module_id)))

    async def events(self, module_id: str | None = None, *, after: int | None = None, limit: int = 100) -> EventPage:
        """Read events of late.

        Args:
            module_id: only those about this module; `None` = all.
            after: only those with a greater number; `None` = the last ones.
            limit: events at the most, 1 to 1000.
        """
        return await self.ask(ReadEvents(module_id, after, limit))

    async def operations(self) -> tuple[OperationInfo, ...]:
        """Tell about the operations that run or wait, the oldest first."""
        return await self.ask(ListOperations())

    async def kinds(self) -> tuple[str, ...]:
        """Tell the names of the configured kinds, the default one first."""
        return await self.ask(ListKinds())

    async def stats(self) -> HubStats:
        """Tell the hub's counters."""
        return await self.ask(DescribeHub())

    async def operation(self, op_id: str) -> OperationInfo:
        """Tell about a running or recent operation.

        Raises:
            OperationNotFound: it is not known, or ended long ago.
        """
        return await self.ask(DescribeOperation(op_id))

    async def backend_status(self) -> BackendStatus:
        """Tell whether the backend is available, as far as the hub knows; never asks it."""
        return await self.ask(DescribeBackend())


def parameters(config: HubConfig) -> dict[str, Any]:
    """Return a configuration as the parameters of a hub."""
    return {name: getattr(config, name) for name in HubConfig.__dataclass_fields__}
