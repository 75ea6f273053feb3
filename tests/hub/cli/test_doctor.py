"""`modhub doctor`: what it finds, and that it changes nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hub import Hub
from hub.cli import main
from hub.cli.doctor.finding import Status
from tests.hub.cli.conftest import Modhub
from tests.hub.conftest import MakeHub
from tests.hub.instance.support import gone
from tests.hub.leaving import nothing_left

__all__ = ["nothing_left"]

pytestmark = pytest.mark.usefixtures("no_configuration")


def findings(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    code = main(["doctor", "--json", *arguments])
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] == (code == 0)
    return code, {finding["check"]: finding for finding in report["findings"]}


def content(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.e2e
def test_a_healthy_machine_passes(modhub: Modhub, scratch: Path) -> None:
    """Without a configuration the machine is checked, a line each, and the exit code is 0."""
    done = modhub("doctor")
    assert done.returncode == 0, done.stdout
    assert done.stderr == ""
    for check in (
        "kernel",
        "Python",
        "SQLite",
        "setpriv",
        "/proc",
        "open files",
        "processes",
        "cgroups",
        "kind redis",
    ):
        assert f" {check} " in done.stdout
    assert "Nothing failed" in done.stdout
    assert list(scratch.iterdir()) == []


def test_what_somebody_may_copy_stays_in_one_piece(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Lines are broken between words, never within a path or URI, not even at a hyphen."""
    path = tmp_path / ("a-long-name-with-hyphens" * 4)
    main(["doctor", "--data-dir", str(path)])
    assert str(path) in capsys.readouterr().out


