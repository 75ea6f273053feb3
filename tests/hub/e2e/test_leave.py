"""Hubs that leave their servers running, and the hubs that adopt them."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hub import Kind, State
from hub.instance import Instance, InstanceSpec, LocalRunner, procfs
from hub.instance.cgroup_places import find_places
from hub.instance.process import DATA_MARKER, MARKER
from hub.instance.procfs import ProcessIdentity
from hub.instance.protocol import OnExit
from hub.services import Services
from hub.survivors import sweep
from tests.hub.conftest import TINY_SERVER, MakeHub, tiny_kind
from tests.hub.instance.support import gone
from tests.hub.leaving import journalled, leaving_host, nothing_left, pid_of, rewrite, runs
from tests.hub.marked import hub_id, processes_of
from tests.hub.observer import Observer
from tests.hub.resp import command
from tests.hub.tiny_client import get, put

__all__ = ["nothing_left"]
pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("nothing_left")]


def test_what_a_hub_leaves_serves_on_and_the_next_one_adopts_it(
    make_hub: MakeHub, tmp_path: Path, events: Observer
) -> None:
    """Same process, same port, no crash; at the end of a hub that hibernates, it is hibernated like any other."""
    threads = set(threading.enumerate())
    leaving = make_hub(on_exit="leave")
    info = leaving.provision("m")
    put(info, "k", "v")
    leaving.provision("sleeper")
    leaving.hibernate("sleeper")
    leaving.close()
    assert set(threading.enumerate()) <= threads
    assert (journalled(tmp_path)["state"], journalled(tmp_path)["pid"]) == ("provisioned", info.pid)
    assert get(info, "k") == "v"  # no hub runs
    hub = make_hub()
    events.wait("instance.adopted", module_id="m", pid=info.pid, port=info.port)
    found = hub.module("m")
    assert (found.state, found.pid, found.port, found.url) == (State.PROVISIONED, info.pid, info.port, info.url)
    assert (found.restarts, found.last_error) == (0, None)
    assert hub.module("sleeper").state is State.HIBERNATED
    assert events.all("module.resolved") == []
    assert get(found, "k") == "v"
    hub.close()
    assert gone(pid_of(info))
    assert journalled(tmp_path)["state"] == "hibernated"
    assert get(make_hub().wake("m"), "k") == "v"


def test_servers_outlive_a_killed_host_and_their_clients_notice_nothing(
    make_hub: MakeHub, tmp_path: Path, events: Observer
) -> None:
    """After kill -9 a connection to Redis stays open through the adoption; from then on it is supervised as ever."""
    with leaving_host(tmp_path, "redis", "m") as host:
        port, pid = journalled(tmp_path)["port"], journalled(tmp_path)["pid"]
        command(port, "SET", "k", "v")
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            host.kill()
            host.wait()
            hub = make_hub()
            found = hub.module("m")
            assert (found.pid, found.port, found.state) == (pid, port, State.PROVISIONED)
            client.sendall(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n")
            assert client.recv(100) == b"$1\r\nv\r\n"
    os.kill(pid, signal.SIGKILL)
    crashed = events.wait("module.crashed", module_id="m", reason="process exited")
    assert "exit_status" not in crashed
    assert "Ready to accept connections" in crashed["output"]
    back = events.wait("module.transition", module_id="m", from_state="recovering", to_state="provisioned")
    assert back["pid"] != pid
    assert command(back["port"], "GET", "k") == "v"
    assert hub.module("m").last_error == "its process ended with exit status unknown: it was adopted"


def test_servers_outlive_a_host_that_ends_in_good_order(make_hub: MakeHub, tmp_path: Path) -> None:
    """They are adopted by another process's hub, and hibernated with it; one that leaves them again lets them run on."""
    with leaving_host(tmp_path, "tiny", "a", "b") as host:
        assert host.stdin is not None
        host.stdin.close()
        assert host.wait(30) == 0
    pids = [journalled(tmp_path, module_id)["pid"] for module_id in "ab"]
    for on_exit in ("leave", "hibernate"):
        assert all(map(runs, pids))
        hub = make_hub(on_exit=on_exit)
        assert [info.pid for info in hub.modules()] == pids
        hub.close()
    assert all(map(gone, pids))


