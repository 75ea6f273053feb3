"""A hub that is killed while a kind's `init` runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hub import State
from tests.hub.conftest import MakeHub, tiny_kind
from tests.hub.marked import processes_of
from tests.hub.observer import Observer
from tests.hub.tiny_client import get

pytestmark = pytest.mark.e2e

HOST = """
import sys
from hub import Hub
from tests.hub.conftest import tiny_kind
text = 'echo half > "$1/k"; setsid sleep 300 & echo > "$2"; wait'
kind = tiny_kind(init=["sh", "-c", text, "sh", "{data_dir}", sys.argv[3]])
Hub(sys.argv[1], sys.argv[2], kinds=[kind], default_kind="tiny").start().provision("m")
"""


def test_half_of_the_first_data_is_neither_served_nor_sent_home(
    make_hub: MakeHub, tmp_path: Path, events: Observer
) -> None:
    """After kill -9 of the hub in the midst of it, the next one begins anew; nothing that ran is left."""
    data, pipe = tmp_path / "data", tmp_path / "pipe"
    os.mkfifo(pipe)
    command = [sys.executable, "-c", HOST, str(data), f"file://{tmp_path}/backend", str(pipe)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[3]) as host:
        pipe.read_text()
        host.send_signal(signal.SIGKILL)
    module = data / "modules" / "m"
    assert (module / "data.new" / "k").read_text() == "half\n"
    hub = make_hub(kinds=[tiny_kind(init=["sh", "-c", 'printf all > "$1/k"', "sh", "{data_dir}"])])
    assert processes_of(data) == []
    # What it was killed in is dirty, so it is sent home: as the nothing that it is.
    events.wait("dehydration.completed", module_id="m", files=0)
    info = hub.provision("m")
    assert info.state is State.PROVISIONED
    assert get(info, "k") == "all"
    assert sorted(path.name for path in module.iterdir() if path.name.startswith("data")) == ["data"]
