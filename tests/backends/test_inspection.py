"""Looking at a module without owning it: its tree, one file of it, and the list of all modules."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends import (
    BackendUnavailable,
    BlobInfo,
    BlobStore,
    Bulk,
    Condition,
    CorruptData,
    HeadConflict,
    Inspection,
    InvalidName,
    RemoteModule,
    Snapshot,
    TransferCancelled,
    list_modules,
    open_store,
    summarise_module,
    summarise_modules,
)
from backends.hydration.inspection.catalogue import sort_out
from backends.hydration.inspection.in_order import in_order
from tests.backends.rig import Rig
from tests.backends.stores import Counting, Faulty, Wrapped
from tests.backends.trees import Node, build, snapshot, trees, workspace

T = TypeVar("T")
MIB = 1024 * 1024


def content(inspection: Inspection, tree: Snapshot, path: bytes) -> bytes:
    return b"".join(piece.data or bytes(piece.length) for piece in inspection.read_file(tree, path))


def taken(store: BlobStore, *, previous: bool = False) -> tuple[Inspection, Snapshot]:
    inspection = Inspection(store, "Tenant-1")
    tree = inspection.snapshot(previous=previous)
    assert tree is not None
    return inspection, tree


class Acting(Wrapped):
    """Does something before the first call of a name on a blob that is not a manifest's."""

    def __init__(self, store: BlobStore, name: str, act: Callable[[], object], *, times: int = 1) -> None:
        super().__init__(store)
        self.name, self.act, self.times = name, act, times

    def call(self, name: str, key: str, size: int, do: Callable[[], T]) -> T:
        if name == self.name and "/blobs/" in key and self.times:
            self.times -= 1
            self.act()
        return do()


@settings(max_examples=40)
@given(tree=trees)
def test_what_is_seen_is_what_was_sent(tree: Node) -> None:
    """Each name of a random tree is listed with its mode, time, size and target, and each file reads back."""
    with workspace() as path:
        rig = Rig(path)
        source = build(path / "source", tree)
        rig.save(source)
        inspection, seen = taken(rig.store)
        expected = snapshot(source)
        listed = {b"/" + entry.path: entry for entry in seen.children(b"", recursive=True)}
        assert listed.keys() | {b""} == expected.keys()
        for name, entry in listed.items():
            kind, *rest = expected[name]
            if kind == "f":
                mode, mtime, data, _first = rest
                assert (entry.mode, entry.mtime_ns, entry.size) == (mode, mtime, len(data))  # type: ignore[arg-type] # bytes
                assert content(inspection, seen, entry.path) == data
            elif kind == "l":
                assert (entry.kind, entry.target, entry.mtime_ns) == ("l", *rest)
            else:
                assert (entry.kind, entry.mode, entry.mtime_ns) == ("d", *rest)


def test_a_directory_is_listed_by_any_spelling_of_its_path(tmp_path: Path) -> None:
    """Slashes and dots that change nothing are ignored; `..` leads nowhere; a prefix of a name is no directory."""
    rig = Rig(tmp_path)
    source = tmp_path / "source"
    (source / "a/b").mkdir(parents=True)
    for name in ("a/b/f", "a/g", "ab"):
        (source / name).touch()
    rig.save(source)
    _, tree = taken(rig.store)
    for path in (b"a", b"a/", b"/a", b"./a//"):
        assert [entry.path for entry in tree.children(path)] == [b"a/b", b"a/g"]
    assert [entry.path for entry in tree.children(b"a", recursive=True)] == [b"a/b", b"a/b/f", b"a/g"]
    assert [entry.path for entry in tree.children(b"")] == [b"a", b"ab"]
    assert tree.find(b"a/../ab") is None
    assert list(tree.children(b"ab")) == []


def test_the_earlier_tree_can_be_read_too(tmp_path: Path) -> None:
    """With `previous` the kept tree is seen, with its content; without one there is none."""
    rig = Rig(tmp_path)
    source = tmp_path / "source"
    source.mkdir()
    (source / "f").write_bytes(b"old")
    rig.save(source)
    assert Inspection(rig.store, "Tenant-1").snapshot(previous=True) is None
    (source / "f").write_bytes(b"newer")
    rig.save(source, keep_previous=True)
    inspection, tree = taken(rig.store, previous=True)
    assert content(inspection, tree, b"f") == b"old"
    inspection, tree = taken(rig.store)
    assert content(inspection, tree, b"f") == b"newer"


