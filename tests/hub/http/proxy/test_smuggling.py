"""What an instance must never see: a request that the client's own framing did not send, or a field that ends here.

Raw bytes go to the real server. What the instance saw is compared with what a strict parser (h11) makes of the same
bytes, and each message is a marker, so that one that was hidden in another's body or field shows up.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import re
import socket
from collections.abc import Iterator
from typing import Any

import h11
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub import ModuleInfo
from hub.http.config import HttpConfig, Role, Token
from hub.http.proxy.request_head import HOP_BY_HOP
from tests.hub.http.proxy.served import Served, seen, serving

pytestmark = pytest.mark.e2e

TOKEN = "s3cret-token"
AUTH = f"Authorization: Bearer {TOKEN}\r\n".encode()
numbers = itertools.count(1)


@pytest.fixture(scope="module", params=[False, True], ids=["asgi", "lane"])
def guarded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    token = Token(name="ci", role=Role.OPERATE, sha256=hashlib.sha256(TOKEN.encode()).hexdigest())
    config = HttpConfig(tokens=(token,), port=0)
    with serving(tmp_path_factory.mktemp("guarded"), config, whole=True, lane=request.param) as served:
        served.provision("m")
        yield served


HIDDEN = b"GET /hub/proxy/m/hidden-%b HTTP/1.1\r\nHost: a\r\n" + AUTH + b"\r\n"
POST = b"POST /hub/proxy/m/%b HTTP/1.1\r\nHost: a\r\n"

# Each with a place for its marker. Those that a server may answer hold at most the one request that they show.
CASES: dict[str, bytes] = {
    "CL.TE": POST + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "TE.CL": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n41\r\n" + HIDDEN + b"\r\n0\r\n\r\n",
    "TE.TE": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + HIDDEN,
    "TE list": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + HIDDEN,
    "TE gzip": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "TE unknown": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "TE quoted": POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n' + HIDDEN,
    "TE tab": POST + b"Transfer-Encoding:\tchunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n" + HIDDEN,
    "TE vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "TE space before colon": POST + b"Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + HIDDEN,
    "TE underscore": POST + b"Transfer_Encoding: chunked\r\nContent-Length: 0\r\n\r\n" + b"0\r\n\r\n" + HIDDEN,
    "TE folded": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "TE in 1.0": POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "CL twice": POST + b"Content-Length: 0\r\nContent-Length: 62\r\n\r\n" + HIDDEN,
    "CL list": POST + b"Content-Length: 0, 62\r\n\r\n" + HIDDEN,
    "CL sign": POST + b"Content-Length: +0\r\n\r\n" + HIDDEN,
    "CL hexadecimal": POST + b"Content-Length: 0x3e\r\n\r\n" + HIDDEN,
    "CL negative": POST + b"Content-Length: -1\r\n\r\n" + HIDDEN,
    "CL spaces": POST + b"Content-Length: 6 2\r\n\r\n" + HIDDEN,
    "CL too large": POST + b"Content-Length: 99999999999999999999\r\n\r\n" + HIDDEN,
    "CL underscore": POST + b"Content_Length: 62\r\n\r\n" + b"X" + HIDDEN,
    "bare LF in head": POST.replace(b"\r\n", b"\n") + b"Content-Length: 0\n\n" + b"X" + HIDDEN,
    "bare CR in head": POST + b"A: b\rContent-Length: 62\r\n\r\n" + b"X" + HIDDEN,
    "obs-fold": POST + b"A: b\r\n Content-Length: 62\r\nContent-Length: 0\r\n\r\n" + b"X" + HIDDEN,
    "field before the first": b"POST /hub/proxy/m/%b HTTP/1.1\r\n X: y\r\nHost: a\r\nContent-Length: 0\r\n\r\nX"
    + HIDDEN,
    "zero byte": POST + b"A: \0\r\nContent-Length: 0\r\n\r\n" + b"X" + HIDDEN,
    "chunk size overflow": POST + b"Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n" + HIDDEN,
    "chunk size negative": POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n" + HIDDEN,
    "chunk size 0x": POST + b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n" + HIDDEN,
    "chunk bare LF": POST + b"Transfer-Encoding: chunked\r\n\r\n0\n\n" + HIDDEN,
    "chunk ext bare LF": POST + b"Transfer-Encoding: chunked\r\n\r\n0;a\nb\r\n\r\n" + HIDDEN,
    "chunk end spilled": POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nabX0\r\n\r\n" + HIDDEN,
    "chunk extension huge": POST + b"Transfer-Encoding: chunked\r\n\r\n0;" + b"a" * 200_000 + b"\n\r\n" + HIDDEN,
    "CRLF in method": b"GET\r\nX: y /hub/proxy/m/%b HTTP/1.1\r\nHost: a\r\n\r\n" + b"X" + HIDDEN,
    "space in target": b"GET /hub/proxy/m/%b HTTP/1.1 /x HTTP/1.1\r\nHost: a\r\n\r\n" + b"X" + HIDDEN,
    "two hosts": b"GET /hub/proxy/m/%b HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n",
    "host with a path": b"GET /hub/proxy/m/%b HTTP/1.1\r\nHost: a/../b\r\nConnection: close\r\n\r\n",
    "no host": b"GET /hub/proxy/m/%b HTTP/1.1\r\nConnection: close\r\n\r\n",
    "upgrade with a body": POST + b"Connection: Upgrade\r\nUpgrade: x\r\nContent-Length: 62\r\n\r\n" + HIDDEN,
    "upgrade with chunks": POST
    + b"Connection: Upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n\r\n3e\r\n"
    + HIDDEN
    + b"\r\n0\r\n\r\n",
    "h2c": POST
    + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\nContent-Length: 0\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"%b" + HIDDEN,
    "connect": b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: a\r\n\r\n%b" + HIDDEN,
}


WARM = b"GET /hub/proxy/m/warm HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n" + AUTH + b"\r\n"


def exchange(port: int, data: bytes, *, patience_s: float = 0.1) -> bytes:
    """Send bytes; return all that comes back until the server ends the connection, or has nothing more to say.

    Before them goes a request that is answered: where there is a fast lane, it is open for what follows.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(WARM)
        warm = b""
        while b'"trailers": 0}' not in warm:
            warm += sock.recv(65536)
        answer = b""
        # Refused in the middle it is reset; and it may wait for more of the request, which does not come.
        with contextlib.suppress(ConnectionResetError, BrokenPipeError, TimeoutError):
            sock.sendall(data)
            sock.settimeout(patience_s)
            while part := sock.recv(65536):
                answer += part
        return answer


