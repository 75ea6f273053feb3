"""Which hub is asked, and by whom: options, environment, the token."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from hub.errors import InvalidConfig

DEFAULT_URL = "http://127.0.0.1:8558"
_TOKEN_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Place:
    """A hub, as it is asked.

    Attributes:
        url: where it is; without a slash at the end.
        token: the bearer token, if there is one.
        ca_file: certificates to trust, instead of the system's.
    """

    url: str
    token: str | None = field(repr=False)
    ca_file: Path | None

    @property
    def is_open_to_listeners(self) -> bool:
        """Whether the token goes over a network as it is."""
        parts = urlsplit(self.url)
        if self.token is None or parts.scheme != "http":
            return False
        try:
            return not ipaddress.ip_address(parts.hostname or "").is_loopback
        except ValueError:
            return parts.hostname != "localhost"


def find_place(
    url: str | None, token_file: Path | None, ca_file: Path | None, environment: Mapping[str, str] = os.environ
) -> Place:
    """Find out which hub is meant.

    Args:
        url: given by a flag; wins over `MODHUB_URL`.
        token_file: given by a flag; wins over `MODHUB_TOKEN_FILE`, and that over `MODHUB_TOKEN`.
        ca_file: given by a flag; wins over `MODHUB_CA_FILE`.
        environment: the variables.

    Returns:
        The hub.

    Raises:
        InvalidConfig: the URL can't be one, or the token can't be read.
    """
    chosen = (url or environment.get("MODHUB_URL") or DEFAULT_URL).rstrip("/")
    try:
        parts = urlsplit(chosen)
        fit = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        fit, parts = False, None
    if not fit or parts is None:
        raise InvalidConfig(f"{chosen!r} is no URL of a hub", hint=f"such as {DEFAULT_URL}; set by --url or MODHUB_URL")
    if parts.username is not None or parts.query or parts.fragment:
        raise InvalidConfig("the hub's URL has more than an address in it", hint="a token is given by --token-file")
    trusted = ca_file or (Path(given) if (given := environment.get("MODHUB_CA_FILE")) else None)
    return Place(chosen, _token(token_file, environment), trusted)


def _token(token_file: Path | None, environment: Mapping[str, str]) -> str | None:
    if token_file is None and (named := environment.get("MODHUB_TOKEN_FILE")):
        token_file = Path(named)
    if token_file is None:
        token, source = environment.get("MODHUB_TOKEN", ""), "MODHUB_TOKEN"
    else:
        source = str(token_file)
        try:
            with token_file.open("rb") as file:
                token = file.read(_TOKEN_BYTES).decode("ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidConfig(f"the token file {source} can't be read: {error}") from error
    token = token.strip()
    if not token:
        if token_file is not None:
            raise InvalidConfig(f"the token file {source} is empty", hint="modhub token NAME > FILE makes one")
        return None
    if not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidConfig(f"{source} holds no token", hint="one line, as `modhub token` printed it")
    return token
