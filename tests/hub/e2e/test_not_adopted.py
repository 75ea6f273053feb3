"""What a hub finds running and does not adopt: ended in good order if it is its own, and left alone if it is not."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hub import AsyncHub, Kind, State
from hub.errors import InvalidConfig, LocalDataError
from hub.instance import LocalRunner, procfs
from hub.instance.local import LocalInstance
from hub.instance.procfs import ProcessIdentity
from hub.instance.protocol import InstanceSpec
from hub.layout import Layout
from tests.hub.conftest import MakeHub, tiny_kind
from tests.hub.instance.support import gone
from tests.hub.leaving import journalled, nothing_left, pid_of, rewrite, runs
from tests.hub.observer import Observer

__all__ = ["nothing_left"]
pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("nothing_left")]

# Closes its port on SIGUSR1 and lives on; tells in a file that it was asked to end, and did so by itself.
FICKLE = """
import os, signal, socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
def end(*_):
    open(sys.argv[2], "w").close()
    os._exit(0)
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGUSR1, lambda *_: listener.close())
while True:
    signal.pause()
"""


def fickle(tmp_path: Path) -> Kind:
    return Kind("fickle", [sys.executable, "-I", "-S", "-c", FICKLE, "{port}", str(tmp_path / "ended")])


@pytest.fixture
def left(make_hub: MakeHub, tmp_path: Path) -> int:
    """The process of module `m`, which a hub has left running."""
    hub = make_hub(kinds=[fickle(tmp_path)], default_kind="fickle", on_exit="leave")
    pid = pid_of(hub.provision("m"))
    hub.close()
    assert runs(pid)
    return pid


def stop(pid: int, _port: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    while (stat := procfs.read_stat(pid)) is not None and stat.state != "T":
        pass


def close_port(pid: int, port: int) -> None:
    os.kill(pid, signal.SIGUSR1)
    while procfs.listener_in_group(port, pid):
        pass


@pytest.mark.parametrize("fault", [stop, close_port])
def test_a_process_that_serves_no_longer_is_ended_and_its_module_recovered(
    make_hub: MakeHub, tmp_path: Path, left: int, events: Observer, fault: Callable[[int, int], None]
) -> None:
    """One that is stopped, or has closed its port, is asked to end in good order; a new one is started on its data."""
    fault(left, journalled(tmp_path)["port"])
    make_hub(kinds=[fickle(tmp_path)], default_kind="fickle")
    assert gone(left)
    assert (tmp_path / "ended").exists()
    assert events.all("instance.adopted") == []
    assert events.all("hub.orphan_killed", module_id="m", pid=left) != []
    events.wait("module.resolved", module_id="m", to_state="crashed", reason="process_gone")
    events.wait("module.transition", module_id="m", from_state="recovering", to_state="provisioned")


def test_an_answer_that_does_not_come_in_time_is_none(make_hub: MakeHub, tmp_path: Path, events: Observer) -> None:
    """A probe that hangs is given `live_timeout`, however long the kind's own times are."""
    kind = Kind("mute", [sys.executable, "-I", "-S", "-c", FICKLE, "{port}", str(tmp_path / "ended")], live=None)
    leaving = make_hub(kinds=[kind], default_kind="mute", on_exit="leave")
    pid = pid_of(leaving.provision("m"))
    leaving.close()
    asking = Kind("mute", kind.command, live="http:/health")
    make_hub(kinds=[asking], default_kind="mute", live_timeout=0.3)
    assert gone(pid)
    assert (tmp_path / "ended").exists()
    events.wait("module.resolved", module_id="m", to_state="crashed")


def test_a_process_of_a_kind_that_is_gone_is_ended(make_hub: MakeHub, tmp_path: Path, left: int) -> None:
    """Nobody could start it again; its data is kept."""
    hub = make_hub(restart_limit=100, restart_delay=60.0)
    assert gone(left)
    assert (tmp_path / "ended").exists()
    assert hub.module("m").dirty


def test_a_process_without_its_port_is_ended_whoever_listens_there(
    make_hub: MakeHub, tmp_path: Path, left: int, events: Observer
) -> None:
    """The listener must be its own; the module is recovered on another port."""
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        rewrite(tmp_path, port=port)
        make_hub(kinds=[fickle(tmp_path)], default_kind="fickle")
        assert gone(left)
        back = events.wait("module.transition", module_id="m", from_state="recovering", to_state="provisioned")
        assert back["port"] != port


def test_a_process_in_the_midst_of_an_operation_is_ended(make_hub: MakeHub, tmp_path: Path, left: int) -> None:
    """A hub that died while it hibernated a module: the hibernation is finished, in good order."""
    rewrite(tmp_path, state="hibernating", op_id="0123456789abcdef")
    hub = make_hub(kinds=[fickle(tmp_path)], default_kind="fickle")
    assert gone(left)
    assert (tmp_path / "ended").exists()
    assert hub.module("m").state is State.HIBERNATED


