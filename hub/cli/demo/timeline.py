"""The modules' transitions as a picture of text: one lane a module, time from left to right, short moments widened."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hub.cli.demo.recording import Transition
from hub.cli.terminal import Symbols, Terminal, duration
from hub.lifecycle import State

_COLOURS = {
    State.PROVISIONED: "green",
    State.HIBERNATED: "blue",
    State.CRASHED: "red",
    State.RECOVERING: "magenta",
    State.OBLITERATING: "red",
}
_STABLE_MEANING = {
    State.PROVISIONED: "provisioned: its process runs",
    State.HIBERNATED: "hibernated: no process, data kept",
    State.CRASHED: "crashed",
    State.UNPROVISIONED: "unprovisioned: nothing here",
}
_TICK_GAP = 2


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment that the picture names: the beginning of a step."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Axis:
    """Time as columns: `times[n]` begins at column `columns[n]`; the last entry is the end."""

    times: tuple[float, ...]
    columns: tuple[int, ...]

    def column(self, at: float) -> int:
        """Return the column at which a moment begins."""
        return self.columns[max(0, bisect.bisect_right(self.times, at) - 1)]


def scale(moments: Sequence[float], marks: Sequence[Mark], end: float, width: int) -> Axis:
    """Give each interval between two moments at least one column, each mark room for its label, and share the rest.

    What is left is shared by the square root of the durations: long intervals look longer, and none eats all of it.

    Args:
        moments: when something changed.
        marks: moments with a label.
        end: when the picture ends.
        width: columns there are.

    Returns:
        The axis. Where there are more moments than columns, those that are closest to the one before share its column.
    """
    times = sorted({*moments, *(mark.at for mark in marks), end})
    while len(times) - 1 > width:
        closest = min(range(1, len(times) - 1), key=lambda n: times[n] - times[n - 1])
        del times[closest]
    lengths = [after - before for before, after in itertools.pairwise(times)]
    widths = [1] * len(lengths)
    spare = width - len(widths)
    starts = [max(0, bisect.bisect_right(times, mark.at) - 1) for mark in marks]
    for mark, (first, after) in zip(marks, itertools.pairwise([*starts, len(lengths)]), strict=True):
        if first < after:
            lacking = min(spare, max(0, len(mark.label) + 1 - sum(widths[first:after])))
            widths[max(range(first, after), key=lengths.__getitem__)] += lacking
            spare -= lacking
    shares = [math.sqrt(length) for length in lengths]
    # Cumulated, then rounded: the rounding errors of many narrow intervals do not add up.
    edges = [round(spare * share / (sum(shares) or 1.0)) for share in itertools.accumulate(shares, initial=0.0)]
    widths = [width + after - before for width, (before, after) in zip(widths, itertools.pairwise(edges), strict=True)]
    return Axis(tuple(times), tuple(itertools.accumulate(widths, initial=0)))


def glyph(state: State, symbols: Symbols) -> str:
    """Return the character of a state: the initial of a transitional one, a block for the others."""
    match state:
        case State.PROVISIONED:
            return symbols.full
        case State.HIBERNATED:
            return symbols.light
        case State.CRASHED:
            return symbols.cross
        case State.UNPROVISIONED:
            return symbols.dot
        case _:
            return state.value[0].upper()


def draw(transitions: Sequence[Transition], marks: Sequence[Mark], end: float, terminal: Terminal) -> list[str]:
    """Draw the picture.

    Args:
        transitions: the changes of state, in their order.
        marks: beginnings of steps.
        end: when the last state ends.
        terminal: what it is drawn on.

    Returns:
        Its lines; none where nothing changed.
    """
    if not transitions:
        return []
    modules = list(dict.fromkeys(change.module_id for change in transitions))
    margin = max(map(len, modules)) + 2
    axis = scale([change.at for change in transitions], marks, end, terminal.width - margin)
    indent = " " * margin
    lines = [indent + _labels([(axis.column(mark.at), mark.label) for mark in marks], gap=1)]
    for module_id in modules:
        own = [change for change in transitions if change.module_id == module_id]
        lines.append(module_id.ljust(margin) + _lane(own, axis, terminal))
    origin = axis.times[0]
    ticks = [(column, duration(at - origin)) for at, column in zip(axis.times, axis.columns, strict=True)]
    lines.append(terminal.paint(indent + _labels(_thinned(ticks, axis.columns[-1]), gap=_TICK_GAP), dim=True))
    return [line.rstrip() for line in (*lines, "", *_legend(transitions, terminal))]


def _lane(changes: Sequence[Transition], axis: Axis, terminal: Terminal) -> str:
    states = [State(changes[0].from_state), *(State(change.to_state) for change in changes)]
    columns = [0, *(axis.column(change.at) for change in changes), axis.columns[-1]]
    blocks = zip(states, itertools.pairwise(columns), strict=True)
    return "".join(
        _painted(glyph(state, terminal.symbols) * (after - first), state, terminal) for state, (first, after) in blocks
    )


def _painted(text: str, state: State, terminal: Terminal) -> str:
    if state is State.UNPROVISIONED:
        return terminal.paint(text, dim=True)
    return terminal.paint(text, _COLOURS.get(state, "yellow"))


def _thinned(ticks: Sequence[tuple[int, str]], width: int) -> list[tuple[int, str]]:
    """Choose ticks about a seventh of the width apart; the end is always among them."""
    end_column, end_label = ticks[-1]
    last = (min(end_column, width - len(end_label)), end_label)
    chosen: list[tuple[int, str]] = []
    for column, label in ticks[:-1]:
        far_enough = not chosen or column - chosen[-1][0] >= width // 7
        if far_enough and column + len(label) + _TICK_GAP <= last[0]:
            chosen.append((column, label))
    return [*chosen, last]


def _labels(labels: Sequence[tuple[int, str]], gap: int) -> str:
    """Write labels at their columns; one that would run into the one before is left out."""
    line = ""
    for column, label in labels:
        if not line or column >= len(line) + gap:
            line = line.ljust(column) + label
    return line


def _legend(transitions: Sequence[Transition], terminal: Terminal) -> list[str]:
    seen = {State(name) for change in transitions for name in (change.from_state, change.to_state)}
    stable = [(state, meaning) for state, meaning in _STABLE_MEANING.items() if state in seen]
    passing = [(state, state.value) for state in State if state in seen and not state.stable]
    width = max(len(meaning) for _, meaning in stable) + 4
    return [*_entries(stable, 2, width, terminal), *_entries(passing, 3, 19, terminal)]


def _entries(entries: Sequence[tuple[State, str]], in_row: int, width: int, terminal: Terminal) -> list[str]:
    write: Callable[[State, str], str] = lambda state, meaning: (  # noqa: E731 - used once, below
        f"{_painted(glyph(state, terminal.symbols), state, terminal)} {meaning.ljust(width - 2)}"
    )
    rows = [entries[first : first + in_row] for first in range(0, len(entries), in_row)]
    return ["  " + "".join(write(state, meaning) for state, meaning in row) for row in rows]
