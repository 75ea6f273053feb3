"""System V segments that a killed server leaves behind."""

import subprocess
import time
from pathlib import Path

from hub.instance.shared_memory import remove_segments, segments_of
from tests.hub.instance.bench import PYTHON, SERVER, Bench, Run, server

# Makes a segment and attaches to it, as PostgreSQL does; tells its id.
SEGMENT = """
import ctypes
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
segment = libc.shmget(0, 4096, 0o1600)
libc.shmat(segment, None, 0)
print(segment, flush=True)
"""


def segments() -> set[int]:
    return {int(line.split()[1]) for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]}


def test_only_what_a_process_left_is_removed() -> None:
    """A segment that is in use stays, and so does one that is older than the process it is looked for."""
    with subprocess.Popen(
        [*PYTHON, SEGMENT + "input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        segment = int(child.stdout.readline())
        assert segments_of(child.pid, 0) == []  # in use
        child.kill()
    assert segments_of(child.pid, time.time() + 60) == []
    assert segments_of(child.pid, 0) == [segment]
    remove_segments(child.pid, 0)
    assert segment not in segments()


def test_a_killed_instance_leaves_none(run: Run) -> None:
    """There is room for few of them on a machine, and no process is left that could remove it."""

    async def scenario(bench: Bench) -> None:
        instance = await bench.start(server(text=SEGMENT + SERVER))
        segment = int(instance.last_output().split()[0])
        assert segment in segments()
        await instance.kill()
        assert segment not in segments()

    run(scenario)
