"""The fast lane: that it is taken, that it answers as the way through ASGI does, and that its memory poisons nothing."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub import ModuleInfo
from hub.http.config import HttpConfig, Role, Token
from hub.http.lane_connection import LaneConnection
from hub.http.proxy import pool, resolve
from tests.hub.http.proxy.served import Answer, Client, Served, say, seen, serving
from tests.hub.observer import Observer

pytestmark = pytest.mark.e2e

OK = b"HTTP/1.1 200 OK\r\n"
TOKENS = {role: f"may-{role}" for role in Role}
numbers = itertools.count(1)


@pytest.fixture(scope="module", autouse=True)
def _long_memory() -> Iterator[None]:
    """Which process serves a module, and connections to it, are remembered for longer than a slow machine needs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resolve, "_RECENT_S", 60.0)
        patch.setattr(pool, "IDLE_S", 20.0)
        yield


@dataclass
class Ways:
    """The same proxy and instance on two servers: on one the lane is open, the other knows nothing of it."""

    lane: Served
    asgi: Served

    def both(self, path: str, *fields: str, method: str = "GET") -> tuple[Answer, Answer]:
        """Ask the same on both ways; the one through the lane was carried out there."""
        answers: list[Answer] = []
        for served in (self.asgi, self.lane):
            with served.client() as client:
                client.ask("/hub/proxy/m/warm")
                before = served.lane.carried
                answers.append(client.ask(path, *fields, method=method))
                assert served.lane.carried == before + (served is self.lane)
        return answers[0], answers[1]


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ways]:
    with (
        serving(tmp_path_factory.mktemp("lane"), lane=True) as lane,
        serving(tmp_path_factory.mktemp("asgi")) as asgi,
    ):
        lane.provision("m")
        asgi.provision("m")
        yield Ways(lane, asgi)


def meaning(answer: Answer) -> tuple[int, list[tuple[str, str]], bytes]:
    """An answer but for its date and server."""
    return answer.status, [field for field in answer.headers if field[0] not in {"date", "server"}], answer.body


ANSWERS = {
    "length": OK + b"Content-Length: 2\r\nX-A: 1\r\n\r\nok",
    "nothing": OK + b"Content-Length: 0\r\n\r\n",
    "chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n3\r\nand\r\n0\r\nX-End: 1\r\n\r\n",
    "no chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "no content": b"HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\n",
    "not modified": b'HTTP/1.1 304 Not\r\nContent-Length: 3\r\nETag: "x"\r\n\r\n',
    "redirect": b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
    "cookies": OK + b"Set-Cookie: a=b; Path=/\r\nSet-Cookie: c=d; Domain=x\r\nContent-Length: 0\r\n\r\n",
    "for the origin": OK
    + b"Clear-Site-Data: *\r\nConnection: X-B\r\nX-B: 1\r\nAlt-Svc: x\r\nContent-Length: 0\r\n\r\n",
    "interim": b"HTTP/1.1 103 E\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok",
    "error": b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno",
    "unknown status": b"HTTP/1.1 299 Odd\r\nContent-Length: 2\r\n\r\nok",
    "connection's last": OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nok",
    "bad": OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nok",
    "no HTTP": b"SSH-2.0-x\r\n\r\n",
    "another protocol": b"HTTP/1.1 101 X\r\nUpgrade: x\r\n\r\n",
    "underscores": OK + b"X_A: 1\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("answer", ANSWERS)
def test_answers_are_the_same_as_by_asgi(ways: Ways, answer: str, method: str) -> None:
    """Status, fields in their order, and body; also where the answer is the proxy's own, for one that is none."""
    asgi, lane = ways.both(say(ANSWERS[answer]), method=method)
    assert meaning(lane) == meaning(asgi)


NAMES = st.sampled_from(
    ["X-A", "X-B", "Set-Cookie", "Location", "Content-Location", "Connection", "Keep-Alive", "NEL", "Date", "Server",
     "Content-Type", "Content-Security-Policy", "Vary", "X_C"]
)  # fmt: skip
VALUES = st.text(alphabet="abcxyzXAB /:;=,.-_'\"*?#()0123456789é", max_size=20)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    status=st.sampled_from([200, 201, 204, 206, 301, 304, 400, 404, 503]),
    fields=st.lists(st.tuples(NAMES, VALUES), max_size=6),
    body=st.binary(max_size=40),
    chunked=st.booleans(),
    method=st.sampled_from(["GET", "HEAD"]),
)
def test_any_answer_is_the_same_as_by_asgi(  # noqa: PLR0917 - Hypothesis names them
    ways: Ways, status: int, fields: list[tuple[str, str]], body: bytes, chunked: bool, method: str
) -> None:
    """Whatever fields and framing it has."""
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in fields)]
    lines.append("Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}")
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    if status in {204, 304} or method == "HEAD":
        framed = b""
    elif chunked:
        framed = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
    else:
        framed = body
    asgi, lane = ways.both(say(head + framed), method=method)
    assert meaning(lane) == meaning(asgi)


