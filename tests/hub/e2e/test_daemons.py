"""A server that starts daemons of its own."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from hub import Kind
from tests.hub.conftest import TINY_SERVER, MakeHub
from tests.hub.marked import processes_of
from tests.hub.observer import Observer

pytestmark = pytest.mark.e2e

DAEMONIZING = """
import subprocess, sys
subprocess.Popen(["sleep", "300"], start_new_session=True)
exec(open(sys.argv.pop(1)).read())
"""


@pytest.fixture
def daemonizing() -> Kind:
    return Kind("daemonizing", [sys.executable, "-c", DAEMONIZING, str(TINY_SERVER), "{port}", "{data_dir}"])


@pytest.mark.parametrize("operation", ["hibernate", "deprovision", "obliterate"])
def test_a_daemon_does_not_outlive_its_server(
    make_hub: MakeHub, tmp_path: Path, daemonizing: Kind, operation: str
) -> None:
    """In a session of its own no signal to the group reaches it; it must not write to data that is taken away."""
    hub = make_hub(kinds=[daemonizing], default_kind="daemonizing")
    hub.provision("m")
    assert len(processes_of(tmp_path / "data")) == 2
    getattr(hub, operation)("m")
    assert processes_of(tmp_path / "data") == []


def test_a_daemon_is_gone_before_its_crashed_server_is_recovered(
    make_hub: MakeHub, tmp_path: Path, daemonizing: Kind, events: Observer
) -> None:
    """The recovered server does not share its data with what the crashed one left behind."""
    hub = make_hub(kinds=[daemonizing], default_kind="daemonizing")
    pid = hub.provision("m").pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    events.wait("module.transition", module_id="m", from_state="recovering", to_state="provisioned")
    assert len(processes_of(tmp_path / "data")) == 2


def test_a_daemon_does_not_outlive_the_hub(make_hub: MakeHub, tmp_path: Path, daemonizing: Kind) -> None:
    """When the hub has ended, nothing that its servers started is left."""
    hub = make_hub(kinds=[daemonizing], default_kind="daemonizing")
    hub.provision("m")
    hub.close()
    assert processes_of(tmp_path / "data") == []