def noted(info: ModuleInfo, marker: bytes) -> list[dict[str, Any]]:
    """What the instance saw of the requests of this marker, and whatever its parser refused at all."""
    return [entry for entry in seen(info) if marker.decode() in entry.get("target", "") or "refused" in entry]


def check_fields(requests: list[dict[str, Any]]) -> None:
    for request in requests:
        names = [name for name, _ in request["headers"]]
        forbidden = {name.decode() for name in HOP_BY_HOP} - {"transfer-encoding"}
        assert not forbidden & set(names), names
        assert not any("_" in name for name in names)
        assert len(names) == len(set(names)) or names.count("host") == 1
        assert names.count("content-length") + names.count("transfer-encoding") <= 1
        assert "authorization" not in names


@pytest.mark.parametrize("case", CASES)
def test_nothing_hidden_reaches_the_instance(guarded: Served, case: str) -> None:
    """Neither alone, nor with a request of somebody else's right behind it."""
    info = guarded.run(guarded.hub.module("m"))
    marker = b"case-%d-z" % next(numbers)
    data = CASES[case].replace(b"Host: a\r\n", b"Host: a\r\n" + AUTH, 1).replace(b"%b", marker)
    answer = exchange(guarded.port, data)
    requests = noted(info, marker)
    assert [r for r in requests if "hidden" in r.get("target", "") or "refused" in r] == []
    assert [r["target"] for r in requests if "target" in r] in ([], [f"/{marker.decode()}"])
    check_fields(requests)
    assert TOKEN not in str(requests)
    assert b"hidden" not in answer
    # The next client on the kept connections gets its own answer.
    assert guarded.get("/hub/proxy/m/next", AUTH.decode().strip()).json()["target"] == "/next"


def test_a_second_request_right_behind_is_a_request(guarded: Served) -> None:
    """The cases above would also pass if nothing ever got through: what is framed properly does, one after the other."""
    info = guarded.run(guarded.hub.module("m"))
    marker = b"both-%d-z" % next(numbers)
    post = POST + AUTH
    data = (post + b"Content-Length: 3\r\n\r\nabc" + post + b"Content-Length: 0\r\n\r\n").replace(b"%b", marker)
    answer = exchange(guarded.port, data, patience_s=2)
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert [(r["target"], r["size"]) for r in noted(info, marker)] == [
        (f"/{marker.decode()}", 3),
        (f"/{marker.decode()}", 0),
    ]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("http://evil.test/hub/proxy/m/%b", "/%b"),
        ("http://127.0.0.1:1/hub/proxy/m/%b?y", "/%b?y"),
        ("/hub/proxy/m/%b%0d%0aX-Evil:%201", "/%b%0d%0aX-Evil:%201"),
        ("/hub/proxy/m/%b#fragment", "/%b"),
        ("/hub/proxy/m//evil.test/%b", "//evil.test/%b"),
        ("/hub/proxy/m/http://evil.test/%b", "/http://evil.test/%b"),
        ("/hub/proxy/m/@evil.test:1/%b", "/@evil.test:1/%b"),
    ],
)
def test_no_target_leads_elsewhere(guarded: Served, target: str, expected: str) -> None:
    """Whatever its form, the request goes to the module's own instance, in origin form."""
    info = guarded.run(guarded.hub.module("m"))
    marker = b"target-%d-z" % next(numbers)
    line = target.replace("%b", marker.decode())
    head = f"GET {line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n".encode()
    exchange(guarded.port, head + AUTH + b"\r\n", patience_s=5)
    requests = noted(info, marker)
    assert [r["target"] for r in requests] == [expected.replace("%b", marker.decode())]
    assert dict(requests[0]["headers"])["host"] == f"127.0.0.1:{info.port}"
    assert "x-evil" not in dict(requests[0]["headers"])


