"""`Hub`, for hosts without an event loop: an `AsyncHub` on a loop in a thread."""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from actors import Message, Ref
from hub.answers import translated
from hub.async_hub import AsyncHub, parameters
from hub.config import HubOptions, check_module_id
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
from hub.loop_thread import LoopThread
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

R = TypeVar("R")


class Hub:
    """A hub with an event loop in a thread of its own. Use it as `with Hub(...) as hub`, from any threads.

    Parameters, methods, returns and errors are those of `AsyncHub`, without the `await`.
    """

    def __init__(
        self,
        data_dir: str | os.PathLike[str],
        backend: str,
        *,
        plugins: Sequence[Plugin] = (),
        **options: Unpack[HubOptions],
    ) -> None:
        self._hub = AsyncHub(data_dir, backend, plugins=plugins, **options)
        self._thread: LoopThread | None = None

    @classmethod
    def from_config(cls, path: str | os.PathLike[str], **options: Any) -> Self:
        """Make a hub from a TOML file and `MODHUB_*` environment variables; see `AsyncHub.from_config`."""
        return cls(**parameters(load(path, os.environ, **options)))

    def start(self) -> Self:
        """Start the hub, as entering it with `with` does; `close` ends it."""
        if self._thread is not None:
            raise HubClosed("the hub was started already", hint="make a new Hub to start again")
        # Known before it runs: a signal handler that raises here must leave something for `close` to end.
        self._thread = LoopThread("modhub", self._hub)
        try:
            self._thread.start()
        except BaseException:
            self._thread = None
            raise
        return self

    def close(self) -> None:
        """End the hub: no new operations, modules come to rest or are left (`on_exit`), all else of it ends. Idempotent."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def registry(self) -> Ref[Registry]:
        """The registry's ref: takes the messages of `hub.messages`, from any thread."""
        return self._hub.registry

    def ask(self, message: Message[R], timeout: float | None = None) -> R:
        """Send the registry a message and wait for its reply; see `AsyncHub.ask`."""
        with translated(message):
            return self.registry.ask(message, timeout=timeout)

    def provision(self, module_id: str, *, kind: str | None = None, timeout: float | None = None) -> ModuleInfo:
        """Bring a module up; see `AsyncHub.provision`."""
        return self.ask(Provision(check_module_id(module_id), kind), timeout)

    def hibernate(self, module_id: str, *, timeout: float | None = None) -> ModuleInfo:
        """Stop a module's process and keep its data here; see `AsyncHub.hibernate`."""
        return self.ask(Hibernate(check_module_id(module_id)), timeout)

    def wake(self, module_id: str, *, timeout: float | None = None) -> ModuleInfo:
        """Start a hibernated module's process; see `AsyncHub.wake`."""
        return self.ask(Wake(check_module_id(module_id)), timeout)

    def deprovision(self, module_id: str, *, timeout: float | None = None) -> ModuleInfo:
        """Send a module's data home and delete it here; see `AsyncHub.deprovision`."""
        return self.ask(Deprovision(check_module_id(module_id)), timeout)

    def obliterate(self, module_id: str, *, timeout: float | None = None) -> Obliterated:
        """Destroy every trace of a module, tracked or not; see `AsyncHub.obliterate`."""
        return self.ask(Obliterate(check_module_id(module_id)), timeout)

    def checkpoint(self, module_id: str, *, timeout: float | None = None) -> ModuleInfo:
        """Send a copy of a module's data home while it goes on; see `AsyncHub.checkpoint`."""
        return self.ask(Checkpoint(check_module_id(module_id)), timeout)

    def touch(self, module_id: str) -> ModuleInfo:
        """Count as activity on a module; see `AsyncHub.touch`."""
        return self.ask(Touch(check_module_id(module_id)))

    def module(self, module_id: str) -> ModuleInfo:
        """Tell about a tracked module; see `AsyncHub.module`."""
        return self.ask(Describe(check_module_id(module_id)))

    def modules(self) -> tuple[ModuleInfo, ...]:
        """Tell about all tracked modules; see `AsyncHub.modules`."""
        return self.ask(ListModules())

    def find(
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
        """Tell about a page of the tracked modules; see `AsyncHub.find`."""
        return self.ask(FindModules(tuple(states), kind, search, dirty, sort, offset, limit))

    def log(self, module_id: str, *, offset: int | None = None, max_bytes: int = 65536, log_id: str = "") -> LogChunk:
        """Read a part of the output of a module's processes; see `AsyncHub.log`."""
        return self.ask(ReadLog(check_module_id(module_id), offset, max_bytes, log_id))

    def usage(self, module_id: str) -> tuple[UsageSample, ...]:
        """Tell what a module's processes used of late; see `AsyncHub.usage`."""
        return self.ask(DescribeUsage(check_module_id(module_id)))

    def events(self, module_id: str | None = None, *, after: int | None = None, limit: int = 100) -> EventPage:
        """Read events of late; see `AsyncHub.events`."""
        return self.ask(ReadEvents(module_id, after, limit))

    def operations(self) -> tuple[OperationInfo, ...]:
        """Tell about the operations that run or wait; see `AsyncHub.operations`."""
        return self.ask(ListOperations())

    def kinds(self) -> tuple[str, ...]:
        """Tell the names of the configured kinds; see `AsyncHub.kinds`."""
        return self.ask(ListKinds())

    def stats(self) -> HubStats:
        """Tell the hub's counters; see `AsyncHub.stats`."""
        return self.ask(DescribeHub())

    def operation(self, op_id: str) -> OperationInfo:
        """Tell about a running or recent operation; see `AsyncHub.operation`."""
        return self.ask(DescribeOperation(op_id))

    def backend_status(self) -> BackendStatus:
        """Tell whether the backend is available; see `AsyncHub.backend_status`."""
        return self.ask(DescribeBackend())
