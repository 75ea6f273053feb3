"""`AsyncHub` on the host's own loop, and `Hub` for everybody else: a loop in a thread."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from actors import ActorCrashed, ActorDead, DeadlineExceeded, MailboxFull, Message, Ref
from hub.config import HubConfig, HubOptions, check_module_id, configure, load
from hub.errors import HubClosed, ModuleBusy, ModuleFault, OperationTimeout
from hub.info import BackendStatus, ModuleInfo, Obliterated, OperationInfo
from hub.loop_thread import LoopThread
from hub.messages import (
    Deprovision,
    Describe,
    DescribeBackend,
    DescribeOperation,
    Hibernate,
    ListModules,
    Obliterate,
    Provision,
    Touch,
    Wake,
)
from hub.plugins import Plugin
from hub.registry import Registry
from hub.runtime import Runtime

R = TypeVar("R")


@contextlib.contextmanager
def _translated(message: Message[Any]) -> Generator[None]:
    """Turn what the actors' runtime says into the hub's own errors."""
    op_id = getattr(message, "op_id", "")
    what = f"{type(message).__name__.lower()} of module {getattr(message, 'module_id', '')!r}"
    try:
        yield
    except DeadlineExceeded as error:
        state = f"goes on as operation {op_id}" if error.started else "was not started and never will be"
        raise OperationTimeout(
            f"{what} was not done within {error.timeout_s:g} s; it {state}", op_id=op_id, started=error.started
        ) from error
    except MailboxFull as error:
        raise ModuleBusy(f"{what}: {error.capacity} operations wait already", hint="try again later") from error
    except ActorCrashed as error:
        raise ModuleFault(f"{what} was interrupted by a defect: {error.__cause__!r}", hint="see the log") from error
    except ActorDead as error:
        raise HubClosed(f"{what} was not done: the hub has closed") from error


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
        return cls(**_parameters(load(path, os.environ, **options)))

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
        with _translated(message):
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

    async def operation(self, op_id: str) -> OperationInfo:
        """Tell about a running or recent operation.

        Raises:
            OperationNotFound: it is not known, or ended long ago.
        """
        return await self.ask(DescribeOperation(op_id))

    async def backend_status(self) -> BackendStatus:
        """Tell whether the backend is available, as far as the hub knows; never asks it."""
        return await self.ask(DescribeBackend())


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
        return cls(**_parameters(load(path, os.environ, **options)))

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
        with _translated(message):
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

    def touch(self, module_id: str) -> ModuleInfo:
        """Count as activity on a module; see `AsyncHub.touch`."""
        return self.ask(Touch(check_module_id(module_id)))

    def module(self, module_id: str) -> ModuleInfo:
        """Tell about a tracked module; see `AsyncHub.module`."""
        return self.ask(Describe(check_module_id(module_id)))

    def modules(self) -> tuple[ModuleInfo, ...]:
        """Tell about all tracked modules; see `AsyncHub.modules`."""
        return self.ask(ListModules())

    def operation(self, op_id: str) -> OperationInfo:
        """Tell about a running or recent operation; see `AsyncHub.operation`."""
        return self.ask(DescribeOperation(op_id))

    def backend_status(self) -> BackendStatus:
        """Tell whether the backend is available; see `AsyncHub.backend_status`."""
        return self.ask(DescribeBackend())


def _parameters(config: HubConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in HubConfig.__dataclass_fields__}
