"""`modhub top`: the busiest modules, live."""

from __future__ import annotations

import json
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click

from hub.cli.extras import extra_http
from hub.cli.interrupts import Interrupted
from hub.cli.refusal import HubRefused, HubUnreachable
from hub.cli.remote.amounts import elapsed, memory, percent
from hub.cli.remote.options import hub_options, json_option
from hub.module_query import SORT_KEYS

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from hub.cli.remote.client import Client

_COLUMNS = (  # title, key of the sort, letter that sorts by it
    ("MODULE", "module_id", "n"),
    ("KIND", "kind", "k"),
    ("STATE", "state", "s"),
    ("PORT", "port", "p"),
    ("UP", "uptime_s", "u"),
    ("IDLE", "idle_s", "i"),
    ("MEMORY", "memory_bytes", "m"),
    ("CPU", "cpu_percent", "c"),
    ("RESTARTS", "restarts", "t"),
)
_BY_LETTER = {letter: key for _, key, letter in _COLUMNS}
_TEXTS = frozenset({"module_id", "kind", "state"})
_COLOURS = {"provisioned": "green", "crashed": "red", "hibernated": "blue", "unprovisioned": "dim"}
_AROUND = 6  # lines above and below the rows
_WITHOUT_TERMINAL = 20
_AS_JSON = 1000  # as many as one page of the hub's has


@click.command(short_help="Show the busiest modules, live.")
@click.option("--sort", default="-cpu_percent", metavar="KEY", help="As in `modhub status`; -KEY = the largest first.")
@click.option(
    "--interval", type=click.FloatRange(min=0.1), default=1.0, show_default=True, help="Seconds between looks."
)
@json_option
@hub_options
def top(client: Client, *, sort: str, interval: float, as_json: bool) -> int:
    """Show modules live, the busiest first, until q or Ctrl-C.

    Keys sort: n name, k kind, s state, p port, u up, i idle, m memory, c CPU, t restarts; the same again, or r, reverses.
    Without a terminal, or with --json, it prints once.
    """
    if sort.removeprefix("-") not in SORT_KEYS:
        raise click.UsageError(f"--sort {sort}: modules have no such key; allowed: {', '.join(SORT_KEYS)}")
    if as_json:
        page = client.get("hub", "status", sort=sort, limit=_AS_JSON)
        listed = {"hub": client.get("stats", "hub"), "total": page["total"], "modules": page["modules"]}
        click.echo(json.dumps(listed, indent=2))
        return 0
    with extra_http():
        from rich.console import Console  # noqa: PLC0415 - may not be installed
        from rich.live import Live  # noqa: PLC0415 - as above
    console = Console()
    if not (console.is_terminal and sys.stdin.isatty()):
        console.print(_view(client, sort, _WITHOUT_TERMINAL))
        return 0
    # The first look before the screen is taken: what is wrong is then told where it stays.
    shown = _view(client, sort, console.height - _AROUND)
    with suppress(Interrupted), _keys(), Live(shown, console=console, screen=True, auto_refresh=False) as live:
        live.refresh()
        while True:
            letter = _pressed(interval)
            if letter in {"q", "Q", "\x04"}:
                return 0
            sort = _sorted(sort, letter)
            try:
                shown = _view(client, sort, console.height - _AROUND)
            except HubUnreachable as error:
                shown = f"[red]{error.message}[/]; trying again"
            except HubRefused as error:
                if error.status < 500:
                    raise
                shown = f"[red]{error.message}[/]; trying again"
            live.update(shown, refresh=True)
    return 0


def _view(client: Client, sort: str, rows: int) -> RenderableType:
    from rich.console import Group  # noqa: PLC0415 - may not be installed
    from rich.text import Text  # noqa: PLC0415 - as above

    page = client.get("hub", "status", sort=sort, limit=max(1, min(1000, rows)))
    stats = client.get("stats", "hub")
    counts = ", ".join(f"{count} {state}" for state, count in page["states"].items() if count) or "none"
    backend = "backend available" if stats["backend"]["available"] else "BACKEND UNAVAILABLE"
    head = (
        f"{client.url}  up {elapsed(stats['uptime_s'])}  {time.strftime('%H:%M:%S')}\n"
        f"modules: {counts}\n"
        f"operations: {stats['operations_running']} running, {stats['operations_waiting']} waiting; {backend}"
    )
    table = _table(page["modules"], sort)
    hidden = page["total"] - len(page["modules"])
    foot = f"{hidden} more" if hidden > 0 else ""
    return Group(Text(head), table, Text(foot, style="dim"))


def _table(modules: list[dict[str, Any]], sort: str) -> Table:
    from rich.table import Table  # noqa: PLC0415 - may not be installed
    from rich.text import Text  # noqa: PLC0415 - as above

    table = Table(box=None, expand=True, pad_edge=False, header_style="bold")
    for title, key, _ in _COLUMNS:
        mark = "" if key != sort.removeprefix("-") else ("-" if sort.startswith("-") else "+")
        table.add_column(
            Text(title + mark), justify="left" if key in _TEXTS else "right", no_wrap=True, ratio=2 if not _ else None
        )
    for module in modules:
        table.add_row(
            Text(module["module_id"]),
            Text(module["kind"] or "-"),
            Text(module["state"], style=_COLOURS.get(module["state"], "yellow")),
            "-" if module["port"] is None else str(module["port"]),
            elapsed(module["uptime_s"]),
            elapsed(module["idle_s"]),
            memory(module["memory_bytes"]),
            percent(module["cpu_percent"]),
            str(module["restarts"]),
        )
    return table


def _sorted(sort: str, letter: str) -> str:
    """Return what to sort by after a key: numbers begin with the largest, texts with the first."""
    key = _BY_LETTER.get(letter)
    if letter == "r" or key == sort.removeprefix("-"):
        return sort.removeprefix("-") if sort.startswith("-") else f"-{sort}"
    if key is None:
        return sort
    return key if key in _TEXTS else f"-{key}"


@contextmanager
def _keys() -> Generator[None]:
    """Take keys one by one and unseen; Ctrl-C stays what it is."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _pressed(seconds: float) -> str:
    """Return a key, or nothing after so many seconds."""
    descriptor = sys.stdin.fileno()
    ready, _, _ = select.select([descriptor], [], [], seconds)
    if not ready:
        return ""
    return os.read(descriptor, 1).decode("ascii", "replace") or "q"  # the terminal is gone
