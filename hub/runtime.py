"""The start and the end of a hub on an event loop: lock, journal, leftovers, actors; and all of it back again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import anyio
import pykka

from actors import ActorFailure, ActorSystem, DeadLetter, Ref
from hub.checkpoint import max_checkpoints
from hub.config import HubConfig
from hub.counters import Counters
from hub.directory import Directory
from hub.disk import Disk
from hub.errors import InvalidConfig, LocalDataError, ModhubError, StopFailed
from hub.events import EventBus
from hub.gateway.ports import GatewayPorts
from hub.gateway.starting import start_gateway
from hub.history import EventHistory
from hub.hub_actors import HUB_SUPERVISION, HubActors, start_actors
from hub.instance import LocalRunner
from hub.instance.ports import PortAllocator
from hub.journal import Journal
from hub.layout import Layout
from hub.lease_keeper import LeaseKeeper
from hub.lifecycle import State
from hub.logs import Logs
from hub.operation import Ledger, Phase
from hub.orders import BeginClosing, Retire
from hub.places import Places
from hub.plugins import Plugin
from hub.registry import Registry
from hub.resolution import resolve_modules
from hub.services import Services
from hub.survivors import leave, sweep, take_over
from hub.transfers import Transfers
from hub.watchdog import Finish, StallWatch
from hub.workers import Workers, finish

_log = logging.getLogger("modhub")


class Runtime:
    """A hub while it runs: an asynchronous context manager, entered once, on the loop that is to run it.

    Args:
        config: the configuration.
        plugins: plugins beyond the installed ones.
    """

    def __init__(self, config: HubConfig, plugins: Sequence[Plugin] = ()) -> None:
        self._config = config
        self._plugins = plugins
        self._stack = contextlib.AsyncExitStack()
        self._bus = EventBus()
        self._counters = Counters()
        self._history = EventHistory(self._bus.run_id)
        # Before all other listeners: events are remembered in the order of their numbers.
        self._bus.subscribe(self._counters.count)
        self._bus.subscribe(self._history.record)
        self._services: Services
        self._actors: HubActors

    @property
    def registry(self) -> Ref[Registry]:
        """The registry, to which every message goes."""
        return self._actors.registry

    async def __aenter__(self) -> Self:
        started = time.monotonic()
        try:
            modules = await self._start()
        except BaseException as error:
            with anyio.CancelScope(shield=True):
                await self._stack.aclose()
            if isinstance(error, OSError) and not isinstance(error, ModhubError):
                raise LocalDataError(f"the hub can't start on {self._config.data_dir}: {error}") from error
            raise
        duration_ms = round((time.monotonic() - started) * 1000, 3)
        self._bus.publish(
            "hub.started", pid=os.getpid(), run_id=self._bus.run_id, modules=modules, duration_ms=duration_ms
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del kind, error, trace
        started = time.monotonic()
        self._bus.publish("hub.stopping", on_exit=self._config.on_exit)
        # In a task of its own: a host that is being cancelled, however often, still wants its tenants' servers to stop
        # in good order. anyio's shield holds off its own scopes' cancellation, not a task's.
        ending = asyncio.create_task(self._end(), name="modhub-end")
        cancelled: asyncio.CancelledError | None = None
        while not ending.done():
            try:
                await asyncio.wait([ending])
            except asyncio.CancelledError as cancellation:
                cancelled = cancellation
        ending.result()
        if cancelled is not None:
            raise cancelled
        self._bus.publish("hub.stopped", duration_ms=round((time.monotonic() - started) * 1000, 3))

    async def _end(self) -> None:
        try:
            await self._retire()
        finally:
            await self._stack.aclose()

    async def _start(self) -> int:
        """Start everything; each step leaves on the stack how it is undone. Returns the number of modules."""
        config = self._config
        layout = Layout(config.data_dir)
        workers = Workers()
        self._stack.push_async_callback(_off_loop, workers.close)
        await workers.run(layout.make)
        # How each is undone comes first: a host that is cancelled here gets the cancellation when the thread has ended.
        self._stack.callback(layout.unlock)
        await workers.run(layout.lock)
        journal = Journal(layout.journal)
        self._stack.push_async_callback(_off_loop, journal.close)
        records = await workers.run(journal.open)

        loop = asyncio.get_running_loop()
        directory = Directory(layout, loop.time)
        ports = PortAllocator(config.ports)
        gateway_ports = GatewayPorts(ports, config.gateway_host, config.gateway_ports)
        for record in records:
            if record.gateway_port is not None:
                gateway_ports.hold(record.module_id, record.gateway_port)
        disk = Disk(layout.root, config.disk_reserve, workers, self._bus)
        await disk.look()
        transfers = Transfers(config, journal.hub_id, layout, workers, disk=disk, bus=self._bus, clock=loop.time)
        self._stack.push_async_callback(_off_loop, transfers.close)
        starts = anyio.CapacityLimiter(config.max_starts)
        services = self._services = Services(
            config=config,
            layout=layout,
            journal=journal,
            directory=directory,
            ledger=Ledger(),
            bus=self._bus,
            counters=self._counters,
            history=self._history,
            logs=Logs(layout, config.log_max_bytes),
            workers=workers,
            transfers=transfers,
            leases=LeaseKeeper(
                config, layout=layout, directory=directory, transfers=transfers, workers=workers, bus=self._bus
            ),
            runner=LocalRunner(journal.hub_id, ports, workers, layout.root, outlive=config.on_exit == "leave"),
            starts=starts,
            checkpoints=anyio.CapacityLimiter(max_checkpoints(config)),
            disk=disk,
            places=Places(config, directory, disk, starts),
            gateway_ports=gateway_ports,
            clock=loop.time,
        )
        # What is then still an instance runs on: a start that failed has ended no server, nor does `leave`.
        self._stack.callback(leave, services)
        adopted = await take_over(services, records)
        await sweep(services)
        # Before they are resolved. Sleepers too: a module goes to sleep while its copy is still on its way.
        await workers.run(layout.clear_checkpoints, [record.module_id for record in records])
        await resolve_modules(services, records, adopted)
        for entry in directory.tracked():
            # Idle times go on over a restart of the hub; but of a server that was used meanwhile nobody has seen it.
            if entry.instance is None:
                entry.active_at -= max(0.0, services.wall_clock() - entry.record.since)
        try:
            await workers.run(layout.clear_temporary, {entry.record.module_id for entry in directory.tracked()})
        except OSError as error:
            raise InvalidConfig(
                f"data_dir = {str(layout.root)!r} can't be cleared of temporary files: {error}"
            ) from error

        stall_watch = StallWatch(loop, config.stall_threshold, self._report_stall)
        stall_watch.start()
        self._stack.callback(stall_watch.close)
        await self._start_actors(services)
        return sum(1 for _ in directory.tracked())

    async def _start_actors(self, services: Services) -> None:
        system = await self._stack.enter_async_context(
            ActorSystem("modhub", on_failure=self._on_failure, on_dead_letter=self._on_dead_letter)
        )
        self._actors = start_actors(system, services, self._plugins, self._stack)
        await start_gateway(self._stack, system, services, self._actors.registry, HUB_SUPERVISION)

    async def _retire(self) -> None:
        """Refuse what is new, end what only transfers here, and bring every module to rest."""
        cells: tuple[Ref[Any], ...]
        try:
            cells = await self.registry.ask_async(BeginClosing())
        except pykka.ActorDeadError:
            # Whoever has its ref may have stopped it. That ends no process: each still comes to rest by its own cell.
            self._services.closing = True
            cells = tuple(self._services.cells.values())
        for entry in self._services.directory.tracked():
            if entry.operation is not None:
                entry.operation.cancel("the hub closes", Phase.HYDRATING)
            if entry.checkpoint is not None:
                entry.checkpoint.cancel("the hub closes")
        outcomes = await asyncio.gather(*(cell.ask_async(Retire()) for cell in cells), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, ModhubError | pykka.ActorDeadError):
                _log.error("a module did not come to rest", exc_info=outcome)
        # Until here: what was sent home at the end needed its leases.
        self._actors.lease_watch.tell(Finish())
        # What is left has a defect, or a process that would not go: nothing else outlives the hub.
        leaves = self._config.on_exit == "leave"
        for entry in list(self._services.directory.tracked()):
            if entry.instance is not None and not (leaves and entry.record.state is State.PROVISIONED):
                try:
                    await entry.instance.kill()
                except StopFailed:
                    _log.exception("a process of module %s does not end", entry.record.module_id)
                entry.instance = None
        # And what left its process group: a daemon that a server started, and that no signal to the group reaches.
        try:
            await sweep(self._services)
        except StopFailed:
            _log.exception("processes of modules do not end")

    def _report_stall(self, stalled_s: float, stack: str) -> None:
        self._bus.publish_from_thread("hub.loop_stalled", stalled_ms=round(stalled_s * 1000), stack=stack)

    def _on_failure(self, failure: ActorFailure) -> None:
        self._bus.publish(
            "hub.actor_failed",
            actor=failure.ref.name,
            error=repr(failure.error),
            traceback="".join(traceback.format_exception(failure.error)),
            restarts=failure.ref.inspect().restarts,
        )

    def _on_dead_letter(self, letter: DeadLetter) -> None:
        kind = type(letter.message).__name__
        self._bus.publish_from_thread("hub.dead_letter", actor=letter.actor, message_type=kind, reason=letter.reason)


async def _off_loop(close: Callable[[], None]) -> None:
    """Join threads on a thread of their own: what they still do may need the loop, and must not stall it.

    Not on one of the loop's executor: on a host's loop those live as long as the host.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="modhub-end") as executor:
        await finish(executor.submit(close))
