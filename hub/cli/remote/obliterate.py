"""`modhub obliterate`: destroy modules, behind a typed confirmation."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from hub.cli.refusal import HubRefused
from hub.cli.remote.operate import run_operation, waiting_options
from hub.cli.remote.options import hub_options, json_option, module_argument
from hub.errors import ModhubError

if TYPE_CHECKING:
    from hub.cli.remote.client import Client


@click.command(short_help="Destroy modules, here and in the backend.")
@module_argument("names", metavar="NAME...", nargs=-1)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@waiting_options
@json_option
@hub_options
def obliterate(
    client: Client, *, names: tuple[str, ...], yes: bool, timeout: float | None, wait: bool, as_json: bool
) -> int:
    """Destroy every trace of modules, here and in the backend, whether the hub knows them or not.

    It can't be undone. You are asked to type each module's name first. Listings prove that nothing is left. A module
    that never existed is no error.
    """
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("Obliterating asks first, and there is no terminal to ask on; --yes goes without.")
        for name in names:
            _confirm(client, name)

    def start(module_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = client.delete("hub", "modules", module_id, wait=False, timeout=timeout or None)
        return answer

    return run_operation(client, "obliterate", names, start, timeout=timeout, wait=wait, as_json=as_json)


def _confirm(client: Client, name: str) -> None:
    """Ask for one, before any of them is touched."""
    try:
        module = client.get("hub", "modules", name)
        what = f"{module['state']}, kind {module['kind'] or 'unknown'}"
    except HubRefused as refusal:
        if refusal.status != 404:
            raise
        what = "not tracked here; what the backend may have of it goes as well"
    click.echo(f"{name}: {what}", err=True)
    click.echo("This can't be undone. Type its name to obliterate it: ", nl=False, err=True)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        click.echo(err=True)
    if answer.strip() != name:
        raise ModhubError("that is not its name; nothing was obliterated")
