"""The hub against bare processes: each figure is a ratio to a floor of the same run.

python -m tests.bench.hub_bench
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hub import Hub, State
from hub.instance.kind import render
from hub.instance.ports import LOOPBACK
from hub.journal import Journal
from hub.kinds import REDIS, STORE
from hub.record import ModuleRecord

ROUNDS = 41
FLEET = 200
SLEEPERS = 10_000


def quiet(command: list[str], data: Path) -> subprocess.Popen[bytes]:
    null = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=data, stdin=null, stdout=null, stderr=null)


def main() -> None:
    with directory() as root, Hub(root / "data", f"file://{root}/backend", restart_limit=1000, stable_after=0) as hub:
        # Alternating, so that what else the machine does falls on both.
        pairs = [(bare_redis(), provision_redis(hub, number)) for number in range(ROUNDS)]
        floor, provision = (statistics.median(column) for column in zip(*pairs, strict=True))
        recovery = statistics.median(recover_redis(hub) for _ in range(ROUNDS))
        print(f"bare redis-server to answering       {floor * 1000:8.1f} ms   (floor, median of {ROUNDS})")
        print(
            f"provision of redis to answering      {provision * 1000:8.1f} ms   {provision / floor:6.2f} x floor, goal <= 1.6"
        )
        print(
            f"kill -9 to answering again           {recovery * 1000:8.1f} ms   {recovery / floor:6.2f} x floor, goal <= 1.8"
        )
    with directory() as root:
        bare = bare_stores(root)
        ours = fleet_of_stores(root)
        print(f"{FLEET} bare store processes answering  {bare:8.2f} s    (floor)")
        print(f"{FLEET} store modules at once           {ours:8.2f} s    {ours / bare:6.2f} x floor")
    with directory() as root:
        sleepers(root)


@contextlib.contextmanager
def directory() -> Generator[Path]:
    path = Path(tempfile.mkdtemp(prefix="modhub-bench-"))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def wait_answer(port: int, request: bytes, expected: bytes, deadline: float = 30.0) -> None:
    """Poll as fast as the machine can until a server answers as it should."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        try:
            with socket.create_connection((LOOPBACK, port), timeout=1) as connection:
                connection.sendall(request)
                if connection.recv(100).startswith(expected):
                    return
        except OSError:
            pass
        time.sleep(0.0002)
    raise TimeoutError(port)


def wait_redis(port: int) -> None:
    wait_answer(port, b"PING\r\n", b"+PONG")


def wait_store(port: int) -> None:
    wait_answer(port, b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"HTTP/1.1 200")


def bare_redis() -> float:
    with directory() as data:
        port = free_port()
        command = render(
            REDIS.command, port=port, data_dir=str(data), module_id="bare", checkpoint_dir=str(data / "checkpoint")
        )
        started = time.perf_counter()
        process = quiet(command, data)
        wait_redis(port)
        elapsed = time.perf_counter() - started
        process.kill()
        process.wait()
    return elapsed


def provision_redis(hub: Hub, number: int) -> float:
    started = time.perf_counter()
    info = hub.provision(f"p{number}", kind="redis")
    assert info.port is not None
    wait_redis(info.port)
    elapsed = time.perf_counter() - started
    hub.obliterate(f"p{number}")
    return elapsed


def recover_redis(hub: Hub) -> float:
    info = hub.provision("r", kind="redis")
    assert info.pid is not None
    assert info.port is not None
    started = time.perf_counter()
    os.kill(info.pid, signal.SIGKILL)
    while Path(f"/proc/{info.pid}/fd/0").exists():
        time.sleep(0.0001)
    wait_redis(info.port)
    elapsed = time.perf_counter() - started
    while hub.module("r").state is not State.PROVISIONED:
        time.sleep(0.01)
    return elapsed


def bare_stores(root: Path) -> float:
    def start(number: int) -> subprocess.Popen[bytes]:
        data = root / "bare" / str(number)
        data.mkdir(parents=True)
        port = free_port()
        command = render(
            STORE.command, port=port, data_dir=str(data), module_id="bare", checkpoint_dir=str(data / "checkpoint")
        )
        process = quiet(command, data)
        wait_store(port)
        return process

    started = time.perf_counter()
    with ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:
        processes = list(pool.map(start, range(FLEET)))
    elapsed = time.perf_counter() - started
    for process in processes:
        process.kill()
        process.wait()
    return elapsed


def fleet_of_stores(root: Path) -> float:
    threads, descriptors = threading.active_count(), descriptors_open()
    with Hub(root / "data", f"file://{root}/backend") as hub:
        started = time.perf_counter()
        with ThreadPoolExecutor(FLEET) as pool:
            infos = list(pool.map(hub.provision, [f"s{number}" for number in range(FLEET)]))
        elapsed = time.perf_counter() - started
        assert {info.state for info in infos} == {State.PROVISIONED}
        stopping = time.perf_counter()
    stopped = time.perf_counter() - stopping
    left = descriptors_open() - descriptors, threading.active_count() - threads
    print(f"{FLEET} store modules hibernated at the end {stopped:4.2f} s; descriptors and threads left: {left}")
    return elapsed


def descriptors_open() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def resident_kib() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


def sleepers(root: Path) -> None:
    journal = Journal(root / "seed.sqlite3")
    journal.open()
    (root / "data").mkdir()
    # Without a claim, which the backend would have to know: measured is what the hub's own part costs.
    records = [
        ModuleRecord(f"h{number}", "store", State.HIBERNATED, dirty=True, since=time.time())
        for number in range(SLEEPERS)
    ]
    asyncio.run(journal.write(*records))
    journal.close()
    (root / "seed.sqlite3").rename(root / "data" / "journal.sqlite3")
    code = f"""
import sys, time, os, threading, resource
sys.path.insert(0, {str(Path.cwd())!r})
from hub import Hub
from tests.bench.hub_bench import resident_kib
def run(data):
    before = resident_kib()
    started = time.perf_counter()
    with Hub(data, "file://{root}/backend", idle_timeout=3600, hibernated_timeout=3600) as hub:
        up = time.perf_counter() - started
        memory = resident_kib() - before
        assert len(hub.modules()) in (0, {SLEEPERS})
        cpu = time.process_time()
        time.sleep(5)
        cpu = (time.process_time() - cpu) / 5
        return up, memory, cpu, threading.active_count(), len(os.listdir("/proc/self/fd"))
empty = run("{root}/empty")
full = run("{root}/data")
print("{SLEEPERS} hibernated modules: start {{:.2f}} s ({{:.2f}} s with none), {{:.2f}} KiB each,"
      " idle CPU {{:.2%}} of a core ({{:.2%}} with none), threads {{}} ({{}}), descriptors {{}} ({{}})".format(
      full[0], empty[0], (full[1] - empty[1]) / {SLEEPERS}, full[2], empty[2], full[3], empty[3], full[4], empty[4]))
"""
    subprocess.run([sys.executable, "-c", code], check=True)


if __name__ == "__main__":
    main()
