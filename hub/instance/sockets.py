"""TCP sockets of this machine, asked of the kernel by netlink (sock_diag(7)): who listens, who is connected.

/proc/net/tcp tells the same, but the kernel walks its whole table of connections for each read, which takes
milliseconds on a machine with much memory; asked for listening sockets alone, it walks those alone.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator

_ESTABLISHED = 1 << 1
_LISTEN = 1 << 10

# From linux/netlink.h, linux/sock_diag.h and linux/inet_diag.h.
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST_DUMP = 0x301
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBxI48x")
# inet_diag_msg: family, state, timer, retransmits, source and destination port in network order; the inode at its end.
_PORT = struct.Struct("!H")
_PORT_OFFSET = 4
_INODE = struct.Struct("=I")
_INODE_OFFSET = 68
_ERRNO = struct.Struct("=i")
_BUFFER = 1 << 16


def listening(port: int) -> set[int]:
    """Return the inodes of the sockets that listen on a TCP port of this network namespace."""
    return {inode for local, inode in _dump(_LISTEN) if local == port}


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


def _dump(states: int) -> Iterator[tuple[int, int]]:
    """Yield local port and inode of every TCP socket in one of the states, IPv4 and IPv6."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as kernel:
        for family in (socket.AF_INET, socket.AF_INET6):
            request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, states)
            size = _HEADER.size + len(request)
            kernel.send(_HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST_DUMP, 1, 0) + request)
            yield from _answers(kernel)


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
                raise OSError(-code, "the kernel does not list its sockets (sock_diag)")
            (port,) = _PORT.unpack_from(data, body + _PORT_OFFSET)
            (inode,) = _INODE.unpack_from(data, body + _INODE_OFFSET)
            yield port, inode
            offset += (size + 3) & ~3  # messages are aligned to four bytes
