"""Servers with bad manners, each in every operation: what they do stays their own module's trouble, and nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from hub import Hub, Kind, ModhubError, ModuleInfo, ModuleNotFound, State
from tests.hub.conftest import TINY_SERVER, MakeHub
from tests.hub.marked import listens, processes_of
from tests.hub.observer import Observer
from tests.hub.tiny_client import get, put

pytestmark = pytest.mark.e2e

SERVER = Path(__file__).with_name("unruly_server.py")


def unruly(switch: Path, *flags: str, **options: Any) -> Kind:
    """A kind that misbehaves as long as the file `switch` is there."""
    command = [sys.executable, "-E", str(SERVER), str(TINY_SERVER), "{port}", "{data_dir}", str(switch), *flags]
    defaults: dict[str, Any] = {"stop_timeout": 0.3, "start_timeout": 20.0, "live": "tcp"}
    return Kind("unruly", command, **defaults | options)


@pytest.fixture
def switch(tmp_path: Path) -> Path:
    """While it is there, servers misbehave."""
    path = tmp_path / "switch"
    path.touch()
    return path


def nothing_is_left(hub: Hub, data: Path, port: int | None) -> None:
    """No process, no port: neither listened on nor held."""
    assert processes_of(data) == []
    held = attrgetter("_hub._runtime._services.runner._ports.held")(hub)
    assert held == set()
    assert port is None or not listens(data, port)


# A server that misbehaves while it serves


@dataclass(frozen=True)
class Manners:
    """How a server misbehaves.

    Attributes:
        flags: from its start on.
        signal: when it is sent this.
        stops: whether it still ends on its stop signal.
    """

    flags: tuple[str, ...] = ()
    signal: signal.Signals | None = None
    stops: bool = True


SERVING = {
    "ignores SIGTERM": Manners(("--stubborn",), stops=False),
    "has a grandchild in its group": Manners(("--fork",)),
    "has a grandchild in its own session": Manners(("--daemon",)),
    "ignores SIGTERM, and has grandchildren": Manners(("--stubborn", "--fork", "--daemon"), stops=False),
    "hangs": Manners(signal=signal.SIGSTOP, stops=False),
    "has closed its port": Manners(signal=signal.SIGUSR1),
    "floods its log": Manners(("--flood",)),
    "leaves litter": Manners(("--litter",)),
}


def hibernate(hub: Hub, manners: Manners, events: Observer) -> None:
    if manners.stops:
        assert hub.hibernate("m").state is State.HIBERNATED
        return
    with pytest.raises(ModhubError):
        hub.hibernate("m")
    assert hub.module("m").state is State.PROVISIONED
    hub.deprovision("m")


def recover(hub: Hub, manners: Manners, events: Observer) -> None:
    info = hub.module("m")
    assert info.pid is not None
    os.kill(info.pid, signal.SIGKILL)
    events.wait("module.transition", module_id="m", from_state="recovering", to_state="provisioned")
    hub.deprovision("m")


def deprovision(hub: Hub, manners: Manners, events: Observer) -> None:
    assert hub.deprovision("m").state is State.UNPROVISIONED


def obliterate(hub: Hub, manners: Manners, events: Observer) -> None:
    assert hub.obliterate("m").remaining == 0


@pytest.mark.parametrize(
    "operation", [hibernate, recover, deprovision, obliterate], ids=lambda operation: operation.__name__
)
@pytest.mark.parametrize("manners", SERVING.values(), ids=SERVING)
def test_a_serving_child_leaves_nothing_and_loses_nothing(
    *,
    make_hub: MakeHub,
    tmp_path: Path,
    switch: Path,
    events: Observer,
    manners: Manners,
    operation: Callable[[Hub, Manners, Observer], None],
) -> None:
    """Whatever it does, the operation ends, its processes and port are gone, and its data is what was acknowledged."""
    hub = make_hub(kinds=[unruly(switch, *manners.flags)], default_kind="unruly")
    info = hub.provision("m")
    put(info, "k", "v")
    if manners.signal is not None:
        assert info.pid is not None
        os.kill(info.pid, manners.signal)
    operation(hub, manners, events)
    nothing_is_left(hub, tmp_path / "data", info.port)
    switch.unlink()
    again = hub.provision("m")
    assert get(again, "k") == (None if operation is obliterate else "v")
    hub.obliterate("m")
    assert list((tmp_path / "data" / "trash").iterdir()) == []
    assert list((tmp_path / "backend").iterdir()) == []


@pytest.mark.parametrize("manners", SERVING.values(), ids=SERVING)
def test_a_serving_child_does_not_outlive_its_hub(
    make_hub: MakeHub, tmp_path: Path, switch: Path, manners: Manners
) -> None:
    """At the end of the hub it goes, by force if need be; at the next start its data is there."""
    hub = make_hub(kinds=[unruly(switch, *manners.flags)], default_kind="unruly")
    info = hub.provision("m")
    put(info, "k", "v")
    if manners.signal is not None:
        assert info.pid is not None
        os.kill(info.pid, manners.signal)
    hub.close()
    nothing_is_left(hub, tmp_path / "data", info.port)
    switch.unlink()
    hub = make_hub(kinds=[unruly(switch)], default_kind="unruly")
    assert hub.module("m").state is State.HIBERNATED
    assert get(hub.wake("m"), "k") == "v"


def test_a_child_that_has_closed_its_port_is_recovered(make_hub: MakeHub, switch: Path, events: Observer) -> None:
    """It lives, and nobody can reach it: the liveness probe sees that."""
    hub = make_hub(kinds=[unruly(switch)], default_kind="unruly", live_interval=0.05, live_timeout=0.2)
    info = hub.provision("m")
    put(info, "k", "v")
    assert info.pid is not None
    os.kill(info.pid, signal.SIGUSR1)
    events.wait("module.hung", module_id="m")
    events.wait("module.transition", module_id="m", from_state="recovering", to_state="provisioned")
    assert get(hub.module("m"), "k") == "v"


# A server that never gets as far as serving

STARTING = {
    "takes its port and dies": ("--dies",),
    "never listens": ("--deaf",),
    "never listens, and ignores SIGTERM": ("--deaf", "--stubborn"),
    "never listens, and has grandchildren": ("--deaf", "--fork", "--daemon"),
    "dies, and leaves a daemon": ("--daemon", "--dies"),
    "dies in a flood": ("--flood", "--broken"),
}


def start_fresh(hub: Hub, switch: Path, events: Observer) -> None:
    with pytest.raises(ModhubError):
        hub.provision("other")
    with pytest.raises(ModuleNotFound):
        hub.module("other")


def start_from_the_backend(hub: Hub, switch: Path, events: Observer) -> None:
    switch.unlink()
    hub.deprovision("m")
    switch.touch()
    with pytest.raises(ModhubError):
        hub.provision("m")
    with pytest.raises(ModuleNotFound):
        hub.module("m")


def wake(hub: Hub, switch: Path, events: Observer) -> None:
    hub.hibernate("m")
    with pytest.raises(ModhubError):
        hub.wake("m")
    assert hub.module("m").state is State.HIBERNATED


def recover_in_vain(hub: Hub, switch: Path, events: Observer) -> None:
    pid = hub.module("m").pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    events.wait("module.restart.exhausted", module_id="m")
    events.wait("module.transition", module_id="m", from_state="recovering", to_state="unprovisioned")


@pytest.mark.parametrize(
    "operation", [start_fresh, start_from_the_backend, wake, recover_in_vain], ids=lambda operation: operation.__name__
)
@pytest.mark.parametrize("flags", STARTING.values(), ids=STARTING)
def test_a_child_that_fails_to_start_leaves_nothing_and_loses_nothing(
    *,
    make_hub: MakeHub,
    tmp_path: Path,
    switch: Path,
    events: Observer,
    flags: tuple[str, ...],
    operation: Callable[[Hub, Path, Observer], None],
) -> None:
    """The start fails typed; its processes and port are gone, and the data is what was acknowledged."""
    switch.unlink()
    hub = make_hub(kinds=[unruly(switch, *flags, start_timeout=0.4)], default_kind="unruly", restart_limit=2)
    info = hub.provision("m")
    put(info, "k", "v")
    switch.touch()
    operation(hub, switch, events)
    if operation is start_fresh:
        hub.deprovision("m")
    nothing_is_left(hub, tmp_path / "data", info.port)
    switch.unlink()
    assert get(hub.provision("m"), "k") == "v"


# A server that fills its disk


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of a few megabytes."""
    folder = tempfile.mkdtemp(prefix="modhub-small-")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=True)
    yield Path(folder)
    subprocess.run(["umount", folder], check=True)
    Path(folder).rmdir()