def test_a_process_that_was_being_started_is_ended(make_hub: MakeHub, tmp_path: Path, left: int) -> None:
    """A hub that died before its journal knew the process: it is found by its data, and may have begun to write."""
    rewrite(tmp_path, state="waking", op_id="0123456789abcdef", pid=None, started_ticks=None, boot_id="")
    hub = make_hub(kinds=[fickle(tmp_path)], default_kind="fickle")
    assert gone(left)
    assert (tmp_path / "ended").exists()
    assert hub.module("m").state is State.HIBERNATED


ANOTHER_BOOT = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize("changed", [{"started_ticks": 1}, {"boot_id": ANOTHER_BOOT}, {"boot_id": ""}])
def test_a_process_that_merely_has_the_id_is_left_alone(
    make_hub: MakeHub, tmp_path: Path, left: int, events: Observer, changed: dict[str, Any]
) -> None:
    """Another start time, another boot of the machine, or a row of before boots were noted: it is a stranger."""
    with subprocess.Popen(["sleep", "60"]) as stranger:
        stat = procfs.read_stat(stranger.pid)
        assert stat is not None
        rewrite(tmp_path, **{"pid": stranger.pid, "started_ticks": stat.started_ticks, **changed})
        hub = make_hub(kinds=[fickle(tmp_path)], default_kind="fickle")
        assert events.all("instance.adopted") == []
        events.wait("module.transition", module_id="m", from_state="recovering", to_state="provisioned")
        hub.close()
        assert stranger.poll() is None
        stranger.kill()
    assert os.waitpid(left, 0) == (left, signal.SIGKILL)  # found by its marker; nobody knew it for a child


def test_many_are_ended_at_the_same_time(make_hub: MakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long each takes to end, a start takes hardly longer than one: here none ends before all were asked."""
    count = 8
    leaving = make_hub(on_exit="leave")
    pids = {pid_of(leaving.provision(f"m{number}")) for number in range(count)}
    leaving.close()
    end, begun, all_begun = LocalRunner.end, set[int](), asyncio.Event()

    async def slowly(self: LocalRunner, spec: InstanceSpec, identity: ProcessIdentity) -> bool:
        begun.add(identity.pid)
        if len(begun) == count:
            all_begun.set()
        async with asyncio.timeout(30):
            await all_begun.wait()
        return await end(self, spec, identity)

    monkeypatch.setattr(LocalRunner, "end", slowly)
    make_hub(kinds=[tiny_kind("another")], default_kind="another")
    assert all(map(gone, pids))


def test_a_hub_that_cannot_find_out_who_serves_does_not_start_and_ends_nobody(
    make_hub: MakeHub, tmp_path: Path, left: int
) -> None:
    """No descriptor is left to watch a server by: that says nothing of the server."""

    def exhausted(pid: int, flags: int = 0) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pidfd_open", exhausted)
        with pytest.raises(LocalDataError, match="Too many open files"):
            make_hub(kinds=[fickle(tmp_path)], default_kind="fickle")
    assert runs(left)
    assert make_hub(kinds=[fickle(tmp_path)], default_kind="fickle").module("m").pid == left


def test_a_start_that_fails_ends_nobody(make_hub: MakeHub, tmp_path: Path, left: int) -> None:
    """Whatever else is wrong with the data directory, servers that were adopted already run on."""

    def refused(self: Layout, tracked: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Layout, "clear_temporary", refused)
        with pytest.raises(InvalidConfig):
            make_hub(kinds=[fickle(tmp_path)], default_kind="fickle")
    assert runs(left)
    assert make_hub(kinds=[fickle(tmp_path)], default_kind="fickle").module("m").pid == left


def test_a_start_that_is_cancelled_ends_nobody(make_hub: MakeHub, tmp_path: Path, left: int) -> None:
    """Cancelled while it looks who serves, the hub lets go of all that it had taken hold of."""

    async def scenario() -> None:
        looking = asyncio.Event()

        async def long(self: LocalInstance, timeout_s: float) -> bool:
            looking.set()
            await asyncio.sleep(3600)
            return True

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LocalInstance, "still_serves", long)
            hub = AsyncHub(
                tmp_path / "data", f"file://{tmp_path}/backend", kinds=[fickle(tmp_path)], default_kind="fickle"
            )
            starting = asyncio.ensure_future(hub.__aenter__())
            await looking.wait()
            starting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await starting

    asyncio.run(scenario())
    assert runs(left)
    assert make_hub(kinds=[fickle(tmp_path)], default_kind="fickle").module("m").pid == left
