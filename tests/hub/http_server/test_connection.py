"""Connections of a real server, by raw sockets: what the clients do that nobody wishes for."""

from __future__ import annotations

import contextlib
import json
import socket
import time

import pytest

from hub.http.security_headers import API
from tests.hub.http_server.rig import read_all, read_response, read_whole_response, serving, until

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def problem(text: bytes) -> tuple[int, str]:
    head, _, body = text.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    assert b"connection: close" in head
    told = json.loads(body)
    assert told["type"] == f"urn:modhub:problem:{told['code']}"
    assert int(head.split()[1]) == told["status"]
    return told["status"], told["code"]


def test_a_request_is_answered_and_the_connection_kept() -> None:
    """Two requests go over one connection; no header names the software."""
    with serving() as running, running.connect() as client:
        for _ in range(2):
            client.sendall(GET)
            text, _ = read_whole_response(client)
            assert text.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"\r\ndate: " in text
            assert b"server:" not in text.lower()


def test_a_client_that_sends_nothing_is_let_go() -> None:
    """A fresh connection without a byte is closed after `header_timeout`, without a word."""
    with serving(header_timeout=0.2) as running, running.connect() as client:
        assert read_all(client) == b""


def test_a_slow_head_is_answered_with_408() -> None:
    """A head that comes byte by byte does not get more time by each byte."""
    with serving(header_timeout=0.3) as running, running.connect() as client:
        began = time.monotonic()
        text = b""
        client.settimeout(0.02)
        for byte in GET[:-2] * 100:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                client.send(bytes([byte]))
            with contextlib.suppress(TimeoutError):
                text = client.recv(65536)
            if text:
                break
        assert problem(text) == (408, "request-timeout")
        assert time.monotonic() - began < 2


def test_a_body_that_nobody_reads_buys_no_time() -> None:
    """Who was answered before their body was read, as one without a token is, can't keep the connection by sending it."""
    with serving(header_timeout=0.2, keep_alive=60) as running, running.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        read_response(client)
        client.sendall(b"x")
        assert read_all(client) == b""


def test_a_request_after_a_body_that_nobody_read_is_answered() -> None:
    """Who sends the rest of it in time can go on with the connection, and gets the whole time for the next head."""
    with serving(header_timeout=0.4, keep_alive=60) as running, running.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n")
        read_response(client)
        for part in (b"x", b"y" + GET[:-4], GET[-4:]):
            client.sendall(part)
            time.sleep(0.25)
        assert read_response(client) == b"hello"


def test_empty_lines_buy_no_time() -> None:
    """What the parser skips before a request does not stop the clock, after a response either."""
    with serving(header_timeout=0.2, keep_alive=60) as running, running.connect() as client:
        client.sendall(GET)
        read_response(client)
        client.sendall(b"\r\n")
        assert read_all(client) == b""


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(101)) + b"\r\n",
    ],
    ids=["header", "target", "count"],
)
def test_a_long_head_is_answered_with_431(head: bytes) -> None:
    """A head of 100 KB, or of more than 100 headers, gets an answer that is not lost by a reset."""
    with serving() as running, running.connect() as client:
        client.sendall(head)
        assert problem(read_all(client)) == (431, "head-too-large")


def test_a_head_that_never_ends_is_not_collected() -> None:
    """A header that comes in parts is refused when it has grown too long, not when it is whole."""
    with serving() as running, running.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: ")
        until(lambda: running.server.connections == 1, "the connection is there")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(10_000):
                client.sendall(b"x" * 4096)
                if not running.server.connections:
                    break
        until(lambda: running.server.connections == 0, "the connection is closed")


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01 hello\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["tls", "connect", "target"],
)
def test_what_is_no_http_is_answered_with_400(sent: bytes) -> None:
    """Whatever else is sent ends the connection, with an answer."""
    with serving() as running, running.connect() as client:
        client.sendall(sent)
        assert problem(read_all(client)) == (400, "malformed-request")


@pytest.mark.parametrize(
    "head",
    [
        b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /body HTTP/1.1\r\nHost: x\r\nHost: y\r\nContent-Length: 0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\nHost: x\n\n",
    ],
    ids=[
        "both-lengths",
        "two-lengths",
        "chunked-not-last",
        "two-codings",
        "two-hosts",
        "space-before-colon",
        "folded",
        "bare-lf",
    ],
)
def test_a_head_that_two_parsers_may_read_differently_is_refused(head: bytes) -> None:
    """Requests that smuggle others past a proxy are not answered as if they were clear."""
    with serving() as running, running.connect() as client:
        client.sendall(head)
        assert problem(read_all(client))[0] == 400


def test_trailers_are_no_headers() -> None:
    """A header that comes after the body is not put among those that were checked."""
    with serving() as running, running.connect() as client:
        client.sendall(
            b"POST /headers HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nAuthorization: x\r\n\r\n"
        )
        assert read_response(client) == b"host transfer-encoding"


