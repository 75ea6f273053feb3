"""A server that starts daemons of its own."""

from __future__ import annotations

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


def test_a_daemon_that_left_its_servers_group_does_not_outlive_the_hub(
    make_hub: MakeHub, tmp_path: Path, events: Observer
) -> None:
    """In a session of its own no signal to the group reaches it; when the hub has ended it is gone all the same."""
    command = [sys.executable, "-c", DAEMONIZING, str(TINY_SERVER), "{port}", "{data_dir}"]
    hub = make_hub(kinds=[Kind("daemonizing", command)], default_kind="daemonizing")
    hub.provision("m")
    hub.close()
    assert processes_of(tmp_path / "data") == []
    events.wait("hub.orphan_killed", command="sleep 300")
