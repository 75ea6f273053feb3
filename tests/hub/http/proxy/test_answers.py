"""Answers on their way back to the client, and instances that misbehave."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from hub.http.config import HttpConfig
from tests.hub.http.proxy.served import Served, say, seen, serving

pytestmark = pytest.mark.e2e

OK = b"HTTP/1.1 200 OK\r\n"


def test_fields_that_reach_beyond_the_module_are_dropped(served: Served) -> None:
    """All modules share the hub's origin in a browser; what speaks for the origin, or for the connection, ends here."""
    fields = (
        b"Connection: X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=9\r\nProxy-Authenticate: Basic\r\n"
        b'Clear-Site-Data: "*"\r\nService-Worker-Allowed: /\r\nStrict-Transport-Security: max-age=9\r\n'
        b'Alt-Svc: h3=":1"\r\nPublic-Key-Pins: x\r\nNEL: {}\r\nX-Content-Type-Options: nosniff\r\nX-Kept: 1\r\n'
        b"Content-Security-Policy: default-src 'none'\r\nContent-Length: 2\r\n\r\nok"
    )
    answer = served.get(say(OK + fields))
    assert answer.body == b"ok"
    names = {name for name, _ in answer.headers} - {"date", "server"}
    assert names == {"content-length", "content-security-policy", "x-content-type-options", "x-kept"}
    policies = answer.all("content-security-policy")
    assert policies[0] == "default-src 'none'"
    assert policies[1].startswith("sandbox allow-scripts")
    assert "allow-same-origin" not in policies[1]


@pytest.mark.parametrize("status", [200, 304])
def test_an_answer_to_head_has_no_body(served: Served, status: int) -> None:
    """Its fields tell what GET would have; the connection goes on."""
    with served.client() as client:
        path = say(b"HTTP/1.1 %d X\r\nContent-Length: 5\r\nETag: x\r\n\r\n" % status)
        answer = client.ask(path, method="HEAD")
        assert (answer.status, answer.body, answer.all("etag")) == (status, b"", ["x"])
        assert client.ask(path.replace("/say/", "/plain/")).status == 200


@pytest.mark.parametrize("head", [b"HTTP/1.1 204 X\r\n\r\n", b"HTTP/1.1 304 X\r\nContent-Length: 5\r\n\r\n"])
def test_answers_without_a_body(served: Served, head: bytes) -> None:
    """204 and 304 end with their head, whatever length they tell."""
    with served.client() as client:
        assert client.ask(say(head)).status in {204, 304}
        assert client.ask("/hub/proxy/m/next").status == 200


def test_interim_answers_are_not_the_answer(served: Served) -> None:
    """103 and 100 are passed over; the one that counts comes after them."""
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    answer = served.get(say(interim + OK + b"Content-Length: 2\r\n\r\nok"))
    assert (answer.status, answer.body, answer.all("link")) == (200, b"ok", [])


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_body_that_the_end_of_the_connection_delimits(served: Served, version: bytes) -> None:
    """It arrives whole, and delimited otherwise: the client's connection goes on."""
    with served.client() as client:
        answer = client.ask(say(b"HTTP/%b 200 OK\r\n\r\nto the end" % version, how="say-close"))
        assert (answer.status, answer.body) == (200, b"to the end")
        assert client.ask("/hub/proxy/m/next").status == 200


def test_chunks_with_extensions_and_trailers(served: Served) -> None:
    """The body arrives; extensions and trailers do not."""
    chunks = b"3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nX-End: 1\r\n\r\n"
    answer = served.get(say(OK + b"Transfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n" + chunks))
    assert answer.body == b"abcde"
    assert answer.all("x-end") == answer.all("trailer") == []


