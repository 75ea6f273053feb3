"""Checks of the HTTP side: who may ask, by which certificate, and whether its address is free."""

from __future__ import annotations

import socket
import stat
import time
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from hub.cli.doctor.finding import Finding, fail, note, ok, warn
from hub.errors import InvalidConfig
from hub.http.config import HttpConfig, Role
from hub.http.config_sources import UNIX_PREFIX, is_local, load_http
from hub.http.tls import expires_at, make_context

_SOON_S = 21 * 86400.0
_DAY_S = 86400.0


def check_http(path: Path | None, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what is found of the HTTP side's configuration.

    Args:
        path: the TOML file.
        environment: variables, of which `MODHUB_HTTP_*` count.
    """
    try:
        config = load_http(path, environment)
    except InvalidConfig as error:
        yield fail("http", error.message, error.hint or "correct it; docs: reference/http-configuration")
        return
    if find_spec("uvicorn") is None:
        yield note("http", "`modhub serve` can't run: uvicorn is not installed", "pip install 'modhub[http]'")
    yield _address(config)
    yield _tokens(config)
    if config.tls_cert is not None and config.tls_key is not None:
        yield from _tls(config.tls_cert, config.tls_key)
    elif config.tokens and not is_local(config.host):
        yield warn(
            "http tls", "tokens go over the network unencrypted", "set tls_cert and tls_key, or put TLS before it"
        )
    if path is not None and config.tokens:
        yield from _closed("http config", path, 0o022, "others may write it, and let themselves in", "chmod go-w")


def _address(config: HttpConfig) -> Finding:
    if config.host.startswith(UNIX_PREFIX):
        folder = Path(config.host.removeprefix(UNIX_PREFIX)).parent
        if folder.is_dir():
            return ok("http address", config.host)
        return fail("http address", f"{config.host}: {folder} is no directory", "make it")
    where = f"{config.host} port {config.port}"
    try:
        with socket.create_server(
            (config.host, config.port), family=socket.AF_INET6 if ":" in config.host else socket.AF_INET
        ):
            return ok("http address", f"{where} is free" if config.port else f"{config.host}, any free port")
    except OSError as error:
        return warn(
            "http address",
            f"{where} can't be had: {error.strerror or error}",
            "a hub that runs has it, or name another",
        )


def _tokens(config: HttpConfig) -> Finding:
    if not config.tokens:
        return ok("http tokens", "none: only this machine may ask, and may do everything")
    counts = ", ".join(
        f"{number} {role.value}" for role in Role if (number := sum(token.role is role for token in config.tokens))
    )
    return ok("http tokens", counts)


def _tls(certificate: Path, key: Path) -> Iterator[Finding]:
    try:
        make_context(certificate, key)
        end = expires_at(certificate)
    except InvalidConfig as error:
        yield fail("http tls", error.message, error.hint)
        return
    left_s = end - time.time()
    if left_s <= 0:
        yield fail("http tls", f"{certificate} has expired", "renew it; SIGHUP makes a hub that runs read it")
    elif left_s < _SOON_S:
        yield warn("http tls", f"{certificate} expires in {left_s / _DAY_S:.0f} days", "renew it, then send SIGHUP")
    else:
        yield ok("http tls", f"{certificate} is good for {left_s / _DAY_S:.0f} days")
    yield from _closed("http tls key", key, 0o077, "other users can read it", "chmod 600")


def _closed(check: str, path: Path, bits: int, what: str, command: str) -> Iterator[Finding]:
    if stat.S_IMODE(path.stat().st_mode) & bits:
        yield warn(check, f"{path}: {what}", f"{command} {path}")