REQUEST_NAMES = st.sampled_from(
    ["X-A", "Accept", "Cookie", "Connection", "TE", "Keep-Alive", "X-Forwarded-For", "X-Forwarded-Prefix", "Forwarded",
     "Authorization", "X_C", "Range", "Proxy-Connection", "Sec-WebSocket-Key", "Origin", "Host", "A\x80"]
)  # fmt: skip


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(
    target=st.text(alphabet="".join(map(chr, range(0x21, 0x7F))), max_size=12),
    fields=st.lists(st.tuples(REQUEST_NAMES, VALUES), max_size=5),
    method=st.sampled_from(["GET", "HEAD"]),
)
def test_any_request_reaches_the_instance_as_by_asgi(
    ways: Ways, target: str, fields: list[tuple[str, str]], method: str
) -> None:
    """Twice on one connection, decided and remembered; where it is refused, by the same status."""
    marker = f"r{next(numbers)}z"
    found: list[Any] = []
    for served in (ways.asgi, ways.lane):
        info = served.run(served.hub.module("m"))
        with served.client() as client:
            try:
                path = f"/hub/proxy/m/{marker}{target}"
                sent = [f"{name}: {value}" for name, value in fields]
                answers = [client.ask(path, *sent, method=method) for _ in range(2)]
                result = [(answer.status, sorted(answer.all("connection"))) for answer in answers]
            except (EOFError, ConnectionError):
                result = []
        requests = [request for request in seen(info) if marker in request.get("target", "")]
        for request in requests:
            request["headers"] = [field for field in request["headers"] if field[0] != "host"]
        found.append((result, requests))
    assert found[0] == found[1]


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_that_comes_again_is_the_same_again(ways: Ways, answer: str) -> None:
    """Heads are remembered: time and again on one connection, by HEAD in between, and with another body."""
    path, other = say(ANSWERS[answer]), say(ANSWERS[answer].removesuffix(b"ok") + b"no")
    found: list[list[Any]] = []
    for served in (ways.asgi, ways.lane):
        with served.client() as client:
            before = served.lane.carried
            asked = [(path, "GET"), (path, "GET"), (path, "HEAD"), (path, "GET"), (other, "GET"), (path, "GET")]
            found.append([meaning(client.ask(to, method=method)) for to, method in asked])
            found[-1].append(client.ask("/hub/proxy/m/after").json()["target"])
            assert bool(served.lane.carried - before) == (served is ways.lane)
    assert found[0] == found[1]


def test_a_known_head_with_more_or_less_behind_it(ways: Ways) -> None:
    """It is read as ever: what is too much reaches nobody, what is missing is waited for."""
    head = OK + b"Content-Length: 5\r\nX-Known: 1\r\n\r\n"
    with ways.lane.client() as client:
        for _ in range(2):
            assert client.ask(say(head + b"right")).body == b"right"
            assert client.ask(say(head + b"righ!" + OK + b"Content-Length: 4\r\n\r\nevil")).body == b"righ!"
            assert client.ask("/hub/proxy/m/next").json()["target"] == "/next"
    with ways.lane.client() as client:
        client.ask(say(head + b"right"))
        client.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % say(head + b"rig", how="say-close").encode())
        assert client.head()[0] == 200
        with pytest.raises(EOFError):
            client.exactly(5)


def test_what_is_known_of_one_module_is_not_anothers(ways: Ways) -> None:
    """Its places and cookies are put below its own prefix."""
    ways.lane.provision("n")
    answer = OK + b"Location: /x\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 2\r\n\r\nok"
    with ways.lane.client() as client:
        for _ in range(3):
            for module_id in ("m", "n"):
                client.ask(f"/hub/proxy/{module_id}/warm")
                got = client.ask(say(answer, module_id=module_id))
                assert got.all("location") == [f"/hub/proxy/{module_id}/x"]
                assert got.all("set-cookie") == [f"a=b; Path=/hub/proxy/{module_id}/"]