def test_the_exit_of_a_child_that_was_left_is_known(make_hub: MakeHub, events: Observer) -> None:
    """Where the host has embedded the hub before, it reaps what that hub started, and knows how it ended."""
    leaving = make_hub(on_exit="leave")
    pid = pid_of(leaving.provision("m"))
    leaving.close()
    make_hub()
    os.kill(pid, signal.SIGKILL)
    events.wait("module.crashed", module_id="m", exit_status=-signal.SIGKILL)
    events.wait("module.transition", module_id="m", from_state="recovering", to_state="provisioned")


def test_an_adopted_module_counts_as_used_until_the_hub_started(make_hub: MakeHub, tmp_path: Path) -> None:
    """Nobody has seen who used it meanwhile: else it would be sent home for idleness at the start of the hub."""
    leaving = make_hub(on_exit="leave")
    pid = pid_of(leaving.provision("m"))
    leaving.close()
    rewrite(tmp_path, since=1.0)
    hub = make_hub(idle_timeout=3600.0)
    assert hub.module("m").idle_s < 3600.0
    assert hub.module("m").pid == pid


@pytest.mark.parametrize("operation", ["hibernate", "deprovision", "obliterate"])
def test_an_adopted_module_is_operated_like_any_other(make_hub: MakeHub, tmp_path: Path, operation: str) -> None:
    """Each operation ends its process, asks its hook for garbage where it would, and the next provision starts anew."""
    kind = tiny_kind(gc=["touch", str(tmp_path / "collected")])
    with leaving_host(tmp_path, "tiny", "m") as host:
        host.kill()
    hub = make_hub(kinds=[kind])
    info = hub.module("m")
    put(info, "k", "v")
    getattr(hub, operation)("m")
    assert gone(pid_of(info))
    assert processes_of(tmp_path / "data") == []
    assert (tmp_path / "collected").exists() == (operation == "deprovision")
    again = hub.provision("m")
    assert again.pid != info.pid
    assert get(again, "k") == (None if operation == "obliterate" else "v")


def test_an_adopted_process_that_hangs_is_killed(make_hub: MakeHub, tmp_path: Path, events: Observer) -> None:
    """It is probed like any other."""
    kind = tiny_kind(live="http:/health")
    with leaving_host(tmp_path, "tiny", "m") as host:
        host.kill()
    make_hub(kinds=[kind], live_interval=0.05, live_timeout=0.5, live_misses=2)
    os.kill(journalled(tmp_path)["pid"], signal.SIGSTOP)
    events.wait("module.hung", module_id="m")
    events.wait("module.transition", module_id="m", from_state="recovering", to_state="provisioned")


def test_an_adopted_process_that_ends_while_the_hub_still_starts_is_recovered(
    make_hub: MakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: Observer
) -> None:
    """There is no actor yet that its exit could be told to: it is seen when there is one."""
    with leaving_host(tmp_path, "tiny", "m") as host:
        host.kill()

    async def killing(services: Services) -> None:
        (entry,) = services.directory.provisioned()
        assert entry.instance is not None
        os.kill(entry.instance.pid, signal.SIGKILL)
        while entry.instance.alive:  # noqa: ASYNC110 - what would tell of it is what is missing here
            await asyncio.sleep(0.001)
        await sweep(services)

    with monkeypatch.context() as patch:
        patch.setattr("hub.runtime.sweep", killing)
        make_hub()
    events.wait("module.crashed", module_id="m")
    events.wait("module.transition", module_id="m", from_state="recovering", to_state="provisioned")


# During an exec nobody can read whose a process is: it serves when that is over.
DAEMONIZING = """
import subprocess, sys
for apart in (True, False):
    daemon = subprocess.Popen(["sleep", "300"], start_new_session=apart)
    while not open("/proc/%d/environ" % daemon.pid).read():
        pass
exec(open(sys.argv.pop(1)).read())
"""


