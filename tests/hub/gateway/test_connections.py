"""What becomes of connections to a module's port: who wakes it, who waits, who is refused, and what a crash does."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from hub import Hub, State
from hub.gateway import dial as dialling
from tests.hub.conftest import MakeHub
from tests.hub.gateway.client import await_that, dial, peer_kind, read_all, refused, reset, who
from tests.hub.observer import Observer

pytestmark = pytest.mark.e2e


@pytest.fixture
def hub(make_hub: MakeHub) -> Hub:
    return make_hub(kinds=[peer_kind()], default_kind="peer")


@pytest.fixture
def waiting_for_bytes(make_hub: MakeHub) -> Hub:
    return make_hub(kinds=[peer_kind("--greet", gateway_wake="bytes")], default_kind="peer")


def asleep(hub: Hub) -> int:
    """Provision a module and send it to sleep; returns its port."""
    port = hub.provision("m").gateway_port
    assert port is not None
    hub.hibernate("m")
    return port


def test_a_hundred_clients_wake_a_module_once(hub: Hub, events: Observer) -> None:
    """All are served by the one process that one wake has started."""
    port = asleep(hub)
    with ThreadPoolExecutor(100) as pool:
        pids = set(pool.map(who, [port] * 100))
    assert pids == {hub.provision("m").pid}
    assert len(events.all("module.transition", module_id="m", to_state="waking")) == 1


def test_a_mere_connection_wakes_where_the_server_speaks_first(make_hub: MakeHub) -> None:
    """By `connect` a client need not say anything to be greeted."""
    hub = make_hub(kinds=[peer_kind("--greet")], default_kind="peer")
    with dial(asleep(hub)) as connection:
        assert connection.recv(100) == b"hello\n"


def test_a_probe_wakes_nothing_by_bytes(waiting_for_bytes: Hub, events: Observer) -> None:
    """Connections that say nothing, however they end, leave the module asleep; the first byte wakes it."""
    hub = waiting_for_bytes
    port = asleep(hub)
    dial(port).close()
    reset(dial(port))
    with dial(port) as half_closed:
        half_closed.shutdown(socket.SHUT_WR)
        assert half_closed.recv(1) == b""
    with dial(port) as connection:
        assert hub.module("m").state is State.HIBERNATED
        connection.sendall(b"who\n")
        assert read_all(connection).splitlines() == [b"hello", str(hub.provision("m").pid).encode()]
    assert len(events.all("module.transition", module_id="m", to_state="waking")) == 1
    assert events.all("gateway.refused") == []


def test_by_bytes_a_module_that_is_up_is_connected_at_once(waiting_for_bytes: Hub) -> None:
    """The server may be the one to speak first."""
    port = waiting_for_bytes.provision("m").gateway_port
    with dial(port) as connection:
        assert connection.recv(100) == b"hello\n"


def test_a_client_that_waits_before_its_first_byte_counts_for_nothing(make_hub: MakeHub, events: Observer) -> None:
    """It keeps a sleeper from nothing: idle as it is, it is sent home; and is brought back by the first byte."""
    hub = make_hub(
        kinds=[peer_kind(gateway_wake="bytes")], default_kind="peer", hibernated_timeout=0.3, sweep_interval=0.05
    )
    with dial(asleep(hub)) as connection:
        events.wait("module.transition", module_id="m", to_state="unprovisioned")
        connection.sendall(b"who\n")
        assert int(read_all(connection)) > 0


def test_an_open_connection_keeps_its_module_here(make_hub: MakeHub, events: Observer) -> None:
    """Though nothing is said on it; when it ends, the module goes home as any other."""
    hub = make_hub(kinds=[peer_kind()], default_kind="peer", idle_timeout=0.4, sweep_interval=0.05)
    port = asleep(hub)
    with dial(port, "echo") as connection:
        assert connection.recv(0) == b""
        await_that(lambda: hub.module("m").state is State.PROVISIONED)
        deadline = time.monotonic() + 1.2
        while time.monotonic() < deadline:
            assert hub.module("m").idle_s < 0.4
            time.sleep(0.02)
        connection.sendall(b"x")
        assert connection.recv(1) == b"x"
    events.wait("module.transition", module_id="m", to_state="unprovisioned")


def test_a_client_that_has_said_all_it_had_keeps_its_module_here(make_hub: MakeHub, events: Observer) -> None:
    """Half closed, it waits for the answer, however long that takes; when it is gone, the module goes home."""
    hub = make_hub(kinds=[peer_kind()], default_kind="peer", idle_timeout=0.4, sweep_interval=0.05)
    port = hub.provision("m").gateway_port
    with dial(port, "stall") as connection:
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b"stalled\n"
        deadline = time.monotonic() + 1.2
        while time.monotonic() < deadline:
            assert hub.module("m").idle_s < 0.4
            time.sleep(0.02)
        reset(connection)
    events.wait("module.transition", module_id="m", to_state="unprovisioned")


def test_a_connection_between_two_looks_at_connections_counts(make_hub: MakeHub) -> None:
    """However short it is: the module was used."""
    hub = make_hub(kinds=[peer_kind()], default_kind="peer", sweep_interval=600)
    info = hub.provision("m")
    await_that(lambda: hub.module("m").idle_s > 0.3)
    assert who(info.gateway_port) == info.pid
    assert hub.module("m").idle_s < 0.3


def test_a_deprovisioned_module_is_brought_back_by_a_connection(hub: Hub, events: Observer) -> None:
    """Its data comes from the backend, with the kind that is recorded there."""
    port = hub.provision("m").gateway_port
    hub.deprovision("m")
    assert who(port) == hub.provision("m").pid
    assert hub.module("m").kind == "peer"
    assert events.all("gateway.refused") == []
    asked_by = [record["asked_by"] for record in events.all("operation.requested", operation="provision")]
    assert any(re.fullmatch(r"gateway 127\.0\.0\.1 \d+", name) for name in asked_by if name)


def test_a_module_that_somebody_else_obliterated_comes_back_as_the_kind_that_it_was(
    make_hub: MakeHub, tmp_path: Path
) -> None:
    """Who knows the port expects that server there, and not the default kind's."""
    hub = make_hub(kinds=[peer_kind()], default_kind="store")
    port = hub.provision("m", kind="peer").gateway_port
    hub.deprovision("m")
    elsewhere = make_hub(data="elsewhere", kinds=[peer_kind()], default_kind="store")
    elsewhere.obliterate("m")
    assert who(port) == hub.provision("m").pid
    assert hub.module("m").kind == "peer"


