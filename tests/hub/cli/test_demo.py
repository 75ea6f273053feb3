"""`modhub demo`, run as a user runs it, with real servers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hub import Hub, State
from hub.cli import main
from hub.cli.demo import command as demo_command
from hub.cli.demo.data import StoreClient
from hub.instance import procfs
from tests.hub.cli.conftest import Modhub, clean_environment

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("kind", ["store", "redis"])
def test_the_demo_holds_and_leaves_nothing(modhub: Modhub, scratch: Path, kind: str) -> None:
    """Every step of the demo holds with real servers of each kind, and no file of it stays."""
    done = modhub("demo", "--kind", kind)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    steps = re.findall(r"^✓ ([ \d]\d)  (\S+(?: \S+)?) ", done.stdout, re.MULTILINE)
    assert [int(number) for number, _ in steps] == list(range(1, 18))
    assert "checks held" in done.stdout
    assert "Nothing is left" in done.stdout
    assert "\x1b[" not in done.stdout
    assert max(len(line) for line in done.stdout.splitlines() if not line.startswith("Folder: ")) <= 80
    assert list(scratch.iterdir()) == []


def test_the_picture_shows_each_module_in_a_lane(modhub: Modhub) -> None:
    """The picture has a lane for each module, with the states that its steps led through, in their order."""
    done = modhub("demo")
    lanes = dict(re.findall(r"^(alpha|beta|gamma|delta) +(\S+)$", done.stdout, re.MULTILINE))
    shapes = {name: re.sub(r"(.)\1+", r"\1", lane) for name, lane in lanes.items()}
    assert shapes == {"alpha": "·P█H░W█O·", "beta": "·P█×R█O·", "gamma": "·P█D·P█O·", "delta": "·P█D·O·"}  # noqa: RUF001
    assert len({len(lane) for lane in lanes.values()}) == 1


def test_an_ascii_terminal_gets_ascii(modhub: Modhub) -> None:
    """Where the encoding has no check marks and blocks, ASCII stands for them."""
    done = modhub("demo", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert "+  1  start hub" in done.stdout


def test_json_is_one_object_and_nothing_else(modhub: Modhub) -> None:
    """`--json` prints the steps and the transitions as one object."""
    done = modhub("demo", "--json")
    story = json.loads(done.stdout)
    assert done.returncode == 0
    assert story["ok"]
    assert story["kept"] is None
    assert all(step["ok"] and step["checks"] for step in story["steps"])
    assert {change["module_id"] for change in story["transitions"]} == {"alpha", "beta", "gamma", "delta"}


def test_verbose_shows_the_events(modhub: Modhub) -> None:
    """`--verbose` shows the hub's own events below the steps."""
    done = modhub("demo", "--verbose")
    assert "module.transition module_id=alpha from_state=hibernated to_state=waking" in done.stdout


def test_a_kept_directory_can_be_opened_by_a_later_hub(modhub: Modhub) -> None:
    """With `--keep` the directory stays, its path is printed, and a hub finds the hibernated module and wakes it."""
    done = modhub("demo", "--keep")
    assert done.returncode == 0, done.stderr
    kept = re.search(r"^Kept: (.+)$", done.stdout, re.MULTILINE)
    assert kept is not None
    folder = Path(kept[1])
    with Hub(folder / "data", (folder / "backend").as_uri()) as hub:
        assert [(info.module_id, info.state) for info in hub.modules()] == [("alpha", State.HIBERNATED)]
        info = hub.wake("alpha")
        assert info.port is not None
        assert (StoreClient().read(info.port, "greeting") or b"").startswith(b"hello from alpha")


def test_a_failed_check_is_named_and_cleaned_up_after(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], scratch: Path
) -> None:
    """A value that does not read back ends the demo with exit code 1 and the step's name; nothing is left."""

    class Forgetful(StoreClient):
        reads = 0  # two before and two after the writes of each of the four modules

        def read(self, port: int, key: str) -> bytes | None:
            self.reads += 1
            value = super().read(port, key)
            return value if value is None or self.reads <= 16 else value + b"!"

    monkeypatch.setattr(demo_command, "CLIENTS", {"store": Forgetful()})
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    assert main(["demo"]) == 1
    captured = capsys.readouterr()
    assert "error: step 7, wake alpha: the value of 'greeting' is not what was written" in captured.err
    assert "✗  7  wake" in captured.out
    assert "checks held" not in captured.out
    assert list(scratch.iterdir()) == []


def test_a_failed_check_shows_in_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], scratch: Path
) -> None:
    """With `--json` a failure is in the object, too, and the exit code is 1."""

    class Refusing(StoreClient):
        def write(self, port: int, key: str, value: bytes) -> None:
            raise OSError("no")

    monkeypatch.setattr(demo_command, "CLIENTS", {"store": Refusing()})
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    assert main(["demo", "--json"]) == 1
    story = json.loads(capsys.readouterr().out)
    assert not story["ok"]
    assert story["error"] == "step 2, provision alpha: 'greeting' can't be written: no"


def test_a_missing_server_is_one_line(modhub: Modhub, scratch: Path) -> None:
    """Without redis-server the demo says what to install, before it begins anything."""
    done = modhub("demo", "--kind", "redis", PATH=str(scratch))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(
        "error: modules of kind 'redis' run the program 'redis-server', which was not found\nhint: "
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing_behind(scratch: Path, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM in the midst of the demo end its servers and remove its directory."""
    with subprocess.Popen(
        [sys.executable, "-m", "hub.cli", "demo"],
        env=clean_environment(scratch, {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        assert any("provision    beta" in line for line in demo.stdout)
        demo.send_signal(number)
        _, stderr = demo.communicate(timeout=30)
    assert demo.returncode == 128 + number
    assert stderr == "interrupted; nothing was left behind\n"
    assert list(scratch.iterdir()) == []
    assert _processes_that_name(scratch) == []


def _processes_that_name(path: Path) -> list[int]:
    deadline = time.monotonic() + 5
    while found := [pid for pid in procfs.pids() if pid != os.getpid() and str(path) in procfs.command_of(pid)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.01)
    return found
