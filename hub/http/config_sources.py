"""Where the HTTP side's configuration comes from: the table `[http]`, `MODHUB_HTTP_*`, flags, in rising precedence."""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, get_type_hints

import msgspec

from hub.config_sources import HTTP_PREFIX, HTTP_TABLE, read_file
from hub.errors import InvalidConfig
from hub.http.config import DIGEST, HttpConfig, Role, Token

UNIX_PREFIX = "unix:"
MAKE_A_TOKEN = "`modhub token NAME --role operate` makes a token and the lines for it"  # noqa: S105 - a hint, no secret

_TYPES = get_type_hints(HttpConfig)
# Taken from a variable as they stand there; all others are read as TOML.
_TEXTS = frozenset(name for name, hint in _TYPES.items() if hint in {str, Path | None, Role})
_TOKEN_KEYS = tuple(f.name for f in dataclasses.fields(Token))
# The last label is no number: a browser takes such a name for an address.
_DOMAIN = re.compile(r"((?!-)[a-z0-9-]{1,63}(?<!-)\.){0,8}(?!-)(?=[^.]*[a-z])[a-z0-9-]{1,63}(?<!-)|")
_NAME = re.compile(r"[!-~]{1,64}")  # stands in the log and in headers


def load_http(path: str | os.PathLike[str] | None, environment: Mapping[str, str], **flags: Any) -> HttpConfig:
    """Read the HTTP side's configuration from a TOML file, the environment and flags.

    Args:
        path: the file; `None` = none.
        environment: variables, of which `MODHUB_HTTP_*` count; structured values are TOML.
        **flags: parameters, which win; `None` = not given.

    Returns:
        The configuration.

    Raises:
        InvalidConfig: as `configure_http`; also where the file can't be read.
    """
    given: Any = {} if path is None else read_file(path).get(HTTP_TABLE, {})
    if not isinstance(given, dict):
        raise InvalidConfig("http can't be used", hint="allowed: a table [http]")
    values = cast("dict[str, Any]", given) | _from_environment(environment)
    return configure_http(**values | {key: value for key, value in flags.items() if value is not None})


def configure_http(**given: Any) -> HttpConfig:
    """Check parameters and make a configuration of them.

    Args:
        **given: values for the fields of `HttpConfig`; `tokens` may be tables.

    Returns:
        The configuration.

    Raises:
        InvalidConfig: a key that does not exist, or whose value can't be used, alone or with the others.
    """
    fields = {f.name: f for f in dataclasses.fields(HttpConfig)}
    for key in given:
        if key not in fields:
            raise InvalidConfig(f"http: {key!r} is no configuration key", hint=f"allowed: {', '.join(fields)}")
    config = HttpConfig(**{key: _check(fields[key], value) for key, value in given.items()})
    check_exposure(config)
    return config


def check_exposure(config: HttpConfig) -> None:
    """Refuse what would let strangers in.

    Args:
        config: the configuration.

    Raises:
        InvalidConfig: it listens beyond this machine without tokens, or serves TLS by halves.
    """
    if not config.tokens and not is_local(config.host):
        raise InvalidConfig(
            f"http: host = {config.host!r} is open to other machines, and there are no tokens", hint=MAKE_A_TOKEN
        )
    if not config.tokens and "*" in config.allowed_hosts:
        raise InvalidConfig("http: allowed_hosts = '*' without tokens lets every web page in", hint=MAKE_A_TOKEN)
    if (config.tls_cert is None) != (config.tls_key is None):
        missing = "tls_cert" if config.tls_cert is None else "tls_key"
        raise InvalidConfig(f"http: {missing} is missing", hint="HTTPS needs both, tls_cert and tls_key")


