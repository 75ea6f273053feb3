"""Rest-for-one: actors that rely on those started before them are restarted with them, one after the other.

A group is the actors that were spawned with one `RestForOne` object, in the order of their start. All on the loop's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from actors.inspection import ActorState
from actors.supervision import RestForOne

if TYPE_CHECKING:
    from actors.cell import Cell

Restarter = Callable[["Cell", Exception, object | None], None]


class Interrupted(Exception):  # no failure of its own
    """An actor that the group's failed one takes with it. `cause` is what that one failed with."""

    def __init__(self, cause: Exception) -> None:
        super().__init__()
        self.cause = cause


def members(cell: Cell) -> list[Cell]:
    """Return the live actors of a cell's group in the order of their start; the cell alone where it has none."""
    if not isinstance(cell.supervision, RestForOne):
        return [cell]
    return [other for other in cell.system.cells() if other.supervision is cell.supervision]


def interrupt_rest(cell: Cell, group: list[Cell], error: Exception, crash: Callable[[Cell, Exception], None]) -> None:
    """Have all that started after a crashed actor come to rest, the last one first."""
    for other in reversed(group[group.index(cell) + 1 :]):
        if other.defect is not None or other.killed:
            continue
        if other.task is not None and other.state in {ActorState.IDLE, ActorState.STARTING}:
            other.defect = Interrupted(error)  # its end is its crash
            other.task.cancel()
        elif other.state is ActorState.IDLE:
            crash(other, Interrupted(error))


def end_rest(cell: Cell, group: list[Cell], kill: Callable[[Cell], None]) -> None:
    """Kill the others of a group that was given up: the last one first, so that none restarts for another's end."""
    for other in reversed(group):
        if other is not cell:
            kill(other)


def advance(cell: Cell, restart: Restarter) -> None:
    """Restart the first of a group that waits for it, once all before it have started and none is still at work."""
    group = members(cell)
    if any(other.defect is not None for other in group):
        return
    for other in group:
        if other.state is ActorState.STARTING:
            return
        if other.state is ActorState.RESTARTING:
            if other.held is not None:  # else its delay is not over
                held, other.held = other.held, None
                restart(other, *held)  # and the next one when it has started
            return
