"""A module's stable port, through everything that may happen to the module."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import threading
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from actors import Message
from hub import Hub, KindMismatch, ModuleNotFound, ProvisionFailed, State
from hub.gateway.gateway import Changed, Gateway
from hub.messages import FindModules
from tests.hub.conftest import MakeHub, tiny_kind
from tests.hub.gateway.client import await_that, dial, peer_kind, read_all, refused, who
from tests.hub.observer import Observer
from tests.hub.remote_host import remote_host

pytestmark = pytest.mark.e2e


@pytest.fixture
def hub(make_hub: MakeHub) -> Hub:
    return make_hub(kinds=[peer_kind()], default_kind="peer")


def port_of(hub: Hub, module_id: str = "m") -> int:
    port = hub.module(module_id).gateway_port
    assert port is not None
    return port


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def journalled_ids(tmp_path: Path) -> list[str]:
    with closing(sqlite3.connect(tmp_path / "data" / "journal.sqlite3")) as connection:
        return [row[0] for row in connection.execute("SELECT module_id FROM modules")]


def test_a_connection_is_spliced_to_the_modules_server(hub: Hub) -> None:
    """What a client sends reaches the server that runs, and the answer comes back, with both half-closes."""
    info = hub.provision("m")
    assert info.gateway_port is not None
    assert info.gateway_port != info.port
    with dial(info.gateway_port, "count") as connection:
        connection.sendall(bytes(5_000_000))
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection) == b"5000000\n"
    assert who(info.gateway_port) == info.pid


def test_kinds_without_a_gateway_have_no_port_and_cost_no_thread(make_hub: MakeHub) -> None:
    """Where no kind has one there is no gateway at all."""
    threads = threading.active_count()
    hub = make_hub()
    assert hub.provision("m").gateway_port is None
    assert not any(thread.name == "modhub-gateway" for thread in threading.enumerate())
    assert threading.active_count() > threads


def test_the_port_stays_through_everything_but_obliteration(hub: Hub, make_hub: MakeHub, events: Observer) -> None:
    """Hibernate, wake, crash, deprovision and a restart of the hub keep it; each connection finds the server of then."""
    port = port_of_new(hub)
    hub.hibernate("m")
    first = who(port)
    assert (port_of(hub), first) == (port, hub.provision("m").pid)
    os.kill(first, signal.SIGKILL)
    events.wait("module.transition", module_id="m", to_state="provisioned", from_state="recovering")
    assert who(port) == hub.provision("m").pid != first
    hub.deprovision("m")
    with pytest.raises(ModuleNotFound):
        hub.module("m")
    assert who(port) == hub.provision("m").pid
    assert port_of(hub) == port
    hub.close()
    assert refused(port)
    second = make_hub(kinds=[peer_kind()], default_kind="peer")
    assert second.module("m").state is State.HIBERNATED
    assert who(port) == second.provision("m").pid
    second.deprovision("m")
    second.close()
    third = make_hub(kinds=[peer_kind()], default_kind="peer")
    assert third.modules() == ()
    assert who(port) == third.provision("m").pid


def port_of_new(hub: Hub) -> int:
    port = hub.provision("m").gateway_port
    assert port is not None
    return port


def test_a_module_at_home_counts_as_untracked(hub: Hub, tmp_path: Path) -> None:
    """That its port is remembered shows nowhere but in the journal."""
    port = port_of_new(hub)
    hub.deprovision("m")
    assert hub.modules() == ()
    page = hub.ask(FindModules())
    assert (page.total, sum(page.states.values())) == (0, 0)
    for operation in (hub.hibernate, hub.wake):
        with pytest.raises(ModuleNotFound):
            operation("m")
    with pytest.raises(KindMismatch):
        hub.provision("m", kind="redis")
    hub.deprovision("m")
    assert not refused(port)
    hub.obliterate("m")
    assert refused(port)
    hub.close()
    assert "m" not in str(sorted((tmp_path / "data").glob("modules/*")))


def test_obliteration_cuts_connections_and_closes_the_port(hub: Hub, tmp_path: Path, events: Observer) -> None:
    """Who is connected sees an error, nobody listens any more, and the journal knows nothing of module and port."""
    port = port_of_new(hub)
    with dial(port, "stall") as connection:
        assert connection.recv(100) == b"stalled\n"
        hub.obliterate("m")
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    assert refused(port)
    events.wait("gateway.closed", module_id="m", port=port)
    hub.close()
    assert "m" not in journalled_ids(tmp_path)


def test_an_obliteration_cuts_connections_before_their_server_ends(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """However late the actor is, no client takes the end of a killed server for the end of an answer."""
    consider = Gateway.on_receive

    def late(self: Gateway, message: Any) -> Any:
        if isinstance(message, Changed):
            self.after(0.5, Late(message))
            return None
        return consider(self, message.message if isinstance(message, Late) else message)

    port = port_of_new(hub)
    monkeypatch.setattr(Gateway, "on_receive", late)
    with dial(port, "stall") as connection:
        assert connection.recv(100) == b"stalled\n"
        hub.obliterate("m")
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    await_that(lambda: refused(port))


@dataclass(frozen=True)
class Late(Message[None]):
    message: Changed


FEW = (28330, 28331)


def test_a_failed_first_provision_leaves_no_port(make_hub: MakeHub, tmp_path: Path) -> None:
    """Nobody was told of it: it is given back, and nothing is remembered."""
    hub = make_hub(kinds=[tiny_kind("peer", "--broken", gateway=True)], default_kind="peer", gateway_ports=FEW)
    for _ in range(5):
        with pytest.raises(ProvisionFailed):
            hub.provision("m")
    assert all(refused(port) for port in range(FEW[0], FEW[1] + 1))
    hub.close()
    assert journalled_ids(tmp_path) == []


def test_ports_come_from_the_configured_range_and_may_run_out(make_hub: MakeHub) -> None:
    """One module each; the next one is not provisioned, and the error says what to do."""
    hub = make_hub(kinds=[peer_kind()], default_kind="peer", gateway_ports=FEW)
    assert {hub.provision(name).gateway_port for name in ("a", "b")} == set(FEW)
    with pytest.raises(ProvisionFailed, match="gateway_ports"):
        hub.provision("c")
    assert {info.module_id for info in hub.modules()} == {"a", "b"}
    hub.obliterate("a")
    assert hub.provision("c").gateway_port in FEW


def test_a_kind_that_gets_a_gateway_later_gives_its_modules_ports_when_they_start(make_hub: MakeHub) -> None:
    """A module that is here already, or at home, has none until it next starts; one that loses it keeps its port."""
    hub = make_hub(kinds=[peer_kind(gateway=False)], default_kind="peer")
    for module_id in ("sleeper", "away"):
        assert hub.provision(module_id).gateway_port is None
    hub.hibernate("sleeper")
    hub.deprovision("away")
    hub.close()
    hub = make_hub(kinds=[peer_kind()], default_kind="peer")
    assert hub.module("sleeper").gateway_port is None
    ports = {module_id: hub.provision(module_id).gateway_port for module_id in ("sleeper", "away")}
    for module_id, port in ports.items():
        assert who(port) == hub.provision(module_id).pid
    hub.close()
    without = make_hub(kinds=[peer_kind(gateway=False)], default_kind="peer")
    assert all(refused(port) for port in ports.values() if port is not None)
    without.close()
    again = make_hub(kinds=[peer_kind()], default_kind="peer")
    assert again.module("sleeper").gateway_port == ports["sleeper"]
    assert who(ports["sleeper"]) == again.provision("sleeper").pid


def test_the_port_comes_back_after_kill_9_of_the_hub(tmp_path: Path) -> None:
    """A hub that is killed with connections open, and one that is killed with the module at home, change nothing."""
    backend = f"file://{tmp_path}/backend"
    with remote_host(tmp_path / "data", backend, gateway=True) as host:
        port = host.call("provision", "m")["gateway_port"]
        with dial(port, "PUT k v") as connection:
            assert read_all(connection) == b"OK\n"
        with dial(port) as connection:
            host.kill()
            with suppress(ConnectionResetError):
                assert connection.recv(1) == b""
    with remote_host(tmp_path / "data", backend, gateway=True) as host:
        with dial(port, "GET k") as connection:
            assert read_all(connection) == b"=v\n"
        assert host.call("module", "m")["gateway_port"] == port
        host.call("deprovision", "m")
    with remote_host(tmp_path / "data", backend, gateway=True), dial(port, "GET k") as connection:
        assert read_all(connection) == b"=v\n"


def test_a_port_that_a_foreigner_has_taken_is_tried_again(
    make_hub: MakeHub, events: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub starts, says so, never takes another port, and has its own as soon as it is free."""
    hub = make_hub(kinds=[peer_kind()], default_kind="peer")
    port = port_of_new(hub)
    hub.close()
    with socket.create_server(("127.0.0.1", port)):
        second = make_hub(kinds=[peer_kind()], default_kind="peer")
        assert "in use" in events.wait("gateway.failed", module_id="m", port=port, count=2)["error"]
        assert second.wake("m").gateway_port == port
    events.wait("gateway.opened", module_id="m", port=port, count=2)
    assert who(port) == second.provision("m").pid


