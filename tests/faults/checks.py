"""What must hold after a kill: of the wreck as it lies there, of the next hub on it, and when that one has ended."""

from __future__ import annotations

import json
import socket
import threading
import traceback
from collections.abc import Iterable
from contextlib import suppress
from operator import attrgetter
from pathlib import Path
from typing import Any

from backends import encode_module_id
from hub import Hub, State
from hub.lifecycle import TABLE, Pending
from hub.policy import resolve
from hub.record import ModuleRecord
from tests.faults.rig import PATIENCE_S, Expectation, Ledger, Rig, await_that, kinds, open_hub, read, settle
from tests.faults.rows import rows
from tests.faults.scenarios import OF_STARTS
from tests.hub.faulty import Faults
from tests.hub.marked import listens, processes_of

_FOLLOWS = {(t.source, t.target) for t in TABLE}
_BUSY = frozenset({State.RECOVERING, State.DEPROVISIONING, State.OBLITERATING})


class Checks:
    """Counts what is checked, and keeps what does not hold."""

    def __init__(self) -> None:
        self.number = 0
        self.losses: list[str] = []

    def expect(self, holds: object, otherwise: str) -> None:
        self.number += 1
        if not holds:
            self.losses.append(otherwise)


def check(root: Path) -> Checks:
    """Check all that a run left in its directory, in this process, which starts the next hub."""
    checks = Checks()
    try:
        ports = _next_hub(checks, root, Ledger(root / "ledger").expectations())
        _afterwards(checks, root, ports)
    except Exception:
        checks.expect(holds=False, otherwise=traceback.format_exc())
    return checks


def look_at_wreck(checks: Checks, root: Path) -> None:
    """Check what a killed hub left on disk, before anybody touches it; and note what follows for those after it."""
    data, ledger = root / "data", Ledger(root / "ledger")
    records = rows(data)
    here = {path.name for path in (data / "modules").glob("*")}
    for module_id, expectation in ledger.expectations().items():
        record = records.get(module_id, ModuleRecord(module_id))
        _no_word_ahead_of_the_journal(checks, record, State(expectation.told))
        # The next hub says nothing of what it finds as it is to be.
        ledger.note("told", module_id, record.state.value)
        if record.pending is Pending.OBLITERATE or record.state is State.OBLITERATING:
            ledger.note("doomed", module_id)
        elif record.dirty:
            checks.expect(encode_module_id(module_id) in here, f"{module_id} is dirty, and its data is not there")
    known = {encode_module_id(module_id) for module_id in records}
    checks.expect(here <= known, f"directories {here - known} are in no row of the journal")


def _no_word_ahead_of_the_journal(checks: Checks, record: ModuleRecord, told: State) -> None:
    """What was told is in the journal; which may be ahead of it, by one."""
    resolved = {resolve(ModuleRecord(record.module_id, state=told, dirty=dirty)).state for dirty in (True, False)}
    durable = record.state is told or (told, record.state) in _FOLLOWS or record.state in resolved
    checks.expect(durable, f"{record.module_id} was told to be {told}, and the journal has {record.state}")


def _next_hub(checks: Checks, root: Path, expected: dict[str, Expectation]) -> set[int]:
    """A hub on the wreck: it comes to rest, and holds what it must. Returns the ports that it used."""
    ports: set[int] = set()
    with open_hub(root, kinds=kinds(sound=True), **OF_STARTS) as hub:
        for info in hub.modules():
            checks.expect(info.state.stable or info.state in _BUSY, f"{info.module_id} is {info.state} after a start")
        settle(hub)
        _nothing_temporary(checks, root / "data")
        _no_more_processes_than_modules(checks, hub, root)
        for module_id, expectation in (expected or {"m": Expectation()}).items():
            if expectation.obliterated:
                left = _traces(root, module_id)
                checks.expect(not left, f"{left} of {module_id}, whose obliteration was begun")
            _same_port(checks, hub, module_id, expectation.gateway_port)
            value, possible = read(hub.provision(module_id)), expectation.possible
            checks.expect(value in possible, f"{module_id} holds {value!r}, and may hold {possible}")
            ports |= _round_trip(checks, hub, root, module_id)
        # Until then the journal remembers that a module is to be listed again.
        await_that(lambda: not rows(root / "data"), lambda: f"rows {rows(root / 'data')} of nobody")
        checks.expect(not _held(hub), f"ports {_held(hub)} are held for nobody")
    return ports