def test_a_good_configuration_passes_and_nothing_is_made(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A configuration whose directories do not exist yet is fine, and they still do not exist afterwards."""
    config = tmp_path / "hub.toml"
    config.write_text(f'data_dir = "{tmp_path}/data"\nbackend = "file://{tmp_path}/backend"\nports = [7000, 7099]\n')
    code, found = findings(capsys, "--config", str(config))
    assert code == 0
    assert found["data_dir"]["message"].endswith("does not exist yet; it can be made")
    assert found["backend"]["status"] == found["ports"]["status"] == found["configuration"]["status"] == Status.OK
    assert list(tmp_path.iterdir()) == [config]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data_dirr = 1", "'data_dirr' is no configuration key"),
        ('data_dir = "/d"', "'backend' is missing"),
        ("ports = [", "can't be read"),
        ('data_dir = "/d"\nbackend = "file:///b"\nidle_timeout = -1', "idle_timeout = -1.0 can't be used"),
        ('data_dir = "/d"\nbackend = "nope://b"', "no backend for the scheme 'nope'"),
    ],
)
def test_a_broken_configuration_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, words: str
) -> None:
    """A configuration that can't be used fails, with the key and what is allowed."""
    config = tmp_path / "hub.toml"
    config.write_text(text)
    code, found = findings(capsys, "--config", str(config))
    assert code == 1
    assert found["configuration"]["status"] == Status.FAIL
    assert words in found["configuration"]["message"]
    assert found["configuration"]["advice"]


def test_the_environment_counts_as_configuration(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `MODHUB_*` variable that is none is found without any flag."""
    monkeypatch.setenv("MODHUB_PORT", "8000")
    code, found = findings(capsys)
    assert code == 1
    assert "MODHUB_PORT is no configuration variable" in found["configuration"]["message"]


def test_an_unreachable_backend_fails(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A backend below something that is no directory fails, with advice; it can be checked alone."""
    (tmp_path / "file").touch()
    code, found = findings(capsys, "--backend", f"file://{tmp_path}/file/backend")
    assert code == 1
    assert found["backend"]["status"] == Status.FAIL
    assert found["backend"]["advice"]
    assert found["configuration"]["status"] == Status.NOTE
    assert "data_dir" not in found


def test_an_unusable_data_dir_fails(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A data directory that can't be made fails."""
    (tmp_path / "file").touch()
    code, found = findings(capsys, "--data-dir", str(tmp_path / "file" / "data"))
    assert code == 1
    assert found["data_dir"]["status"] == Status.FAIL


@pytest.mark.e2e
def test_beside_a_hub_it_names_the_holder_and_reads_its_journal(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """On a data directory that a hub holds, its process id and its modules are told, and the hub notices nothing."""
    data = tmp_path / "data"
    with Hub(data, (tmp_path / "backend").as_uri()) as hub:
        hub.provision("tenant-1")
        hub.provision("tenant-2")
        hub.hibernate("tenant-2")
        code, found = findings(capsys, "--data-dir", str(data))
        assert code == 0
        assert found["lock"]["status"] == Status.WARN
        assert f"process {os.getpid()} " in found["lock"]["message"]
        assert found["journal"]["message"] == "2 modules tracked: 1 provisioned, 1 hibernated"
        assert {item["name"] for item in found["dirty data"]["items"]} == {"tenant-1", "tenant-2"}
        hub.deprovision("tenant-1")
    before = content(data)
    _, found = findings(capsys, "--data-dir", str(data))
    assert found["lock"]["message"] == "no hub runs on it"
    assert found["journal"]["message"] == "1 module tracked: 1 hibernated"
    assert content(data) == before


@pytest.mark.e2e
@pytest.mark.usefixtures("nothing_left")
def test_servers_that_run_on_without_a_hub_are_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, make_hub: MakeHub
) -> None:
    """They look like those of a killed hub in the journal; one whose process is gone is still such a one."""
    leaving = make_hub(on_exit="leave")
    leaving.provision("serving")
    pid = leaving.provision("ended").pid
    leaving.close()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    _, found = findings(capsys, "--data-dir", str(tmp_path / "data"))
    assert found["left running"]["message"] == "serving: their processes run on without a hub"
    assert found["interrupted"]["message"] == "ended: the hub was killed"
    make_hub()
    _, found = findings(capsys, "--data-dir", str(tmp_path / "data"))
    assert "left running" not in found


@pytest.mark.e2e
def test_after_a_killed_hub_it_reads_the_log_and_leaves_it_alone(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What a killed hub left in its write-ahead log is read, and every file of it stays as it was."""
    data = tmp_path / "data"
    program = (
        "import sys, hub; h = hub.Hub(sys.argv[1], sys.argv[2]).start(); print(h.provision('t').pid, flush=True);"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, data, (tmp_path / "backend").as_uri()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
    assert gone(pid)
    before = content(data)
    assert data / "journal.sqlite3-wal" in before
    code, found = findings(capsys, "--data-dir", str(data))
    assert code == 0
    assert found["interrupted"]["message"] == "t: the hub was killed"
    assert found["lock"]["status"] == Status.OK
    assert content(data) == before


def test_a_damaged_journal_fails(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A journal that is no database fails, and says that the data is untouched."""
    (tmp_path / "journal.sqlite3").write_bytes(b"no database" * 100)
    code, found = findings(capsys, "--data-dir", str(tmp_path))
    assert code == 1
    assert found["journal"]["status"] == Status.FAIL
    assert "untouched" in found["journal"]["advice"]


def test_a_taken_port_range_fails(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A range of which no port is free fails."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config = tmp_path / "hub.toml"
        config.write_text(f'data_dir = "{tmp_path}/d"\nbackend = "file://{tmp_path}/b"\nports = [{port}, {port}]\n')
        code, found = findings(capsys, "--config", str(config))
    assert code == 1
    assert found["ports"]["message"] == f"{port}-{port}: 0 of 1 free"


def test_a_configured_kind_without_its_program_fails(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A kind that somebody configured must have its program; a shipped one that nobody asked for need not."""
    config = tmp_path / "hub.toml"
    config.write_text(
        f'data_dir = "{tmp_path}/d"\nbackend = "file://{tmp_path}/b"\n[kinds.mine]\ncommand = ["no-such-server"]\n'
    )
    code, found = findings(capsys, "--config", str(config))
    assert code == 1
    assert found["kind mine"]["status"] == Status.FAIL


def test_a_missing_tool_fails_with_its_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Without setpriv no module could be started: that fails, and names what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    code, found = findings(capsys)
    assert code == 1
    assert found["setpriv"]["advice"] == "install util-linux"
    assert found["kind redis"]["status"] == Status.NOTE


def few(which: int) -> tuple[int, int]:
    return (256, 4096)


def test_few_descriptors_are_a_warning(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A low limit of open files warns, with the number of modules it is good for, and does not fail."""
    monkeypatch.setattr("resource.getrlimit", few)
    code, found = findings(capsys)
    assert code == 0
    assert found["open files"]["status"] == Status.WARN
    assert "about 39 running modules" in found["open files"]["message"]


def nowhere(*, turn_on: bool) -> dict[str, object]:
    assert not turn_on
    return {}


def test_limits_that_cannot_be_enforced_are_a_warning(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the hub may make no cgroups, kinds that ask for such limits are named; others are not."""
    monkeypatch.setattr("hub.cli.doctor.setup.find_places", nowhere)
    monkeypatch.setattr("hub.cli.doctor.machine.find_places", nowhere)
    config = tmp_path / "hub.toml"
    config.write_text(
        f'data_dir = "{tmp_path}/d"\nbackend = "file://{tmp_path}/b"\n[kinds.mine]\ncommand = ["sh"]\n'
        '[kinds.mine.limits]\nmemory = "1G"\nnofile = 10\n[kinds.other]\ncommand = ["sh"]\nlimits.nofile = 10\n'
    )
    code, found = findings(capsys, "--config", str(config))
    assert code == 0
    assert found["limits of mine"]["status"] == Status.WARN
    assert found["limits of mine"]["message"].startswith("memory will not be enforced")
    assert "limits of other" not in found
    assert found["cgroups"]["status"] == Status.NOTE


def test_a_kinds_user_that_does_not_exist_fails(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hub that is root needs the user; one that is not runs everything as itself."""
    config = tmp_path / "hub.toml"
    config.write_text(
        f'data_dir = "{tmp_path}/d"\nbackend = "file://{tmp_path}/b"\n'
        '[kinds.mine]\ncommand = ["sh"]\nuser = "no-such-user"\n'
    )
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    code, found = findings(capsys, "--config", str(config))
    assert code == 1
    assert "adduser" in found["user of mine"]["advice"]
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    code, found = findings(capsys, "--config", str(config))
    assert code == 0
    assert "user of mine" not in found


def test_a_data_directory_that_lets_a_kinds_user_through_is_not_open(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The right to pass is not the right to read: no advice to take it away again."""
    (tmp_path / "something").touch()
    tmp_path.chmod(0o710)
    _, found = findings(capsys, "--data-dir", str(tmp_path))
    assert found["data_dir"]["status"] == Status.OK
    tmp_path.chmod(0o740)
    _, found = findings(capsys, "--data-dir", str(tmp_path))
    assert found["data_dir"]["status"] == Status.WARN
