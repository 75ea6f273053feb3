"""WebSockets through the proxy."""

from __future__ import annotations

import hashlib
import threading
from socket import SHUT_RDWR
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from hub.http.config import HttpConfig, Role, Token
from tests.hub.http.proxy.served import Served, raw_kind, serving
from tests.hub.observer import Observer

pytestmark = pytest.mark.e2e

SOCKETS = Path(__file__).with_name("websocket_instance.py")
TOKEN = "s3cret"


@pytest.fixture(scope="module")
def sockets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    token = Token(name="ci", role=Role.OPERATE, sha256=hashlib.sha256(TOKEN.encode()).hexdigest())
    directory = tmp_path_factory.mktemp("sockets")
    with serving(directory, HttpConfig(tokens=(token,)), kinds=[raw_kind("sockets", SOCKETS)]) as served:
        served.provision("m", "sockets")
        yield served


def dial(served: Served, path: str = "/echo", *, protocols: tuple[str, ...] = (), **headers: str) -> ClientConnection:
    return connect(
        f"ws://127.0.0.1:{served.port}/hub/proxy/m{path}",
        subprotocols=[Subprotocol(name) for name in protocols] or None,
        additional_headers={name.replace("_", "-"): value for name, value in headers.items()},
        max_size=None,
        proxy=None,
    )


def test_messages_pass_both_ways(sockets: Served) -> None:
    """Text stays text and bytes bytes, empty and large ones, in fragments too."""
    with dial(sockets) as socket:
        for message in ("", "grüße", b"", b"\x00\xff", "x" * 300_000, b"y" * 5_000_000):
            socket.send(message)
            assert socket.recv(10) == message
        socket.send(iter(["in ", "three ", "parts"]))
        assert socket.recv(10) == "in three parts"
        assert socket.ping().wait(5)


def test_the_handshake_is_the_instances(sockets: Served) -> None:
    """It sees target and fields as over HTTP, chooses the subprotocol, and sets cookies for its module alone."""
    with dial(sockets, "/describe?a=b%20c", protocols=("one", "two"), Authorization="Bearer x", X_Mine="1") as socket:
        assert socket.subprotocol == "two"
        described = str(socket.recv(5)).splitlines()
        assert described[0] == "/describe?a=b%20c"
        fields = dict(line.split(": ", 1) for line in described[1:])
        assert fields["x-mine"] == "1"
        assert fields["x-forwarded-proto"] == "http"
        assert fields["x-forwarded-prefix"] == "/hub/proxy/m"
        assert fields["sec-websocket-protocol"] == "one, two"
        assert "authorization" not in fields
        assert "sec-websocket-extensions" not in fields
        assert socket.response is not None
        assert socket.response.headers["set-cookie"] == "a=b; Path=/hub/proxy/m/"


@pytest.mark.parametrize("carrier", [TOKEN, f"bearer.{TOKEN}", f"modhub.bearer.{TOKEN}"])
def test_a_token_among_the_subprotocols_goes_no_further(sockets: Served, carrier: str) -> None:
    """A browser can send a token in no other way; the instance does not see it."""
    with dial(sockets, "/describe", protocols=(carrier, "two")) as socket:
        described = str(socket.recv(5))
        assert TOKEN not in described
        assert "sec-websocket-protocol: two" in described


def test_close_codes_pass_both_ways(sockets: Served) -> None:
    """With their reasons."""
    with dial(sockets, "/close?4001") as socket:
        with pytest.raises(ConnectionClosed) as caught:
            socket.recv(5)
        assert caught.value.rcvd is not None
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4001, "as told")
    with dial(sockets, "/watch?one") as socket:
        socket.close(4002, "enough")
    assert closed(sockets, "one") == "4002 enough"


def test_a_client_that_vanishes_ends_the_instances_side(sockets: Served) -> None:
    """Without a closing handshake too: as if it had gone away."""
    with dial(sockets, "/watch?two") as socket:
        socket.socket.shutdown(SHUT_RDWR)
    assert closed(sockets, "two") == "1001 "


def test_an_instance_that_vanishes_ends_the_clients_side(sockets: Served) -> None:
    """As a bad gateway."""
    with dial(sockets, "/vanish") as socket:
        with pytest.raises(ConnectionClosed) as caught:
            socket.recv(5)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1014


def test_a_message_too_large(sockets: Served) -> None:
    """It ends the connection with the code for that; memory is bounded."""
    with dial(sockets, "/large") as socket:
        with pytest.raises(ConnectionClosed) as caught:
            socket.recv(20)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1009


def test_a_client_that_does_not_read_makes_the_instance_wait(sockets: Served) -> None:
    """The instance sends without end; what it got rid of stays bounded until the client reads."""
    with sockets.client() as client, dial(sockets, "/watch?flood") as other:
        client.send(handshake("/flood"))
        now = previous = ""
        for _ in range(50):
            other.send("flooded?")
            now = str(other.recv(5))
            if now == previous != "0":
                break
            previous = now
            threading.Event().wait(0.2)
        else:
            raise AssertionError(f"it sends on and on: {now} bytes")
        assert client.head()[0] == 101
        client.exactly(65536)


def handshake(path: str) -> bytes:
    fields = (
        "Host: a",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {'A' * 22}==",
        "Sec-WebSocket-Version: 13",
    )
    return "\r\n".join([f"GET /hub/proxy/m{path} HTTP/1.1", *fields, "", ""]).encode()


@pytest.mark.parametrize(
    ("path", "status", "location"), [("/refuse", 418, []), ("/redirect", 302, ["/hub/proxy/m/echo"])]
)
def test_a_refused_handshake(sockets: Served, path: str, status: int, location: list[str]) -> None:
    """The client gets the instance's status, fields and body; a redirect is for the client to follow."""
    with sockets.client() as client:
        client.send(handshake(path))
        answer = client.answer()
        assert (answer.status, answer.body, answer.all("location")) == (status, b"no", location)
        assert client.ended()


def test_what_can_not_be_reached_is_refused(sockets: Served) -> None:
    """An unknown module, and an instance that breaks the handshake."""
    with pytest.raises(InvalidStatus) as caught:
        connect(f"ws://127.0.0.1:{sockets.port}/hub/proxy/nobody/x", proxy=None)
    assert caught.value.response.status_code == 404
    with pytest.raises(InvalidStatus) as caught:
        dial(sockets, "/garbage")
    assert caught.value.response.status_code == 502


def test_a_websocket_wakes_its_module_and_keeps_it_up(tmp_path: Path, events: Observer) -> None:
    """Open, it counts as activity though nothing is said; closed, the module becomes idle."""
    options = {"kinds": [raw_kind("sockets", SOCKETS)], "idle_timeout": 0.5, "sweep_interval": 0.1}
    with serving(tmp_path, **options) as served:  # type: ignore[arg-type]
        served.provision("m", "sockets")
        served.run(served.hub.hibernate("m"))
        with dial(served) as socket:
            threading.Event().wait(1.2)
            socket.send("still here")
            assert socket.recv(5) == "still here"
            assert not events.all("module.idle")
        events.wait("module.idle", module_id="m", timeout=5)


def closed(served: Served, name: str) -> str:
    """How the instance saw a watched connection end."""
    with dial(served, "/watch?asker") as socket:
        for _ in range(100):
            socket.send(name)
            answer = str(socket.recv(5))
            if answer != "open":
                return answer
            threading.Event().wait(0.05)
    return "open"
