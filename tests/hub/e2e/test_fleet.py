"""Many modules at once, and nothing of them left at the end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hub import Hub, ModuleInfo, State
from hub.journal import Journal
from hub.record import ModuleRecord
from tests.hub.marked import processes_of

pytestmark = pytest.mark.e2e

FLEET = 200


def blob(info: ModuleInfo, data: bytes | None = None) -> bytes:
    request = urllib.request.Request(f"{info.url}/blobs/k", data=data, method="GET" if data is None else "PUT")
    with urllib.request.urlopen(request, timeout=30) as answer:
        content: bytes = answer.read()
        return content


def open_descriptors() -> set[str]:
    links = [path for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    return {f"{path.name} -> {path.readlink()}" for path in links}


@pytest.mark.parametrize("fails", [False, True])
def test_two_hundred_stores_come_up_at_once_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """All come up; when the hub ends, also by an exception, nothing remains and a new hub finds them hibernated."""
    names = [f"s{number}" for number in range(FLEET if not fails else 20)]
    threads, descriptors = set(threading.enumerate()), open_descriptors()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))

    def work() -> None:
        with Hub(tmp_path / "data", f"file://{tmp_path}/backend") as hub, ThreadPoolExecutor(len(names)) as pool:
            infos = list(pool.map(hub.provision, names))
            assert {info.state for info in infos} == {State.PROVISIONED}
            assert len({info.port for info in infos}) == len(names)
            for number in (0, len(names) - 1):
                blob(infos[number], names[number].encode())
            if fails:
                raise ZeroDivisionError

    if fails:
        with pytest.raises(ZeroDivisionError):
            work()
    else:
        work()
    assert processes_of(tmp_path / "data") == []
    assert set(threading.enumerate()) <= threads
    assert open_descriptors() <= descriptors
    assert list((tmp_path / "tmp").iterdir()) == []
    with Hub(tmp_path / "data", f"file://{tmp_path}/backend") as hub:
        assert {info.state for info in hub.modules()} == {State.HIBERNATED}
        assert len(hub.modules()) == len(names)
        for name in (names[0], names[-1]):
            assert blob(hub.provision(name)) == name.encode()


async def seed(journal: Journal, count: int) -> None:
    # Without a claim: the backend of this test holds none, and a hub that looks would find all its leases lost.
    records = [ModuleRecord(f"h{n}", "store", State.HIBERNATED, dirty=True, since=time.time()) for n in range(count)]
    await journal.write(*records)


def test_ten_thousand_sleepers_cost_no_thread_no_process_and_no_timer(tmp_path: Path) -> None:
    """A hub with ten thousand hibernated modules has the threads, descriptors, actors and timers of an empty one."""
    counts: list[tuple[int, int, int, int]] = []
    for name, sleepers in (("empty", 0), ("full", 10_000)):
        (tmp_path / name).mkdir()
        journal = Journal(tmp_path / name / "journal.sqlite3")
        journal.open()
        asyncio.run(seed(journal, sleepers))
        journal.close()
        with Hub(tmp_path / name, f"file://{tmp_path}/backend", hibernated_timeout=3600, idle_timeout=3600) as hub:
            assert len(hub.modules()) == sleepers
            system = hub.registry.cell.system
            timers = len(getattr(system.loop, "_scheduled"))  # noqa: B009 - asyncio has no public way to its timers
            descriptors = len(open_descriptors())
            counts.append((threading.active_count(), descriptors, len(system.actors()), timers))
            assert processes_of(tmp_path / name) == []
    assert counts[0] == pytest.approx(counts[1], abs=2)


def test_ctrl_c_while_the_hub_starts_ends_it(tmp_path: Path) -> None:
    """A signal handler that raises during the start leaves no thread behind: the host ends, and does not hang."""
    program = f"""
import os, signal, threading, time
from hub import Hub
def interrupt(number):
    time.sleep(number / 2000)
    os.kill(os.getpid(), signal.SIGINT)
for number in range(40):
    killer = threading.Thread(target=interrupt, args=(number,))
    hub = Hub({str(tmp_path / "data")!r}, "file://{tmp_path}/backend")
    try:
        killer.start()
        try:
            hub.start()
        finally:
            killer.join()
    except KeyboardInterrupt:
        pass
    hub.close()
assert threading.active_count() == 1, threading.enumerate()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
