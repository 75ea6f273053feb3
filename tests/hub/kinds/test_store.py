import os
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, urlencode

import pytest

from tests.hub.kinds.store_process import Store, read_all, read_until, wait_for

MIB = 1024 * 1024
PIECE = 256 * 1024


def test_blob_lives_from_put_to_delete(store: Store) -> None:
    """A PUT creates (201) and replaces (204), GET and HEAD find it, DELETE ends it (204), then all say 404."""
    assert store.request("PUT", "/blobs/a/b", b"one").status == 201
    assert store.request("PUT", "/blobs/a/b", b"two").status == 204
    assert store.request("GET", "/blobs/a/b").body == b"two"
    head = store.request("HEAD", "/blobs/a/b")
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", "3")
    assert store.request("DELETE", "/blobs/a/b").status == 204
    assert [store.request(method, "/blobs/a/b").status for method in ("GET", "HEAD", "DELETE")] == [404, 404, 404]


@pytest.mark.parametrize(
    "key", ["a", "a/b//c/", "/", "..", "../x", "ä/ö €𝄞", "a%2Fb", "?#&=+ ", "\0\x01\x7f", "k" * 1024, '"\\\n'], ids=repr
)
def test_key_may_be_any_utf8(store: Store, key: str) -> None:
    """Whatever UTF-8 a key holds, it is found under exactly that key, and listed as it is."""
    path = f"/blobs/{quote(key)}"
    assert store.request("PUT", path, key.encode()).status == 201
    assert store.request("GET", path).body == key.encode()
    assert [row["key"] for row in store.request("GET", "/blobs").json()] == [key]


@pytest.mark.parametrize("raw", ["", "%FF", "%C3", "%zz", "%4", "k" * 1025], ids=repr)
def test_key_that_is_none_is_refused(store: Store, raw: str) -> None:
    """An empty or overlong key, broken percent-encoding or broken UTF-8 is 400, and nothing is stored."""
    assert store.request("PUT", f"/blobs/{raw}", b"x").status == 400
    assert store.stats()["blobs"] == 0


def test_listing_pages_in_byte_order(store: Store) -> None:
    """A listing holds the prefix's keys with sizes in byte order; following the Link visits each once."""
    keys = ["b", "a/1", "a/2", "a-1", "a/ä", "a/z", "aa", "a/%"]
    for size, key in enumerate(keys):
        store.request("PUT", f"/blobs/{quote(key)}", b"x" * size)
    expected = sorted((key for key in keys if key.startswith("a/")), key=str.encode)
    seen: list[dict[str, object]] = []
    path = "/blobs?" + urlencode({"prefix": "a/", "limit": 2})
    while path:
        answer = store.request("GET", path)
        seen += answer.json()
        path = answer.headers.get("Link", "").partition(">")[0].removeprefix("<")
    assert [(row["key"], row["size"]) for row in seen] == [(key, keys.index(key)) for key in expected]


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=-1", "perfix=a", "prefix=%f"])
def test_listing_refuses_what_it_does_not_understand(store: Store, query: str) -> None:
    """A parameter that is misspelt or out of range is 400 instead of a listing of something else."""
    assert store.request("GET", f"/blobs?{query}").status == 400


def test_listing_is_bounded(store: Store) -> None:
    """However many are asked for, one answer lists at most a thousand."""
    connection = store.connect()
    for number in range(1001):
        connection.request("PUT", f"/blobs/{number:04}", b"")
        connection.getresponse().read()
    connection.close()
    answer = store.request("GET", "/blobs?limit=5000")
    assert len(answer.json()) == 1000
    assert len(store.request("GET", "/blobs?after=0999").json()) == 1


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 3 * MIB + 7])
def test_size_at_the_edges_of_pieces(store: Store, size: int) -> None:
    """A blob comes back byte by byte, also where it just fills the pieces that it is kept in."""
    value = os.urandom(size)
    store.request("PUT", "/blobs/k", value)
    answer = store.request("GET", "/blobs/k")
    assert answer.body == value
    assert answer.headers["Content-Length"] == str(size)


def test_memory_does_not_grow_with_the_blob(store: Store) -> None:
    """A blob of 96 MiB passes in and out without the process ever holding more than a few pieces of it."""
    before = store.resident_bytes()
    part = os.urandom(MIB)
    connection = store.connect()
    connection.request(
        "PUT", "/blobs/big", (part for _ in range(96)), {"Transfer-Encoding": "chunked"}, encode_chunked=True
    )
    assert connection.getresponse().read() == b""
    connection.request("GET", "/blobs/big")
    response = connection.getresponse()
    peak, received = 0, 0
    while data := response.read(MIB):
        assert data == part
        received += len(data)
        peak = max(peak, store.resident_bytes())
    connection.close()
    assert received == 96 * MIB
    assert peak - before < 16 * MIB


