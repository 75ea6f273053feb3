"""`modhub backend du`: what takes the space in a backend."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict
from pathlib import Path

import click

from backends import BlobStore, CorruptData, Inspection, Progress, Usage, list_modules
from hub.cli.backend.opening import backend_options, choose_backend, module_argument, not_there, reach
from hub.cli.backend.table import write_table
from hub.cli.backend.work import cancellable
from hub.cli.failures import EXIT_FAILED
from hub.cli.progress import progress_bar
from hub.cli.terminal import Terminal, size

_HEADER = ("MODULE", "OBJECTS", "DATA", "STORED", "PREVIOUS", "DEAD", "ORPHANS")


@click.command(short_help="Show what takes the space.")
@module_argument("modules", nargs=-1, required=False, metavar="[MODULE]...")
@backend_options
def du(modules: tuple[str, ...], *, config: Path | None, backend: str | None, as_json: bool) -> int:
    """Show what modules take in a backend; without names, all of them, and the sum.

    \b
    DATA      bytes of the committed files
    STORED    bytes of all objects of the module, of which
    PREVIOUS    only the earlier tree that is kept needs
    DEAD        belonged to files that are gone, in packs whose rest is needed
    ORPHANS     nothing needs; the next dehydration deletes them

    Versions that a bucket keeps and unfinished uploads are not counted. Exit code 1: a module's head can't be read.
    """  # noqa: D301 - click's mark for a paragraph that is not to be wrapped
    store = choose_backend(config, backend)
    found, unreadable = cancellable(lambda token: _measure(store, modules, token))
    if as_json:
        listed = [{"module": module_id, **asdict(usage)} for module_id, usage in found.items()]
        total = asdict(sum(found.values(), Usage()))
        click.echo(json.dumps({"modules": listed, "total": total, "unreadable": unreadable}, indent=2))
    else:
        _print(found)
    for module_id, problem in unreadable.items():
        click.echo(f"{module_id}: {problem}", err=True)
    for module_id, usage in found.items():
        if usage.missing or usage.unreadable:
            click.echo(f"{module_id} is damaged: modhub backend verify {module_id}", err=True)
    return EXIT_FAILED if unreadable else 0


def _measure(
    store: BlobStore, modules: tuple[str, ...], token: threading.Event
) -> tuple[dict[str, Usage], dict[str, str]]:
    found: dict[str, Usage] = {}
    unreadable: dict[str, str] = {}
    with progress_bar("measure") as bar:
        bar(Progress("reading the names", 0, 0, 0, 0))
        chosen = modules or tuple(list_modules(reach(store), token).modules)
        for number, module_id in enumerate(dict.fromkeys(chosen)):
            bar(Progress("modules", 0, 0, number, len(chosen)))
            try:
                usage = Inspection(reach(store) if modules else store, module_id, cancelled=token).usage()
            except CorruptData as error:
                unreadable[module_id] = str(error)
                continue
            if modules and not usage.objects:
                raise not_there(module_id)
            found[module_id] = usage
    return found, unreadable


def _print(found: dict[str, Usage]) -> None:
    rows = [_row(module_id, usage) for module_id, usage in found.items()]
    if len(rows) > 1:
        rows.append(_row(f"({len(rows)} modules)", sum(found.values(), Usage())))
    if rows:
        write_table(Terminal.of(), _HEADER, rows, right=frozenset(_HEADER[1:]), elastic="MODULE")


def _row(name: str, usage: Usage) -> tuple[str, ...]:
    sizes = (usage.data, usage.stored, usage.previous, usage.dead, usage.orphans)
    return (name, str(usage.objects), *(size(count) for count in sizes))
