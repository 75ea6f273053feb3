"""What is remembered of events: everything of late, more of each module, and nothing of one that was obliterated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import InvalidMessage, InvalidModuleId
from hub.events import EventBus
from hub.history import EventHistory
from hub.info import EventPage
from hub.lifecycle import State
from hub.messages import ReadEvents


class Told:
    """A bus whose events are remembered."""

    def __init__(self, **bounds: int) -> None:
        self.bus = EventBus(lambda: 1.7e9)
        self.history = EventHistory(self.bus.run_id, **bounds)
        self.bus.subscribe(self.history.record)

    def tell(self, *modules: str | None, name: str = "module.hung") -> None:
        for module_id in modules:
            self.bus.publish(name, module_id)

    def read(self, module_id: str | None = None, after: int | None = None, limit: int = 1000) -> EventPage:
        return self.history.read(ReadEvents(module_id, after, limit))

    def numbers(self, module_id: str | None = None, after: int | None = None, limit: int = 1000) -> list[int]:
        return [event.number for event in self.read(module_id, after, limit).events]


def test_an_event_is_told_as_it_was_published() -> None:
    """Number, time, name, module, operation and attributes; with the run that they are of."""
    told = Told()
    told.bus.publish("module.hung", "m", "op", misses=3)
    page = told.read()
    (event,) = page.events
    assert (event.number, event.at, event.name, event.module_id, event.op_id) == (1, 1.7e9, "module.hung", "m", "op")
    assert event.fields == {"misses": 3}
    assert (page.run_id, page.last, page.missed) == (told.bus.run_id, 1, False)


def test_the_last_events_come_without_a_number() -> None:
    """Whoever begins gets the newest ones, in their order, of all or of one module."""
    told = Told()
    told.tell("a", "b", None, "a", "b")
    assert told.numbers(limit=2) == [4, 5]
    assert told.numbers("a", limit=1) == [4]
    assert told.numbers("a") == [1, 4]
    assert told.read().last == 5


def test_whoever_goes_on_gets_the_next_ones() -> None:
    """After a number come the first ones that follow, as many as asked for: page by page nothing is left out."""
    told = Told()
    told.tell("a", "b", "a", "b", "a")
    assert told.numbers(after=0, limit=2) == [1, 2]
    assert told.numbers(after=2, limit=2) == [3, 4]
    assert told.numbers(after=4) == [5]
    assert told.numbers(after=5) == []
    assert told.numbers("a", after=1) == [3, 5]
    assert not told.read(after=5).missed


def test_a_number_of_another_run_finds_nothing() -> None:
    """A number that this run has not reached has nothing after it; by the run's id the caller knows better."""
    told = Told()
    told.tell("a")
    page = told.read(after=1000)
    assert (page.events, page.last, page.missed) == ((), 1, False)


def test_only_so_many_are_remembered() -> None:
    """The newest ones stay; whoever asks for older ones is told that some are missing, and gets the rest."""
    told = Told(recent=3, per_module=0, total=3)
    told.tell(*[None] * 10)
    assert len(told.history) == 3
    assert told.numbers(after=7) == [8, 9, 10]
    assert not told.read(after=7).missed
    assert told.numbers(after=6) == [8, 9, 10]
    assert told.read(after=6).missed


def test_a_quiet_modules_events_outlive_a_noisy_ones() -> None:
    """Each module's last ones are kept beyond the newest of all, and its own limit bounds the noisy one."""
    told = Told(recent=3, per_module=2, total=100)
    told.tell("quiet", "quiet", *["noisy"] * 10)
    assert told.numbers("quiet") == [1, 2]
    assert told.numbers("noisy") == [10, 11, 12]
    assert told.numbers(after=0) == [10, 11, 12]
    assert not told.read("quiet", after=0).missed
    assert told.read("noisy", after=0).missed
    assert not told.read("noisy", after=9).missed
    assert len(told.history) == 5


def test_ten_thousand_modules_are_bounded_together() -> None:
    """However many modules there are, no more than the total is kept; the longest ago goes first, and it is told."""
    told = Told(recent=10, per_module=5, total=50)
    told.tell(*(f"m{number}" for number in range(200) for _ in range(2)))
    assert len(told.history) == 50
    assert told.numbers("m0") == []
    assert told.read("m0", after=0).missed
    assert told.numbers("m199") == [399, 400]
    assert not told.read("m199", after=398).missed


def test_an_obliterated_module_leaves_nothing_but_the_word_that_it_is_gone() -> None:
    """Its own events go when the last one is out, those among the newest too; the others stay, and none is missed."""
    told = Told()
    told.tell("m", "other", "m")
    told.tell("m", name="module.obliterated")
    told.tell("other")
    assert told.numbers("m") == []
    assert [(event.number, event.name) for event in told.read(after=0).events] == [
        (2, "module.hung"),
        (4, "module.obliterated"),
        (5, "module.hung"),
    ]
    assert not told.read(after=0).missed
    assert len(told.history) == 3