def test_a_defect_of_the_actor_cuts_nothing_and_loses_nothing(
    hub: Hub, events: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its behaviour is replaced: open ports and connections stay, and what happened meanwhile is made up for."""
    port = port_of_new(hub)
    other = hub.provision("other").gateway_port
    with dial(port, "echo") as connection:
        original = Gateway.on_receive

        def defect(self: Gateway, message: Any) -> Any:
            monkeypatch.setattr(Gateway, "on_receive", original)
            raise RuntimeError("a defect")

        monkeypatch.setattr(Gateway, "on_receive", defect)
        hub.obliterate("other")
        events.wait("hub.actor_failed", actor="gateway")
        events.wait("gateway.closed", module_id="other")
        assert other is not None
        assert refused(other)
        connection.sendall(b"still there")
        assert connection.recv(100) == b"still there"
    assert hub.provision("third").gateway_port is not None
    assert who(port) == hub.provision("m").pid


def test_the_end_of_the_hub_leaves_nothing(make_hub: MakeHub) -> None:
    """Connected, waiting or half closed: all end with it, and neither descriptor nor thread is left."""
    before = descriptors()
    hub = make_hub(kinds=[peer_kind(gateway_wake="bytes")], default_kind="peer")
    port = port_of_new(hub)
    asleep = hub.provision("asleep").gateway_port
    hub.hibernate("asleep")
    open_ones = [dial(port, "echo"), dial(port), dial(port, "stall"), dial(asleep)]
    assert open_ones[2].recv(100) == b"stalled\n"
    open_ones[0].shutdown(socket.SHUT_WR)
    hub.close()
    assert refused(port)
    for connection in open_ones:
        with suppress(ConnectionResetError):
            assert connection.recv(100) == b""
        connection.close()
    assert not any(thread.name == "modhub-gateway" for thread in threading.enumerate())
    assert descriptors() == before


def test_a_hub_that_leaves_its_servers_breaks_the_connections_and_comes_back(make_hub: MakeHub) -> None:
    """The servers run on; their clients see an error, connect again to the same port and reach the same process."""
    hub = make_hub(kinds=[peer_kind()], default_kind="peer", on_exit="leave")
    port = port_of_new(hub)
    pid = hub.module("m").pid
    with dial(port, "stall") as connection:
        assert connection.recv(100) == b"stalled\n"
        hub.close()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    assert refused(port)
    second = make_hub(kinds=[peer_kind()], default_kind="peer")
    assert who(port) == pid == second.provision("m").pid
