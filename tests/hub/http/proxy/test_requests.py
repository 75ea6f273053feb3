"""Requests on their way to an instance."""

from __future__ import annotations

import contextlib
import hashlib
import select
import threading
from pathlib import Path

import pytest

from hub import ModuleInfo
from hub.http.config import HttpConfig, Role, Token
from tests.hub.http.proxy.served import Served, say, seen, serving

pytestmark = pytest.mark.e2e


def headers(request: dict[str, list[list[str]]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in request["headers"]:
        assert name not in found, f"{name} came twice"
        found[name] = value
    return found


@pytest.mark.parametrize(
    "target",
    ["/", "/a%2Fb/../c", "//x//y/", "/%00%0d%0a", "/a?b=c%20d&e", "/?", "/a;b=c?x=/../?y", "/~%7E.%2e/%2E%2e/"],
)
def test_the_target_reaches_the_instance_byte_for_byte(served: Served, target: str) -> None:
    """Nothing is decoded, encoded or normalised; only an empty query may lose its question mark."""
    assert served.get("/hub/proxy/m" + target).json()["target"] == (target if target != "/?" else "/")


def test_hop_by_hop_fields_end_here(served: Served) -> None:
    """Those that the standard names, and those that `Connection` names; others pass."""
    request = served.get(
        "/hub/proxy/m/x",
        "Connection: keep-alive, X-Mine, Accept",
        "Keep-Alive: timeout=5",
        "TE: trailers",
        "Trailer: X-End",
        "Proxy-Authorization: Basic eDp5",
        "Proxy-Connection: keep-alive",
        "X-Mine: 1",
        "X-Other: 2",
        "Accept: text/html",
        "X_Under: 3",
    ).json()
    got = headers(request)
    assert got["x-other"] == "2"
    assert set(got) == {
        "host",
        "x-other",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-forwarded-prefix",
    }


def test_the_instance_is_told_how_it_was_called(served: Served, raw: ModuleInfo) -> None:
    """`Host` is its own address; what the client says of itself in `X-Forwarded-*` is discarded, and the like too."""
    request = served.get(
        "/hub/proxy/m/x",
        "X-Forwarded-For: 1.2.3.4",
        "X-Forwarded-Host: evil.test",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Prefix: /evil",
        "X-Forwarded-Port: 1",
        "Forwarded: for=1.2.3.4",
        "X-Real-IP: 1.2.3.4",
    ).json()
    assert headers(request) == {
        "host": f"127.0.0.1:{raw.port}",
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-proto": "http",
        "x-forwarded-host": "hub.test:8558",
        "x-forwarded-prefix": "/hub/proxy/m",
    }


def test_without_tokens_authorization_is_the_instances_own(served: Served) -> None:
    """It passes: the hub has no use for it."""
    request = served.get("/hub/proxy/m/x", "Authorization: Basic eDp5", "Cookie: a=b").json()
    assert headers(request)["authorization"] == "Basic eDp5"
    assert headers(request)["cookie"] == "a=b"


def test_with_tokens_and_a_trusted_proxy(tmp_path: Path) -> None:
    """The hub's token reaches no instance; what a trusted peer says of the client is passed on, and added to."""
    token = Token(name="ci", role=Role.OPERATE, sha256=hashlib.sha256(b"s3cret").hexdigest())
    config = HttpConfig(tokens=(token,), trusted_proxies=("127.0.0.0/8",))
    with serving(tmp_path, config) as served:
        info = served.provision("m")
        request = served.get(
            "/hub/proxy/m/x",
            "Authorization: Bearer s3cret",
            "X-Forwarded-For: 1.2.3.4",
            "X-Forwarded-For: 5.6.7.8",
            "X-Forwarded-Host: outer.test",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Prefix: /apps/",
        ).json()
        assert headers(request) == {
            "host": f"127.0.0.1:{info.port}",
            "x-forwarded-for": "1.2.3.4, 5.6.7.8, 127.0.0.1",
            "x-forwarded-proto": "https",
            "x-forwarded-host": "outer.test",
            "x-forwarded-prefix": "/apps/hub/proxy/m",
        }
        answer = served.get(
            say(b"HTTP/1.1 302 F\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"), "X-Forwarded-Prefix: /apps"
        )
        assert answer.all("location") == ["/apps/hub/proxy/m/x"]
        assert "s3cret" not in str(seen(info))


def test_a_body_of_known_length_and_one_in_chunks(served: Served, raw: ModuleInfo) -> None:
    """Both arrive whole, framed by the proxy; trailers are dropped."""
    assert served.get("/hub/proxy/m/x", method="POST", body=b"abc").json()["body"] == "abc"
    with served.client() as client:
        client.send(
            b"POST /hub/proxy/m/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n"
            b"3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nX-End: 1\r\n\r\n"
        )
        request = client.answer().json()
        assert (request["body"], request["trailers"]) == ("abcde", 0)
        assert dict(request["headers"])["transfer-encoding"] == "chunked"
        assert "content-length" not in dict(request["headers"])


def test_a_post_without_a_body_says_so(served: Served) -> None:
    """`Content-Length: 0` is added, which some servers ask for; a GET gets none."""
    with served.client() as client:
        client.send(b"POST /hub/proxy/m/x HTTP/1.1\r\nHost: a\r\n\r\n")
        assert headers(client.answer().json())["content-length"] == "0"
        assert "content-length" not in headers(client.ask("/hub/proxy/m/x").json())


def test_an_answer_may_begin_before_the_body_has_ended(served: Served) -> None:
    """Both directions stream at the same time: each part sent comes back before the next is sent."""
    with served.client() as client:
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        path = say(head, how="duplex").encode()
        client.send(b"POST %b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" % path)
        assert client.head()[0] == 200
        for part in (b"first", b"second", b"x" * 70000):
            client.send(b"%x\r\n%b\r\n" % (len(part), part))
            got = b""
            while len(got) < len(part):
                got += client.chunk()
            assert got == part
        client.send(b"0\r\n\r\n")
        assert client.chunk() == b""
        assert client.ask("/hub/proxy/m/next").status == 200


def test_what_nobody_reads_is_not_taken_in(served: Served) -> None:
    """A client that sends without end and does not read what comes back is made to wait: nothing is buffered whole."""
    size, part = 256 << 20, b"x" * (1 << 18)
    with served.client(timeout=30) as client:
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        path = say(head, how="duplex").encode()
        client.send(b"PUT %b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (path, size))
        client.sock.settimeout(0.5)
        sent = 0
        # The kernel's own buffers take some: there are eight of them on the way.
        with contextlib.suppress(TimeoutError):
            while sent < size:
                sent += client.sock.send(part)
        assert sent < size
        # Read at last, it goes on.
        client.sock.settimeout(10)
        assert client.head()[0] == 200
        # How much has to be read until there is room again at the other end is the kernel's business.
        while not select.select([], [client.sock], [], 0)[1]:
            assert client.chunk()
        assert client.sock.send(part)


def test_the_client_hears_100_continue_when_the_instance_wants_the_body(served: Served) -> None:
    """And not before."""
    with served.client() as client:
        client.send(b"PUT /hub/proxy/m/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert client.head()[0] == 100
        client.send(b"abc")
        assert client.answer().json()["body"] == "abc"


def test_an_instance_may_refuse_a_body_that_was_announced(served: Served) -> None:
    """The client gets the refusal instead of 100 (Continue), and the connection ends: its next bytes are ambiguous."""
    with served.client() as client:
        path = say(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno", how="early").encode()
        client.send(b"PUT %b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n" % path)
        answer = client.answer()
        assert (answer.status, answer.body, answer.all("connection")) == (413, b"no", ["close"])
        assert client.ended()


def test_an_instance_that_closes_without_reading_the_body_is_heard(served: Served) -> None:
    """Its answer came before the connection broke under what was still being sent."""
    with served.client() as client:
        path = say(b"HTTP/1.1 413 No\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno", how="early").encode()
        client.send(b"PUT %b HTTP/1.1\r\nHost: a\r\nContent-Length: 8388608\r\n\r\n" % path + b"x" * 8388608)
        answer = client.answer()
        assert (answer.status, answer.body) == (413, b"no")
        assert client.ask("/hub/proxy/m/next").status == 200


def test_a_client_that_goes_ends_the_request_at_the_instance(served: Served, raw: ModuleInfo) -> None:
    """Its connection is closed at once, not when the instance answers."""
    with served.client() as client:
        client.send(b"GET /hub/proxy/m/silent/gone HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_seen(raw, "target", "/silent/gone")
    wait_seen(raw, "ended", "/silent/gone")


def test_an_http_1_0_client(served: Served) -> None:
    """It is answered, and its connection ends."""
    with served.client() as client:
        client.send(b"GET /hub/proxy/m/x HTTP/1.0\r\n\r\n")
        answer = client.answer()
        assert answer.status == 200
        assert "x-forwarded-host" not in headers(answer.json())
        assert client.ended()


def test_the_module_alone_is_sent_to_its_root(served: Served) -> None:
    """Without the slash relative links would lead out of the module."""
    answer = served.get("/hub/proxy/m?a=b")
    assert (answer.status, answer.all("location")) == (308, ["/hub/proxy/m/?a=b"])


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET /hub/proxy/nobody/x", 404),
        ("GET /hub/proxy/-bad/x", 400),
        ("GET /hub/proxy/%6D/x", 400),
        ("GET /hub/%70roxy/m/x", 404),
        ("GET /hub/proxy//x", 400),
        ("TRACE /hub/proxy/m/x", 501),
    ],
)
def test_what_names_no_module_is_refused(served: Served, request_line: str, status: int) -> None:
    """As a problem, without a look at any instance."""
    with served.client() as client:
        client.send(f"{request_line} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        answer = client.answer()
        assert answer.status == status
        assert answer.all("content-type") == ["application/problem+json"]
        assert answer.json()["status"] == status


def wait_seen(info: ModuleInfo, key: str, value: str) -> None:
    deadline = threading.Event()
    for _ in range(200):
        if any(entry.get(key) == value for entry in seen(info)):
            return
        deadline.wait(0.02)
    raise AssertionError(f"the instance saw no {key} {value}: {seen(info)[-3:]}")
