"""Death watch: who is told when an actor has ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from actors.message import SystemMessage

if TYPE_CHECKING:
    from actors.cell import Cell
    from actors.ref import Ref

EndReason: TypeAlias = Literal["stopped", "killed", "failed"]


@dataclass(frozen=True, slots=True)
class Terminated(SystemMessage[None]):
    """A watched actor has ended. A restart is no end.

    Attributes:
        ref: The actor that ended.
        reason: `stopped` (asked to), `killed`, or `failed` (crashed and was not restarted).
        error: The exception it failed with; None otherwise.
    """

    ref: Ref[Any]
    reason: EndReason
    error: Exception | None = None


class Watches:
    """One cell's part in death watch. Made when first needed: most actors neither watch nor are watched.

    Both directions are kept, so that whichever of the two cells ends first leaves nothing behind in the other.
    Mutated under the lock of the system that owns the *watched* cell.
    """

    __slots__ = ("watched", "watchers")

    def __init__(self) -> None:
        self.watchers: dict[Cell, None] = {}  # a dict, not a set: told in the order they asked
        self.watched: dict[Cell, None] = {}
