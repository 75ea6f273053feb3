"""The suite that every backend runs. Needs pytest, which only whoever tests a backend has to install.

    class TestMyStore(BlobStoreConformance):
        @pytest.fixture
        def opener(self, tmp_path: Path) -> Callable[[], BlobStore]:
            return lambda: open_store(f"mine://{tmp_path}")

Each call of the opener gives a new client of the same, initially empty store. A fixture `crash` may be given besides.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from backends.blobstore import BlobInfo, BlobStore, Guard
from backends.errors import BlobNotFound, CorruptData, InvalidName, PreconditionFailed

Opener = Callable[[], BlobStore]
Crash = Callable[[str], None]

_SIZES = (0, 1, 64 * 1024, 64 * 1024 + 1, 5 * 1024 * 1024 + 3)


class BlobStoreConformance:
    """What `BlobStore` promises, as tests. Subclass it and give it an `opener` fixture."""

    @pytest.fixture
    def opener(self) -> Opener:
        """A function that opens the store; the store is empty."""
        raise NotImplementedError

    @pytest.fixture
    def crash(self) -> Crash:
        """A function that leaves what a writer killed in the middle of writing a key leaves; there is none by default."""
        pytest.skip("no `crash` fixture for this store")

    @pytest.fixture
    def store(self, opener: Opener) -> BlobStore:
        """One client."""
        return opener()

    @pytest.mark.parametrize("size", _SIZES)
    def test_put_then_get(self, store: BlobStore, opener: Opener, size: int) -> None:
        """What was put is read back by every client, with the etag that the put returned."""
        data = bytes(range(256)) * (size // 256 + 1)
        etag = store.put("m/blobs/x", data[:size])
        assert store.get("m/blobs/x") == (data[:size], etag)
        assert opener().get("m/blobs/x") == (data[:size], etag)

    def test_large_object(self, store: BlobStore) -> None:
        """An object larger than a store may write at once is whole and under its conditions like any other."""
        data = bytes(range(251)) * (40 * 1024 * 1024 // 251)
        etag = store.put("m/large", data, if_none_match=True)
        assert store.get("m/large") == (data, etag)
        with pytest.raises(PreconditionFailed):
            store.put("m/large", data, if_none_match=True)
        with pytest.raises(PreconditionFailed):
            store.put("m/large", data, if_match="h0")
        with pytest.raises(PreconditionFailed):
            store.put("m/none", data, if_match=etag)
        with pytest.raises(PreconditionFailed):
            store.put("m/large", data, guard=Guard.unchanged("m/large", "h0"))
        assert store.get_range("m/large", len(data) - 3, 10) == data[-3:]
        changed = store.put("m/large", data[:-1], if_match=etag)
        assert store.get("m/large") == (data[:-1], changed)
        assert {item.name for item in store.remains("m/")} - {"m/"} == {"m/large"}

    def test_put_accepts_buffers(self, store: BlobStore) -> None:
        """Bytearrays and memoryviews are content like bytes."""
        store.put("m/a", bytearray(b"one"))
        store.put("m/b", memoryview(b"xtwox")[1:-1])
        assert (store.get("m/a")[0], store.get("m/b")[0]) == (b"one", b"two")

    def test_put_replaces(self, store: BlobStore) -> None:
        """A second put replaces the object whole and changes its etag."""
        first = store.put("m/a", b"a longer content")
        second = store.put("m/a", b"short")
        assert first != second
        assert store.get("m/a") == (b"short", second)

    @pytest.mark.parametrize("size", [10, 100_000])
    def test_rewriting_large_or_small_content(self, store: BlobStore, size: int) -> None:
        """An etag of an earlier content of the same size no longer matches."""
        first = store.put("m/a", b"a" * size)
        store.put("m/a", b"b" * size)
        with pytest.raises(PreconditionFailed):
            store.put("m/a", b"c" * size, if_match=first)
        assert store.get("m/a")[0] == b"b" * size

    def test_missing(self, store: BlobStore) -> None:
        """Reading what is missing is a typed error that names the key; deleting it is none."""
        with pytest.raises(BlobNotFound) as caught:
            store.get("m/none")
        assert caught.value.key == "m/none"
        for length in (0, 1):
            with pytest.raises(BlobNotFound):
                store.get_range("m/none", 0, length)
        store.delete("m/none")
        assert store.delete_many(["m/none", "n/none"]) in {0, 2}

    def test_ranges(self, store: BlobStore) -> None:
        """A range is read from its offset and ends with the object; beyond its end there is nothing."""
        store.put("m/a", bytes(range(100)))
        store.put("m/empty", b"")
        assert store.get_range("m/a", 10, 5) == bytes(range(10, 15))
        assert store.get_range("m/a", 95, 50) == bytes(range(95, 100))
        assert store.get_range("m/a", 99, 1) == b"c"
        for offset, length in ((100, 5), (1000, 5), (3, 0)):
            assert store.get_range("m/a", offset, length) == b""
        assert store.get_range("m/empty", 0, 5) == b""

    def test_limit(self, store: BlobStore) -> None:
        """What is larger than the reader accepts is refused; what is as large is not."""
        store.put("m/a", bytes(100))
        assert len(store.get("m/a", limit=100)[0]) == 100
        with pytest.raises(CorruptData):
            store.get("m/a", limit=99)

    def test_list(self, store: BlobStore) -> None:
        """A listing has keys and sizes of exactly the prefix, at any depth."""
        for key in ("m/head", "m/blobs/a", "m/blobs/b", "m-1/head", "m0/head"):
            store.put(key, key.encode())
        assert _listed(store, "m/") == {"m/head": 6, "m/blobs/a": 9, "m/blobs/b": 9}
        assert _listed(store, "m/blobs/") == {"m/blobs/a": 9, "m/blobs/b": 9}
        assert set(_listed(store, "")) == {"m/head", "m/blobs/a", "m/blobs/b", "m-1/head", "m0/head"}
        assert _listed(store, "none/") == {}

    def test_list_many(self, store: BlobStore) -> None:
        """A listing is complete beyond any page size, and so is the deletion of what it found."""
        keys = {f"m/blobs/{number:04}" for number in range(1100)}

        def put(key: str) -> str:
            return store.put(key, b"x")

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(put, keys))
        assert set(_listed(store, "m/")) == keys
        store.delete_many(iter(keys))
        assert _listed(store, "m/") == {}

    def test_listed_etags(self, store: BlobStore) -> None:
        """Where a listing has etags, they are those of the objects."""
        etag = store.put("m/a", b"x")
        assert [info.etag for info in store.list("m/") if info.etag is not None] in ([], [etag])

    def test_create_only(self, store: BlobStore) -> None:
        """if_none_match writes only where nothing is."""
        etag = store.put("m/head", b"1", if_none_match=True)
        with pytest.raises(PreconditionFailed):
            store.put("m/head", b"2", if_none_match=True)
        assert store.get("m/head") == (b"1", etag)

    def test_replace_only(self, store: BlobStore) -> None:
        """if_match writes only over the etag that it names, and not where nothing is."""
        first = store.put("m/head", b"1")
        second = store.put("m/head", b"2", if_match=first)
        with pytest.raises(PreconditionFailed):
            store.put("m/head", b"3", if_match=first)
        with pytest.raises(PreconditionFailed):
            store.put("m/other", b"3", if_match=first)
        assert store.get("m/head") == (b"2", second)
        assert set(_listed(store, "m/")) == {"m/head"}

    def test_conditional_write_to_nothing_creates_nothing(self, store: BlobStore) -> None:
        """A refused write leaves no trace of its module, not even a folder."""
        with pytest.raises(PreconditionFailed):
            store.put("m/head", b"1", if_match="h0")
        with pytest.raises(PreconditionFailed):
            store.put("m/blobs/a", b"1", guard=Guard.unchanged("m/head", "h0"))
        assert list(store.remains("m/")) == []

    def test_race_to_create(self, opener: Opener) -> None:
        """Of many clients that create one object, exactly one succeeds, and its content stays."""
        won = _race(opener, lambda store, me: store.put("m/head", me, if_none_match=True))
        assert len(won) == 1
        assert opener().get("m/head")[0] == won[0]

    def test_race_to_replace(self, opener: Opener) -> None:
        """Of many clients that replace one state of an object, exactly one succeeds."""
        etag = opener().put("m/head", b"start")
        won = _race(opener, lambda store, me: store.put("m/head", me, if_match=etag))
        assert len(won) == 1
        assert opener().get("m/head")[0] == won[0]

    def test_readers_see_whole_objects(self, opener: Opener) -> None:
        """While an object is replaced, every read gives one of its contents, whole."""
        contents = [bytes([number]) * 200_000 for number in range(4)]
        opener().put("m/a", contents[0])
        done = threading.Event()

        def write() -> None:
            store = opener()
            for number in range(40):
                store.put("m/a", contents[number % 4])
            done.set()

        writer = threading.Thread(target=write)
        writer.start()
        reader = opener()
        seen: list[bytes] = []
        while not done.is_set():
            seen.append(reader.get("m/a")[0])
        writer.join()
        assert all(data in contents for data in seen)

    def test_delete(self, store: BlobStore) -> None:
        """A deleted object is gone from reads and listings; its neighbours are not."""
        store.put("m/a", b"1")
        store.put("m/b", b"2")
        store.delete("m/a")
        with pytest.raises(BlobNotFound):
            store.get("m/a")
        assert set(_listed(store, "m/")) == {"m/b"}

    def test_conditional_delete(self, store: BlobStore) -> None:
        """A conditional delete strikes only the etag that it names."""
        first = store.put("m/a", b"1")
        second = store.put("m/a", b"2")
        with pytest.raises(PreconditionFailed):
            store.delete("m/a", if_match=first)
        store.delete("m/a", if_match=second)
        with pytest.raises(PreconditionFailed):
            store.delete("m/a", if_match=second)

    def test_guard(self, store: BlobStore) -> None:
        """Guarded writes and deletes happen while the guard's object is unchanged, and never after."""
        old = Guard.unchanged("m/head", store.put("m/head", b"1"))
        store.put("m/blobs/a", b"a", guard=old)
        store.put("m/blobs/b", b"b", guard=old)
        store.delete_many(["m/blobs/b"], guard=old)
        new = Guard.unchanged("m/head", store.put("m/head", b"2"))
        with pytest.raises(PreconditionFailed):
            store.put("m/blobs/c", b"c", guard=old)
        with pytest.raises(PreconditionFailed):
            store.delete_many(["m/blobs/a"], guard=old)
        assert set(_listed(store, "m/")) == {"m/head", "m/blobs/a"}
        store.delete_many(["m/blobs/a"], guard=new)
        assert set(_listed(store, "m/")) == {"m/head"}

    def test_guard_by_content(self, store: BlobStore) -> None:
        """A guard holds as long as it says so of the object's content, however often that is written; never for none."""
        etag = store.put("m/head", b"term 1, lease 1")
        asked: list[tuple[bytes, str]] = []

        def holds(content: bytes, etag: str) -> bool:
            asked.append((content, etag))
            return content.startswith(b"term 1,")

        guard = Guard("m/head", holds, limit=100)
        store.put("m/blobs/a", b"a", guard=guard)
        assert asked == [(b"term 1, lease 1", etag)]
        etag = store.put("m/head", b"term 1, lease 2", if_match=etag)
        store.put("m/blobs/b", b"b", guard=guard)
        store.delete_many(["m/blobs/a"], guard=guard)
        assert asked[-1] == (b"term 1, lease 2", etag)
        with pytest.raises(PreconditionFailed):
            store.put("m/blobs/c", b"c", guard=Guard("m/head", holds, limit=len(b"term 1, lease 2") - 1))
        assert asked[-1] == (b"", etag)
        store.put("m/head", b"term 2, lease 2", if_match=etag)
        with pytest.raises(PreconditionFailed):
            store.put("m/blobs/c", b"c", guard=guard)
        with pytest.raises(PreconditionFailed):
            store.delete_many(["m/blobs/b"], guard=guard)
        with pytest.raises(PreconditionFailed):
            store.purge("m/", keep="m/head", guard=guard)
        store.delete("m/head")
        with pytest.raises(PreconditionFailed):
            store.put("m/blobs/c", b"c", guard=Guard("m/head", lambda _content, _etag: True))
        assert set(_listed(store, "m/")) == {"m/blobs/b"}

    def test_guards_end_writers(self, opener: Opener) -> None:
        """Writers that are guarded by a head all end once it is replaced, and what they were told is written is there."""
        store = opener()
        etag = store.put("m/head", b"1")
        guard = Guard.unchanged("m/head", etag)
        began = threading.Barrier(5)

        def write(number: int) -> list[str]:
            written: list[str] = []
            began.wait()
            while len(written) < 10_000:
                key = f"m/blobs/{number}-{len(written)}"
                try:
                    store.put(key, b"x", guard=guard)
                except PreconditionFailed:
                    return written
                written.append(key)
            pytest.fail("writers went on under a broken guard")

        with ThreadPoolExecutor(4) as pool:
            writers = [pool.submit(write, number) for number in range(4)]
            began.wait()
            store.put("m/head", b"2", if_match=etag)
            written = {key for writer in writers for key in writer.result()}
        assert written <= set(_listed(store, "m/"))

    def test_purge_and_expunge(self, store: BlobStore) -> None:
        """A purge leaves the kept object alone; expunging that one leaves nothing, and neighbours are untouched."""
        for key in ("m/blobs/a", "m/blobs/b", "m/stray", "n/head"):
            store.put(key, b"12345")
        etag = store.put("m/head", b"head")
        gone = store.purge("m/", keep="m/head")
        assert (gone.blobs, gone.bytes) == (3, 15)
        assert store.get("m/head") == (b"head", etag)
        with pytest.raises(PreconditionFailed):
            store.expunge("m/head", if_match="h0")
        gone = store.expunge("m/head", if_match=etag)
        assert (gone.blobs, gone.bytes) == (1, 4)
        assert list(store.remains("m/")) == []
        with pytest.raises(PreconditionFailed):
            store.expunge("m/head", if_match=etag)
        assert store.get("n/head")[0] == b"12345"

    def test_guarded_purge(self, store: BlobStore) -> None:
        """A purge whose guard is broken removes nothing."""
        old = Guard.unchanged("m/head", store.put("m/head", b"1"))
        store.put("m/blobs/a", b"a")
        store.put("m/head", b"2")
        with pytest.raises(PreconditionFailed):
            store.purge("m/", keep="m/head", guard=old)
        assert set(_listed(store, "m/")) == {"m/head", "m/blobs/a"}

    def test_remains(self, store: BlobStore) -> None:
        """Whatever exists below a prefix shows in what remains of it."""
        assert list(store.remains("m/")) == []
        store.put("m/blobs/a", b"12345")
        assert ("m/blobs/a", 5) in {(item.name, item.size) for item in store.remains("m/")}

    def test_unfinished_writes(self, store: BlobStore, crash: Crash) -> None:
        """What a killed writer left is no object, shows in what remains, and is swept, or purged with the rest."""
        etag = store.put("m/head", b"1")
        ends: tuple[Callable[[], int], ...] = (
            lambda: store.sweep_unfinished("m/"),
            lambda: store.purge("m/", keep="m/head").versions,
        )
        for end in ends:
            crash("m/blobs/a")
            crash("n/blobs/a")
            assert set(_listed(store, "")) == {"m/head"}
            assert "upload" in {item.kind for item in store.remains("m/")}
            assert end() == 1
            assert "upload" not in {item.kind for item in store.remains("m/")}
            assert "upload" in {item.kind for item in store.remains("n/")}
            store.sweep_unfinished("n/")
        assert store.get("m/head") == (b"1", etag)

    def test_sweep_spares_objects(self, store: BlobStore) -> None:
        """Sweeping unfinished writes touches no finished one."""
        store.put("m/blobs/a", b"1")
        store.sweep_unfinished("m/")
        store.sweep_unfinished("none/")
        assert set(_listed(store, "m/")) == {"m/blobs/a"}

    @pytest.mark.parametrize(
        "key", ["", "a", "/a", "a/", "a//b", "../a", "a/../b", "a/.", "a/.b", "a/\0", "a/" + "x" * 256]
    )
    def test_bad_keys(self, store: BlobStore, key: str) -> None:
        """What names no object of a module is refused before anything happens."""
        with pytest.raises(InvalidName):
            store.put(key, b"")
        with pytest.raises(InvalidName):
            store.get(key)
        with pytest.raises(InvalidName):
            store.delete_many([key])

    @pytest.mark.parametrize("prefix", ["a", "/", "../", "a//", "a/../"])
    def test_bad_prefixes(self, store: BlobStore, prefix: str) -> None:
        """What names no module's prefix is refused before anything happens."""
        with pytest.raises(InvalidName):
            list(store.list(prefix))
        with pytest.raises(InvalidName):
            list(store.remains(prefix))

    def test_check_creates_nothing(self, store: BlobStore) -> None:
        """A check of a usable store succeeds and writes nothing."""
        store.check()
        assert list(store.remains("")) == []

    def test_is_a_store(self, store: BlobStore) -> None:
        """It has the protocol's methods and a URI to show."""
        assert isinstance(store, BlobStore)
        assert "://" in store.uri


def _listed(store: BlobStore, prefix: str) -> dict[str, int]:
    infos: list[BlobInfo] = list(store.list(prefix))
    assert len({info.key for info in infos}) == len(infos)
    return {info.key: info.size for info in infos}


def _race(opener: Opener, write: Callable[[BlobStore, bytes], str]) -> list[bytes]:
    clients = 16
    barrier = threading.Barrier(clients)

    def run(number: int) -> bytes | None:
        store, me = opener(), b"client %d" % number
        store.check()  # whatever a client does first is done before the race
        barrier.wait()
        try:
            write(store, me)
        except PreconditionFailed:
            return None
        return me

    with ThreadPoolExecutor(clients) as pool:
        return [me for me in pool.map(run, range(clients)) if me is not None]