def test_reader_of_a_replaced_blob_gets_the_old_value(store: Store) -> None:
    """Who began to read before a blob was replaced and deleted reads the old value to its end; then it is freed."""
    old = os.urandom(32 * MIB)
    store.request("PUT", "/blobs/k", old)
    connection = store.connect()
    connection.request("GET", "/blobs/k")
    response = connection.getresponse()
    received = response.read(1000)
    store.request("PUT", "/blobs/k", b"new")
    assert store.request("GET", "/blobs/k").body == b"new"
    store.request("DELETE", "/blobs/k")
    assert store.stats()["garbage_values"] == 1
    assert received + response.read() == old
    connection.close()
    wait_for(lambda: store.stats()["garbage_values"] == 0)


def test_each_reader_of_a_replaced_blob_keeps_it(store: Store) -> None:
    """Of two readers of a replaced blob, the end of one takes nothing away from the other."""
    old = os.urandom(16 * MIB)
    store.request("PUT", "/blobs/k", old)
    first, second = store.connect(), store.connect()
    first.request("GET", "/blobs/k")
    second.request("GET", "/blobs/k")
    answers = [first.getresponse(), second.getresponse()]
    store.request("DELETE", "/blobs/k")
    assert answers[0].read() == old
    for _ in range(5):  # each gives the sweep a turn
        assert store.stats()["garbage_values"] == 1
    assert answers[1].read() == old
    first.close()
    second.close()