def test_a_broken_body_ends_its_request() -> None:
    """Whoever reads the body learns that no more comes, and the client gets a 400."""
    with serving() as running, running.connect() as client:
        client.sendall(b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert running.app.entered.wait(5)
        client.sendall(b"zz\r\n")
        assert problem(read_all(client))[0] == 400
        assert running.app.gone.wait(5)


def test_pipelined_requests_are_answered_in_order() -> None:
    """Requests sent ahead wait for those before them."""
    with serving() as running, running.connect() as client:
        running.app.go.set()
        client.sendall(
            b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n" + b"POST /body HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc" + GET
        )
        assert [read_response(client) for _ in range(3)] == [b"hello", b"3", b"hello"]


def test_a_malformed_request_in_a_pipeline_waits_for_its_turn() -> None:
    """The response before it is not cut in two."""
    with serving() as running, running.connect() as client:
        client.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\nnonsense\r\n\r\n")
        assert running.app.entered.wait(5)
        running.app.go.set()
        first, _, second = read_all(client).partition(b"hello")
        assert first.startswith(b"HTTP/1.1 200")
        assert problem(second) == (400, "malformed-request")


def test_a_long_pipeline_is_refused() -> None:
    """Only so many requests can be sent ahead; those before are answered."""
    with serving() as running, running.connect() as client:
        client.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n" + GET * 100)
        assert running.app.entered.wait(5)
        running.app.go.set()
        *answers, last = read_all(client).split(b"HTTP/1.1 ")[1:]
        assert 1 < len(answers) < 40
        assert all(answer.startswith(b"200") for answer in answers)
        assert last.startswith(b"429")


def test_a_client_that_leaves_in_the_middle_of_a_pipeline_is_noticed() -> None:
    """Also the request at work, which is not the last one that came, learns that nobody waits for it."""
    with serving() as running:
        with running.connect() as client:
            client.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n" + GET)
            assert running.app.entered.wait(5)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # closed by a reset
        assert running.app.gone.wait(5)


def test_an_upgrade_to_another_protocol_is_declined() -> None:
    """It is answered as a plain request, and nothing that follows is taken for another one."""
    with serving() as running, running.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + GET)
        text = read_all(client)
        assert text.count(b"HTTP/1.1") == 1
        assert text.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in text


def test_idle_connections_do_not_stop_a_working_one() -> None:
    """With 1,000 connections that do nothing, another one is served as before; too many more are turned away."""
    with serving(max_connections=1001) as running:
        idle = [running.connect() for _ in range(1000)]
        try:
            with running.connect() as client:
                until(lambda: running.server.connections == 1001, "all are counted")
                client.sendall(GET)
                assert read_response(client) == b"hello"
                with running.connect() as late:
                    late.sendall(GET)
                    text = read_all(late)
                    assert problem(text) == (503, "too-many-connections")
                    assert b"retry-after: 1" in text
        finally:
            for connection in idle:
                connection.close()


def test_a_place_that_becomes_free_is_given_away() -> None:
    """Who was turned away gets in when another one has left."""
    with serving(max_connections=1) as running:
        with running.connect() as first:
            first.sendall(GET)
            read_response(first)
        until(lambda: running.server.connections == 0, "the first one is gone")
        with running.connect() as second:
            second.sendall(GET)
            assert read_response(second) == b"hello"


def test_a_client_that_does_not_read_is_let_go() -> None:
    """A response that nobody takes does not hold the server's memory, nor who makes it."""
    with serving(send_timeout=0.2) as running, running.connect() as client:
        client.sendall(b"GET /flood HTTP/1.1\r\nHost: x\r\n\r\n")
        assert running.app.gone.wait(5)
        until(lambda: running.server.connections == 0, "the connection is closed")


def test_an_unused_connection_is_closed() -> None:
    """After `keep_alive` seconds without another request."""
    with serving(keep_alive=0.1) as running, running.connect() as client:
        client.sendall(GET)
        read_response(client)
        assert read_all(client) == b""


def test_a_running_request_finishes_when_the_server_ends() -> None:
    """No connection is taken any more, idle ones are closed, and the one at work gets its answer."""
    with serving(drain_timeout=5.0) as running, running.connect() as client, running.connect() as idle:
        client.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        assert running.app.entered.wait(5)
        stopping = running.stop()
        assert read_all(idle) == b""
        with pytest.raises(ConnectionRefusedError):
            running.connect()
        running.app.go.set()
        assert read_all(client).endswith(b"hello")
        stopping.result(5)


def test_a_request_that_takes_too_long_is_cut_off_when_the_server_ends() -> None:
    """`drain_timeout` bounds the end."""
    with serving(drain_timeout=0.1) as running, running.connect() as client:
        client.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        assert running.app.entered.wait(5)
        running.stop().result(5)
        assert b"200" not in read_all(client)


@pytest.mark.parametrize(
    "sent", [b"NONSENSE\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"], ids=["400", "431"]
)
def test_what_a_connection_answers_by_itself_has_the_security_headers(sent: bytes) -> None:
    """They stand on every answer, also on one that the application never sees."""
    with serving() as running, running.connect() as client:
        client.sendall(sent)
        text = read_all(client).lower()
    for name, value in API.items():
        assert f"\r\n{name}: {value}\r\n".encode().lower() in text