@contextmanager
def stray(data_dir: Path) -> Generator[subprocess.Popen[bytes]]:
    """What a server that is not there any more has left behind."""
    marks = {MARKER: hub_id(data_dir), DATA_MARKER: str(data_dir / "modules" / "other" / "data")}
    with subprocess.Popen(["sleep", "301"], env=marks) as process:
        while not procfs.environment_of(process.pid) > {b""}:
            pass
        yield process
        process.kill()


def test_strays_are_killed_and_the_daemons_of_those_who_serve_on_are_not(
    make_hub: MakeHub, tmp_path: Path, events: Observer
) -> None:
    """At the end of a hub that leaves, and at the start of the next; with its server each daemon goes too."""
    kind = Kind("daemonizing", [sys.executable, "-c", DAEMONIZING, str(TINY_SERVER), "{port}", "{data_dir}"])
    leaving = make_hub(kinds=[kind], default_kind="daemonizing", on_exit="leave")
    leaving.provision("m")
    family = processes_of(tmp_path / "data")
    assert len(family) == 3
    with stray(tmp_path / "data") as process:
        leaving.close()
        assert process.wait(30) == -signal.SIGKILL
    assert processes_of(tmp_path / "data") == family
    with stray(tmp_path / "data") as process:
        hub = make_hub(kinds=[kind, tiny_kind()])
        assert process.wait(30) == -signal.SIGKILL
    assert processes_of(tmp_path / "data") == family
    assert {record["command"] for record in events.all("hub.orphan_killed")} == {"sleep 301"}
    hub.hibernate("m")
    assert processes_of(tmp_path / "data") == []


def test_many_are_looked_at_at_the_same_time(
    make_hub: MakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long each look takes, a start takes hardly longer than one: here none ends before all have begun."""
    count = 12
    leaving = make_hub(on_exit="leave")
    pids = {pid_of(leaving.provision(f"m{number}")) for number in range(count)}
    leaving.close()
    adopt, begun, all_begun = LocalRunner.adopt, set[int](), asyncio.Event()

    async def slowly(
        self: LocalRunner, spec: InstanceSpec, identity: ProcessIdentity, on_exit: OnExit, *, timeout_s: float
    ) -> Instance | None:
        begun.add(identity.pid)
        if len(begun) == count:
            all_begun.set()
        async with asyncio.timeout(30):
            await all_begun.wait()
        return await adopt(self, spec, identity, on_exit, timeout_s=timeout_s)

    monkeypatch.setattr(LocalRunner, "adopt", slowly)
    assert {info.pid for info in make_hub().modules()} == pids


def held_cgroups(data_dir: Path) -> list[Path]:
    places = {place.directory for place in find_places(turn_on=False).values()}
    return [path for place in places for path in place.glob(f"modhub-{hub_id(data_dir)}-*")]


@pytest.mark.skipif("pids" not in find_places(turn_on=False), reason="the kernel lets nobody limit processes here")
def test_an_adopted_process_keeps_its_limits_and_its_cgroup_ends_with_it(make_hub: MakeHub, tmp_path: Path) -> None:
    """Cgroups of an earlier run are cleared at the first start within limits, but for those of adopted servers."""
    kind = tiny_kind(limits={"pids": 20})
    leaving = make_hub(kinds=[kind], on_exit="leave")
    pid = pid_of(leaving.provision("m"))
    leaving.provision("gone")
    leaving.hibernate("gone")
    leaving.close()
    (held,) = held_cgroups(tmp_path / "data")
    hub = make_hub(kinds=[kind])
    hub.wake("gone")
    assert hub.module("m").pid == pid
    assert (held / "cgroup.procs").read_text().split() == [str(pid)]
    hub.hibernate("m")
    assert not held.exists()
    hub.close()
    assert held_cgroups(tmp_path / "data") == []
