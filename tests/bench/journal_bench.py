"""What the journal costs: each figure is a ratio to the same work without it, in the same run.

python -m tests.bench journal
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from actors import Actor, ActorSystem
from hub import Hub, State
from hub.journal import Journal
from hub.record import ModuleRecord
from tests.hub.conftest import tiny_kind

TRANSITIONS = 1000
ROUNDS = 21
SLEEPERS = 10_000
STARTS = 5


def main() -> None:
    with directory() as root:
        transitions(root)
    with directory() as root:
        operations(root)
    with directory() as root:
        starts(root)


@contextmanager
def directory() -> Generator[Path]:
    path = Path(tempfile.mkdtemp(prefix="modhub-bench-"))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def sleeper(number: int, port: int = 7000) -> ModuleRecord:
    return ModuleRecord(
        f"h{number}", "store", State.HIBERNATED, dirty=True, base="0123456789abcdef/1", port=port, since=1.7e9
    )


def timed(work: Callable[[int], Coroutine[Any, Any, None]], port: int) -> float:
    started = time.perf_counter()
    asyncio.run(work(port))
    return time.perf_counter() - started


def transitions(root: Path) -> None:
    """A thousand modules change their state, all at once and one after another."""
    journal = Journal(root / "journal.sqlite3")
    journal.open()

    async def together(port: int) -> None:
        await asyncio.gather(*(journal.write(sleeper(number, port)) for number in range(TRANSITIONS)))

    async def one_by_one(port: int) -> None:
        for number in range(TRANSITIONS):
            await journal.write(sleeper(number, port))

    with closing(journal):
        pairs = [(timed(one_by_one, port), timed(together, port)) for port in range(3)]
    floor, group = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"{TRANSITIONS} transitions, an fsync each  {floor * 1000:8.1f} ms  {TRANSITIONS / floor:9.0f} /s")
    print(
        f"{TRANSITIONS} transitions, group commit   {group * 1000:8.1f} ms  {TRANSITIONS / group:9.0f} /s"
        f"   {group / floor:5.2f} x, goal >= 1000 /s"
    )


async def forget(_journal: Journal, *_records: ModuleRecord) -> None:
    """Stands for a journal that costs nothing."""


def operations(root: Path) -> None:
    """Hibernate and wake of the smallest server, with the journal and with one whose writes are no-ops."""
    write = Journal.write
    with Hub(
        root / "data", f"file://{root}/backend", kinds=[tiny_kind()], default_kind="tiny", stall_threshold=30
    ) as hub:
        hub.provision("m")

        def there_and_back() -> float:
            started = time.perf_counter()
            hub.hibernate("m")
            hub.wake("m")
            return time.perf_counter() - started

        without: list[float] = []
        with_it: list[float] = []
        for _ in range(ROUNDS):
            Journal.write = forget  # type: ignore[method-assign,assignment] # the journal of the hub that runs
            try:
                without.append(there_and_back())
            finally:
                Journal.write = write  # type: ignore[method-assign] # as above
            with_it.append(there_and_back())
    floor, ours = statistics.median(without), statistics.median(with_it)
    print(f"hibernate and wake, no journal      {floor * 1000:8.2f} ms  (floor, median of {ROUNDS})")
    print(f"hibernate and wake, four commits    {ours * 1000:8.2f} ms  {ours / floor:6.3f} x floor")


SEED = """
import asyncio, os, signal, sys
from pathlib import Path
from hub.journal import Journal
from tests.bench.journal_bench import SLEEPERS, sleeper
journal = Journal(Path(sys.argv[1]))
journal.open()
async def write():
    for first in range(0, SLEEPERS, 100):
        await journal.write(*(sleeper(number) for number in range(first, first + 100)))
asyncio.run(write())
os.kill(os.getpid(), signal.SIGKILL)
"""


class Idle(Actor):
    """Does nothing."""


def rows(path: Path) -> list[ModuleRecord]:
    with closing(sqlite3.connect(path)) as connection:
        decoder = msgspec.json.Decoder(ModuleRecord)
        return [decoder.decode(row) for (row,) in connection.execute("SELECT record FROM modules")]


async def spawn(records: list[ModuleRecord]) -> float:
    async with ActorSystem("bench") as system:
        started = time.perf_counter()
        for record in records:
            system.spawn(Idle, name=record.module_id)
        return time.perf_counter() - started


def starts(root: Path) -> None:
    """A start after kill -9 with ten thousand sleepers, against reading their rows and starting as many actors."""
    seed = root / "seed"
    seed.mkdir()
    done = subprocess.run([sys.executable, "-c", SEED, seed / "journal.sqlite3"], check=False)
    assert done.returncode == -signal.SIGKILL
    floors: list[float] = []
    ours: list[float] = []
    for number in range(STARTS):
        for name in ("floor", "data"):
            shutil.copytree(seed, root / f"{name}{number}")
        started = time.perf_counter()
        records = rows(root / f"floor{number}" / "journal.sqlite3")
        read = time.perf_counter() - started
        assert len(records) == SLEEPERS
        floors.append(read + asyncio.run(spawn(records)))
        del records
        started = time.perf_counter()
        with Hub(root / f"data{number}", f"file://{root}/backend") as hub:
            ours.append(time.perf_counter() - started)
            assert len(hub.modules()) == SLEEPERS
    floor, start = statistics.median(floors), statistics.median(ours)
    print(f"{SLEEPERS} rows read, as many actors     {floor:8.3f} s   (floor, median of {STARTS})")
    print(f"start of a hub with as many asleep  {start:8.3f} s   {start / floor:6.2f} x floor, goal <= 1.5")


if __name__ == "__main__":
    main()
