"""TLS by files: versions, new certificates without a restart, handshakes that never end."""

from __future__ import annotations

import contextlib
import select
import ssl
import subprocess
from pathlib import Path

import pytest

from hub.errors import InvalidConfig
from hub.http.config_sources import configure_http
from hub.http.server import Server
from tests.hub.http_server.rig import make_certificate, peer_certificate, read_all, serving, until


def test_requests_come_over_tls(tmp_path: Path) -> None:
    """The certificate is the one of the file, and the client can trust it."""
    certificate, key = make_certificate(tmp_path, "one")
    with serving(tls_cert=certificate, tls_key=key) as running, running.connect() as plain:
        assert running.server.url.startswith("https://127.0.0.1:")
        context = ssl.create_default_context(cafile=str(certificate))
        with context.wrap_socket(plain, server_hostname="localhost") as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert read_all(client).endswith(b"hello")


def test_old_versions_of_tls_are_refused(tmp_path: Path) -> None:
    """TLS 1.2 is spoken, 1.1 is not."""
    certificate, key = make_certificate(tmp_path, "one")
    with serving(tls_cert=certificate, tls_key=key) as running:
        assert peer_certificate(running.server.port, version=ssl.TLSVersion.TLSv1_2)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            context.minimum_version = ssl.TLSVersion.TLSv1
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        with running.connect() as plain, pytest.raises((ssl.SSLError, ConnectionError)):
            context.wrap_socket(plain)


@pytest.mark.parametrize("kind", ["rsa:2048", "ec"])
def test_a_new_certificate_is_served_without_a_restart(tmp_path: Path, kind: str) -> None:
    """After a reload new connections get the new one, also of another kind of key; older connections go on."""
    certificate, key = make_certificate(tmp_path, "one")
    with serving(tls_cert=certificate, tls_key=key) as running, running.connect() as plain:
        context = ssl.create_default_context(cafile=str(certificate))
        with context.wrap_socket(plain, server_hostname="localhost") as older:
            before = peer_certificate(running.server.port)
            for old, new in zip((certificate, key), make_certificate(tmp_path, "two", key=kind), strict=True):
                new.replace(old)
            assert peer_certificate(running.server.port) == before
            running.server.reload()
            after = peer_certificate(running.server.port)
            assert after == ssl.PEM_cert_to_DER_cert(certificate.read_text())
            assert after != before
            older.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert read_all(older).endswith(b"hello")


def test_a_certificate_that_cannot_be_used_leaves_the_old_one(tmp_path: Path) -> None:
    """A key that does not belong to it is told, and nothing changes."""
    certificate, key = make_certificate(tmp_path, "one")
    with serving(tls_cert=certificate, tls_key=key) as running:
        before = peer_certificate(running.server.port)
        make_certificate(tmp_path, "two")[0].replace(certificate)
        with pytest.raises(InvalidConfig, match="KEY_VALUES_MISMATCH"):
            running.server.reload()
        assert peer_certificate(running.server.port) == before


def test_a_handshake_that_never_ends_is_ended(tmp_path: Path) -> None:
    """A client that connects and says nothing is let go before TLS has begun, after `header_timeout`."""
    certificate, key = make_certificate(tmp_path, "one")
    with serving(tls_cert=certificate, tls_key=key, header_timeout=0.2) as running, running.connect() as client:
        assert read_all(client) == b""


def test_plain_http_to_a_tls_port_ends(tmp_path: Path) -> None:
    """It is no handshake, and the connection is closed."""
    certificate, key = make_certificate(tmp_path, "one")
    with serving(tls_cert=certificate, tls_key=key) as running, running.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200" not in read_all(client)


def test_a_key_with_a_passphrase_does_not_ask_for_it(tmp_path: Path) -> None:
    """A service that waited on a terminal would hang."""
    certificate, key = make_certificate(tmp_path, "one")
    from_plain = key.read_bytes()
    subprocess.run(
        ["openssl", "rsa", "-aes256", "-passout", "pass:x", "-in", str(key), "-out", str(key) + ".enc"],
        check=True,
        capture_output=True,
    )
    assert from_plain != Path(str(key) + ".enc").read_bytes()
    with pytest.raises(InvalidConfig, match="passphrase"):
        Server(configure_http(port=0, tls_cert=certificate, tls_key=Path(str(key) + ".enc")))


def test_silent_handshakes_are_counted_among_the_connections(tmp_path: Path) -> None:
    """Who only connects takes no descriptor without end: beyond the limit a connection is closed at once."""
    certificate, key = make_certificate(tmp_path, "one")
    options = {"tls_cert": certificate, "tls_key": key, "max_connections": 10, "header_timeout": 5.0}
    with serving(**options) as running, contextlib.ExitStack() as stack:
        silent = [stack.enter_context(running.connect()) for _ in range(200)]
        poll = select.poll()
        for connection in silent:
            poll.register(connection, select.POLLIN)
        closed = 0
        until(lambda: len(poll.poll(0)) == 90, "those beyond 110 are closed")
        for descriptor, _ in poll.poll(0):
            poll.unregister(descriptor)
            closed += 1
        assert (closed, poll.poll(50)) == (90, [])
        for connection in silent:
            connection.close()
        until(lambda: not running.server._encrypted, "their places are given back")  # pyright: ignore[reportPrivateUsage] - what is counted
        assert peer_certificate(running.server.port)
