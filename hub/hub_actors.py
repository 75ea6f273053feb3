"""The actors of a hub: which there are, who restarts them, and what events each is told of."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pykka

from actors import Actor, ActorSystem, Backoff, OneForOne, Ref
from hub.events import Event
from hub.log_reader import LogReader
from hub.plugins import Plugin, load_plugins
from hub.registry import Registry
from hub.services import Services
from hub.watchdog import (
    BackendWatch,
    CheckpointEnded,
    CheckpointSchedule,
    DiskWatch,
    IdleSweep,
    LeaseWatch,
    Liveness,
    Observed,
    Relisting,
    Resume,
    Unavailable,
    UsageSampler,
    Watchdog,
)

# A module's actor that fails more often than this is parked: by then its defect is none that goes away.
_MODULE_SUPERVISION = OneForOne(intensity=3, period_s=60.0, backoff=Backoff(base_s=0.1, max_s=5.0))
# Those that the hub can't be without are restarted for as long as it runs, ever more slowly.
_HUB_SUPERVISION = OneForOne(intensity=1000, period_s=60.0, backoff=Backoff(base_s=0.1, max_s=5.0))
_WATCHED = frozenset({"module.transition", "module.resolved", "backend.available", "hub.disk_ok"})


@dataclass(frozen=True, slots=True)
class HubActors:
    """Those that the hub speaks to itself."""

    registry: Ref[Registry]
    watchdog: Ref[Watchdog]
    lease_watch: Ref[LeaseWatch]


def start_actors(
    system: ActorSystem, services: Services, plugins: Sequence[Plugin], stack: contextlib.AsyncExitStack
) -> HubActors:
    """Start all of them.

    Args:
        system: where they run.
        services: the hub's parts.
        plugins: plugins beyond the installed ones.
        stack: gets how their listening is undone.
    """

    def spawn(actor: type[Actor], *args: Any, name: str) -> Ref[Any]:
        return system.spawn(actor, services, *args, name=name, supervision=_HUB_SUPERVISION)

    watchdog = spawn(Watchdog, name="watchdog")
    spawn(LogReader, name="log-reader")  # before the registry, which forwards to it: they end in the opposite order
    registry = spawn(Registry, _MODULE_SUPERVISION, watchdog, name="registry")
    backend_watch = spawn(BackendWatch, name="backend-watch")
    lease_watch = spawn(LeaseWatch, name="lease-watch")

    def tell_watchdogs(event: Event) -> None:
        with contextlib.suppress(pykka.ActorDeadError):
            if event.name in _WATCHED:
                watchdog.tell(Observed(event))
            elif event.name == "backend.unavailable":
                backend_watch.tell(Unavailable())
            if event.name == "backend.available":
                lease_watch.tell(Resume())

    _listen(services, stack, tell_watchdogs)
    config = services.config
    if config.checkpoint_interval is not None:
        schedule = spawn(CheckpointSchedule, config.checkpoint_interval, name="checkpoint-schedule")

        def tell_schedule(event: Event) -> None:
            ended = CheckpointEnded.of(event)
            if ended is not None:
                with contextlib.suppress(pykka.ActorDeadError):
                    schedule.tell(ended)

        _listen(services, stack, tell_schedule)
    spawn(IdleSweep, name="idle-sweep")
    spawn(Relisting, name="relisting")
    spawn(DiskWatch, name="disk-watch")
    if config.usage_interval:
        spawn(UsageSampler, config.usage_interval, name="usage")
    spawn(Liveness, name="liveness")
    load_plugins(system, registry, plugins, services.bus, _HUB_SUPERVISION)
    return HubActors(registry, watchdog, lease_watch)


def _listen(services: Services, stack: contextlib.AsyncExitStack, listener: Callable[[Event], None]) -> None:
    services.bus.subscribe(listener)
    stack.callback(services.bus.unsubscribe, listener)
