"""The modules of a backend, a line each."""

from __future__ import annotations

import json
import os
import threading
from typing import Any

import click

from backends import BlobStore, Condition, ModuleSummary, Progress, StoreContents, list_modules, summarise_modules
from hub.cli.backend.names import as_json as name_as_json
from hub.cli.backend.names import shown
from hub.cli.backend.opening import reach
from hub.cli.backend.table import write_table
from hub.cli.backend.work import cancellable
from hub.cli.progress import progress_bar
from hub.cli.terminal import Terminal, size

_THREADS = 4
_HEADER = ("MODULE", "STATE", "KIND", "OWNER", "EPOCH", "FILES", "DATA", "STORED")
_NUMBERS = frozenset({"EPOCH", "FILES", "DATA", "STORED"})


def list_all(store: BlobStore, *, everything: bool, as_json: bool) -> None:
    """Print the modules.

    Args:
        store: the backend.
        everything: also prefixes that are no module's.
        as_json: as one object.
    """
    found, modules = cancellable(lambda token: _read(store, token))
    if as_json:
        listed: dict[str, Any] = {"modules": [_module(summary) for summary in modules]}
        if everything:
            listed["others"] = [
                {**name_as_json("prefix", os.fsencode(name)), "objects": bulk.objects, "stored": bulk.bytes}
                for name, bulk in found.others.items()
            ]
        click.echo(json.dumps(listed, indent=2))
        return
    terminal = Terminal.of()
    rows = [_row(summary) for summary in modules]
    if everything:
        dash = "-"
        for name, bulk in found.others.items():
            label = shown(os.fsencode(name), terminal.stream.encoding)
            rows.append((label, "no module", dash, dash, dash, dash, dash, size(bulk.bytes)))
    if rows:
        write_table(terminal, _HEADER, rows, right=_NUMBERS, elastic="OWNER")
    else:
        click.echo("no module is there", err=True)
    for summary in modules:
        if summary.condition is Condition.DAMAGED:
            click.echo(f"{summary.module_id}: {summary.problem}", err=True)
    if found.others and not everything:
        names = "1 more name is" if len(found.others) == 1 else f"{len(found.others)} more names are"
        click.echo(f"{names} no module's; --all lists them", err=True)


def _read(store: BlobStore, token: threading.Event) -> tuple[StoreContents, list[ModuleSummary]]:
    with progress_bar("list") as bar:
        bar(Progress("reading the names", 0, 0, 0, 0))
        found = list_modules(reach(store), token)
        modules: list[ModuleSummary] = []
        for summary in summarise_modules(store, found.modules, threads=_THREADS, cancelled=token):
            modules.append(summary)
            bar(Progress("modules", 0, 0, len(modules), len(found.modules)))
    return found, modules


def _row(summary: ModuleSummary) -> tuple[str, ...]:
    head = summary.head
    return (
        summary.module_id,
        summary.condition,
        "-" if head is None else head.kind,
        "-" if head is None else head.owner,
        "-" if head is None else str(head.epoch),
        "-" if summary.files is None else str(summary.files),
        "-" if summary.bytes is None else size(summary.bytes),
        size(summary.stored),
    )


def _module(summary: ModuleSummary) -> dict[str, Any]:
    head = summary.head
    return {
        "module": summary.module_id,
        "state": summary.condition.value,
        "kind": None if head is None else head.kind,
        "owner": None if head is None else head.owner,
        "epoch": None if head is None else head.epoch,
        "lease_ms": None if head is None else head.lease_ms,
        "tombstone": head is not None and head.tombstone,
        "manifest": None if head is None else head.manifest,
        "previous": None if head is None else head.previous,
        "files": summary.files,
        "bytes": summary.bytes,
        "objects": summary.objects,
        "stored": summary.stored,
        "problem": summary.problem or None,
    }
