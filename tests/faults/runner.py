"""Kills a host at each crash point of a scenario, starts the next hub on what is left, and has it checked.

Everything runs in forks of one process that has imported all and has no threads: a host is there in milliseconds.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import select
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults import checks
from tests.faults.edges import install
from tests.faults.points import BEGIN, END, Trace
from tests.faults.rig import Rig, log_to
from tests.faults.sabotage import SABOTAGES
from tests.faults.scenarios import SCENARIOS, Scenario
from tests.hub.faulty import Faults
from tests.hub.marked import kill_all

_LIMIT_S = 120.0
_TRIES = 3
_PR_SET_PDEATHSIG = 1
_KILLED = -signal.SIGKILL
# A second kill comes during the start after the first: at a point that differs from one first point to the next.
_SECOND_STRIDE, _SECOND_SPAN = 7, 31


@dataclass(frozen=True)
class Case:
    """One run.

    Attributes:
        scenario: name of the scenario.
        number: number of the crash point in its trace, from 1.
        point: its name; None for the trace run, which is not killed.
        second: number of the point of the next start at which that is killed too; 0 = it is not.
        sabotage: name of what is broken in the product on purpose.
    """

    scenario: str
    number: int = 0
    point: str | None = None
    second: int = 0
    sabotage: str | None = None

    @property
    def name(self) -> str:
        return f"{self.scenario}/{self.point or 'trace'}"

    @property
    def command(self) -> str:
        """What repeats exactly this."""
        return f"make faults ARGS=\"--only '{self.scenario}' --point {self.number}\""


@dataclass
class Outcome:
    """How a run went.

    Attributes:
        case: the run.
        trace: the points that it passed, of a trace run.
        operations: the hub's operations that it ran.
        restarts: hubs started after a kill.
        checks: what was checked.
        reached: it came to its point; where two threads race, not every run passes all.
        losses: what did not hold.
        duration_s: how long it took.
    """

    case: Case
    trace: list[str] = field(default_factory=list[str])
    operations: list[str] = field(default_factory=list[str])
    restarts: int = 0
    checks: int = 0
    reached: bool = True
    losses: list[str] = field(default_factory=list[str])
    duration_s: float = 0.0


def find(name: str) -> Scenario:
    return next(scenario for scenario in SCENARIOS if scenario.name == name)


def trace_of(name: str, sabotage: str | None = None) -> Case:
    return Case(name, sabotage=sabotage)


def cases_of(trace: Outcome) -> Iterator[Case]:
    """A run for each crash point that a trace run has passed."""
    seed = sum(trace.case.scenario.encode())
    for number, point in enumerate(trace.trace, 1):
        second = 1 + (seed + number * _SECOND_STRIDE) % _SECOND_SPAN if number % 2 else 0
        yield Case(trace.case.scenario, number, point, second, trace.case.sabotage)


def run_all(cases: Iterator[Case], jobs: int, spare: Callable[[Outcome], None]) -> None:
    """Run cases, some at a time, each in a process of its own, and hand on each outcome."""
    directory = Path(tempfile.mkdtemp(prefix="modhub-faults-"))
    running: dict[int, Case] = {}
    try:
        more = True
        while more or running:
            while more and len(running) < jobs:
                case = next(cases, None)
                more = case is not None
                if case is not None:
                    running[_fork(lambda case=case: _supervise(case, directory))] = case  # type: ignore[misc]
            if running:
                pid, _ = os.wait()
                case = running.pop(pid)
                spare(_outcome(case, directory / str(pid)))
    finally:
        for pid in running:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        for pid in running:
            os.waitpid(pid, 0)
        shutil.rmtree(directory, ignore_errors=True)


def _outcome(case: Case, path: Path) -> Outcome:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        return Outcome(case, losses=[f"the run itself failed: {error}"])
    return Outcome(case, **found)


def _fork(work: Callable[[], object]) -> int:
    """Run something in a child, which ends with it, and with us."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:
            work()
            status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _leave(number: int, _frame: object) -> None:
    sys.exit(number)


