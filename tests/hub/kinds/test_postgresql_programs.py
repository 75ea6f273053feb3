"""Which of several installed PostgreSQLs is run: programs that only tell where they are."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from hub.instance.kind import render
from hub.kinds import POSTGRES, SHIPPED, find_program, postgresql
from hub.kinds.postgresql import init_command, start_command


def install(folder: Path, version: str) -> Path:
    """Programs that say their folder and arguments."""
    folder.mkdir(parents=True)
    for name in ("postgres", "initdb"):
        program = folder / name
        program.write_text(
            f'#!/bin/sh\nif [ "$1" = -V ]; then echo "postgres (PostgreSQL) {version} (Debian)"; exit; fi\n'
            f'for d; do case $d in --pgdata=*) read -r p; echo "$p" | wc -c;; esac; done; echo "{folder} $*"\n'
        )
        program.chmod(0o755)
    return folder


class Machine:
    """A machine with some PostgreSQLs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data dir"
        self.data.mkdir()
        self.path = folder / "path"

    def side_by_side(self, *majors: str) -> None:
        for major in majors:
            install(self.folder / "postgresql" / major / "bin", f"{major}.3")

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            render(command, port=7000, data_dir=str(self.data), module_id="m", checkpoint_dir=""),
            env={"PATH": f"{self.path}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    @property
    def places(self) -> tuple[str, ...]:
        return (f"{self.folder}/postgresql/*/bin", f"{self.folder}/pgsql-*/bin")

    def init(self) -> subprocess.CompletedProcess[str]:
        return self.run(init_command(self.places))

    def start(self, version: str) -> subprocess.CompletedProcess[str]:
        (self.data / "PG_VERSION").write_text(version + "\n")
        return self.run(start_command(self.places))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path)


def test_a_cluster_is_made_by_the_newest(machine: Machine) -> None:
    """Versions are numbers: 16 is newer than 9.6."""
    machine.side_by_side("9.6", "16", "15")
    done = machine.init()
    assert f"{machine.folder}/postgresql/16/bin --pgdata={machine.data} --username=postgres" in done.stdout
    assert (machine.data / "pgpass").read_text().startswith("127.0.0.1:*:*:postgres:")
    # The password went in by a pipe: 48 digits and a line's end, and is in no argument.
    assert done.stdout.splitlines()[0] == "49"
    assert (machine.data / "pgpass").read_text().split(":")[-1].strip() not in done.stdout


def test_path_comes_first_for_a_cluster(machine: Machine) -> None:
    """What the administrator put on PATH is used, also through a link, and also where it is older."""
    machine.side_by_side("16")
    install(machine.folder / "opt" / "own-99" / "bin", "14.1")
    machine.path.mkdir()
    (machine.path / "postgres").symlink_to(machine.folder / "opt" / "own-99" / "bin" / "postgres")
    assert f"{machine.folder}/opt/own-99/bin --pgdata" in machine.init().stdout


@pytest.mark.parametrize("version", ["14", "15", "16"])
def test_a_server_is_of_its_datas_version(machine: Machine, version: str) -> None:
    """Each finds its own, on PATH, by a folder's name or by asking."""
    machine.side_by_side("15")
    install(machine.folder / "pgsql-16" / "bin", "16.1")
    install(machine.path, "14.1")
    done = machine.start(version)
    folder = {"14": "path", "15": "postgresql/15/bin", "16": "pgsql-16/bin"}[version]
    assert done.stdout.startswith(f"{machine.folder}/{folder} -D {machine.data} -c port=7000 "), done


def test_a_version_that_is_not_there_is_named(machine: Machine) -> None:
    """The message says which is needed, which were found, and the two ways out."""
    machine.side_by_side("15", "16")
    done = machine.start("17")
    assert done.returncode == 1
    assert "PostgreSQL 17, which is not installed here (found: 15 16)" in done.stderr
    assert "postgresql-17" in done.stderr
    assert "pg_upgrade" in done.stderr


def test_a_machine_without_any_says_so(machine: Machine) -> None:
    """Making a cluster and starting one both say that nothing is installed."""
    assert "PostgreSQL is not installed here" in machine.init().stderr
    assert "(found: none)" in machine.start("15").stderr


def test_a_directory_that_is_no_cluster_is_not_started(machine: Machine) -> None:
    """Data of something else, or half a copy, is said to be that."""
    machine.side_by_side("15")
    done = machine.run(start_command(machine.places))
    assert done.returncode == 1
    assert "holds no PostgreSQL cluster" in done.stderr


def test_a_failed_initdb_fails_the_command(machine: Machine) -> None:
    """Its status is not lost in the pipe that gives it the password."""
    machine.side_by_side("15")
    (machine.folder / "postgresql" / "15" / "bin" / "initdb").write_text("#!/bin/sh\nexit 1\n")
    assert machine.init().returncode != 0
    assert not (machine.data / "pgpass").exists()


def test_the_program_of_a_kind_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of the preset it is the server, not the shell that looks for it; of others the command's first word."""
    monkeypatch.setattr(postgresql, "PLACES", (f"{tmp_path}/postgresql/*/bin",))
    assert find_program(POSTGRES, str(tmp_path)) == ("postgres", None)
    install(tmp_path / "postgresql" / "15" / "bin", "15.1")
    assert find_program(POSTGRES, str(tmp_path)) == ("postgres", str(tmp_path / "postgresql/15/bin/postgres"))
    assert find_program(SHIPPED["redis"], str(tmp_path)) == ("redis-server", None)
