"""`modhub backend erase`: remove all that a backend holds of modules, and prove it."""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from backends import (
    BackendsError,
    BlobStore,
    Bulk,
    Erased,
    ModuleSummary,
    RemoteModule,
    TransferCancelled,
    module_prefix,
    summarise_module,
)
from hub.cli.backend.amounts import count
from hub.cli.backend.opening import backend_options, choose_backend, module_argument, reach
from hub.cli.backend.work import cancellable
from hub.cli.failures import EXIT_FAILED
from hub.cli.progress import progress_bar
from hub.cli.terminal import Terminal, size
from hub.errors import ModhubError

_LEFT_BEHIND = "an erasure that had begun is to be completed: run it again"


@dataclass(frozen=True, slots=True)
class _Outcome:
    module_id: str
    erased: Erased | None = None
    error: BackendsError | None = None


@click.command(short_help="Remove all that is there of modules, and prove it.")
@module_argument("modules", nargs=-1, required=True, metavar="MODULE...")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@backend_options
def erase(modules: tuple[str, ...], *, yes: bool, config: Path | None, backend: str | None, as_json: bool) -> int:
    """Remove everything that a backend holds of modules: data, versions, unfinished uploads, and the head last.

    It can't be undone. You are asked to type each module's name first. A hub that has the module loses it, with what
    it has not sent home; ask the hub to obliterate it instead, where one runs.

    A listing afterwards proves that nothing is left. A module that is not there is no error.
    """
    chosen = tuple(dict.fromkeys(modules))
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("Erasing asks first, and there is no terminal to ask on; --yes goes without.")
    store = choose_backend(config, backend)
    if not yes:
        _confirm(cancellable(lambda _token: _look(store, chosen)))
    outcomes = cancellable(lambda token: _erase(store, chosen, token), left_behind=_LEFT_BEHIND)
    if as_json:
        ok = not any(outcome.error for outcome in outcomes)
        click.echo(json.dumps({"ok": ok, "modules": [_as_json(outcome) for outcome in outcomes]}, indent=2))
    else:
        terminal = Terminal.of()
        for outcome in outcomes:
            if outcome.erased is not None:
                terminal.write(told(outcome.module_id, outcome.erased, terminal))
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    for outcome in failed:
        click.echo(f"error: {outcome.module_id}: {outcome.error}", err=True)
    if failed:
        click.echo(f"hint: {_LEFT_BEHIND}", err=True)
    return EXIT_FAILED if failed else 0


def told(module_id: str, erased: Erased, terminal: Terminal) -> str:
    """Return what is told of an erasure that has succeeded."""
    mark = terminal.paint(terminal.symbols.ok, "green")
    name = terminal.paint(module_id, bold=True)
    if not erased.blobs and not erased.versions:
        return f"{mark} {name}  nothing was there"
    what = count(erased.blobs, "object")
    if erased.versions:
        what += f" and {erased.versions} older or unfinished"
    return f"{mark} {name}  deleted {what}, {size(erased.bytes)}; listed again: nothing is left"


def warning(summary: ModuleSummary) -> str:
    """Return what somebody should know before they erase a module."""
    lines = [f"{summary.module_id}: {count(summary.objects, 'object')}, {size(summary.stored)} in the backend"]
    if summary.files is not None and summary.bytes is not None:
        lines[0] += f"; {count(summary.files, 'file')}, {size(summary.bytes)} of data"
    if summary.problem:
        lines.append(f"  {summary.problem}")
    if summary.head is not None and not summary.head.tombstone:
        lines.append(f"  Owner: {summary.head.owner} (epoch {summary.head.epoch}).")
        lines.append("  If that hub runs, it loses the module, with what it has not sent home.")
    return "\n".join(lines)


def _look(store: BlobStore, modules: Sequence[str]) -> list[ModuleSummary]:
    reach(store)
    found: list[ModuleSummary] = []
    for module_id in modules:
        bulk = Bulk()
        for remnant in store.remains(module_prefix(module_id)):
            bulk.objects += remnant.kind != "folder"
            bulk.bytes += remnant.size
        if bulk.objects:
            found.append(summarise_module(store, module_id, bulk))
    return found


def _confirm(found: Sequence[ModuleSummary]) -> None:
    """Ask for each module before any of them is touched."""
    for summary in found:
        click.echo(warning(summary), err=True)
        click.echo("This can't be undone. Type its name to erase it: ", nl=False, err=True)
        answer = sys.stdin.readline()
        if not answer.endswith("\n"):
            click.echo(err=True)
        if answer.strip() != summary.module_id:
            raise ModhubError("that is not its name; nothing was erased")


def _erase(store: BlobStore, modules: Sequence[str], token: threading.Event) -> list[_Outcome]:
    reach(store)
    outcomes: list[_Outcome] = []
    for module_id in modules:
        with progress_bar(module_id) as bar:
            try:
                erased = RemoteModule(store, module_id, owner=_owner()).erase(progress=bar, cancelled=token)
            except TransferCancelled:
                raise
            except BackendsError as error:
                outcomes.append(_Outcome(module_id, error=error))  # the others are no worse for it
            else:
                outcomes.append(_Outcome(module_id, erased))
    return outcomes


def _owner() -> str:
    """Who stands in the tombstone: printable ASCII without spaces."""
    return "modhub-cli@" + re.sub(r"[^!-~]", "-", socket.gethostname())[:200]


def _as_json(outcome: _Outcome) -> dict[str, Any]:
    erased = outcome.erased
    return {
        "module": outcome.module_id,
        "ok": outcome.error is None,
        "objects": None if erased is None else erased.blobs,
        "versions": None if erased is None else erased.versions,
        "bytes": None if erased is None else erased.bytes,
        "remaining": None if erased is None else erased.remaining,
        "error": None if outcome.error is None else str(outcome.error),
    }