def test_the_word_of_an_obliteration_is_forgotten_like_others() -> None:
    """It belongs to no module's own history, and makes room when it is not among the newest any more."""
    told = Told(recent=2, per_module=5, total=50)
    told.tell("m", name="module.obliterated")
    told.tell(None, None)
    assert told.numbers(after=0) == [2, 3]
    assert len(told.history) == 2


def test_what_is_told_after_an_obliteration_begins_no_history() -> None:
    """An epilogue stands among the newest events for a while, as the obliteration itself; the module has no history."""
    told = Told(recent=3, per_module=5, total=50)
    told.tell("m", "m")
    told.tell("m", name="module.obliterated")
    told.tell("m", name="module.relisted")
    assert told.numbers("m") == []
    assert told.numbers() == [3, 4]
    told.tell(None, None, None)
    assert len(told.history) == 3
    told.tell("m")
    told.tell("m", name="module.relisted")
    assert told.numbers("m") == [8, 9]


def test_a_module_that_comes_back_has_a_history_again() -> None:
    """What happens to a name after its obliteration is remembered as of any other."""
    told = Told()
    told.tell("m")
    told.tell("m", name="module.obliterated")
    told.tell("m")
    assert told.numbers("m") == [3]


def test_long_texts_are_cut_in_memory() -> None:
    """The end of an output or a traceback is kept, some thousand characters; who listens gets all of it."""
    told = Told()
    whole: list[Any] = []
    told.bus.subscribe(whole.append)
    told.bus.publish("module.crashed", "m", output="x" * 100_000 + "the end", exit_status=1)
    (event,) = told.read().events
    assert len(event.fields["output"]) < 3000
    assert event.fields["output"].endswith("the end")
    assert event.fields["exit_status"] == 1
    assert len(whole[0].fields["output"]) == 100_007


@pytest.mark.parametrize(
    ("value", "told"),
    [("caf\udce9.txt", "caf?.txt"), (2**80, str(2**80)), (Path("/a"), "/a"), (State.CRASHED, "crashed")],
)
def test_whatever_is_told_is_remembered(value: object, told: str) -> None:
    """An error that names a file in another encoding, or any odd value, makes no event fail that reports it."""
    history = Told()
    history.bus.publish("operation.failed", "m", "op", error=value)
    (event,) = history.read("m").events
    assert event.fields == {"error": told}


@pytest.mark.parametrize(
    "given",
    [
        {"limit": 0},
        {"limit": 1001},
        {"limit": True},
        {"limit": "5"},
        {"limit": None},
        {"after": -1},
        {"after": 1.5},
        {"after": "1"},
    ],
)
def test_what_can_not_be_asked_is_refused(given: dict[str, Any]) -> None:
    """A number out of its range is the caller's error, and named."""
    with pytest.raises(InvalidMessage, match=next(iter(given))):
        Told().history.read(ReadEvents(**given))


def test_a_module_id_that_is_none_is_refused() -> None:
    """Nobody's events are asked for by a name that no module can have."""
    with pytest.raises(InvalidModuleId):
        Told().read("../etc")


NAMES = st.sampled_from(["module.hung", "module.hung", "module.obliterated"])
STEPS = st.lists(st.tuples(st.sampled_from(["a", "b", "c", None]), NAMES), max_size=60)


@given(STEPS, st.integers(1, 10), st.integers(0, 6), st.integers(0, 10))
def test_any_history_agrees_with_a_list_of_all(
    steps: list[tuple[str | None, str]], recent: int, per_module: int, more: int
) -> None:
    """Against a plain list of all events: bounds hold, the newest are all there, and `missed` tells of every gap."""
    told = Told(recent=recent, per_module=per_module, total=recent + more)
    everything: list[tuple[int, str | None, str]] = []
    own: dict[str | None, list[int]] = {"a": [], "b": [], "c": []}
    for number, (module_id, given_name) in enumerate(steps, 1):
        name = given_name if module_id is not None else "hub.stopping"
        told.tell(module_id, name=name)
        if name == "module.obliterated":
            everything = [event for event in everything if event[0] not in own[module_id]]
            own[module_id] = []
        elif module_id is not None:
            own[module_id].append(number)
        everything.append((number, module_id, name))
        assert len(told.history) <= recent + more
        assert told.numbers(after=0) == [event[0] for event in everything if event[0] > number - recent]
    for module_id in ("a", "b", "c"):
        for after in range(len(steps) + 1):
            wanted = [number for number in own[module_id] if number > after]
            page = told.numbers(module_id, after)
            assert page == wanted[len(wanted) - len(page) :]
            assert told.read(module_id, after).missed or page == wanted