def _supervise(case: Case, directory: Path) -> None:
    signal.signal(signal.SIGTERM, _leave)
    started = time.monotonic()
    outcome = Outcome(case)
    for _ in range(_TRIES):
        root = Path(tempfile.mkdtemp(prefix="run-", dir=directory))
        try:
            _run(case, root, outcome)
        except Exception:
            outcome.losses.append(traceback.format_exc())
        finally:
            _sweep(root)
            shutil.rmtree(root, ignore_errors=True)
        if outcome.reached:
            break
    outcome.duration_s = time.monotonic() - started
    given = {name: value for name, value in vars(outcome).items() if name != "case"}
    (directory / str(os.getpid())).write_text(json.dumps(given))


def _sweep(root: Path) -> None:
    """Leave nothing to the machine of a run that failed."""
    # It may have been killed before it had a journal.
    with suppress(sqlite3.Error, TypeError):
        kill_all(root / "data")


def _run(case: Case, root: Path, outcome: Outcome) -> None:
    scenario = find(case.scenario)
    if scenario.wreck is not None and scenario.wreck[0]:
        name, pattern = scenario.wreck
        if not _host(root, outcome, find(name), Trace(pattern=pattern), case.sabotage):
            outcome.losses.append(f"{name} never came to {pattern}")
            return
        outcome.restarts += 1
    if case.point is None:
        trace = Trace()
        _host(root, outcome, scenario, trace, case.sabotage)
        told: dict[str, list[str]] = json.loads((root / "trace").read_text()) if (root / "trace").exists() else {}
        outcome.trace, outcome.operations = told.get("passed", []), told.get("operations", [])
    else:
        # Where it does not come there, it is killed at the end, which is as good a point to check.
        outcome.reached = _host(root, outcome, scenario, Trace(pattern=re.escape(case.point)), case.sabotage)
        outcome.restarts += 1
    if case.second:
        start = Scenario("start", find("start/first").operate, wreck=("", ""))
        _host(root, outcome, start, Trace(number=case.second), case.sabotage)
        outcome.restarts += 1
    _checked(root, outcome, case)


def _host(root: Path, outcome: Outcome, scenario: Scenario, trace: Trace, sabotage: str | None) -> bool:
    """Run a host to its end. Returns whether that was its point."""

    def work() -> None:
        _to_log(root / "host.log")
        faults = Faults()
        operations = install(trace, root, faults)
        if sabotage is not None:
            SABOTAGES[sabotage]()
        rig = Rig(root, faults)
        log_to(rig.ledger)
        if scenario.wreck is None:
            rig.start(**scenario.options)
            scenario.prepare(rig)
        operations.clear()
        trace.armed = True
        trace.hit(BEGIN)
        scenario.operate(rig)
        trace.hit(END)
        trace.armed = False
        told = {"passed": trace.passed, "operations": operations}
        (root / "trace").write_text(json.dumps(told))
        # As a kill at the end: what would have been tidied up is what the next hub has to do.
        os.kill(os.getpid(), signal.SIGKILL)

    (root / "trace").unlink(missing_ok=True)
    status = _await(_fork(work))
    wreck = checks.Checks()
    checks.look_at_wreck(wreck, root)
    outcome.checks += wreck.number
    outcome.losses += wreck.losses
    if status != _KILLED:
        log = (root / "host.log").read_text()[-3000:]
        outcome.losses.append(f"the host ended with {status}: {log}")
    return status == _KILLED and not (root / "trace").exists()


def _checked(root: Path, outcome: Outcome, case: Case) -> None:
    def work() -> None:
        _to_log(root / "check.log")
        if case.sabotage is not None:
            SABOTAGES[case.sabotage]()
        checks.write_report(checks.check(root), root / "report")

    status = _await(_fork(work))
    if status != 0:
        outcome.losses.append(f"the check ended with {status}: {(root / 'check.log').read_text()[-3000:]}")
        return
    outcome.restarts += 1
    found: dict[str, Any] = json.loads((root / "report").read_text())
    outcome.checks += found["checks"]
    outcome.losses += found["losses"]


def _to_log(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def _await(pid: int) -> int:
    """Wait for a child; one that hangs is ended."""
    pidfd = os.pidfd_open(pid)
    try:
        if not select.select([pidfd], [], [], _LIMIT_S)[0]:
            os.kill(pid, signal.SIGABRT)
    finally:
        os.close(pidfd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
