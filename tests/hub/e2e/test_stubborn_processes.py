"""Processes that not even the kernel ends, and starts that break half-way."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from hub import ModhubError, ProvisionFailed, State
from hub.errors import StopFailed
from hub.instance import Stopped
from hub.instance.local import LocalInstance
from tests.hub.conftest import MakeHub
from tests.hub.marked import processes_of
from tests.hub.observer import Observer

pytestmark = pytest.mark.e2e


def test_a_process_that_the_kernel_does_not_end_leaves_its_module_provisioned(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hibernation whose stop fails altogether ends in a stable state, like one that was not clean."""
    hub = make_hub()
    info = hub.provision("m")

    async def hangs(self: LocalInstance, *, force: bool) -> Stopped:
        raise StopFailed("process group does not end on SIGKILL")

    with monkeypatch.context() as patch:
        patch.setattr(LocalInstance, "stop", hangs)
        with pytest.raises(StopFailed):
            hub.hibernate("m")
    assert hub.module("m").state is State.PROVISIONED
    assert hub.provision("m").pid == info.pid
    assert hub.hibernate("m").state is State.HIBERNATED


def test_one_process_that_does_not_end_keeps_no_other_alive(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """At the end of the hub every process is ended that can be, whatever happens to the first of them."""
    hub = make_hub()
    stuck, other = hub.provision("a"), hub.provision("b")
    kill = LocalInstance.kill
    stop = LocalInstance.stop

    async def hangs(self: LocalInstance, *, force: bool) -> Stopped:
        raise StopFailed("process group does not end on SIGKILL")

    async def kill_unless_stuck(self: LocalInstance) -> None:
        await kill(self)
        if self.pid == stuck.pid:
            raise StopFailed("process group does not end on SIGKILL")

    monkeypatch.setattr(LocalInstance, "stop", hangs)
    monkeypatch.setattr(LocalInstance, "kill", kill_unless_stuck)
    hub.close()
    monkeypatch.setattr(LocalInstance, "stop", stop)
    assert other.pid is not None
    assert processes_of(tmp_path / "data") == []


def test_a_process_that_cannot_be_watched_is_ended(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Out of descriptors just after a process was started: the start fails, and nothing of it runs on."""
    hub = make_hub()

    def exhausted(pid: int, flags: int = 0) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pidfd_open", exhausted)
        with pytest.raises(ProvisionFailed, match="Too many open files"):
            hub.provision("m")
    assert processes_of(tmp_path / "data") == []
    assert hub.provision("m").state is State.PROVISIONED


def test_a_start_that_fails_on_its_log_gives_its_port_back(make_hub: MakeHub, tmp_path: Path) -> None:
    """Where logs can't be written the error is typed, and the only port is free for the next try."""
    hub = make_hub()
    port = hub.provision("first").port
    assert port is not None
    hub.close()
    hub = make_hub(data="other", ports=(port, port))
    logs = tmp_path / "other" / "logs"
    logs.rmdir()
    logs.write_text("in the way")
    with pytest.raises(ModhubError):
        hub.provision("m")
    logs.unlink()
    assert hub.provision("m").port == port


def test_a_log_that_cannot_be_rotated_keeps_no_idle_module_here(
    make_hub: MakeHub, tmp_path: Path, events: Observer
) -> None:
    """A full disk, or something in the way of a log's older generation, does not stop the sweep of idle modules."""
    hub = make_hub(idle_timeout=0.3, sweep_interval=0.05, log_max_bytes=1024)
    (tmp_path / "data" / "logs" / "m.1").mkdir()
    hub.provision("m")
    (tmp_path / "data" / "logs" / "m").write_text("x" * 2000)
    events.wait("module.transition", module_id="m", to_state="unprovisioned", timeout=10)
    assert events.all("hub.actor_failed") == []