@pytest.mark.parametrize("operation", ["hibernate", "deprovision", "obliterate", "crash", "end"])
def test_a_child_that_fills_the_disk_costs_no_data(
    make_hub: MakeHub, small_disk: Path, switch: Path, events: Observer, operation: str
) -> None:
    """Not a byte is left for the journal: what can't be done fails typed, and is done once there is room."""
    hub = make_hub(data=str(small_disk / "data"), kinds=[unruly(switch)], default_kind="unruly")
    info = hub.provision("m")
    put(info, "k", "v")
    filler = _filled(info)

    outcome = ""
    try:
        if operation == "crash":
            assert info.pid is not None
            os.kill(info.pid, signal.SIGKILL)
        elif operation == "end":
            hub.close()
        else:
            getattr(hub, operation)("m")
            outcome = "done"
    except ModhubError as error:
        outcome = type(error).__name__
    filler.unlink(missing_ok=True)

    if operation == "end":
        hub = make_hub(data=str(small_disk / "data"), kinds=[unruly(switch)], default_kind="unruly")
    if operation == "obliterate" and outcome != "done":
        hub.obliterate("m")
        outcome = "done"
    if operation == "crash":
        events.wait("module.transition", module_id="m", from_state="recovering", to_state="provisioned")
    value = get(hub.provision("m"), "k")
    assert value == (None if operation == "obliterate" else "v"), outcome
    hub.deprovision("m")
    nothing_is_left(hub, small_disk / "data", info.port)
    hub.close()


def _filled(info: ModuleInfo) -> Path:
    assert info.pid is not None
    assert info.data_dir is not None
    os.kill(info.pid, signal.SIGUSR2)
    get(info, "k")  # answered after the signal
    filler = info.data_dir / "filler"
    assert filler.stat().st_size > 1_000_000
    return filler
