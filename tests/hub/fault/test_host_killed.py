"""The host is killed with -9 at random instants; after each, a new hub finds everything that was acknowledged."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hub import Hub, ModuleNotFound, State
from tests.hub.fault.host import MODULES
from tests.hub.marked import processes_of
from tests.hub.resp import command

KILLS = 20
STABLE = {State.UNPROVISIONED, State.PROVISIONED, State.HIBERNATED, State.CRASHED}


@dataclass
class Expectation:
    """What a module may hold: the last acknowledged write, one sent after it, or nothing after an obliteration."""

    acknowledged: int | None = None
    possible: set[int | None] = field(default_factory=lambda: {None})

    def read(self, line: str) -> None:
        word, _, number = line.split()
        match word:
            case "set":
                self.possible.add(int(number))
            case "ack":
                self.acknowledged = int(number)
                self.possible = {int(number)}
            case "gone":
                self.possible.add(None)
            case "obliterated":
                self.acknowledged = None
                self.possible = {None}
            case _:
                raise ValueError(line)


def expectations(ledger: Path) -> dict[str, Expectation]:
    expected = {module_id: Expectation() for module_id in MODULES}
    for line in ledger.read_text().splitlines():
        expected[line.split()[1]].read(line)
    return expected


def run_and_kill(root: Path, seed: int, chance: random.Random) -> None:
    host = subprocess.Popen(
        [sys.executable, "-m", "tests.hub.fault.host", str(root), str(seed)], stdout=subprocess.PIPE, text=True
    )
    assert host.stdout is not None
    with host.stdout:
        assert host.stdout.readline() == "running\n"
        time.sleep(chance.uniform(0.0, 0.8))  # the instant is what is random here; nothing is waited for
        assert host.poll() is None, "the host ended by itself"
        host.kill()
        host.wait()


def settled(hub: Hub, module_id: str) -> State:
    """Wait until the watchdog has nothing more to do with a module; returns where that left it."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            info = hub.module(module_id)
        except ModuleNotFound:
            return State.UNPROVISIONED
        if info.state in {State.PROVISIONED, State.HIBERNATED}:
            return info.state
        time.sleep(0.01)
    pytest.fail(f"{module_id} did not settle: {hub.module(module_id)}")


@pytest.mark.e2e
def test_nothing_is_lost_when_the_host_is_killed_at_random_instants(tmp_path: Path) -> None:
    """After kill -9: acknowledged writes are there, what was obliterated is gone, states are legal, no process left."""
    chance = random.Random(20)
    for round_ in range(1, KILLS + 1):
        run_and_kill(tmp_path, round_, chance)
        expected = expectations(tmp_path / "ledger")
        with Hub(tmp_path / "data", f"file://{tmp_path}/backend", retry_delay=0.01) as hub:
            for info in hub.modules():
                assert info.state in STABLE or info.state in {
                    State.RECOVERING,
                    State.DEPROVISIONING,
                    State.OBLITERATING,
                }
            for module_id in MODULES:
                settled(hub, module_id)
                info = hub.provision(module_id, kind="redis")
                assert info.port is not None
                value = command(info.port, "GET", "k")
                found = None if value is None else int(value)
                assert found in expected[module_id].possible, (
                    f"round {round_}, {module_id}: {found}, {expected[module_id]}"
                )
                if chance.random() < 0.5:
                    hub.deprovision(module_id)
                # What was found is the truth from now on.
                with (tmp_path / "ledger").open("a") as ledger:
                    ledger.write(f"ack {module_id} {found}\n" if found is not None else f"obliterated {module_id} 0\n")
        assert processes_of(tmp_path / "data") == [], f"round {round_}"
