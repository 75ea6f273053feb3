"""What the kernel tells of sockets, asked about real ones."""

import os
import socket
from pathlib import Path

import pytest

from hub.instance import sockets
from hub.instance.ports import LOOPBACK


def inode(of: socket.socket) -> int:
    return os.fstat(of.fileno()).st_ino


def test_listening_sockets_are_told_by_their_inodes() -> None:
    """Every socket that listens on the port is told, also several that share it; no connection, no other port."""
    with socket.create_server((LOOPBACK, 0), reuse_port=True) as one:
        port = one.getsockname()[1]
        with (
            socket.create_server((LOOPBACK, port), reuse_port=True) as two,
            socket.create_server((LOOPBACK, 0)),
            socket.create_connection((LOOPBACK, port)),
        ):
            assert sockets.listening(port) == {inode(one), inode(two)}
        assert sockets.listening(port) == {inode(one)}


def test_a_port_without_a_listener_has_none() -> None:
    """A socket that is bound and does not listen is none."""
    with socket.socket() as bound:
        bound.bind((LOOPBACK, 0))
        assert sockets.listening(bound.getsockname()[1]) == set()


@pytest.mark.parametrize("host", [LOOPBACK, "0.0.0.0"])
def test_who_takes_connections_is_told_by_its_inode(host: str) -> None:
    """Whatever address it listens on, if it is that of loopback too; its connections are no listeners."""
    with socket.create_server((host, 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection((LOOPBACK, port)):
            assert sockets.listener(port) == inode(server)
            server.close()
            assert sockets.listener(port) is None


def test_a_listener_for_both_families_takes_connections_of_either() -> None:
    """A server that listens on `::` for IPv4 as well is found, where the machine has IPv6."""
    if not Path("/proc/net/if_inet6").exists():
        return
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        assert sockets.listener(server.getsockname()[1]) == inode(server)


def test_who_listens_elsewhere_takes_no_connections() -> None:
    """Another address of loopback, or a socket that is bound and does not listen: nobody would take a connection."""
    with socket.create_server(("127.0.0.2", 0)) as elsewhere, socket.socket() as bound:
        bound.bind((LOOPBACK, 0))
        assert sockets.listener(elsewhere.getsockname()[1]) is None
        assert sockets.listener(bound.getsockname()[1]) is None


def test_more_sockets_than_one_answer_holds_are_all_counted() -> None:
    """The kernel's answer comes in several pieces; none is lost."""
    with socket.create_server((LOOPBACK, 0), backlog=300) as server:
        port = server.getsockname()[1]
        clients = [socket.create_connection((LOOPBACK, port)) for _ in range(250)]
        try:
            assert sockets.connections_by_port([port]) == {port: 250}
        finally:
            for client in clients:
                client.close()


def test_the_kernels_refusal_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where sockets can't be listed the caller learns it: nobody takes silence for "no connections"."""
    monkeypatch.setattr(sockets, "_SOCK_DIAG_BY_FAMILY", 9999)
    with pytest.raises(OSError, match="sock_diag"):
        sockets.listening(1)
    with pytest.raises(OSError, match="sock_diag"):
        sockets.listener(1)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_connections_are_counted_on_the_servers_side(family: socket.AddressFamily) -> None:
    """Each established connection counts once, on the port asked for, over IPv4 and IPv6; listeners count nothing."""
    host = LOOPBACK if family == socket.AF_INET else "::1"
    try:
        server = socket.create_server((host, 0), family=family)
    except OSError:
        assert family == socket.AF_INET6
        assert not Path("/proc/net/if_inet6").exists() or "lo" not in Path("/proc/net/if_inet6").read_text()
        return
    with server, socket.create_server((LOOPBACK, 0)) as unused:
        port, unused_port = server.getsockname()[1], unused.getsockname()[1]
        assert sockets.connections_by_port([port, unused_port]) == {}
        with socket.create_connection((host, port)), socket.create_connection((host, port)):
            assert sockets.connections_by_port([port, unused_port]) == {port: 2}
            assert sockets.connections_by_port([unused_port]) == {}
        accepted = server.accept()[0]
        accepted.close()


def test_a_sweep_without_ports_finds_nothing() -> None:
    """Nothing asked, nothing counted, however many connections there are."""
    assert sockets.connections_by_port([]) == {}
