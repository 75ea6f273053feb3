"""What the HTTP side can be told: the fields are the keys of `[http]` in the TOML file, and `MODHUB_HTTP_*`."""

# ruff: noqa: RUF009 - _option() makes dataclass fields; ruff knows only dataclasses.field by name

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hub.errors import InvalidConfig

DIGEST = re.compile(r"[0-9a-fA-F]{64}")


class Role(enum.StrEnum):
    """What a token may do; each role may do what those before it may."""

    READ = "read"
    OPERATE = "operate"
    OBLITERATE = "obliterate"


@dataclass(frozen=True, kw_only=True)
class Token:
    """A bearer token as it is configured.

    Attributes:
        name: who holds it, for the log.
        role: what it may do.
        sha256: SHA-256 of the token, 64 hexadecimal digits; the token itself is nowhere.

    Raises:
        InvalidConfig: `sha256` is none.
    """

    name: str
    role: Role
    sha256: str

    def __post_init__(self) -> None:
        if not DIGEST.fullmatch(self.sha256):  # it is not repeated: it may be the token
            raise InvalidConfig(
                f"token {self.name!r}: sha256 is no SHA-256",
                hint="allowed: 64 hexadecimal digits, hashlib.sha256(token.encode()).hexdigest()",
            )


def _option(default: Any, meaning: str, *, minimum: float | None = None) -> Any:
    return field(default=default, metadata={"meaning": meaning, "minimum": minimum})


@dataclass(frozen=True, kw_only=True)
class HttpConfig:
    """All that the HTTP side can be told."""

    host: str = _option("127.0.0.1", "Address to listen on; without tokens a loopback one.")
    port: int = _option(8558, "Port to listen on; 0 = any free one.", minimum=0)
    tokens: tuple[Token, ...] = _option((), "Bearer tokens, as `[[http.tokens]]` tables: `modhub token` makes them.")
    tls_cert: Path | None = _option(None, "File with the certificate and its chain, PEM; with `tls_key` serves HTTPS.")
    tls_key: Path | None = _option(None, "File with the certificate's key, PEM.")
    allowed_hosts: tuple[str, ...] = _option(
        (), "Host names by which it may be called, beyond `host` and loopback; `*` = any, only with tokens."
    )
    max_connections: int = _option(1000, "Connections at one time; one more is refused with 503.", minimum=1)
    max_requests: int = _option(200, "API requests at work at one time; one more is refused with 503.", minimum=1)
    max_streams: int = _option(100, "Streams of events at one time.", minimum=1)
    max_header_bytes: int = _option(
        32768, "Length of a request's head; a longer one is refused with 431.", minimum=1024
    )
    max_body_bytes: int = _option(
        1048576, "Length of an API request's body; a longer one is refused with 413. The proxy has no limit.", minimum=1
    )
    header_timeout: float = _option(10.0, "Seconds that a client gets to send a request's head.", minimum=0.1)
    body_timeout: float = _option(
        30.0,
        "Seconds that a client may pause in a request's body; for all of it, where it is not an instance's, four times as long.",
        minimum=0.1,
    )
    send_timeout: float = _option(30.0, "Seconds that a client may not read what it is sent.", minimum=0.1)
    keep_alive: float = _option(15.0, "Seconds that an idle connection is kept.", minimum=0)
    drain_timeout: float = _option(10.0, "Seconds that running requests get when the server ends.", minimum=0)
    proxy: bool = _option(True, "Whether `/hub/proxy/` reaches instances.")
    proxy_sandbox: bool = _option(
        True,
        "Whether pages of instances below `/hub/proxy/` run in an origin of their own, unable to act on the hub with its "
        "user's rights.",
    )
    proxy_domain: str = _option(
        "localhost",
        "Domain below which each module has a host name, `{id}.localhost`, that leads to its instance; empty = none.",
    )
    proxy_role: Role = _option(Role.OPERATE, "Role that a request through the proxy needs.")
    proxy_wake_timeout: float = _option(30.0, "Seconds a request waits for its module to wake; then 503.", minimum=0.1)
    proxy_timeout: float = _option(300.0, "Seconds that an instance may not answer or send anything.", minimum=0.1)
    trusted_proxies: tuple[str, ...] = _option(
        (), "Addresses of reverse proxies before the hub, whose `X-Forwarded-*` is believed and passed on."
    )