MALFORMED = {
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "status beyond HTTP's": b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n",
    "status below HTTP's": b"HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n",
    "another version": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "length and chunks": OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "the same length twice": OK + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
    "a list of lengths": OK + b"Content-Length: 1, 1\r\n\r\na",
    "a negative length": OK + b"Content-Length: -1\r\n\r\n",
    "a length with a sign": OK + b"Content-Length: +1\r\n\r\na",
    "an unknown coding": OK + b"Transfer-Encoding: xchunked\r\n\r\n",
    "two codings": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked in 1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a folded line": OK + b"A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "a bare carriage return": OK + b"A: b\rC: d\r\nContent-Length: 0\r\n\r\n",
    "a zero byte": OK + b"A: \0\r\nContent-Length: 0\r\n\r\n",
    "space before the colon": OK + b"Content-Length : 0\r\n\r\n",
    "an empty name": OK + b": x\r\nContent-Length: 0\r\n\r\n",
    "another protocol": b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    "fields without end": OK + b"A: b\r\n" * 300 + b"\r\n",
    "a long field": OK + b"A: " + b"b" * 70000 + b"\r\n\r\n",
    "interim answers without end": b"HTTP/1.1 103 X\r\n\r\n" * 40 + OK + b"Content-Length: 0\r\n\r\n",
    "a head without end": OK + b"A: b",
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_answer_is_502_and_goes_no_further(served: Served, what: str) -> None:
    """None of it reaches the client, and nothing of it the next request: its connection was dropped."""
    with served.client() as client:
        for _ in range(2):
            # A long one does not fit into the request: the instance is told to repeat a part.
            path = say(MALFORMED[what], how="say-close") if len(MALFORMED[what]) < 20000 else say_long(what)
            answer = client.ask(path)
            assert answer.status == 502, answer
            assert answer.all("content-type") == ["application/problem+json"]
            after = client.ask("/hub/proxy/m/next")
            assert after.json()["target"] == "/next"


def say_long(what: str) -> str:
    head, _, tail = MALFORMED[what].partition(b"b" * 70000)
    return say(head, how="say-long") + "?" + say(tail).rpartition("/")[2]


@pytest.mark.parametrize(
    "extra",
    [
        OK + b"Content-Length: 4\r\n\r\nevil",
        b"evil",
        b"\r\n\r\n" + OK + b"Content-Length: 4\r\n\r\nevil",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
)
@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Content-Length: 2\r\n\r\nok",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 204 X\r\n\r\n",
        OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nok",
    ],
)
def test_what_follows_an_answer_is_never_the_next_one(served: Served, answer: bytes, extra: bytes) -> None:
    """An instance that sends more than its answer poisons no later request: the connection is not used again."""
    with served.client() as client:
        for _ in range(3):
            assert client.ask(say(answer + extra)).body in {b"ok", b""}
            assert client.ask("/hub/proxy/m/next").json()["target"] == "/next"


def test_more_than_the_head_answered_to_head_is_never_the_next_answer(served: Served) -> None:
    """A body after an answer to HEAD is left over: the connection is not used again."""
    with served.client() as client:
        for _ in range(3):
            client.ask(say(OK + b"Content-Length: 4\r\n\r\nevil"), method="HEAD")
            assert client.ask("/hub/proxy/m/next").json()["target"] == "/next"


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Content-Length: 10\r\n\r\nshort",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\nnonsense\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\nfffffffffffffffff\r\n",
    ],
)
def test_an_answer_that_breaks_off_is_not_complete_for_the_client_either(served: Served, answer: bytes) -> None:
    """Its head has gone out already: the connection ends in the middle of the body."""
    with served.client() as client, pytest.raises(EOFError):
        client.ask(say(answer, how="say-close"))


def test_an_instance_that_ends_the_connection_without_an_answer(served: Served) -> None:
    """502 at once, since its process goes on; it is asked again only where that does no harm."""
    answer = served.get(say(b"", how="say-close"), method="POST")
    assert (answer.status, answer.json()["code"]) == (502, "instance-unreachable")
    assert served.get(say(b"", how="say-close")).status == 502


def test_a_client_that_sends_no_more_of_its_body(tmp_path: Path) -> None:
    """408 past `body_timeout`, and the instance is rid of it; while it sends, or the instance does, it may take longer."""
    with serving(tmp_path, HttpConfig(body_timeout=1.0)) as served:
        info = served.provision("m")
        head = b"%b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        duplex = say(OK + b"Transfer-Encoding: chunked\r\n\r\n", how="duplex").encode()
        with served.client() as paused, served.client() as slow:
            paused.send(head % b"POST /hub/proxy/m/paused" + b"1\r\na\r\n")
            slow.send(head % b"POST %b" % duplex)
            assert slow.head()[0] == 200
            for _ in range(8):
                slow.send(b"1\r\na\r\n")
                assert slow.chunk() == b"a"
                time.sleep(0.2)
            answer = paused.answer("POST")
            assert (answer.status, answer.json()["code"], answer.all("connection")) == (
                408,
                "body-timeout",
                ["close"],
            )
            slow.send(b"0\r\n\r\n")
            assert slow.chunk() == b""
        assert not any(entry["target"] == "/paused" and "body" in entry for entry in seen(info))


def test_a_silent_instance(tmp_path: Path) -> None:
    """504 past `proxy_timeout`; while its client sends, it may be silent."""
    with serving(tmp_path, HttpConfig(proxy_timeout=0.3, proxy_sandbox=False)) as served:
        served.provision("m")
        answer = served.get("/hub/proxy/m/silent")
        assert (answer.status, answer.json()["code"]) == (504, "instance-timeout")
        with served.client() as client:
            client.send(b"PUT /hub/proxy/m/x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n")
            for part in (b"a", b"b", b"c", b"d"):
                client.sock.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    client.fill()
                client.send(part)
            client.sock.settimeout(10)
            assert client.answer().json()["body"] == "abcd"
        with served.client() as client:
            path = say(OK + b"Content-Length: 9\r\n\r\nabc").encode()
            client.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path)
            status, fields = client.head()
            assert (status, dict(fields).get("content-security-policy")) == (200, None)
            with pytest.raises(EOFError):
                client.exactly(9)