def test_a_small_file_costs_one_small_request(tmp_path: Path) -> None:
    """Of a pack only the file's own range is read, and of a large file each chunk once; a hole costs nothing."""
    rig = Rig(tmp_path)
    source = tmp_path / "source"
    source.mkdir()
    for number in range(50):
        (source / f"{number}").write_bytes(os.urandom(2000))
    (source / "large").write_bytes(os.urandom(9 * MIB))
    (source / "sparse").touch()
    os.truncate(source / "sparse", 1024 * MIB)
    rig.save(source)
    store = Counting(rig.store)
    inspection, tree = taken(store)
    assert store.calls == {"get": 2}
    assert content(inspection, tree, b"7") == (source / "7").read_bytes()
    assert store.calls == {"get": 2, "get_range": 1}
    assert content(inspection, tree, b"large") == (source / "large").read_bytes()
    assert store.calls == {"get": 2, "get_range": 4}
    pieces = list(inspection.read_file(tree, b"sparse"))
    assert sum(piece.length for piece in pieces) == 1024 * MIB
    assert all(piece.data is None for piece in pieces)
    assert store.calls == {"get": 2, "get_range": 4}


@pytest.mark.parametrize("how", ["missing", "flipped", "short"])
def test_no_byte_that_is_not_verified_is_given_out(tmp_path: Path, how: str) -> None:
    """Of a file whose third chunk is damaged the first two are given out, then the error names the blob."""
    rig = Rig(tmp_path)
    source = tmp_path / "source"
    source.mkdir()
    (source / "f").write_bytes(os.urandom(16 * MIB))
    rig.save(source)
    inspection, tree = taken(rig.store)
    chunk = tree.content(b"f")[2]
    key = "_tenant-1/blobs/" + tree.manifest.blobs[chunk.blob].digest.hex()
    data = bytearray(rig.store.get(key)[0])
    data[100] ^= 1
    if how == "missing":
        rig.store.delete(key)
    else:
        rig.store.put(key, data if how == "flipped" else data[: chunk.length - 1])
    got: list[bytes] = []

    def read() -> None:
        got.extend(piece.data or b"" for piece in inspection.read_file(tree, b"f"))

    with pytest.raises(CorruptData) as caught:
        read()
    assert caught.value.blob == key
    assert b"".join(got) == (source / "f").read_bytes()[: 8 * MIB]


@pytest.mark.parametrize("path", [b"", b"d", b"l", b"nothing"])
def test_what_is_no_file_has_no_content(tmp_path: Path, path: bytes) -> None:
    """Reading a directory, a link, or a name that is not there is refused."""
    rig = Rig(tmp_path)
    (tmp_path / "source/d").mkdir(parents=True)
    (tmp_path / "source/l").symlink_to("d")
    rig.save(tmp_path / "source")
    inspection, tree = taken(rig.store)
    with pytest.raises(InvalidName):
        inspection.read_file(tree, path)


def test_a_file_that_a_commit_collects_is_a_conflict_and_no_damage(tmp_path: Path) -> None:
    """When the owner replaces the data while a file of it is read, the error says so instead of crying wolf."""
    rig = Rig(tmp_path)
    source = tmp_path / "source"
    source.mkdir()
    (source / "f").write_bytes(os.urandom(MIB))
    rig.save(source)

    def replace() -> None:
        (source / "f").write_bytes(os.urandom(MIB))
        rig.save(source)

    inspection, tree = taken(Acting(rig.store, "get_range", replace))
    with pytest.raises(HeadConflict):
        content(inspection, tree, b"f")


def test_a_tree_that_is_replaced_while_it_is_read_is_read_anew(tmp_path: Path) -> None:
    """A manifest that a commit collects between the reads of head and manifest is no damage: the new one is read."""
    rig = Rig(tmp_path)
    source = tmp_path / "source"
    source.mkdir()
    rig.save(source)

    def replace() -> None:
        (source / "new").touch()
        rig.save(source)

    _, tree = taken(Acting(rig.store, "get", replace))
    assert tree.find(b"new") is not None


