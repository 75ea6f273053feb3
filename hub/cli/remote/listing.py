"""`modhub status` and `modhub operations`: what there is, and what is under way."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from hub.cli.backend.table import write_table
from hub.cli.remote.amounts import ago, elapsed, memory, percent
from hub.cli.remote.options import hub_options, json_option, module_argument
from hub.cli.terminal import Terminal, printable, size
from hub.lifecycle import State
from hub.module_query import SORT_KEYS

if TYPE_CHECKING:
    from hub.cli.remote.client import Client

_PAGE = 1000
_HEADER = ("MODULE", "KIND", "STATE", "PORT", "UP", "IDLE", "MEMORY", "CPU", "RESTARTS", "DIRTY", "LAST ERROR")
_RIGHT = frozenset({"PORT", "UP", "IDLE", "MEMORY", "CPU", "RESTARTS"})
_OPERATIONS = ("OPERATION", "MODULE", "WHAT", "STATUS", "STEP", "FOR", "DONE", "ASKED BY")
_DASH = "-"


@click.command(short_help="Show modules, or one of them.")
@module_argument("name", metavar="[NAME]", required=False)
@click.option("--state", "states", multiple=True, type=click.Choice([s.value for s in State]), help="In this state.")
@click.option("--kind", metavar="K", help="Of this kind.")
@click.option("--search", metavar="TEXT", help="With this in their names.")
@click.option(
    "--sort", default="module_id", metavar="KEY", help=f"By one of {', '.join(SORT_KEYS)}; -KEY = the largest first."
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="So many at the most; else all.")
@json_option
@hub_options
def status(
    client: Client,
    *,
    name: str | None,
    states: tuple[str, ...],
    kind: str | None,
    search: str | None,
    sort: str,
    limit: int | None,
    as_json: bool,
) -> int:
    """Show the modules that the hub tracks, or all about one of them.

    It never waits behind an operation.
    """
    if name is not None:
        module = client.get("hub", "modules", name)
        if as_json:
            click.echo(json.dumps(module, indent=2))
        else:
            _tell(module)
        return 0
    if sort.removeprefix("-") not in SORT_KEYS:
        raise click.UsageError(f"--sort {sort}: modules have no such key; allowed: {', '.join(SORT_KEYS)}")
    query = {"state": states, "kind": kind, "search": search, "sort": sort}
    total, modules = _all_pages(client, query, limit)
    if as_json:
        click.echo(json.dumps({"total": total, "modules": modules}, indent=2))
        return 0
    if modules:
        write_table(Terminal.of(), _HEADER, [_row(module) for module in modules], right=_RIGHT, elastic="LAST ERROR")
    else:
        click.echo("no module is there" if not any((states, kind, search)) else "no module is so", err=True)
    if len(modules) < total:
        click.echo(f"{total - len(modules)} more; --limit {total} shows all", err=True)
    return 0


@click.command(short_help="Show operations that run or wait.")
@json_option
@hub_options
def operations(client: Client, *, as_json: bool) -> int:
    """Show the operations that run or wait, the oldest first."""
    answer = client.get("hub", "operations")
    found = answer["operations"]
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    elif found:
        write_table(Terminal.of(), _OPERATIONS, [_operation(info) for info in found], right={"FOR"})
    else:
        click.echo("no operation runs or waits", err=True)
    return 0


def _all_pages(client: Client, query: dict[str, Any], limit: int | None) -> tuple[int, list[dict[str, Any]]]:
    found: dict[str, dict[str, Any]] = {}
    total = 0
    for offset in _offsets():
        wanted = _PAGE if limit is None else min(_PAGE, limit - offset)
        if wanted <= 0:
            break
        page = client.get("hub", "status", offset=offset, limit=wanted, **query)
        total = page["total"]
        # Modules come and go between two pages: one that moved to the next is not shown twice.
        found |= {module["module_id"]: module for module in page["modules"]}
        if len(page["modules"]) < wanted or offset + wanted >= total:
            break
    return total, list(found.values())


def _offsets() -> Iterator[int]:
    offset = 0
    while True:
        yield offset
        offset += _PAGE


def _row(module: dict[str, Any]) -> tuple[str, ...]:
    return (
        module["module_id"],
        module["kind"] or _DASH,
        module["state"],
        _DASH if module["port"] is None else str(module["port"]),
        elapsed(module["uptime_s"]),
        elapsed(module["idle_s"]),
        memory(module["memory_bytes"]),
        percent(module["cpu_percent"]),
        str(module["restarts"]),
        "yes" if module["dirty"] else "no",
        printable(" ".join((module["last_error"] or "").split())),
    )


def _tell(module: dict[str, Any]) -> None:
    terminal = Terminal.of()
    shown = {
        "state": f"{module['state']}, {ago(module['since'], time.time())}",
        "kind": module["kind"] or _DASH,
        "url": module["url"] or _DASH,
        "port": module["port"],
        "gateway port": module["gateway_port"],
        "pid": module["pid"],
        "data": module["data_dir"],
        "dirty": "yes" if module["dirty"] else "no",
        "in the backend": ago(module["checkpointed_at"], time.time()) if module["checkpointed_at"] else "never",
        "up": elapsed(module["uptime_s"]),
        "idle": elapsed(module["idle_s"]),
        "memory": memory(module["memory_bytes"]),
        "cpu": percent(module["cpu_percent"]),
        "restarts": module["restarts"],
        "operation": module["op_id"],
        "last error": module["last_error"],
    }
    terminal.write(terminal.paint(module["module_id"], bold=True))
    for key, value in shown.items():
        if value is not None:
            terminal.write(f"  {key:<15} {printable(str(value))}")


def _operation(info: dict[str, Any]) -> tuple[str, ...]:
    done, total = info["bytes_done"], info["bytes_total"]
    return (
        info["op_id"],
        info["module_id"],
        info["operation"],
        info["status"],
        info["step"] or _DASH,
        elapsed(info["duration_s"]),
        f"{size(done)} of {size(total)}" if total else size(done) if done else _DASH,
        info["asked_by"] or _DASH,
    )
