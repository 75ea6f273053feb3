"""What the commands have in common: which backend, which modules."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import click

from backends import BackendDenied, BlobStore, open_store
from hub.config import check_module_id
from hub.config_sources import ENVIRONMENT_PREFIX, load
from hub.errors import InvalidConfig, ModuleNotFound

F = TypeVar("F", bound=Callable[..., Any])

_VARIABLE = ENVIRONMENT_PREFIX + "BACKEND"
_UNUSED_DATA_DIR = "/"  # a hub can't do without one, these commands never touch it


def backend_options(command: F) -> F:
    """Give a command `--config`, `--backend` and `--json`, passed as `config`, `backend` and `as_json`."""
    options = (
        click.option("--backend", metavar="URI", help=f"The backend; wins over the file and {_VARIABLE}."),
        click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Configuration, a TOML file."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def module_argument(name: str, *, metavar: str = "MODULE", required: bool = True, nargs: int = 1) -> Callable[[F], F]:
    """Give a command an argument that is a module id, or several, checked before anything else happens.

    Args:
        name: the parameter's.
        metavar: how it stands in the help.
        required: whether it must be given.
        nargs: 1, or -1 for any number, as a tuple.
    """

    def check(_context: click.Context, _parameter: click.Parameter, value: Any) -> Any:
        given: tuple[object, ...] = value if nargs == -1 else () if value is None else (value,)
        for module_id in given:
            check_module_id(module_id)
        return value

    return click.argument(name, callback=check, metavar=metavar, required=required, nargs=nargs)


def choose_backend(config: Path | None, uri: str | None, environment: Mapping[str, str] = os.environ) -> BlobStore:
    """Make the store that was asked for. Nothing is read of it yet.

    Args:
        config: a configuration file.
        uri: given by a flag; wins.
        environment: variables, of which `MODHUB_*` count.

    Returns:
        The store.

    Raises:
        InvalidConfig: none was asked for, or the configuration can't be used.
    """
    if config is None and uri is None and not environment.get(_VARIABLE):
        raise InvalidConfig("no backend given", hint=f"name one: --backend URI, --config FILE, or {_VARIABLE}")
    chosen = load(config, environment, data_dir=_UNUSED_DATA_DIR, backend=uri)
    options: dict[str, Any] = dict(chosen.backend_options)
    if chosen.backend.startswith("file:"):
        # A misspelt folder is an error here, and no empty backend that the first write would create.
        options["create"] = False
    return open_store(chosen.backend, **options)


def reach(store: BlobStore) -> BlobStore:
    """Make sure that a store answers, so that what is wrong with it is said before all else.

    Raises:
        BackendsError: it can't be used.
    """
    with suppress(BackendDenied):  # to look, one need not be allowed to write; what is refused will say so itself
        store.check()
    return store


def not_there(module_id: str) -> ModuleNotFound:
    """Return the error for a module that the backend knows nothing of."""
    return ModuleNotFound(f"the backend has no module {module_id!r}", hint="modhub backend ls lists what is there")
