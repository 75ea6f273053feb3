"""`modhub backend ls`: the modules of a backend, or the tree of one of them."""

from __future__ import annotations

from pathlib import Path

import click

from hub.cli.backend.module_list import list_all
from hub.cli.backend.opening import backend_options, choose_backend, module_argument
from hub.cli.backend.tree_list import list_tree


@click.command(short_help="List modules, or the files of one.")
@module_argument("module", required=False, metavar="[MODULE]")
@click.argument("path", required=False, type=click.Path(path_type=bytes), metavar="[PATH]")
@click.option("-r", "--recursive", is_flag=True, help="With everything below.")
@click.option("--previous", is_flag=True, help="The earlier tree that is kept, instead of the committed one.")
@click.option("--all", "everything", is_flag=True, help="Also what is no module's.")
@backend_options
def ls(
    module: str | None,
    path: bytes | None,
    *,
    recursive: bool,
    previous: bool,
    everything: bool,
    config: Path | None,
    backend: str | None,
    as_json: bool,
) -> None:
    r"""List the modules of a backend; or the files of one module, as `ls -l` does, with their full paths.

    Bytes of a name that a terminal can't show stand as \xNN, and a backslash is doubled: what bash reads in $'...'.
    """
    if module is None and (recursive or previous):
        raise click.UsageError("--recursive and --previous need a module.")
    if module is not None and everything:
        raise click.UsageError("--all is for the list of modules.")
    store = choose_backend(config, backend)
    if module is None:
        list_all(store, everything=everything, as_json=as_json)
    else:
        list_tree(store, module, path or b"", recursive=recursive, previous=previous, as_json=as_json)
