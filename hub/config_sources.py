"""Where a configuration comes from. Precedence, rising: defaults, TOML file, environment, parameters (or flags)."""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, get_type_hints

import msgspec

from hub.config import HubConfig, configure
from hub.errors import InvalidConfig
from hub.instance.kind import Kind
from hub.kinds import SHIPPED

ENVIRONMENT_PREFIX = "MODHUB_"
HTTP_TABLE = "http"
HTTP_PREFIX = "MODHUB_HTTP_"
# What is for a hub's clients: the same environment may hold both, and one must not make the other fail.
CLIENT_VARIABLES = frozenset({"MODHUB_URL", "MODHUB_TOKEN", "MODHUB_TOKEN_FILE", "MODHUB_CA_FILE"})
# Taken from a variable as they stand there; all others are read as TOML. A size may be a text or a number.
_TEXTS = frozenset(
    f.name
    for f in dataclasses.fields(HubConfig)
    if f.metadata.get("size") or get_type_hints(HubConfig)[f.name] in {str, Path}
)


def load(
    path: str | os.PathLike[str] | None,
    environment: Mapping[str, str],
    *,
    fallback: Mapping[str, Any] | None = None,
    **flags: Any,
) -> HubConfig:
    """Read a configuration from a TOML file, the environment and flags.

    Args:
        path: the file; `None` = none.
        environment: variables, of which `MODHUB_*` count; structured values are TOML (`MODHUB_PORTS="[7000, 7999]"`).
        fallback: a `data_dir` and a `backend` that belong together, for where neither of them is given.
        **flags: parameters, which win; `None` = not given.

    Returns:
        The configuration.

    Raises:
        InvalidConfig: as `configure`; also where the file can't be read.
    """
    given = _from_file(path) if path is not None else {}
    given |= _from_environment(environment)
    given |= {key: value for key, value in flags.items() if value is not None}
    if fallback is not None and not given.keys() & fallback.keys():
        given |= fallback
    return configure(**given)


def configures_hub(variable: str) -> bool:
    """Return whether an environment variable is one of the hub's configuration, right or wrong."""
    return variable.startswith(ENVIRONMENT_PREFIX) and not (
        variable.startswith(HTTP_PREFIX) or variable in CLIENT_VARIABLES
    )


def read_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a TOML file, whatever is in it.

    Args:
        path: the file.

    Returns:
        Its values; nothing is checked.

    Raises:
        InvalidConfig: it can't be read.
    """
    try:
        return tomllib.loads(Path(path).read_text())
    except OSError as error:
        raise InvalidConfig(f"configuration {os.fspath(path)!r} can't be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidConfig(f"configuration {os.fspath(path)!r} can't be read: {error}") from error


def _from_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    values = read_file(path)
    # The HTTP side's: `hub.http.config_sources` checks it. A hub that is embedded may be given the same file.
    values.pop(HTTP_TABLE, None)
    if "kinds" in values:
        values["kinds"] = _kinds_from_table(values["kinds"])
    return values


def _kinds_from_table(table: Any) -> list[Kind]:
    if not isinstance(table, dict):
        raise InvalidConfig("kinds can't be used", hint="allowed: tables [kinds.NAME]")
    allowed = [f.name for f in dataclasses.fields(Kind) if f.name != "name"]
    kinds: list[Kind] = []
    for name, settings in cast("dict[str, Any]", table).items():
        if not isinstance(settings, dict):
            raise InvalidConfig(f"kinds.{name} can't be used", hint=f"allowed: a table [kinds.{name}]")
        for key in cast("dict[str, Any]", settings):
            if key not in allowed:
                raise InvalidConfig(f"kinds.{name}: {key!r} is no key", hint=f"allowed: {', '.join(allowed)}")
        shipped = SHIPPED.get(name)
        if "command" not in settings and shipped is None:
            raise InvalidConfig(f"kinds.{name}: 'command' is missing", hint="a list: the program, then its arguments")
        # A table with a command replaces a shipped kind of its name; one without adapts it.
        base = {f.name: getattr(shipped, f.name) for f in dataclasses.fields(Kind)} if "command" not in settings else {}
        try:
            kinds.append(msgspec.convert({**base, "name": name, **settings}, Kind))
        except msgspec.ValidationError as error:
            if isinstance(found := error.__cause__, InvalidConfig):  # the kind's own word, which msgspec wraps
                raise InvalidConfig(found.message, hint=found.hint) from None
            expected, _, key = str(error).partition(" - at `$.")
            raise InvalidConfig(f"kinds.{name}: {key.rstrip('`')} can't be used", hint=expected) from None
    return kinds


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    known = {f.name for f in dataclasses.fields(HubConfig)} - {"kinds"}
    for variable, text in environment.items():
        if not configures_hub(variable):
            continue
        key = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if key not in known:
            allowed = ", ".join(ENVIRONMENT_PREFIX + name.upper() for name in sorted(known))
            raise InvalidConfig(f"{variable} is no configuration variable", hint=f"allowed: {allowed}")
        if key in _TEXTS:
            values[key] = text
            continue
        try:
            values[key] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            if key == "backend_options":  # there may be a secret in it
                raise InvalidConfig(f"{variable} can't be read", hint='a table such as { region = "eu" }') from None
            raise InvalidConfig(
                f"{variable} = {text!r} can't be read", hint="a number, or a list such as [7000, 7999]"
            ) from None
    return values
