"""Hydration against plain copying, on a folder: many small files, a few big ones, and what is left after a small edit.

Run: python tests/bench/hydration_bench.py [--files 2000] [--big 8] [--big-mib 64] [--dir /tmp]
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from backends import RemoteModule, open_store
from backends.hydration import index as stat_index


def timed(what: str, count: float, unit: str, work: Callable[[], object]) -> None:
    began = time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    print(f"{what:44} {seconds * 1000:9.1f} ms {count / seconds:12,.0f} {unit}/s")


def copy(source: Path, target: Path) -> None:
    """The floor: a copy, with the fsync of each file that a durable backend costs."""
    shutil.copytree(source, target)
    for path in target.rglob("*"):
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)


def run(name: str, base: Path, source: Path, count: float, unit: str) -> None:
    module = RemoteModule(open_store((base / "store").as_uri()), name, owner="bench")
    scratch, index = base / "scratch", base / f"index-{name}"
    timed(f"{name}: copytree + fsync", count, unit, lambda: copy(source, base / f"floor-{name}"))
    head = module.claim(None, "store")
    timed(f"{name}: first dehydration", count, unit, lambda: module.dehydrate(head, source, index=index))
    head = module.read_head() or head
    target = base / f"copy-{name}"
    timed(f"{name}: hydration", count, unit, lambda: module.hydrate(head, target, scratch=scratch, index=index))
    stat_index.RACY_NS = 0  # as if the module had run for longer than the racy window
    timed(f"{name}: dehydration, nothing changed", count, unit, lambda: module.dehydrate(head, target, index=index))
    head = module.read_head() or head
    victim = next(path for path in sorted(target.rglob("*")) if path.is_file())
    with victim.open("r+b") as file:
        file.write(b"changed")
    timed(f"{name}: dehydration, one page changed", count, unit, lambda: module.dehydrate(head, target, index=index))
    timed(f"{name}: erasure", count, unit, module.erase)


def small_calls(base: Path) -> None:
    store = open_store((base / "store").as_uri())
    missing = RemoteModule(store, "missing", owner="bench")
    timed("read_head of a missing module, 1000 times", 1000, "call", lambda: [missing.read_head() for _ in range(1000)])
    modules = [RemoteModule(store, f"new-{number}", owner="bench") for number in range(200)]
    timed("claim of a new module, 200 times", 200, "call", lambda: [module.claim(None, "store") for module in modules])
    timed("erasure of an empty module, 200 times", 200, "call", lambda: [module.erase() for module in modules])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--big", type=int, default=8)
    parser.add_argument("--big-mib", type=int, default=64)
    parser.add_argument("--dir", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as name:
        base = Path(name)
        small, big = base / "small", base / "big"
        small.mkdir()
        big.mkdir()
        for number in range(options.files):
            (small / f"{number}").write_bytes(os.urandom(4096))
        for number in range(options.big):
            (big / f"{number}").write_bytes(os.urandom(options.big_mib << 20))
        small_calls(base)
        run("small", base, small, options.files, "file")
        run("big", base, big, options.big * options.big_mib, "MiB")


if __name__ == "__main__":
    main()
