"""TLS by files, which can be read anew while the server runs."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from hub.errors import InvalidConfig


class Certificate:
    """A certificate and its key, and the context for sockets that serve with whatever was read last.

    A new chain is no `load_cert_chain` on the old context: that keeps the old one beside a new one of another kind of
    key, and is half done where the two files do not belong together. So each handshake is handed to the context that
    was made last.

    Args:
        certificate: file with the certificate and its chain, PEM.
        key: file with its key, PEM.

    Raises:
        InvalidConfig: they can't be read, or do not belong together.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = certificate, key
        self._latest = make_context(certificate, key)
        self.context = make_context(certificate, key)
        self.context.sni_callback = self._hand_over

    def reload(self) -> None:
        """Read the files again, for connections from now on.

        Raises:
            InvalidConfig: they can't be used; the certificate of before goes on.
        """
        self._latest = make_context(*self._files)

    def _hand_over(
        self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: ssl.SSLContext
    ) -> None:
        connection.context = self._latest


def make_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Read a certificate and its key.

    Args:
        certificate: file with the certificate and its chain, PEM.
        key: file with its key, PEM.

    Returns:
        A context to serve with: TLS 1.2 or later.

    Raises:
        InvalidConfig: they can't be read, or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        # A key with a passphrase would ask for it on the terminal, and hang a service.
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        hint = "tls_cert holds the certificate and its chain, tls_key its key without a passphrase, both PEM"
        raise InvalidConfig(f"{certificate} and {key} can't be used for TLS: {reason}", hint=hint) from error
    return context


def expires_at(certificate: Path) -> float:
    """Return when a certificate ends: seconds since the epoch.

    Args:
        certificate: file with the certificate and its chain, PEM; read already by `make_context`.

    Raises:
        InvalidConfig: that can't be told.
    """
    try:
        native: Any = vars(ssl)["_ssl"]
        decoded: dict[str, Any] = native._test_decode_cert(str(certificate))  # noqa: SLF001 - the standard library has no other way to read one's own certificate
        return float(ssl.cert_time_to_seconds(decoded["notAfter"]))
    except (OSError, ValueError, KeyError) as error:
        raise InvalidConfig(f"{certificate} can't be read: {error}") from error


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase")