@pytest.mark.parametrize("turns", range(8))
def test_blob_deleted_between_head_and_body(store: Store, turns: int) -> None:
    """A small blob that is deleted at any point of a reader's turn comes whole, or not at all (404)."""
    store.request("PUT", "/blobs/k", b"value")
    with store.raw() as reader, store.raw() as deleter:
        for client in (reader, deleter):
            client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            read_until(client, b"OK!")
        store.pause()  # so that it finds both at once
        heads = b"HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n" * turns
        reader.sendall(heads + b"GET /blobs/k HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        deleter.sendall(b"DELETE /blobs/k HTTP/1.1\r\nHost: x\r\n\r\n")
        store.resume()
        assert read_all(reader).endswith((b"\r\n\r\nvalue", b"no such blob\n"))
        assert read_until(deleter, b"\r\n\r\n").startswith(b"HTTP/1.1 204 ")
    wait_for(lambda: store.stats()["garbage_values"] == 0)


def test_condition_is_judged_when_the_upload_ends(store: Store) -> None:
    """A create under If-None-Match that somebody else overtakes is 412, and what it had sent is removed."""
    with store.raw() as client:
        head = b"PUT /blobs/k HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\nContent-Length: 3000000\r\n\r\n"
        client.sendall(head + bytes(2_900_000))
        wait_for(lambda: store.stats()["disk_bytes"] > MIB)
        assert store.request("PUT", "/blobs/k", b"winner").status == 201
        client.sendall(bytes(100_000))
        assert read_until(client, b"hold\n").startswith(b"HTTP/1.1 412 ")
    assert store.request("GET", "/blobs/k").body == b"winner"
    assert store.request("POST", "/gc").json()["disk_bytes"] < MIB


def test_upload_that_breaks_off_changes_nothing(store: Store) -> None:
    """A client that vanishes during a PUT leaves the old value, and what it had sent is removed."""
    store.request("PUT", "/blobs/k", b"old")
    with store.raw() as client:
        client.sendall(b"PUT /blobs/k HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n" + bytes(3 * MIB))
        wait_for(lambda: store.stats()["disk_bytes"] > MIB)
    assert store.request("GET", "/blobs/k").body == b"old"
    wait_for(lambda: store.stats()["free_bytes"] > MIB and store.stats()["garbage_values"] == 0)
    assert store.stats()["blobs"] == 1


def test_etag_tells_values_apart(store: Store) -> None:
    """Each PUT has another ETag, and conditions act on it: 304, 412, or as if they were not there."""
    first = store.request("PUT", "/blobs/k", b"x").headers["ETag"]
    second = store.request("PUT", "/blobs/k", b"x").headers["ETag"]
    assert first != second
    assert store.request("GET", "/blobs/k").headers["ETag"] == second
    assert store.request("GET", "/blobs/k", If_None_Match=f'"zz", W/{second}').status == 304
    assert store.request("GET", "/blobs/k", If_None_Match=first).status == 200
    assert store.request("PUT", "/blobs/k", b"y", If_Match=first).status == 412
    assert store.request("DELETE", "/blobs/k", If_Match=first).status == 412
    assert store.request("PUT", "/blobs/k", b"y", If_None_Match="*").status == 412
    assert store.request("PUT", "/blobs/new", b"y", If_Match="*").status == 412
    assert store.request("GET", "/blobs/k").body == b"x"
    assert store.request("PUT", "/blobs/k", b"y", If_Match=second).status == 204
    assert store.request("PUT", "/blobs/new", b"y", If_None_Match="*").status == 201


def test_only_one_of_many_creates(store: Store) -> None:
    """Of sixteen clients that create the same key under If-None-Match, exactly one succeeds."""
    barrier = threading.Barrier(16)

    def create(number: int) -> int:
        barrier.wait()
        return store.request("PUT", "/blobs/k", bytes(PIECE * 2) + b"%d" % number, If_None_Match="*").status

    with ThreadPoolExecutor(16) as pool:
        answers = sorted(pool.map(create, range(16)))
    assert answers == [201] + [412] * 15


@pytest.mark.parametrize(
    ("span", "status", "part"),
    [
        ("bytes=0-0", 206, slice(0, 1)),
        ("bytes=5-", 206, slice(5, None)),
        ("bytes=-3", 206, slice(-3, None)),
        (f"bytes={PIECE - 2}-{PIECE + 1}", 206, slice(PIECE - 2, PIECE + 2)),
        ("bytes=10-99999999", 206, slice(10, None)),
        ("bytes=99999999-", 416, slice(0, 0)),
        ("bytes=-0", 416, slice(0, 0)),
        ("bytes=3-2", 200, slice(None)),
        ("bytes=0-1,3-4", 200, slice(None)),
        ("lines=0-1", 200, slice(None)),
    ],
)
def test_range(store: Store, span: str, status: int, part: slice) -> None:
    """One range is served as asked, one beyond the end is 416, and what is not understood gets the whole blob."""
    value = os.urandom(PIECE + 100)
    store.request("PUT", "/blobs/k", value)
    answer = store.request("GET", "/blobs/k", Range=span)
    assert answer.status == status
    if status != 416:
        assert answer.body == value[part]


def test_concurrent_clients_do_not_mix(store: Store) -> None:
    """Eight clients that write, read, list and delete at the same time each see their own values."""

    def work(client: int) -> None:
        connection = store.connect()
        for turn in range(40):
            value = b"%d/%d " % (client, turn) * (1 + 9000 * (turn % 7))
            connection.request("PUT", f"/blobs/{client}/{turn % 3}", value)
            assert connection.getresponse().read() == b""
            connection.request("GET", f"/blobs/{client}/{turn % 3}")
            assert connection.getresponse().read() == value
        connection.request("GET", f"/blobs?prefix={client}/")
        assert connection.getresponse().read().count(b'"key"') == 3
        connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert store.stats()["blobs"] == 24


def test_gc_gives_space_back(store: Store) -> None:
    """After blobs are deleted, a GC cycle shrinks the database and says by how much; others are served meanwhile."""
    for number in range(8):
        store.request("PUT", f"/blobs/{number}", os.urandom(4 * MIB))
    for number in range(8):
        store.request("DELETE", f"/blobs/{number}")
    with store.raw() as client:
        client.sendall(b"POST /gc HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        assert store.request("GET", "/health").body == b"OK!"
        answer = read_until(client, b"}")
    assert b" 200 OK\r\n" in answer
    assert b'"freed_bytes": ' in answer
    stats = store.stats()
    assert stats["free_bytes"] == 0
    assert stats["garbage_values"] == 0
    assert stats["disk_bytes"] < MIB
    assert store.request("POST", "/gc").json()["freed_bytes"] == 0


def test_health_and_stats(store: Store) -> None:
    """Health is the word OK!, and stats count blobs and bytes."""
    assert store.request("GET", "/health").body == b"OK!"
    store.request("PUT", "/blobs/a", b"123")
    store.request("PUT", "/blobs/b", b"4567")
    stats = store.stats()
    assert (stats["blobs"], stats["blob_bytes"]) == (2, 7)
