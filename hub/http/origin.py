"""Which requests come from where they may: pure decisions on addresses and on what browsers tell about a request."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a request tells about where it comes from; `None` where it does not tell.

    Attributes:
        method: its method.
        page: whether it is for a page that is there to be navigated to.
        scheme: `http` or `https`, as the hub serves it.
        host: header field `Host`.
        origin: header field `Origin`.
        fetch_site: header field `Sec-Fetch-Site`.
        fetch_mode: header field `Sec-Fetch-Mode`.
        fetch_dest: header field `Sec-Fetch-Dest`.
    """

    method: str
    page: bool
    scheme: str
    host: str | None
    origin: str | None = None
    fetch_site: str | None = None
    fetch_mode: str | None = None
    fetch_dest: str | None = None


def is_loopback(address: str) -> bool:
    """Tell whether an address is this machine's own; an empty one is a Unix socket's."""
    if not address:
        return True
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback


def client_address(peer: str, forwarded_for: str | None, trusted: Callable[[str], bool]) -> str:
    """Return the address of the client.

    Args:
        peer: where the connection comes from.
        forwarded_for: header field `X-Forwarded-For`; believed of trusted peers only, from its end up to the first
            address that is not trusted itself: what is before that, anybody may have written.
        trusted: tells whether an address is a reverse proxy's.
    """
    address = peer
    hops = [hop.strip() for hop in (forwarded_for or "").split(",") if hop.strip()]
    while hops and trusted(address):
        address = hops.pop()
    return address


def client_scheme(scheme: str, peer: str, forwarded_proto: str | None, trusted: Callable[[str], bool]) -> str:
    """Return `http` or `https`, as the client came.

    Args:
        scheme: how the request came here; that of a WebSocket is as good.
        peer: where the connection comes from.
        forwarded_proto: header field `X-Forwarded-Proto`; believed of trusted peers only, which may have ended the TLS.
        trusted: tells whether an address is a reverse proxy's whose word is taken.
    """
    told = (forwarded_proto or "").strip().lower()
    if told in {"http", "https"} and trusted(peer):
        return told
    return "https" if scheme in {"https", "wss"} else "http"


def split_host(host: str | None) -> tuple[str, int | None] | None:
    """Return name and port of a `Host`; `None` if it is none."""
    if not host or any(character in host for character in " \t@/\\?#"):
        return None
    try:
        parts = urlsplit(f"//{host}")
        port = parts.port
    except ValueError:
        return None
    return (parts.hostname.lower(), port) if parts.hostname else None


def host_allowed(host: str | None, allowed: Sequence[str], *, loopback: bool) -> bool:
    """Tell whether the hub goes by this name.

    A page of another site can make its own name point here (DNS rebinding): its browser then takes the hub for that
    site, and only the `Host` tells.

    Args:
        host: header field `Host`.
        allowed: names it goes by; `*` = any.
        loopback: whether also by the names of the loopback interface.
    """
    if "*" in allowed:
        return True
    split = split_host(host)
    if split is None:
        return False
    name = split[0]
    if name in {entry.lower().strip("[]") for entry in allowed}:
        return True
    return loopback and (name == "localhost" or ((name[0].isdigit() or ":" in name) and is_loopback(name)))


def split_origin(origin: str) -> tuple[str, int] | None:
    """Return name and port of an `Origin`; `None` if it is that of no page from a server."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or parts.hostname is None:
        return None
    return parts.hostname.lower(), port or _DEFAULT_PORTS[parts.scheme]


def same_origin(provenance: Provenance) -> bool:
    """Tell whether the `Origin` is that of the hub's own pages, as this request's `Host` names it."""
    host = split_host(provenance.host)
    theirs = split_origin(provenance.origin) if provenance.origin else None
    if host is None or theirs is None:
        return False
    return theirs == (host[0], host[1] or _DEFAULT_PORTS.get(provenance.scheme))


def refusal(provenance: Provenance, allowed: Sequence[str]) -> str | None:
    """Decide about a request to a hub without tokens, which any page in a browser on this machine can send.

    Args:
        provenance: where it comes from.
        allowed: host names that the hub goes by, beyond those of loopback.

    Returns:
        Why it is refused; `None` = it is not.
    """
    if not host_allowed(provenance.host, [name for name in allowed if name != "*"], loopback=True):
        return f"the hub does not go by the name {provenance.host!r:.100}"
    if provenance.origin is not None and not same_origin(provenance):
        return f"it was sent by a page of {provenance.origin!r:.100}"
    if provenance.fetch_site in {None, "none", "same-origin"} or (provenance.page and _is_navigation(provenance)):
        return None
    return "it was sent by a page of another site"


def virtual_host_refusal(provenance: Provenance) -> str | None:
    """Decide about a request for a module's virtual host: its own pages, and no others, may do more than lead there.

    Others are the hub's pages, another module's, and those of the same name at another port.

    Args:
        provenance: where it comes from.

    Returns:
        Why it is refused; `None` = it is not.
    """
    own = provenance.fetch_site == "same-origin"
    # A page with the referrer policy `no-referrer` sends its own forms with `null`.
    if provenance.origin is not None and not same_origin(provenance) and not (own and provenance.origin == "null"):
        return f"it was sent by a page of {provenance.origin!r:.100}"
    if own or provenance.fetch_site in {None, "none"} or _is_navigation(provenance):
        return None
    return "it was sent by a page of another site"


def _is_navigation(provenance: Provenance) -> bool:
    """Tell whether somebody follows a link or the like, in a window of its own and not in a frame."""
    return (
        provenance.method in {"GET", "HEAD"}
        and provenance.fetch_mode == "navigate"
        and provenance.fetch_dest == "document"
    )
