import itertools
import re
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.kinds.objectstore.http1 import ChunkedBody
from tests.hub.kinds.store_process import Store, read_all, read_until, statuses, wait_for

HOST = b"Host: x\r\n"


def get(path: bytes, headers: bytes = b"") -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\n" + HOST + headers + b"\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"GET  /health HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"G{T /health HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /he\xffalth HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\nHost: x\n\n", 400),
        (b"GET /health HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n", 400),
        (b"GET /health HTTP/x.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /health HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nExpect: cake\r\n\r\n", 417),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n", 414),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * 20_000, 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n", 400),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_malformed_request_is_refused_and_ends_the_connection(store: Store, request_bytes: bytes, status: int) -> None:
    """What is no proper request gets its status, the connection is closed, and nothing after it is read."""
    with store.raw() as client:
        client.sendall(request_bytes + get(b"/health"))
        answer = read_all(client)
    assert statuses(answer) == [status]
    assert b"Connection: close\r\n" in answer


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", 400),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", 400),
        (b"Content-Length: 4\r\nContent-Length: 5\r\n", 400),
        (b"Content-Length: 4\r\nContent-Length: 4\r\n", 400),
        (b"Content-Length: 4, 4\r\n", 400),
        (b"Content-Length: +4\r\n", 400),
        (b"Content-Length: -4\r\n", 400),
        (b"Content-Length: 0x4\r\n", 400),
        (b"Content-Length: 4_0\r\n", 400),
        (b"Content-Length: \xb2\r\n", 400),
        (b"Content-Length:\r\n", 400),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
        (b"Transfer-Encoding: gzip, chunked\r\n", 501),
        (b"Transfer-Encoding: xchunked\r\n", 501),
        (b"Transfer-Encoding : chunked\r\n", 400),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_body_of_doubtful_length_is_refused(store: Store, headers: bytes, status: int) -> None:
    """Where a body ends must not be a matter of opinion: refused, closed, and the smuggled request is never run."""
    smuggled = b"0\r\n\r\nPUT /blobs/smuggled HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    answer = store.exchange(b"PUT /blobs/k HTTP/1.1\r\n" + HOST + headers + b"\r\n" + smuggled)
    assert statuses(answer) == [status]
    assert store.stats()["blobs"] == 0


@pytest.mark.parametrize(
    "body",
    [
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"+3\r\nabc\r\n0\r\n\r\n",
        b"3 3\r\nabc\r\n0\r\n\r\n",
        b"\r\nabc\r\n0\r\n\r\n",
        b"3\nabc\r\n0\r\n\r\n",
        b"2\r\nabc\r\n0\r\n\r\n",
        b"ffffffffffffffffffff\r\nabc",
        b"3;" + b"x" * 300 + b"\r\nabc\r\n0\r\n\r\n",
        b"0\r\n" + b"A: b\r\n" * 5000 + b"\r\n",
    ],
    ids=lambda value: repr(value)[:40],
)
def test_malformed_chunks_are_refused(store: Store, body: bytes) -> None:
    """A chunked body that is not exactly well-formed is 400 and stores nothing."""
    answer = store.exchange(b"PUT /blobs/k HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + body)
    assert statuses(answer) == [400]
    assert store.stats()["blobs"] == 0


def test_chunked_body_with_extensions_and_trailers(store: Store) -> None:
    """Chunk extensions and trailers are read over, and the next request on the connection is found."""
    body = b"3;a=b\r\nabc\r\n00A \r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
    request = b"PUT /blobs/k HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: Chunked\r\n\r\n" + body
    answer = store.exchange(request + get(b"/blobs/k"))
    assert statuses(answer) == [201, 200]
    assert answer.endswith(b"abc0123456789")


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=40), max_size=5),
    cuts=st.lists(st.integers(min_value=0, max_value=300), max_size=8),
)
def test_chunked_body_may_arrive_in_any_pieces(chunks: list[bytes], cuts: list[int]) -> None:
    """However the network cuts a chunked body, it decodes to the same bytes and leaves what comes after it."""
    wire = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nA: b\r\n\r\n"
    body, buffer, decoded = ChunkedBody(), bytearray(), bytearray()
    places = [0, *sorted(min(cut, len(wire)) for cut in cuts), len(wire)]
    for start, end in itertools.pairwise(places):
        buffer += wire[start:end]
        decoded += body.take(buffer)
    buffer += b"NEXT"
    decoded += body.take(buffer)
    assert (bytes(decoded), body.done, bytes(buffer)) == (b"".join(chunks), True, b"NEXT")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/blobs/k", "DELETE, GET, HEAD, PUT"),
        ("DELETE", "/blobs", "GET, HEAD"),
        ("PUT", "/health", "GET, HEAD"),
        ("GET", "/gc", "POST"),
        ("OPTIONS", "/stats", "GET, HEAD"),
        ("NONSENSE", "/blobs/k", "DELETE, GET, HEAD, PUT"),
    ],
)
def test_method_that_is_not_there(store: Store, method: str, path: str, allowed: str) -> None:
    """A method that a resource does not have is 405, and Allow lists those that it has."""
    answer = store.request(method, path)
    assert (answer.status, answer.headers["Allow"]) == (405, allowed)


@pytest.mark.parametrize("path", [b"/", b"/blob/k", b"/healthz", b"*", b"/%62lobs/k"])
def test_unknown_path(store: Store, path: bytes) -> None:
    """A path that is not served is 404, and the connection goes on."""
    assert statuses(store.exchange(get(path) + get(b"/health"))) == [404, 200]


def test_absolute_form(store: Store) -> None:
    """A target that names the whole URL, as proxies send it, means its path."""
    assert store.exchange(get(b"http://example/health")).endswith(b"OK!")