def test_modules_are_listed_with_their_condition(tmp_path: Path) -> None:
    """Each module has its state, head, files and bytes; a damaged one says why, and no other suffers by it."""
    store = open_store(tmp_path.joinpath("store").as_uri())
    source = tmp_path / "source"
    source.mkdir()
    (source / "f").write_bytes(b"12345")
    modules = {
        name: RemoteModule(store, name, owner="hub-1") for name in ("A", "a", "broken", "empty", "going", "torn")
    }
    heads = {name: module.claim(None, "store") for name, module in modules.items()}
    for name in ("A", "torn"):
        done = modules[name].dehydrate(heads[name], source, index=tmp_path / "index")
        heads[name] = done.head
    store.put("broken/head", b"{}")
    store.put("going/head", store.get("going/head")[0].replace(b'"tombstone":false', b'"tombstone":true'))
    store.delete(f"torn/blobs/{heads['torn'].manifest}")
    store.put("headless/blobs/x", b"123")
    store.put("No_Module/x", b"1")
    found = list_modules(store)
    assert list(found.modules) == ["A", "a", "broken", "empty", "going", "headless", "torn"]
    assert found.others == {"No_Module": Bulk(1, 1)}
    summaries = {each.module_id: each for each in summarise_modules(store, found.modules, threads=3)}
    assert {name: each.condition for name, each in summaries.items()} == {
        "A": Condition.COMMITTED,
        "a": Condition.EMPTY,
        "broken": Condition.DAMAGED,
        "empty": Condition.EMPTY,
        "going": Condition.ERASING,
        "headless": Condition.HEADLESS,
        "torn": Condition.DAMAGED,
    }
    assert (summaries["A"].files, summaries["A"].bytes, summaries["A"].objects) == (1, 5, 3)
    assert summaries["A"].head == modules["A"].read_head()
    assert "broken/head" in summaries["broken"].problem
    assert "missing" in summaries["torn"].problem
    assert summarise_module(store, "absent", Bulk()).condition is Condition.ABSENT


def test_listing_keeps_no_keys() -> None:
    """A listing is added up as it comes, in any order."""
    listing = (BlobInfo(f"{'ab'[n % 2]}/blobs/{n}", 10) for n in range(1000))
    assert sort_out(listing).modules == {"a": Bulk(500, 5000), "b": Bulk(500, 5000)}


def test_a_backend_that_fails_is_no_damage(tmp_path: Path) -> None:
    """A backend that can't be reached raises, whatever is asked of it."""
    rig = Rig(tmp_path)
    (tmp_path / "source").mkdir()
    rig.save(tmp_path / "source")
    store = Faulty(rig.store, 1, "crash")
    with pytest.raises(BackendUnavailable):
        Inspection(store, "Tenant-1").snapshot()
    with pytest.raises(BackendUnavailable):
        summarise_module(store, "Tenant-1", Bulk(1, 1))


def test_a_listing_can_be_cancelled(tmp_path: Path) -> None:
    """A set token ends the listing of a store, and the reading of modules."""
    rig = Rig(tmp_path)
    rig.claimed()
    token = threading.Event()
    token.set()
    with pytest.raises(TransferCancelled):
        list_modules(rig.store, token)
    with pytest.raises(TransferCancelled):
        list(summarise_modules(rig.store, {"Tenant-1": Bulk()}, threads=1, cancelled=token))


@given(st.lists(st.integers()), st.integers(1, 5))
def test_results_come_in_the_order_of_the_calls(items: list[int], threads: int) -> None:
    """Results are those of the calls, in order, whatever the number of threads."""
    assert list(in_order(lambda item: item * 2, items, threads=threads)) == [item * 2 for item in items]


def test_calls_run_ahead_but_not_far() -> None:
    """No more calls are begun than there are threads, until a result is taken; closing ends the threads."""
    begun: list[int] = []

    def call(item: int) -> int:
        begun.append(item)
        return item

    results = in_order(call, range(1000), threads=3)
    assert next(results) == 0
    assert len(begun) <= 3
    results.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("modhub-inspect")]


def test_the_first_failure_ends_all() -> None:
    """What a call raises is raised where its result would have come, and no thread outlives it."""

    def call(item: int) -> int:
        if item == 3:
            raise ValueError(item)
        return item

    got: list[int] = []

    def consume() -> None:
        got.extend(iter(in_order(call, range(100), threads=2)))

    with pytest.raises(ValueError, match="3"):
        consume()
    assert got == [0, 1, 2]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("modhub-inspect")]
