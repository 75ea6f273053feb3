"""Stores around a store: one that counts, one that fails at a chosen call."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from backends import BackendUnavailable, BlobInfo, BlobStore, Data, Guard, Purged, Remnant

T = TypeVar("T")


class Wrapped:
    """Passes everything on; subclasses override `call`."""

    def __init__(self, store: BlobStore) -> None:
        self.inner = store

    @property
    def uri(self) -> str:
        return self.inner.uri

    def call(self, name: str, key: str, size: int, do: Callable[[], T]) -> T:
        raise NotImplementedError

    def put(
        self,
        key: str,
        data: Data,
        *,
        if_match: str | None = None,
        if_none_match: bool = False,
        guard: Guard | None = None,
    ) -> str:
        def do() -> str:
            return self.inner.put(key, data, if_match=if_match, if_none_match=if_none_match, guard=guard)

        return self.call("put", key, len(data), do)

    def get(self, key: str, *, limit: int | None = None) -> tuple[bytes, str]:
        return self.call("get", key, 0, lambda: self.inner.get(key, limit=limit))

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        return self.call("get_range", key, 0, lambda: self.inner.get_range(key, offset, length))

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        return iter(self.call("list", prefix, 0, lambda: [*self.inner.list(prefix)]))

    def delete(self, key: str, *, if_match: str | None = None) -> None:
        self.call("delete", key, 0, lambda: self.inner.delete(key, if_match=if_match))

    def delete_many(self, keys: Iterable[str], *, guard: Guard | None = None) -> int:
        return self.call("delete_many", "", 0, lambda: self.inner.delete_many(keys, guard=guard))

    def sweep_unfinished(self, prefix: str) -> int:
        return self.call("sweep_unfinished", prefix, 0, lambda: self.inner.sweep_unfinished(prefix))

    def purge(self, prefix: str, *, keep: str, guard: Guard | None = None) -> Purged:
        return self.call("purge", prefix, 0, lambda: self.inner.purge(prefix, keep=keep, guard=guard))

    def expunge(self, key: str, *, if_match: str) -> Purged:
        return self.call("expunge", key, 0, lambda: self.inner.expunge(key, if_match=if_match))

    def remains(self, prefix: str) -> Iterator[Remnant]:
        return iter(self.call("remains", prefix, 0, lambda: [*self.inner.remains(prefix)]))

    def check(self) -> None:
        self.call("check", "", 0, self.inner.check)


class Counting(Wrapped):
    """Counts calls by name and adds up the bytes that were put."""

    def __init__(self, store: BlobStore) -> None:
        super().__init__(store)
        self.calls: Counter[str] = Counter()
        self.bytes_put = 0
        self.keys_put: list[str] = []
        self._lock = threading.Lock()

    def call(self, name: str, key: str, size: int, do: Callable[[], T]) -> T:
        with self._lock:
            self.calls[name] += 1
            self.bytes_put += size
            if name == "put":
                self.keys_put.append(key)
        return do()

    def reset(self) -> None:
        self.calls.clear()
        self.bytes_put = 0
        self.keys_put.clear()


class Faulty(Wrapped):
    """Fails at the n-th call: before its effect, after it, or for good from there on (as a crash does)."""

    def __init__(self, store: BlobStore, fail_at: int, how: str) -> None:
        super().__init__(store)
        self.fail_at, self.how = fail_at, how
        self.count = 0
        self._lock = threading.Lock()

    @property
    def fired(self) -> bool:
        return self.count > self.fail_at

    def call(self, name: str, key: str, size: int, do: Callable[[], T]) -> T:
        with self._lock:
            mine = self.count
            self.count += 1
        if self.how == "crash" and mine >= self.fail_at:
            raise BackendUnavailable("injected crash")
        if mine == self.fail_at and self.how == "before":
            raise BackendUnavailable(f"injected before {name}")
        result = do()
        if mine == self.fail_at and self.how == "after":
            raise BackendUnavailable(f"injected after {name}")
        return result
