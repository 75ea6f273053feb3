"""The picture of the transitions: a pure function of them."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st

from hub.cli.demo.recording import Transition
from hub.cli.demo.timeline import Mark, draw, scale
from hub.cli.terminal import UNICODE, Terminal

MOMENTS = st.lists(st.floats(0, 1000), min_size=1, max_size=120)


def terminal(width: int = 80, *, colour: bool = False) -> Terminal:
    return Terminal(io.StringIO(), width, colour, UNICODE)


@given(MOMENTS, st.lists(st.floats(0, 1000), max_size=30), st.integers(20, 100))
def test_the_axis_fills_its_width(moments: list[float], marks: list[float], width: int) -> None:
    """Whatever happened when, columns rise with time, none is negative, and the last one is the width."""
    axis = scale(moments, [Mark(at, "1") for at in sorted(marks)], 1001, width)
    assert list(axis.columns) == sorted(axis.columns)
    assert (axis.columns[0], axis.columns[-1]) == (0, width)


def test_a_short_state_is_seen_beside_a_long_one() -> None:
    """A state that lasted a microsecond has a column of its own, beside one that lasted an hour."""
    changes = [
        Transition(0.0, "a", "unprovisioned", "provisioning"),
        Transition(0.000001, "a", "provisioning", "provisioned"),
    ]
    lane = draw(changes, [], 3600.0, terminal())[1]
    assert lane.startswith("a  P███")
    assert len(lane) == 80


def test_labels_never_run_into_each_other() -> None:
    """Steps that are too close for their numbers share one."""
    changes = [Transition(float(n), "a", "provisioned", "hibernating") for n in range(2)]
    marks = [Mark(0.0, "10"), Mark(0.0, "11"), Mark(1.0, "12")]
    assert draw(changes, marks, 2.0, terminal())[0].split() == ["10", "12"]


def test_more_changes_than_columns_still_fit() -> None:
    """With more changes than columns the picture keeps its width."""
    changes = [Transition(float(n), "a", "provisioned", "crashed") for n in range(500)]
    lines = draw(changes, [], 500.0, terminal(60))
    assert len(lines[1]) == 60


def test_nothing_changed_is_no_picture() -> None:
    """Without transitions there is no picture."""
    assert draw([], [Mark(0.0, "1")], 1.0, terminal()) == []


def test_colour_only_where_it_makes_sense() -> None:
    """Lanes are coloured on a terminal that shows colours, and plain elsewhere."""
    changes = [Transition(0.0, "a", "unprovisioned", "provisioned")]
    assert "\x1b[32m" in "".join(draw(changes, [], 1.0, terminal(colour=True)))
    assert "\x1b[" not in "".join(draw(changes, [], 1.0, terminal()))