def is_local(host: str) -> bool:
    """Return whether only this machine reaches an address: a loopback one, or a socket in the file system."""
    if host.startswith(UNIX_PREFIX) or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check(spec: dataclasses.Field[Any], value: Any) -> Any:
    key = spec.name
    if key == "tokens":
        return _tokens(value)
    if _TYPES[key] == Path | None:
        if value is not None and not (isinstance(value, str | Path) and str(value)):
            raise InvalidConfig(f"http: {key} = {value!r} can't be used", hint="allowed: a path")
        return None if value is None else Path(value).absolute()
    try:
        value = msgspec.convert(value, _TYPES[key])
    except msgspec.ValidationError as error:
        raise InvalidConfig(f"http: {key} = {value!r} can't be used", hint=str(error)) from None
    minimum = spec.metadata["minimum"]
    if minimum is not None and not minimum <= value < float("inf"):
        raise InvalidConfig(f"http: {key} = {value!r} can't be used", hint=f"allowed: {minimum:g} or more")
    if key == "port" and value > 65535:
        raise InvalidConfig(f"http: port = {value} can't be used", hint="allowed: 0 to 65535")
    if key == "trusted_proxies":
        _check_networks(value)
    if key == "proxy_domain" and not _DOMAIN.fullmatch(value.lower()):
        raise InvalidConfig(f"http: proxy_domain = {value!r} can't be used", hint="allowed: a domain, or nothing")
    if key == "host" and not value.removeprefix(UNIX_PREFIX):
        raise InvalidConfig("http: host is empty", hint="allowed: an address, or unix:/path/of/a/socket")
    return value


def _check_networks(entries: tuple[str, ...]) -> None:
    for entry in entries:
        try:
            ipaddress.ip_network(entry)
        except ValueError as error:
            raise InvalidConfig(
                f"http: trusted_proxies = {entry!r} can't be used: {error}",
                hint="allowed: addresses and networks, such as 10.0.0.0/8",
            ) from None


def _tokens(value: Any) -> tuple[Token, ...]:
    """Read tokens. No message repeats a value: somebody may have put a token where its hash belongs."""
    if not isinstance(value, list | tuple):
        raise InvalidConfig("http: tokens can't be used", hint="allowed: tables [[http.tokens]]")
    tokens: list[Token] = []
    for number, given in enumerate(cast("list[Any]", value), 1):
        where = f"http: token {number}"
        entry = dataclasses.asdict(given) if isinstance(given, Token) else given
        if not isinstance(entry, dict):
            raise InvalidConfig(f"{where} can't be used", hint="allowed: a table with name, role and sha256")
        table = cast("dict[str, Any]", entry)
        if "token" in table:
            raise InvalidConfig(
                f"{where} stands there in plain text",
                hint="only its hash belongs into a configuration; take a new one: modhub token NAME --role operate",
            )
        for key in table:
            if key not in _TOKEN_KEYS:
                raise InvalidConfig(f"{where}: {key!r} is no key", hint=f"allowed: {', '.join(_TOKEN_KEYS)}")
        tokens.append(_token(where, table))
    for what in ("name", "sha256"):
        if len({getattr(token, what) for token in tokens}) < len(tokens):
            raise InvalidConfig(f"http: tokens: a {what} is there twice", hint="each token is a holder's own")
    return tuple(tokens)


def _token(where: str, table: Mapping[str, Any]) -> Token:
    name, digest = table.get("name"), table.get("sha256")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidConfig(
            f"{where}: name can't be used", hint="allowed: 1 to 64 printable ASCII characters, no space"
        )
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise InvalidConfig(
            f"{where} ({name}): sha256 is no SHA-256", hint=f"allowed: 64 hexadecimal digits; {MAKE_A_TOKEN}"
        )
    try:
        role = Role(table.get("role", ""))
    except ValueError:
        raise InvalidConfig(
            f"{where} ({name}): role can't be used", hint=f"allowed: {', '.join(role.value for role in Role)}"
        ) from None
    return Token(name=name, role=role, sha256=digest.lower())


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for variable, text in environment.items():
        if not variable.startswith(HTTP_PREFIX):
            continue
        key = variable.removeprefix(HTTP_PREFIX).lower()
        if key not in _TYPES:
            allowed = ", ".join(HTTP_PREFIX + name.upper() for name in sorted(_TYPES))
            raise InvalidConfig(f"{variable} is no configuration variable", hint=f"allowed: {allowed}")
        if key in _TEXTS:
            values[key] = text
            continue
        try:
            values[key] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            # Not repeated: it may hold a token.
            raise InvalidConfig(
                f"{variable} can't be read", hint='as in TOML: a number, true, or a list such as ["a.example"]'
            ) from None
    return values
