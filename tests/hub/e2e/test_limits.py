"""Limits of a kind, as those who operate a hub see them."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from hub import Kind
from hub.instance import cgroups
from hub.instance.cgroup_places import find_places
from tests.hub.conftest import MakeHub, tiny_kind
from tests.hub.observer import Observer

pytestmark = pytest.mark.e2e

HUNGRY = """
import signal, socket, sys
def eat(*_):
    global eaten
    eaten = b"x" * (256 << 20)
signal.signal(signal.SIGUSR1, eat)
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    listener.accept()[0].close()
"""


@pytest.mark.skipif("memory" not in find_places(turn_on=False), reason="the kernel lets nobody limit memory here")
def test_a_crash_for_want_of_memory_is_called_that(make_hub: MakeHub, events: Observer) -> None:
    """The event's reason and the module's last error say it; the module is recovered like any other."""
    kind = Kind("hungry", [sys.executable, "-I", "-S", "-c", HUNGRY, "{port}"], limits={"memory": "64M"})
    hub = make_hub(kinds=[kind], default_kind="hungry")
    pid = hub.provision("m").pid
    assert pid is not None
    os.kill(pid, signal.SIGUSR1)
    events.wait("module.crashed", module_id="m", reason="out of memory")
    events.wait("module.transition", module_id="m", from_state="recovering", to_state="provisioned")
    assert hub.module("m").last_error == "its process ended with SIGKILL: out of memory"
    assert events.all("instance.limits_unenforced") == []


def test_limits_that_cannot_be_had_are_told_at_each_start(
    make_hub: MakeHub, events: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The module runs without them, and the log warns with their names."""

    def nowhere(*, turn_on: bool) -> dict[str, object]:
        assert turn_on
        return {}

    monkeypatch.setattr(cgroups, "find_places", nowhere)
    hub = make_hub(kinds=[tiny_kind(limits={"memory": "64M", "cpu": 1, "nofile": 64})])
    hub.provision("m")
    assert events.wait("instance.limits_unenforced", module_id="m")["limits"] == "cpu, memory"
    hub.hibernate("m")
    hub.wake("m")
    events.wait("instance.limits_unenforced", count=2)
