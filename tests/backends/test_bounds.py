"""What a transfer holds in memory, and how many of its requests are under way, is bounded whatever the size of the data."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from backends import BlobStore, Dehydrated, RemoteModule, TransferPool
from backends.hydration.manifest import BLOB_LIMIT, CHUNK_SIZE, PACK_SIZE
from tests.backends.rig import Rig
from tests.backends.stores import Counting, T
from tests.backends.trees import snapshot, workspace


class Holding(Counting):
    """Measures the buffers that are in its hands at once; requests overlap, since each waits a little for another."""

    def __init__(self, store: BlobStore) -> None:
        super().__init__(store)
        self.bytes = self.requests = self.most_bytes = self.most_requests = 0
        self.lock = threading.Condition()

    def held(self, size: int) -> None:
        with self.lock:
            self.bytes += size
            self.requests += 1
            self.most_bytes = max(self.most_bytes, self.bytes)
            self.most_requests = max(self.most_requests, self.requests)
            self.lock.wait(0.01)

    def freed(self, size: int) -> None:
        with self.lock:
            self.bytes -= size
            self.requests -= 1
            self.lock.notify_all()

    def call(self, name: str, key: str, size: int, do: Callable[[], T]) -> T:
        if name not in {"put", "get"}:
            return super().call(name, key, size, do)
        held = size if name == "put" else CHUNK_SIZE
        self.held(held)
        try:
            return super().call(name, key, size, do)
        finally:
            self.freed(held)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("shared", [True, False])
def test_bytes_under_way_are_bounded(workers: int, shared: bool) -> None:
    """Never more requests than workers, nor more bytes in them than packs for each, however much there is to send."""
    with workspace() as path, TransferPool(8) as pool:
        store = Holding(Rig(path).store)
        rig = Rig(path, store)
        rig.module = RemoteModule(store, "Tenant-1", owner="one", workers=workers, pool=pool if shared else None)
        source = path / "source"
        source.mkdir()
        (source / "big").write_bytes(os.urandom(30 << 20))
        for number in range(40):
            (source / f"{number}").write_bytes(os.urandom(900_000))
        rig.save(source)
        assert store.most_requests <= workers
        assert store.most_bytes <= workers * (PACK_SIZE + 16)
        assert snapshot(rig.load("copy")) == snapshot(source)
        assert store.most_requests == workers


def test_a_stuck_transfer_does_not_hold_up_another() -> None:
    """While one module's requests hang, another module goes home and comes back on the same pool."""

    class Stuck(Counting):
        def call(self, name: str, key: str, size: int, do: Callable[[], T]) -> T:
            if name == "put" and "/blobs/" in key:
                begun.release()
                assert gate.wait(60)
            return super().call(name, key, size, do)

    begun, gate = threading.Semaphore(0), threading.Event()
    with workspace() as path, TransferPool(4) as pool:
        rig = Rig(path)
        for name, size in (("big", 40 << 20), ("small", 5000)):
            (path / name).mkdir()
            (path / name / "file").write_bytes(os.urandom(size))
        big = RemoteModule(Stuck(rig.store), "big", owner="one", workers=2, pool=pool)
        small = RemoteModule(rig.store, "small", owner="one", workers=2, pool=pool)
        head = big.claim(None, "store")
        sent: list[Dehydrated] = []
        thread = threading.Thread(
            target=lambda: sent.append(big.dehydrate(head, path / "big", index=path / "big-index"))
        )
        thread.start()
        try:
            for _ in range(2):
                assert begun.acquire(timeout=20)
            done = small.dehydrate(small.claim(None, "store"), path / "small", index=rig.index)
            small.hydrate(done.head, path / "copy", scratch=rig.scratch, index=rig.index)
            assert not begun.acquire(blocking=False)
            assert sent == []
        finally:
            gate.set()
            thread.join()
        assert snapshot(path / "copy") == snapshot(path / "small")
        assert sent[0].stats.bytes == 40 << 20


def test_memory_is_bounded(tmp_path: Path) -> None:
    """A module of 1 GiB goes home and comes back with a few dozen MiB more than the interpreter has at its start."""
    script = textwrap.dedent(
        """
        import os, re, sys
        from pathlib import Path
        from tests.backends.rig import Rig

        def peak():  # not getrusage, which begins with the peak of the process that this one was forked from
            return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

        path = Path(sys.argv[1])
        source = path / "source"
        source.mkdir()
        rig = Rig(path)
        base = peak()
        block = os.urandom(1 << 20)
        with (source / "big").open("wb") as file:
            for number in range(1024):
                file.write(number.to_bytes(8, "big") + block[8:])
        done = rig.save(source)
        assert done.stats.bytes_sent > 1 << 30
        (source / "big").unlink()
        rig.load("copy")
        print(peak() - base)
        """
    )
    with workspace() as path:
        done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 4 * BLOB_LIMIT
