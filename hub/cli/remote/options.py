"""What the commands have in common: which hub, which modules, and how they end."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from hub.cli.extras import extra_http
from hub.cli.interrupts import interruptible
from hub.cli.remote.place import DEFAULT_URL, find_place
from hub.config import check_module_id
from hub.errors import ModhubError

_COMPLETION_TIMEOUT_S = 0.5
_COMPLETIONS = 200


def hub_options(command: Callable[..., int | None]) -> Callable[..., int | None]:
    """Give a command `--url`, `--token-file` and `--ca-file`; it is called with the `Client` that they make."""

    @functools.wraps(command)
    def run(*, url: str | None, token_file: Path | None, ca_file: Path | None, **parameters: Any) -> int | None:
        with extra_http():
            from hub.cli.remote import client as made  # noqa: PLC0415 - may not be installed
        place = find_place(url, token_file, ca_file)
        if place.is_open_to_listeners:
            click.echo(f"warning: the token goes to {place.url} unencrypted; serve it by https", err=True)
        with interruptible(), made.Client(place) as client:
            return command(client, **parameters)

    path = click.Path(path_type=Path)
    options = (
        click.option("--url", metavar="URL", help=f"The hub; else MODHUB_URL, else {DEFAULT_URL}."),
        click.option(
            "--token-file", type=path, metavar="FILE", help="Holds the token; else MODHUB_TOKEN_FILE, MODHUB_TOKEN."
        ),
        click.option("--ca-file", type=path, metavar="FILE", help="Certificates to trust; else MODHUB_CA_FILE."),
    )
    decorated: Callable[..., int | None] = run
    for option in reversed(options):
        decorated = option(decorated)
    return decorated


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--json`, passed as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else, on stdout.")(command)


def module_argument(
    name: str, *, metavar: str, required: bool = True, nargs: int = 1
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command an argument that is a module id, or several: checked first, and completed from the hub.

    Args:
        name: the parameter's.
        metavar: how it stands in the help.
        required: whether it must be given.
        nargs: 1, or -1 for any number, as a tuple without repetitions.
    """

    def check(_context: click.Context, _parameter: click.Parameter, value: Any) -> Any:
        if nargs == -1:
            return tuple(dict.fromkeys(check_module_id(module_id) for module_id in value))
        return value if value is None else check_module_id(value)

    return click.argument(
        name, callback=check, metavar=metavar, required=required, nargs=nargs, shell_complete=complete_module
    )


def module_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--module`, passed as `module`."""

    def check(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
        return value if value is None else check_module_id(value)

    return click.option(
        "--module", metavar="NAME", callback=check, help="Of this module alone.", shell_complete=complete_module
    )(command)


def complete_module(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the modules whose names begin so. Whatever fails, nothing is said: somebody is typing."""
    try:
        from hub.cli.remote import client as made  # noqa: PLC0415 - may not be installed

        given = context.params
        place = find_place(given.get("url"), given.get("token_file"), given.get("ca_file"))
        quick = {"connect_timeout_s": _COMPLETION_TIMEOUT_S, "read_timeout_s": _COMPLETION_TIMEOUT_S}
        with made.Client(place, **quick) as client:
            page = client.get("hub", "status", search=incomplete or None, limit=_COMPLETIONS)
    except (ImportError, ModhubError):
        return []
    found = (str(module["module_id"]) for module in page["modules"])
    return [CompletionItem(name) for name in found if name.startswith(incomplete)]
