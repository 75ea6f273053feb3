"""Every state that a killed hub may leave, cell by cell, and what a real start makes of it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from hub import Hub, ModuleNotFound, State
from hub.layout import Layout
from hub.lifecycle import Pending
from hub.policy import resolve
from hub.record import ModuleRecord
from tests.hub.conftest import tiny_kind
from tests.hub.observer import Observer, observed
from tests.hub.tiny_client import get, put

pytestmark = pytest.mark.e2e

# By hand from the contract. Found in: state, data, pending intent. Resolved to: state, and whether its local data is kept.
# In the end, when the watchdog has done what it has to: state, and what the module's data is. The backend has `home`,
# dirty local data is `local`, and what a half-done hydration or a verified commit left here is `stale`.
TABLE = """
unprovisioned   clean  -            unprovisioned  -     unprovisioned  home
unprovisioned   clean  deprovision  unprovisioned  -     unprovisioned  home
unprovisioned   clean  obliterate   crashed        kept  unprovisioned  none
unprovisioned   dirty  -            unprovisioned  kept  unprovisioned  local
unprovisioned   dirty  deprovision  unprovisioned  kept  unprovisioned  local
unprovisioned   dirty  obliterate   crashed        kept  unprovisioned  none
provisioning    clean  -            unprovisioned  -     unprovisioned  home
provisioning    clean  deprovision  unprovisioned  -     unprovisioned  home
provisioning    clean  obliterate   crashed        kept  unprovisioned  none
provisioning    dirty  -            unprovisioned  kept  unprovisioned  local
provisioning    dirty  deprovision  unprovisioned  kept  unprovisioned  local
provisioning    dirty  obliterate   crashed        kept  unprovisioned  none
provisioned     clean  -            crashed        kept  provisioned    home
provisioned     clean  deprovision  crashed        kept  unprovisioned  home
provisioned     clean  obliterate   crashed        kept  unprovisioned  none
provisioned     dirty  -            crashed        kept  provisioned    local
provisioned     dirty  deprovision  crashed        kept  unprovisioned  local
provisioned     dirty  obliterate   crashed        kept  unprovisioned  none
hibernating     clean  -            hibernated     kept  hibernated     home
hibernating     clean  deprovision  hibernated     kept  unprovisioned  home
hibernating     clean  obliterate   crashed        kept  unprovisioned  none
hibernating     dirty  -            hibernated     kept  hibernated     local
hibernating     dirty  deprovision  hibernated     kept  unprovisioned  local
hibernating     dirty  obliterate   crashed        kept  unprovisioned  none
hibernated      clean  -            hibernated     kept  hibernated     home
hibernated      clean  deprovision  hibernated     kept  unprovisioned  home
hibernated      clean  obliterate   crashed        kept  unprovisioned  none
hibernated      dirty  -            hibernated     kept  hibernated     local
hibernated      dirty  deprovision  hibernated     kept  unprovisioned  local
hibernated      dirty  obliterate   crashed        kept  unprovisioned  none
waking          clean  -            hibernated     kept  hibernated     home
waking          clean  deprovision  hibernated     kept  unprovisioned  home
waking          clean  obliterate   crashed        kept  unprovisioned  none
waking          dirty  -            hibernated     kept  hibernated     local
waking          dirty  deprovision  hibernated     kept  unprovisioned  local
waking          dirty  obliterate   crashed        kept  unprovisioned  none
deprovisioning  clean  -            unprovisioned  -     unprovisioned  home
deprovisioning  clean  deprovision  unprovisioned  -     unprovisioned  home
deprovisioning  clean  obliterate   crashed        kept  unprovisioned  none
deprovisioning  dirty  -            crashed        kept  provisioned    local
deprovisioning  dirty  deprovision  crashed        kept  unprovisioned  local
deprovisioning  dirty  obliterate   crashed        kept  unprovisioned  none
crashed         clean  -            crashed        kept  provisioned    home
crashed         clean  deprovision  crashed        kept  unprovisioned  home
crashed         clean  obliterate   crashed        kept  unprovisioned  none
crashed         dirty  -            crashed        kept  provisioned    local
crashed         dirty  deprovision  crashed        kept  unprovisioned  local
crashed         dirty  obliterate   crashed        kept  unprovisioned  none
recovering      clean  -            unprovisioned  -     unprovisioned  home
recovering      clean  deprovision  unprovisioned  -     unprovisioned  home
recovering      clean  obliterate   crashed        kept  unprovisioned  none
recovering      dirty  -            crashed        kept  provisioned    local
recovering      dirty  deprovision  crashed        kept  unprovisioned  local
recovering      dirty  obliterate   crashed        kept  unprovisioned  none
obliterating    clean  -            crashed        kept  unprovisioned  none
obliterating    clean  deprovision  crashed        kept  unprovisioned  none
obliterating    clean  obliterate   crashed        kept  unprovisioned  none
obliterating    dirty  -            crashed        kept  unprovisioned  none
obliterating    dirty  deprovision  crashed        kept  unprovisioned  none
obliterating    dirty  obliterate   crashed        kept  unprovisioned  none
"""


@dataclass(frozen=True)
class Cell:
    state: State
    dirty: bool
    pending: Pending | None
    resolved: State
    kept: bool
    end: State
    value: str | None

    @property
    def module_id(self) -> str:
        return f"{self.state}-{'dirty' if self.dirty else 'clean'}-{self.pending or 'none'}"

    @property
    def local(self) -> str:
        if self.dirty:
            return "local"
        return "home" if self.kept else "stale"

    def record(self, base: str | None) -> ModuleRecord:
        return ModuleRecord(
            self.module_id, "tiny", self.state, self.dirty, base, self.pending, op_id="0123456789abcdef", since=1.7e9
        )


def cell(row: str) -> Cell:
    state, data, pending, resolved, kept, end, value = row.split()
    return Cell(
        State(state),
        data == "dirty",
        None if pending == "-" else Pending(pending),
        State(resolved),
        kept == "kept",
        State(end),
        None if value == "none" else value,
    )


CELLS = [cell(row) for row in TABLE.strip().splitlines()]


@dataclass(frozen=True)
class Started:
    """What a start made of all cells.

    Attributes:
        ends: where each module came to rest.
        served: modules of which a server was started before anybody asked for them.
        left: modules that still had a directory when they had come to rest.
        values: the data that each has for who asks for it then.
    """

    ends: dict[str, State]
    served: set[str]
    left: set[str]
    values: dict[str, str | None]
    events: Observer


def make(root: Path) -> Hub:
    return Hub(
        root / "data",
        f"file://{root}/backend",
        kinds=[tiny_kind()],
        default_kind="tiny",
        retry_delay=0.02,
        restart_delay=0.02,
    )


def for_all(work: Callable[[Cell], object]) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, CELLS))


def prepare(root: Path) -> None:
    """Bring every module to where its data is at home and here, then write what a killed hub would have left."""
    with make(root) as hub:

        def furnish(cell: Cell) -> None:
            put(hub.provision(cell.module_id), "k", "home")
            hub.deprovision(cell.module_id)
            put(hub.provision(cell.module_id), "k", cell.local)

        for_all(furnish)
    with closing(sqlite3.connect(root / "data" / "journal.sqlite3", isolation_level=None)) as journal:
        for cell in CELLS:
            (row,) = journal.execute("SELECT record FROM modules WHERE module_id = ?", (cell.module_id,)).fetchone()
            record = cell.record(msgspec.json.decode(row, type=ModuleRecord).base)
            journal.execute(
                "UPDATE modules SET state = ?, record = ? WHERE module_id = ?",
                (record.state.value, msgspec.json.encode(record), cell.module_id),
            )
            if not record.tracked and record.pending is not Pending.OBLITERATE:
                # Nothing is held: the journal has no such row, and there is no such directory.
                journal.execute("DELETE FROM modules WHERE module_id = ?", (cell.module_id,))
                Layout(root / "data").erase(cell.module_id)


def rest(hub: Hub, cell: Cell) -> State:
    deadline = time.monotonic() + 60
    while True:
        try:
            found = hub.module(cell.module_id).state
        except ModuleNotFound:
            found = State.UNPROVISIONED
            if cell.end is State.UNPROVISIONED:
                return found
        if found is cell.end is not State.UNPROVISIONED or time.monotonic() > deadline:
            return found
        time.sleep(0.005)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    root = tmp_path_factory.mktemp("cells")
    prepare(root)
    with observed() as events, make(root) as hub:
        ends = {cell.module_id: rest(hub, cell) for cell in CELLS}
        served = {record["module_id"] for record in events.all("instance.started")}
        left = {path.name for path in (root / "data" / "modules").iterdir()}
        values: dict[str, str | None] = {}

        def ask(cell: Cell) -> None:
            values[cell.module_id] = get(hub.provision(cell.module_id), "k")

        for_all(ask)
        yield Started(ends, served, left, values, events)


def test_the_table_is_complete() -> None:
    """Every state, clean and dirty, with every intent that may be pending, stands in it once."""
    cells = [(cell.state, cell.dirty, cell.pending) for cell in CELLS]
    assert sorted(map(str, cells)) == sorted(
        str((state, dirty, pending)) for state in State for dirty in (False, True) for pending in (None, *Pending)
    )


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.module_id)
def test_the_decision_is_the_tables(cell: Cell) -> None:
    """What a start decides on each cell is what the contract says."""
    resolution = resolve(cell.record("owner/1"))
    assert (resolution.state, resolution.keep_data) == (cell.resolved, cell.kept)


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.module_id)
def test_a_start_brings_every_cell_to_rest_with_its_data(cell: Cell, started: Started) -> None:
    """The state is told, then comes to rest; what was dirty is here or at home, what was obliterated never served."""
    module_id = cell.module_id
    assert started.ends[module_id] == cell.end
    told = started.events.all("module.resolved", module_id=module_id, op_id="0123456789abcdef")
    expected = [(cell.state, cell.resolved)] if cell.state is not cell.resolved else []
    assert [(event["from_state"], event["to_state"]) for event in told] == expected
    assert (module_id in started.left) == (cell.end is not State.UNPROVISIONED)
    assert (module_id in started.served) == (cell.end is State.PROVISIONED)
    assert started.values[module_id] == cell.value
    assert bool(started.events.all("module.obliterated", module_id=module_id)) == (cell.value is None)