def _same_port(checks: Checks, hub: Hub, module_id: str, port: int | None) -> None:
    """A port that was told of is the module's still, and whoever connects to it reaches it, wherever its data is."""
    if port is None:
        return
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        connection.sendall(b"GET k\n")
        checks.expect(connection.recv(100), f"nobody answers on port {port} of {module_id}")
    found = hub.provision(module_id).gateway_port
    checks.expect(found == port, f"{module_id} had port {port}, and has {found}")


def _nothing_temporary(checks: Checks, data: Path) -> None:
    """What a killed hub had begun to build or to delete is gone; what this one deletes by itself may take a moment."""

    def left() -> list[Path]:
        # A module's own directory in scratch is kept between its hydrations.
        return [*(data / "trash").iterdir(), *(data / "scratch").glob("*/*")]

    with suppress(TimeoutError):
        await_that(lambda: not left(), lambda: "", patience_s=3.0)
    checks.expect(not left(), f"{left()} in trash and scratch")


def _no_more_processes_than_modules(checks: Checks, hub: Hub, root: Path) -> None:
    serving = [info for info in hub.modules() if info.pid is not None]
    # A kind may have a process more than its leader.
    most = sum(2 if info.kind == "forking" else 1 for info in serving)
    found = processes_of(root / "data")
    checks.expect(len(found) <= most, f"processes {found} for {[info.module_id for info in serving]}")
    used = {info.port for info in serving} | {record.gateway_port for record in rows(root / "data").values()} - {None}
    checks.expect(_held(hub) == used, f"ports {_held(hub)} are held for {serving}")


def _held(hub: Hub) -> set[int | None]:
    """The ports that a hub has given out."""
    return set(attrgetter("_hub._runtime._services.runner._ports.held")(hub))


def _traces(root: Path, module_id: str) -> list[Path]:
    """Every file of a module, here and in the backend."""
    encoded = encode_module_id(module_id)
    places = [root / "backend" / encoded, root / "data" / "modules" / encoded]
    return [path for place in places for path in place.rglob("*") if path.is_file()]


def _round_trip(checks: Checks, hub: Hub, root: Path, module_id: str) -> set[int]:
    """It works as if nothing had been; and in the end it can be obliterated."""
    encoded = encode_module_id(module_id)
    rig = Rig(root, Faults())
    rig.hub = hub
    rig.write(module_id)
    port = hub.module(module_id).port
    hub.deprovision(module_id)
    checks.expect(not (root / "data/modules" / encoded).exists(), f"{module_id} is still here after a deprovision")
    value = read(hub.provision(module_id))
    possible = rig.ledger.expectations()[module_id].possible
    checks.expect({value} == possible, f"{module_id} holds {value!r} after a round trip, and not {possible}")
    again = hub.module(module_id).port
    done = hub.obliterate(module_id)
    checks.expect(done.remaining == 0, f"{done}")
    left = [*_traces(root, module_id), *(root / "data/logs").glob(f"{encoded}*"), *(root / "backend").glob(encoded)]
    checks.expect(not left, f"{left} after an obliteration")
    return {p for p in (port, again) if p is not None}


def _afterwards(checks: Checks, root: Path, ports: Iterable[int]) -> None:
    """Nothing is left of a hub that has ended."""
    data = root / "data"
    found = processes_of(data)
    checks.expect(not found, f"processes {found} after the end")
    for port in ports:
        checks.expect(not listens(data, port), f"port {port} is listened on after the end")
    _nothing_temporary(checks, data)
    checks.expect(not rows(data), f"rows {rows(data)} of modules that were obliterated")
    left = list((data / "modules").iterdir())
    checks.expect(not left, f"directories {left} of modules that were obliterated")
    threads = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    checks.expect(not threads, f"threads {threads} after the end")


def report(checks: Checks) -> dict[str, Any]:
    """The outcome as plain data."""
    return {"checks": checks.number, "losses": checks.losses}


def write_report(checks: Checks, path: Path) -> None:
    """Hand the outcome to the process that waits for it."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(report(checks)))
    new.rename(path)
