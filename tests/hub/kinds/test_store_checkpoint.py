"""The store's copy of itself: consistent, complete, and made while it serves."""

import os
import resource
import shutil
import socket
import sqlite3
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.hub.kinds.store_process import Answer, Store, wait_for

MIB = 1024 * 1024
LARGE = 32  # MiB: at least some hundred milliseconds of copying, half of them pauses


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The checkpoint directory, as the hub makes it."""
    place = tmp_path / "checkpoint"
    place.mkdir(mode=0o700)
    return place


@pytest.fixture
def asking() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


def loaded(place: Path) -> dict[str, bytes]:
    """What a store that starts on a copy serves."""
    with Store(place) as store:
        keys = [row["key"] for row in store.request("GET", "/blobs").json()]
        found = {key: store.request("GET", f"/blobs/{key}").body for key in keys}
        assert store.terminate() == 0
    connection = sqlite3.connect(place / "store.db")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    return found


def fill(store: Store, mib: int = LARGE) -> dict[str, bytes]:
    values = {f"large-{number}": os.urandom(4 * MIB) for number in range(mib // 4)}
    for key, value in values.items():
        assert store.request("PUT", f"/blobs/{key}", value).status == 201
    return values


def begin(store: Store, place: Path, asking: ThreadPoolExecutor) -> Future[Answer]:
    """Ask for a checkpoint; returns once it is being made."""
    asked = asking.submit(store.request, "POST", "/checkpoint")
    wait_for(lambda: (place / "store.db").exists() and (place / "store.db").stat().st_size > 0)
    return asked


def test_a_copy_is_a_whole_store(store: Store, place: Path) -> None:
    """One file, from which a store starts with all that was acknowledged; the answer says how large it is."""
    values = {"a": b"one", "b": b"", "c/d": os.urandom(3 * MIB)}
    for key, value in values.items():
        store.request("PUT", f"/blobs/{key}", value)
    store.request("PUT", "/blobs/gone", b"x")
    store.request("DELETE", "/blobs/gone")
    answer = store.request("POST", "/checkpoint")
    assert answer.status == 200
    assert [path.name for path in place.iterdir()] == ["store.db"]
    assert answer.json() == {"bytes": (place / "store.db").stat().st_size}
    assert (place / "store.db").stat().st_mode & 0o777 == 0o600
    store.request("PUT", "/blobs/later", b"x")
    assert loaded(place) == values


def test_requests_are_served_while_a_copy_is_made(store: Store, place: Path, asking: ThreadPoolExecutor) -> None:
    """Reads and writes are answered meanwhile; the copy is consistent, with all that came before it was asked for."""
    values = fill(store)
    asked = begin(store, place, asking)
    served = 0
    while not asked.done():
        assert store.request("PUT", "/blobs/counter", str(served).encode()).status in {201, 204}
        assert store.request("GET", "/blobs/large-0").body == values["large-0"]
        served += 1
    assert asked.result().status == 200
    assert served >= 3
    copied = loaded(place)
    counter = copied.pop("counter", b"0")
    assert copied == values
    assert 0 <= int(counter) < served


def test_a_gc_cycle_beside_a_copy_does_not_harm_it(store: Store, place: Path, asking: ThreadPoolExecutor) -> None:
    """Space may be given back, and the file cut off, while its pages are copied."""
    values = fill(store, 16)
    for number in (0, 2):
        store.request("DELETE", f"/blobs/large-{number}")
        del values[f"large-{number}"]
    asked = begin(store, place, asking)
    assert store.request("POST", "/gc").json()["freed_bytes"] > 0
    assert asked.result().status == 200
    assert loaded(place) == values


def test_without_a_directory_nothing_is_copied(store: Store, tmp_path: Path) -> None:
    """Only whoever made the directory wants a checkpoint: a tenant who asks for one is told so, and no more happens."""
    before = sorted(tmp_path.rglob("*"))
    for method, status in (("POST", 409), ("GET", 405)):
        assert store.request(method, "/checkpoint").status == status
    assert sorted(tmp_path.rglob("*")) == before
    with Store(tmp_path / "other", "--checkpoint-dir", "") as other:
        assert other.request("POST", "/checkpoint").status == 409


def test_a_copy_that_is_there_is_never_touched_again(store: Store, place: Path) -> None:
    """It may be on its way to the backend: a second request is refused, a link in its place is not followed."""
    store.request("PUT", "/blobs/k", b"x")
    assert store.request("POST", "/checkpoint").status == 200
    status = (place / "store.db").stat()
    assert store.request("POST", "/checkpoint").status == 409
    assert (place / "store.db").stat() == status
    (place / "store.db").unlink()
    (place / "store.db").symlink_to(place / "elsewhere")
    assert store.request("POST", "/checkpoint").status == 409
    assert not (place / "elsewhere").exists()


def test_of_many_who_ask_at_once_one_gets_a_copy(store: Store, place: Path, asking: ThreadPoolExecutor) -> None:
    """One copy at a time; the others are refused, and the copy is whole."""
    values = fill(store, 8)
    asked = [asking.submit(store.request, "POST", "/checkpoint") for _ in range(4)]
    assert sorted(answer.result().status for answer in asked) == [200, 409, 409, 409]
    assert loaded(place) == values


def test_a_copy_whose_place_is_taken_away_ends(store: Store, place: Path, asking: ThreadPoolExecutor) -> None:
    """The next one, in a directory made anew, waits for its end and is whole."""
    values = fill(store)
    asked = begin(store, place, asking)
    shutil.rmtree(place)
    place.mkdir()
    again = store.request("POST", "/checkpoint")
    assert (asked.result().status, again.status) == (409, 200)
    assert loaded(place) == values


def test_a_copy_that_nobody_waits_for_ends(store: Store, place: Path) -> None:
    """With the connection of whoever asked it is over, long before it would be complete."""
    fill(store)
    with store.raw() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not an orderly end
        client.sendall(b"POST /checkpoint HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: (place / "store.db").exists() and (place / "store.db").stat().st_size > 0)
    tasks = Path(f"/proc/{store.process.pid}/task")
    wait_for(lambda: len(list(tasks.iterdir())) == 1)
    assert (place / "store.db").stat().st_size < LARGE * MIB
    assert store.request("GET", "/health").status == 200


def test_the_end_of_the_store_ends_a_copy(store: Store, place: Path, asking: ThreadPoolExecutor) -> None:
    """SIGTERM gives what was asked before a moment, then the store exits cleanly, with its data whole."""
    values = fill(store)
    asked = begin(store, place, asking)
    assert store.terminate() == 0
    assert asked.exception() is not None or asked.result().status == 200
    assert loaded(store.data_dir) == values


def test_a_disk_that_takes_no_copy_is_told(store: Store, place: Path) -> None:
    """The failure is answered as the server's, nobody else notices, and the next copy is whole."""
    values = fill(store, 8)
    limit = resource.prlimit(store.process.pid, resource.RLIMIT_FSIZE, (MIB, resource.RLIM_INFINITY))
    assert store.request("POST", "/checkpoint").status == 500
    assert store.request("GET", "/blobs/large-0").body == values["large-0"]
    resource.prlimit(store.process.pid, resource.RLIMIT_FSIZE, limit)
    (place / "store.db").unlink()
    assert store.request("POST", "/checkpoint").status == 200
    assert loaded(place) == values


def test_a_store_waits_idly_for_its_copy(store: Store, place: Path, asking: ThreadPoolExecutor) -> None:
    """The thread that serves makes no turns for it: it uses a small part of the time that the copy takes."""
    fill(store)
    status = Path(f"/proc/{store.process.pid}/task/{store.process.pid}/stat")

    def used() -> int:
        return sum(map(int, status.read_text(encoding="ascii").rpartition(") ")[2].split()[11:13]))

    before = used()
    answered = threading.Event()
    asked = begin(store, place, asking)
    asked.add_done_callback(lambda _: answered.set())
    assert answered.wait(30)
    assert asked.result().status == 200
    assert used() - before <= 5  # hundredths of a second, of at least ten that it takes
