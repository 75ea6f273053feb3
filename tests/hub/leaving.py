"""Hubs that leave their servers running: a host as a process of its own, and what their journal says.

    python -m tests.hub.leaving ROOT KIND MODULE...

The host provisions the modules, says so on a line, and goes on until its standard input ends; then its hub ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from hub import Hub, ModuleInfo
from hub.instance import procfs
from hub.instance.leftovers import kill_marked
from hub.instance.process import MARKER
from tests.hub.conftest import tiny_kind
from tests.hub.marked import hub_id


@contextlib.contextmanager
def leaving_host(root: Path, kind: str, *modules: str) -> Generator[subprocess.Popen[str]]:
    """Run the host until the end of the block, or until it is killed in it; its modules are provisioned."""
    command = [sys.executable, "-m", "tests.hub.leaving", str(root), kind, *modules]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        assert host.stdout.readline() == "running\n"
        yield host


@pytest.fixture
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """What a test that failed has left running is ended; after one that passed neither descriptor nor zombie is left."""
    descriptors = len([*Path("/proc/self/fd").iterdir()])
    yield
    if (tmp_path / "data" / "journal.sqlite3").exists():
        kill_marked(MARKER, hub_id(tmp_path / "data"), tmp_path / "data" / "logs")
    assert zombies() == []
    assert len([*Path("/proc/self/fd").iterdir()]) <= descriptors


def zombies() -> list[int]:
    """Return the children of this process that have ended and were not reaped."""
    found: list[int] = []
    for pid in procfs.pids():
        with contextlib.suppress(OSError):
            state, parent = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
            if state == "Z" and int(parent) == os.getpid():
                found.append(pid)
    return found


def runs(pid: int) -> bool:
    """Tell whether a process is there and has not ended."""
    stat = procfs.read_stat(pid)
    return stat is not None and stat.state != "Z"


def pid_of(info: ModuleInfo) -> int:
    """Return the process of a module that has one."""
    assert info.pid is not None
    return info.pid


def journalled(root: Path, module_id: str = "m") -> dict[str, Any]:
    """Return what the journal says of a module."""
    connection = sqlite3.connect(root / "data" / "journal.sqlite3")
    (row,) = connection.execute("SELECT record FROM modules WHERE module_id = ?", (module_id,)).fetchone()
    connection.close()
    found: dict[str, Any] = json.loads(row)
    return found


def rewrite(root: Path, **changes: Any) -> None:
    """Change what the journal says of module `m`, while no hub runs."""
    record = journalled(root) | changes
    connection = sqlite3.connect(root / "data" / "journal.sqlite3")
    with connection:
        connection.execute(
            "UPDATE modules SET state = ?, record = ? WHERE module_id = 'm'",
            (record["state"], json.dumps(record).encode()),
        )
    connection.close()


def main() -> None:
    root, kind, *modules = sys.argv[1:]
    with Hub(f"{root}/data", f"file://{root}/backend", kinds=[tiny_kind()], on_exit="leave") as hub:
        for module_id in modules:
            hub.provision(module_id, kind=kind)
        print("running", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
