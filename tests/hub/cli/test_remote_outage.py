"""Commands that go on over a restart of the hub, and what they say when it stays away."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import hub.cli.remote
from hub.cli.progress import ProgressBar
from hub.cli.refusal import HubUnreachable
from hub.cli.remote import following
from hub.cli.remote.following import Followed, follow
from tests.hub.cli.conftest import clean_environment
from tests.hub.cli.serving import called, command, served, until
from tests.hub.cli.test_serve import slow_kind


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return str(free.getsockname()[1])


def test_events_are_followed_over_a_restart(tmp_path: Path) -> None:
    """The connection is made again by itself; that another hub counts anew is noted, and what happens is shown."""
    port = free_port()
    with served(tmp_path, "--port", port) as hub:
        assert hub.cli("provision", "alpha").returncode == 0
        following_ = subprocess.Popen(
            command("events", "--follow", "-n", "1", "--json", "--url", hub.url),
            env=clean_environment(tmp_path, {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with following_:
            assert following_.stdout is not None
            assert following_.stderr is not None
            assert following_.stdout.readline()
            assert hub.end() == 0
            with served(tmp_path, "--port", port) as again:
                noted = following_.stderr.readline()
                assert noted.startswith("note: the hub was restarted"), noted
                assert again.cli("wake", "alpha").returncode == 0
                while True:
                    event = json.loads(following_.stdout.readline())
                    if event["fields"].get("to_state") == "provisioned":
                        break
                following_.send_signal(signal.SIGINT)
                assert following_.wait(20) == 130


def test_an_operation_that_a_restart_ended_is_told(tmp_path: Path) -> None:
    """Whoever waited learns that the hub knows it no more, and what to ask instead."""
    port = free_port()
    with served(tmp_path, "--port", port, config=slow_kind(tmp_path)) as hub:
        waiting = subprocess.Popen(
            command("provision", "slow", "--kind", "slow", "--url", hub.url),
            env=clean_environment(tmp_path, {}),
            stderr=subprocess.PIPE,
            text=True,
        )
        until(lambda: hub.json("operations")["operations"], "it is at work")
        hub.process.kill()
        hub.process.wait()
        with served(tmp_path, "--port", port, config=slow_kind(tmp_path)):
            _, told = waiting.communicate(timeout=30)
    assert waiting.returncode == 1
    assert "does not know operation" in told or "the connection" in told, told


class Away:
    """A hub that does not answer for a number of requests."""

    def __init__(self, times: int) -> None:
        self.times = times

    def get(self, *_path: str, **_query: Any) -> dict[str, Any]:
        self.times -= 1
        if self.times >= 0:
            raise HubUnreachable("away")
        return {"op_id": "1", "operation": "wake", "status": "done", "step": ""}


def test_an_outage_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """For so long as a restart takes; then it is an error, and no endless wait."""
    running = {"op_id": "1", "operation": "wake", "status": "running", "step": ""}
    done = Followed("m", dict(running))
    client: Any = Away(3)
    bar = ProgressBar(None, 80, "m")
    follow(client, [done], timeout_s=None, bar=bar, sleep=lambda _: None)
    assert done.info["status"] == "done"
    assert done.error is None
    monkeypatch.setattr(following, "_OUTAGE_S", 0.05)
    lost = Followed("m", dict(running))
    client = Away(10**9)
    follow(client, [lost], timeout_s=None, bar=bar, sleep=lambda _: time.sleep(0.01))
    assert isinstance(lost.error, HubUnreachable)


@pytest.mark.parametrize(("missing", "arguments"), [("urllib3", ("status",)), ("uvicorn", ("serve", "--port", "0"))])
def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing: str, arguments: tuple[str, ...]
) -> None:
    """Whoever installed modhub alone reads what to install, and no traceback."""
    for name in [
        name for name in sys.modules if name.startswith((missing, "hub.cli.remote.client", "hub.http.server"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.startswith(("hub.cli.serve.run", "hub.http.connection"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(hub.cli.remote, "client", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    places = {"MODHUB_DATA_DIR": str(tmp_path / "d"), "MODHUB_BACKEND": f"file://{tmp_path}/b"}
    done = called(*arguments, **places)
    assert done.returncode == 1
    assert done.stderr == f"error: this needs {missing}, which is not installed\nhint: pip install 'modhub[http]'\n"
    assert not (tmp_path / "d").exists()
