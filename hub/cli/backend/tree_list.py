"""The tree of a module, as `ls -l` shows one."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import click

from backends import BlobStore, Inspection, Snapshot, TreeEntry
from hub.cli.backend.names import as_json as name_as_json
from hub.cli.backend.names import shown
from hub.cli.backend.opening import reach
from hub.cli.backend.snapshots import found_in, snapshot_of
from hub.cli.backend.work import cancellable
from hub.cli.terminal import Terminal

_KINDS = {"d": "directory", "f": "file", "l": "symlink", "h": "hardlink"}
_TYPES = {"d": stat.S_IFDIR, "f": stat.S_IFREG, "l": stat.S_IFLNK, "h": stat.S_IFREG}


def list_tree(store: BlobStore, module_id: str, path: bytes, *, recursive: bool, previous: bool, as_json: bool) -> None:
    """Print what a directory of a module holds, or one entry that is none.

    Args:
        store: the backend.
        module_id: the module.
        path: relative to its root; empty = the root.
        recursive: with everything below.
        previous: of the earlier tree that is kept.
        as_json: as one object.

    Raises:
        ModhubError: there is no such module, tree or path, or it can't be read.
    """

    def read(_token: threading.Event) -> tuple[Snapshot, list[TreeEntry]]:
        snapshot = snapshot_of(Inspection(reach(store), module_id), previous=previous)
        entry = found_in(snapshot, path)
        return snapshot, [*snapshot.children(path, recursive=recursive)] if entry.kind == "d" else [entry]

    snapshot, entries = cancellable(read)
    if as_json:
        found = {
            "module": module_id,
            "manifest": snapshot.digest,
            "previous": previous,
            "entries": [_entry(entry) for entry in entries],
        }
        click.echo(json.dumps(found, indent=2))
        return
    terminal = Terminal.of()
    for line in lines(entries, terminal):
        terminal.write(line)


def lines(entries: Iterable[TreeEntry], terminal: Terminal) -> Iterable[str]:
    """Yield a line for each entry: type and mode, size in bytes, time in this machine's zone, name."""
    entries = list(entries)
    width = max((len(str(entry.size)) for entry in entries), default=1)
    encoding = terminal.stream.encoding
    for entry in entries:
        mode = stat.filemode(_TYPES[entry.kind] | (0o777 if entry.kind == "l" else entry.mode))
        # Nanoseconds within their bounds are years within Python's.
        time = datetime.fromtimestamp(entry.mtime_ns // 10**9, tz=UTC).astimezone()
        length = str(entry.size) if entry.kind in {"f", "h"} else "-"
        name = shown(entry.path, encoding)
        if entry.kind == "d":
            name = terminal.paint(name, "blue", bold=True) + "/"
        elif entry.kind == "l":
            name = f"{terminal.paint(name, 'cyan')} -> {shown(entry.target, encoding)}"
        elif entry.kind == "h":
            mode = "h" + mode[1:]
            name = f"{name} link to {shown(entry.target, encoding)}"
        yield f"{mode} {length:>{width}} {time:%Y-%m-%d %H:%M:%S} {name}"


def _entry(entry: TreeEntry) -> dict[str, Any]:
    found: dict[str, Any] = {
        **name_as_json("path", entry.path),
        "kind": _KINDS[entry.kind],
        "mode": f"{entry.mode:04o}",
        "mtime_ns": entry.mtime_ns,
        "size": entry.size,
    }
    return found | name_as_json("target", entry.target) if entry.target else found
