"""Who may transfer: the decisions."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.lanes import LONG_BYTES, Lanes, choose_next, is_long, must_yield

LONG, SHORT = True, False


@pytest.mark.parametrize(
    ("slots", "for_long"), [(1, 1), (2, 1), (3, 2), (4, 3), (5, 4), (7, 6), (8, 6), (12, 9), (64, 48)]
)
def test_a_quarter_of_the_slots_is_kept(slots: int, for_long: int) -> None:
    """A quarter, and at least one, is not for long transfers; a single slot can't be kept for anybody."""
    assert Lanes(slots).for_long == for_long


@pytest.mark.parametrize(
    ("done", "total", "long"),
    [(0, 0, False), (0, LONG_BYTES, False), (0, LONG_BYTES + 1, True), (LONG_BYTES + 1, 0, True), (5, 10, False)],
)
def test_a_transfer_is_long_by_what_it_has_to_move(done: int, total: int, long: bool) -> None:
    """Known beforehand or found out on the way: much to move makes it long."""
    assert is_long(done, total) is long


@pytest.mark.parametrize(
    ("slots", "running", "waiting", "chosen"),
    [
        pytest.param(4, [], [], None, id="nobody-waits"),
        pytest.param(4, [], [LONG, SHORT], 0, id="in-the-order-of-arrival"),
        pytest.param(4, [LONG, LONG], [LONG, SHORT], 0, id="room-for-one-more-long"),
        pytest.param(4, [LONG, LONG, LONG], [LONG, LONG, SHORT], 2, id="short-passes-long"),
        pytest.param(4, [LONG, LONG, LONG], [LONG], None, id="the-kept-slot-is-not-for-long"),
        pytest.param(4, [LONG, LONG, LONG, SHORT], [SHORT], None, id="all-slots-taken"),
        pytest.param(4, [SHORT, SHORT, SHORT], [SHORT], 0, id="short-may-have-all-slots"),
        pytest.param(1, [], [LONG], 0, id="a-single-slot-is-for-all"),
    ],
)
def test_the_next_is_chosen(slots: int, running: Sequence[bool], waiting: Sequence[bool], chosen: int | None) -> None:
    """The first in the order for whom there is room."""
    assert choose_next(Lanes(slots), running, waiting) == chosen


@given(slots=st.integers(2, 12), sizes=st.lists(st.booleans(), max_size=40), data=st.data())
def test_no_small_one_waits_for_a_large_one_and_no_large_one_for_ever(
    slots: int, sizes: list[bool], data: st.DataObject
) -> None:
    """Whoever turns out long when, and ends when: a small one that could run never waits, and all come to their end."""
    lanes = Lanes(slots)
    waiting = [(place, SHORT) for place in range(len(sizes))]  # before they run, nobody knows how large they are
    running: list[tuple[int, bool]] = []
    turns = 0
    while waiting or running:
        turns += 1
        assert turns < 10 * len(sizes) + 10
        while (index := choose_next(lanes, [r[1] for r in running], [w[1] for w in waiting])) is not None:
            running.append(waiting.pop(index))
        assert len(running) <= slots
        assert sum(long for _, long in running) <= lanes.for_long
        found_out = [r for r in running if sizes[r[0]] and not r[1]]
        if found_out:
            place, _ = data.draw(st.sampled_from(found_out))
            running.remove((place, SHORT))
            if must_yield(lanes, sum(long for _, long in running)):
                waiting = sorted([*waiting, (place, LONG)])
            else:
                running.append((place, LONG))
            continue
        # Every slot that no long one may have is with a small one, or nobody small waits.
        assert len(running) == slots or all(long for _, long in waiting)
        running.remove(data.draw(st.sampled_from(running)))
