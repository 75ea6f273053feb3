"""Speaks to modules of the kind `postgres` by PostgreSQL's own client."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from hub import ModuleInfo
from hub.instance import procfs


def psql(info: ModuleInfo, statement: str, *, password: bool = True) -> str:
    """Run SQL as the superuser; returns rows as lines, raises with the client's words on an error."""
    assert info.data_dir is not None
    done = subprocess.run(
        command(info, statement), env=environment(info, password=password), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise PsqlFailed(done.stderr)
    return done.stdout.strip()


def command(info: ModuleInfo, statement: str) -> list[str]:
    options = ["--no-psqlrc", "--no-align", "--tuples-only", "--quiet", "--no-password", "-v", "ON_ERROR_STOP=1"]
    return ["psql", *options, "-h", "127.0.0.1", "-p", str(info.port), "-U", "postgres", "-c", statement]


def environment(info: ModuleInfo, *, password: bool = True) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PGPASSFILE": f"{info.data_dir}/pgpass" if password else "/dev/null"}


def family(info: ModuleInfo) -> set[int]:
    """The processes that work on a module's data."""
    found: set[int] = set()
    for pid in procfs.pids():
        try:
            if Path(f"/proc/{pid}/cwd").readlink() == info.data_dir:
                found.add(pid)
        except OSError:
            continue
    return found


def keep_busy(info: ModuleInfo) -> subprocess.Popen[bytes]:
    """Make a server compute for hours; returns the client that waits for it."""
    return subprocess.Popen(
        command(info, "SELECT count(*) FROM generate_series(1, 10000000000) n"),
        env=environment(info),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def worker(info: ModuleInfo) -> int:
    """The process of a server that computes, once it does."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for pid in family(info):
            if "SELECT" in procfs.command_of(pid):
                return pid
        time.sleep(0.01)
    raise AssertionError("it does not work")


class PsqlFailed(Exception):
    """The client ended with an error."""
