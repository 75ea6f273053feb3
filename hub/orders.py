"""Messages within the hub: what the watchdog's actors and the hub itself tell a module or the registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from actors import Message, Ref, SystemMessage
from hub.directory import Entry
from hub.info import ModuleInfo


@dataclass(frozen=True, slots=True)
class Decided:
    """What a decision was based on; a module drops an order if either has moved since.

    Attributes:
        epoch: number of the module's last start.
        activity: its count of activities and operations; `None` = whatever it does, as where its lease is lost.
    """

    epoch: int
    activity: int | None

    @classmethod
    def on(cls, entry: Entry) -> Decided:
        """Note what a decision about a module is based on."""
        return cls(entry.epoch, entry.activity)

    def stale(self, entry: Entry) -> bool:
        """Tell whether the module has moved on since."""
        return entry.epoch != self.epoch or self.activity not in {None, entry.activity}


@dataclass(frozen=True, slots=True)
class Recover(Message[ModuleInfo | None]):
    """Start the process of a crashed module again; or, `spent`, give it up and send its data home."""

    module_id: str
    decided: Decided
    op_id: str
    spent: bool


@dataclass(frozen=True, slots=True)
class SendHome(Message[ModuleInfo | None]):
    """Deprovision for the hub's own reasons: idle, a try that failed, or a lease that is lost."""

    module_id: str
    decided: Decided
    op_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class FinishObliteration(Message[object]):
    """Obliterate again what was not complete."""

    module_id: str
    decided: Decided
    op_id: str


@dataclass(frozen=True, slots=True)
class Suspend(Message[ModuleInfo | None]):
    """Hibernate, by force where it has to be, for the hub's own reasons: a lease that has run out."""

    module_id: str
    decided: Decided
    op_id: str
    reason: str


LEASE_LOST = "lease_lost"
"""The reason of a `SendHome` that is not to wait for anything: another hub may be serving the module already."""

Order = Recover | SendHome | FinishObliteration | Suspend


@dataclass(frozen=True, slots=True)
class ChildExited(SystemMessage[None]):
    """An instance has ended."""

    epoch: int


@dataclass(frozen=True, slots=True)
class KillHung(SystemMessage[None]):
    """An instance missed its liveness probes."""

    module_id: str
    epoch: int
    misses: int


@dataclass(frozen=True, slots=True)
class Relist(SystemMessage[None]):
    """List an obliterated module's place in the backend again."""

    module_id: str


@dataclass(frozen=True, slots=True)
class CheckpointTaken(SystemMessage[None]):
    """The backend has the module's data as it was at this time, in seconds since the epoch."""

    at: float


@dataclass(frozen=True, slots=True)
class Retire(SystemMessage[None]):
    """The hub ends: come to rest."""


@dataclass(frozen=True, slots=True)
class Release(Message[None]):
    """A module's cell has nothing more to hold."""

    module_id: str


@dataclass(frozen=True, slots=True)
class Supervise(Message[None]):
    """A module got a cell: watch over it."""

    cell: Ref[Any]


def cell_name(module_id: str, number: int) -> str:
    """Return the name of a module's cell; numbered, since one that was let go may still be on its way out."""
    return f"module/{module_id}#{number}"


def module_of(cell: Ref[Any]) -> str:
    """Return the module that a cell is of."""
    return cell.name.removeprefix("module/").rpartition("#")[0]


@dataclass(frozen=True, slots=True)
class NotCarriedOut(Message[None]):
    """An order led to nothing, not even to an event: what it was for has to be decided anew."""

    module_id: str


@dataclass(frozen=True, slots=True)
class BeginClosing(SystemMessage[tuple[Ref[Any], ...]]):
    """Take no more operations; the reply is every module's cell that has to come to rest."""