def test_put_without_length(store: Store) -> None:
    """A PUT that announces no body is 411, and what follows is not taken for a request."""
    assert statuses(store.exchange(b"PUT /blobs/k HTTP/1.1\r\n" + HOST + b"\r\n" + get(b"/health"))) == [411]


def test_pipelined_requests_are_answered_in_order(store: Store) -> None:
    """Hundreds of requests sent at once are each answered, in their order, on one connection."""
    requests = b"".join(
        b"PUT /blobs/%d HTTP/1.1\r\n%bContent-Length: 3\r\n\r\n%03d" % (number, HOST, number)
        + get(b"/blobs/%d" % number)
        for number in range(150)
    )
    answer = store.exchange(requests)
    assert statuses(answer) == [201, 200] * 150
    assert [int(body) for body in re.findall(rb"\r\n\r\n(\d{3})", answer)] == list(range(150))


def test_connection_is_kept_and_closed_as_asked(store: Store) -> None:
    """HTTP/1.1 goes on until `Connection: close`; HTTP/1.0 ends after one answer and needs no Host."""
    with store.raw() as client:
        for _ in range(3):
            client.sendall(get(b"/health"))
            assert read_until(client, b"OK!").startswith(b"HTTP/1.1 200 OK\r\n")
        client.sendall(get(b"/health", b"Connection: foo, Close\r\n") + get(b"/health"))
        assert statuses(read_all(client)) == [200]
    with store.raw() as client:
        client.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        assert read_all(client).endswith(b"OK!")


def test_head_has_no_body(store: Store) -> None:
    """HEAD answers with GET's headers and not one byte of body, so the next answer is found."""
    store.request("PUT", "/blobs/k", b"abc")
    requests = b"".join(
        get(path).replace(b"GET", b"HEAD", 1) for path in (b"/blobs/k", b"/blobs/none", b"/health", b"/x")
    )
    answer = store.exchange(requests)
    assert statuses(answer) == [200, 404, 200, 404]
    assert answer.count(b"\r\n\r\n") == 4
    assert answer.endswith(b"\r\n\r\n")


def test_expected_continue(store: Store) -> None:
    """A client that waits for 100 gets it before its body, or at once the reason why not."""
    head = b"PUT /blobs/%b HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n%b\r\n"
    with store.raw() as client:
        client.sendall(head % (b"k", b""))
        assert read_until(client, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"hello")
        assert statuses(read_until(client, b"\r\n\r\n")) == [201]
        client.sendall(head % (b"k", b"If-None-Match: *\r\n"))
        assert statuses(read_all(client)) == [412]


def test_body_over_the_limit(tmp_path: Path) -> None:
    """A body over the limit is 413, declared or not, and the client can read that while it still sends."""
    with Store(tmp_path, "--max-body", "1000000") as store:
        declared = b"PUT /blobs/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1000001\r\n\r\n"
        assert statuses(store.exchange(declared + bytes(500_000))) == [413]
        chunked = b"PUT /blobs/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert statuses(store.exchange(chunked + b"f423f\r\n" + bytes(999_999) + b"\r\n2\r\nab\r\n" + bytes(99))) == [
            413
        ]
        assert store.request("PUT", "/blobs/k", bytes(1_000_000)).status == 201
        assert store.request("GET", "/health", bytes(70_000)).status == 413
        assert store.request("GET", "/health", bytes(60_000)).status == 200


def test_slow_clients_hold_nobody_up(store: Store) -> None:
    """Clients that stop in the middle of a head, of a body or of reading do not delay others."""
    store.request("PUT", "/blobs/big", bytes(8 * 1024 * 1024))
    slow = [store.raw() for _ in range(30)]
    for number, client in enumerate(slow):
        partial = (b"GET /hea", b"PUT /blobs/k HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc", get(b"/blobs/big"))
        client.sendall(partial[number % 3])
    for _ in range(20):
        assert store.request("GET", "/health").status == 200
        assert store.request("PUT", "/blobs/other", b"x").status < 300
    slow[0].sendall(b"lth HTTP/1.1\r\nHost: x\r\n\r\n")
    assert read_until(slow[0], b"OK!")
    for client in slow:
        client.close()


def test_idle_connections_make_room(store: Store) -> None:
    """More connections than the store keeps: those that idle longest are closed, and newcomers are served."""
    idle = [store.raw() for _ in range(300)]
    assert store.request("GET", "/health").status == 200
    idle[0].settimeout(5)
    assert idle[0].recv(1) == b""
    for client in idle:
        client.close()


def test_silent_client_is_told_and_let_go(tmp_path: Path) -> None:
    """A request that does not come to its end in time is 408; an idle connection is closed without a word."""
    with Store(tmp_path, "--client-timeout", "0.2") as store, store.raw() as idle, store.raw() as stuck:
        stuck.sendall(b"GET /health HTTP/1.1\r\n")
        assert statuses(read_all(stuck)) == [408]
        assert read_all(idle) == b""


def test_client_that_resets_is_forgotten(store: Store) -> None:
    """Connections that are reset in the middle of anything leave no descriptor behind."""
    descriptors = Path(f"/proc/{store.process.pid}/fd")
    before = len(list(descriptors.iterdir()))
    store.request("PUT", "/blobs/big", bytes(8 * 1024 * 1024))
    for data in (
        b"",
        b"GET /",
        get(b"/blobs/big"),
        b"PUT /blobs/k HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nabc",
    ):
        client = store.raw()
        client.sendall(data)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
    wait_for(lambda: len(list(descriptors.iterdir())) <= before)
    assert store.request("GET", "/health").status == 200
