"""What process groups use, as the kernel tells it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hub.instance import ResourceUse
from hub.instance.usage import measure_groups
from tests.hub.kinds.store_process import wait_for

HOLD = "import sys, time; data = bytearray(int(sys.argv[1])); print('up', flush=True); time.sleep(60)"
FORK = """
import os, sys, time
end, other_end = os.pipe()
pid = os.fork()
data = bytearray(50_000_000)
if pid == 0:
    if "--leave" in sys.argv:
        os.setpgid(0, 0)
    os.read(end, 1)  # the parent has its data too
    print("up", flush=True)
else:
    os.write(other_end, b"x")
time.sleep(60)
"""
BURN_IN_CHILD = """
import os, time
pid = os.fork()
if pid == 0:
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
    os._exit(0)
os.waitpid(pid, 0)
print("up", flush=True)
time.sleep(60)
"""
Start = Callable[..., int]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a program that leads a group of its own, and wait until it says that it is up; returns its id."""
    started: list[subprocess.Popen[str]] = []

    def start(program: str, *arguments: str) -> int:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", program, *arguments],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        return process.pid

    yield start
    for process in started:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def measure(leader: int, *cgroups: Path) -> ResourceUse:
    return measure_groups({leader: cgroups})[leader]


def test_memory_is_what_is_resident(start: Start) -> None:
    """Of two processes, the one that holds 50 MB more shows so much more."""
    small, large = start(HOLD, "0"), start(HOLD, "50000000")
    uses = measure_groups({small: (), large: ()})
    assert 45e6 < uses[large].memory_bytes - uses[small].memory_bytes < 60e6
    assert uses[small].memory_bytes > 1e6


def test_the_whole_group_counts(start: Start) -> None:
    """A child of the server's in its process group counts with it."""
    assert measure(start(FORK)).memory_bytes > 100e6


def test_a_process_of_the_cgroup_counts_that_left_the_group(start: Start, tmp_path: Path) -> None:
    """Where the instance has a cgroup, a daemon in it counts though its group is another; a stranger does not."""
    leader = start(FORK, "--leave")
    alone = measure(leader)
    children = Path(f"/proc/{leader}/task/{leader}/children").read_text().split()
    try:
        (tmp_path / "cgroup.procs").write_text("\n".join([str(leader), *children, ""]))
        both = measure(leader, tmp_path)
        assert both.memory_bytes > alone.memory_bytes + 45e6
        assert measure(leader, tmp_path / "ended").memory_bytes < both.memory_bytes - 45e6
    finally:
        os.kill(int(children[0]), signal.SIGKILL)


def test_processor_time_of_children_that_ended_is_not_lost(start: Start) -> None:
    """What a short-lived child used passes to its parent's account when it ends: the group's sum does not fall."""
    assert measure(start(BURN_IN_CHILD)).cpu_s >= 0.25


def test_the_age_is_that_of_the_first_process(start: Start) -> None:
    """Seconds since it started, to the hundredth."""
    before = time.monotonic()
    leader = start(HOLD, "0")
    first = measure(leader)
    wait_for(lambda: measure(leader).age_s > first.age_s)
    assert 0 <= measure(leader).age_s <= time.monotonic() - before + 0.1


def test_who_has_ended_is_left_out(start: Start) -> None:
    """Nothing is told of a group of which nothing is left, and the others are measured all the same."""
    leader = start(HOLD, "0")
    ended = subprocess.Popen(["true"], start_new_session=True)
    ended.wait()
    assert measure_groups({leader: (), ended.pid: ()}).keys() == {leader}
