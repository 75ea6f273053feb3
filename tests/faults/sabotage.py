"""The product broken on purpose, for a test that such defects are seen."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Iterable
from typing import Any

import msgspec

from hub import resolution, runtime
from hub.instance.ports import PortAllocator
from hub.layout import Layout
from hub.lifecycle import State
from hub.operations import Work
from hub.record import ModuleRecord
from hub.services import Services


def _clean_before_the_commit() -> None:
    """The data counts as sent home before it is."""

    async def send_home(work: Work) -> None:
        base = work.record.base
        await work.note("committed", dirty=False)
        await work.services.transfers.send(work.operation, base, keep_previous=False)
        await work.discard()

    _send_home_by(send_home)


def _never_sent() -> None:
    """The data is taken away, and goes nowhere."""

    async def send_home(work: Work) -> None:
        await work.note("committed", dirty=False)
        await work.discard()

    _send_home_by(send_home)


def _send_home_by(send_home: Callable[[Work], Any]) -> None:
    for name in ("deprovision", "recover"):
        module = importlib.import_module(f"hub.operations.{name}")
        assert hasattr(module, send_home.__name__)
        setattr(module, send_home.__name__, send_home)


def _told_before_the_journal() -> None:
    """An event leaves before its outcome is durable."""
    commit: Any = vars(Work)["_commit"]

    async def telling(self: Work, reason: str, **changes: Any) -> None:
        if "state" in changes:
            self.services.bus.publish(
                "module.transition", self.module_id, to_state=changes["state"].value, from_state="", reason=reason
            )
        await commit(self, reason, **changes)

    setattr(Work, commit.__name__, telling)


def _no_sweep() -> None:
    """Nobody looks for processes of an earlier hub."""

    async def take_over(services: Services, records: Iterable[ModuleRecord]) -> frozenset[str]:
        return frozenset()

    async def sweep(services: Services) -> None:
        pass

    for function in (take_over, sweep):
        assert hasattr(runtime, function.__name__)
        setattr(runtime, function.__name__, function)


def _no_clearing() -> None:
    """Scratch and trash stay as they are."""

    def clear(self: Layout, tracked: Collection[str]) -> None:
        pass

    Layout.clear_temporary = clear  # type: ignore[method-assign] # broken on purpose


def _obliteration_forgotten() -> None:
    """A start takes a half-done obliteration for a crash."""
    resolved = resolution.resolved

    def forgetting(record: ModuleRecord, now: float, *, serving: bool = False) -> ModuleRecord:
        after = resolved(record, now, serving=serving)
        return msgspec.structs.replace(after, pending=None) if record.state is State.OBLITERATING else after

    resolution.resolved = forgetting


def _ports_kept() -> None:
    """Ports are never given back."""

    def release(self: PortAllocator, port: int) -> None:
        pass

    PortAllocator.release = release  # type: ignore[method-assign] # broken on purpose


def _undone_without_intent() -> None:
    """What a failed provision brought is deleted while it counts as dirty."""
    note = Work.note

    async def silent(self: Work, step: str, **changes: Any) -> None:
        if step != "undoing":
            await note(self, step, **changes)

    Work.note = silent  # type: ignore[method-assign] # broken on purpose


SABOTAGES: dict[str, Callable[[], None]] = {
    "clean before the commit": _clean_before_the_commit,
    "never sent": _never_sent,
    "told before the journal": _told_before_the_journal,
    "no sweep": _no_sweep,
    "no clearing": _no_clearing,
    "obliteration forgotten": _obliteration_forgotten,
    "ports kept": _ports_kept,
    "undone without intent": _undone_without_intent,
}
