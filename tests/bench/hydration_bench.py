"""Hydration on a folder: against plain copying, against a bare walk of the tree, and its memory.

Run: python -m tests.bench hydration, or python tests/bench/hydration_bench.py [--files 2000] [--many 20000] [--gib 1]
[--memory-gib 2] [--dir /dev/shm] [--only SECTION]
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from backends import Head, RemoteModule, open_store
from backends.hydration import index as stat_index

T = TypeVar("T")
ROUNDS = 3
MIB = 1 << 20


def timed(what: str, count: float, unit: str, work: Callable[[], T]) -> T:
    began = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - began
    print(f"{what:44} {seconds * 1000:9.1f} ms {count / seconds:12,.0f} {unit}/s", flush=True)
    return result


def copy(source: Path, target: Path) -> None:
    """The floor: a copy, with the fsync of each file that a durable backend costs."""
    shutil.copytree(source, target)
    for path in target.rglob("*"):
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)


def walk(path: str | Path) -> None:
    """The floor of seeing that nothing has changed: one stat a name."""
    with os.scandir(path) as found:
        for entry in found:
            entry.stat(follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False):
                walk(entry.path)


def median(work: Callable[[], object]) -> float:
    """Seconds, the median of several runs."""
    seconds: list[float] = []
    for _ in range(2 * ROUNDS + 1):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


class Bench:
    def __init__(self, base: Path, name: str, count: float, unit: str) -> None:
        self.base, self.name, self.count, self.unit = base, name, count, unit
        self.module = RemoteModule(open_store((base / "store").as_uri()), name, owner="bench")
        self.scratch, self.index = base / "scratch", base / f"index-{name}"
        self.head: Head = self.module.claim(None, "store")

    def time(self, what: str, work: Callable[[], T]) -> T:
        return timed(f"{self.name}: {what}", self.count, self.unit, work)

    def save(self, source: Path) -> None:
        self.head = self.module.dehydrate(self.head, source, index=self.index).head

    def load(self, target: Path, *, over_clean: bool = False) -> None:
        self.module.hydrate(self.head, target, scratch=self.scratch, index=self.index, over_clean=over_clean)


def run(base: Path, name: str, source: Path, count: float, unit: str) -> None:
    bench = Bench(base, name, count, unit)
    target, other = base / f"copy-{name}", base / f"other-{name}"
    bench.time("copytree + fsync", lambda: copy(source, base / f"floor-{name}"))
    shutil.rmtree(base / f"floor-{name}")
    bench.time("first dehydration", lambda: bench.save(source))
    bench.time("hydration", lambda: bench.load(target))
    bare, unchanged = median(lambda: walk(target)), median(lambda: bench.save(target))
    print(
        f"{name + ': dehydration, nothing changed':44} {unchanged * 1000:9.1f} ms {unchanged / bare:12.2f} bare walks"
        f" of {bare * 1000:.1f} ms"
    )
    bench.load(other)
    other_index = base / "other-index"
    shutil.copy2(bench.index, other_index)
    walked = sorted(path for path in target.rglob("*") if path.is_file())
    with walked[len(walked) // 2].open("r+b") as file:
        file.write(os.urandom(4096))
    bench.index.unlink()
    bench.time("dehydration, nothing known of the files", lambda: bench.save(target))
    with walked[len(walked) // 2].open("r+b") as file:
        file.write(os.urandom(4096))
    bench.time("dehydration, one page changed", lambda: bench.save(target))
    bench.index = other_index
    bench.time("hydration over a clean copy, one page", lambda: bench.load(other, over_clean=True))
    bench.time("erasure", bench.module.erase)
    for path in (target, other):
        shutil.rmtree(path)


def small_calls(base: Path) -> None:
    store = open_store((base / "store").as_uri())
    missing = RemoteModule(store, "missing", owner="bench")
    timed("read_head of a missing module, 1000 times", 1000, "call", lambda: [missing.read_head() for _ in range(1000)])
    modules = [RemoteModule(store, f"new-{number}", owner="bench") for number in range(200)]
    timed("claim of a new module, 200 times", 200, "call", lambda: [module.claim(None, "store") for module in modules])
    timed("erasure of an empty module, 200 times", 200, "call", lambda: [module.erase() for module in modules])


def many_files(source: Path, count: int) -> None:
    """Files of mixed sizes in 400 directories: most of a few KiB, few large; about 15 KiB on average."""
    chance, block = random.Random(1), os.urandom(2 * MIB)
    for number in range(count):
        folder = source / f"{number % 200:03}" / ("sub" if number % 2 else "")
        folder.mkdir(parents=True, exist_ok=True)
        size, start = min(int(chance.paretovariate(1.05) * 2500), MIB), chance.randrange(MIB)
        (folder / f"{number}").write_bytes(number.to_bytes(8, "big") + block[start : start + size])


def peak() -> int:
    """Most MiB that this process has had in memory. Not getrusage: that begins with the peak of whoever forked it."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) >> 10 if found is not None else 0


