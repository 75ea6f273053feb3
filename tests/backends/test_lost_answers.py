"""A write of the head whose answer is lost is settled by its nonce, whatever error came instead of the answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from backends import (
    BackendDenied,
    BackendsError,
    BackendUnavailable,
    BlobStore,
    PreconditionFailed,
    TransferCancelled,
)
from tests.backends.rig import Rig
from tests.backends.stores import Counting, T
from tests.backends.trees import snapshot


class Lossy(Counting):
    """Loses the answer to the first write of a head, and says something else."""

    def __init__(self, store: BlobStore, error: BackendsError) -> None:
        super().__init__(store)
        self.error: BackendsError | None = error

    def call(self, name: str, key: str, size: int, do: Callable[[], T]) -> T:
        result = super().call(name, key, size, do)
        if name == "put" and key.endswith("/head") and self.error is not None:
            error, self.error = self.error, None
            raise error
        return result


@pytest.mark.parametrize(
    "error",
    [
        BackendUnavailable("the connection broke"),
        PreconditionFailed("its own work is in its way"),
        BackendDenied("the credentials expired meanwhile"),
        TransferCancelled("cancelled before it was repeated"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_commit_that_happened_is_told_as_one(tmp_path: Path, error: BackendsError) -> None:
    """What was committed is never reported as not committed while the head can be read."""
    rig = Rig(tmp_path)
    head = rig.claimed()
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_bytes(b"1")
    store = Lossy(rig.store, error)
    done = rig.using(store).module.dehydrate(head, source, index=rig.index)
    assert store.error is None, "the answer was never lost"
    assert rig.module.read_head() == done.head != head
    assert snapshot(rig.load("copy")) == snapshot(source)