def test_the_lane_is_taken_by_plain_requests_alone(ways: Ways) -> None:
    """The first one learns which process it is; bodies, other methods and what is doubtful go the long way."""
    lane = ways.lane.lane
    plain = "GET /hub/proxy/m/x HTTP/1.1\r\nHost: a\r\n"
    for request, taken in (
        (plain + "\r\n", True),
        ("HEAD" + plain[3:] + "\r\n", True),
        (plain + "Connection: keep-alive\r\n\r\n", True),
        (plain + "Connection: close\r\n\r\n", False),
        (plain + "Content-Length: 0\r\n\r\n", False),
        (plain + "Content-Length: 1\r\n\r\nx", False),
        (plain + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", False),
        (plain + "Expect: 100-continue\r\n\r\n", False),
        (plain + "Connection: upgrade\r\nUpgrade: x\r\n\r\n", False),
        (plain.replace("HTTP/1.1", "HTTP/1.0") + "\r\n", False),
        (plain.replace("/m/x", "/m") + "\r\n", False),
        (plain.replace("/m/x", "/m/x#y") + "\r\n", False),
        (plain.replace("/hub/proxy", "http://a/hub/proxy") + "\r\n", False),
        ("OPTIONS" + plain[3:] + "\r\n", False),
        (plain + f"X: {'x' * 40000}\r\n\r\n", False),
    ):
        for _ in range(2):  # decided, and as it would be remembered
            with ways.lane.client() as client:
                client.ask("/hub/proxy/m/warm")
                before = lane.carried
                client.send(request.encode())
                client.line()
                assert (request, lane.carried) == (request, before + taken)


def test_a_request_in_pieces_goes_the_long_way(ways: Ways) -> None:
    """And is answered as ever."""
    with ways.lane.client() as client:
        before = ways.lane.lane.carried
        for part in (b"GET /hub/proxy/m/pie", b"ces HTTP/1.1\r\nHo", b"st: a\r\n", b"\r\n"):
            client.send(part)
            time.sleep(0.01)
        assert client.answer().json()["target"] == "/pieces"
        assert ways.lane.lane.carried == before


def test_pipelined_requests_are_answered_in_their_order(ways: Ways) -> None:
    """Those that come while one is carried out in the lane wait for it, alone or several in one piece."""
    request = "{} /hub/proxy/m/pipe-{} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
    plain = "GET /hub/proxy/m/pipe-{} HTTP/1.1\r\nHost: a\r\n\r\n"
    with ways.lane.client() as client:
        before = ways.lane.lane.carried
        client.send(
            b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % say(OK + b"Content-Length: 2\r\n\r\nok", how="late").encode()
        )
        wait(lambda: ways.lane.lane.carried == before + 1)
        for number in range(1, 20):
            one = request.format("POST", number) if number % 3 == 0 else plain.format(number)
            client.send(one.encode() if number % 4 else one.encode() + plain.format(f"{number}b").encode())
        assert client.answer().body == b"ok"
        got: list[str] = []
        while len(got) < 23:
            got.append(client.answer().json()["target"].removeprefix("/pipe-"))
        assert got == [
            text for number in range(1, 20) for text in ([f"{number}", f"{number}b"] if number % 4 == 0 else [f"{number}"])
        ]  # fmt: skip


def test_a_silent_instance_is_504_in_the_lane_too(tmp_path: Path) -> None:
    """Past `proxy_timeout`; and a connection that it broke in the middle of an answer ends."""
    with serving(tmp_path, HttpConfig(proxy_timeout=0.3), lane=True) as served:
        info = served.provision("m")
        with served.client() as client:
            answer = client.ask("/hub/proxy/m/silent")
            assert (answer.status, answer.json()["code"]) == (504, "instance-timeout")
            assert served.lane.carried == 1
            assert client.ask("/hub/proxy/m/next").status == 200
        with served.client() as client:
            before = served.lane.carried
            client.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % say(OK + b"Content-Length: 9\r\n\r\nabc").encode())
            assert client.head()[0] == 200
            with pytest.raises(EOFError):
                client.exactly(9)
            assert served.lane.carried == before + 1
        assert [entry["target"] for entry in seen(info) if entry.get("target") == "/silent"] == ["/silent"]


LONG = OK + b"Content-Length: %d\r\n\r\n" % (70000 + 3)


