"""Pages of modules: which ones, in which order, and what they cost where there are ten thousand."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.directory import Directory, Entry
from hub.errors import InvalidMessage
from hub.info import ModuleInfo, UsageSample
from hub.instance import Instance
from hub.layout import Layout
from hub.lifecycle import Request, State
from hub.messages import FindModules
from hub.module_query import SORT_KEYS, find_modules
from hub.operation import Operation
from hub.record import ModuleRecord
from hub.usage_history import UsageHistory


class FakeInstance:
    """As much of an instance as is shown."""

    host, pid = "127.0.0.1", 4711

    def __init__(self, port: int) -> None:
        self.port = port


def a_directory() -> Directory:
    return Directory(Layout(Path("/data")), lambda: 1000.0)


def add(directory: Directory, module_id: str, state: State = State.HIBERNATED, **fields: Any) -> Entry:
    return directory.put(ModuleRecord(module_id, fields.pop("kind", "store"), state, **fields))


def ids(directory: Directory, **query: Any) -> list[str]:
    return [module.module_id for module in find_modules(directory, FindModules(**query)).modules]


@pytest.fixture
def fleet() -> Directory:
    directory = a_directory()
    add(directory, "b", kind="redis", port=7003, since=30.0)
    up = add(directory, "d", State.PROVISIONED, dirty=True, restarts=2, since=10.0)
    up.instance, up.ready_at, up.active_at = cast("Instance", FakeInstance(7001)), 400.0, 900.0
    up.usage = UsageHistory(UsageSample(1.0, 500, 12.5))
    add(directory, "A", State.CRASHED, last_error="z", since=20.0, checkpointed_at=5.0)
    add(directory, "c", State.UNPROVISIONED, dirty=True, last_error="a", since=40.0)
    directory.put(ModuleRecord("gone"))
    return directory


def test_without_a_wish_all_tracked_modules_come_by_id(fleet: Directory) -> None:
    """The default: every tracked module, in the order of the ids, with their number by state."""
    page = find_modules(fleet, FindModules())
    assert [module.module_id for module in page.modules] == ["A", "b", "c", "d"]
    assert (page.total, page.offset, page.limit) == (4, 0, 100)
    counted = {state: number for state, number in page.states.items() if number}
    assert counted == {"crashed": 1, "hibernated": 1, "provisioned": 1, "unprovisioned": 1}
    assert page.states.keys() == set(State)


def test_a_page_shows_what_the_module_itself_would(fleet: Directory) -> None:
    """A module on a page is told of as when it is asked for alone."""
    entry = fleet.find("d")
    assert entry is not None
    page = find_modules(fleet, FindModules(search="D"))
    assert page.modules == (fleet.describe(entry),)
    shown = page.modules[0]
    assert (shown.uptime_s, shown.memory_bytes, shown.cpu_percent, shown.since) == (600.0, 500, 12.5, 10.0)


@pytest.mark.parametrize(
    ("wish", "found"),
    [
        ({"states": (State.CRASHED, State.HIBERNATED)}, ["A", "b"]),
        ({"kind": "redis"}, ["b"]),
        ({"kind": "red"}, []),
        ({"search": "a"}, ["A"]),
        ({"search": "."}, []),
        ({"dirty": True}, ["c", "d"]),
        ({"dirty": False}, ["A", "b"]),
        ({"dirty": True, "states": (State.PROVISIONED,), "kind": "store", "search": "D"}, ["d"]),
        ({"sort": "module_id"}, ["A", "b", "c", "d"]),
        ({"sort": "-module_id"}, ["d", "c", "b", "A"]),
        ({"sort": "kind"}, ["b", "A", "c", "d"]),
        ({"sort": "-kind"}, ["A", "c", "d", "b"]),
        ({"sort": "state"}, ["A", "b", "d", "c"]),
        ({"sort": "since"}, ["d", "A", "b", "c"]),
        ({"sort": "-since"}, ["c", "b", "A", "d"]),
        ({"sort": "idle_s"}, ["A", "b", "c", "d"]),
        ({"sort": "-idle_s"}, ["d", "A", "b", "c"]),
        ({"sort": "uptime_s"}, ["d", "A", "b", "c"]),
        ({"sort": "-uptime_s"}, ["d", "A", "b", "c"]),
        ({"sort": "-restarts"}, ["d", "A", "b", "c"]),
        ({"sort": "memory_bytes"}, ["d", "A", "b", "c"]),
        ({"sort": "-cpu_percent"}, ["d", "A", "b", "c"]),
        ({"sort": "port"}, ["d", "b", "A", "c"]),
        ({"sort": "-port"}, ["b", "d", "A", "c"]),
        ({"sort": "checkpointed_at"}, ["A", "b", "c", "d"]),
        ({"sort": "last_error"}, ["c", "A", "b", "d"]),
        ({"sort": "-last_error"}, ["A", "c", "b", "d"]),
        ({"offset": 1, "limit": 2}, ["b", "c"]),
        ({"offset": 1, "limit": 2, "sort": "-module_id"}, ["c", "b"]),
        ({"offset": 3, "limit": 2, "sort": "-module_id"}, ["A"]),
        ({"offset": 4}, []),
        ({"offset": 10**9, "sort": "-module_id"}, []),
        ({"offset": 1, "limit": 1, "dirty": True}, ["d"]),
    ],
)
def test_filters_order_and_pages(wish: dict[str, Any], found: list[str], fleet: Directory) -> None:
    """Each wish, and several together; what has no value comes last in either direction, ties by id."""
    assert ids(fleet, **wish) == found


def test_the_total_counts_what_matches_on_all_pages(fleet: Directory) -> None:
    """A page says how many there are in all, and the states of all modules whatever was asked for."""
    page = find_modules(fleet, FindModules(dirty=True, limit=1))
    assert (len(page.modules), page.total) == (1, 2)
    assert sum(page.states.values()) == 4


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"sort": "shoe_size"}, "sort"),
        ({"sort": "--since"}, "sort"),
        ({"sort": ""}, "sort"),
        ({"sort": None}, "sort"),
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"limit": True}, "limit"),
        ({"limit": 10.0}, "limit"),
        ({"offset": -1}, "offset"),
        ({"offset": "0"}, "offset"),
        ({"states": ("sleeping",)}, "states"),
        ({"states": "crashed"}, "states"),
        ({"states": 5}, "states"),
        ({"kind": None}, "kind"),
        ({"kind": 3}, "kind"),
        ({"search": "x" * 201}, "search"),
        ({"dirty": "yes"}, "dirty"),
        ({"dirty": 1}, "dirty"),
    ],
)
def test_a_wish_that_can_not_be_met_is_refused(wish: dict[str, Any], field: str, fleet: Directory) -> None:
    """The sender is told which field, and what is allowed; a long value does not flood the log."""
    with pytest.raises(InvalidMessage, match=f"FindModules: {field} = .*allowed"):
        find_modules(fleet, FindModules(**wish))


def test_a_module_that_only_an_operation_holds_is_on_the_page(fleet: Directory) -> None:
    """As soon as an operation holds a module it is tracked, and no longer than that."""
    entry = fleet.obtain("new")
    assert "new" not in ids(fleet)  # counted from here on
    fleet.hold(entry, Operation("op-1", "new", Request.PROVISION, lambda: 0.0))
    page = find_modules(fleet, FindModules(search="new"))
    assert [(module.module_id, module.op_id) for module in page.modules] == [("new", "op-1")]
    assert page.states["unprovisioned"] == 2
    fleet.hold(entry, None)
    assert "new" not in ids(fleet)
    fleet.drop("new")
    assert find_modules(fleet, FindModules()).states["unprovisioned"] == 1


RECORDS = st.builds(
    ModuleRecord,
    module_id=st.sampled_from(["a", "B", "c", "Dd", "e-1"]),
    kind=st.sampled_from(["", "redis", "store"]),
    state=st.sampled_from(State),
    dirty=st.booleans(),
    port=st.one_of(st.none(), st.integers(1, 9)),
    restarts=st.integers(0, 2),
    last_error=st.one_of(st.none(), st.sampled_from(["x", "y"])),
    since=st.floats(0, 9),
    relist_s=st.sampled_from([0.0, 1.0]),
)
WISHES = st.builds(
    FindModules,
    states=st.lists(st.sampled_from(State), max_size=3).map(tuple),
    kind=st.sampled_from(["", "store"]),
    search=st.sampled_from(["", "d", "1"]),
    dirty=st.sampled_from([None, True, False]),
    sort=st.builds(str.__add__, st.sampled_from(["", "-"]), st.sampled_from(sorted(SORT_KEYS))),
    offset=st.integers(0, 4),
    limit=st.integers(1, 5),
)


def naive(directory: Directory, query: FindModules) -> tuple[int, list[str]]:
    """The same in the simplest way: describe all, filter, sort, cut."""
    everything = sorted((directory.describe(entry) for entry in directory.tracked()), key=lambda m: m.module_id)
    found: list[ModuleInfo] = []
    for module in everything:
        states = not query.states or module.state in query.states
        kinds = not query.kind or module.kind == query.kind
        dirty = query.dirty is None or module.dirty is query.dirty
        if states and kinds and dirty and query.search.lower() in module.module_id.lower():
            found.append(module)
    name = query.sort.removeprefix("-")

    def value(module: ModuleInfo) -> Any:
        value = getattr(module, name)
        return None if name in {"kind", "checkpointed_at"} and not value else value

    without = [module for module in found if value(module) is None]
    valued = [module for module in found if value(module) is not None]
    valued.sort(key=value, reverse=query.sort.startswith("-"))
    page = [*valued, *without][query.offset : query.offset + query.limit]
    return len(found), [module.module_id for module in page]


@given(st.lists(st.one_of(RECORDS, st.sampled_from(["a", "B", "c"])), max_size=25), st.integers(0, 30), WISHES)
def test_any_page_agrees_with_the_simplest_way(
    steps: list[ModuleRecord | str], counted_from: int, query: FindModules
) -> None:
    """After any changes, the kept order and the kept counts are those of counting anew, whenever that was begun."""
    directory = a_directory()
    for number, step in enumerate(steps):
        if number == counted_from:
            directory.census()
        if isinstance(step, ModuleRecord):
            directory.put(step)
        elif (entry := directory.find(step)) is not None:
            directory.put(msgspec.structs.replace(entry.record, state=State.UNPROVISIONED, dirty=False))
            directory.drop(step)
    page = find_modules(directory, query)
    assert (page.total, [module.module_id for module in page.modules]) == naive(directory, query)
    for state in State:
        assert page.states[state] == sum(entry.record.state is state for entry in directory.tracked())
    assert directory.census().dirty == sum(entry.record.dirty for entry in directory.tracked())


def test_an_ordinary_page_looks_at_no_other_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """By id and without a filter, ten thousand modules cost what a page does: only what is shown is looked up."""
    directory = a_directory()
    for number in range(10_000):
        add(directory, f"tenant-{number:05}")
    looked_up: list[str] = []
    find = directory.find

    def find_and_note(module_id: str) -> Entry | None:
        looked_up.append(module_id)
        return find(module_id)

    monkeypatch.setattr(directory, "find", find_and_note)
    directory.census()
    monkeypatch.setattr(directory, "tracked", lambda: pytest.fail("walked all modules"))
    for sort in ("module_id", "-module_id"):
        looked_up.clear()
        page = find_modules(directory, FindModules(sort=sort, offset=5000))
        assert (page.total, len(page.modules), len(looked_up)) == (10_000, 100, 100)
