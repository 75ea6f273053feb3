"""What `modhub doctor` tells of budgets and of the data that lies here."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from hub import Hub, Kind
from hub.cli import main
from hub.cli.doctor.finding import Status
from hub.cli.doctor.setup import check_budgets
from hub.config import configure
from hub.layout import Layout

pytestmark = pytest.mark.usefixtures("no_configuration")

MIB = 1024 * 1024


def findings(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, dict[str, Any]]:
    main(["doctor", "--json", *arguments])
    report = json.loads(capsys.readouterr().out)
    return {finding["check"]: finding for finding in report["findings"]}


@pytest.mark.e2e
def test_dirty_data_is_listed_with_where_it_lies(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each module's data that is only here: directory, size, state, kind, since when and what it grew from."""
    data = tmp_path / "data"
    with Hub(data, (tmp_path / "backend").as_uri()) as hub:
        for name in ("small", "Large", "home"):
            hub.provision(name)
        large = hub.module("Large").data_dir
        assert large is not None
        (large / "file").write_bytes(bytes(3 * MIB))
        hub.deprovision("home")
        hub.hibernate("small")
        found = findings(capsys, "--data-dir", str(data))["dirty data"]
        assert found["status"] == Status.NOTE
        assert "2 modules" in found["message"]
        first, second = found["items"]
        assert (first["name"], first["state"], second["name"], second["state"]) == (
            *("Large", "provisioned"),
            *("small", "hibernated"),
        )
        assert Path(first["directory"]) == large
        assert 3 * MIB <= first["bytes"] < 4 * MIB
        assert first["kind"] == "store"
        assert re.fullmatch(r"[0-9a-f]{16}/\d+", first["base"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", first["since"])
    monkeypatch.setenv("COLUMNS", "80")
    main(["doctor", "--data-dir", str(data)])
    shown = capsys.readouterr().out
    assert str(large) in shown
    lines = [line for line in shown.splitlines() if "/" not in line]
    assert max(map(len, lines)) <= 80


def test_only_the_largest_are_shown_to_people(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Of many directories a few are shown, and how many more there are; the JSON has them all."""
    Layout(tmp_path).make()
    for number in range(12):
        (tmp_path / "modules" / f"m{number}" / "data").mkdir(parents=True)
    main(["doctor", "--data-dir", str(tmp_path)])
    assert "and 4 more" in capsys.readouterr().out
    assert len(findings(capsys, "--data-dir", str(tmp_path))["unknown data"]["items"]) == 12


@pytest.mark.e2e
def test_data_that_no_journal_knows_is_found(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A lost journal leaves directories that no hub would touch: they are named, with sizes, as a warning."""
    data = tmp_path / "data"
    with Hub(data, (tmp_path / "backend").as_uri()) as hub:
        hub.provision("lost")
        assert "unknown data" not in findings(capsys, "--data-dir", str(data))
    for file in data.glob("journal.sqlite3*"):
        file.unlink()
    found = findings(capsys, "--data-dir", str(data))["unknown data"]
    assert found["status"] == Status.WARN
    (item,) = found["items"]
    assert (item["name"], item["directory"]) == ("lost", str(data / "modules" / "lost"))
    assert item["bytes"] > 0


def test_leftovers_are_found(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What a killed hub had still to delete, and a hydration that it had begun, with sizes."""
    layout = Layout(tmp_path)
    layout.make()
    assert findings(capsys, "--data-dir", str(tmp_path))["trash"]["status"] == Status.OK
    (layout.trash / "m.0123abcd").mkdir()
    (layout.trash / "m.0123abcd" / "file").write_bytes(bytes(MIB))
    (layout.scratch_of("n") / "hydrate-0123").mkdir(parents=True)
    layout.scratch_of("done").mkdir()
    found = findings(capsys, "--data-dir", str(tmp_path))["trash"]
    assert found["status"] == Status.NOTE
    assert [(item["name"], item["bytes"] >= MIB) for item in found["items"]] == [("m.0123abcd", True), ("n", False)]


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        ({}, Status.OK, "any number of instances, memory without a bound"),
        ({"max_instances": 7, "memory_budget": "2G"}, Status.OK, "7 instances, 2.1 GB of the machine's 8.6 GB"),
        ({"memory_budget": "9G"}, Status.WARN, "9.7 GB"),
        ({"memory_budget": "7G", "memory_reserve": "2G"}, Status.WARN, "7.5 GB"),
        ({"memory_budget": "1G", "kinds": [Kind("big", ["x"], limits={"memory": "2G"})]}, Status.FAIL, "single big"),
    ],
)
def test_budgets_are_held_against_the_machine(options: dict[str, Any], status: Status, words: str) -> None:
    """More than the machine has is a warning; a kind that no budget would ever admit fails."""
    finding = check_budgets(configure(data_dir="/d", backend="file:///b", **options), 8 * 1024 * MIB)
    assert finding.status == status
    assert words in finding.message


def test_a_disk_below_its_reserve_is_a_warning(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The reserve that a hub would keep is told, and what follows where it is not there."""
    config = tmp_path / "hub.toml"
    config.write_text(f'data_dir = "{tmp_path}"\nbackend = "file://{tmp_path}/b"\ndisk_reserve = "4000T"\n')
    found = findings(capsys, "--config", str(config))["disk space"]
    assert found["status"] == Status.WARN
    assert "are reserved" in found["message"]
    assert "nothing is started" in found["advice"]


def test_a_data_directory_on_a_network_is_warned_of(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal's lock and its fsyncs can't be relied on there; a local disk is not mentioned."""
    assert "file system" not in findings(capsys, "--data-dir", str(tmp_path))

    def network(_path: Path) -> str:
        return "nfs4"

    monkeypatch.setattr("hub.cli.doctor.data.file_system", network)
    found = findings(capsys, "--data-dir", str(tmp_path))["file system"]
    assert found["status"] == Status.WARN
    assert "nfs4" in found["message"]
