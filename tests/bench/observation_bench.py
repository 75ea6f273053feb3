"""What it costs to look at a hub: each figure is a ratio to a floor of the same run.

python -m tests.bench observation
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from hub import AsyncHub, Describe, FindModules, ListKinds, Touch
from hub.directory import Directory
from hub.events import Event
from hub.history import EventHistory
from hub.instance.usage import measure_groups
from hub.layout import Layout
from hub.lifecycle import State
from hub.module_query import SORT_KEYS, find_modules
from hub.record import ModuleRecord
from tests.hub.conftest import tiny_kind

MODULES = 10_000
PAGE = 100
INSTANCES = 200
ASKS = 2000
ROUNDS = 41


def main() -> None:
    pages()
    usage()
    events()
    asyncio.run(asks())


def median(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Median of the seconds that some work takes."""
    taken: list[float] = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def pages() -> None:
    """Pages of ten thousand modules, against describing as many as a page shows."""
    directory = Directory(Layout(Path("/nowhere")), time.monotonic)
    chance = random.Random(1)
    for number in range(MODULES):
        record = ModuleRecord(
            f"tenant-{number:05}",
            "store",
            chance.choice([State.HIBERNATED, State.HIBERNATED, State.CRASHED]),
            dirty=chance.random() < 0.5,
            port=chance.randint(20_000, 30_000),
            since=1.7e9 * chance.random(),
            last_error=chance.choice([None, "failed"]),
        )
        directory.put(record)
    shown = list(directory.tracked())[:PAGE]
    floor = median(lambda: [directory.describe(entry) for entry in shown])
    print(f"{PAGE} modules described                {floor * 1000:8.3f} ms  (floor, median of {ROUNDS})")
    queries = {
        "by id": FindModules(),
        "one state": FindModules(states=(State.CRASHED,)),
        "search": FindModules(search="42"),
    }
    queries |= {f"by {name}": FindModules(sort=f"-{name}") for name in SORT_KEYS if name != "module_id"}
    for name, query in queries.items():
        taken = median(partial(find_modules, directory, query))
        print(f"  a page of {MODULES}, {name:20} {taken * 1000:8.3f} ms  {taken / floor:6.2f} x floor")


def usage() -> None:
    """One look at two hundred servers, against reading what the kernel tells of every process."""
    servers = [subprocess.Popen(["sleep", "600"], start_new_session=True) for _ in range(INSTANCES)]
    try:
        groups = {server.pid: () for server in servers}
        floor = median(_read_all)
        taken = median(lambda: measure_groups(groups))
    finally:
        for server in servers:
            server.kill()
            server.wait()
    print(f"/proc/PID/stat of all read           {floor * 1000:8.3f} ms  (floor, {INSTANCES} servers and all others)")
    print(f"usage of {INSTANCES} servers                 {taken * 1000:8.3f} ms  {taken / floor:6.2f} x floor")


def _read_all() -> None:
    for name in os.listdir("/proc"):  # noqa: PTH208 - the floor is the fastest way
        if name.isdigit():
            descriptor = os.open(f"/proc/{name}/stat", os.O_RDONLY)
            os.read(descriptor, 1024)
            os.close(descriptor)


def events() -> None:
    """Remembering an event where as many are remembered as ever are."""
    history = EventHistory("bench")
    number = 0

    def remember(count: int) -> None:
        nonlocal number
        for _ in range(count):
            number += 1
            fields = {"from_state": "waking", "to_state": "provisioned", "reason": "ready", "duration_ms": 1.5}
            history.record(Event("module.transition", f"tenant-{number % MODULES:05}", "0" * 16, fields, number, 1.7e9))

    remember(60_000)
    taken = median(lambda: remember(1000)) / 1000
    print(f"an event remembered, {len(history)} are      {taken * 1e6:8.2f} us")


async def asks() -> None:
    """What comes with every request through a proxy, against the cheapest question."""
    root = Path(tempfile.mkdtemp(prefix="modhub-bench-"))
    try:
        async with AsyncHub(
            root / "data", f"file://{root}/backend", kinds=[tiny_kind()], default_kind="tiny", stall_threshold=30
        ) as hub:
            await hub.provision("m")
            floor = 0.0
            for message in (ListKinds(), Describe("m"), Touch("m")):
                started = time.perf_counter()
                for _ in range(ASKS):
                    await hub.registry.ask_async(message)
                taken = (time.perf_counter() - started) / ASKS
                floor = floor or taken
                name = type(message).__name__
                print(f"ask {name:16}                 {taken * 1e6:8.1f} us  {taken / floor:6.2f} x floor")
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
