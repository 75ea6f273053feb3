"""What an instance is told about the client and the address that it used: the `X-Forwarded-*` fields."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from hub.errors import InvalidConfig

FIELDS = (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-prefix")

_PROTOCOLS = {"http": b"http", "https": b"https", "ws": b"http", "wss": b"https"}
_HOST = re.compile(rb"[A-Za-z0-9._~:\[\]%-]{1,255}")
_PREFIX = re.compile(rb"(/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)+")

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class TrustedProxies:
    """Reverse proxies before the hub, whose word about the client is taken.

    Args:
        addresses: their addresses, or networks of them.

    Raises:
        InvalidConfig: one is neither.
    """

    def __init__(self, addresses: Iterable[str]) -> None:
        try:
            self._networks: tuple[_Network, ...] = tuple(ipaddress.ip_network(text) for text in addresses)
        except ValueError as error:
            raise InvalidConfig(f"trusted_proxies: {error}", hint="give addresses or networks: 10.0.0.0/8") from error

    def __contains__(self, peer: str) -> bool:
        if not self._networks:
            return False
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:  # a Unix socket's peer has no address
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)


def is_host(value: bytes) -> bool:
    """Tell whether this can stand in `Host`: one name or address, perhaps with a port."""
    return _HOST.fullmatch(value) is not None


def forwarded(
    peer: str, scheme: str, host: bytes, prefix: bytes, told: Mapping[bytes, bytes] | None
) -> tuple[bytes, bytes]:
    """Make the fields for an instance.

    Args:
        peer: address of whoever sent the request; empty if it has none.
        scheme: `http`, `https`, `ws` or `wss`, as the request came here.
        host: its `Host`.
        prefix: path below which it came.
        told: what a trusted peer says of these `FIELDS`, by lower-case name; `None` = the peer is not trusted.

    Returns:
        The prefix that the client sees, and the lines of the head.
    """
    if not told:
        return prefix, _lines(peer.encode(), _PROTOCOLS.get(scheme, b"http"), host, prefix)
    chain = [part for part in (told.get(FIELDS[0], b"").strip(), peer.encode()) if part]
    protocol = _PROTOCOLS.get(told.get(FIELDS[1], b"").strip().lower().decode("latin-1"), b"")
    outer_host = told.get(FIELDS[2], b"").strip()
    outer_prefix = told.get(FIELDS[3], b"").strip().rstrip(b"/")
    seen = outer_prefix + prefix if _PREFIX.fullmatch(outer_prefix) else prefix
    return seen, _lines(
        b", ".join(chain),
        protocol or _PROTOCOLS.get(scheme, b"http"),
        outer_host if is_host(outer_host) else host,
        seen,
    )


@lru_cache(maxsize=1024)  # the same few clients ask for the same few modules
def _lines(chain: bytes, protocol: bytes, host: bytes, prefix: bytes) -> bytes:
    values = zip(FIELDS, (chain, protocol, host, prefix), strict=True)
    return b"".join(b"%b: %b\r\n" % (name, value) for name, value in values if value)
