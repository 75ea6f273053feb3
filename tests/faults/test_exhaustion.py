"""Descriptors, ports and clocks that run out or jump: what can't be done is refused typed, and done once it can."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hub import Hub, ModhubError, ModuleNotFound, State
from hub.services import Services
from tests.faults.rig import kinds
from tests.hub.conftest import MakeHub
from tests.hub.marked import listens, processes_of
from tests.hub.observer import Observer
from tests.hub.tiny_client import get, put

pytestmark = pytest.mark.e2e

FEW = 60


def out_of_descriptors(root: Path) -> None:
    """In a process of its own: modules are provisioned until no descriptor is left, and then a few are let go."""
    refused: list[str] = []
    with Hub(root / "data", f"file://{root}/backend", kinds=kinds(sound=True), default_kind="tiny") as hub:
        for number in range(3):
            put(hub.provision(f"m{number}"), "k", str(number))
        limit = len(list(Path("/proc/self/fd").iterdir())) + 2
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit + FEW))
        for operation, module_id in (
            (hub.provision, "other"),
            (hub.deprovision, "m0"),
            (hub.hibernate, "m1"),
            (hub.obliterate, "m2"),
        ):
            try:
                operation(module_id, timeout=30)
            except ModhubError as error:
                refused.append(type(error).__name__)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit + FEW, limit + FEW))
        hub.obliterate("m2", timeout=30)
        found = {name: get(hub.provision(name, timeout=30), "k") for name in ("m0", "m1", "m2", "other")}
    print(json.dumps({"refused": refused, "found": found}))


def test_a_hub_that_ran_out_of_descriptors_goes_on(tmp_path: Path) -> None:
    """Whatever could not be opened was refused typed; with descriptors again, all data is there."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"from tests.faults.test_exhaustion import *; out_of_descriptors(Path({str(tmp_path)!r}))",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["refused"]
    assert told["found"] == {"m0": "0", "m1": "1", "m2": None, "other": None}
    assert processes_of(tmp_path / "data") == []


def free_pair() -> tuple[int, int]:
    """Two neighbouring ports that nobody listens on."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            low: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", low + 1))
            except OSError:
                continue
            return low, low + 1


def test_two_ports_serve_many_modules_one_after_the_other(make_hub: MakeHub, tmp_path: Path) -> None:
    """A third module is refused typed and leaves nothing; each port is free again when its module sleeps, or is gone."""
    low, high = free_pair()
    hub = make_hub(ports=(low, high))
    for name in ("a", "b"):
        put(hub.provision(name), "k", name)
    for _ in range(3):
        with pytest.raises(ModhubError, match="no port"):
            hub.provision("c")
        with pytest.raises(ModuleNotFound):
            hub.module("c")
    hub.hibernate("a")
    assert hub.provision("c").port in {low, high}
    with pytest.raises(ModhubError, match="no port"):
        hub.wake("a")
    assert hub.module("a").state is State.HIBERNATED
    hub.obliterate("c")
    assert get(hub.wake("a"), "k") == "a"
    hub.deprovision("b")
    assert get(hub.provision("b"), "k") == "b"
    assert not (tmp_path / "backend" / "c").exists()


def test_a_port_that_somebody_took_meanwhile_is_left_to_them(
    make_hub: MakeHub, events: Observer, tmp_path: Path
) -> None:
    """A sleeper wakes on another port, a crashed module recovers on another, and gets its own range's last one."""
    low, high = free_pair()
    hub = make_hub(ports=(low, high))
    info = hub.provision("m")
    put(info, "k", "v")
    hub.hibernate("m")
    assert info.port is not None
    with socket.create_server(("127.0.0.1", info.port)):
        woken = hub.wake("m")
        assert {woken.port, info.port} == {low, high}
        assert get(woken, "k") == "v"
        assert woken.pid is not None
        os.kill(woken.pid, signal.SIGKILL)
        events.wait("module.transition", module_id="m", from_state="recovering", to_state="provisioned")
        assert hub.module("m").port == woken.port
    assert hub.deprovision("m").state is State.UNPROVISIONED
    assert not listens(tmp_path / "data", low)
    assert not listens(tmp_path / "data", high)


def shifted_clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The wall clock, as many seconds off as the first of the list says; also where it was bound before."""
    now: Callable[[], float] = time.time
    shift = [0.0]

    def shifted() -> float:
        return now() + shift[0]

    monkeypatch.setattr("time.time", shifted)
    bound = Services.__init__.__kwdefaults__
    assert bound is not None
    assert bound["wall_clock"] is now
    monkeypatch.setitem(bound, "wall_clock", shifted)
    return shift


@pytest.mark.parametrize("days", [-1, 1], ids=["back", "forth"])
def test_a_clock_that_jumps_by_a_day_moves_nothing(
    make_hub: MakeHub, events: Observer, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    """Idle times, backoffs and retries are by a clock that does not jump; nobody is sent home early, nor never."""
    shift = shifted_clock(monkeypatch)
    hub = make_hub(idle_timeout=1.5, sweep_interval=0.05, restart_delay=0.1)
    put(hub.provision("busy"), "k", "busy")
    put(hub.provision("idle"), "k", "idle")
    shift[0] = days * 86_400.0
    jumped = time.monotonic()
    busy = hub.touch("busy")
    assert busy.pid is not None
    os.kill(busy.pid, signal.SIGKILL)
    events.wait("module.transition", module_id="busy", from_state="recovering", to_state="provisioned", timeout=5)
    assert not events.all("module.idle"), "sent home by the jump alone"
    put(hub.module("busy"), "k", "again")
    events.wait("module.transition", module_id="idle", to_state="unprovisioned", timeout=10)
    assert time.monotonic() - jumped > 1.0
    assert get(hub.provision("busy"), "k") == "again"
    assert get(hub.provision("idle"), "k") == "idle"


@pytest.mark.parametrize("days", [-1, 1], ids=["back", "forth"])
def test_a_hub_that_starts_in_another_day_finds_its_modules(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    """A clock that was set while the hub was down costs no data, whatever becomes of idle times."""
    hub = make_hub()
    put(hub.provision("m"), "k", "v")
    hub.close()
    shifted_clock(monkeypatch)[0] = days * 86_400.0
    hub = make_hub(hibernated_timeout=3600.0, sweep_interval=0.05)
    assert get(hub.provision("m"), "k") == "v"
    assert hub.deprovision("m").state is State.UNPROVISIONED
    assert get(hub.provision("m"), "k") == "v"