def long_path() -> str:
    return say(LONG, how="say-long") + "?ZW5k"  # which ends with "end"


def test_a_slow_reader_makes_the_instance_wait_and_is_given_up_in_the_end(tmp_path: Path) -> None:
    """What it does not read is not taken in; past `send_timeout` its connection ends, and so does the instance's."""
    size = 64 << 20
    with serving(tmp_path, HttpConfig(send_timeout=1.0), lane=True) as served:
        info = served.provision("m")
        flood = say(OK + b"Content-Length: %d\r\n\r\n" % size, how="flood") + f"?{size}"
        # Read at last, all of it comes.
        with served.client() as client:
            before = served.lane.carried
            client.send(f"GET {flood} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            time.sleep(0.4)
            assert flooded(info) < size
            assert client.head()[0] == 200
            left = size - len(client.buffer)
            while left and (part := client.sock.recv(1 << 20)):
                left -= len(part)
            assert left == 0
            assert served.lane.carried == before + 1
        with served.client(window=4096) as client:
            client.send(f"GET {flood} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            wait(lambda: any(entry.get("broke") for entry in seen(info)))


@pytest.mark.parametrize("known", [False, True])
def test_a_slow_reader_of_the_last_bytes_leaves_a_working_connection(
    known: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where only the end of an answer makes a client fall behind, the instance's connection serves the next one."""
    size = 22000
    path = say(OK + b"Content-Length: %d\r\n\r\n" % size + b"x" * size)
    accepted: list[LaneConnection] = []
    made = LaneConnection.connection_made

    def narrow(self: LaneConnection, transport: Any) -> None:
        """Take in no more than the system does, which is little."""
        made(self, transport)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
        transport.set_write_buffer_limits(high=0)
        accepted.append(self)

    with serving(tmp_path, lane=True) as served:
        served.provision("m")
        if known:
            with served.client() as client:
                assert len(client.ask(path).body) == size
        monkeypatch.setattr(LaneConnection, "connection_made", narrow)
        with served.client(window=4096) as slow, served.client() as client:
            before = served.lane.carried
            slow.send(f"GET {path} HTTP/1.1\r\nHost: hub.test:8558\r\n\r\n".encode())
            wait(lambda: accepted[0].flow.write_paused)
            assert served.lane.carried == before + 1
            for _ in range(3):
                assert client.ask("/hub/proxy/m/warm").status == 200
            assert len(slow.answer().body) == size


@pytest.mark.parametrize("first", [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", b"HTT"])
def test_what_comes_before_the_answer_is_not_taken_for_it(ways: Ways, first: bytes) -> None:
    """Where an interim answer, or a part of a head, came by itself, the next one like it is no answer to anybody."""
    rest = b"" if first.startswith(b"HTTP") else first
    with ways.lane.client() as one, ways.lane.client() as other:
        for number in range(3):
            for name, client in (("one", one), ("other", other)):
                where = b"/at-%b-%d" % (name.encode(), number)
                answer = b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % where
                path = say(first, how="parts") + "?" + say(answer.removeprefix(rest)).rpartition("/")[2]
                answered = client.ask(path)
                assert (answered.status, answered.all("location")) == (302, [f"/hub/proxy/m{where.decode()}"])


def flooded(info: ModuleInfo) -> int:
    return max((entry["flooded"] for entry in seen(info) if "flooded" in entry), default=0)


def wait(condition: Any, timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


def test_a_large_answer_arrives_whole(ways: Ways) -> None:
    """By several writes."""
    asgi, lane = ways.both(long_path())
    assert meaning(lane) == meaning(asgi)
    assert len(lane.body) == 70003


def test_a_client_that_goes_ends_the_request_at_the_instance(ways: Ways) -> None:
    """At once."""
    info = ways.lane.run(ways.lane.hub.module("m"))
    with ways.lane.client() as client:
        before = ways.lane.lane.carried
        client.send(b"GET /hub/proxy/m/silent/lane HTTP/1.1\r\nHost: a\r\n\r\n")
        wait(lambda: any(entry.get("target") == "/silent/lane" for entry in seen(info)))
        assert ways.lane.lane.carried == before + 1
    wait(lambda: any(entry.get("ended") == "/silent/lane" for entry in seen(info)))


def test_a_request_right_after_the_end_of_its_process(tmp_path: Path, events: Observer) -> None:
    """Killed or sent home a moment ago: the lane finds out, and the request rides over it by the long way, once."""
    with serving(tmp_path, lane=True, restart_limit=20) as served:
        served.provision("m")
        with served.client() as client:
            for number in range(6):
                assert client.ask("/hub/proxy/m/x").status == 200
                pid = served.run(served.hub.module("m")).pid
                assert pid is not None
                if number % 2:
                    served.run(served.hub.hibernate("m"))
                else:
                    os.kill(pid, signal.SIGKILL)
                answer = client.ask(f"/hub/proxy/m/after-{number}")
                assert (answer.status, answer.json()["target"]) == (200, f"/after-{number}")
        # It need not be tried each time: the end of its process may close the connection before the request comes.
        assert served.lane.carried
        requests = [entry["target"] for entry in seen(served.run(served.hub.module("m")))]
        assert [target for target in requests if "after" in target] == [f"/after-{number}" for number in range(6)]


def test_a_connection_that_the_instance_closes_at_the_request(ways: Ways) -> None:
    """Before a byte of an answer it is tried the long way, which tells the client; what waits behind it is answered."""
    with ways.lane.client() as client:
        before = ways.lane.lane.carried
        path = say(b"", how="say-close").encode()
        client.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path)
        wait(lambda: ways.lane.lane.carried == before + 1)
        client.send(b"GET /hub/proxy/m/behind HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.answer().status == 502
        assert client.answer().json()["target"] == "/behind"


def test_the_end_of_the_server_waits_for_the_lane(tmp_path: Path) -> None:
    """A request in it is answered before the connection ends; a silent one is cut off past `drain_timeout`."""
    with contextlib.ExitStack() as clients:
        with serving(tmp_path, HttpConfig(drain_timeout=0.6), lane=True) as served:
            info = served.provision("m")
            slow, silent = (clients.enter_context(served.client()) for _ in range(2))
            for client in (slow, silent):
                client.ask("/hub/proxy/m/warm")
            before = served.lane.carried
            slow.send(
                b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % say(OK + b"Content-Length: 2\r\n\r\nok", how="late").encode()
            )
            silent.ask("/hub/proxy/m/again")
            silent.send(b"GET /hub/proxy/m/silent/drain HTTP/1.1\r\nHost: a\r\n\r\n")
            wait(lambda: any(entry.get("target") == "/silent/drain" for entry in seen(info)))
            assert served.lane.carried >= before + 2
        answer = slow.answer()
        assert (answer.status, answer.body, answer.all("connection")) == (200, b"ok", ["close"])
        assert slow.ended()
        assert silent.ended()


def test_a_connection_that_rests_after_the_lane_is_closed(tmp_path: Path) -> None:
    """After `keep_alive`, not sooner, however many requests went before."""
    with serving(tmp_path, HttpConfig(keep_alive=0.5), lane=True) as served:
        served.provision("m")
        with served.client() as client:
            until = time.monotonic() + 0.8
            while time.monotonic() < until:
                assert client.ask("/hub/proxy/m/x").status == 200
            began = time.monotonic()
            assert client.ended()
            assert 0.3 < time.monotonic() - began < 3


# Policy: the hub's own application.


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    tokens = tuple(
        Token(name=role, role=role, sha256=hashlib.sha256(token.encode()).hexdigest()) for role, token in TOKENS.items()
    )
    config = HttpConfig(tokens=tokens, port=0, allowed_hosts=("hub.test",))
    with serving(tmp_path_factory.mktemp("guarded"), config, whole=True, lane=True) as served:
        served.provision("m")
        yield served


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("local"), HttpConfig(port=0), whole=True, lane=True) as served:
        served.provision("m")
        yield served


def send(client: Client, *fields: str, path: str = "/hub/proxy/m/x") -> Answer:
    client.send("\r\n".join([f"GET {path} HTTP/1.1", *fields, "", ""]).encode())
    return client.answer()


def check(served: Served, good: list[str], other: list[str], status: int, code: str | None) -> None:
    """Between good requests on a warm connection another one gets its own decision, time and again."""
    marker = f"other-{next(numbers)}"
    with served.client() as client:
        for _ in range(3):
            for _ in range(2):  # decided, and remembered
                assert send(client, *good).status == 200
            before = served.lane.carried
            answer = send(client, *other, path=f"/hub/proxy/m/{marker}")
            assert answer.status == status
            if code is not None:
                assert answer.json()["code"] == code
            assert served.lane.carried == before + (status == 200)
            assert send(client, *good).status == 200
            assert served.lane.carried == before + (status == 200) + 1
    requests = [entry["target"] for entry in seen(served.run(served.hub.module("m")))]
    assert requests.count(f"/{marker}") == (3 if status == 200 else 0)


HOST = "Host: hub.test"


@pytest.mark.parametrize("domain", ["localhost", "lab.test"])
def test_a_host_that_names_a_module_is_above_the_path(tmp_path: Path, domain: str) -> None:
    """Between requests that take the lane, also with a token: the path is the instance's, whatever it looks like."""
    tokens = (Token(name="ci", role=Role.OPERATE, sha256=hashlib.sha256(b"secret").hexdigest()),)
    config = HttpConfig(tokens=tokens, port=0, allowed_hosts=("hub.test",), proxy_domain=domain)
    token = "Authorization: Bearer secret"
    with serving(tmp_path, config, whole=True, lane=True) as served:
        served.provision("m")
        served.provision("n")
        with served.client() as client:
            for host in (f"m.{domain}", f"M.{domain}:{served.port}", f"m.{domain}."):
                for _ in range(2):
                    assert send(client, HOST, token, path="/hub/proxy/n/x").json()["target"] == "/x"
                taken = served.lane.carried
                answer = send(client, f"Host: {host}", token, path="/hub/proxy/n/x")
                assert answer.json()["target"] == "/hub/proxy/n/x"
                assert served.lane.carried == taken
        assert "/hub/proxy/n/x" not in [entry["target"] for entry in seen(served.run(served.hub.module("n")))]


@pytest.mark.parametrize(
    ("other", "status", "code"),
    [
        ([HOST, f"Authorization: Bearer {TOKENS[Role.READ]}"], 403, "forbidden"),
        ([HOST, f"Authorization: Bearer {TOKENS[Role.OBLITERATE]}"], 200, None),
        ([HOST, "Authorization: Bearer wrong"], 401, "unauthenticated"),
        ([HOST, f"Authorization: Bearer {TOKENS[Role.OPERATE]}x"], 401, "unauthenticated"),
        ([HOST, f"Authorization: Basic {TOKENS[Role.OPERATE]}"], 401, "unauthenticated"),
        ([HOST, f"X-Authorization: Bearer {TOKENS[Role.OPERATE]}"], 401, "unauthenticated"),
        ([HOST], 401, "unauthenticated"),
        (["Host: evil.test", f"Authorization: Bearer {TOKENS[Role.OPERATE]}"], 403, "forbidden"),
        (["Host: m.localhost", f"Authorization: Bearer {TOKENS[Role.READ]}"], 403, "forbidden"),
        ([HOST, "Origin: http://evil.test", f"Authorization: Bearer {TOKENS[Role.OPERATE]}"], 200, None),
    ],
)
def test_with_tokens_each_request_is_decided_by_its_own_fields(
    guarded: Served, other: list[str], status: int, code: str | None
) -> None:
    """Also on a connection that a good one was remembered of."""
    check(guarded, [HOST, f"Authorization: Bearer {TOKENS[Role.OPERATE]}"], other, status, code)


@pytest.mark.parametrize(
    ("other", "status"),
    [
        (["Host: evil.test"], 403),
        (["Host: localhost", "Origin: http://evil.test"], 403),
        (["Host: localhost", "Origin: null"], 403),
        (["Host: localhost", "Sec-Fetch-Site: cross-site"], 403),
        (["Host: localhost", "Sec-Fetch-Site: same-site"], 403),
        (
            ["Host: localhost", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"],
            403,
        ),
        (["Host: localhost", "Sec-Fetch-Site: same-origin", "Origin: http://localhost"], 200),
        (["Host: 127.0.0.1:8558"], 200),
    ],
)
def test_without_tokens_each_request_is_decided_by_its_own_fields(local: Served, other: list[str], status: int) -> None:
    """Pages of other sites stay out of a warm connection."""
    check(local, ["Host: localhost"], other, status, None if status == 200 else "forbidden")


def test_a_refusal_beside_the_lane_is_logged(local: Served, events: Observer) -> None:
    """As `http.refused`."""
    with local.client() as client:
        send(client, "Host: localhost")
        send(client, "Host: localhost")
        send(client, "Host: evil.test")
        send(client, "Host: localhost", "Origin: http://evil.test", path="/hub/proxy/m/logged")
    assert events.wait("http.refused", path="/hub/proxy/m/logged", timeout=5)
