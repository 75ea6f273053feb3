"""`modhub backend cat`: one file out of a backend, to stdout or restored."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from backends import Inspection, Piece, Progress, Snapshot, TreeEntry
from hub.cli.backend.names import as_json as name_as_json
from hub.cli.backend.names import shown
from hub.cli.backend.opening import backend_options, choose_backend, module_argument, reach
from hub.cli.backend.plain_text import PlainText
from hub.cli.backend.restore import check_destination, restore
from hub.cli.backend.snapshots import found_in, snapshot_of
from hub.cli.backend.work import cancellable
from hub.cli.progress import ProgressBar, progress_bar
from hub.cli.terminal import size
from hub.errors import ModhubError

_ZEROS = bytes(1024 * 1024)


@click.command(short_help="Write one file to stdout, or restore it.")
@module_argument("module")
@click.argument("path", type=click.Path(path_type=bytes), metavar="PATH")
@click.option("--previous", is_flag=True, help="Of the earlier tree that is kept, instead of the committed one.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Restore it there; `-` = stdout, whatever is in it.",
)
@click.option("-f", "--force", is_flag=True, help="Replace FILE if it exists.")
@backend_options
def cat(
    module: str,
    path: bytes,
    *,
    previous: bool,
    output: Path | None,
    force: bool,
    config: Path | None,
    backend: str | None,
    as_json: bool,
) -> None:
    """Fetch one file of a module: no more of the backend than it takes, and no byte that was not verified.

    With -o the file appears whole, with its mode and time, or not at all, and replaces nothing. Without, what is no
    text is not written to a terminal.
    """
    raw = output is not None and os.fspath(output) == "-"
    target = None if raw else output
    if as_json and target is None:
        raise click.UsageError("--json needs -o FILE: stdout is the file's.")
    if force and target is None:
        raise click.UsageError("--force needs -o FILE.")
    if target is not None:
        check_destination(target, force=force)
    store = choose_backend(config, backend)

    def work(token: threading.Event) -> tuple[Snapshot, TreeEntry]:
        inspection = Inspection(reach(store), module, cancelled=token)
        snapshot = snapshot_of(inspection, previous=previous)
        entry = _file(snapshot, path, module)
        pieces = inspection.read_file(snapshot, path)
        if target is None:
            _print(pieces, token, raw=raw)
        else:
            with progress_bar(target.name) as bar:
                restore(counted(pieces, entry.size, bar), entry, target, force=force, cancelled=token)
        return snapshot, entry

    snapshot, entry = cancellable(work)
    if as_json:
        report = {
            "module": module,
            "manifest": snapshot.digest,
            **name_as_json("path", entry.path),
            **name_as_json("output", os.fsencode(output or "")),
            "bytes": entry.size,
        }
        click.echo(json.dumps(report, indent=2))
    elif target is not None:
        click.echo(f"{shown(os.fsencode(target))}: {size(entry.size)}, verified", err=True)


def counted(pieces: Iterable[Piece], total: int, bar: ProgressBar) -> Iterator[Piece]:
    """Pass pieces on, and show on a bar how many bytes of the file they are."""
    began = time.monotonic()
    done = 0
    for piece in pieces:
        yield piece
        done += piece.length
        bar(Progress("fetch", done, total, 0, 1, time.monotonic() - began))


def _file(snapshot: Snapshot, path: bytes, module_id: str) -> TreeEntry:
    entry = found_in(snapshot, path)
    name = shown(entry.path) or "the root"
    if entry.kind == "d":
        raise ModhubError(f"{name} is a directory", hint=f"modhub backend ls {module_id} PATH shows what it holds")
    if entry.kind == "l":
        # Not followed: where it leads, and whether that is in the tree, is for who asked to say.
        raise ModhubError(f"{name} is a symbolic link to {shown(entry.target)}", hint="ask for the file it leads to")
    return entry


def _print(pieces: Iterable[Piece], token: threading.Event, *, raw: bool) -> None:
    out = sys.stdout.buffer
    text = None if raw or not sys.stdout.isatty() else PlainText()
    for piece in pieces:
        for data in _parts(piece):
            if token.is_set():
                return
            if text is not None and not text.goes_on(data):
                raise ModhubError(
                    "it is no text, and could change the terminal", hint="-o FILE restores it; -o - prints it anyway"
                )
            out.write(data)
            out.flush()


def _parts(piece: Piece) -> Iterator[bytes]:
    if piece.data is not None:
        yield piece.data
        return
    for offset in range(0, piece.length, len(_ZEROS)):
        yield _ZEROS[: piece.length - offset]
