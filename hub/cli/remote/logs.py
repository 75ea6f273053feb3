"""`modhub logs`: what a module's server wrote."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from hub.cli.refusal import HubRefused, HubUnreachable
from hub.cli.remote.options import hub_options, json_option, module_argument

if TYPE_CHECKING:
    from hub.cli.remote.client import Client

_FIRST_CHUNK = 65536
_CHUNK = 1048576
_INTERVAL_S = 0.3
_OUTAGE_S = 60.0


@click.command(short_help="Show what a module's server wrote.")
@module_argument("name", metavar="NAME")
@click.option("-f", "--follow", is_flag=True, help="Go on with what it writes from now on.")
@click.option("-n", "--lines", type=click.IntRange(min=0), default=100, show_default=True, help="Of the end.")
@json_option
@hub_options
def logs(client: Client, *, name: str, follow: bool, lines: int, as_json: bool) -> int:
    """Show the end of what a module's server wrote to stdout and stderr.

    With --follow it goes on until Ctrl-C, also while the module sleeps, and over a restart of the hub. With --json each
    chunk is an object on a line.
    """
    chunk = _end(client, name, lines)
    _print(chunk, as_json=as_json)
    outage: float | None = None
    while follow:
        if not chunk["text"]:
            time.sleep(_INTERVAL_S)
        try:
            chunk = _read(client, name, offset=chunk["next_offset"], log_id=chunk["log_id"], max_bytes=_CHUNK)
            outage = None
        except (HubUnreachable, HubRefused) as error:
            if isinstance(error, HubRefused) and error.status not in {404, 503}:
                raise
            outage = outage or time.monotonic()
            if time.monotonic() - outage > _OUTAGE_S or (isinstance(error, HubRefused) and error.status == 404):
                raise
            chunk = {**chunk, "text": ""}
            continue
        if chunk["text"]:
            _print(chunk, as_json=as_json)
    return 0


def _end(client: Client, name: str, lines: int) -> dict[str, Any]:
    """Read as much of the end as these lines take."""
    chunk = _read(client, name, max_bytes=_FIRST_CHUNK)
    if chunk["text"].count("\n") <= lines and chunk["offset"] > 0:
        chunk = _read(client, name, max_bytes=_CHUNK)
    kept: list[str] = chunk["text"].splitlines(keepends=True)[-lines:] if lines else []
    return {**chunk, "text": "".join(kept)}


def _read(client: Client, name: str, **query: Any) -> dict[str, Any]:
    chunk: dict[str, Any] = client.get("hub", "modules", name, "log", **query)
    return chunk


def _print(chunk: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(chunk))
    elif chunk["text"]:
        # As it is: whoever reads a log on a terminal knows what wrote it, and may want its colours.
        click.echo(chunk["text"], nl=False)
    sys.stdout.flush()