def test_a_crash_resets_who_is_connected_and_the_next_one_finds_the_new_process(hub: Hub, events: Observer) -> None:
    """The client sees an error at once; connecting again it is served, without having to wait for a backoff."""
    info = hub.provision("m")
    assert info.pid is not None
    with dial(info.gateway_port, "stall") as connection:
        assert connection.recv(100) == b"stalled\n"
        connection.sendall(b"never read")
        await_that(lambda: unread(info.port) == len("never read"))
        os.kill(info.pid, signal.SIGKILL)
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    events.wait("module.crashed", module_id="m")
    assert who(info.gateway_port) == hub.provision("m").pid != info.pid


def unread(port: int | None) -> int:
    """Bytes that have arrived at a server's connections, and that it has not read."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    # Local address, and the queue of what was received; 01 = established.
    rows = [line.split() for line in lines]
    return sum(int(row[4].partition(":")[2], 16) for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "01")


def test_a_server_that_ends_by_itself_in_the_midst_of_a_connection_ends_it(hub: Hub, events: Observer) -> None:
    """Though the client keeps its own side open."""
    info = hub.provision("m")
    with dial(info.gateway_port, "exit") as connection, suppress(ConnectionResetError):
        assert connection.recv(1) == b""
    events.wait("module.crashed", module_id="m")
    assert who(info.gateway_port) != info.pid


@pytest.mark.parametrize("operation", ["hibernate", "deprovision"])
def test_connections_end_with_their_server(hub: Hub, operation: str) -> None:
    """A client that waits for an answer learns that none will come; the next connection wakes the module."""
    info = hub.provision("m")
    with dial(info.gateway_port, "stall") as connection:
        assert connection.recv(100) == b"stalled\n"
        getattr(hub, operation)("m")
        with suppress(ConnectionResetError):
            assert connection.recv(1) == b""
    assert who(info.gateway_port) not in {info.pid, None}


def test_a_client_that_keeps_its_side_open_keeps_nothing_of_a_server_that_ended(make_hub: MakeHub) -> None:
    """Its connection is over with the server: its place is free for the next one."""
    hub = make_hub(kinds=[peer_kind()], default_kind="peer", gateway_connections=1)
    port = hub.provision("m").gateway_port
    with dial(port, "stall") as connection:
        assert connection.recv(100) == b"stalled\n"
        hub.hibernate("m")
        with suppress(ConnectionResetError):
            assert connection.recv(1) == b""
        await_that(lambda: answers(port))


def answers(port: int | None) -> bool:
    try:
        return who(port) > 0
    except ConnectionResetError:
        return False


def test_a_clients_reset_reaches_the_server(hub: Hub) -> None:
    """The server sees the error that it would see without the gateway."""
    info = hub.provision("m")
    assert info.data_dir is not None
    connection = dial(info.gateway_port, "await-reset")
    outcome = info.data_dir / "outcome"
    await_that(outcome.exists)
    reset(connection)
    await_that(lambda: outcome.read_text().endswith("\n"))
    assert outcome.read_text() == "ConnectionResetError\n"


def test_a_servers_reset_reaches_the_client(hub: Hub) -> None:
    """What it had sent before arrives; then the client sees an error, and no clean end."""
    with dial(hub.provision("m").gateway_port, "reset") as connection:
        assert connection.recv(100) == b"bye\n"
        connection.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


def test_a_module_that_does_not_come_up_resets_its_client_and_says_why(make_hub: MakeHub, events: Observer) -> None:
    """No clean end, which a client might take for an answer; one event for all that wait, with the reason."""
    hub = make_hub(kinds=[peer_kind()], default_kind="peer")
    port = asleep(hub)
    hub.close()
    broken = peer_kind()
    object.__setattr__(broken, "command", ("/bin/false", "{port}"))
    hub = make_hub(kinds=[broken], default_kind="peer")
    connections = [dial(port, "who") for _ in range(5)]
    for connection in connections:
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
        connection.close()
    refusal = events.wait("gateway.refused", module_id="m")
    assert refusal["reason"] == "provision-failed"
    assert "/bin/false" in refusal["error"]
    assert len(events.all("gateway.refused")) < 5
    assert hub.module("m").state is State.HIBERNATED


def test_a_client_waits_no_longer_than_its_deadline(make_hub: MakeHub, events: Observer) -> None:
    """Then it is reset; the wake goes on, and who comes later finds the module up."""
    hub = make_hub(kinds=[peer_kind()], default_kind="peer")
    port = asleep(hub)
    hub.close()
    slow = peer_kind()
    object.__setattr__(slow, "command", ("/bin/sh", "-c", 'sleep 1; exec "$@"', "sh", *slow.command))
    hub = make_hub(kinds=[slow], default_kind="peer", gateway_wake_timeout=0.3)
    started = time.monotonic()
    with dial(port, "who") as connection, pytest.raises(ConnectionResetError):
        connection.recv(1)
    assert 0.2 < time.monotonic() - started < 0.9
    assert events.wait("gateway.refused", module_id="m")["reason"] == "operation-timeout"
    events.wait("module.transition", module_id="m", from_state="waking", to_state="provisioned")
    assert who(port) == hub.provision("m").pid


def test_more_connections_than_are_allowed_are_reset(make_hub: MakeHub, events: Observer) -> None:
    """Those that are there stay, and as soon as one has ended there is room for another."""
    hub = make_hub(kinds=[peer_kind()], default_kind="peer", gateway_connections=3)
    port = hub.provision("m").gateway_port
    other = hub.provision("other").gateway_port
    connections = [dial(port, "echo") for _ in range(3)]
    for connection in connections:
        connection.sendall(b"x")
        assert connection.recv(1) == b"x"
    with pytest.raises(ConnectionResetError), dial(port) as one_more:
        one_more.recv(1)
    assert events.wait("gateway.refused", module_id="m")["reason"] == "too-many-connections"
    assert who(other) == hub.provision("other").pid
    connections.pop().close()
    await_that(lambda: answers(port))
    for connection in connections:
        connection.close()


def test_a_connection_is_never_made_to_what_has_taken_the_port_of_a_server_that_is_gone(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ends and somebody else listens on its port before the connection is made: not a byte reaches them."""
    info = hub.provision("m")
    assert info.port is not None
    assert info.pid is not None
    impostor = socket.socket()
    impostor.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    impostor.settimeout(10)
    connect = dialling.connect_socket
    pid, port = info.pid, info.port

    async def late(server: socket.socket, address: tuple[str, int], timeout_s: float) -> int:
        monkeypatch.setattr(dialling, "connect_socket", connect)
        os.kill(pid, signal.SIGKILL)
        # Blocks the loop on purpose: the hub learns of the end after the connection is made.
        await_that(lambda: refused(port))
        impostor.bind(("127.0.0.1", port))
        impostor.listen()
        return await connect(server, address, timeout_s)

    monkeypatch.setattr(dialling, "connect_socket", late)
    with impostor:
        with dial(info.gateway_port, "who") as connection:
            assert int(read_all(connection)) == hub.provision("m").pid != info.pid
        met, _ = impostor.accept()
        with met:
            assert met.recv(100) == b""


def test_a_thousand_connections_are_served_side_by_side(make_hub: MakeHub) -> None:
    """Each gets its own answer, and the hub answers as before."""
    hub = make_hub(kinds=[peer_kind()], default_kind="peer")
    port = hub.provision("m").gateway_port
    connections = [dial(port, "echo") for _ in range(1000)]
    for number, connection in enumerate(connections):
        connection.sendall(b"%d" % number)
    for number, connection in enumerate(connections):
        assert connection.recv(100) == b"%d" % number
    started = time.monotonic()
    assert hub.module("m").state is State.PROVISIONED
    assert time.monotonic() - started < 1
    for connection in connections:
        connection.close()