def memory(path: Path, gib: int) -> None:
    """In a process of its own: send and bring so many GiB, and say how much memory that took."""
    source = path / "source"
    source.mkdir()
    block = os.urandom(MIB)
    per_file = 1024
    for number in range(gib):
        with (source / f"{number}").open("wb") as file:
            for index in range(per_file):
                file.write((number * per_file + index).to_bytes(8, "big") + block[8:])
    before = peak()
    bench = Bench(path, "memory", gib * 1024, "MiB")
    bench.time(f"first dehydration of {gib} GiB", lambda: bench.save(source))
    sent = peak()
    shutil.rmtree(source)
    bench.time(f"hydration of {gib} GiB", lambda: bench.load(path / "copy"))
    brought = peak()
    print(f"peak memory: {before} MiB before, {sent} MiB after sending, {brought} MiB after bringing")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--many", type=int, default=20_000)
    parser.add_argument("--big", type=int, default=8)
    parser.add_argument("--big-mib", type=int, default=64)
    parser.add_argument("--gib", type=int, default=1)
    parser.add_argument("--memory-gib", type=int, default=2)
    parser.add_argument("--dir", type=Path)
    parser.add_argument("--only", help="calls, small, many, big, one or memory")
    options = parser.parse_args([] if Path(sys.argv[0]).name != Path(__file__).name else None)
    stat_index.RACY_NS = 0  # as if the module had run for longer than the racy window

    def wanted(section: str) -> bool:
        return options.only in {None, section}

    with tempfile.TemporaryDirectory(dir=options.dir) as name:
        base = Path(name)
        if wanted("calls"):
            small_calls(base)
        for section in ("small", "many", "big", "one"):
            if not wanted(section):
                continue
            source = base / section
            source.mkdir()
            count, unit = options.files, "file"
            if section == "small":
                for number in range(options.files):
                    (source / f"{number}").write_bytes(os.urandom(4096))
            elif section == "many":
                many_files(source, options.many)
                count = options.many
            else:
                files, mib = (options.big, options.big_mib) if section == "big" else (1, options.gib * 1024)
                for number in range(files):
                    with (source / f"{number}").open("wb") as file:
                        for _ in range(mib):
                            file.write(os.urandom(MIB))
                count, unit = files * mib, "MiB"
            run(base, section, source, count, unit)
            shutil.rmtree(source)
        if wanted("memory"):
            statement = "import sys; from pathlib import Path; from tests.bench.hydration_bench import memory; "
            statement += "memory(Path(sys.argv[1]), int(sys.argv[2]))"
            folder = base / "memory"
            folder.mkdir()
            subprocess.run([sys.executable, "-c", statement, str(folder), str(options.memory_gib)], check=True)


if __name__ == "__main__":
    main()
