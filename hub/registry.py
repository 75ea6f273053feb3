"""The registry: resolves the name of a module to its cell and forwards, and never waits.

A module has a cell only while there is something to do or to hold: ten thousand hibernated ones are rows and entries.
"""

from __future__ import annotations

from typing import Any

import pykka

from actors import Actor, OneForOne, Ref
from hub.acceptance import accept, check_texts
from hub.config import check_module_id
from hub.delivery import Delivery
from hub.directory import Entry
from hub.errors import HubClosed, InvalidMessage, ModhubError, ModuleNotFound, UnknownKind
from hub.info import ModuleInfo
from hub.lifecycle import State
from hub.messages import (
    Describe,
    DescribeBackend,
    DescribeHub,
    DescribeOperation,
    DescribeUsage,
    FindModules,
    ListKinds,
    ListModules,
    ListOperations,
    Provision,
    ReadEvents,
    ReadLog,
    Subscribe,
    Touch,
)
from hub.module import Module
from hub.module_query import find_modules
from hub.orders import BeginClosing, ChildExited, KillHung, Release, Relist, Supervise, cell_name
from hub.requests import ASKED, REQUESTS
from hub.services import Services


class Registry(Actor):
    """Takes every message for the hub."""

    domain_errors = (ModhubError,)
    mailbox_capacity = 100_000

    def __init__(self, services: Services, supervision: OneForOne, watchdog: Ref[Any]) -> None:
        super().__init__()
        self._services = services
        self._watchdog = watchdog
        self._supervision = supervision

    def on_start(self) -> None:
        """Give every module whose process was adopted its cell, which is told of its end."""
        for entry in self._services.directory.provisioned():
            if entry.instance is not None:
                cell = self._cell(entry.record.module_id)
                if not entry.instance.alive:  # since when there was no cell to tell
                    cell.tell(ChildExited(entry.epoch))

    def on_receive(self, message: Any) -> Any:
        """Answer what needs no module, forward the rest to the module's cell."""
        directory = self._services.directory
        check_texts(message)
        match message:
            case Touch(module_id):  # first, for it comes with every request through a proxy
                return self._touch(module_id)
            case Describe(module_id):
                return directory.describe(self._find(module_id))
            case ListModules():
                return self._list()
            case FindModules():
                return find_modules(directory, message)
            case DescribeUsage(module_id):
                usage = self._find(module_id).usage
                return usage.samples() if usage is not None else ()
            case ReadLog(module_id):
                self._find(module_id)
                return self.forward(self._actor("log-reader"))
            case ReadEvents():
                return self._services.history.read(message)
            case DescribeHub():
                return self._services.counters.describe(self._services)
            case ListKinds():
                return self._kinds()
            case ListOperations(transfers_only):
                return tuple(o.info() for o in self._services.ledger.open() if o.progress or not transfers_only)
            case DescribeBackend():
                return self._services.transfers.availability.status()
            case DescribeOperation(op_id):
                return self._services.ledger.find(op_id).info()
            case Subscribe(subscriber):
                return self._subscribe(subscriber)
            case Release(module_id):
                return self._release(module_id)
            case KillHung(module_id):
                return self.forward(self._services.cells[module_id]) if module_id in self._services.cells else None
            case Relist(module_id):
                return None if self._services.closing else self.forward(self._cell(module_id))
            case BeginClosing():
                return self._begin_closing()
            case _ if type(message) in REQUESTS:
                return self._forward(message)
            case _:
                raise InvalidMessage(
                    f"the registry takes no {type(message).__name__}", hint="its messages: hub.messages"
                )

    def _find(self, module_id: str) -> Entry:
        entry = self._services.directory.find(check_module_id(module_id))
        if entry is None or not (entry.tracked or self._has_queue(module_id)):
            raise ModuleNotFound(f"the hub tracks no module {module_id!r}", hint="provision it first")
        return entry

    def _has_queue(self, module_id: str) -> bool:
        cell = self._services.cells.get(module_id)
        return cell is not None and cell.inspect().queued > 0

    def _list(self) -> tuple[ModuleInfo, ...]:
        directory = self._services.directory
        return tuple(directory.describe(e) for e in sorted(directory.tracked(), key=lambda e: e.record.module_id))

    def _touch(self, module_id: str) -> ModuleInfo:
        entry = self._find(module_id)
        # Elsewhere it would only make the watchdog's pending decisions stale.
        if entry.record.state in {State.PROVISIONED, State.HIBERNATED}:
            self._services.directory.touch(entry)
        return self._services.directory.describe(entry)

    def _subscribe(self, subscriber: pykka.ActorRef[Any]) -> None:
        if not isinstance(subscriber, pykka.ActorRef):  # pyright: ignore[reportUnnecessaryIsInstance] # plugins may be untyped
            raise InvalidMessage(f"{subscriber!r:.100} is no actor's ref", hint="subscribe an ActorRef")
        bus = self._services.bus
        delivery = Delivery(subscriber.actor_urn, subscriber, bus)
        # It may ask again: an actor that subscribes when it starts does so at each restart, inside the same cell.
        bus.unsubscribe(delivery)
        bus.subscribe(delivery)

    def _forward(self, message: Any) -> Any:
        module_id = check_module_id(message.module_id)
        if self._services.closing:
            raise HubClosed(f"{REQUESTS[type(message)]} of module {module_id!r} was not started: the hub is closing")
        kinds = self._services.config.kinds
        if isinstance(message, Provision) and message.kind is not None and message.kind not in kinds:
            raise UnknownKind(f"{message.kind!r} is no kind", hint=f"configured: {', '.join(sorted(kinds))}")
        cell = self._cell(module_id)
        return self.forward(cell, on_dropped=accept(self._services, message) if isinstance(message, ASKED) else None)

    def _kinds(self) -> tuple[str, ...]:
        config = self._services.config
        return (config.default_kind, *sorted(config.kinds.keys() - {config.default_kind}))

    def _actor(self, name: str) -> Ref[Any]:
        ref = self.system.get(name)
        assert ref is not None, f"{name} is started before the registry, and ends after it"
        return ref

    def _cell(self, module_id: str) -> Ref[Module]:
        cell = self._services.cells.get(module_id)
        if cell is None or not cell.is_alive():
            name = cell_name(module_id, next(self._services.cell_numbers))
            cell = self._services.cells[module_id] = self.system.spawn(
                Module, module_id, self._services, self.actor_ref, name=name, supervision=self._supervision
            )
            self._watchdog.tell(Supervise(cell))
        return cell

    def _release(self, module_id: str) -> None:
        cell = self._services.cells.get(module_id)
        if cell is None:
            return
        info = cell.inspect()
        entry = self._services.directory.find(module_id)
        # Everything for a module comes through here, so nothing can arrive between this look and the stop.
        if info.queued or info.system_queued or (entry is not None and entry.tracked):
            return
        if info.current is not None:  # at the end of its handler, or at the beginning of the next: look again
            self.after(0, Release(module_id))
            return
        del self._services.cells[module_id]
        self._services.directory.drop(module_id)
        cell.stop(block=False)

    def _begin_closing(self) -> tuple[Ref[Any], ...]:
        self._services.closing = True
        if self._services.config.on_exit == "deprovision":
            for entry in list(self._services.directory.tracked()):
                self._cell(entry.record.module_id)
        return tuple(self._services.cells.values())
