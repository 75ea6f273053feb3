"""`modhub backend verify`: is every blob of a module there, and what it should be?"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path

import click

from backends import BlobStore, Inspection, list_modules
from hub.cli.backend.damage_report import DamageReport
from hub.cli.backend.opening import backend_options, choose_backend, module_argument, not_there, reach
from hub.cli.backend.work import cancellable
from hub.cli.failures import EXIT_FAILED
from hub.cli.progress import progress_bar
from hub.cli.terminal import Terminal


@click.command(short_help="Read every blob of modules, and check it.")
@module_argument("modules", nargs=-1, required=False, metavar="[MODULE]...")
@click.option("--all", "everything", is_flag=True, help="Every module that is there.")
@backend_options
def verify(
    modules: tuple[str, ...], *, everything: bool, config: Path | None, backend: str | None, as_json: bool
) -> int:
    """Read every blob that a module needs, the earlier tree's too if one is kept, and check all hashes and sizes.

    Everything is fetched and nothing is kept, so of a remote backend it costs the traffic of all the data. Orphans,
    objects that nothing needs, are no damage: a dehydration that is under way or was cut off leaves them, and the
    next one deletes them.

    Exit code 1: something is missing or corrupt. It is named, with the files that are lost by it.
    """
    if everything is bool(modules):
        raise click.UsageError("Name modules, or give --all.")
    store = choose_backend(config, backend)
    report = DamageReport(None if as_json else Terminal.of())
    cancellable(lambda token: _verify(store, modules, report, token))
    if as_json:
        click.echo(json.dumps({"ok": not report.damaged, "modules": report.modules}, indent=2))
    return EXIT_FAILED if report.damaged else 0


def _verify(store: BlobStore, modules: Sequence[str], report: DamageReport, token: threading.Event) -> None:
    reach(store)
    chosen = modules or list(list_modules(store, token).modules)
    for number, module_id in enumerate(dict.fromkeys(chosen), 1):
        label = module_id if len(chosen) == 1 else f"{number}/{len(chosen)} {module_id}"
        with progress_bar(label) as bar:
            report.begin(module_id, bar)
            result = Inspection(store, module_id, cancelled=token).verify(report.found, progress=bar)
        if modules and result.head is None and not result.blobs and not result.orphans:
            raise not_there(module_id)
        report.end(result)
    report.sum_up()
