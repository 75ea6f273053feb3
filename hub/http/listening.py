"""The sockets that the server listens on."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

from hub.errors import InvalidConfig
from hub.http.config import HttpConfig
from hub.http.config_sources import MAKE_A_TOKEN, UNIX_PREFIX

_SOCKET_MODE = 0o660  # the socket's group decides who else may ask


def bind(config: HttpConfig) -> list[socket.socket]:
    """Take the address that the server is to have. Nobody is answered yet, nor refused for good.

    Args:
        config: the configuration.

    Returns:
        Sockets that are bound and do not listen; a name may stand for several.

    Raises:
        InvalidConfig: the address can't be had.
    """
    if config.host.startswith(UNIX_PREFIX):
        return [_bind_path(Path(config.host.removeprefix(UNIX_PREFIX)))]
    where = f"http: {config.host} port {config.port}"
    try:
        found = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise InvalidConfig(f"{where} is no address: {error.strerror or error}") from error
    addresses = sorted({(family, str(address[0])) for family, _, _, _, address in found})
    for _, address in addresses:
        # What a name stands for is known only now.
        if not config.tokens and not ipaddress.ip_address(address.partition("%")[0]).is_loopback:
            raise InvalidConfig(f"{where} is {address}, open to others, and there are no tokens", hint=MAKE_A_TOKEN)
    sockets: list[socket.socket] = []
    port = config.port
    try:
        for family, address in addresses:
            bound = _bind_address(family, address, port)
            if bound is not None:
                sockets.append(bound)
                port = port or bound.getsockname()[1]
    except OSError as error:
        for bound in sockets:
            bound.close()
        raise InvalidConfig(f"{where} can't be had: {error.strerror}", hint=_hint(error)) from error
    if not sockets:
        raise InvalidConfig(f"{where} can't be had", hint="name an address of this machine")
    return sockets


def url_of(config: HttpConfig, sockets: list[socket.socket]) -> str:
    """Return where the server is found.

    Args:
        config: its configuration.
        sockets: what `bind` returned.
    """
    if config.host.startswith(UNIX_PREFIX):
        return config.host
    scheme = "http" if config.tls_cert is None else "https"
    host = f"[{config.host}]" if ":" in config.host else config.host
    return f"{scheme}://{host}:{sockets[0].getsockname()[1]}"


def _bind_address(family: int, address: str, port: int) -> socket.socket | None:
    try:
        bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError:
        return None  # this machine has no IPv6, say
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((address, port))
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRNOTAVAIL and family == socket.AF_INET6 and address == "::1":
            return None  # `localhost` stands for it also where it is turned off
        raise
    return bound


def _bind_path(path: Path) -> socket.socket:
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        before = os.umask(0o777 & ~_SOCKET_MODE)  # a chmod afterwards would come too late for who is quick
        try:
            bound.bind(os.fspath(path))
        finally:
            os.umask(before)
    except OSError as error:
        bound.close()
        hint = "another program listens there" if error.errno == errno.EADDRINUSE else "name a path that can be written"
        raise InvalidConfig(f"http: {path} can't be had: {error.strerror or error}", hint=hint) from error
    return bound


def _remove_stale(path: Path) -> None:
    """Remove the socket of a server that is gone."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.stat().st_mode):
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(os.fspath(path))
            except ConnectionRefusedError:
                path.unlink()


def _hint(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "another program listens there, a hub perhaps; name another port, or 0 for any free one"
        case errno.EACCES:
            return "ports below 1024 are for root; name another one, and a reverse proxy before it"
        case _:
            return "name an address of this machine"