TOKENS = st.sampled_from(
    [
        b"\r\n", b"\n", b"\r", b" ", b"\t", b"\0", b":", b",", b";", b"0", b"1", b"5", b"-", b"+", b"chunked", b"identity",
        b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n",
        b"Connection: Upgrade\r\nUpgrade: x\r\n", b"Expect: 100-continue\r\n", b"X_A: 1\r\n", b"Host: b\r\n",
        b"0\r\n\r\n", b"5\r\nhello\r\n", HIDDEN, b"\x80", b"\x0b", b"HTTP/1.0", b"/../", b"%0d%0a", AUTH,
    ]
)  # fmt: skip
BASES = st.sampled_from(
    [
        POST + AUTH + b"Content-Length: 5\r\n\r\nhello",
        POST + AUTH + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        POST + AUTH + b"Transfer-Encoding: chunked\r\nTrailer: X\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
        b"GET /hub/proxy/m/%b HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n" + AUTH + b"\r\n",
    ]
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """One or two requests with bytes put in, taken out, and doubled."""
    data = b"".join(draw(st.lists(BASES, min_size=1, max_size=2)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["insert", "delete", "double"])):
            case "insert":
                data = data[:at] + draw(TOKENS) + data[at:]
            case "delete":
                data = data[:at] + data[at + draw(st.integers(1, 6)) :]
            case _:
                size = draw(st.integers(1, 30))
                data = data[: at + size] + data[at : at + size] + data[at + size :]
    return data


def strictly(data: bytes) -> list[tuple[str, str, bytes]]:
    """The requests that h11 finds, each with its body, up to the first thing that it refuses."""
    found: list[tuple[str, str, bytes]] = []
    while data:
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        # Empty lines before a request are to be ignored, several spaces in its first line may be one (RFC 9112, 2.2, 3).
        data = re.sub(rb"\A[\r\n]*([!-~]+) +([!-~]+) +", rb"\1 \2 ", data)
        # A wrong `Host` is no matter of framing: such a request may be refused, and the next one answered.
        head, end, rest = data.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        lines = [first, b"Host: a", *(line for line in lines if not line.lower().startswith(b"host:"))]
        parser.receive_data(b"\r\n".join(lines) + end + rest)
        parser.receive_data(b"")
        try:
            event = parser.next_event()
            if not isinstance(event, h11.Request):
                return found
            method, target, body = event.method.decode(), event.target.decode("latin-1"), b""
            while not isinstance(event := parser.next_event(), h11.EndOfMessage):
                if not isinstance(event, h11.Data):
                    return found
                body += event.data
        except h11.RemoteProtocolError:
            return found
        found.append((method, target, body))
        data = parser.trailing_data[0]
    return found


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=mutated())
def test_the_instance_sees_what_a_strict_parser_sees_or_less(guarded: Served, data: bytes) -> None:
    """Of mutated requests an instance gets those that h11 finds, in their order and with their bodies, and no others."""
    marker = b"fuzz-%d-z" % next(numbers)
    data = data.replace(b"%b", marker)
    info = guarded.run(guarded.hub.module("m"))
    answer = exchange(guarded.port, data, patience_s=0.03)
    assert b"HTTP/1.1 500" not in answer
    requests = noted(info, marker)
    assert not [r for r in requests if "refused" in r], "the instance's strict parser refused what the proxy sent"
    check_fields(requests)
    got = [(r["method"], r["target"], r["body"].encode("latin-1")) for r in requests if "body" in r]
    expected = [(m, bare(t), b) for m, t, b in strictly(data) if marker.decode() in bare(t)]
    # Some are refused on the way: those get through that carry a token.
    left = iter(expected)
    assert all(request in left for request in got), f"{data!r}: {got} are not among {expected}, in this order"


def bare(target: str) -> str:
    """A target as the instance is to see it: without what names the proxy, and without a fragment."""
    return "/" + target.partition("/hub/proxy/m/")[2].partition("#")[0]
