"""TCP sockets of this machine, asked of the kernel by netlink (sock_diag(7)): who listens, who is connected.

/proc/net/tcp tells the same, but the kernel walks its whole table of connections for each read, which takes
milliseconds on a machine with much memory; asked for listening sockets alone, it walks those alone; asked who would take
one connection, it looks that up as it would for the connection, in microseconds however many sockets there are.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable, Iterator

_ESTABLISHED = 1 << 1
_LISTEN = 1 << 10

# From linux/netlink.h, linux/sock_diag.h and linux/inet_diag.h.
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 0x001
_NLM_F_REQUEST_DUMP = 0x301
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_HEADER = struct.Struct("=IHHII")
# inet_diag_req_v2: family, protocol, extensions, states; then inet_diag_sockid: ports and addresses, in network order, of
# this end and the other one, interface and cookie, where all ones mean any.
_REQUEST = struct.Struct("=BBBxI")
_SOCKET = struct.Struct("!HH16s16s4x8s")
_ANY_COOKIE = b"\xff" * 8
# inet_diag_msg: family, state, timer, retransmits, source and destination port in network order; the inode at its end.
_STATE_OFFSET = 1
_PORT = struct.Struct("!H")
_PORT_OFFSET = 4
_INODE = struct.Struct("=I")
_INODE_OFFSET = 68
_ERRNO = struct.Struct("=i")
_BUFFER = 1 << 16
_STATE_LISTEN = 10
_LOOPBACK = socket.inet_aton("127.0.0.1")


def listener(port: int) -> int | None:
    """Return who takes connections to a TCP port of 127.0.0.1: the inode of the listening socket, if there is one.

    Does not block: the kernel answers at once, from memory. Of several sockets that share the port it is one.

    Raises:
        OSError: the kernel does not tell.
    """
    with _kernel() as kernel:
        _ask(kernel, _NLM_F_REQUEST, socket.AF_INET, _LISTEN, port=port, address=_LOOPBACK)
        data = kernel.recv(_BUFFER)
    _, kind, _, _, _ = _HEADER.unpack_from(data)
    body = _HEADER.size
    if kind == _NLMSG_ERROR:
        (code,) = _ERRNO.unpack_from(data, body)
        if code == -errno.ENOENT:
            return None
        raise _refused(code)
    if data[body + _STATE_OFFSET] != _STATE_LISTEN:
        return None
    (inode,) = _INODE.unpack_from(data, body + _INODE_OFFSET)
    return int(inode)


def listening(port: int) -> set[int]:
    """Return the inodes of the sockets that listen on a TCP port of this network namespace, whatever their address."""
    return {inode for local, inode in _dump(_LISTEN, port) if local == port}


def connections_by_port(ports: Iterable[int]) -> dict[int, int]:
    """Count established connections, server side, for many ports in one sweep.

    Args:
        ports: local ports of interest.

    Returns:
        Number of established connections of each port that has any.
    """
    wanted = set(ports)
    counts: dict[int, int] = {}
    for port, _ in _dump(_ESTABLISHED):
        if port in wanted:
            counts[port] = counts.get(port, 0) + 1
    return counts


def _dump(states: int, port: int = 0) -> Iterator[tuple[int, int]]:
    """Yield local port and inode of every TCP socket in one of the states, IPv4 and IPv6; 0 = of any port."""
    with _kernel() as kernel:
        for family in (socket.AF_INET, socket.AF_INET6):
            _ask(kernel, _NLM_F_REQUEST_DUMP, family, states, port=port)
            yield from _answers(kernel)


def _kernel() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG)


def _ask(kernel: socket.socket, flags: int, family: int, states: int, *, port: int, address: bytes = b"") -> None:
    # The other end is this machine as well; its port is nobody's, so that no connection is found.
    wanted = _SOCKET.pack(port, 0, address, address, _ANY_COOKIE)
    request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, states) + wanted
    kernel.send(_HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, flags, 1, 0) + request)


def _answers(kernel: socket.socket) -> Iterator[tuple[int, int]]:
    while True:
        data = kernel.recv(_BUFFER)
        offset = 0
        while offset < len(data):
            size, kind, _, _, _ = _HEADER.unpack_from(data, offset)
            body = offset + _HEADER.size
            if kind == _NLMSG_DONE:
                return
            if kind == _NLMSG_ERROR:
                (code,) = _ERRNO.unpack_from(data, body)
                raise _refused(code)
            (port,) = _PORT.unpack_from(data, body + _PORT_OFFSET)
            (inode,) = _INODE.unpack_from(data, body + _INODE_OFFSET)
            yield port, inode
            offset += (size + 3) & ~3  # messages are aligned to four bytes


def _refused(code: int) -> OSError:
    return OSError(-code, "the kernel does not list its sockets (sock_diag)")
